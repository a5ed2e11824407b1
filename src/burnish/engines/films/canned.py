"""A film that nobody takes for a result: gray stripes that wander for a second, of any size, in the container asked for.

Called in a codec child, for the tasks of test keys. It is the same film, byte for byte, each time.
"""

from fractions import Fraction
from typing import IO, Any, Final

import av
import numpy as np

from burnish.engines.wire import CannedFilm

RATE: Final = 10
FRAMES: Final = 10
_DARK, _LIGHT = 0x8C, 0xBE
_GRAY: Final = 0x80
_MUXERS: Final = {"mkv": "matroska", "m4v": "ipod"}
_ENCODERS: Final = {"gif": ("gif", "gray"), "webm": ("libvpx-vp9", "yuv420p")}
#: Beyond this, HEVC, as the models do.
_H264_PIXELS: Final = 3840 * 2160
_HEVC: Final = ("libx265", "yuv420p")


def write_canned(wanted: CannedFilm, out: IO[bytes]) -> None:
    """The film that is wanted, into `out`."""
    usual = ("libx264", "yuv420p") if wanted.width * wanted.height <= _H264_PIXELS else _HEVC
    encoder, pixels = _ENCODERS.get(wanted.format, usual)
    cell = max(4, wanted.width // 16)
    across = np.arange(wanted.width)[None] + np.arange(wanted.height)[:, None]
    flags = {"fflags": "+bitexact"}
    with av.open(
        out, "w", format=_MUXERS.get(wanted.format, wanted.format), container_options=flags
    ) as container:
        options = {"preset": "ultrafast", "flags": "+bitexact"} if encoder.startswith("libx26") else {}
        if encoder == "libx265":
            options |= {"x265-params": "pools=none:frame-threads=1:log-level=none"}
        if encoder == "libvpx-vp9":
            options |= {"deadline": "realtime", "cpu-used": "8"}
        stream: Any = container.add_stream(encoder, rate=RATE, options=options)
        stream.width, stream.height, stream.pix_fmt = wanted.width, wanted.height, pixels
        stream.codec_context.thread_count = 1
        for number in range(FRAMES):
            light = (across + number * cell // 2) // cell % 2
            gray = np.where(light, _LIGHT, _DARK).astype(np.uint8)
            frame: Any = av.VideoFrame.from_ndarray(gray, format="gray")
            frame = frame.reformat(format=pixels)
            frame.pts, frame.time_base = number, Fraction(1, RATE)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
