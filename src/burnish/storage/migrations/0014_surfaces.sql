-- Lists of the tasks that came through a dialect, page by page: what is skipped is read from here alone.
CREATE INDEX tasks_of_dialect ON tasks (account_id, environment, dialect, id) WHERE dialect <> 'native';
