"""The promise that workers call: a file of a client's in, files made of it out, and nothing else that can happen.

A worker process has one `Engines`. Every way a job ends is a result or a `Failed` whose reason and message are the
client's to read; docs/why/engines.md lists which is given when. Bytes of clients are touched in children only.
"""

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator, Callable
from typing import Final, Literal, cast
from uuid import UUID

import msgspec
from msgspec import Struct

from burnish import log, settings
from burnish.engines import catalogue, codec, wire
from burnish.engines.catalogue import Model, Noop, NoopSources, Upscale
from burnish.engines.child import Memory
from burnish.engines.inference import Inference
from burnish.errors import STATUS_REASONS, Failed, Unusable

_log = log.get("engines")

Progress = Callable[[str, float], None]

_EXTENSIONS: Final = {
    "image/jpeg": "jpg",
    "image/png": "png",
    "image/webp": "webp",
    "image/tiff": "tiff",
    "image/bmp": "bmp",
    "image/gif": "gif",
}
#: Type -> the format that it is written in, for those that can be.
_WRITTEN: Final[dict[str, wire.Format]] = {
    "image/jpeg": "jpeg",
    "image/png": "png",
    "image/webp": "webp",
    "image/tiff": "tiff",
}

_DEVICES: Final = ("auto", "cpu")
_PRECISIONS: Final = ("auto", "bf16", "f32")

#: Address space for reading a header, beside the file itself, which some decoders read whole.
_HEADER_BYTES: Final = 256 * 1024 * 1024
#: Address space for encoding, in bytes a pixel, beside the raw pixels: a transparent picture to JPEG needs the most.
_ENCODE_BYTES_PER_PIXEL: Final = 24
#: Address space for a canned picture of any size: a few rows of it.
_CANNED_BYTES: Final = 64 * 1024 * 1024
#: An encoded file is at most this much longer than its raw pixels.
_OVERHEAD_BYTES: Final = 16 * 1024 * 1024


class Probe(Struct, frozen=True):
    """What a header says; `width` and `height` as the picture is meant to be seen. `seconds`, `frame_rate`: of a film."""

    type: str
    extension: str
    width: int
    height: int
    frames: int
    seconds: float | None = None
    frame_rate: float | None = None


class Job(Struct, frozen=True):
    """One task's work. `source_fds`: its inputs, regular files or shared memory, which stay the caller's, in the order
    of the model's sources; `filenames`: what each was called, "" where nobody said.
    """

    account: UUID
    model: Model
    params: Struct
    source_fds: list[int]
    deadline_seconds: float
    filenames: list[str] = []


class Output(Struct, frozen=True):
    """A file that was made. `fd` is at its beginning and the caller's to close; `notes` is plain JSON for the client.

    `width`, `height`: of pictures and films; `seconds`, `frame_rate`: of films. `role`: what it is to the task where
    that is more than its result, in a word of small letters: "mask".
    """

    fd: int
    type: str
    extension: str
    width: int | None
    height: int | None
    size_bytes: int
    notes: dict[str, object]
    role: str | None = None
    seconds: float | None = None
    frame_rate: float | None = None


