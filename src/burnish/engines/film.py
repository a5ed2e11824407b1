"""A job on a film: decoded, led through the model's runner and encoded at the same time, a few frames of it in each place.

Called by `engine.Engines.run`. One child decodes, the inference child works, one child encodes each segment; frames lie in
shared memory that goes round between them, so that what is held does not grow with the film. A finished segment is kept
(`Job.checkpoints`), and a run that was lost is followed by one that goes on after the last. At the end the segments are
joined, with the sound of the film that came. What children say is checked here against what was asked.
"""

import asyncio
import contextlib
import hashlib
import importlib.metadata
import time
from collections.abc import AsyncGenerator, AsyncIterator, Coroutine, Iterator
from fractions import Fraction
from itertools import pairwise
from typing import Any, Final, NamedTuple, TypeVar

import msgspec
from msgspec import Struct

from burnish import log, settings
from burnish.engines import catalogue, wire
from burnish.engines.catalogue.video import FILMS_OUT, H264_PIXELS, RUNNER, Batch, Film, film_of
from burnish.engines.checkpoints import Checkpoints, Spool
from burnish.engines.child import Memory
from burnish.engines.codec import Codec, Conversation
from burnish.engines.develop import EXTENSIONS, Job, Output, Progress, limits
from burnish.engines.inference import Inference
from burnish.errors import Failed, Unusable

_log = log.get("engines")

#: A segment ends after so many seconds of work too, however little of the film that is.
_SEGMENT_WORK_SECONDS: Final = 60.0
#: Frames of a round, and bytes of what it gives: enough to be worth a message, little enough to wait for.
_ROUND_FRAMES: Final = 16
_ROUND_BYTES: Final = 48 * 1024 * 1024
#: Rounds under way between two children: one is being filled while the other is being used.
_UNDER_WAY: Final = 2
#: Address space of a decoder and an encoder for each pixel: frames that refer to one another, and those it looks ahead to.
_DECODE_BYTES_PER_PIXEL: Final = 128
_ENCODE_BYTES_PER_PIXEL: Final = 220
_BYTES_AT_LEAST: Final = 384 * 1024 * 1024
_SEGMENT_BYTES: Final = 1 << 40
#: By how much a film may be shorter than its header says without a word about it.
_MISSING_SECONDS: Final = 0.5
#: As `films.canned` writes it.
_CANNED_SECONDS, _CANNED_RATE = 1.0, 10.0
#: Rates that containers can tell: AVI counts frames, a GIF's shortest frame is two hundredths of a second.
_GIF_RATE: Final = 50.0
_MOST_RATE: Final = 120.0
#: Containers that know one time of a frame only, or whose codec has one.
_IN_ORDER: Final = ("avi", "webm", "gif")
#: A part of the way so small that the frame is the one before.
_SAME: Final = 0.004


class _Done(Struct, frozen=True):
    """What is known at the end of a segment: of a finished one all that another run needs to go on.

    `resume`: as in `wire.DecodeFilm`, None where the film is over. `origin`: time of the first frame. `end`: when the last
    one is over. `made`: frames so far.
    """

    resume: tuple[int, int] | None
    origin: int
    end: int
    made: int


class _Round(Struct, frozen=True):
    """Frames that were made, in `memory`, which is given back when they are encoded; `done`: what is known after them."""

    memory: Memory
    times: tuple[int, ...]
    done: _Done | None


class _Wanted(NamedTuple):
    """A frame of the result: the frame at a place of a round, or a part of the way to the next; and its time in ticks."""

    place: int
    part: float
    time: int


_Item = TypeVar("_Item")


