"""PNG and TIFF, written strip by strip on all the cores a child may use, with 8 or 16 bits a channel.

Called by `write`. Pillow writes neither 16-bit colour nor in parallel; a strip of rows is filtered by numpy and
deflated by zlib, both of which leave the interpreter free. Measured on 16 megapixels, two cores: PNG 0.7 s against
Pillow's 2.9 s (same size within 2 %), TIFF 0.6 s against 3.0 s.
"""

import os
import struct
import zlib
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import accumulate
from typing import IO, Final

import numpy as np
from numpy.typing import NDArray
from PIL import TiffImagePlugin, TiffTags

from burnish.engines.pictures import metadata as meta
from burnish.engines.wire import Metadata, Picture
from burnish.errors import Failed

Bytes = NDArray[np.uint8]

_STRIP_BYTES: Final = 1 << 20
_MOST_THREADS: Final = 8
#: Level 6 is 6 % smaller and three times slower on photos.
_LEVEL: Final = 4

_PNG_COLOUR: Final = {1: 0, 2: 4, 3: 2, 4: 6}
_AVERAGE: Final = 3
_METRE_IN_INCHES: Final = 39.3701

_TIFF_LARGEST: Final = (1 << 32) - (1 << 20)


def write_png(pixels: Bytes, picture: Picture, metadata: Metadata, out: IO[bytes]) -> None:
    """`pixels`: rows of bytes, samples little endian."""
    step = picture.channels * picture.bits // 8
    out.write(b"\x89PNG\r\n\x1a\n")
    header = (picture.width, picture.height, picture.bits, _PNG_COLOUR[picture.channels], 0, 0, 0)
    _chunk(out, b"IHDR", struct.pack(">IIBBBBB", *header))
    for kind, data in _png_metadata(metadata):
        _chunk(out, kind, data)
    checksum = 1
    _chunk(out, b"IDAT", b"\x78\x5e")  # the head of a zlib stream, whose parts follow
    for raw, deflated in _each_strip(
        pixels, lambda top, bottom: _png_strip(pixels, top, bottom, step, picture.bits)
    ):
        checksum = zlib.adler32(raw, checksum)
        _chunk(out, b"IDAT", deflated)
    _chunk(out, b"IDAT", b"\x03\x00" + struct.pack(">I", checksum))  # an empty last block, and the sum
    _chunk(out, b"IEND", b"")


