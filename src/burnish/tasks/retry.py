"""Make a task again that failed or was cancelled: a new task, with its own hold and its own use of the windows."""

import msgspec

from burnish.engines import catalogue
from burnish.errors import Conflict
from burnish.ids import new_id
from burnish.keys.key import Key
from burnish.storage.postgres import Database, answering
from burnish.tasks import store
from burnish.tasks.sources import places_of
from burnish.tasks.submit import Once, Submission
from burnish.tasks.task import CANCELLED, FAILED, Task


async def submission_again(
    db: Database, task: Task, key: Key, request_id: str, once: Once | None
) -> Submission:
    """The same request once more, by this key.

    Raises:
        Conflict: `task_not_retryable`: it has not ended, or has succeeded.
        Unavailable: the database did not answer.
    """
    if task.status not in {FAILED, CANCELLED}:
        raise Conflict(
            f"This task is {task.status}; only one that failed or was cancelled can be made again.",
            code="task_not_retryable",
        )
    model = catalogue.find_model(task.model)
    if model is None:
        raise Conflict(f"The model {task.model} is no longer here.", code="task_not_retryable")
    parameters = msgspec.json.decode(task.input, type=model.parameters)
    sources = [(task.source_id, task.source_url)]
    if len(places_of(model, parameters)) > 1:
        with answering():
            async with db.reading() as connection:
                sources = (await store.read_sources(connection, [task.id])).get(task.id, sources)
    return Submission(
        id=new_id(),
        account_id=task.account_id,
        environment=task.environment,
        key_id=key.id,
        request_id=request_id,
        model=model,
        parameters=parameters,
        input=task.input,
        metadata=task.metadata,
        # What an address holds may have changed, or be reachable now: it is fetched again.
        sources=tuple(url or id_ for id_, url in sources),
        max_attempts=task.max_attempts,
        deadline_seconds=task.deadline_seconds,
        retention_seconds=task.retention_seconds,
        priority=task.priority,
        max_credits=task.max_credits,
        credit_cap=key.credit_cap,
        retry_of=task.id,
        callback_url=task.callback_url,
        dialect=task.dialect,
        paid_at_download=task.paid_at_download,
        callback_all=task.callback_all,
        once=once,
    )
