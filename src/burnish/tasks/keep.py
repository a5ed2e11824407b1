"""An ended task and what it made are kept for longer, or deleted at once.

Called by the dialects' routes. Blobs are moved before the task, as everywhere; what a sweep has begun to delete is not
kept any more.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import NamedTuple
from uuid import UUID

from burnish.errors import Conflict, Expired
from burnish.keys.plan import Plans
from burnish.storage.postgres import Connection, Database, answering
from burnish.tasks import store
from burnish.tasks.cancel import cancel
from burnish.tasks.task import FINAL, Task, outputs_of
from burnish.uploads import store as blobs


class Receipt(NamedTuple):
    """What was deleted: `size_bytes` of outputs, and of the inputs that the task had fetched itself."""

    deleted_at: datetime
    outputs: int
    size_bytes: int


async def keep(db: Database, task: Task, retention_seconds: int, longest_seconds: int, now: datetime) -> None:
    """Keep it for so long from now, if that is longer than it is kept anyway; at most until twice `longest_seconds`, what
    its plan allows, after its end.

    Raises:
        Conflict: `task_not_ended`.
        Expired: its time is over.
        Unavailable: the database did not answer; the same again is safe.
    """
    _must_have_ended(task)
    assert task.ended_at is not None
    last = task.ended_at + timedelta(seconds=2 * longest_seconds)
    until = min(now + timedelta(seconds=retention_seconds), last)
    if until <= task.expires_at:
        return
    made = [record.id for record in outputs_of(task)]
    with answering():
        async with db.transaction() as tx:
            there = await blobs.move_expiry(tx, made, until)
            if len(there) < len(made) or not await store.move_expiry(tx, task.id, until, now):
                raise Expired("The time of this task and its media is over.")


async def delete(db: Database, task: Task, plans: Plans, now: datetime) -> Receipt:
    """Its time is over now: it answers as expired, and its bytes are next to be swept.

    Raises:
        Conflict: `task_not_ended`.
        Expired: it was over already.
        Unavailable: the database did not answer; the same again is safe.
    """
    _must_have_ended(task)
    made = [record.id for record in outputs_of(task)]
    await _cancel_renditions(db, made, plans)
    with answering():
        async with db.transaction() as tx:
            several = (await store.read_sources(tx, [task.id])).get(task.id)
            sources = several or [(task.source_id, task.source_url)]
            fetched = {id_ for id_, url in sources if id_ is not None and url is not None}
            sizes = await blobs.move_expiry(tx, [*made, *fetched], now, earlier=True)
            await _delete_renditions(tx, made, now)
            if not await store.move_expiry(tx, task.id, now, now):
                raise Expired("The time of this task and its media is over.")
    return Receipt(now, len(made), sum(sizes))


async def _cancel_renditions(db: Database, made: Sequence[UUID], plans: Plans) -> None:
    """Those that are being made: nothing is to be kept of them afterwards."""
    with answering():
        async with db.reading() as connection:
            tasks = await store.read_tasks(connection, await store.list_renditions(connection, made))
    for task in tasks.values():
        await cancel(db, task, plans)


async def _delete_renditions(tx: Connection, made: Sequence[UUID], now: datetime) -> None:
    """What links to them asked for goes with them."""
    if not (task_ids := await store.forget_renditions(tx, made)):
        return
    tasks = (await store.read_tasks(tx, task_ids)).values()
    await blobs.move_expiry(
        tx, [record.id for task in tasks for record in outputs_of(task)], now, earlier=True
    )
    for task in tasks:
        await store.move_expiry(tx, task.id, now, now)


def _must_have_ended(task: Task) -> None:
    if task.status not in FINAL:
        raise Conflict(
            f"This task is {task.status}; wait for its end, or cancel it first.", code="task_not_ended"
        )
