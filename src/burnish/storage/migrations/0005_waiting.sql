-- Waiting: how long tasks take, so that whoever waits can be told; endings in order, for the streams that tell them.

-- Runs that succeeded and what they took from their first claim on; those of test keys compute nothing and are left out.
ALTER TABLE usage
    ADD COLUMN runs        bigint           NOT NULL DEFAULT 0,
    ADD COLUMN run_seconds double precision NOT NULL DEFAULT 0;
CREATE INDEX usage_by_hour ON usage (hour);  -- the row is updated in place all the same: its hour never changes

-- How many tasks of each lane a worker runs at once.
ALTER TABLE workers
    ADD COLUMN light integer NOT NULL DEFAULT 1,
    ADD COLUMN heavy integer NOT NULL DEFAULT 1;

ALTER TABLE tasks ADD COLUMN lost_at timestamptz[];  -- when each worker that had it was found to be lost
CREATE INDEX tasks_ended ON tasks (account_id, environment, ended_at, id) WHERE ended_at IS NOT NULL;
