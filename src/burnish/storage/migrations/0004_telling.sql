-- Telling: where events go, what is owed, and how receivers behave.

-- Where an account wants its events; `callbacks` is the one row an account and environment has for the `callback` of
-- its tasks: it holds their secret, and no address.
CREATE TABLE endpoints (
    id            uuid PRIMARY KEY,
    account_id    uuid NOT NULL REFERENCES accounts,
    environment   text NOT NULL,
    kind          text NOT NULL CHECK (kind IN ('endpoint', 'callbacks')),
    url           text NOT NULL,
    description   text NOT NULL DEFAULT '',
    events        text[] NOT NULL,        -- none: all of them
    secret        bytea NOT NULL,         -- sealed
    former_secret bytea,                  -- sealed; signs beside the new one until then
    former_until  timestamptz,
    created_at    timestamptz NOT NULL,
    disabled_at   timestamptz,
    disabled_why  text
);
CREATE INDEX endpoints_of_account ON endpoints (account_id, environment);
CREATE UNIQUE INDEX endpoints_callbacks ON endpoints (account_id, environment) WHERE kind = 'callbacks';

-- One queue for each endpoint, and for each host that callbacks of an account go to. Claimed by receiver, so that a
-- thousand dead ones cost a live one nothing; `failures` in a row keep it shut until `due_at`.
CREATE TABLE receivers (
    id            text PRIMARY KEY,
    account_id    uuid NOT NULL,
    endpoint_id   uuid,
    due_at        timestamptz,            -- when its next delivery is due; null: nothing is
    proven        boolean NOT NULL DEFAULT false,  -- it has accepted something
    failures      integer NOT NULL DEFAULT 0,
    failing_since timestamptz,
    lease_id      uuid,
    leased_until  timestamptz,
    used_at       timestamptz             -- when its last turn ended
) WITH (fillfactor = 50);
CREATE INDEX receivers_due ON receivers ((proven AND failures = 0), due_at) WHERE due_at IS NOT NULL;

CREATE INDEX receivers_leased ON receivers (leased_until) WHERE leased_until IS NOT NULL;
CREATE INDEX receivers_by_use ON receivers (used_at) WHERE endpoint_id IS NULL;

CREATE TABLE deliveries (
    id          uuid PRIMARY KEY,         -- the event's id, the same on every try
    account_id  uuid NOT NULL,
    environment text NOT NULL,
    receiver    text NOT NULL,
    endpoint_id uuid,
    url         text,                     -- of a callback
    event       text NOT NULL,
    dialect     text NOT NULL,
    task_id     uuid,
    facts       bytea,                    -- of an event that is not a task's, JSON
    body        bytea,                    -- as it was rendered at the first try, and is sent on every other
    state       text NOT NULL CHECK (state IN ('due', 'accepted', 'dead')),
    tries       smallint NOT NULL DEFAULT 0,
    due_at      timestamptz,
    created_at  timestamptz NOT NULL,
    ended_at    timestamptz,
    CHECK ((state = 'due') = (due_at IS NOT NULL)),
    CHECK ((state = 'due') = (ended_at IS NULL))
) WITH (fillfactor = 70);
CREATE INDEX deliveries_due ON deliveries (receiver, due_at, id) WHERE state = 'due';
CREATE INDEX deliveries_of_endpoint ON deliveries (endpoint_id, created_at, id) WHERE endpoint_id IS NOT NULL;
CREATE INDEX deliveries_of_task ON deliveries (task_id) WHERE task_id IS NOT NULL;
CREATE INDEX deliveries_ended ON deliveries (ended_at) WHERE ended_at IS NOT NULL;

-- What was sent and answered, cut and redacted.
CREATE TABLE attempts (
    delivery_id  uuid NOT NULL,
    number       smallint NOT NULL,
    at           timestamptz NOT NULL,
    milliseconds integer NOT NULL,
    status       smallint,                -- null: there was no answer
    error        text,
    reply        text,
    PRIMARY KEY (delivery_id, number)
);

-- Whether an account has an endpoint that takes anything: endings of those that have none look no further.
ALTER TABLE accounts ADD COLUMN listens boolean NOT NULL DEFAULT false;

ALTER TABLE tasks
    ADD COLUMN callback_url text,
    ADD COLUMN callback_all boolean;      -- started too, not only the end
