"""What a HEIF or AVIF file says of its pictures before a library is asked: sizes and bits, read from its boxes.

Libraries look at the sizes late, or refuse them without saying which. The boxes are those of ISO/IEC 23008-12: in `meta`
lies `iprp`, in that `ipco`, and there `ispe` (width and height) and `pixi` (bits of each channel). Read with a bound on
everything; what cannot be made sense of is left to the library.
"""

from collections.abc import Iterator
from typing import IO, Final, NamedTuple

_MOST_BOXES: Final = 4_096
_MOST_BYTES: Final = 4 * 1024 * 1024


class Said(NamedTuple):
    """The largest of all sizes in the file, `(0, 0)` where there is none, and the most bits of a channel, 0 where unsaid."""

    width: int
    height: int
    bits: int


def said(source: IO[bytes]) -> Said:
    """Of the file in `source`, which is left at its beginning."""
    source.seek(0)
    sizes, bits = [(0, 0)], [0]
    for kind, body in _inside(_meta(source), (b"iprp", b"ipco")):
        if kind == b"ispe" and len(body) >= 12:
            sizes.append((int.from_bytes(body[4:8]), int.from_bytes(body[8:12])))
        elif kind == b"pixi" and len(body) > 5:
            bits.append(max(body[5 : 5 + body[4]]))
    source.seek(0)
    width, height = max(sizes, key=lambda size: size[0] * size[1])
    return Said(width, height, max(bits))


def _meta(source: IO[bytes]) -> bytes:
    """What is in the file's `meta` box, behind its version."""
    for _ in range(_MOST_BOXES):
        head = source.read(8)
        length, header = int.from_bytes(head[:4]), 8
        if length == 1:
            length, header = int.from_bytes(source.read(8)), 16
        if len(head) < 8 or (length < header and length):
            break
        if head[4:] == b"meta":
            return source.read(min(length - header, _MOST_BYTES) if length else _MOST_BYTES)[4:]
        if not length:
            break
        source.seek(length - header, 1)
    return b""


def _inside(body: bytes, path: tuple[bytes, ...]) -> Iterator[tuple[bytes, bytes]]:
    """The boxes at the end of a path of boxes."""
    for kind, inner in _boxes(body):
        if not path:
            yield kind, inner
        elif kind == path[0]:
            yield from _inside(inner, path[1:])


def _boxes(body: bytes) -> Iterator[tuple[bytes, bytes]]:
    at = 0
    for _ in range(_MOST_BOXES):
        length = int.from_bytes(body[at : at + 4])
        if length < 8 or at + length > len(body):
            return
        yield body[at + 4 : at + 8], body[at + 8 : at + length]
        at += length
