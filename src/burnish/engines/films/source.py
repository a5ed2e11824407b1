"""A film as it is opened: its one demuxer, its picture stream, how its frames are to be seen.

Called in codec children, for a file that `sniff` took for a film. What FFmpeg raises becomes a `Failed` in words.
"""

import contextlib
import math
from collections.abc import Iterator
from fractions import Fraction
from typing import IO, Any, Final, cast

import av
import numpy as np
from av.container import InputContainer
from av.sidedata.sidedata import Type
from av.stream import Disposition
from av.video.stream import VideoStream
from msgspec import Struct
from numpy.typing import NDArray

from burnish.engines.films import limits
from burnish.errors import Failed

_BUFFER_BYTES: Final = 1 << 18
#: A picture that is squeezed more than this is not squeezed but damaged.
_MOST_SQUEEZED: Final = 16
_UNITY: Final = 1 << 16
#: Even a demuxer that follows what a file names finds no way to open it: a list of protocols with none in it.
_NOTHING_ELSE: Final = {"protocol_whitelist": "none"}


class View(Struct, frozen=True):
    """How frames are seen: turned by so many quarters against the clock, then mirrored; `width`, `height` thereafter."""

    quarters: int
    mirrored: bool
    width: int
    height: int

    @property
    def stored(self) -> tuple[int, int]:
        """Width and height before they are turned, with square pixels."""
        return (self.height, self.width) if self.quarters % 2 else (self.width, self.height)

    def turn(self, pixels: NDArray[np.generic]) -> NDArray[np.generic]:
        turned = np.rot90(pixels, self.quarters) if self.quarters else pixels
        return turned[:, ::-1] if self.mirrored else turned


@contextlib.contextmanager
def told() -> Iterator[None]:
    """What decoders raise, in words."""
    try:
        yield
    except MemoryError as error:
        raise Failed(
            "input_too_large", "Decoding the film takes more memory than a film of its size may take."
        ) from error
    except av.FFmpegError as error:
        if "Cannot allocate" in str(error):
            raise Failed(
                "input_too_large", "Decoding the film takes more memory than a film of its size may take."
            ) from error
        raise Failed(
            "decode_failed", "The film is damaged or incomplete. Play it to its end, and save it anew."
        ) from error


@contextlib.contextmanager
def opened(source: IO[bytes], demuxer: str) -> Iterator[tuple[InputContainer, VideoStream]]:
    """The container and its picture stream.

    Raises:
        Failed: unsupported_format, where there is no picture in it or none that is read; decode_failed.
    """
    with told():
        source.seek(0)
        options = _NOTHING_ELSE | {"format_whitelist": demuxer}
        if demuxer == "mov":
            options |= {"enable_drefs": "0", "use_absolute_path": "0"}
        with av.open(
            source,
            "r",
            format=demuxer,
            buffer_size=_BUFFER_BYTES,
            container_options=options,
            metadata_errors="replace",
        ) as container:
            stream = _pictures(container)
            stream.codec_context.thread_type = "AUTO"
            yield container, stream


def _pictures(container: InputContainer) -> VideoStream:
    for stream in container.streams.video:
        if not stream.disposition & Disposition.attached_pic:  # the cover of a record
            if cast("Any", stream.codec_context) is None:  # no decoder is known for it
                break
            return stream
    else:
        raise Failed(
            "unsupported_format", "The file holds no moving picture, only sound or data. Send a film."
        )
    raise Failed(
        "unsupported_format",
        "The film's pictures are in a format that is not read. Save it as MP4 with H.264.",
    )


def view_of(frame: av.VideoFrame, stream: VideoStream) -> View:
    """How frames like this one are seen.

    Raises:
        Failed: input_too_large.
    """
    width, height = frame.width, frame.height
    ratio = stream.sample_aspect_ratio or stream.codec_context.sample_aspect_ratio or Fraction(1)
    if 0 < ratio != 1 and 1 / _MOST_SQUEEZED <= ratio <= _MOST_SQUEEZED:
        width = max(1, round(width * ratio))
    limits.check_size(width, height)
    quarters, mirrored = _turned(frame)
    if quarters % 2:
        width, height = height, width
    return View(quarters, mirrored, width, height)


def _turned(frame: av.VideoFrame) -> tuple[int, bool]:
    """Quarters against the clock, then whether mirrored: of the display matrix, to the nearest quarter."""
    sides = [side for side in cast("Any", frame.side_data) if side.type is Type.DISPLAYMATRIX]
    if not sides:
        return 0, False
    a, b, _, c, d = np.frombuffer(bytes(sides[0]), "<i4")[:5].astype(np.float64) / _UNITY
    mirrored = bool(a * d - b * c < 0)
    if mirrored:  # the matrix mirrors last, by the sign of its first column
        a, c = -a, -c
    return round(math.degrees(math.atan2(-b, a)) / 90) % 4, mirrored
