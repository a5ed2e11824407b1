"""AVIF of a few tiles, each there as often as it is wanted: a picture of any size costs a few kilobytes.

Called by `canned`. The picture is a grid (ISO/IEC 23008-12, 6.6.2.3) whose items all point at one of a few tiles that
Pillow has encoded. What is over the right and lower edge of the grid is cut off by whoever reads it.
"""

import struct
from collections.abc import Sequence
from io import BytesIO
from itertools import accumulate
from typing import IO, Final

from PIL import Image

#: The most tiles across and down.
MOST_TILES: Final = 256
#: The smallest tile that there may be.
SMALLEST_TILE: Final = 64
_GRID: Final = 1


def write_avif(image: Image.Image, out: IO[bytes]) -> None:
    """A picture as it is, at the greatest speed. Colour at full resolution, without which a grid must be of even size."""
    image.save(out, "AVIF", quality=75, speed=10, subsampling="4:4:4")


def write_avif_grid(
    width: int, height: int, tiles: Sequence[Image.Image], places: Sequence[Sequence[int]], out: IO[bytes]
) -> None:
    """`places`: for each row of tiles, which of the `tiles` (RGB, square, all of one size) stands in each place."""
    encoded = [_encoded(tile) for tile in tiles]
    properties = encoded[0][0]
    side = tiles[0].width
    rows, columns = len(places), len(places[0])
    which = [tile for row in places for tile in row]
    grid = struct.pack(">BBBBII", 0, 1, rows - 1, columns - 1, width, height)  # version 0, sizes of 32 bits
    bodies = [grid, *(body for _, body in encoded)]
    starts = [0, *accumulate(map(len, bodies[:-1]))]
    head = _box(b"ftyp", b"avif\0\0\0\0avifmif1miaf")
    # The boxes' length does not depend on the offsets in them.
    before = len(head) + len(_meta(side, width, height, which, properties, bodies, starts)) + 8
    offsets = [before + start for start in starts]
    out.write(head + _meta(side, width, height, which, properties, bodies, offsets))
    out.write(_box(b"mdat", b"".join(bodies)))


def _encoded(tile: Image.Image) -> tuple[list[bytes], bytes]:
    """What a tile's file says of it, less its size, as whole boxes; and its bytes."""
    buffer = BytesIO()
    write_avif(tile, buffer)
    data = buffer.getvalue()
    at = data.index(b"ipco") + 4
    end = at - 8 + int.from_bytes(data[at - 8 : at - 4])
    boxes = []
    while at < end:
        length = int.from_bytes(data[at : at + 4])
        if data[at + 4 : at + 8] != b"ispe":
            boxes.append(data[at : at + length])
        at += length
    return boxes, data[data.index(b"mdat") + 4 :]


def _meta(
    side: int,
    width: int,
    height: int,
    which: Sequence[int],
    properties: Sequence[bytes],
    bodies: Sequence[bytes],
    offsets: Sequence[int],
) -> bytes:
    items = range(_GRID + 1, _GRID + 1 + len(which))
    handler = _full(b"hdlr", 0, b"\0\0\0\0pict" + bytes(13))
    primary = _full(b"pitm", 0, struct.pack(">H", _GRID))
    places = [(_GRID, 0), *((item, 1 + tile) for item, tile in zip(items, which, strict=True))]
    locations = struct.pack(">HH", 0x4400, len(places)) + b"".join(
        struct.pack(">HHHII", item, 0, 1, offsets[body], len(bodies[body])) for item, body in places
    )
    names = _item(_GRID, b"grid", hidden=False) + b"".join(
        _item(item, b"av01", hidden=True) for item in items
    )
    references = struct.pack(f">HH{len(items)}H", _GRID, len(items), *items)
    sizes = (struct.pack(">II", width, height), struct.pack(">II", side, side))
    held = b"".join(_full(b"ispe", 0, size) for size in sizes) + b"".join(properties)
    of_tile = [2, *range(3, 3 + len(properties))]
    of_grid = [1, *(3 + n for n, box in enumerate(properties) if box[4:8] in (b"pixi", b"colr"))]
    associations = struct.pack(">I", 1 + len(items)) + _associated(_GRID, of_grid)
    associations += b"".join(_associated(item, of_tile) for item in items)
    parts = (
        handler,
        primary,
        _full(b"iloc", 0, locations),
        _full(b"iinf", 0, struct.pack(">H", 1 + len(items)) + names),
        _full(b"iref", 0, _box(b"dimg", references)),
        _box(b"iprp", _box(b"ipco", held) + _full(b"ipma", 0, associations)),
    )
    return _full(b"meta", 0, b"".join(parts))


def _item(item: int, kind: bytes, *, hidden: bool) -> bytes:
    return _full(b"infe", 2 << 24 | hidden, struct.pack(">HH4sB", item, 0, kind, 0))


def _associated(item: int, properties: Sequence[int]) -> bytes:
    return struct.pack(">HB", item, len(properties)) + bytes(properties)


def _box(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I4s", 8 + len(body), kind) + body


def _full(kind: bytes, version_and_flags: int, body: bytes) -> bytes:
    return _box(kind, struct.pack(">I", version_and_flags) + body)
