-- Renditions: files in the forms that links to them asked for.

CREATE TABLE renditions (
    source_id  uuid  NOT NULL REFERENCES blobs ON DELETE CASCADE,
    parameters bytea NOT NULL,            -- the form, JSON, always written the same way
    task_id    uuid  NOT NULL,            -- the task that makes it; made before the task is
    PRIMARY KEY (source_id, parameters)
);
