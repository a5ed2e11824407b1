"""What a film is: read from every packet of it, none decoded but the first picture; headers are not believed.

Called in a codec child. Reading all packets costs what reading the file does (half a gigabyte: about a second), and
then length and frames are what the film has, not what it says.
"""

from typing import IO, Final

import av
from av.container import InputContainer
from av.video.stream import VideoStream
from msgspec import Struct

from burnish.engines.films import limits
from burnish.engines.films.source import opened, told, view_of
from burnish.errors import Failed

#: Packets of a film's beginning in which a picture must be.
_FIRST_PACKETS: Final = 300


class Timing(Struct, frozen=True):
    """`frames`: pictures in it. `seconds`: from the first to the end of the last."""

    frames: int
    seconds: float

    @property
    def frame_rate(self) -> float:
        """The average, frames a second."""
        return self.frames / self.seconds


def probe(source: IO[bytes], demuxer: str) -> tuple[int, int, Timing]:
    """Width and height as seen, and how long the film is.

    Raises:
        Failed: unsupported_format, decode_failed, input_too_large, duration_out_of_range.
    """
    with opened(source, demuxer) as (container, stream):
        context = stream.codec_context
        limits.check_size(context.width, context.height)  # before a picture of that size is decoded
        view = view_of(_first(container, stream), stream)
    timing = timing_of(source, demuxer)
    limits.check_length(timing.seconds)
    limits.check_rate(timing.frames, timing.seconds)
    return view.width, view.height, timing


def timing_of(source: IO[bytes], demuxer: str) -> Timing:
    """How long the film is, by the times of its packets.

    Raises:
        Failed: as `probe`; input_too_large where it is longer than any film may be.
    """
    with opened(source, demuxer) as (container, stream), told():
        base = float(stream.time_base or 1)
        count, end = 0, 0
        first: int | None = None
        last: int | None = None
        for packet in container.demux(stream):
            if not packet.size:
                continue
            count += 1
            at = packet.pts if packet.pts is not None else packet.dts
            if at is not None:
                first = at if first is None else min(first, at)
                last = at if last is None else max(last, at)
                end = max(end, at + (packet.duration or 0))
            if count > limits.MOST_FRAMES:
                limits.check_rate(count, limits.MOST_SECONDS)
        if not count:
            raise Failed("decode_failed", "There is no picture in the film. Save it anew and send that.")
        if first is None or last is None or (last == first and count > 1):  # no times at all: a bare stream
            rate = float(stream.guessed_rate or stream.average_rate or 25)
            return Timing(count, count / rate)
        if end <= last:  # the last says nothing of its length: as long as the others are on average
            end = last + ((last - first) // max(count - 1, 1) or round(1 / base / 25))
        return Timing(count, (end - first) * base)


def _first(container: InputContainer, stream: VideoStream) -> av.VideoFrame:
    for number, packet in enumerate(container.demux(stream)):
        if number > _FIRST_PACKETS:
            break
        try:
            for frame in packet.decode():
                return frame
        except av.InvalidDataError:
            continue  # streams may begin in the middle of something
    raise Failed("decode_failed", "No picture of the film can be decoded. Play it, and save it anew.")
