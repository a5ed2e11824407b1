-- Followed: what event streams tell an account beside the ends of its tasks, which the tasks themselves tell.

-- Written only for accounts that are followed, in the transaction that makes it true; kept for a week.
CREATE TABLE events (
    id          uuid PRIMARY KEY,
    account_id  uuid NOT NULL,
    environment text NOT NULL,
    name        text NOT NULL,
    task_id     uuid,
    facts       bytea,                    -- of an event that is not a task's, JSON
    at          timestamptz NOT NULL
);
CREATE INDEX events_of_account ON events (account_id, environment, at, id);
CREATE INDEX events_by_age ON events (at);

-- Until when an account counts as followed: a week after a stream of its was last open. Null: nobody follows.
ALTER TABLE accounts ADD COLUMN followed_until timestamptz;
CREATE INDEX accounts_followed ON accounts (followed_until) WHERE followed_until IS NOT NULL;
