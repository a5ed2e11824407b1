"""Rows of a picture on their way to fewer: means of squares, so that a large picture is never held whole for a small use.

Called by `read`, in a codec child.
"""

from collections.abc import Iterator

import msgspec
import numpy as np

from burnish.engines.wire import Picture


def reduced(rows: Iterator[bytes], picture: Picture, side: int) -> tuple[Iterator[bytes], Picture]:
    """Rows of a picture that is at most `side` pixels on a side, and its shape. `rows` comes in pieces of any length; the
    rows and columns that fill no square are left out.
    """
    by = -(-max(picture.width, picture.height) // side)
    if by <= 1:
        return rows, picture
    width, height = picture.width // by, picture.height // by
    if not width or not height:  # a thread of pixels: as many as there are, along it
        width, height = max(1, width), max(1, height)
    small = msgspec.structs.replace(picture, width=width, height=height)
    return _means(rows, picture, small, min(by, picture.width), min(by, picture.height)), small


def _means(
    rows: Iterator[bytes], picture: Picture, small: Picture, across: int, down: int
) -> Iterator[bytes]:
    kind = np.dtype(np.uint8 if picture.bits == 8 else "<u2")
    band_bytes = down * picture.width * picture.channels * kind.itemsize
    waiting, made = bytearray(), 0
    for piece in rows:
        waiting += piece
        while len(waiting) >= band_bytes and made < small.height:
            band = np.frombuffer(bytes(waiting[:band_bytes]), kind).reshape(
                down, picture.width, picture.channels
            )
            del waiting[:band_bytes]
            squares = band[:, : small.width * across].reshape(down, small.width, across, picture.channels)
            yield np.rint(squares.mean((0, 2))).astype(kind).tobytes()
            made += 1
