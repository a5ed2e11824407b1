"""How large a picture is, by its header alone, for a quote: PNG, JPEG, GIF, BMP and WebP. No picture is decoded.

Used by `estimate.py`. What cannot be read has no size, and its quote a lowest and a highest price.
"""

from pathlib import Path
from typing import BinaryIO, Final

_FRAMES: Final = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}  #: JPEG's markers that tell the size
_SEGMENTS: Final = 1_000
_VP8: Final = b"\x9d\x01\x2a"


def size_of(path: Path) -> tuple[int, int] | None:
    """Width and height; None where the header does not tell. Raises OSError."""
    with path.open("rb") as file:
        head = file.read(32)
        if head.startswith(b"\x89PNG\r\n\x1a\n"):
            size = _whole(head[16:20], "big"), _whole(head[20:24], "big")
        elif head.startswith((b"GIF87a", b"GIF89a")):
            size = _whole(head[6:8]), _whole(head[8:10])
        elif head.startswith(b"BM"):
            size = _whole(head[18:22]), abs(int.from_bytes(head[22:26], "little", signed=True))
        elif head[:4] == b"RIFF" and head[8:12] == b"WEBP":
            size = _webp(head)
        elif head.startswith(b"\xff\xd8"):
            file.seek(2)
            size = _jpeg(file)
        else:
            return None
    return size if min(size) > 0 else None


def _webp(head: bytes) -> tuple[int, int]:
    if head[12:16] == b"VP8X":
        return _whole(head[24:27]) + 1, _whole(head[27:30]) + 1
    if head[12:16] == b"VP8L":
        bits = _whole(head[21:25])
        return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    if head[23:26] == _VP8:
        return _whole(head[26:28]) & 0x3FFF, _whole(head[28:30]) & 0x3FFF
    return 0, 0


def _jpeg(file: BinaryIO) -> tuple[int, int]:
    """The first frame's size, after as many segments as stand before it."""
    for _ in range(_SEGMENTS):
        head = file.read(4)
        if len(head) < 4 or head[0] != 0xFF:
            return 0, 0
        if head[1] in _FRAMES:
            frame = file.read(5)
            return _whole(frame[3:5], "big"), _whole(frame[1:3], "big")
        file.seek(max(0, _whole(head[2:4], "big") - 2), 1)
    return 0, 0


def _whole(data: bytes, order: str = "little") -> int:
    return int.from_bytes(data, "big" if order == "big" else "little")
