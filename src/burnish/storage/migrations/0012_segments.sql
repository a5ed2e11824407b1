-- Films take long: what of one is finished outlives the worker that made it.

-- Segments of the films of tasks that have not ended; gone, and their objects with them, soon after the end.
CREATE TABLE segments (
    task_id    uuid NOT NULL,
    number     int NOT NULL,              -- from 0, none left out
    recipe     text NOT NULL,             -- how it was made: segments made otherwise do not fit together
    said       bytea NOT NULL,            -- what is known at its end, for the run that goes on
    object_key text NOT NULL,
    PRIMARY KEY (task_id, number)
);
