"""Edges made clearer in luminance, without halos. numpy and OpenCV, no I/O."""

from collections.abc import Iterator
from typing import Final

import cv2
import numpy as np

from burnish.engines.work import Pixels

#: Rec. 709's luminance, of the encoded values: what unsharp masks are used on.
_LUMA: Final = np.array([0.2126, 0.7152, 0.0722], np.float32)
#: Over the brightest and under the darkest of a pixel's 3 x 3 neighbours no pixel goes by more than this many levels of 8 bits.
HALO: Final = 4.0
#: Detail fainter than this, in levels of 8 bits, is taken for noise and sharpened less.
_NOISE: Final = 2.0
_STRIP: Final = 256


def sharpened(pixels: Pixels, amount: float, radius: float, made: Pixels) -> Iterator[float]:
    """Fill `made` with `pixels`, `[H, W, 1 or 3]` of 8 or 16 bits, sharpened; yields the part done, strip by strip.

    An unsharp mask of luminance: `amount` times what a Gaussian of `radius` pixels takes away is added to all channels
    alike, so that no colour changes; bounded by `HALO`.
    """
    unit = 1 if pixels.dtype == np.uint8 else 257
    margin = max(2, int(np.ceil(4 * radius)))
    height = pixels.shape[0]
    for top in range(0, height, _STRIP):
        bottom = min(top + _STRIP, height)
        first, last = max(0, top - margin), min(height, bottom + margin)
        strip = pixels[first:last].astype(np.float32) / unit
        luma = strip @ _LUMA if strip.shape[2] == 3 else strip[..., 0]
        inside = slice(top - first, top - first + bottom - top)
        plus = (_bounded(luma, amount, radius) - luma)[inside, :, None]
        made[top:bottom] = np.rint(np.clip(strip[inside] + plus, 0, 255) * unit)
        yield bottom / height


def _bounded(luma: Pixels, amount: float, radius: float) -> Pixels:
    detail = luma - cv2.GaussianBlur(luma, (0, 0), radius)
    faint = np.abs(detail)
    wanted = luma + amount * detail * (faint / (faint + _NOISE))
    near = np.ones((3, 3), np.uint8)
    low, high = cv2.erode(luma, near) - HALO, cv2.dilate(luma, near) + HALO
    bounded: Pixels = np.clip(wanted, low, high)
    return bounded
