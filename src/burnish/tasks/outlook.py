"""When a task will be done, as far as anybody can tell: its place in its lane, and how long its model took of late.

Called by the dialects' routes for replies about tasks that have not ended. What it is told from is asked of the
database for all of a process's readers together, at most once a second (places) and once in five (times), so that
polling costs no statement of its own; it is as old as that, and where the database does not answer, older.
"""

import asyncio
import time
from bisect import bisect_left
from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta
from math import ceil
from typing import Final, Generic, NamedTuple, TypeVar

from burnish.engines import catalogue
from burnish.storage.postgres import LOST, Connection, Database
from burnish.tasks import store
from burnish.tasks.task import FINAL, HEAVY, LANES, LIGHT, QUEUED, RUNNING, TEST, Task

T = TypeVar("T")

#: From this place on a task is told that so many are before it; walking further would cost more than it tells.
FARTHEST: Final = 1_000
_PLACES_SECONDS: Final = 1.0
_TIMES_SECONDS: Final = 5.0
_RECENT: Final = timedelta(hours=1)
_WORKER_GONE: Final = timedelta(seconds=30)
_SOONEST_SECONDS: Final = 1
_LATEST_SECONDS: Final = 30
#: A run's own progress says more than other runs, once there is this much of it.
_TELLING: Final = 0.1


class Outlook(NamedTuple):
    """`queue_position`: tasks before it in its lane; None where it is not in one. `eta_seconds`: until its end; None
    where nobody knows.
    """

    queue_position: int | None = None
    eta_seconds: int | None = None


NOTHING: Final = Outlook()


class _Times(NamedTuple):
    """Seconds that a run takes, by model and by lane, and how many tasks of each lane run at once."""

    models: dict[str, float]
    lanes: dict[int, float]
    capacity: tuple[int, int]


class Outlooks:
    """One a process; `close` ends what it is asking."""

    def __init__(self, db: Database) -> None:
        self._times = _Kept(
            db, _TIMES_SECONDS, lambda c: _read_times(c, db.clock.now()), _Times({}, {}, (0, 0))
        )
        self._places = {
            lane: _Kept(db, _PLACES_SECONDS, _reader_of(lane), list[int]()) for lane in (LIGHT, HEAVY)
        }

    async def outlook(self, task: Task, now: datetime) -> Outlook:
        """Of a task that is being read."""
        if task.status in FINAL:
            return NOTHING
        times = self._times.answer if self._times.fresh else await self._times.renewed()
        if task.status == RUNNING:
            return Outlook(None, _left(task, times.models.get(task.model), now))
        if task.status != QUEUED or not task.ready or task.tag is None:
            return NOTHING  # its bytes have not been seen, or it has no slot: nobody knows when it will
        if task.environment == TEST:
            return Outlook(0)  # claimed apart
        places = self._places[task.lane]
        position = bisect_left(places.answer if places.fresh else await places.renewed(), task.tag)
        return Outlook(position, _until_done(task, position, times))

    def again_seconds(self, task: Task, eta_seconds: int | None = None) -> int:
        """When to look again at one that has not ended, by what is known already. Asks nobody, and waits for nothing."""
        if eta_seconds is None:
            if not self._times.fresh:
                self._times.renew()
            eta_seconds = ceil(self._times.answer.models.get(task.model, 0))
        return min(max(eta_seconds, _SOONEST_SECONDS), _LATEST_SECONDS)

    async def close(self) -> None:
        await self._times.close()
        for places in self._places.values():
            await places.close()


def _left(task: Task, mean_seconds: float | None, now: datetime) -> int | None:
    """Seconds that a run still takes."""
    if task.started_at is None:
        return None
    taken = max(0.0, (now - task.started_at).total_seconds())
    if task.progress >= _TELLING:
        return max(1, ceil(taken * (1 - task.progress) / task.progress))
    return max(1, ceil(mean_seconds - taken)) if mean_seconds is not None else None


def _until_done(task: Task, position: int, times: _Times) -> int | None:
    """Seconds until a queued task has had its turn: those before it, so many at once, and its own run."""
    mean, at_once = times.models.get(task.model), times.capacity[task.lane]
    if mean is None or not at_once or position >= FARTHEST:
        return None
    return max(1, ceil(position / at_once * times.lanes[task.lane] + mean))


def _reader_of(lane: int) -> Callable[[Connection], Awaitable[list[int]]]:
    return lambda connection: store.read_ready_tags(connection, lane, FARTHEST)


async def _read_times(connection: Connection, now: datetime) -> _Times:
    """Of this hour and the last."""
    runs = await store.read_runs(connection, now - _RECENT)
    by_lane: dict[int, tuple[int, float]] = {}
    for name, (count, seconds) in runs.items():
        if (model := catalogue.find_model(name)) is not None:
            before = by_lane.get(LANES[model.lane], (0, 0.0))
            by_lane[LANES[model.lane]] = before[0] + count, before[1] + seconds
    return _Times(
        {name: seconds / count for name, (count, seconds) in runs.items()},
        {lane: seconds / count for lane, (count, seconds) in by_lane.items()},
        await store.read_capacity(connection, now - _WORKER_GONE),
    )


class _Kept(Generic[T]):
    """An answer of the database that serves all who want it for a while. Without the database the old one goes on."""

    def __init__(
        self, db: Database, seconds: float, ask: Callable[[Connection], Awaitable[T]], answer: T
    ) -> None:
        self._db = db
        self._seconds = seconds
        self._ask = ask
        self.answer = answer
        self._until = 0.0
        self._asking: asyncio.Task[None] | None = None

    @property
    def fresh(self) -> bool:
        return time.monotonic() < self._until

    def renew(self) -> asyncio.Task[None]:
        """Ask; who does not wait for it leaves it to those who come later."""
        if self._asking is None:
            self._asking = asyncio.create_task(self._renew())
        return self._asking

    async def renewed(self) -> T:
        await asyncio.shield(self.renew())
        return self.answer

    async def close(self) -> None:
        if self._asking is not None:
            self._asking.cancel()
            await asyncio.gather(self._asking, return_exceptions=True)

    async def _renew(self) -> None:
        try:
            async with self._db.reading() as connection:
                self.answer = await self._ask(connection)
        except (*LOST, TimeoutError):
            pass  # whoever asked is told less; what they came for does not depend on it
        finally:
            self._until = time.monotonic() + self._seconds
            self._asking = None
