"""A file's header, whatever it is: picture or film. Called in a codec child, which is asked for nothing else."""

from typing import IO, Final

from burnish.engines.films import probe as films
from burnish.engines.films import sniff
from burnish.engines.pictures import read
from burnish.engines.wire import Probed

#: The one type that may be either: it is a picture, and one that moves has a length too.
_GIF: Final = "image/gif"


def probed(source: IO[bytes], max_pixels: int, filename: str = "") -> Probed:
    """What the file is, which was called `filename`. Raises Failed: unsupported_format, decode_failed, input_too_large, duration_out_of_range."""
    source.seek(0)
    known = sniff.film(source.read(sniff.HEAD_BYTES))
    source.seek(0)
    if known is not None:
        demuxer, type_ = known
        width, height, timing = films.probe(source, demuxer)
        return Probed(type_, width, height, timing.frames, timing.seconds, timing.frame_rate)
    found = Probed(*read.probe(source, max_pixels, filename))
    if found.type != _GIF or found.frames == 1:
        return found
    timing = films.timing_of(source, "gif")
    return Probed(_GIF, found.width, found.height, found.frames, timing.seconds, timing.frame_rate)
