-- Admission: plans, quotas, credits, idempotency, usage.

-- An account's place in the lanes is one document in its row, so that whoever has waited for the row's lock reads it
-- as the last holder left it: tasks by group (lane, model, key), and where each key's next start tag may lie.
ALTER TABLE accounts
    ALTER COLUMN plan DROP DEFAULT,
    ADD COLUMN overrides  jsonb  NOT NULL DEFAULT '{}',   -- what differs from the plan, in the plan's own words
    ADD COLUMN test_of    uuid   UNIQUE REFERENCES accounts,  -- the account whose test keys work in this one
    ADD COLUMN queue      jsonb  NOT NULL DEFAULT '{}',
    -- Whole credits: what was granted is available, held, charged or expired.
    ADD COLUMN granted    bigint NOT NULL DEFAULT 0,
    ADD COLUMN available  bigint NOT NULL DEFAULT 0 CHECK (available >= 0),
    ADD COLUMN held       bigint NOT NULL DEFAULT 0 CHECK (held >= 0),
    ADD COLUMN charged    bigint NOT NULL DEFAULT 0 CHECK (charged >= 0),
    ADD COLUMN expired    bigint NOT NULL DEFAULT 0 CHECK (expired >= 0),
    ADD CHECK (granted = available + held + charged + expired);

-- Tasks that hold or await a slot, as the columns before this said nothing of models and keys.
UPDATE accounts a SET queue = jsonb_build_object('groups', g.groups)
FROM (
    SELECT account_id, jsonb_agg(jsonb_build_array(lane, model, key, ready, parked, waiting)) AS groups
    FROM (
        SELECT account_id, lane, model, coalesce(replace(key_id::text, '-', ''), '') AS key,
               count(*) FILTER (WHERE ready OR status = 'running') AS ready,
               count(*) FILTER (WHERE status = 'queued' AND NOT ready) AS parked,
               count(*) FILTER (WHERE status = 'waiting') AS waiting
        FROM tasks WHERE ended_at IS NULL GROUP BY account_id, lane, model, key_id
    ) AS counted GROUP BY account_id
) AS g WHERE a.id = g.account_id;

ALTER TABLE accounts
    DROP COLUMN weight, DROP COLUMN light_slots, DROP COLUMN heavy_slots, DROP COLUMN light_tag, DROP COLUMN heavy_tag;
-- Until now there were no limits, so nobody's are narrowed.
UPDATE accounts SET plan = 'owner';

-- Test keys work in an account of their own: its tasks, windows, slots and media never meet those of the live one.
INSERT INTO accounts (id, name, plan, test_of, created_at)
SELECT gen_random_uuid(), a.name || ' (test)', a.plan, a.id, a.created_at
FROM accounts a WHERE EXISTS (SELECT FROM keys k WHERE k.account_id = a.id AND k.environment = 'test');
UPDATE keys k SET account_id = a.id FROM accounts a WHERE k.environment = 'test' AND a.test_of = k.account_id;
UPDATE tasks t SET account_id = a.id FROM accounts a
WHERE t.environment = 'test' AND t.ended_at IS NOT NULL AND a.test_of = t.account_id;

ALTER TABLE keys
    ADD COLUMN rotates     uuid REFERENCES keys,       -- the key whose place this one takes
    ADD COLUMN allowlist   cidr[] NOT NULL DEFAULT '{}',  -- addresses it may be used from; none: from anywhere
    ADD COLUMN credit_cap  bigint CHECK (credit_cap >= 0),
    ADD COLUMN last_used_at timestamptz;
ALTER TABLE keys DROP CONSTRAINT keys_environment_check;
ALTER TABLE keys ADD CHECK (environment IN ('live', 'test', 'dev'));

-- What was used of a quota in one stretch of time: never counted from tasks, so that reading it costs the same for ever.
-- `subject`: what within the account is counted apart: a file's name, a key; '' is the account.
CREATE TABLE windows (
    account_id uuid        NOT NULL,
    name       text        NOT NULL,
    subject    text        NOT NULL,
    starts_at  timestamptz NOT NULL,
    used       bigint      NOT NULL CHECK (used >= 0),
    ends_at    timestamptz NOT NULL,   -- from then on the row means nothing
    PRIMARY KEY (account_id, name, subject, starts_at)
) WITH (fillfactor = 50);  -- updated in place by every admission
CREATE INDEX windows_by_end ON windows (ends_at);

