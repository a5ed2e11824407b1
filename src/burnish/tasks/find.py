"""Find tasks: one by its id (reads that arrive together are one statement), many by page, one by waiting for it."""

import asyncio
import random
import time
from collections.abc import Container, Sequence
from datetime import datetime
from typing import Final
from uuid import UUID

from burnish.errors import Expired, NotFound
from burnish.ids import to_wire
from burnish.storage.group import Group, Later
from burnish.storage.postgres import LOST, Database, answering, away
from burnish.tasks import store
from burnish.tasks.task import FINAL, Task, topic

#: The slow poll behind the notification; never the same for two, so that many who came at once do not read at once.
_REREAD_SECONDS: Final = (10.0, 15.0)


class Reads:
    """One a process: the group that reads join."""

    def __init__(self, db: Database) -> None:
        self._db = db
        self._group: Group[UUID, Task | None] = Group(self._read, rows=256)

    async def get_task(self, account_id: UUID, environment: str, task_id: UUID, now: datetime) -> Task:
        """The account's task of that id.

        Raises:
            NotFound: there is none, or it is another account's.
            Expired: its time is over; only its tombstone is left.
            Unavailable: the database did not answer.
        """
        task = await self._group.add(task_id)
        if task is None or (task.account_id, task.environment) != (account_id, environment):
            raise NotFound(f"There is no task {to_wire('task', task_id)}.")
        if task.status in FINAL and task.expires_at <= now:
            raise Expired(f"This task and its media expired at {task.expires_at:%Y-%m-%d %H:%M} UTC.")
        return task

    async def find_task(self, task_id: UUID) -> Task | None:
        """Whosever it is; for what is told of it. Raises Unavailable."""
        return await self._group.add(task_id)

    async def wait_for(self, task: Task, seconds: float, statuses: Container[str] = FINAL) -> Task:
        """The task once it has ended, or has one of these statuses; or as it stands after `seconds`."""
        give_up = time.monotonic() + seconds
        told = asyncio.Event()
        with self._db.news.subscribed(topic(task.id), told.set):
            while task.status not in statuses and (left := give_up - time.monotonic()) > 0:
                found = await self._group.add(task.id)
                if found is None or found.status in statuses:
                    return found or task
                task = found
                try:
                    # Not by wait_for, which would be a task more for everybody who waits.
                    async with asyncio.timeout(min(left, random.uniform(*_REREAD_SECONDS))):
                        await told.wait()
                except TimeoutError:
                    continue
                told.clear()
        return task

    async def _read(self, ids: Sequence[UUID]) -> Sequence[Task | Exception | Later | None]:
        async with self._db.reading() as connection:
            found = await store.read_tasks(connection, ids)
        return [found.get(task_id) for task_id in ids]


async def page_of_tasks(
    db: Database, account_id: UUID, environment: str, dialect: str, *, skip: int, rows: int
) -> tuple[list[Task], int]:
    """A page of the account's tasks that came through a dialect, newest first, and how many there are in all. Raises Unavailable."""
    with answering():
        async with db.reading() as connection:
            total = await store.read_made(connection, account_id, environment, dialect)
            return await store.page_of_tasks(connection, account_id, environment, dialect, skip, rows), total


async def list_tasks(
    db: Database,
    account_id: UUID,
    environment: str,
    *,
    rows: int,
    now: datetime,
    after: UUID | None = None,
    status: str | None = None,
    model: str | None = None,
    created_after: datetime | None = None,
) -> list[Task]:
    """The account's tasks, newest first, below `after`. Raises Unavailable."""
    try:
        async with db.reading() as connection:
            return await store.list_tasks(
                connection,
                account_id,
                environment,
                after=after,
                status=status,
                model=model,
                created_after=created_after,
                rows=rows,
                now=now,
            )
    except (*LOST, TimeoutError) as error:
        raise away(error) from error