class Films:
    """Does jobs on films with the children of one worker; any number at once."""

    def __init__(self, settings: settings.Engines, codec: Codec, inference: Inference) -> None:
        self._settings = settings
        self._codec = codec
        self._inference = inference

    async def make(self, job: Job, progress: Progress) -> list[Output]:
        """Raises Failed, as `Engines.run`."""
        progress("working", 0.0)
        spool = None if job.checkpoints else Spool()
        try:
            checkpoints = job.checkpoints or spool
            assert checkpoints is not None
            work = _Work(self._settings, self._codec, self._inference, job, checkpoints, progress)
            return [await work.make()]
        except Unusable as error:
            raise Failed(
                "internal", "The codec does not start on this machine. Its operator knows why."
            ) from error
        finally:
            if spool:
                spool.close()

    async def canned(self, job: Job, type_: str, width: int, height: int) -> list[Output]:
        """A film that shows nothing, as large as the model would make of one like this, and a second long."""
        if refusal := catalogue.output_refusal(job.model, job.params, width, height):
            raise Failed(*refusal)
        film, format_ = film_of(job.params, width, height), _format(job, type_)
        picture = wire.Picture(film.width, film.height, 3, 8)
        allowed = limits(
            job.deadline_seconds,
            _BYTES_AT_LEAST + picture.pixels * _ENCODE_BYTES_PER_PIXEL,
            file_bytes=_BYTES_AT_LEAST + 10 * picture.size_bytes,
        )
        with Memory(on_disk=True) as file:
            question = wire.CannedFilm(allowed, picture.width, picture.height, format_)
            await self._codec.ask(question, [file.fd], wire.Encoded)
            return [_output(file, film, format_, {"canned": True}, _CANNED_SECONDS, _CANNED_RATE)]


