"""A job on pictures: decode every source, lead the pixels through the model's runners, encode what came out.

Called by `engine.Engines.run`. Everything is done in children; what they say is checked here against what was asked.
"""

import asyncio
import os
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from functools import partial
from typing import Any, Final, Literal, TypeVar
from uuid import UUID

import msgspec
from msgspec import Struct

from burnish import log, settings
from burnish.engines import catalogue, wire
from burnish.engines.catalogue import Model, Shape, Stage
from burnish.engines.checkpoints import Checkpoints
from burnish.engines.child import Memory
from burnish.engines.codec import Codec
from burnish.engines.inference import Inference
from burnish.errors import Failed, Unusable

_log = log.get("engines")

Progress = Callable[[str, float], None]
Reply = TypeVar("Reply", wire.Probed, wire.Decoded, wire.Encoded)

EXTENSIONS: Final = {
    "image/jpeg": "jpg",
    "image/png": "png",
    "image/webp": "webp",
    "image/tiff": "tiff",
    "image/bmp": "bmp",
    "image/gif": "gif",
    "image/avif": "avif",
    "image/heic": "heic",
    "image/heif": "heif",
    "image/x-tga": "tga",
    "image/x-adobe-dng": "dng",
    "image/x-canon-cr2": "cr2",
    "image/x-canon-cr3": "cr3",
    "image/x-nikon-nef": "nef",
    "image/x-sony-arw": "arw",
    "image/x-fuji-raf": "raf",
    "image/x-olympus-orf": "orf",
    "image/x-panasonic-rw2": "rw2",
    "image/x-pentax-pef": "pef",
    "image/x-samsung-srw": "srw",
    "image/x-raw": "raw",
    "application/json": "json",
    "video/mp4": "mp4",
    "video/quicktime": "mov",
    "video/x-m4v": "m4v",
    "video/x-msvideo": "avi",
    "video/x-matroska": "mkv",
    "video/webm": "webm",
    "video/x-flv": "flv",
    "video/mpeg": "mpeg",
    "video/mp2t": "ts",
    "video/x-ms-wmv": "wmv",
}
#: Type -> the format that it is written in, for those that can be.
_WRITTEN: Final[dict[str, wire.Format]] = {
    "image/jpeg": "jpeg",
    "image/png": "png",
    "image/webp": "webp",
    "image/avif": "avif",
    "image/tiff": "tiff",
}
#: Formats that hold transparency.
_WITH_ALPHA: Final = ("png", "webp", "avif", "tiff")
#: Sources decoded at the same time; each takes the memory of a picture.
_DECODED_AT_ONCE: Final = 2
#: Address space for encoding, in bytes a pixel, beside the raw pixels: a transparent picture to JPEG needs the most; and
#: for AVIF, 33 measured with halved colour, 53 with all of it and alpha.
_ENCODE_BYTES_PER_PIXEL: Final = 24
_AVIF_BYTES_PER_PIXEL: Final = 56
#: Address space for a canned picture of any size: a few rows of it.
_CANNED_BYTES: Final = 64 * 1024 * 1024
#: An encoded file is at most this much longer than its raw pixels.
_OVERHEAD_BYTES: Final = 16 * 1024 * 1024
#: Of a file's name only its end means anything.
_NAME_CHARACTERS: Final = 32
#: Longest data that a runner may answer with, as JSON.
_DATA_BYTES: Final = 1024 * 1024


class Job(Struct, frozen=True):
    """One task's work. `source_fds`: its inputs, regular files or shared memory, which stay the caller's, in the order
    of the model's sources; `filenames`: what each was called, "" where nobody said. `checkpoints`: where what is finished of
    a film outlives the run.
    """

    account: UUID
    model: Model
    params: Struct
    source_fds: list[int]
    deadline_seconds: float
    filenames: list[str] = []
    checkpoints: Checkpoints | None = None


class Output(Struct, frozen=True):
    """A file that was made. `fd` is at its beginning and the caller's to close; `notes` is plain JSON for the client.

    `width`, `height`: of pictures and films; `seconds`, `frame_rate`: of films. `role`: what it is to the task where
    that is more than its result, in a word of small letters: "mask". `data`: what the file holds, where that is JSON.
    """

    fd: int
    type: str
    extension: str
    width: int | None
    height: int | None
    size_bytes: int
    notes: dict[str, Any]
    role: str | None = None
    seconds: float | None = None
    frame_rate: float | None = None
    data: dict[str, Any] | None = None