def write_tiff(pixels: Bytes, picture: Picture, metadata: Metadata, out: IO[bytes]) -> None:
    """`pixels`: rows of bytes, samples little endian. Deflate, with the difference to the pixel on the left.

    Raises:
        Failed: output_too_large, for a file over the 4 GB that a TIFF can address.
    """
    strips = -(-len(pixels) // _rows(pixels))
    # The directory comes first; its length depends on how many strips there are, not on where they lie.
    head = len(_tiff_directory(picture, metadata, [0] * strips, [0] * strips, _rows(pixels)))
    out.seek(8 + head)
    counts: list[int] = []
    for _, deflated in _each_strip(pixels, lambda top, bottom: _tiff_strip(pixels, top, bottom, picture)):
        counts.append(len(deflated))
        if 8 + head + sum(counts) > _TIFF_LARGEST:
            raise Failed("output_too_large", "The result does not fit into the 4 GB that a TIFF can hold.")
        out.write(deflated)
    offsets = [0, *accumulate(counts[:-1])]
    out.seek(0)
    out.write(b"II*\0" + struct.pack("<I", 8))
    out.write(_tiff_directory(picture, metadata, offsets, counts, _rows(pixels)))


def _each_strip(
    pixels: Bytes, strip: Callable[[int, int], tuple[bytes, bytes]]
) -> Iterator[tuple[bytes, bytes]]:
    """`strip(top, bottom)` of all rows, in order, computed by several threads a few strips ahead."""
    height, rows = len(pixels), _rows(pixels)
    threads = min(len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 2, _MOST_THREADS)
    ahead: deque[Future[tuple[bytes, bytes]]] = deque()
    with ThreadPoolExecutor(threads) as pool:
        for top in range(0, height, rows):
            ahead.append(pool.submit(strip, top, min(top + rows, height)))
            if len(ahead) > 2 * threads:
                yield ahead.popleft().result()
        while ahead:
            yield ahead.popleft().result()


def _rows(pixels: Bytes) -> int:
    return max(1, _STRIP_BYTES // int(pixels.shape[1]))


def _png_strip(pixels: Bytes, top: int, bottom: int, step: int, bits: int) -> tuple[bytes, bytes]:
    """Rows with PNG's Average filter, each behind its filter's number; and the same, deflated up to a byte's edge."""
    rows = pixels[max(top - 1, 0) : bottom]
    if bits == 16:
        rows = rows.view("<u2").astype(">u2").view(np.uint8)
    above = np.zeros_like(rows[: bottom - top])
    above[(0 if top else 1) :] = rows[:-1]
    rows = rows[-(bottom - top) :]
    left = np.zeros_like(rows)
    left[:, step:] = rows[:, :-step]
    filtered = np.empty((len(rows), rows.shape[1] + 1), np.uint8)
    filtered[:, 0] = _AVERAGE
    np.subtract(rows, (above & left) + ((above ^ left) >> 1), out=filtered[:, 1:])
    raw = filtered.tobytes()
    deflate = zlib.compressobj(_LEVEL, zlib.DEFLATED, -15, 9)
    return raw, deflate.compress(raw) + deflate.flush(zlib.Z_FULL_FLUSH)


def _tiff_strip(pixels: Bytes, top: int, bottom: int, picture: Picture) -> tuple[bytes, bytes]:
    samples = pixels[top:bottom].view(np.uint8 if picture.bits == 8 else "<u2")
    different = samples.copy()
    different[:, picture.channels :] -= samples[:, : -picture.channels]
    return b"", zlib.compress(different.tobytes(), _LEVEL)


def _png_metadata(metadata: Metadata) -> Iterator[tuple[bytes, bytes]]:
    if metadata.icc:
        yield b"iCCP", b"ICC Profile\0\0" + zlib.compress(metadata.icc)
    if metadata.dpi:
        across, down = (round(value * _METRE_IN_INCHES) for value in metadata.dpi)
        yield b"pHYs", struct.pack(">IIB", across, down, 1)
    if metadata.exif:
        yield b"eXIf", metadata.exif.removeprefix(b"Exif\0\0")
    if metadata.xmp:
        yield b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + metadata.xmp


def _chunk(out: IO[bytes], kind: bytes, data: bytes) -> None:
    out.write(struct.pack(">I", len(data)) + kind)
    out.write(data)
    out.write(struct.pack(">I", zlib.crc32(data, zlib.crc32(kind))))


def _tiff_directory(
    picture: Picture, metadata: Metadata, offsets: list[int], counts: list[int], rows: int
) -> bytes:
    """The directory as it stands at byte 8; `offsets` count from its end."""
    directory = TiffImagePlugin.ImageFileDirectory_v2()
    if metadata.exif:
        exif = meta.load(metadata.exif)
        for tag in exif:
            directory[tag] = exif.get_ifd(tag) or exif[tag]
    deflate, difference, rgb, black_is_zero, straight_alpha = 8, 2, 2, 1, 2
    directory.tagtype[273] = directory.tagtype[279] = TiffTags.LONG
    directory[256], directory[257] = picture.width, picture.height
    directory[258] = (picture.bits,) * picture.channels
    directory[259] = deflate
    directory[262] = rgb if picture.channels >= 3 else black_is_zero
    directory[273], directory[279] = tuple(offsets), tuple(counts)
    directory[277], directory[278] = picture.channels, rows
    directory[317] = difference
    if picture.channels in (2, 4):
        directory[338] = straight_alpha
    if metadata.dpi:
        directory[282], directory[283], directory[296] = *metadata.dpi, 2
    if metadata.xmp:
        directory[700] = metadata.xmp
    if metadata.icc:
        directory[34675] = metadata.icc
    written: bytes = directory.tobytes(8)
    return written
