"""Segments to one film in its container, none coded anew but those of GIFs; with the sound of the film that came.

Called in a codec child. Sound is copied where the container takes it as it is, and coded anew where it does not; it is
as long as the pictures.
"""

import contextlib
import os
from collections.abc import Iterator
from fractions import Fraction
from itertools import pairwise
from typing import IO, Any, Final, cast

import av
import numpy as np
from msgspec import Struct
from PIL import Image

from burnish.engines import wire
from burnish.engines.films import sniff
from burnish.engines.films.encode import AS_GIVEN, REORDERED
from burnish.engines.films.source import opened


class _Container(Struct, frozen=True):
    """FFmpeg's name; the sound that it takes as it is; the encoder for other sound, and its rate where it has one."""

    muxer: str
    sound: tuple[str, ...] = ()
    encoder: str = ""
    sound_rate: int | None = None
    most_channels: int = 8
    options: dict[str, str] = {}


_ISO: Final = ("aac", "mp3", "ac3", "eac3", "alac")
_CONTAINERS: Final[dict[wire.FilmFormat, _Container]] = {
    "mp4": _Container("mp4", (*_ISO, "opus", "flac"), "aac"),
    "m4v": _Container("mp4", ("aac", "alac", "ac3"), "aac", options={"brand": "M4V "}),
    "mov": _Container("mov", (*_ISO, "pcm_s16le", "pcm_s24le"), "aac"),
    "mkv": _Container("matroska", (*_ISO, "opus", "vorbis", "flac", "pcm_s16le", "pcm_s24le", "mp2", "dts"), "aac"),
    "webm": _Container("webm", ("opus", "vorbis"), "libopus", 48_000),
    "avi": _Container("avi", ("mp3", "ac3", "pcm_s16le"), "libmp3lame", 48_000, 2),
    "gif": _Container("gif"),
}  # fmt: skip
#: Sound that is coded anew, in bits a second and channel.
_BITS: Final = 96_000
#: A GIF's times are in hundredths of a second.
_GIF_BASE: Final = Fraction(1, 100)
_COLOURS: Final = 256


def join(question: wire.JoinFilm, source: IO[bytes], out: IO[bytes], talk: wire.Talk) -> dict[str, str]:
    """Take segments until there are no more; notes for the client."""
    kind = _CONTAINERS[question.format]
    notes: dict[str, str] = {}
    with contextlib.ExitStack() as stack:
        container = stack.enter_context(
            av.open(out, "w", format=kind.muxer, container_options=AS_GIVEN | kind.options)
        )
        pictures = (_Gif if question.format == "gif" else _Copied)(container, question)
        sound: _Sound | None = None
        talk.say(wire.Taken())
        while True:
            message, memory = talk.said()
            if isinstance(message, wire.Finish):
                break
            with contextlib.ExitStack() as taken:
                file = taken.enter_context(os.fdopen(memory, "rb"))
                file.seek(0)
                segment = taken.enter_context(av.open(file, "r", format="nut"))
                if pictures.begin(segment):
                    sound = _sound(container, kind, source, question, notes, stack)
                for packet, seconds in pictures.packets(segment):
                    if sound:
                        sound.mux_until(seconds)
                    container.mux(packet)
            talk.say(wire.Taken())
        if sound:
            sound.mux_until(question.end)
    return notes


class _Copied:
    """Packets as they are, each with the time at which it must be decoded.

    Segments do not know of one another: that time is the time of the frame that is shown `REORDERED` places earlier in the
    whole film, which never goes back, and is never later than the frame's own. Of frames in order it is their own.
    """

    def __init__(self, container: Any, question: wire.JoinFilm) -> None:
        self._container = container
        self._base = Fraction(*question.base)
        self._origin = question.origin
        self._format = question.format
        self._stream: Any = None
        self._begun = False
        self._shown: list[int] = []
        self._earlier = 0 if question.in_order else REORDERED

    def begin(self, segment: Any) -> bool:
        """Whether this was the first segment."""
        if self._stream is not None:
            return False
        template = segment.streams.video[0]
        self._stream = self._container.add_stream_from_template(template, opaque=True)
        self._stream.time_base = self._base
        if template.codec_context.codec.canonical_name == "hevc" and self._format in ("mp4", "mov", "m4v"):
            self._stream.codec_context.codec_tag = "hvc1"  # the name by which players know it
        return True

    def packets(self, segment: Any) -> Iterator[tuple[Any, float]]:
        """Each with its time in seconds."""
        stream = segment.streams.video[0]
        packets = [packet for packet in segment.demux(stream) if packet.size]
        scale = stream.time_base / self._base
        times = [round(packet.pts * scale) - self._origin for packet in packets]
        shown = [*self._shown, *sorted(times)]
        lengths = _lengths(sorted(times))
        if not self._begun:
            self._begun = True
            step = shown[1] - shown[0] if len(shown) > 1 else 1
            shown = [shown[0] - step * place for place in range(self._earlier, 0, -1)] + shown
        for place, (packet, time) in enumerate(zip(packets, times, strict=True)):
            packet.time_base = self._base
            packet.pts, packet.dts = time, shown[place]
            if time < shown[place]:
                raise ValueError(f"frame {place} is shown at {time} and decoded at {shown[place]}")
            packet.duration = lengths[time]
            packet.stream = self._stream
            yield packet, float(time * self._base)
        self._shown = shown[len(shown) - self._earlier :]


def _lengths(times: list[int]) -> dict[int, int]:
    """How long the frame of each time is shown; the last as long as the one before, without which players leave it out."""
    lengths = {time: following - time for time, following in pairwise(times)}
    return lengths | {times[-1]: lengths[times[-2]] if len(times) > 1 else 1}