class Rendering(Struct, frozen=True):
    """How the pictures of a job are written: those of its parameters that say so."""

    format: wire.Format | None = None
    quality: int = 90
    metadata: Literal["keep", "strip", "strip_gps"] = "keep"
    dpi: int | None = None


class Developer:
    """Does jobs on pictures with the children of one worker; any number at once."""

    def __init__(self, settings: settings.Engines, codec: Codec, inference: Inference) -> None:
        self._settings = settings
        self._codec = codec
        self._inference = inference

    async def develop(self, job: Job, progress: Progress) -> list[Output]:
        """Raises Failed, as `Engines.run`."""
        progress("working", 0.0)
        with ExitStack() as stack:
            sources = [stack.enter_context(Memory()) for _ in job.source_fds]
            decoded = await self._decode_all(job, sources)
            first = decoded[0]
            self._check_room(job, first)
            made, done = await self._stages(job, decoded, sources, stack, progress)
            progress("storing", 0.0)
            notes = _notes(first.notes | done.notes)
            outputs: list[Output] = []
            try:
                for memory, picture, shape in made:
                    outputs.append(await self._encode(job, first, notes, memory, picture, shape))
                if done.data is not None:
                    outputs.append(data_output(done.data))
            except BaseException:
                for output in outputs:
                    os.close(output.fd)
                raise
            return outputs

    async def canned(self, job: Job, type_: str, width: int, height: int) -> list[Output]:
        """Pictures that show nothing, of the type and size that the model would make of one like this."""
        if refusal := catalogue.output_refusal(
            job.model, job.params, width, height, self._own_limits(job.model)
        ):
            raise Failed(*refusal)
        outputs = []
        for shape in catalogue.shapes_of(job.model, job.params, width, height):
            picture = _promised(shape, wire.Picture(width=width, height=height, channels=3, bits=8))
            format_ = _format(job, type_, picture)
            allowed = limits(
                job.deadline_seconds, _CANNED_BYTES, file_bytes=picture.size_bytes + _OVERHEAD_BYTES
            )
            question = wire.Canned(allowed, picture.width, picture.height, format_)
            with Memory() as file:
                await self.asked(question, [file.fd], wire.Encoded)
                outputs.append(_written(file, picture, format_, {"canned": True}, shape.role))
        return outputs or [data_output({"canned": True})]

    async def asked(self, question: wire.Message, descriptors: list[int], kind: type[Reply]) -> Reply:
        """Put a question to a codec child. Raises Failed."""
        try:
            return await self._codec.ask(question, descriptors, kind)
        except Unusable as error:
            raise Failed(
                "internal", "The codec does not start on this machine. Its operator knows why."
            ) from error

    # --- in ---------------------------------------------------------------------------------------------------------

    async def _decode_all(self, job: Job, sources: Sequence[Memory]) -> list[wire.Decoded]:
        room = asyncio.Semaphore(_DECODED_AT_ONCE)

        async def decode(descriptor: int, filename: str, pixels: Memory) -> wire.Decoded:
            async with room:
                return await self._decode(job, descriptor, filename, pixels)

        names = job.filenames or [""] * len(sources)
        each = zip(job.source_fds, names, sources, strict=True)
        work = [asyncio.create_task(decode(*one)) for one in each]
        try:
            return await asyncio.gather(*work)
        finally:
            for task in work:
                task.cancel()
            await asyncio.gather(*work, return_exceptions=True)

    async def _decode(self, job: Job, descriptor: int, filename: str, pixels: Memory) -> wire.Decoded:
        most = self._own_limits(job.model).max_pixels
        allowed = limits(job.deadline_seconds, self._settings.memory_bytes, file_bytes=most * 8)
        question = wire.Decode(allowed, most, last_part(filename), job.model.decode_side)
        decoded = await self.asked(question, [descriptor, pixels.fd], wire.Decoded)
        if decoded.picture.pixels > most or pixels.size_bytes != decoded.picture.size_bytes:
            _log.warning("codec child lied", picture=decoded.picture, size_bytes=pixels.size_bytes)
            raise Failed("internal", "Reading the picture failed on our side. It may be tried again.")
        pixels.seal()
        if job.model.one_frame and "frames" in decoded.notes:
            raise Failed(
                "unsupported_format",
                f"The file holds several pictures, and {job.model.name} looks at one. Send each by itself.",
            )
        picture = decoded.picture
        refusal = catalogue.output_refusal(
            job.model, job.params, picture.width, picture.height, self._own_limits(job.model)
        )
        if refusal:
            raise Failed(*refusal)
        return decoded

    # --- the runners ------------------------------------------------------------------------------------------------

    async def _stages(
        self,
        job: Job,
        decoded: Sequence[wire.Decoded],
        memories: Sequence[Memory],
        stack: ExitStack,
        progress: Progress,
    ) -> tuple[list[tuple[Memory, wire.Picture, Shape]], wire.Done]:
        """What the last runner has made, with its shape; and what all of them said."""
        stages = catalogue.stages_of(job.model, job.params)
        pictures, shots = [one.picture for one in decoded], [one.shot for one in decoded]
        notes: dict[str, str] = {}
        for number, stage in enumerate(stages):
            shapes = self._shapes(job, pictures[0], stage, last=number == len(stages) - 1)
            promised = [_promised(shape, pictures[0]) for shape in shapes]
            results = [stack.enter_context(Memory()) for _ in promised]
            for memory, picture in zip(results, promised, strict=True):
                memory.resize(picture.size_bytes)
                memory.seal()
            done = await self._inference.run(
                wire.Run(
                    job=0,
                    runner=stage.runner,
                    params=msgspec.Raw(msgspec.msgpack.encode(stage.params)),
                    pictures=tuple(pictures),
                    shots=tuple(shots),
                    results=tuple(promised),
                    memory_bytes=self._settings.memory_bytes,
                    mark=self._settings.watermark,
                ),
                [memory.fd for memory in (*memories, *results)],
                partial(_report, progress, number, len(stages)),
            )
            notes |= done.notes
            pictures = _sized(promised, done)
            memories, shots = results, shots[:1]
        return list(zip(memories, pictures, shapes, strict=True)), msgspec.structs.replace(done, notes=notes)

    def _shapes(self, job: Job, first: wire.Picture, stage: Stage, *, last: bool) -> tuple[Shape, ...]:
        """What a stage may make of what the one before has made: by its own word, or else by the model's (`Stage.size`)."""
        if stage.size:
            return (Shape(*stage.size(stage.params, first.width, first.height)),)
        if last:
            return catalogue.shapes_of(job.model, job.params, first.width, first.height)
        return (Shape(first.width, first.height),)

    # --- out --------------------------------------------------------------------------------------------------------

    async def _encode(
        self,
        job: Job,
        first: wire.Decoded,
        notes: dict[str, Any],
        made: Memory,
        picture: wire.Picture,
        shape: Shape,
    ) -> Output:
        rendering = _rendering(job.params)
        format_ = _format(job, first.type, picture)
        needed = min(_encode_bytes(picture, format_), self._settings.memory_bytes)
        question = wire.Encode(
            limits=limits(
                job.deadline_seconds, needed, file_bytes=picture.size_bytes * 9 // 8 + _OVERHEAD_BYTES
            ),
            picture=picture,
            format=format_,
            quality=rendering.quality,
            policy=rendering.metadata,
            metadata=first.metadata,
            dpi=rendering.dpi,
        )
        with Memory() as file:
            encoded = await self.asked(question, [made.fd, file.fd], wire.Encoded)
            return _written(file, picture, format_, notes | _notes(encoded.notes), shape.role)

    def _check_room(self, job: Job, first: wire.Decoded) -> None:
        """Before the work, whether what it makes can be written: AVIF's encoder does not survive want of memory.

        Raises:
            Failed: output_too_large.
        """
        for shape in catalogue.shapes_of(job.model, job.params, first.picture.width, first.picture.height):
            picture = _promised(shape, first.picture)
            format_ = _format(job, first.type, picture)
            if format_ == "avif" and _encode_bytes(picture, format_) > self._settings.memory_bytes:
                raise Failed(
                    "output_too_large",
                    f"Writing {picture.width} x {picture.height} pixels as AVIF takes more memory than there is for it. "
                    "Ask for jpeg or png, or for a smaller result.",
                )

    # --- limits -----------------------------------------------------------------------------------------------------

    def _own_limits(self, model: Model) -> catalogue.Limits:
        """The model's limits, and this machine's where they are lower."""
        return msgspec.structs.replace(
            model.limits,
            max_pixels=min(model.limits.max_pixels, self._settings.max_pixels),
            max_output_pixels=min(model.limits.max_output_pixels, self._settings.max_output_pixels),
        )


