"""A picture that nobody takes for a result: gray stripes from corner to corner, of any size, in the format asked for.

Called in a codec child, for the tasks of test keys. The stripes are made of square cells, so there are four kinds of
rows and no more; each is encoded once and written as often as it is needed. So 432 megapixels take as little time and
memory as one does: what is written is a thousandth of the pixels, and the pixels themselves are never there.
"""

import re
import struct
import zlib
from collections.abc import Iterator
from functools import cache
from io import BytesIO
from itertools import accumulate
from math import isqrt
from typing import IO, Final

from PIL import Image, TiffImagePlugin, TiffTags

from burnish.engines.pictures.avif import MOST_TILES, SMALLEST_TILE, write_avif, write_avif_grid
from burnish.engines.pictures.webp import write_webp
from burnish.engines.wire import Canned

_DARK, _LIGHT = 0x8C, 0xBE
#: Of the cells that follow each other in a row, the first of so many are dark, the others light.
_PERIOD: Final = 4
_DARK_CELLS: Final = 2
#: Cells are at least as large as the squares that a JPEG is made of, and a power of two.
_SMALLEST_CELL: Final = 16
_CELLS_ACROSS: Final = 16
_BLOCK_BYTES: Final = 1 << 20
_QUALITY: Final = 75
_RESTART: Final = re.compile(rb"\xff[\xd0-\xd7]")


