"""The promise that workers call: a file of a client's in, files made of it out, and nothing else that can happen.

A worker process has one `Engines`. Every way a job ends is a result or a `Failed` whose reason and message are the
client's to read; docs/why/engines.md lists which is given when. Bytes of clients are touched in children only.
"""

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator
from importlib.util import find_spec
from pathlib import Path
from typing import Final, Literal, cast
from uuid import UUID

from msgspec import Struct

from burnish import log, settings
from burnish.engines import catalogue, codec, installed, wire
from burnish.engines.catalogue import Model, Noop, NoopSources
from burnish.engines.develop import (
    EXTENSIONS,
    Developer,
    Job,
    Output,
    Progress,
    data_output,
    last_part,
    limits,
)
from burnish.engines.film import Films
from burnish.engines.inference import Inference
from burnish.errors import STATUS_REASONS, Failed, Unusable

__all__ = ["Engines", "Job", "Output", "Probe", "Progress", "data_output"]

_log = log.get("engines")

_DEVICES: Final = ("auto", "cpu", "cuda", "torch-cpu")
_PRECISIONS: Final = ("auto", "bf16", "f32")

#: Between two looks at whether a network was installed or removed.
_WATCH_SECONDS: Final = 2.0
#: Address space for reading a header, beside the file itself, which some decoders read whole.
_HEADER_BYTES: Final = 256 * 1024 * 1024


class Probe(Struct, frozen=True):
    """What a header says; `width` and `height` as the picture is meant to be seen. `seconds` and `frame_rate`: of films."""

    type: str
    extension: str
    width: int
    height: int
    frames: int
    seconds: float | None = None
    frame_rate: float | None = None