def _report(progress: Progress, stage: int, stages: int, fraction: float) -> None:
    progress("working", (stage + fraction) / stages)


def _encode_bytes(picture: wire.Picture, format_: wire.Format) -> int:
    """Address space for encoding a picture, the raw pixels among it."""
    each = _AVIF_BYTES_PER_PIXEL if format_ == "avif" else _ENCODE_BYTES_PER_PIXEL
    return picture.pixels * each + picture.size_bytes


def last_part(filename: str | None) -> str:
    """As much of a file's name as tells what it may be."""
    return (filename or "")[-_NAME_CHARACTERS:]


def limits(deadline_seconds: float, memory_bytes: int, *, file_bytes: int) -> wire.Limits:
    """Processor time is a second fence behind the deadline; a child may keep several cores busy."""
    return wire.Limits(
        cpu_seconds=int(deadline_seconds) * (os.cpu_count() or 1) + 2,
        memory_bytes=memory_bytes,
        file_bytes=file_bytes,
    )


def _promised(shape: Shape, first: wire.Picture) -> wire.Picture:
    return wire.Picture(
        width=shape.width,
        height=shape.height,
        channels=shape.channels or first.channels,
        bits=shape.bits or first.bits,
    )


def _sized(promised: Sequence[wire.Picture], done: wire.Done) -> list[wire.Picture]:
    """The results as large as the runner says they are.

    Raises:
        Failed: internal, where it says what cannot be.
    """
    sizes = done.sizes
    if len(sizes) != len(promised) or any(
        width > picture.width or height > picture.height
        for (width, height), picture in zip(sizes, promised, strict=False)
    ):
        _log.warning("runner lied", promised=promised, sizes=sizes)
        raise Failed("internal", "The engine failed on this picture. It may be tried again.")
    both = zip(promised, sizes, strict=True)
    return [msgspec.structs.replace(picture, width=width, height=height) for picture, (width, height) in both]