class _Stripes:
    """The picture, told by its rows: 8 bits of red, green and blue a pixel."""

    def __init__(self, width: int, height: int) -> None:
        self.width, self.height = width, height
        cell = isqrt(width * height) // _CELLS_ACROSS
        self.cell = max(_SMALLEST_CELL, 1 << max(cell.bit_length() - 1, 0))
        # As many rows as are encoded at once: all of one kind.
        self.block = min(self.cell, 1 << max((_BLOCK_BYTES // (3 * width)).bit_length() - 1, 0))

    def kind(self, row: int) -> int:
        return row // self.cell % _PERIOD

    def bands(self) -> Iterator[tuple[int, int]]:
        """Kind, and how many rows of it follow each other."""
        for top in range(0, self.height, self.cell):
            yield self.kind(top), min(self.cell, self.height - top)

    def blocks(self) -> Iterator[tuple[int, int]]:
        """The same, at most `block` rows at once."""
        for top in range(0, self.height, self.block):
            yield self.kind(top), min(self.block, self.height - top)

    def row(self, kind: int) -> bytes:
        return b"".join(bytes([level]) * 3 * pixels for level, pixels in self.runs(kind))

    def runs(self, kind: int) -> list[tuple[int, int]]:
        """The row as levels, and how many pixels have each."""
        runs = []
        for left in range(0, self.width, self.cell):
            dark = (left // self.cell + kind) % _PERIOD < _DARK_CELLS
            runs.append((_DARK if dark else _LIGHT, min(self.cell, self.width - left)))
        return runs


def write_canned(wanted: Canned, out: IO[bytes]) -> None:
    """The picture that is wanted, into `out`."""
    stripes = _Stripes(wanted.width, wanted.height)
    match wanted.format:
        case "png":
            _write_png(stripes, out)
        case "tiff":
            _write_tiff(stripes, out)
        case "jpeg":
            _write_jpeg(stripes, out)
        case "webp":
            bands = ((stripes.runs(kind), rows) for kind, rows in stripes.bands())
            write_webp(stripes.width, stripes.height, bands, out)
        case "avif":
            _write_avif(stripes, out)
    out.flush()


def _write_png(stripes: _Stripes, out: IO[bytes]) -> None:
    @cache
    def deflated(kind: int, rows: int) -> tuple[bytes, int, int]:
        """Up to a byte's edge, so that any may follow any; with the sum and the length of what it holds."""
        raw = (b"\0" + stripes.row(kind)) * rows
        deflate = zlib.compressobj(wbits=-15)
        return deflate.compress(raw) + deflate.flush(zlib.Z_FULL_FLUSH), zlib.adler32(raw), len(raw)

    out.write(b"\x89PNG\r\n\x1a\n")
    _chunk(out, b"IHDR", struct.pack(">IIBBBBB", stripes.width, stripes.height, 8, 2, 0, 0, 0))
    _chunk(out, b"IDAT", b"\x78\x9c")
    checksum = 1
    for kind, rows in stripes.blocks():
        data, sum_, length = deflated(kind, rows)
        checksum = _adler32_of_both(checksum, sum_, length)
        _chunk(out, b"IDAT", data)
    _chunk(out, b"IDAT", b"\x03\x00" + struct.pack(">I", checksum))  # an empty last block, and the sum
    _chunk(out, b"IEND", b"")


def _chunk(out: IO[bytes], kind: bytes, data: bytes) -> None:
    out.write(struct.pack(">I", len(data)) + kind + data)
    out.write(struct.pack(">I", zlib.crc32(data, zlib.crc32(kind))))


def _adler32_of_both(first: int, second: int, length: int) -> int:
    """The sum over two stretches of bytes, of which the second has this length."""
    low = (first & 0xFFFF) + (second & 0xFFFF) - 1
    high = (first >> 16) + (second >> 16) + length * ((first & 0xFFFF) - 1)
    return high % 65_521 << 16 | low % 65_521


def _write_tiff(stripes: _Stripes, out: IO[bytes]) -> None:
    deflated = cache(lambda kind, rows: zlib.compress(stripes.row(kind) * rows))
    strips = [deflated(kind, rows) for kind, rows in stripes.blocks()]
    counts = [len(strip) for strip in strips]
    out.write(b"II*\0" + struct.pack("<I", 8))
    out.write(_tiff_directory(stripes, [0, *accumulate(counts[:-1])], counts))
    for strip in strips:
        out.write(strip)


def _tiff_directory(stripes: _Stripes, offsets: list[int], counts: list[int]) -> bytes:
    """The directory as it stands at byte 8; `offsets` count from its end."""
    directory = TiffImagePlugin.ImageFileDirectory_v2()
    directory.tagtype[273] = directory.tagtype[279] = TiffTags.LONG
    directory[256], directory[257] = stripes.width, stripes.height
    directory[258], directory[277] = (8, 8, 8), 3
    directory[259], directory[262] = 8, 2  # deflate, RGB
    directory[273], directory[278], directory[279] = tuple(offsets), stripes.block, tuple(counts)
    written: bytes = directory.tobytes(8)
    return written


def _write_jpeg(stripes: _Stripes, out: IO[bytes]) -> None:
    """One row of squares of each kind is encoded, with a mark behind it where decoders begin anew: so each may follow any."""
    square = _SMALLEST_CELL
    sample = b"".join(stripes.row(kind) * square for kind in range(_PERIOD))
    image = Image.frombytes("RGB", (stripes.width, square * _PERIOD), sample)
    encoded = BytesIO()
    image.save(encoded, "JPEG", quality=_QUALITY, subsampling="4:2:0", restart_marker_rows=1)
    head, body = _parted(encoded.getvalue(), stripes.height)
    out.write(head)
    rows = range(0, stripes.height, square)
    for number, top in enumerate(rows):
        out.write(body[stripes.kind(top)])
        if number < len(rows) - 1:
            out.write(bytes([0xFF, 0xD0 + number % 8]))
    out.write(b"\xff\xd9")


def _write_avif(stripes: _Stripes, out: IO[bytes]) -> None:
    """A grid of square tiles. They are whole cells, so that what a tile shows depends on how many cells went before."""
    side = max(stripes.cell, SMALLEST_TILE)
    while max(stripes.width, stripes.height) > side * MOST_TILES:
        side *= 2
    columns, rows = -(-stripes.width // side), -(-stripes.height // side)
    if rows == columns == 1:
        write_avif(_tile(stripes, 0, stripes.width, stripes.height), out)
        return
    step = side // stripes.cell
    kinds = range(0, _PERIOD, min(_PERIOD, step))
    tiles = [_tile(stripes, kind, side, side) for kind in kinds]
    places = [
        [(across + down) * step % _PERIOD // kinds.step for across in range(columns)] for down in range(rows)
    ]
    write_avif_grid(stripes.width, stripes.height, tiles, places, out)


def _tile(stripes: _Stripes, kind: int, width: int, height: int) -> Image.Image:
    """So much of the picture, from where a row of this kind begins."""
    tile = Image.new("RGB", (width, height), (_LIGHT,) * 3)
    for top in range(0, height, stripes.cell):
        for left in range(0, width, stripes.cell):
            if (kind + (left + top) // stripes.cell) % _PERIOD < _DARK_CELLS:
                tile.paste((_DARK,) * 3, (left, top, left + stripes.cell, top + stripes.cell))
    return tile


def _parted(jpeg: bytes, height: int) -> tuple[bytes, list[bytes]]:
    """All before the pixels, with that height written in; and the pixels, row of squares by row."""
    head, place = bytearray(jpeg), 2
    while True:
        marker, length = jpeg[place + 1], int.from_bytes(jpeg[place + 2 : place + 4])
        if marker == 0xC0:  # the frame: its length, its bits, then the height
            head[place + 5 : place + 7] = height.to_bytes(2)
        place += 2 + length
        if marker == 0xDA:  # from here to the end, pixels
            return bytes(head[:place]), _RESTART.split(jpeg[place:-2])