class _Gif:
    """Frames of 256 colours each, which are chosen for each."""

    def __init__(self, container: Any, question: wire.JoinFilm) -> None:
        self._container = container
        self._base = Fraction(*question.base)
        self._origin = question.origin
        self._stream: Any = None
        self._last = -1

    def begin(self, segment: Any) -> bool:
        if self._stream is not None:
            return False
        template = segment.streams.video[0]
        self._stream = self._container.add_stream("gif", rate=100)
        self._stream.width, self._stream.height = template.width, template.height
        self._stream.pix_fmt = "pal8"
        self._stream.codec_context.time_base = _GIF_BASE
        return True

    def packets(self, segment: Any) -> Iterator[tuple[Any, float]]:
        for frame in segment.decode(segment.streams.video[0]):
            ticks = round(frame.pts * frame.time_base / self._base) - self._origin
            time = max(round(ticks * self._base / _GIF_BASE), self._last + 1)
            self._last = time
            image = Image.fromarray(frame.to_ndarray(format="rgb24")).quantize(_COLOURS)
            palette = np.zeros((_COLOURS, 4), np.uint8)
            colours = np.array(image.getpalette(), np.uint8).reshape(-1, 3)
            palette[: len(colours), 1:], palette[:, 0] = colours, 255
            indexed: Any = cast("Any", av.VideoFrame).from_ndarray(
                (np.asarray(image), palette), format="pal8"
            )
            indexed.pts, indexed.time_base = time, _GIF_BASE
            for packet in self._stream.encode(indexed):
                yield packet, float(time * _GIF_BASE)


# --- sound ------------------------------------------------------------------------------------------------------------


def _sound(
    container: Any,
    kind: _Container,
    source: IO[bytes],
    question: wire.JoinFilm,
    notes: dict[str, str],
    stack: contextlib.ExitStack,
) -> "_Sound | None":
    """The film's own sound, or None where it has none or the container cannot hold any."""
    source.seek(0)
    demuxer, _ = sniff.film(source.read(sniff.HEAD_BYTES)) or ("", "")
    if not demuxer:
        return None
    given, _ = stack.enter_context(opened(source, demuxer))
    heard: Any = given.streams.best("audio")
    if heard is None:
        return None
    if not kind.encoder:
        notes["sound"] = f"A {question.format.upper()} has no sound."
        return None
    if heard.codec_context is None or not heard.codec_context.sample_rate:
        notes["sound"] = "The sound is in a format that is not read, and was left out."
        return None
    copied = heard.codec_context.codec.canonical_name in kind.sound
    return (_CopiedSound if copied else _CodedSound)(container, kind, given, heard, question)


class _Sound:
    """Sound on its way; `mux_until` writes what is heard before a time of the pictures, in seconds."""

    def __init__(
        self, container: Any, kind: _Container, given: Any, heard: Any, question: wire.JoinFilm
    ) -> None:
        self._container, self._kind, self._given, self._heard = container, kind, given, heard
        self._start, self._end = question.start, question.end
        self._stream = self._made()
        self._packets = self._read()
        self._next: tuple[Any, float] | None = next(self._packets, None)

    def mux_until(self, seconds: float) -> None:
        while self._next is not None and self._next[1] < seconds:
            self._container.mux(self._next[0])
            self._next = next(self._packets, None)

    def _made(self) -> Any:
        raise NotImplementedError

    def _read(self) -> Iterator[tuple[Any, float]]:
        raise NotImplementedError


class _CopiedSound(_Sound):
    def _made(self) -> Any:
        return self._container.add_stream_from_template(self._heard, opaque=True)

    def _read(self) -> Iterator[tuple[Any, float]]:
        base = self._heard.time_base
        origin = round(self._start / base)
        for packet in self._given.demux(self._heard):
            if packet.pts is None or not packet.size:
                continue
            seconds = float(packet.pts * base) - self._start
            if seconds < 0:
                continue
            if seconds >= self._end - self._start:
                return
            packet.pts -= origin
            packet.dts = packet.pts if packet.dts is None else packet.dts - origin
            packet.stream = self._stream
            yield packet, seconds


class _CodedSound(_Sound):
    def _made(self) -> Any:
        context = self._heard.codec_context
        stream = self._container.add_stream(
            self._kind.encoder, rate=self._kind.sound_rate or context.sample_rate
        )
        channels = min(context.layout.nb_channels, self._kind.most_channels)
        stream.codec_context.layout = context.layout if channels == context.layout.nb_channels else "stereo"
        stream.codec_context.bit_rate = _BITS * channels
        return stream

    def _read(self) -> Iterator[tuple[Any, float]]:
        context = self._stream.codec_context
        context.open(strict=False)
        resampler = av.AudioResampler(
            context.format, context.layout, context.sample_rate, frame_size=context.frame_size or None
        )
        base = Fraction(1, context.sample_rate)
        most = round((self._end - self._start) * context.sample_rate)
        at = 0
        for frame in self._resampled(resampler):
            if at >= most:
                break
            frame.pts, frame.time_base = at, base
            at += frame.samples
            for packet in self._stream.encode(frame):
                yield packet, float(packet.pts * packet.time_base)
        for packet in self._stream.encode(None):
            yield packet, float(packet.pts * packet.time_base)

    def _resampled(self, resampler: Any) -> Iterator[Any]:
        """From the beginning of the pictures on; what is damaged is silence."""
        for packet in self._given.demux(self._heard):
            with contextlib.suppress(av.InvalidDataError):
                for frame in packet.decode():
                    if frame.pts is None or float(frame.pts * frame.time_base) >= self._start - 0.01:
                        frame.pts = None
                        yield from resampler.resample(frame)
        yield from resampler.resample(None)