def _rendering(params: Struct) -> Rendering:
    return msgspec.convert(params, Rendering, from_attributes=True)


def _format(job: Job, type_: str, picture: wire.Picture) -> wire.Format:
    """The format that was asked for, else the input's own where it can be written and hold the result, else png."""
    if wanted := _rendering(job.params).format:
        return wanted
    format_ = _WRITTEN.get(type_, "png")
    alpha = picture.channels in (2, 4)
    holds = catalogue.fits(format_, picture.width, picture.height) and (not alpha or format_ in _WITH_ALPHA)
    return format_ if holds else "png"


def _written(
    file: Memory, picture: wire.Picture, format_: wire.Format, notes: dict[str, Any], role: str | None
) -> Output:
    """What a child has encoded into `file`, which is the caller's from now on."""
    size_bytes = file.size_bytes
    return Output(
        fd=file.keep(),
        type=f"image/{format_}",
        extension=EXTENSIONS[f"image/{format_}"],
        width=picture.width,
        height=picture.height,
        size_bytes=size_bytes,
        notes=notes,
        role=role,
    )


def data_output(data: dict[str, Any], role: str | None = None) -> Output:
    """An output that is data rather than a picture: its bytes are the JSON.

    Raises:
        Failed: internal, where it is longer than anything true would be.
    """
    text = msgspec.json.encode(data)
    if len(text) > _DATA_BYTES:
        _log.warning("runner said too much", size_bytes=len(text))
        raise Failed("internal", "The engine failed on this picture. It may be tried again.")
    with Memory() as file:
        file.write(text)
        return Output(
            fd=file.keep(),
            type="application/json",
            extension="json",
            width=None,
            height=None,
            size_bytes=len(text),
            notes={},
            data=data,
            role=role,
        )


def _notes(said: dict[str, str]) -> dict[str, Any]:
    """What children said about the picture, no longer than anything true would be."""
    return {name[:40]: words[:300] for name, words in list(said.items())[:20]}
