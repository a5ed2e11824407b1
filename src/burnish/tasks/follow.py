"""Follow tasks as things happen to them: one until its end, or the endings of a whole account.

Called by the dialects' event streams. A stream says None when for `QUIET_SECONDS` at most there was nothing to tell, so that its
reader knows that it is alive. However many follow, one statement at a time is asked for all of them.

Endings become visible in another order than that of their moments: a transaction that took its time ends a task
earlier than one that is visible already. So each look goes back behind the newest ending that was seen, a little every
time and far once in a while, and remembers whom it has told. What is announced only wakes; nothing is lost with it.
"""

import asyncio
import contextlib
import random
import time
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from datetime import datetime, timedelta
from typing import Final, NamedTuple
from uuid import UUID

from burnish.errors import Unavailable
from burnish.storage.group import Group, Later
from burnish.storage.postgres import Database
from burnish.tasks import store
from burnish.tasks.find import Reads
from burnish.tasks.task import FINAL, Task, account_topic, progress_topic, topic

QUIET_SECONDS: Final = 15.0
_QUIET_LEAST: Final = 0.7
#: An account is looked at again no sooner: a burst of endings is one look.
_PAUSE_SECONDS: Final = 0.05
#: How far back each look goes: further than any ordinary transaction takes.
_BACK: Final = timedelta(seconds=2)
#: And how far once in `QUIET_SECONDS`: further, by that much, than any transaction may take.
_FAR_BACK: Final = timedelta(seconds=30)
_ROWS: Final = 256
_FIRST: Final = UUID(int=0)


def version(task: Task) -> str:
    """Another one after every change that its owner may see."""
    stage, progress = task.stage or "", round(task.progress * 10_000)
    return f"{task.status}.{task.attempts}.{stage}.{progress}.{int(task.expires_at.timestamp())}"


class _Look(NamedTuple):
    account_id: UUID
    environment: str
    after: tuple[datetime, UUID]


class Follower:
    """One a process: the group that looks join."""

    def __init__(self, db: Database, reads: Reads, quiet_seconds: float = QUIET_SECONDS) -> None:
        self._db = db
        self._reads = reads
        self._quiet_seconds = quiet_seconds
        self._looks: Group[_Look, list[tuple[datetime, UUID]]] = Group(self._look, rows=_ROWS)

    async def task(self, task_id: UUID, known: str | None = None) -> AsyncGenerator[Task | None, None]:
        """The task, unless this version of it is `known`, and again whenever it has changed; the last is its end.

        Progress comes as often as its worker writes it, at most twice a second.
        """
        told, news = asyncio.Event(), self._db.news
        with news.subscribed(topic(task_id), told.set), news.subscribed(progress_topic(task_id), told.set):
            while True:
                told.clear()
                found = None
                with contextlib.suppress(Unavailable):  # when it answers again, everybody is told
                    found = await self._reads.find_task(task_id)
                if found is not None and (now := version(found)) != known:
                    known = now
                    yield found
                if found is not None and found.status in FINAL:
                    return
                if not await self._is_told(told):
                    yield None

    async def account(
        self, account_id: UUID, environment: str, since: datetime, *, resumed: bool
    ) -> AsyncGenerator[Task | None, None]:
        """Every task of the account that ends from `since` on, once. Where a stream is `resumed` those that ended within
        the half minute before are told as well: they may have become visible since.
        """
        told = asyncio.Event()
        seen: dict[UUID, datetime] = {}
        newest, telling, far_at = since, resumed, 0.0
        with self._db.news.subscribed(account_topic(account_id), told.set):
            while True:
                told.clear()
                far = time.monotonic() >= far_at
                start = newest - (_FAR_BACK if far else _BACK)
                with contextlib.suppress(Unavailable):
                    async for page in self._pages(account_id, environment, start):
                        new = [id_ for _, id_ in page if id_ not in seen]
                        for task in await self._read(new) if telling else ():
                            yield task
                        seen.update((id_, ended_at) for ended_at, id_ in page)
                        newest = max(newest, page[-1][0])
                        if far:
                            seen = {id_: at for id_, at in seen.items() if at >= newest - _FAR_BACK}
                    telling = True
                    if far:
                        far_at = time.monotonic() + self._quiet_seconds
                if not await self._is_told(told):
                    yield None
                await asyncio.sleep(_PAUSE_SECONDS)

    async def _is_told(self, told: asyncio.Event) -> bool:
        """False when it has been quiet for long; never as long for two, so that many who came at once do not read at once."""
        try:
            async with asyncio.timeout(self._quiet_seconds * random.uniform(_QUIET_LEAST, 1)):
                await told.wait()
        except TimeoutError:
            return False
        return True

    async def _pages(
        self, account_id: UUID, environment: str, since: datetime
    ) -> AsyncIterator[list[tuple[datetime, UUID]]]:
        """(ended_at, id) of what has ended since, in that order."""
        after = since, _FIRST
        while page := await self._looks.add(_Look(account_id, environment, after)):
            yield page
            if len(page) < _ROWS:
                return
            after = page[-1]

    async def _read(self, ids: Sequence[UUID]) -> list[Task]:
        found = await asyncio.gather(*map(self._reads.find_task, ids))
        return [task for task in found if task is not None]

    async def _look(
        self, looks: Sequence[_Look]
    ) -> Sequence[list[tuple[datetime, UUID]] | Exception | Later]:
        """One after the other, on one connection; the same question is asked once."""
        async with self._db.reading() as connection:
            answers = {
                look: await store.list_ended(connection, *look, rows=_ROWS) for look in dict.fromkeys(looks)
            }
        return [answers[look] for look in looks]
