"""A film's frames to raw pixels, a round at a time, each with the frames beside it that filters want to see.

Called in a codec child, which stays for the whole film or for the rest of one that goes on. What is held of the film is a
round and what is beside it, however long the film is. Limits are asked again of what is really decoded.
"""

import contextlib
import os
from collections import deque
from collections.abc import Callable, Iterator
from typing import IO, Any, Final, Literal, cast

import av
import numpy as np
from av.container import InputContainer
from av.video.stream import VideoStream
from numpy.typing import NDArray

from burnish.engines import wire
from burnish.engines.films import limits, sniff
from burnish.engines.films.colours import ToPixels, bits_of, colours_of
from burnish.engines.films.source import View, opened, told, view_of
from burnish.errors import Failed

#: Address space for decoding, in bytes a pixel: frames that refer to one another, on each thread; and beside them, stacks.
BYTES_PER_PIXEL: Final = 128
BYTES_AT_LEAST: Final = 384 * 1024 * 1024
#: What is taken for the rate of a film that says none that makes sense.
_RATE: Final = 25.0
#: Pictures at the beginning that may be broken, as where a broadcast was cut.
_BROKEN: Final = 300

Pixels = NDArray[np.generic]


class _Lost(Exception):
    """The frame at which the film goes on was not found where it was looked for."""


def decode(
    question: wire.DecodeFilm, source: IO[bytes], talk: wire.Talk, allow: Callable[[int], None]
) -> wire.Message:
    """Answer until nobody asks any more. `allow` is told the pixels that the header promises, before any is decoded.

    Raises:
        Failed: unsupported_format, decode_failed, input_too_large, duration_out_of_range.
        wire.Gone: nobody asks any more.
    """
    if question.resume is not None:
        with contextlib.suppress(_Lost):  # some containers cannot be entered in the middle
            _serve(question, source, talk, allow, jump=True)
    _serve(question, source, talk, allow, jump=False)
    raise wire.Gone("over")


def _serve(
    question: wire.DecodeFilm, source: IO[bytes], talk: wire.Talk, allow: Callable[[int], None], *, jump: bool
) -> None:
    source.seek(0)
    head = source.read(sniff.HEAD_BYTES)
    demuxer, type_ = sniff.film(head) or ("gif", "image/gif")
    if demuxer == "gif" and not head.startswith(b"GIF8"):
        raise Failed("unsupported_format", "The file is no film. Send one, or ask for a model of pictures.")
    with opened(source, demuxer) as (container, stream), told():
        size = stream.codec_context.width, stream.codec_context.height
        limits.check_size(*size)
        allow(size[0] * size[1])
        film = _Film(container, stream, question, jump=jump)
        film.find()
        talk.say(film.opened(type_))
        while True:
            message, memory = talk.said()
            assert isinstance(message, wire.Fill)
            try:
                talk.say(film.fill(memory, message.core))
            finally:
                os.close(memory)


class _Film:
    """The frames that are at hand: `_frames`, of which those before `_next` were in a round already."""

    def __init__(
        self, container: InputContainer, stream: VideoStream, question: wire.DecodeFilm, *, jump: bool
    ) -> None:
        self._container, self._stream, self._question = container, stream, question
        self._rate = float(stream.guessed_rate or stream.average_rate or _RATE)
        if not 0 < self._rate <= 1000:
            self._rate = _RATE
        base = stream.time_base
        assert base is not None
        self._base = base
        self._usual = max(1, round(1 / (self._rate * base)))
        self._decoded = 0
        if jump and question.resume is not None:
            container.seek(question.resume[0], stream=stream)
        self._source = self._timed()
        self._frames: deque[tuple[int, int, Pixels]] = deque()
        self._next = 0
        self._over = False
        first = next(self._source, None)
        if first is None:
            raise Failed("decode_failed", "There is no picture in the film. Save it anew and send that.")
        self._view: View = view_of(first[2], stream)
        self._colours = colours_of(first[2])
        self._bits = bits_of(first[2])
        self._pixels = ToPixels(self._colours, self._bits, *self._view.stored)
        self._waiting: tuple[int, int, av.VideoFrame] | None = first

    def find(self) -> None:
        """Go to where the film goes on.

        Raises:
            _Lost: it is not there.
        """
        if self._question.resume is None:
            return
        first, core = self._question.resume
        while self._waiting is not None and self._waiting[0] < first:
            self._waiting = next(self._source, None)
        if self._waiting is None or self._waiting[0] != first:
            raise _Lost
        while not any(time == core for time, _, _ in self._frames):
            if len(self._frames) > self._question.before or not self._pull():
                raise _Lost
        self._next = len(self._frames) - 1

    def opened(self, type_: str) -> wire.Opened:
        length = self._stream.duration
        seconds = length * self._base if length else (self._container.duration or 0) / 1_000_000
        return wire.Opened(
            width=self._view.width,
            height=self._view.height,
            bits=cast("Literal[8, 16]", self._bits),
            base=(self._base.numerator, self._base.denominator),
            rate=self._rate,
            seconds=max(0.0, float(seconds)),
            colours=self._colours,
            type=type_,
        )

    def fill(self, memory: int, core: int) -> wire.Filled:
        """The next round into the file `memory`."""
        last = self._next + core
        while len(self._frames) < last + max(1, self._question.after) and self._pull():
            pass
        first = max(0, self._next - self._question.before)
        last = min(last, len(self._frames))
        shown = [
            self._frames[place] for place in range(first, min(last + self._question.after, len(self._frames)))
        ]
        at = 0
        for _, _, pixels in shown:
            at += os.pwrite(memory, np.ascontiguousarray(pixels).data, at)
        over = last == len(self._frames)
        end = sum(self._frames[-1][:2]) if over else self._frames[last][0]
        filled = wire.Filled(
            times=tuple(time for time, _, _ in shown),
            first=self._next - first,
            count=last - self._next,
            end=end,
            over=over,
            decoded=self._decoded,
        )
        for _ in range(last - self._question.before):
            self._frames.popleft()
            last -= 1
        self._next = last
        return filled

    def _pull(self) -> bool:
        """One more frame, where there is one."""
        if self._waiting is None:
            return False
        time, length, frame = self._waiting
        self._frames.append((time, length, self._view.turn(self._pixels(frame))))
        self._waiting = next(self._source, None)
        return True

    def _timed(self) -> Iterator[tuple[int, int, av.VideoFrame]]:
        """When each frame is shown and for how long, in ticks; then the frame."""
        last: int | None = None
        first: int | None = None
        for frame in self._decode():
            self._decoded += 1
            limits.check_size(frame.width, frame.height)
            time = frame.pts
            if time is None or (last is not None and time <= last):
                time = 0 if last is None else last + self._usual
            first = time if first is None else first
            limits.check_length(max(limits.LEAST_SECONDS, float((time - first) * self._base)))
            if self._decoded > limits.MOST_FRAMES:
                limits.check_rate(self._decoded, limits.MOST_SECONDS)
            last = time
            yield time, frame.duration or self._usual, frame

    def _decode(self) -> Iterator[av.VideoFrame]:
        begun, broken = False, 0
        for packet in self._container.demux(self._stream):
            try:
                for frame in packet.decode():
                    begun = True
                    yield cast("Any", frame)
            except av.InvalidDataError:
                broken += 1
                if begun or broken > _BROKEN:
                    raise