class Engines:
    """All engines of one worker process; any number of calls at once.

    Raises:
        Unusable: a setting that means nothing.
    """

    def __init__(self, settings: settings.Engines) -> None:
        if settings.device not in _DEVICES or settings.precision not in _PRECISIONS:
            raise Unusable(
                f"engines.device is {settings.device!r} and engines.precision {settings.precision!r}; "
                f"they want one of {', '.join(_DEVICES)} and of {', '.join(_PRECISIONS)}."
            )
        self._settings = settings
        self._codec = codec.Codec()
        self._inference = Inference(
            catalogue.runners(),
            threads=settings.threads,
            precision=cast('Literal["auto", "bf16", "f32"]', settings.precision),
        )
        self._loading: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Begin to load; returns at once. What is asked before it is loaded waits."""
        self._loading = asyncio.create_task(self._load())

    async def close(self) -> None:
        """End every child. Calls that are still running fail."""
        if self._loading:
            self._loading.cancel()
            await asyncio.gather(self._loading, return_exceptions=True)
        await asyncio.gather(self._codec.close(), self._inference.close())

    async def probe(self, account: UUID, source_fd: int, deadline_seconds: float) -> Probe:
        """Read the header of a file, in a child of its own.

        Raises:
            Failed: unsupported_format, decode_failed, input_too_large, deadline_exceeded, internal.
        """
        del account  # no child serves two files, so none serves two accounts
        limits = self._limits(deadline_seconds, _HEADER_BYTES + os.fstat(source_fd).st_size, file_bytes=0)
        question = wire.Probe(limits, self._settings.max_pixels)
        async with _deadline(deadline_seconds):
            found = await self._asked(question, [source_fd], wire.Probed)
        if found.type not in _EXTENSIONS:
            raise Failed("internal", "Reading the picture failed on our side. It may be tried again.")
        return Probe(found.type, _EXTENSIONS[found.type], found.width, found.height, found.frames)

    async def run(self, job: Job, progress: Progress) -> list[Output]:
        """Do a job. `progress` hears (`working` or `storing`, 0 to 1), from the event loop.

        Cancelling abandons the work at once and leaves the children to others.

        Raises:
            Failed: as `probe`, and output_too_large, engine_refused.
        """
        async with _deadline(job.deadline_seconds):
            if job.model.runner == catalogue.IN_THE_WORKER:
                return await self._in_the_worker(job, progress)
            return [await self._picture(job, cast("Upscale", job.params), progress)]

    async def canned(
        self, model: Model, params: Struct, type_: str, width: int, height: int, deadline_seconds: float
    ) -> Output:
        """A picture that shows nothing, of the type and size that `model` would make of one like this; no network is asked.

        Raises:
            Failed: output_too_large, as `run`; deadline_exceeded, internal.
        """
        if refusal := catalogue.output_refusal(model, params, width, height, self._own_limits(model)):
            raise Failed(*refusal)
        out_width, out_height = catalogue.output_size(params, width, height)
        picture = wire.Picture(width=out_width, height=out_height, channels=3, bits=8)
        format_: wire.Format = getattr(params, "format", None) or _same(type_, picture)
        limits = self._limits(
            deadline_seconds, _CANNED_BYTES, file_bytes=picture.size_bytes + _OVERHEAD_BYTES
        )
        question = wire.Canned(limits, picture.width, picture.height, format_)
        with Memory() as file:
            async with _deadline(deadline_seconds):
                await self._asked(question, [file.fd], wire.Encoded)
            return _written(file, picture, format_, {"canned": True})

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
            probe = await self.probe(job.account, fd, job.deadline_seconds)
            size_bytes = os.fstat(fd).st_size
            given.append({"filename": filename, "type": probe.type, "size_bytes": size_bytes})
        return [data_output({"sources": given}, role or None) for role in params.roles]

    async def _picture(self, job: Job, params: Upscale, progress: Progress) -> Output:
        """One picture in, one out: decode, run the network, encode."""
        progress("working", 0.0)
        with Memory() as pixels, Memory() as made, Memory() as file:
            decoded = await self._decode(job, pixels)
            wanted = decoded.picture
            refusal = catalogue.output_refusal(
                job.model, params, wanted.width, wanted.height, self._own_limits(job.model)
            )
            if refusal:
                raise Failed(*refusal)
            width, height = catalogue.output_size(params, wanted.width, wanted.height)
            result = msgspec.structs.replace(wanted, width=width, height=height)
            made.resize(result.size_bytes)
            made.seal()
            await self._inference.run(
                wire.Run(
                    job=0,
                    runner=job.model.runner,
                    params=msgspec.Raw(msgspec.msgpack.encode(params)),
                    picture=wanted,
                    result=result,
                    memory_bytes=self._settings.memory_bytes,
                ),
                (pixels.fd, made.fd),
                lambda fraction: progress("working", fraction),
            )
            progress("storing", 0.0)
            return await self._encode(job, params, decoded, result, made, file)

    async def _decode(self, job: Job, pixels: Memory) -> wire.Decoded:
        (source_fd,) = job.source_fds
        most = self._own_limits(job.model).max_pixels
        limits = self._limits(job.deadline_seconds, self._settings.memory_bytes, file_bytes=most * 8)
        decoded = await self._asked(wire.Decode(limits, most), [source_fd, pixels.fd], wire.Decoded)
        if decoded.picture.pixels > most or pixels.size_bytes != decoded.picture.size_bytes:
            _log.warning("codec child lied", picture=decoded.picture, size_bytes=pixels.size_bytes)
            raise Failed("internal", "Reading the picture failed on our side. It may be tried again.")
        pixels.seal()
        return decoded

    async def _encode(
        self,
        job: Job,
        params: Upscale,
        decoded: wire.Decoded,
        picture: wire.Picture,
        made: Memory,
        file: Memory,
    ) -> Output:
        format_ = params.format or _same(decoded.type, picture)
        needed = min(
            picture.pixels * _ENCODE_BYTES_PER_PIXEL + picture.size_bytes, self._settings.memory_bytes
        )
        question = wire.Encode(
            limits=self._limits(
                job.deadline_seconds, needed, file_bytes=picture.size_bytes * 9 // 8 + _OVERHEAD_BYTES
            ),
            picture=picture,
            format=format_,
            quality=params.quality,
            policy=params.metadata,
            metadata=decoded.metadata,
        )
        encoded = await self._asked(question, [made.fd, file.fd], wire.Encoded)
        return _written(file, picture, format_, _notes(decoded.notes | encoded.notes))

    async def _asked(
        self, question: wire.Message, descriptors: list[int], kind: type[codec.Reply]
    ) -> codec.Reply:
        try:
            return await self._codec.ask(question, descriptors, kind)
        except Unusable as error:
            raise Failed(
                "internal", "The codec does not start on this machine. Its operator knows why."
            ) from error

    async def _load(self) -> None:
        """Start both children; what fails here is said again by the first call that needs it."""
        for start in (self._codec.start, self._inference.start):
            try:
                await start()
            except Unusable as error:
                _log.error("engines do not start", error=str(error))

    def _own_limits(self, model: Model) -> catalogue.Limits:
        """The model's limits, and this machine's where they are lower."""
        return msgspec.structs.replace(
            model.limits,
            max_pixels=min(model.limits.max_pixels, self._settings.max_pixels),
            max_output_pixels=min(model.limits.max_output_pixels, self._settings.max_output_pixels),
        )

    def _limits(self, deadline_seconds: float, memory_bytes: int, *, file_bytes: int) -> wire.Limits:
        """Processor time is a second fence behind the deadline; a child may keep several cores busy."""
        return wire.Limits(
            cpu_seconds=int(deadline_seconds) * (os.cpu_count() or 1) + 2,
            memory_bytes=min(memory_bytes, self._settings.memory_bytes),
            file_bytes=file_bytes,
        )


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


def data_output(data: dict[str, object], role: str | None = None) -> Output:
    """An output that is data rather than a picture: its bytes are the JSON, and its notes say the same."""
    encoded = msgspec.json.encode(data)
    with Memory() as file:
        file.resize(len(encoded))
        os.pwrite(file.fd, encoded, 0)
        return Output(
            fd=file.keep(),
            type="application/json",
            extension="json",
            width=None,
            height=None,
            size_bytes=len(encoded),
            notes=data,
            role=role,
        )


def _written(file: Memory, picture: wire.Picture, format_: wire.Format, notes: dict[str, object]) -> Output:
    """What a child has encoded into `file`, which is the caller's from now on."""
    size_bytes = file.size_bytes
    return Output(
        fd=file.keep(),
        type=f"image/{format_}",
        extension=_EXTENSIONS[f"image/{format_}"],
        width=picture.width,
        height=picture.height,
        size_bytes=size_bytes,
        notes=notes,
    )


def _notes(said: dict[str, str]) -> dict[str, object]:
    """What children said about the picture, no longer than anything true would be."""
    return {name[:40]: words[:300] for name, words in list(said.items())[:20]}


def _same(type_: str, picture: wire.Picture) -> wire.Format:
    """The input's own format where it can be written and hold the result, else png."""
    format_ = _WRITTEN.get(type_, "png")
    return format_ if catalogue.fits(format_, picture.width, picture.height) else "png"
