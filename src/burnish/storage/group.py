"""Group commit: callers that arrive while a transaction is in flight share the next one.

No timer: with one caller a group is one, with a hundred it is a hundred, and the cost of a commit is shared by
all of them. A group that fails on its data is halved until the culprit is alone, so one caller's bad byte fails
that caller only. Used by submissions, arrivals, endings, claims, renewals and reads.
"""

import asyncio
import time
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from typing import Final, Generic, TypeVar

import asyncpg

from burnish.errors import Unavailable
from burnish.storage.postgres import LOST, away

Item = TypeVar("Item")
Answer = TypeVar("Answer")

#: What a row's data can do wrong: PostgreSQL's classes 22 and 23, and what asyncpg finds before it sends.
FAULTS: Final = (asyncpg.DataError, asyncpg.IntegrityConstraintViolationError, UnicodeError, OverflowError)
_PATIENCE_SECONDS: Final = 2.0
_PAUSE_SECONDS: Final = 0.001


class Later:
    """An answer of `write`: this item's account was locked elsewhere; it goes into the next group."""


LATER: Final = Later()


class Group(Generic[Item, Answer]):
    """Gathers items and writes them together.

    `write` gets the items of one group and answers each, in order: an answer, an exception for that one, or
    `LATER`. It commits before it returns, and raises only when nothing of the group was written - or when the
    connection was lost: then `recover`, if given, gets the items again and says what became of them.
    """

    def __init__(
        self,
        write: Callable[[Sequence[Item]], Awaitable[Sequence[Answer | Exception | Later]]],
        *,
        rows: int,
        bytes_: int = 1 << 30,
        size: Callable[[Item], int] = lambda _item: 0,
        recover: Callable[[Sequence[Item]], Awaitable[Sequence[Answer | Exception | Later]]] | None = None,
    ) -> None:
        self._write = write
        self._rows = rows
        self._bytes = bytes_
        self._size = size
        self._recover = recover
        self._waiting: deque[tuple[Item, asyncio.Future[Answer], float]] = deque()
        self._running: asyncio.Task[None] | None = None
        self._loop: asyncio.AbstractEventLoop
        self.sizes: Callable[[int], None] = lambda _rows: None  #: told each group's size, for the metrics

    async def add(self, item: Item) -> Answer:
        """The item's answer, once its group is committed. A caller that gave up before that is left out."""
        if (
            self._running is None
        ):  # asked seldom: it looks which process this is, which is a call of the system's
            self._loop = asyncio.get_running_loop()
            self._running = self._loop.create_task(self._run())
        future: asyncio.Future[Answer] = self._loop.create_future()
        self._waiting.append((item, future, time.monotonic()))
        return await future

    async def close(self) -> None:
        """Let what was taken in come to its end, unless the database does not answer."""
        give_up = time.monotonic() + _PATIENCE_SECONDS
        while self._running is not None and time.monotonic() < give_up:
            await asyncio.wait([self._running], timeout=give_up - time.monotonic())

    async def _run(self) -> None:
        try:
            while self._waiting:
                taken = self._take()
                if not taken:
                    continue
                self.sizes(len(taken))
                answers = await self._answers([item for item, _, _ in taken])
                if not self._hand_out(taken, answers):
                    await asyncio.sleep(_PAUSE_SECONDS)  # every account is locked elsewhere: let them finish
        finally:
            self._running = None
            if self._waiting:  # a fault of ours ended the loop: the next group starts anew
                self._running = asyncio.create_task(self._run())

    def _take(self) -> list[tuple[Item, asyncio.Future[Answer], float]]:
        taken: list[tuple[Item, asyncio.Future[Answer], float]] = []
        room = self._bytes
        while self._waiting and len(taken) < self._rows:
            item, future, _since = self._waiting[0]
            if future.done():
                self._waiting.popleft()
                continue
            room -= self._size(item)
            if room < 0 and taken:
                break
            taken.append(self._waiting.popleft())
        return taken

    async def _answers(self, items: list[Item]) -> Sequence[Answer | Exception | Later]:
        try:
            return await self._write(items)
        except FAULTS as fault:
            if len(items) == 1:
                return [fault]
            half = len(items) // 2
            return [*await self._answers(items[:half]), *await self._answers(items[half:])]
        except asyncpg.DeadlockDetectedError:
            return [LATER] * len(items)
        except (*LOST, TimeoutError) as error:
            return await self._found_out(items, error)
        except Exception as error:  # each caller gets it, and raises it in its own place
            return [error] * len(items)

    async def _found_out(
        self, items: list[Item], lost: BaseException
    ) -> Sequence[Answer | Exception | Later]:
        """The connection went, perhaps at COMMIT: ask what became of the group, within the callers' patience."""
        give_up = time.monotonic() + _PATIENCE_SECONDS
        while self._recover is not None and time.monotonic() < give_up:
            try:
                return await self._recover(items)
            except (*LOST, TimeoutError) as error:
                lost = error
                await asyncio.sleep(0.1)
        return [away(lost)] * len(items)

    def _hand_out(
        self,
        taken: list[tuple[Item, asyncio.Future[Answer], float]],
        answers: Sequence[Answer | Exception | Later],
    ) -> bool:
        """Answers to their callers; what must wait goes back to the front. False when all must."""
        assert len(answers) == len(taken)
        again = []
        for (item, future, since), answer in zip(taken, answers, strict=True):
            if future.done():
                continue
            if isinstance(answer, Later):
                if time.monotonic() - since > _PATIENCE_SECONDS:
                    future.set_exception(
                        Unavailable("The account is busy; try again.", code="account_busy", retry_after=1)
                    )
                else:
                    again.append((item, future, since))
            elif isinstance(answer, Exception):
                future.set_exception(answer)
            else:
                future.set_result(answer)
        self._waiting.extendleft(reversed(again))
        return len(again) < len(taken)