class Engines:
    """All engines of one worker process; any number of calls at once.

    Raises:
        Unusable: a setting that means nothing.
    """

    def __init__(self, settings: settings.Engines, models: Path | None = None) -> None:
        """`models`: the directory of installed networks."""
        if settings.device not in _DEVICES or settings.precision not in _PRECISIONS:
            raise Unusable(
                f"engines.device is {settings.device!r} and engines.precision {settings.precision!r}; "
                f"they want one of {', '.join(_DEVICES)} and of {', '.join(_PRECISIONS)}."
            )
        if settings.device in ("cuda", "torch-cpu") and not find_spec("torch"):
            raise Unusable(
                f"engines.device is {settings.device}, and torch is not installed here: pip install 'burnish[gpu]'."
            )
        self._settings = settings
        self._codec = codec.Codec()
        self._inference = Inference(
            catalogue.runners(),
            threads=settings.threads,
            precision=cast('Literal["auto", "bf16", "f32"]', settings.precision),
            models=str(models or ""),
            device=cast('Literal["auto", "cpu", "cuda", "torch-cpu"]', settings.device),
        )
        self._models = models
        self._developer = Developer(settings, self._codec, self._inference)
        self._films = Films(settings, self._codec, self._inference)
        self._loading: asyncio.Task[None] | None = None
        self._watching: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Begin to load; returns at once. What is asked before it is loaded waits."""
        self._loading = asyncio.create_task(self._load())
        if self._models:
            self._watching = asyncio.create_task(self._watch(self._models))

    async def close(self) -> None:
        """End every child. Calls that are still running fail."""
        for task in (self._loading, self._watching):
            if task:
                task.cancel()
                await asyncio.gather(task, return_exceptions=True)
        await asyncio.gather(self._codec.close(), self._inference.close())

    async def probe(
        self, account: UUID, source_fd: int, deadline_seconds: float, filename: str | None = None
    ) -> Probe:
        """Read the header of a file that was called `filename`, in a child of its own.

        Raises:
            Failed: unsupported_format, decode_failed, input_too_large, duration_out_of_range, deadline_exceeded, internal.
        """
        del account  # no child serves two files, so none serves two accounts
        memory_bytes = _HEADER_BYTES + os.fstat(source_fd).st_size
        allowed = limits(deadline_seconds, memory_bytes, file_bytes=0)
        question = wire.Probe(allowed, self._settings.max_pixels, last_part(filename))
        async with _deadline(deadline_seconds):
            found = await self._developer.asked(question, [source_fd], wire.Probed)
        if found.type not in EXTENSIONS:
            raise Failed("internal", "Reading the picture failed on our side. It may be tried again.")
        return Probe(
            found.type,
            EXTENSIONS[found.type],
            found.width,
            found.height,
            found.frames,
            found.seconds,
            found.frame_rate,
        )

    async def run(self, job: Job, progress: Progress) -> list[Output]:
        """Do a job. `progress` hears (`working` or `storing`, 0 to 1), from the event loop.

        Cancelling abandons the work at once and leaves the children to others.

        Raises:
            Failed: as `probe`, and output_too_large, engine_refused.
        """
        async with _deadline(job.deadline_seconds):
            if job.model.runner == catalogue.IN_THE_WORKER:
                return await self._in_the_worker(job, progress)
            if job.model.film:
                return await self._films.make(job, progress)
            return await self._developer.develop(job, progress)

    async def canned(
        self, model: Model, params: Struct, type_: str, width: int, height: int, deadline_seconds: float
    ) -> list[Output]:
        """Pictures that show nothing, of the type and size that `model` would make of one like this; no network is asked.

        Raises:
            Failed: output_too_large, as `run`; deadline_exceeded, internal.
        """
        job = Job(UUID(int=0), model, params, [], deadline_seconds)
        async with _deadline(deadline_seconds):
            if model.film:
                return await self._films.canned(job, type_, width, height)
            return await self._developer.canned(job, type_, width, height)

    async def _in_the_worker(self, job: Job, progress: Progress) -> list[Output]:
        """What the models for tests do."""
        if isinstance(job.params, NoopSources):
            return await self._listed(job, job.params, progress)
        return await _noop(cast("Noop", job.params), progress)

    async def _listed(self, job: Job, params: NoopSources, progress: Progress) -> list[Output]:
        """What was given, as data: once for each role that was asked for."""
        progress("working", 0.0)
        given: list[dict[str, object]] = []
        for fd, filename in zip(job.source_fds, job.filenames, strict=True):
            probe = await self.probe(job.account, fd, job.deadline_seconds, filename)
            size_bytes = os.fstat(fd).st_size
            given.append({"filename": filename, "type": probe.type, "size_bytes": size_bytes})
        return [data_output({"sources": given}, role or None) for role in params.roles]

    async def _watch(self, models: Path) -> None:
        """Load anew a little after a network was installed or removed; tasks notice nothing but the new one."""
        seen = installed.stamp(models)
        while True:
            await asyncio.sleep(_WATCH_SECONDS)
            now = installed.stamp(models)
            if now == seen:
                continue
            seen = now
            try:
                await self._inference.reload()
                _log.info(
                    "installed networks loaded", networks=[one.name for one in installed.networks(models)]
                )
            except Unusable as error:
                _log.error("installed networks do not load", error=str(error))

    async def _load(self) -> None:
        """Start both children; what fails here is said again by the first call that needs it."""
        for start in (self._codec.start, self._inference.start):
            try:
                await start()
            except Unusable as error:
                _log.error("engines do not start", error=str(error))


@contextlib.asynccontextmanager
async def _deadline(seconds: float) -> AsyncIterator[None]:
    try:
        async with asyncio.timeout(seconds):
            yield
    except TimeoutError as error:
        raise Failed(
            "deadline_exceeded",
            f"The work took longer than the {seconds:g} seconds it may take. Send a smaller picture, or allow more.",
        ) from error


async def _noop(params: Noop, progress: Progress) -> list[Output]:
    progress("working", 0.0)
    await asyncio.sleep(params.seconds)
    if params.fail:
        reason = params.fail if params.fail in STATUS_REASONS else "internal"
        raise Failed(reason, "Failed, as asked.")
    return []
