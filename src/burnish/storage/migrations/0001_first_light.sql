-- Accounts, keys, media and tasks. Every moment is given by the caller, who knows the database's time;
-- locks are taken in one order: accounts, then blobs, then tasks, each by id.

CREATE TABLE accounts (
    id          uuid PRIMARY KEY,
    name        text NOT NULL UNIQUE,
    plan        text NOT NULL DEFAULT 'standard',
    weight      integer NOT NULL DEFAULT 100 CHECK (weight > 0),
    -- Slots in use: tasks that are queued and ready, or running, by lane.
    light_slots integer NOT NULL DEFAULT 0 CHECK (light_slots >= 0),
    heavy_slots integer NOT NULL DEFAULT 0 CHECK (heavy_slots >= 0),
    -- Where the account's next start tag may lie at the earliest, by lane (start-time fair queueing).
    light_tag   bigint NOT NULL DEFAULT 0,
    heavy_tag   bigint NOT NULL DEFAULT 0,
    created_at  timestamptz NOT NULL
) WITH (fillfactor = 50);  -- every admission and every ending updates the row in place

CREATE TABLE keys (
    id          uuid PRIMARY KEY,
    account_id  uuid NOT NULL REFERENCES accounts,
    environment text NOT NULL CHECK (environment IN ('live', 'test', 'dev')),
    name        text NOT NULL,
    secret_hash bytea NOT NULL UNIQUE CHECK (length(secret_hash) = 32),  -- SHA-256 of the whole secret
    last_four   text NOT NULL,
    scopes      text[] NOT NULL,
    created_at  timestamptz NOT NULL,
    expires_at  timestamptz,
    revoked_at  timestamptz
);
CREATE INDEX keys_by_account ON keys (account_id);

-- Media that a client may name: an upload, a fetched input, an output.
CREATE TABLE blobs (
    id            uuid PRIMARY KEY,
    account_id    uuid NOT NULL REFERENCES accounts,
    environment   text NOT NULL,
    kind          text NOT NULL CHECK (kind IN ('upload', 'fetched', 'output')),
    task_id       uuid,
    filename      text,
    declared_type text,
    declared_size bigint,
    declared_hash bytea,
    -- The bytes, once they are whole and stored.
    object_key    text,
    size_bytes    bigint,
    sha256        bytea,
    arrived_at    timestamptz,
    -- What a probe of the header said.
    type          text,
    width         integer,
    height        integer,
    frames        integer,
    fault         text,          -- why the bytes are no media, with its status reason in front
    created_at    timestamptz NOT NULL,
    expires_at    timestamptz NOT NULL,   -- promised: when it is given up; arrived: when its bytes go
    CHECK ((object_key IS NULL) = (arrived_at IS NULL))
);
CREATE INDEX blobs_by_expiry ON blobs (expires_at);

-- Every object in storage, named here before its first byte and until after its last.
CREATE TABLE objects (
    key       text PRIMARY KEY,
    delete_at timestamptz NOT NULL
);
CREATE INDEX objects_by_deletion ON objects (delete_at);

CREATE TABLE tasks (
    id               uuid PRIMARY KEY,
    account_id       uuid NOT NULL,       -- no foreign keys here: the lock on the account says more, for less
    environment      text NOT NULL,
    key_id           uuid,
    request_id       text NOT NULL,
    model            text NOT NULL,
    lane             smallint NOT NULL CHECK (lane IN (0, 1)),   -- 0 light, 1 heavy
    status           text NOT NULL CHECK (status IN
                         ('waiting', 'queued', 'running', 'succeeded', 'failed', 'cancelled')),
    -- Queued and holding a slot: may be claimed. Parked tasks are queued and not ready.
    ready            boolean NOT NULL,
    -- Waiting, and its bytes can be had now: may be claimed by a fetch lane.
    fetchable        boolean NOT NULL,
    tag              bigint,
    priority         smallint NOT NULL DEFAULT 0,
    input            bytea NOT NULL,      -- the validated parameters as they came, JSON
    metadata         bytea,               -- the client's own, JSON
    source_id        uuid,
    source_url       text,
    lease_id         uuid,                -- whose claim the present or last run is
    leased_until     timestamptz,
    attempts         smallint NOT NULL DEFAULT 0,
    max_attempts     smallint NOT NULL,
    deadline_seconds integer NOT NULL,
    stage            text,
    progress         real NOT NULL DEFAULT 0,
    status_reason    text,
    status_message   text,
    outputs          bytea,               -- what an ended task made, JSON
    cost_held        integer NOT NULL DEFAULT 0,
    cost_charged     integer NOT NULL DEFAULT 0,
    created_at       timestamptz NOT NULL,
    queued_at        timestamptz,
    started_at       timestamptz,
    ended_at         timestamptz,
    waits_until      timestamptz,         -- a waiting task is given up then
    retention_seconds integer NOT NULL,
    expires_at       timestamptz NOT NULL,
    CHECK (NOT ready OR (status = 'queued' AND tag IS NOT NULL)),
    CHECK (NOT fetchable OR status = 'waiting'),
    CHECK ((ended_at IS NOT NULL) = (status IN ('succeeded', 'failed', 'cancelled')))
) WITH (
    fillfactor = 70,
    autovacuum_vacuum_scale_factor = 0.01, autovacuum_vacuum_threshold = 1000, autovacuum_vacuum_cost_delay = 0
);
CREATE INDEX tasks_to_claim ON tasks (lane, tag) WHERE ready;
CREATE INDEX tasks_parked ON tasks (account_id, lane, priority DESC, id) WHERE status = 'queued' AND NOT ready;
CREATE INDEX tasks_to_fetch ON tasks ((source_url IS NOT NULL), id) WHERE fetchable;
CREATE INDEX tasks_waiting ON tasks (waits_until) WHERE status = 'waiting';
CREATE INDEX tasks_waiting_for ON tasks (source_id) WHERE status = 'waiting';
CREATE INDEX tasks_leased ON tasks (leased_until) WHERE leased_until IS NOT NULL;
CREATE INDEX tasks_of_account ON tasks (account_id, environment, id);
CREATE INDEX tasks_by_expiry ON tasks (expires_at);

-- Tests move this one offset; only a service with `clock_offset` set reads it.
CREATE TABLE clock (
    single  boolean PRIMARY KEY DEFAULT true CHECK (single),
    ahead   interval NOT NULL DEFAULT '0'
);
INSERT INTO clock DEFAULT VALUES;

-- Workers that are there, for /ready and for the doctor.
CREATE TABLE workers (
    id         uuid PRIMARY KEY,
    host       text NOT NULL,
    pid        integer NOT NULL,
    seen_at    timestamptz NOT NULL
);
