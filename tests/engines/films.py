"""Films for tests, made as they are needed: small, short, and as odd as real ones; and films as they come out.

A frame tells its number: a white bar stands at column `number * STEP` of a slope of colours, so that a test can see which
frame it has before it.
"""

import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, Final

import av
import numpy as np
from numpy.typing import NDArray

STEP: Final = 2
_SOUND_RATE: Final = 48_000


def picture(number: int, width: int = 64, height: int = 48) -> NDArray[np.uint8]:
    """The frame `number` of a film, RGB."""
    down, across = np.mgrid[0:height, 0:width]
    frame = np.stack([across * 3 % 256, down * 4 % 256, np.full_like(down, 90)], axis=-1).astype(np.uint8)
    left = number * STEP % (width - STEP)
    frame[height // 4 : height * 3 // 4, left : left + STEP * 2] = 255
    return frame


def film(
    format_: str = "mp4",
    codec: str = "libx264",
    *,
    frames: int = 30,
    width: int = 64,
    height: int = 48,
    rate: int = 30,
    pixels: str = "yuv420p",
    sound: str | None = "aac",
    turned: int = 0,
    times: Sequence[int] | None = None,
    squeezed: Fraction | None = None,
    tags: dict[str, int] | None = None,
    options: dict[str, str] | None = None,
    paint: Callable[[int, int, int], NDArray[Any]] = picture,
) -> bytes:
    """A film of so many frames. `times`: of each frame, in milliseconds; `turned`: against the clock, in degrees."""
    buffer = io.BytesIO()
    base = Fraction(1, 1000) if times else Fraction(1, rate)
    with av.open(buffer, "w", format=format_) as container:
        stream: Any = container.add_stream(codec, rate=rate, options=options or {})
        stream.width, stream.height, stream.pix_fmt = width, height, pixels
        stream.codec_context.time_base = base
        for name, value in (tags or {}).items():
            setattr(stream.codec_context, name, value)
        if squeezed:
            stream.codec_context.sample_aspect_ratio = squeezed
        if turned:
            stream.set_display_rotation(turned)
        heard: Any = container.add_stream(sound, rate=_SOUND_RATE) if sound else None
        for number in range(frames):
            frame = av.VideoFrame.from_ndarray(paint(number, width, height), format="rgb24")
            for name, value in (tags or {}).items():
                setattr(frame, name, value)
            frame.pts, frame.time_base = (times[number] if times else number), base
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
        if heard:
            seconds = (times[-1] / 1000 + 1 / rate) if times else frames / rate
            _mux_sound(container, heard, round(seconds * _SOUND_RATE))
    return buffer.getvalue()


def _mux_sound(container: Any, stream: Any, samples: int) -> None:
    wave = (np.sin(np.arange(samples) / 20) * 8000).astype(np.int16)
    resampler = av.AudioResampler(
        format=stream.codec_context.format or "fltp", layout="mono", rate=_SOUND_RATE
    )
    for start in range(0, samples, 1024):
        piece: Any = av.AudioFrame.from_ndarray(wave[None, start : start + 1024], format="s16", layout="mono")
        piece.sample_rate, piece.pts, piece.time_base = _SOUND_RATE, start, Fraction(1, _SOUND_RATE)
        for frame in resampler.resample(piece):
            container.mux(stream.encode(frame))
    container.mux(stream.encode(None))


@dataclass
class Seen:
    """A film as a player sees it: `times` of the frames in seconds; `sound`: its seconds, None without."""

    frames: list[NDArray[np.uint8]]
    times: list[float]
    codec: str
    tag: str
    pixels: str
    tags: dict[str, int]
    turned: int
    sound: float | None
    sound_codec: str | None
    seconds: float


def seen(data: bytes) -> Seen:
    """Everything of a film, decoded."""
    with av.open(io.BytesIO(data), "r") as container:
        stream: Any = container.streams.video[0]
        names = ("colorspace", "color_range", "color_primaries", "color_trc")
        decoded = list(container.decode(stream))
        tags = {name: int(getattr(decoded[0], name)) for name in names}
        result = Seen(
            frames=[frame.to_ndarray(format="rgb24") for frame in decoded],
            times=[float(frame.time) for frame in decoded],
            codec=stream.codec_context.codec.canonical_name,
            tag=stream.codec_context.codec_tag,
            pixels=stream.codec_context.pix_fmt,
            tags=tags,
            turned=decoded[0].rotation,
            sound=None,
            sound_codec=None,
            seconds=float((container.duration or 0) / 1_000_000),
        )
    with av.open(io.BytesIO(data), "r") as container:
        if container.streams.audio:
            heard: Any = container.streams.audio[0]
            result.sound = sum(f.samples / f.sample_rate for f in container.decode(heard))
            result.sound_codec = heard.codec_context.codec.canonical_name
    return result
