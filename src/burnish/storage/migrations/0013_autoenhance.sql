-- Autoenhance: its orders, images and brackets, which are tasks and uploads in that vendor's words.

-- A task whose price is taken when its result is first fetched, not at its end.
ALTER TABLE tasks ADD COLUMN paid_at_download boolean NOT NULL DEFAULT false;

-- `chosen`: the id that its client chose, known to its account alone; without one, the row's own id may be told.
CREATE TABLE autoenhance_orders (
    id          uuid PRIMARY KEY,
    account_id  uuid NOT NULL REFERENCES accounts,
    environment text NOT NULL,
    chosen      uuid,
    name        text,
    grouping    uuid,                 -- the task that finds out which brackets belong together
    wanted      bytea,                -- what is to be made of them then (JSON)
    fault       text,                 -- why nothing could be made of its brackets
    created_at  timestamptz NOT NULL,
    updated_at  timestamptz NOT NULL,
    deleted_at  timestamptz
);
CREATE UNIQUE INDEX autoenhance_orders_named ON autoenhance_orders (account_id, environment, coalesce(chosen, id))
    WHERE deleted_at IS NULL;
CREATE INDEX autoenhance_orders_listed ON autoenhance_orders (account_id, environment, id) WHERE deleted_at IS NULL;
CREATE INDEX autoenhance_orders_grouping ON autoenhance_orders (id) WHERE grouping IS NOT NULL;
CREATE INDEX autoenhance_orders_by_age ON autoenhance_orders (created_at);

CREATE TABLE autoenhance_images (
    id           uuid PRIMARY KEY,
    account_id   uuid NOT NULL REFERENCES accounts,
    environment  text NOT NULL,
    chosen       uuid,
    order_id     uuid NOT NULL REFERENCES autoenhance_orders,
    name         text NOT NULL,
    content_type text,
    preferences  bytea NOT NULL,      -- JSON
    metadata     bytea,               -- JSON
    rating       smallint,
    upload_id    uuid,                -- null: it is made of brackets
    task_id      uuid,                -- what makes it now; null: nothing here can, `fault` says why
    pending      bytea,               -- that task has yet to be submitted, for whom and how (JSON)
    fault        text,
    dev          boolean NOT NULL,    -- made in development mode: costs nothing, always has a watermark
    paid_at      timestamptz,         -- when it was first downloaded whole
    created_at   timestamptz NOT NULL,
    deleted_at   timestamptz
);
CREATE UNIQUE INDEX autoenhance_images_named ON autoenhance_images (account_id, environment, coalesce(chosen, id))
    WHERE deleted_at IS NULL;
CREATE INDEX autoenhance_images_of_order ON autoenhance_images (order_id, id);
CREATE INDEX autoenhance_images_pending ON autoenhance_images (id) WHERE pending IS NOT NULL;
CREATE INDEX autoenhance_images_by_age ON autoenhance_images (created_at);

CREATE TABLE autoenhance_brackets (
    id          uuid PRIMARY KEY,
    account_id  uuid NOT NULL REFERENCES accounts,
    environment text NOT NULL,
    chosen      uuid,
    order_id    uuid NOT NULL REFERENCES autoenhance_orders,
    image_id    uuid,                 -- the image that it became part of
    name        text NOT NULL,
    metadata    bytea,                -- JSON
    preferences bytea,                -- JSON: it was registered as an image with `hdr`
    upload_id   uuid NOT NULL,
    created_at  timestamptz NOT NULL,
    deleted_at  timestamptz
);
CREATE UNIQUE INDEX autoenhance_brackets_named ON autoenhance_brackets (account_id, environment, coalesce(chosen, id))
    WHERE deleted_at IS NULL;
CREATE INDEX autoenhance_brackets_of_order ON autoenhance_brackets (order_id, id);
CREATE INDEX autoenhance_brackets_of_image ON autoenhance_brackets (image_id, id) WHERE image_id IS NOT NULL;
CREATE INDEX autoenhance_brackets_by_age ON autoenhance_brackets (created_at);

CREATE TABLE autoenhance_reports (
    image_id uuid NOT NULL REFERENCES autoenhance_images ON DELETE CASCADE,
    at       timestamptz NOT NULL,
    report   bytea NOT NULL           -- JSON
);
CREATE INDEX autoenhance_reports_of_image ON autoenhance_reports (image_id, at);
