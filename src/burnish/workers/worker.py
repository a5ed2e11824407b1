"""The worker: claim, renew while it runs, end. One a process; `run` lives until `stop` is set.

Two lanes claim tasks that are ready, one those of test keys, two waiting tasks whose bytes can be had. All are told
of work by notification, and look by themselves every few seconds. One upkeep loop renews every lease at a third of
its time and writes progress at most twice a second; a task that a renewal does not find is lost or cancelled, and
its run is stopped.
"""

import asyncio
import contextlib
import functools
import os
import socket
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass
from typing import Any, Final
from uuid import UUID

from burnish import log
from burnish.dialects.autoenhance import follow as autoenhance_follow
from burnish.dialects.autoenhance.image import NAME as AUTOENHANCE
from burnish.dialects.autoenhance.webhook import AutoenhanceWords
from burnish.dialects.hiapi.deliveries import HiapiWords
from burnish.dialects.hiapi.wire import NAME as HIAPI
from burnish.dialects.native.deliveries import NativeWords
from burnish.engines.engine import Engines
from burnish.errors import Failed, Unavailable
from burnish.ids import new_id
from burnish.resources import Resources
from burnish.storage.postgres import LOST
from burnish.tasks import lease
from burnish.tasks.arrive import Seen
from burnish.tasks.finish import Ending
from burnish.tasks.run import run
from burnish.tasks.task import HEAVY, LIGHT, Claimed, lane_topic, progress_topic, topic
from burnish.uploads.receive import FETCH_TOPIC
from burnish.uploads.sign import Links
from burnish.webhooks.deliver import Deliverer, Words
from burnish.webhooks.event import NATIVE
from burnish.workers import store
from burnish.workers.deliver import Delivering
from burnish.workers.fetch import fetch
from burnish.workers.sweep import STEPS

_log = log.get("worker")
_UPKEEP_SECONDS: Final = 0.5
_PRESENCE_SECONDS: Final = 10.0
_STOP_SECONDS: Final = 1.0
#: Tasks of test keys at once: they compute next to nothing, and wait at most.
_TESTS: Final = 32
#: They are looked for at most so often, because every announcement of a task is heard here too.
_TESTS_SECONDS: Final = 0.1
#: What dialects have to go on with when their tasks have ended.
_GO_ON: Final = (autoenhance_follow.go_on,)
_OUR_FAULT: Final = "Something failed on our side; nothing was charged. The log of the worker says what."


@dataclass(slots=True)
class _Held:
    """A task this worker has, and what it last said of itself."""

    task: Claimed
    work: asyncio.Task[None]
    stage: str | None = None
    progress: float = 0.0
    written: tuple[str | None, float] = (None, 0.0)

    def report(self, stage: str, fraction: float) -> None:
        self.stage, self.progress = stage, fraction


