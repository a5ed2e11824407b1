"""How noisy a picture is, and a filter that takes noise out of it without crossing edges. numpy and OpenCV, no I/O."""

from collections.abc import Iterator
from typing import Final

import cv2
import numpy as np

from burnish.engines.work import Pixels

#: Blocks of so many pixels a side, of half-sized detail; a tenth of them, the quietest, is taken for flat.
_BLOCK: Final = 8
_QUIET: Final = 10
#: What that tenth shows of noise that is the same everywhere (measured with normal noise of 5 to 20 levels).
_SHOWN: Final = 0.9
#: How many times more detail texture has at half the size, at least; noise has as much, counted so that it stays as it is.
#: Grass, gravel, metal and text of scikit-image: 2.5 to 9.
_TEXTURE: Final = 2.5
#: At most this many windows of this side are looked at, evenly spread.
_WINDOWS: Final = 16
_WINDOW: Final = 512

#: The filter's reach in space, and in values by the noise: best of those tried (docs/why/engines.md).
_REACH: Final = 2.0
_DIAMETER: Final = 9
_RANGE: Final = 3.0
_STRIP: Final = 256


def estimated(pixels: Pixels) -> float:
    """Standard deviation of the noise in `[H, W, C]` of 8 or 16 bits, in levels of 8 bits; 0 for what has none.

    From the diagonal details of a Haar transform in two sizes (Donoho and Johnstone 1994 take the first alone): noise
    is as strong in both, texture is stronger in the second, which is how it is taken off.
    """
    unit = 1 if pixels.dtype == np.uint8 else 257
    found = [
        [
            _of_window(window[..., channel].astype(np.float32) / np.float32(unit))
            for window in _windows(pixels)
        ]
        for channel in range(pixels.shape[2])
    ]
    return float(np.mean([np.median(channel) for channel in found])) / _SHOWN


def smoothed(pixels: Pixels, sigma: float, made: Pixels) -> Iterator[float]:
    """Fill `made` with `pixels` less noise of `sigma` levels (bilateral filter, strip by strip); yields the part done."""
    unit = 1.0 if pixels.dtype == np.uint8 else 257.0
    margin = _DIAMETER // 2
    height = pixels.shape[0]
    for top in range(0, height, _STRIP):
        bottom = min(top + _STRIP, height)
        first, last = max(0, top - margin), min(height, bottom + margin)
        strip = pixels[first:last].astype(np.float32)
        plain = cv2.bilateralFilter(strip, _DIAMETER, (_RANGE * sigma + 1) * unit, _REACH)
        plain = plain.reshape(strip.shape)[top - first : top - first + bottom - top]
        made[top:bottom] = np.rint(plain)
        yield bottom / height


def _windows(pixels: Pixels) -> list[Pixels]:
    """Even ones of the picture, all of a small one."""
    height, width = pixels.shape[:2]
    if height * width <= _WINDOWS * _WINDOW**2:
        return [pixels]
    side = int(_WINDOWS**0.5)
    tops, lefts = (
        np.linspace(0, max(size - _WINDOW, 0), side).astype(int).tolist() for size in (height, width)
    )
    return [pixels[top : top + _WINDOW, left : left + _WINDOW] for top in tops for left in lefts]


def _of_window(values: Pixels) -> float:
    if min(values.shape) < 4 * _BLOCK:
        return 0.0
    half = cv2.resize(values, (values.shape[1] // 2, values.shape[0] // 2), interpolation=cv2.INTER_AREA)
    fine, coarse = _quiet(values), 2 * _quiet(half)
    square = (_TEXTURE**2 * fine**2 - coarse**2) / (_TEXTURE**2 - 1)
    # Noise makes both alike, but for chance; only what is more in the coarse one tells of texture.
    return min(fine, float(np.sqrt(max(0.0, square))))


def _quiet(values: Pixels) -> float:
    """What the quiet blocks have of diagonal detail."""
    height, width = (size // 2 * 2 for size in values.shape)
    even, odd = values[0:height:2], values[1:height:2]
    detail = (even[:, 0:width:2] - even[:, 1:width:2] - odd[:, 0:width:2] + odd[:, 1:width:2]) / 2
    rows, columns = (size // _BLOCK for size in detail.shape)
    blocks = detail[: rows * _BLOCK, : columns * _BLOCK].reshape(rows, _BLOCK, columns, _BLOCK)
    return float(np.percentile(np.sqrt((blocks**2).mean((1, 3))), _QUIET))
