"""Raw pixels to one segment of a film: a file of its own that begins with a whole picture and needs no other.

Called in a codec child, which is gone with its segment. Segments are NUT files, which keep times as they are given: in
ticks of the whole film, so that `join` puts one behind the other and changes nothing.
"""

import os
from fractions import Fraction
from typing import IO, Any, Final

import av
import numpy as np

from burnish.engines import wire
from burnish.engines.films.colours import FromPixels, say

#: Frames that are decoded before those that are shown before them, at most: x264's and x265's pyramids have two.
REORDERED: Final = 2
#: Times are not moved so that the first frame, which is decoded before it is shown, is decoded at 0.
AS_GIVEN: Final = {"avoid_negative_ts": "disabled"}
#: What networks leave of the cores: coding takes little beside them.
_THREADS: Final = 2
_PRESET: Final = "veryfast"


def encode(question: wire.EncodeFilm, out: IO[bytes], talk: wire.Talk) -> dict[str, str]:
    """Take frames until there are no more."""
    picture = question.picture
    format_ = _pixel_format(question)
    frames = FromPixels(question.colours, format_)
    kind = np.uint8 if picture.bits == 8 else np.dtype("<u2")
    shape = (picture.height, picture.width, picture.channels)
    with av.open(out, "w", format="nut", container_options=AS_GIVEN) as container:
        name, options = _encoder(question)
        stream: Any = container.add_stream(name, rate=_rate(question.rate), options=options)
        stream.width, stream.height, stream.pix_fmt = picture.width, picture.height, format_
        base = Fraction(*question.base)
        context = stream.codec_context
        context.time_base = base
        context.thread_count = _THREADS
        if question.codec != "ffv1":
            say(context, question.colours)
        talk.say(wire.Taken())
        while True:
            message, memory = talk.said()
            if isinstance(message, wire.Finish):
                break
            assert isinstance(message, wire.Frames)
            try:
                for number, time in enumerate(message.times):
                    data = os.pread(memory, picture.size_bytes, number * picture.size_bytes)
                    frame = frames(np.frombuffer(data, kind).reshape(shape))
                    frame.pts, frame.time_base = time, base
                    container.mux(stream.encode(frame))
            finally:
                os.close(memory)
            talk.say(wire.Taken())
        container.mux(stream.encode(None))
    return {}


def _rate(rate: float) -> Fraction:
    return Fraction(rate).limit_denominator(1001)


def _pixel_format(question: wire.EncodeFilm) -> str:
    """VP9's encoder has 8 bits only."""
    if question.codec == "ffv1":
        return "bgr0"
    return "yuv420p10le" if question.picture.bits == 16 and question.codec != "vp9" else "yuv420p"


def _encoder(question: wire.EncodeFilm) -> tuple[str, dict[str, str]]:
    """FFmpeg's name of the encoder, and its options. Each has its own scale of quality; these look about alike."""
    quality = question.quality
    match question.codec:
        case "h264":
            own = {"preset": _PRESET, "crf": f"{40 - quality * 0.24:.1f}"}
            return "libx264", own | ({"bf": "0"} if question.in_order else {})
        case "hevc":
            # A pool of threads asks the machine for what a child may not know.
            params = "open-gop=0:pools=none:frame-threads=2:log-level=none"
            crf = f"{43 - quality * 0.24:.1f}"
            return "libx265", {"preset": _PRESET, "crf": crf, "x265-params": params}
        case "vp9":
            crf = str(round(55 - quality * 0.3))
            return "libvpx-vp9", {"crf": crf, "b": "0", "deadline": "good", "cpu-used": "5", "row-mt": "1"}
        case "ffv1":
            return "ffv1", {"level": "3", "slices": "4"}