class Worker:
    """Runs tasks with `engines` until told to stop."""

    def __init__(self, resources: Resources, engines: Engines) -> None:
        self._resources = resources
        self._engines = engines
        self._settings = resources.settings
        self._held: dict[UUID, _Held] = {}
        self._upkeep_now = asyncio.Event()
        self._go_on_now = asyncio.Event()
        self._renewed = 0.0
        self._stopping = False
        self._wakes: list[asyncio.Event] = []
        self._id = new_id()

    async def run(self, stop: asyncio.Event) -> None:
        """Work until `stop`; then give back what is held, so that others have it at once."""
        workers = self._settings.workers
        await self._show_presence()
        lanes = [asyncio.create_task(lane) for lane in self._lanes()]
        upkeep = [
            asyncio.create_task(self._forever(self._upkeep, 0)),
            asyncio.create_task(self._forever(self._show_presence, _PRESENCE_SECONDS)),
            asyncio.create_task(self._forever(self._go_on, 0)),
            *(asyncio.create_task(self._forever(self._swept(step), workers.sweep_seconds)) for step in STEPS),
            *(asyncio.create_task(lane) for lane in self._delivering()),
        ]
        stopped = asyncio.create_task(stop.wait())
        _log.info("worker_started", pid=os.getpid(), light=workers.light, heavy=workers.heavy)
        try:
            # A lane that ended by itself has met a fault of ours: the process ends too, and is started again.
            await asyncio.wait([stopped, *lanes, *upkeep], return_when=asyncio.FIRST_COMPLETED)
        finally:
            await self._stop([stopped, *upkeep], lanes)

    def _delivering(self) -> list[Coroutine[Any, Any, None]]:
        """Receivers that accept apart from the others."""
        resources = self._resources
        links = Links(resources.secret_keys, self._settings.public_url)
        words = NativeWords(resources.reads, links, self._settings.public_url)
        autoenhance = AutoenhanceWords(resources.db, resources.reads, resources.clock)
        by_dialect: dict[str, Words] = {
            NATIVE: words,
            AUTOENHANCE: autoenhance,
            HIAPI: HiapiWords(resources.reads, links),
        }
        deliverer = Deliverer(resources.outbound, resources.seal, resources.clock, by_dialect)
        delivering = Delivering(resources, deliverer)
        return [delivering.run(sound=sound) for sound in (True, False)]

    def _lanes(self) -> list[Coroutine[Any, Any, None]]:
        workers, db = self._settings.workers, self._resources.db
        seconds = self._settings.tasks.lease_seconds
        return [
            self._lane(
                [lane_topic(LIGHT)],
                workers.light,
                lambda rows: lease.claim(db, LIGHT, rows, seconds),
                self._run,
            ),
            self._lane(
                [lane_topic(HEAVY)],
                workers.heavy,
                lambda rows: lease.claim(db, HEAVY, rows, seconds),
                self._run,
            ),
            # Apart, so that a test never waits for work, nor work for a test.
            self._lane(
                [lane_topic(LIGHT), lane_topic(HEAVY)],
                _TESTS,
                lambda rows: lease.claim_tests(db, rows, seconds),
                self._run,
                pause_seconds=_TESTS_SECONDS,
            ),
            # Apart, so that slow addresses never keep an upload that is here from being looked at.
            self._lane(
                [FETCH_TOPIC],
                workers.fetches,
                lambda rows: lease.claim_fetches(db, rows, seconds, by_url=False),
                self._fetch,
            ),
            self._lane(
                [FETCH_TOPIC],
                workers.fetches,
                lambda rows: lease.claim_fetches(db, rows, seconds, by_url=True),
                self._fetch,
            ),
        ]

    # --- claiming -------------------------------------------------------------------------------------------------

    async def _lane(
        self,
        told_by: Sequence[str],
        capacity: int,
        claim: Callable[[int], Coroutine[Any, Any, list[Claimed]]],
        work: Callable[[_Held], Coroutine[Any, Any, None]],
        pause_seconds: float = 0,
    ) -> None:
        """Claim whenever there is room and there may be work. Ends by itself when the worker stops, never in a claim."""
        wake = asyncio.Event()
        self._wakes.append(wake)
        mine: set[asyncio.Task[None]] = set()

        def done(task: asyncio.Task[None]) -> None:
            mine.discard(task)
            wake.set()

        with contextlib.ExitStack() as subscriptions:
            for topic_ in told_by:
                subscriptions.enter_context(self._resources.db.news.subscribed(topic_, wake.set))
            while not self._stopping:
                wake.clear()
                room = capacity - len(mine)
                claimed = await self._claim(claim, room) if room > 0 else []
                for task in claimed:
                    started = self._start(task, work)
                    mine.add(started)
                    started.add_done_callback(done)
                if (len(claimed) < room or room <= 0) and not self._stopping:
                    with contextlib.suppress(TimeoutError):
                        async with asyncio.timeout(self._settings.workers.poll_seconds):
                            await wake.wait()
                if pause_seconds:
                    await asyncio.sleep(pause_seconds)

    async def _claim(
        self, claim: Callable[[int], Coroutine[Any, Any, list[Claimed]]], room: int
    ) -> list[Claimed]:
        """A claim that failed is one that found nothing; the next look is not far."""
        try:
            return await claim(min(room, self._settings.tasks.batch_rows))
        except Exception as error:  # one of the three loops: it outlives whatever happens in it
            _log.warning("claim_failed", error=str(error) or type(error).__name__)
            await asyncio.sleep(0.2)
            return []

    def _start(self, task: Claimed, work: Callable[[_Held], Coroutine[Any, Any, None]]) -> asyncio.Task[None]:
        started = asyncio.create_task(self._watched(task, work))
        self._held[task.lease_id] = _Held(task, started)
        return started

    async def _watched(self, task: Claimed, work: Callable[[_Held], Coroutine[Any, Any, None]]) -> None:
        """One claim from beginning to end. A cancellation elsewhere is looked for as soon as it is announced."""
        try:
            with self._resources.db.news.subscribed(topic(task.id), self._upkeep_now.set):
                await work(self._held[task.lease_id])
        except Unavailable as error:
            _log.error(
                "end_not_written", task=str(task.id), error=error.message
            )  # the lease runs out; tried again
        except Exception:
            _log.exception("run_failed", task=str(task.id))
        finally:
            self._held.pop(task.lease_id, None)

    # --- working --------------------------------------------------------------------------------------------------

    async def _run(self, held: _Held) -> None:
        resources = self._resources
        try:
            ending = await run(
                held.task, db=resources.db, blobs=resources.blobs, engines=self._engines, progress=held.report
            )
        except (Unavailable, *LOST):
            raise
        except Exception:  # one of the three loops: a fault of ours fails one task
            _log.exception("run_failed", task=str(held.task.id))
            ending = Ending(held.task, "internal", _OUR_FAULT)
        ended = await resources.endings.end(ending)
        if held.task.dialect != NATIVE:
            self._go_on_now.set()
        _log.info(
            "task_ended" if ended else "ending_came_too_late",
            task=str(held.task.id),
            request_id=held.task.request_id,
            model=held.task.model,
            status=ending.status,
            reason=ending.reason,
            message=ending.message,
            attempt=held.task.attempts,
        )

    async def _fetch(self, held: _Held) -> None:
        try:
            seen = await fetch(self._resources, self._engines, held.task)
        except (Unavailable, *LOST):
            raise
        except Exception:  # as above
            _log.exception("fetch_failed", task=str(held.task.id))
            seen = Seen(held.task, failed=Failed("internal", _OUR_FAULT))
        await self._resources.arrivals.arrive(seen)
        if seen.failed is not None and held.task.dialect != NATIVE:
            self._go_on_now.set()

    # --- upkeep ---------------------------------------------------------------------------------------------------

    async def _forever(self, step: Callable[[], Coroutine[Any, Any, None]], pause_seconds: float) -> None:
        while True:
            try:
                await step()
            except Exception as error:  # one of the three loops
                _log.warning("upkeep_failed", step=step.__name__, error=str(error) or type(error).__name__)
                await asyncio.sleep(_UPKEEP_SECONDS)
            await asyncio.sleep(pause_seconds)

    async def _upkeep(self) -> None:
        """Progress when it changed, leases at a third of their time, both at once when something was announced."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_UPKEEP_SECONDS):
                await self._upkeep_now.wait()
        now = asyncio.get_running_loop().time()
        everything = (
            self._upkeep_now.is_set() or now - self._renewed >= self._settings.tasks.lease_seconds / 3
        )
        self._upkeep_now.clear()
        held = [h for h in self._held.values() if everything or h.written != (h.stage, h.progress)]
        if held:
            await self._renew(held)
        if everything:
            self._renewed = now

    async def _go_on(self) -> None:
        """What dialects make of ends: when a task of theirs has ended here, and as often as is swept, for those that ended elsewhere."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self._settings.workers.sweep_seconds):
                await self._go_on_now.wait()
        self._go_on_now.clear()
        for go_on in _GO_ON:
            await go_on(self._resources)

    async def _renew(self, held: list[_Held]) -> None:
        said = [(h, h.stage, h.progress) for h in held]
        leases = [(h.task.id, h.task.lease_id, stage, progress) for h, stage, progress in said]
        standing = await lease.renew(self._resources.db, leases, self._settings.tasks.lease_seconds)
        news = {progress_topic(h.task.id) for h, stage, progress in said if h.written != (stage, progress)}
        self._resources.db.news.announce(news)
        for h, stage, progress in said:
            h.written = (stage, progress)
            if h.task.lease_id not in standing and h.task.lease_id in self._held:
                _log.info("run_stopped", task=str(h.task.id), why="cancelled, or claimed by another worker")
                h.work.cancel()

    def _swept(
        self, step: Callable[[Resources], Coroutine[Any, Any, None]]
    ) -> Callable[[], Coroutine[Any, Any, None]]:
        @functools.wraps(step)
        async def swept() -> None:
            await step(self._resources)

        return swept

    async def _show_presence(self) -> None:
        async with self._resources.db.relaxed() as connection:
            now = self._resources.clock.now()
            room = self._settings.workers.light, self._settings.workers.heavy
            await store.show(connection, self._id, socket.gethostname(), os.getpid(), room, now)

    # --- stopping -------------------------------------------------------------------------------------------------

    async def _stop(self, upkeep: list[asyncio.Task[Any]], lanes: list[asyncio.Task[None]]) -> None:
        """End the loops; a claim under way is awaited, for what it got must be given back too."""
        self._stopping = True
        for wake in self._wakes:
            wake.set()
        for task in upkeep:
            task.cancel()
        await asyncio.gather(*upkeep, return_exceptions=True)
        _, late = await asyncio.wait(lanes, timeout=_STOP_SECONDS)
        for task in late:
            task.cancel()
        held = list(self._held.values())
        for h in held:
            h.work.cancel()
        await asyncio.gather(*(h.work for h in held), return_exceptions=True)
        try:
            await self._leave([h.task for h in held])
        except (*LOST, TimeoutError) as error:
            _log.warning("not_given_back", tasks=len(held), error=str(error) or type(error).__name__)
        _log.info("worker_stopped", given_back=len(held))

    async def _leave(self, held: list[Claimed]) -> None:
        async with asyncio.timeout(_STOP_SECONDS):
            if held:
                await lease.release(self._resources.db, held)
            async with self._resources.db.relaxed() as connection:
                await store.hide(connection, self._id)
