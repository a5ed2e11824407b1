"""Inference, from the worker's side: the one child that holds the networks.

It is started before it is needed, stays loaded between tasks and accounts, and sees raw pixels only. Several jobs
may be in it at once; it takes a tile of each in turn. When it is lost, the job that it was at fails, jobs that were
only waiting their turn begin again in the next child, and that child is started at once.
"""

import asyncio
import contextlib
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final, Literal

import msgspec

from burnish import log
from burnish.engines import wire
from burnish.engines.child import Child
from burnish.errors import STATUS_REASONS, Failed, Unusable

_log = log.get("engines")

_from_inference: Final = msgspec.msgpack.Decoder(wire.FromInference)
_ready: Final = msgspec.msgpack.Decoder(wire.Ready)

#: How often the memory of a child that drives a GPU is looked at, and what it may take beside what is stated.
_WATCH_SECONDS: Final = 0.5
_SLACK_BYTES: Final = 512 * 1024 * 1024

#: How long a child may go on with a tile of a job that was cancelled, before it is taken for hung.
_LEAVE_SECONDS: Final = 10.0


class _Lost(Exception):
    """The child is gone. `guilty`: it was at this very job; `shared`: at a batch of tiles of this job and of others."""

    def __init__(self, *, guilty: bool = False, shared: bool = False) -> None:
        super().__init__()
        self.guilty = guilty
        self.shared = shared


class _Job:
    def __init__(self, progress: Callable[[float], None]) -> None:
        self.progress = progress
        self.over: asyncio.Future[wire.Done] = asyncio.get_running_loop().create_future()

    def end(self, how: "wire.Done | wire.Broken | _Lost") -> None:
        if self.over.done():
            return
        match how:
            case wire.Done():
                self.over.set_result(how)
            case wire.Broken():
                _log.warning("engine broke", reason=how.reason, detail=how.detail)
                reason = how.reason if how.reason in STATUS_REASONS else "internal"
                self.over.set_exception(Failed(reason, how.message))
            case _Lost():
                self.over.set_exception(how)


class _Loaded:
    """A running child and the jobs that are in it."""

    def __init__(self, child: Child, ready: wire.Ready, when_lost: Callable[[], None]) -> None:
        self.child = child
        self.facts = ready.facts
        self.lost = False
        self._when_lost = when_lost
        self._jobs: dict[int, _Job] = {}
        self._turn: tuple[int, ...] = ()
        self._leaving: dict[int, asyncio.TimerHandle] = {}
        self._count = 0
        self._memory_bytes = 0
        self._listening = asyncio.create_task(self._listen())
        self._watching = (
            asyncio.create_task(self._watch(resident_bytes(child.pid))) if ready.watched else None
        )

    async def run(
        self, message: wire.Run, memories: Sequence[int], progress: Callable[[float], None]
    ) -> wire.Done:
        """Do one job; cancelling leaves it.

        Raises:
            Failed: what the runner said.
            _Lost: the child is.
        """
        self._count += 1
        number = self._count
        job = self._jobs[number] = _Job(progress)
        self._memory_bytes += message.memory_bytes
        try:
            await self.child.connection.send(msgspec.structs.replace(message, job=number), memories)
            return await job.over
        except wire.Gone:
            raise _Lost from None
        except asyncio.CancelledError:
            await self._leave(number)
            raise
        finally:
            self._jobs.pop(number, None)
            self._memory_bytes -= message.memory_bytes

    async def drained(self) -> None:
        """Returns once no job is in it any more."""
        while self._jobs and not self.lost:
            await asyncio.wait([job.over for job in self._jobs.values()], timeout=1.0)

    async def end(self) -> None:
        tasks = [self._listening, *([self._watching] if self._watching else [])]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for timer in self._leaving.values():
            timer.cancel()
        await self.child.end()

    async def _leave(self, number: int) -> None:
        """Tell the child to drop a job; it does after the tile that it is at, or it is hung and is killed."""
        if self.lost:
            return
        loop = asyncio.get_running_loop()
        self._leaving[number] = loop.call_later(_LEAVE_SECONDS, self.child.kill)
        with contextlib.suppress(wire.Gone):
            await self.child.connection.send(wire.Cancel(number))

    async def _listen(self) -> None:
        try:
            while True:
                self._heard(await self.child.connection.receive(_from_inference))
        except wire.Gone:
            self.lost = True
            self._when_lost()
        finally:
            only = len(self._jobs) == 1
            shared = not only and len(self._turn) > 1
            for number, job in self._jobs.items():
                at_it = not self._leaving and (only or number in self._turn)
                job.end(_Lost(guilty=at_it and not shared, shared=at_it and shared))

    async def _watch(self, loaded_bytes: int) -> None:
        """End it when it holds more memory than when it was loaded, and what its jobs may take."""
        while not self.lost:
            if resident_bytes(self.child.pid) > loaded_bytes + self._memory_bytes + _SLACK_BYTES:
                _log.warning("inference took too much memory", pid=self.child.pid)
                self.child.kill()
                return
            await asyncio.sleep(_WATCH_SECONDS)

    def _heard(self, message: wire.FromInference) -> None:
        job = self._jobs.get(message.job)
        match message:
            case wire.Turn():
                self._turn = (message.job, *message.beside)
            case wire.Left():
                if timer := self._leaving.pop(message.job, None):
                    timer.cancel()
            case wire.Progress() if job:
                job.progress(message.fraction)
            case wire.Done() | wire.Broken() if job:
                job.end(message)


