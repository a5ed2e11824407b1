"""A small copy of a picture, from which is estimated what will be done to the large one.

Called by `enhance` and `straighten`. Colours are samples as the file has them (encoded, not linear light), 0 to 1.
"""

from dataclasses import dataclass
from typing import Any, Final

import cv2
import numpy as np
from numpy.typing import NDArray

Pixels = NDArray[Any]
Floats = NDArray[np.float32]

#: Share of red, green and blue in what the eye takes for brightness (ITU-R BT.709).
LUMA: Final = np.array([[0.2126, 0.7152, 0.0722]], np.float32)


@dataclass(frozen=True)
class Reduced:
    """`colours`: [h, w, 1 | 3]; `weight`: [h, w], how much a pixel counts, 0 where nothing of it is seen."""

    colours: Floats
    weight: Floats

    @property
    def luma(self) -> Floats:
        return luma(self.colours)


def colours_of(channels: int) -> int:
    """How many of a picture's channels are colours and not alpha."""
    return 1 if channels <= 2 else 3


def luma(colours: Floats) -> Floats:
    """Brightness, [h, w], of colours [h, w, 1 | 3]."""
    plane: Any = colours[..., 0] if colours.shape[2] == 1 else cv2.transform(colours, LUMA)
    flat: Floats = plane.reshape(colours.shape[:2])
    return flat


def chroma(colours: Floats) -> Floats:
    """The distance of the largest sample of each pixel from its smallest, [h, w]; one by one, as numpy is slow along 3."""
    red, green, blue = colours[..., 0], colours[..., 1], colours[..., 2]
    apart: Floats = np.maximum(np.maximum(red, green), blue) - np.minimum(np.minimum(red, green), blue)
    return apart


def reduced(pixels: Pixels, most_pixels: int, *, panorama: bool = False) -> Reduced:
    """A copy of `pixels`, [H, W, C] of 8 or 16 bits, of at most about `most_pixels`.

    `panorama`: rows count as much as they are seen of a sphere, and the copy is as wide as will divide the picture's width
    where that is near, so that both edges are cut alike.
    """
    height, width, channels = pixels.shape
    scale = max(1.0, (height * width / most_pixels) ** 0.5)
    size = (max(1, round(width / scale)), max(1, round(height / scale)))
    small = cv2.resize(pixels, size, interpolation=cv2.INTER_AREA).reshape(size[1], size[0], channels)
    unit = small.astype(np.float32) * np.float32(1 / np.iinfo(pixels.dtype).max)
    count = colours_of(channels)
    weight = np.ones(unit.shape[:2], np.float32) if channels == count else unit[..., count].copy()
    if panorama:
        weight *= np.sin((np.arange(size[1], dtype=np.float32) + 0.5) * (np.pi / size[1]))[:, None]
    return Reduced(np.ascontiguousarray(unit[..., :count]), weight)


def percentiles(values: Floats, weight: Floats, points: tuple[float, ...]) -> list[float]:
    """Weighted percentiles of values from 0 to 1, to a 1024th; the middle where nothing counts."""
    counts = np.histogram(values, 1024, (0, 1), weights=weight)[0].cumsum()
    if counts[-1] <= 0:
        return [0.5] * len(points)
    return [float((np.searchsorted(counts, counts[-1] * point / 100) + 0.5) / 1024) for point in points]
