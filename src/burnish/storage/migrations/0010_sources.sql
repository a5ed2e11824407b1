-- The sources of tasks that have more than one, in their order. Such a task's own source is a cursor: while it waits, the
-- one that it waits for; from then on, the first.
CREATE TABLE task_sources (
    task_id    uuid     NOT NULL,
    position   smallint NOT NULL,
    source_id  uuid,               -- null: of a test key, for which nothing is fetched
    source_url text,
    PRIMARY KEY (task_id, position)
);
CREATE INDEX task_sources_of_blob ON task_sources (source_id);
