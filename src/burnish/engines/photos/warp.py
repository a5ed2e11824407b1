"""Moving pixels: a picture seen through a homography or a map of places, strip by strip, and what of it is left inside.

Called by `straighten` and `lens`. A point is (x, y) in pixels, the middle of the first pixel being (0, 0).
"""

from collections.abc import Callable, Iterator
from itertools import combinations
from typing import Any, Final

import cv2
import numpy as np
from numpy.typing import NDArray

from burnish.engines.photos.reduced import Floats, Pixels, colours_of

Matrix = NDArray[np.float64]

#: Pixels that are worked on at once: each takes 24 bytes for where its colours come from, and as much for them.
_STRIP_PIXELS: Final = 1 << 18
#: `remap` takes places in one array or in two.
NO_MAP: Final[Any] = None
#: The longest side that OpenCV moves pixels within.
LONGEST_SIDE: Final = 32_000


def inside(corners: Matrix, width: float, height: float) -> tuple[float, float, float]:
    """The largest rectangle of this shape within a convex quadrangle, [4, 2], in order round it: its middle, and the part of
    `width` and `height` that it has.

    A linear programme in three unknowns: each side is a bound on a corner, and at the best place three of them hold.
    """
    middle = corners.mean(0)
    rows, bounds = [], []
    for here, there in zip(corners, np.roll(corners, -1, axis=0), strict=True):
        normal = np.array([there[1] - here[1], here[0] - there[0]])
        normal /= max(float(np.hypot(*normal)), 1e-12)
        if normal @ (middle - here) > 0:
            normal = -normal
        rows.append([normal[0], normal[1], (abs(normal[0]) * width + abs(normal[1]) * height) / 2])
        bounds.append(float(normal @ here))
    sides, most = np.array(rows), np.array(bounds)
    best = (float(middle[0]), float(middle[1]), 0.0)
    for three in combinations(range(4), 3):
        chosen = list(three)
        if abs(np.linalg.det(sides[chosen])) < 1e-9:
            continue
        x, y, part = np.linalg.solve(sides[chosen], most[chosen])
        if part > best[2] and np.all(sides @ [x, y, part] <= most + 1e-6):
            best = (float(x), float(y), float(part))
    if best[2] == 0:  # two sides are parallel, as those of a rectangle: the middle is as good as any place
        room = (most - sides[:, :2] @ middle) / sides[:, 2]
        best = (float(middle[0]), float(middle[1]), float(max(room.min(), 0)))
    return best


def through(pixels: Pixels, homography: Matrix, made: Pixels, border: int) -> Iterator[float]:
    """Fill `made` with `pixels` seen through `homography`, which leads from a place in `pixels` to one in `made`.

    `border`: OpenCV's, of what lies outside. Yields the part that is done.
    """
    back = np.linalg.inv(homography)

    def strip(picture: Pixels, top: int, rows: int) -> Any:
        down = np.array([[1, 0, 0], [0, 1, top], [0, 0, 1]], np.float64)
        size = (made.shape[1], rows)
        flags = cv2.INTER_CUBIC | cv2.WARP_INVERSE_MAP
        return cv2.warpPerspective(picture, back @ down, size, flags=flags, borderMode=border)

    yield from _moved(pixels, made, strip)


def by_map(pixels: Pixels, places: Callable[[int, int], Floats], made: Pixels) -> Iterator[float]:
    """Fill `made` with `pixels` from where `places(top, rows)` says: [rows, W, 2], or [rows, W, 3, 2] with a place of its own
    for each colour. Yields the part that is done.
    """

    def strip(picture: Any, top: int, rows: int) -> Any:
        where: Any = places(top, rows)
        if where.ndim == 3:
            return cv2.remap(picture, where, NO_MAP, cv2.INTER_CUBIC, borderMode=cv2.BORDER_REFLECT_101)
        planes = [
            cv2.remap(
                np.ascontiguousarray(picture[..., channel]),
                np.ascontiguousarray(where[:, :, min(channel, 1) if picture.shape[2] < 3 else channel % 3]),
                NO_MAP,
                cv2.INTER_CUBIC,
                borderMode=cv2.BORDER_REFLECT_101,
            )
            for channel in range(picture.shape[2])
        ]
        return cv2.merge(planes)

    yield from _moved(pixels, made, strip)


def _moved(pixels: Pixels, made: Pixels, strip: Callable[[Pixels, int, int], Any]) -> Iterator[float]:
    """`strip` for strip; colours under transparency do not bleed, because they are moved multiplied by it."""
    height, count, channels = made.shape[0], colours_of(pixels.shape[2]), pixels.shape[2]
    full = np.iinfo(pixels.dtype).max
    solid = channels == count or bool(pixels[..., -1].min() == full)
    source = pixels if solid else _multiplied(pixels)
    most_rows = max(1, _STRIP_PIXELS // made.shape[1])
    for top in range(0, height, most_rows):
        rows = min(most_rows, height - top)
        moved = strip(source, top, rows).reshape(rows, made.shape[1], channels)
        made[top : top + rows] = moved if solid else _divided(moved, pixels.dtype)
        yield (top + rows) / height


def _multiplied(pixels: Pixels) -> Floats:
    full = np.float32(np.iinfo(pixels.dtype).max)
    colours = pixels.astype(np.float32)
    colours[..., :-1] *= colours[..., -1:] / full
    return colours


def _divided(moved: Floats, kind: Any) -> Pixels:
    full = float(np.iinfo(kind).max)
    alpha = np.clip(moved[..., -1:], 0, full)
    colours = moved[..., :-1] * (full / np.maximum(alpha, 1e-3))
    whole: Pixels = (np.clip(np.concatenate([colours, alpha], axis=2), 0, full) + 0.5).astype(kind)
    return whole
