-- Dialects: in whose words a task's callback is told, and what an account has set for one of them.

ALTER TABLE tasks ADD COLUMN dialect text NOT NULL DEFAULT 'native';

-- An endpoint of a dialect hears of tasks that came through it; each dialect has its own secret of callbacks.
ALTER TABLE endpoints ADD COLUMN dialect text NOT NULL DEFAULT 'native';
DROP INDEX endpoints_callbacks;
CREATE UNIQUE INDEX endpoints_callbacks ON endpoints (account_id, environment, dialect) WHERE kind = 'callbacks';

-- What customers of the vendors set in a web page: `hiapi.storage`, say. Sealed, whether or not it is secret.
CREATE TABLE account_settings (
    account_id uuid NOT NULL REFERENCES accounts,
    name       text NOT NULL,
    value      bytea NOT NULL,
    PRIMARY KEY (account_id, name)
);