class Inference:
    """Runs networks, any number of jobs at once, in one child."""

    def __init__(
        self,
        runners: tuple[str, ...],
        *,
        threads: int,
        precision: Literal["auto", "bf16", "f32"],
        models: str = "",
        device: Literal["auto", "cpu", "cuda", "torch-cpu"] = "auto",
    ) -> None:
        self._loads = wire.Start(0, runners, threads or _cores(), precision, models, device)
        self._loaded: _Loaded | None = None
        self._starting = asyncio.Lock()
        self._reviving: asyncio.Task[None] | None = None
        self._closed = False

    async def start(self) -> dict[str, str]:
        """Have a child ready; what it found out about the machine (`precision`, `device`).

        Raises:
            Unusable: it does not start, or a network is not installed.
        """
        return (await self._ready()).facts

    async def close(self) -> None:
        self._closed = True
        if self._reviving:
            self._reviving.cancel()
            await asyncio.gather(self._reviving, return_exceptions=True)
        loaded, self._loaded = self._loaded, None
        if loaded:
            await loaded.end()

    async def run(
        self, message: wire.Run, memories: Sequence[int], progress: Callable[[float], None]
    ) -> wire.Done:
        """Run `message` on the pixels in the first memories, into the others; `progress` hears the part that is done.

        Raises:
            Failed: the runner's own reason; internal where the child was lost at this job.
        """
        for attempt in (1, 2, 3):
            try:
                loaded = await self._ready()
            except Unusable as error:
                raise Failed(
                    "internal", "The engine does not start on this machine. Its operator knows why."
                ) from error
            try:
                return await loaded.run(message, memories, progress)
            except _Lost as lost:
                if lost.guilty or attempt == 3:
                    break
                if lost.shared:  # if it is this one's doing, it shows when nobody else is in it
                    message = msgspec.structs.replace(message, alone=True)
        raise Failed(
            "internal", "The engine went down while it worked on this picture. It may be tried again."
        )

    async def reload(self) -> None:
        """Have a child that has loaded anew; jobs that are in the present one are done there.

        Raises:
            Unusable: it does not start; the present one stays.
        """
        async with self._starting:
            before = self._loaded
            if before is None or before.lost or self._closed:
                return  # the next start loads anew in any case
            self._loaded = await self._started()
        await before.drained()
        await before.end()

    def _revive(self) -> None:
        _log.warning("inference lost")
        if not self._closed:
            self._reviving = asyncio.create_task(self._try_start())

    async def _try_start(self) -> None:
        try:
            await self._ready()
        except Unusable as error:  # the next job tries again, and fails with it
            _log.error("inference does not start", error=str(error))

    async def _ready(self) -> _Loaded:
        async with self._starting:
            if self._closed:
                raise Unusable("Inference is closed.")
            if self._loaded is None or self._loaded.lost:
                if self._loaded:
                    await self._loaded.end()
                    self._loaded = None
                self._loaded = await self._started()
            return self._loaded

    async def _started(self) -> _Loaded:
        """A child that is ready; where nobody insists on a GPU, one that fails is left alone from then on."""
        try:
            child, ready = await _start(self._loads)
        except Unusable as error:
            if self._loads.device != "auto":
                raise
            _log.warning("networks go to the processor", why=str(error))
            self._loads = msgspec.structs.replace(self._loads, device="cpu")
            child, ready = await _start(self._loads)
        _log.info("inference ready", pid=child.pid, confined=ready.confined, **ready.facts)
        return _Loaded(child, ready, self._revive)


async def _start(start: wire.Start) -> tuple[Child, wire.Ready]:
    """Raises Unusable: as `Child.start`, or what the child itself says."""
    mine = msgspec.structs.replace(start, parent_pid=os.getpid())
    child, ready = await Child.start("inference", mine, _ready)
    if ready.unusable:
        await child.end()
        raise Unusable(ready.unusable)
    return child, ready


def resident_bytes(pid: int) -> int:
    """What a process holds in memory; 0 where that cannot be seen, or it is gone."""
    try:
        pages = Path(f"/proc/{pid}/statm").read_text().split()[1]
    except OSError:
        return 0
    return int(pages) * os.sysconf("SC_PAGE_SIZE")


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
