"""Follow tasks as things happen to them: one until its end, or all that happens in an account.

Called by the dialects' event streams. A stream says None when for `QUIET_SECONDS` at most there was nothing to tell, so that its
reader knows that it is alive. However many follow, one statement at a time is asked for all of them.

What is committed becomes visible in another order than that of its moments: a transaction that took its time ends a task
earlier than one that is visible already. So each look goes back behind the newest event that was seen, a little every
time and far once in a while, and remembers what it has told. What is announced only wakes; nothing is lost with it.

Ends are told by the tasks themselves. What else happens is written down only for accounts that are followed: those
of which a stream was open in the last week.
"""

import asyncio
import contextlib
import random
import time
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from datetime import datetime, timedelta
from typing import Any, Final, NamedTuple
from uuid import UUID

from burnish.errors import Unavailable
from burnish.storage.group import Group, Later
from burnish.storage.postgres import Database, answering
from burnish.tasks import store
from burnish.tasks.find import Reads
from burnish.tasks.task import FINAL, Task, progress_topic, topic
from burnish.webhooks import store as webhooks
from burnish.webhooks.announce import account_topic
from burnish.webhooks.event import OF_STATUS

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
#: For so long after its last stream an account is followed, and for so long what happened is kept.
FOLLOWED: Final = timedelta(days=7)
_FOLLOWED_AGAIN_SECONDS: Final = 3_600.0


def version(task: Task) -> str:
    """Another one after every change that its owner may see."""
    stage, progress = task.stage or "", round(task.progress * 10_000)
    return f"{task.status}.{task.attempts}.{stage}.{progress}.{int(task.expires_at.timestamp())}"


class Told(NamedTuple):
    """One event of an account, as the webhook of that name: of a task as it stands now, or `facts` (JSON) of the account. `id`: the
    task's, of an end.
    """

    at: datetime
    id: UUID
    name: str
    task: Task | None
    facts: bytes | None


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
        self._looks: Group[_Look, list[Any]] = Group(self._look, rows=_ROWS)

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
    ) -> AsyncGenerator[Told | None, None]:
        """Everything that happens in the account from `since` on, once. Where a stream is `resumed` what happened within
        the half minute before is told as well: it may have become visible since.
        """
        told = asyncio.Event()
        seen: dict[UUID, datetime] = {}
        newest, telling, far_at, follow_at = since, resumed, 0.0, 0.0
        with self._db.news.subscribed(account_topic(account_id), told.set):
            while True:
                told.clear()
                far = time.monotonic() >= far_at
                start = newest - (_FAR_BACK if far else _BACK)
                with contextlib.suppress(Unavailable):
                    if time.monotonic() >= follow_at:
                        await self._follow(account_id)
                        follow_at = time.monotonic() + _FOLLOWED_AGAIN_SECONDS
                    async for page in self._pages(account_id, environment, start):
                        new = [row for row in page if row["id"] not in seen]
                        for event in await self._read(new) if telling else ():
                            yield event
                        seen.update((row["id"], row["at"]) for row in page)
                        newest = max(newest, page[-1]["at"])
                        if far:
                            seen = {id_: at for id_, at in seen.items() if at >= newest - _FAR_BACK}
                    telling = True
                    if far:
                        far_at = time.monotonic() + self._quiet_seconds
                if not await self._is_told(told):
                    yield None
                await asyncio.sleep(_PAUSE_SECONDS)

    async def wait_for_account(
        self, account_id: UUID, environment: str, since: datetime, seconds: float, *, resumed: bool
    ) -> list[Told]:
        """What `account` tells, at once for those to whom no stream comes through: as soon as something newer than `since` is
        among it, or after `seconds`.

        Raises:
            Unavailable: the database did not answer.
        """
        told = asyncio.Event()
        give_up = time.monotonic() + seconds
        known: set[UUID] | None = set() if resumed else None
        with self._db.news.subscribed(account_topic(account_id), told.set):
            await self._follow(account_id)
            while True:
                told.clear()
                found: list[Any] = []
                async for page in self._pages(account_id, environment, since - _FAR_BACK):
                    found += page
                    if page[-1]["at"] > since:
                        break
                if known is None:
                    known = {row["id"] for row in found}
                new = [row for row in found if row["id"] not in known]
                left = give_up - time.monotonic()
                if left <= 0 or (new and (not resumed or new[-1]["at"] > since)):
                    return await self._read(new)
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(min(left, self._quiet_seconds)):
                        await told.wait()

    async def _follow(self, account_id: UUID) -> None:
        """What happens in the account is written down from now on."""
        with answering():
            async with self._db.transaction() as tx:
                await webhooks.follow(tx, account_id, self._db.clock.now() + FOLLOWED)

    async def _is_told(self, told: asyncio.Event) -> bool:
        """False when it has been quiet for long; never as long for two, so that many who came at once do not read at once."""
        try:
            async with asyncio.timeout(self._quiet_seconds * random.uniform(_QUIET_LEAST, 1)):
                await told.wait()
        except TimeoutError:
            return False
        return True

    async def _pages(self, account_id: UUID, environment: str, since: datetime) -> AsyncIterator[list[Any]]:
        """What has happened since, in that order, as `store.list_happened` gives it."""
        after = since, _FIRST
        while page := await self._looks.add(_Look(account_id, environment, after)):
            yield page
            if len(page) < _ROWS:
                return
            after = page[-1]["at"], page[-1]["id"]

    async def _read(self, rows: Sequence[Any]) -> list[Told]:
        """Those whose task is still there."""
        ids = [row["task_id"] for row in rows if row["task_id"] is not None]
        found = dict(zip(ids, await asyncio.gather(*map(self._reads.find_task, ids)), strict=True))
        events = []
        for row in rows:
            task = found.get(row["task_id"])
            if row["task_id"] is None:
                events.append(Told(row["at"], row["id"], row["name"], None, row["facts"]))
            elif task is not None:
                name = row["name"] or OF_STATUS[task.status]
                events.append(Told(row["at"], row["id"], name, task, None))
        return events

    async def _look(self, looks: Sequence[_Look]) -> Sequence[list[Any] | Exception | Later]:
        """One after the other, on one connection; the same question is asked once."""
        async with self._db.reading() as connection:
            answers = {
                look: await store.list_happened(connection, *look, rows=_ROWS)
                for look in dict.fromkeys(looks)
            }
        return [answers[look] for look in looks]
