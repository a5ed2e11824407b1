-- Orders are listed as they were made: an id says in which millisecond that was, and not which came first in it.
DROP INDEX autoenhance_orders_listed;
CREATE INDEX autoenhance_orders_listed ON autoenhance_orders (account_id, environment, created_at, id)
    WHERE deleted_at IS NULL;
