"""A raw photo, written here because none may be had: a DNG of sensor values behind a mosaic of red, green, green, blue.

Uncompressed, 16 bits, one strip; with the EXIF of a camera that does not exist. Tags are those of DNG 1.4.
"""

import struct
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

_SHORT, _LONG, _RATIONAL, _SRATIONAL, _BYTE, _ASCII, _UNDEFINED = 3, 4, 5, 10, 1, 2, 7
_LETTERS: Final = {_SHORT: "H", _LONG: "L", _BYTE: "B"}
#: From XYZ to the camera's colours: as if the camera saw plain sRGB.
_FROM_XYZ: Final = (3.2406, -1.5372, -0.4986, -0.9689, 1.8758, 0.0415, 0.0557, -0.2040, 1.0570)

EXIF: Final = {
    0x829A: (_RATIONAL, [(1, 125)]),
    0x829D: (_RATIONAL, [(28, 10)]),
    0x8827: (_SHORT, [400]),
    0x9003: (_ASCII, b"2026:05:17 14:03:22\0"),
    0x9204: (_SRATIONAL, [(-4, 3)]),
    0x9291: (_ASCII, b"250\0"),
    0x920A: (_RATIONAL, [(35, 1)]),
    0xA405: (_SHORT, [52]),
    0xA434: (_ASCII, b"Pinhole 35mm\0"),
}


def mosaic(linear: NDArray[np.float64]) -> NDArray[np.uint16]:
    """`[H, W, 3]` linear light, 0 to 1, as a sensor behind an RGGB mosaic sees it."""
    height, width, _ = linear.shape
    sensor = np.empty((height, width))
    sensor[0::2, 0::2] = linear[0::2, 0::2, 0]
    sensor[0::2, 1::2] = linear[0::2, 1::2, 1]
    sensor[1::2, 0::2] = linear[1::2, 0::2, 1]
    sensor[1::2, 1::2] = linear[1::2, 1::2, 2]
    return np.round(np.clip(sensor, 0, 1) * 65_535).astype(np.uint16)


def dng(
    sensor: NDArray[np.uint16],
    *,
    orientation: int = 1,
    size: tuple[int, int] | None = None,
    white_balance: tuple[float, float, float] = (1.0, 1.0, 1.0),
) -> bytes:
    """The file. `size`: what its header says of width and height, where that is not true."""
    height, width = sensor.shape
    said_width, said_height = size or (width, height)
    tags: dict[int, tuple[int, Any]] = {
        254: (_LONG, [0]),
        256: (_LONG, [said_width]),
        257: (_LONG, [said_height]),
        258: (_SHORT, [16]),
        259: (_SHORT, [1]),
        262: (_SHORT, [32_803]),
        271: (_ASCII, b"Nobody\0"),
        272: (_ASCII, b"Nothing One\0"),
        273: (_LONG, [0]),
        274: (_SHORT, [orientation]),
        277: (_SHORT, [1]),
        278: (_LONG, [said_height]),
        279: (_LONG, [sensor.nbytes]),
        284: (_SHORT, [1]),
        33_421: (_SHORT, [2, 2]),
        33_422: (_BYTE, [0, 1, 1, 2]),
        34_665: (_LONG, [0]),
        50_706: (_BYTE, [1, 4, 0, 0]),
        50_707: (_BYTE, [1, 1, 0, 0]),
        50_708: (_ASCII, b"Nobody Nothing One\0"),
        50_714: (_SHORT, [0]),
        50_717: (_LONG, [65_535]),
        50_721: (_SRATIONAL, [(round(value * 10_000), 10_000) for value in _FROM_XYZ]),
        50_728: (_RATIONAL, [(round(10_000 / gain), 10_000) for gain in white_balance]),
        50_778: (_SHORT, [21]),
    }
    at = 8
    first = len(_directory(tags, at))
    exif = _directory(EXIF, at + first)
    tags[34_665] = (_LONG, [at + first])
    tags[273] = (_LONG, [at + first + len(exif)])
    return b"II*\0" + struct.pack("<I", at) + _directory(tags, at) + exif + sensor.astype("<u2").tobytes()


def _directory(tags: dict[int, tuple[int, Any]], at: int) -> bytes:
    entries, far = b"", b""
    place = at + 2 + 12 * len(tags) + 4
    for tag, (kind, values) in sorted(tags.items()):
        if kind in (_RATIONAL, _SRATIONAL):
            letter = "l" if kind == _SRATIONAL else "L"
            data = b"".join(struct.pack(f"<2{letter}", *pair) for pair in values)
        elif kind == _ASCII:
            data = values
        else:
            data = struct.pack(f"<{len(values)}{_LETTERS[kind]}", *values)
        entries += struct.pack("<HHL", tag, kind, len(values))
        if len(data) <= 4:
            entries += data.ljust(4, b"\0")
        else:
            entries += struct.pack("<L", place + len(far))
            far += data + b"\0" * (len(data) % 2)
    return struct.pack("<H", len(tags)) + entries + bytes(4) + far