class _Work:
    """One job on its way."""

    def __init__(
        self,
        settings: settings.Engines,
        codec: Codec,
        inference: Inference,
        job: Job,
        checkpoints: Checkpoints,
        progress: Progress,
    ) -> None:
        self._settings, self._codec, self._inference = settings, codec, inference
        self._job, self._checkpoints, self._progress = job, checkpoints, progress
        self._decoded = self._encoded = 0

    async def make(self) -> Output:
        recipe = self._recipe()
        kept = [msgspec.msgpack.decode(said, type=_Done) for said in await self._checkpoints.find(recipe)]
        last = kept[-1] if kept else None
        number = len(kept)
        async with self._codec.conversation() as decoder:
            await self._open(decoder, last.resume if last else None)
            if last is None or last.resume is not None:
                with _memories(1 + _UNDER_WAY, self._core * self._made_bytes) as free:
                    self._free = free
                    async with contextlib.aclosing(self._segments(decoder, last, recipe, number)) as segments:
                        async for done in segments:
                            last, number = done, number + 1
        assert last is not None
        _log.info(
            "film made", segments=number, kept_before=len(kept), decoded=self._decoded, encoded=self._encoded,
            frames=last.made,
        )  # fmt: skip
        self._progress("storing", 0.0)
        return await self._join(last, number)

    def _recipe(self) -> str:
        """What segments of this job must have in common."""
        params = msgspec.json.encode(self._job.params)
        return hashlib.sha256(
            f"{importlib.metadata.version('burnish')} {self._job.model.name} ".encode() + params
        ).hexdigest()[:32]

    # --- in -----------------------------------------------------------------------------------------------------------

    async def _open(self, decoder: Conversation, resume: tuple[int, int] | None) -> None:
        """Everything that is known before the first frame."""
        job = self._job
        beside = film_of(job.params, 64, 64)
        most = job.model.limits.max_pixels
        question = wire.DecodeFilm(
            self._limits(_BYTES_AT_LEAST + most * _DECODE_BYTES_PER_PIXEL),
            beside.before,
            beside.after,
            resume,
        )
        opened = await decoder.ask(question, job.source_fds, wire.Opened)
        if opened.type not in EXTENSIONS:
            raise _lied(opened)
        if refusal := catalogue.output_refusal(job.model, job.params, opened.width, opened.height):
            raise Failed(*refusal)
        self._opened, self._format = opened, _format(job, opened.type)
        self._film = film = film_of(job.params, opened.width, opened.height)
        if self._format == "avi" and film.width * film.height > H264_PIXELS:
            raise Failed("output_too_large", "An AVI holds films up to 4K (3840 x 2160). Ask for mp4 or mkv.")
        self._timing = _Timing(opened, film, self._format)
        self._given_bytes = opened.width * opened.height * 3 * opened.bits // 8
        self._made_bytes = film.width * film.height * 3 * opened.bits // 8
        self._core = max(1, min(_ROUND_FRAMES, _ROUND_BYTES // max(self._given_bytes, self._made_bytes)))

    async def _rounds(self, decoder: Conversation, last: _Done | None) -> AsyncGenerator[_Round, None]:
        """Decode and work at once: the next round is being decoded while this one is in the network."""
        film, state = self._film, last
        filled: asyncio.Queue[tuple[wire.Filled, Memory]] = asyncio.Queue(1)

        async def decode() -> None:
            over = False
            while not over:
                memory = await free.get()
                answer = await decoder.ask(wire.Fill(self._core), [memory.fd], wire.Filled)
                _check(answer, self._core, film)
                self._decoded, over = answer.decoded, answer.over
                await filled.put((answer, memory))

        room = (self._core + film.before + film.after) * self._given_bytes
        with _memories(_UNDER_WAY, room) as free:
            async with _beside(decode()) as decoding:
                while state is None or state.resume is not None:
                    answer, memory = await _next(filled, decoding)
                    wanted, state = self._timing.made(answer, state)
                    for at in range(0, max(1, len(wanted)), self._core):
                        part = wanted[at : at + self._core]
                        result = await self._free.get()
                        if part:
                            await self._infer(answer, memory, part, result)
                        whole = at + self._core >= len(wanted)
                        yield _Round(result, tuple(one.time for one in part), state if whole else None)
                    free.put_nowait(memory)
                    self._progress("working", self._timing.part(state))

    async def _infer(
        self, answer: wire.Filled, memory: Memory, wanted: list[_Wanted], result: Memory
    ) -> None:
        film, opened, count = self._film, self._opened, len(answer.times)
        batch = Batch(
            frames=count,
            width=opened.width,
            height=opened.height,
            target=(film.width, film.height),
            wanted=tuple((one.place, one.part) for one in wanted),
            scale=film.scale,
            mode=film.mode,
            denoise=film.denoise,
        )
        message = wire.Run(
            job=0,
            runner=RUNNER,
            params=msgspec.Raw(msgspec.msgpack.encode(batch)),
            pictures=(wire.Picture(opened.width, opened.height * count, 3, opened.bits),),
            shots=(wire.Shot(),),
            results=(wire.Picture(film.width, film.height * len(wanted), 3, opened.bits),),
            memory_bytes=self._settings.memory_bytes,
        )
        await self._inference.run(message, [memory.fd, result.fd], lambda _fraction: None)

    # --- out ----------------------------------------------------------------------------------------------------------

    async def _segments(
        self, decoder: Conversation, last: _Done | None, recipe: str, number: int
    ) -> AsyncGenerator[_Done, None]:
        """Encode what is made, segment by segment; each is kept before the next begins, while frames go on being made."""
        made: asyncio.Queue[_Round] = asyncio.Queue(1)

        async def make() -> None:
            async with contextlib.aclosing(self._rounds(decoder, last)) as rounds:
                async for one in rounds:
                    await made.put(one)

        async with _beside(make()) as making:
            over = False
            while not over:
                with Memory(on_disk=True) as file:
                    done = await self._segment(made, making, file)
                    over = done.resume is None
                    if not file.size_bytes:  # the film ended with its last segment
                        return
                    await self._checkpoints.keep(recipe, number, msgspec.msgpack.encode(done), file.fd)
                number += 1
                yield done

    async def _segment(
        self, made: "asyncio.Queue[_Round]", making: "asyncio.Task[None]", file: Memory
    ) -> _Done:
        picture = wire.Picture(self._film.width, self._film.height, 3, self._opened.bits)
        base = self._timing.base
        question = wire.EncodeFilm(
            limits=self._limits(_BYTES_AT_LEAST + picture.pixels * _ENCODE_BYTES_PER_PIXEL),
            picture=picture,
            codec=_codec(self._format, picture),
            quality=getattr(self._job.params, "quality", 80),
            base=(base.numerator, base.denominator),
            rate=self._timing.rate,
            colours=self._opened.colours,
            in_order=self._format in _IN_ORDER,
        )
        first: int | None = None
        began = time.monotonic()
        async with self._codec.conversation() as encoder:
            while True:
                one = await _next(made, making)
                if one.times:
                    if first is None:
                        first = one.times[0]
                        await encoder.ask(question, [file.fd], wire.Taken)
                    await encoder.ask(wire.Frames(one.times), [one.memory.fd], wire.Taken)
                    self._encoded += len(one.times)
                self._free.put_nowait(one.memory)
                if one.done is None:
                    continue
                over = one.done.resume is None
                long = (
                    bool(one.times)
                    and first is not None
                    and (one.times[-1] - first) * base >= self._settings.segment_seconds
                )
                if over or (first is not None and (long or time.monotonic() - began > _SEGMENT_WORK_SECONDS)):
                    if first is not None:
                        await encoder.ask(wire.Finish(), [], wire.Encoded)
                    return one.done

    async def _join(self, last: _Done, segments: int) -> Output:
        timing = self._timing
        start, end = timing.seconds(last.origin), timing.seconds(last.end)
        question = wire.JoinFilm(
            limits=self._limits(_BYTES_AT_LEAST + self._made_bytes * 4),
            format=self._format,
            base=(timing.base.numerator, timing.base.denominator),
            origin=timing.first(last),
            start=start,
            end=end,
            in_order=self._format in _IN_ORDER,
        )
        with Memory(on_disk=True) as file:
            async with self._codec.conversation() as joiner:
                await joiner.ask(question, [*self._job.source_fds, file.fd], wire.Taken)
                for number in range(segments):
                    with Memory(on_disk=True) as segment:
                        await self._checkpoints.load(number, segment.fd)
                        await joiner.ask(wire.Segment(), [segment.fd], wire.Taken)
                    self._progress("storing", (number + 1) / segments)
                encoded = await joiner.ask(wire.Finish(), [], wire.Encoded)
            notes = {name[:40]: words[:300] for name, words in list(encoded.notes.items())[:20]}
            if self._opened.seconds > end - start + _MISSING_SECONDS:
                said = f"The file says {self._opened.seconds:.1f} s, but its pictures end after {end - start:.1f} s."
                notes["length"] = said
            return _output(file, self._film, self._format, notes, end - start, last.made / (end - start))

    def _limits(self, memory_bytes: int) -> wire.Limits:
        return limits(
            self._job.deadline_seconds,
            min(memory_bytes, self._settings.memory_bytes),
            file_bytes=_SEGMENT_BYTES,
        )


class _Timing:
    """When the frames of the result are shown. `base`: seconds of a tick of theirs; `rate`: nominal, frames a second.

    A model may ask for a rate, and containers may: an AVI counts frames, and a GIF's shortest frame is two hundredths of a
    second. Otherwise frames keep their times.
    """

    def __init__(self, opened: wire.Opened, film: Film, format_: wire.FilmFormat) -> None:
        self._source_base = Fraction(*opened.base)
        self._seconds = opened.seconds
        self._before = film.before
        self._moves = film.rate is not None
        self.rate = film.rate or opened.rate
        if format_ == "gif":
            self.rate = min(self.rate, _GIF_RATE)
        self.rate = min(self.rate, _MOST_RATE)
        self._constant = self._moves or format_ == "avi" or self.rate < opened.rate
        self.base = 1 / Fraction(self.rate).limit_denominator(1001) if self._constant else self._source_base

    def made(self, answer: wire.Filled, before: _Done | None) -> tuple[list[_Wanted], _Done]:
        """What is made of a round, and what is known then."""
        past = answer.first + answer.count
        origin = before.origin if before else answer.times[answer.first]
        already = before.made if before else 0
        wanted = (
            self._at_rate(answer, origin, already)
            if self._constant
            else [_Wanted(place, 0.0, answer.times[place]) for place in range(answer.first, past)]
        )
        resume = (
            None
            if answer.over
            else (([*answer.times[:past], answer.end])[max(0, past - self._before)], answer.end)
        )
        return wanted, _Done(resume, origin, answer.end, already + len(wanted))

    def _at_rate(self, answer: wire.Filled, origin: int, already: int) -> list[_Wanted]:
        """Frame `n` is shown `n` ticks after the beginning: one that is there, or one between two."""
        wanted = []
        place, past = answer.first, answer.first + answer.count
        step = self.base / self._source_base
        number = already
        while (at := origin + number * step) < answer.end:
            while place + 1 < past and answer.times[place + 1] <= at:
                place += 1
            part = 0.0
            if self._moves and place + 1 < len(answer.times):
                here, there = answer.times[place], answer.times[place + 1]
                part = min(1.0, max(0.0, float((at - here) / (there - here))))
            wanted.append(_Wanted(place, part if part > _SAME else 0.0, number))
            number += 1
        return wanted

    def part(self, done: _Done) -> float:
        """How much of the film that is, as far as its header is right."""
        seconds = float((done.end - done.origin) * self._source_base)
        return min(1.0, seconds / self._seconds) if self._seconds else 0.0

    def first(self, done: _Done) -> int:
        """The tick that is the beginning of the result."""
        return 0 if self._constant else done.origin

    def seconds(self, ticks: int) -> float:
        """Of the source's ticks."""
        return float(ticks * self._source_base)


def _output(
    file: Memory, film: Film, format_: wire.FilmFormat, notes: dict[str, Any], seconds: float, rate: float
) -> Output:
    """What children have written into `file`, which is the caller's from now on."""
    size_bytes = file.size_bytes
    return Output(
        fd=file.keep(),
        type=FILMS_OUT[format_],
        extension=format_,
        width=film.width,
        height=film.height,
        size_bytes=size_bytes,
        notes=notes,
        seconds=seconds,
        frame_rate=rate,
    )


def _format(job: Job, type_: str) -> wire.FilmFormat:
    """What was asked for, else the film's own where it can be written, else mp4."""
    wanted: wire.FilmFormat | None = getattr(job.params, "format", None)
    own = {made: name for name, made in FILMS_OUT.items()}
    return wanted or msgspec.convert(own.get(type_, "mp4"), wire.FilmFormat)


def _codec(format_: wire.FilmFormat, picture: wire.Picture) -> wire.FilmCodec:
    if format_ == "gif":
        return "ffv1"
    if format_ == "webm":
        return "vp9"
    return "h264" if picture.pixels <= H264_PIXELS else "hevc"


def _check(answer: wire.Filled, core: int, film: Film) -> None:
    """Raises Failed: internal, where a child says what cannot be."""
    times, past = answer.times, answer.first + answer.count
    if (
        not 1 <= answer.count <= core
        or not 0 <= answer.first <= film.before
        or not past <= len(times) <= past + film.after
        or any(later <= earlier for earlier, later in pairwise(times))
        or answer.end <= times[past - 1]
    ):
        raise _lied(answer)


def _lied(answer: wire.Message) -> Failed:
    _log.warning("codec child lied", said=repr(answer)[:500])
    return Failed("internal", "Reading the film failed on our side. It may be tried again.")


@contextlib.contextmanager
def _memories(count: int, size_bytes: int) -> Iterator["asyncio.Queue[Memory]"]:
    """Memories that are free, to be taken and put back."""
    with contextlib.ExitStack() as stack:
        free: asyncio.Queue[Memory] = asyncio.Queue()
        for _ in range(count):
            memory = stack.enter_context(Memory())
            memory.resize(size_bytes)
            memory.seal()
            free.put_nowait(memory)
        yield free


@contextlib.asynccontextmanager
async def _beside(work: Coroutine[Any, Any, None]) -> AsyncIterator["asyncio.Task[None]"]:
    """A task that ends with the block."""
    task = asyncio.create_task(work)
    try:
        yield task
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def _next(queue: "asyncio.Queue[_Item]", maker: "asyncio.Task[None]") -> _Item:
    """The next that `maker` puts there; or raises what it raised."""
    getting = asyncio.ensure_future(queue.get())
    try:
        await asyncio.wait([getting, maker], return_when=asyncio.FIRST_COMPLETED)
        if not getting.done():
            maker.result()
        return await getting
    finally:
        getting.cancel()
