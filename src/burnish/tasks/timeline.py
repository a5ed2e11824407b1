"""What happened to a task, and when. Told from the moments that its row has anyway: nothing is written to tell it."""

from datetime import datetime
from typing import NamedTuple

from burnish.storage.postgres import Database, answering
from burnish.tasks import store
from burnish.tasks.task import Task


class Happening(NamedTuple):
    """`what`: submitted, queued, started, worker_lost, or the status that it ended in. `attempt`: the run it is about."""

    at: datetime
    what: str
    attempt: int | None = None
    reason: str | None = None


async def timeline(db: Database, task: Task) -> list[Happening]:
    """Oldest first. Of runs after the first the beginning is not known; it follows the loss of the worker before.

    Raises:
        Unavailable: the database did not answer.
    """
    told = [Happening(task.created_at, "submitted")]
    if task.queued_at is not None:
        told.append(Happening(task.queued_at, "queued"))
    if task.started_at is not None:
        told.append(Happening(task.started_at, "started", 1))
        with answering():
            async with db.reading() as connection:
                lost = await store.read_lost_at(connection, task.id)
        told += [Happening(at, "worker_lost", attempt) for attempt, at in enumerate(lost, 1)]
    if task.ended_at is not None:
        attempt = task.attempts if task.started_at is not None else None
        told.append(Happening(task.ended_at, task.status, attempt, task.status_reason))
    return told