-- Credits that an account was given or has paid for. Spent soonest to expire first.
CREATE TABLE grants (
    id         uuid        PRIMARY KEY,
    account_id uuid        NOT NULL REFERENCES accounts,
    kind       text        NOT NULL CHECK (kind IN ('paid', 'given')),
    granted    bigint      NOT NULL CHECK (granted > 0),
    available  bigint      NOT NULL CHECK (available >= 0),
    held       bigint      NOT NULL DEFAULT 0 CHECK (held >= 0),
    charged    bigint      NOT NULL DEFAULT 0 CHECK (charged >= 0),
    expired    bigint      NOT NULL DEFAULT 0 CHECK (expired >= 0),
    expires_at timestamptz,
    note       text        NOT NULL,
    idempotency_key text   NOT NULL,
    created_at timestamptz NOT NULL,
    CHECK (granted = available + held + charged + expired),
    UNIQUE (account_id, idempotency_key)
) WITH (fillfactor = 50);
CREATE INDEX grants_open ON grants (account_id, expires_at) WHERE available > 0;
CREATE INDEX grants_by_expiry ON grants (expires_at) WHERE available > 0;

-- Every movement of credits, for ever: each row's postings come to nothing (what is granted is what the four others
-- gain), and each column's sum over an account is what the account's row says.
CREATE TABLE entries (
    id         bigint GENERATED ALWAYS AS IDENTITY,
    account_id uuid        NOT NULL,
    at         timestamptz NOT NULL,
    kind       text        NOT NULL CHECK (kind IN ('grant', 'hold', 'charge', 'release', 'expire', 'purchase')),
    granted    bigint      NOT NULL DEFAULT 0,
    available  bigint      NOT NULL DEFAULT 0,
    held       bigint      NOT NULL DEFAULT 0,
    charged    bigint      NOT NULL DEFAULT 0,
    expired    bigint      NOT NULL DEFAULT 0,
    subject_id uuid        NOT NULL,   -- the task; of a purchase the output; of a grant and its expiry the grant
    key_id     uuid,
    draws      jsonb       NOT NULL,   -- grant -> credits, as they were drawn, returned or charged
    PRIMARY KEY (account_id, id),
    CHECK (granted = available + held + charged + expired)
);
-- At most one hold and one ending a task, one purchase an output; it also finds the hold that an ending settles.
CREATE UNIQUE INDEX entries_of_subject ON entries (subject_id, (kind = 'hold'))
    WHERE kind IN ('hold', 'charge', 'release', 'purchase');

-- Which request made which task; written by the admission itself.
CREATE TABLE idempotency (
    account_id  uuid        NOT NULL,
    route       text        NOT NULL,   -- environment, method and path
    key         text        NOT NULL,
    fingerprint bytea       NOT NULL,   -- of the body's bytes
    task_id     uuid        NOT NULL,
    expires_at  timestamptz NOT NULL,
    PRIMARY KEY (account_id, route, key)
);
CREATE INDEX idempotency_by_expiry ON idempotency USING brin (expires_at) WITH (pages_per_range = 16);

-- What was done, hour by hour; written by the endings.
CREATE TABLE usage (
    account_id uuid        NOT NULL,
    hour       timestamptz NOT NULL,
    model      text        NOT NULL,
    key_id     uuid        NOT NULL,   -- nil: none
    succeeded  bigint      NOT NULL,
    failed     bigint      NOT NULL,
    cancelled  bigint      NOT NULL,
    credits    bigint      NOT NULL,
    PRIMARY KEY (account_id, hour, model, key_id)
) WITH (fillfactor = 70);

-- What all processes count together, for whoever watches: how often something happened since the beginning.
CREATE TABLE counters (
    name  text   PRIMARY KEY,
    value bigint NOT NULL
);

ALTER TABLE tasks
    ADD COLUMN retry_of      uuid,
    ADD COLUMN max_credits   integer,
    ADD COLUMN price         bytea,         -- unit, quantity, version and breakdown, JSON; once it is known
    ADD COLUMN day_starts_at timestamptz;   -- the window of the day that counts this task
DROP INDEX tasks_parked;
CREATE INDEX tasks_parked ON tasks (account_id, lane, model, key_id, priority DESC, id)
    WHERE status = 'queued' AND NOT ready;
-- Only what has ended expires; tasks under way need not be in the index.
DROP INDEX tasks_by_expiry;
CREATE INDEX tasks_by_expiry ON tasks (expires_at) WHERE ended_at IS NOT NULL;
