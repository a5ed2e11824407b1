-- In place: what every admission and every ending changes is in no index, so that the row is updated where it lies.

-- `available` itself was in the conditions of two indexes, and every hold wrote all four of the grant's indexes anew.
ALTER TABLE grants ADD COLUMN spent boolean GENERATED ALWAYS AS (available = 0) STORED;
DROP INDEX grants_open, grants_by_expiry;
CREATE INDEX grants_open ON grants (account_id, expires_at) WHERE NOT spent;
CREATE INDEX grants_by_expiry ON grants (expires_at) WHERE NOT spent;
