"""Whether a line of pieces is lettering on ground that ends: what tells a number plate from fur, gravel, print and windows.

The line is laid flat, with room above and below. Lettering has tops and bottoms on two straight lines, strokes that are thin
beside its height, and ground of one tone. The ground of a plate ends along a straight line above and one below; that of
print goes on to the next line, whose letters end nowhere together. The shares were chosen on drawn plates, and on photos
and house fronts without one, so that none of the latter was left (docs/reference/models/privacy.md has the figures).
"""

from dataclasses import dataclass
from typing import Any, Final

import cv2
import numpy as np
from numpy.typing import NDArray

Gray = NDArray[Any]

#: Characters are laid flat with so many pixels of height, and so many heights of room.
_UNIT: Final = 24
_ROOM: Final = 1.3
#: How far a top or bottom may be off its straight line: of the height, and pixels that sampling costs.
_OFF, _SAMPLED = 0.07, 0.9
#: Levels between characters and ground; how far the ground may vary, as a part of them; the part of the area that is ink.
_CONTRAST, _PLAIN = 38, 0.24
_INKED: Final = (0.12, 0.62)
#: Median width of strokes, of the height.
_STROKE: Final = 0.36
#: What is no longer ground, of the contrast; the columns that must leave it, and those that must do so on one line.
_LEFT, _LEAVING, _TOGETHER = 0.25, 0.9, 0.5
#: Of the columns that leave above and below, both taken together.
_BOTH: Final = 1.1
_SLOPES: Final = np.linspace(-0.3, 0.3, 31)


@dataclass(frozen=True)
class Lettering:
    """A line: what its characters stand on, and how surely it ends.

    Attributes:
        line: the pieces, [N, 4] of left, top, width, height.
        ground: the level of its ground, of the picture or of its negative.
        contrast: levels between ground and characters.
        above: the part of the columns whose ground ends together above; 0 where too few end.
        below: the same below.
    """

    line: NDArray[Any]
    ground: float
    contrast: float
    above: float
    below: float

    @property
    def ends(self) -> bool:
        """On a plate of its own."""
        return min(self.above, self.below) >= _TOGETHER and self.above + self.below >= _BOTH


def reading(gray: Gray, line: NDArray[Any], sign: int) -> Lettering | None:
    """What the line is, or None where it is no lettering. `sign`: -1 where it is lighter than its ground."""
    x, tall = line[:, 0] + line[:, 2] / 2, line[:, 3]
    off = _OFF * tall.mean() + _SAMPLED
    if max(_bent(x, line[:, 1]), _bent(x, line[:, 1] + tall)) > off:
        return None
    flat = _flat(gray, line)
    if sign < 0:
        flat = 255 - flat
    top, bottom = round(_UNIT * _ROOM), round(_UNIT * (_ROOM + 1))
    inside = flat[top:bottom]
    ground, ink = (float(np.percentile(inside, part)) for part in (80, 12))
    contrast, between = ground - ink, (ground + ink) / 2
    written = inside < between
    if contrast < _CONTRAST or not _INKED[0] < written.mean() < _INKED[1]:
        return None
    if inside[~written].std() > _PLAIN * contrast or _stroke(flat[top - 3 : bottom + 3] < between) > _STROKE:
        return None
    left = np.abs(flat - ground) > _LEFT * contrast
    return Lettering(line, ground, contrast, _together(left[top - 2 :: -1]), _together(left[bottom + 1 :]))


def corners(line: NDArray[Any], beside: float, beyond: float) -> NDArray[Any]:
    """Round the line, [4, 2] of (x, y), clockwise from the top left; `beside` and `beyond` in heights of its characters."""
    x, y, tall = line[:, 0] + line[:, 2] / 2, line[:, 1] + line[:, 3] / 2, line[:, 3]
    slope, offset = np.polyfit(x, y, 1)
    grow, mean = np.polyfit(x - x.mean(), tall, 1)
    left, right = line[0, 0] - beside * mean, line[-1, 0] + line[-1, 2] + beside * mean
    places = []
    for at, side in ((left, -1), (right, -1), (right, 1), (left, 1)):
        half = (0.5 + beyond) * (mean + grow * (at - x.mean()))
        places.append((at, slope * at + offset + side * half))
    return np.array(places, np.float32)


def _flat(gray: Gray, line: NDArray[Any]) -> Gray:
    """The line with room above and below, its characters `_UNIT` high, float32."""
    height = round(_UNIT * (1 + 2 * _ROOM))
    width = max(2, round(_UNIT * (line[-1, 0] + line[-1, 2] - line[0, 0]) / line[:, 3].mean()))
    frame = np.array([[0, 0], [width, 0], [width, height], [0, height]], np.float32)
    move = cv2.getPerspectiveTransform(corners(line, 0, _ROOM), frame)
    return cv2.warpPerspective(
        gray, move, (width, height), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
    ).astype(np.float32)


def _bent(x: NDArray[Any], y: NDArray[Any]) -> float:
    """By how much the points are off their straight line, the worst of them."""
    slope, offset = np.polyfit(x, y, 1)
    return float(np.abs(y - slope * x - offset).max())


def _stroke(written: NDArray[Any]) -> float:
    """The median width of strokes, of the height of characters: twice the distance of their middles to the ground."""
    depth = cv2.distanceTransform(written.astype(np.uint8), cv2.DIST_L2, 3)
    middles = written & (depth >= cv2.dilate(depth, np.ones((3, 3), np.uint8)) - 1e-6)
    return float(2 * np.median(depth[middles])) / _UNIT if middles.any() else 1.0


def _together(left: NDArray[Any]) -> float:
    """The part of the columns whose ground ends on one straight line; 0 where too few end. `left`: rows from the line outwards."""
    ends = left.any(0)
    if ends.mean() < _LEAVING:
        return 0.0
    x, rows = np.flatnonzero(ends), left.argmax(0)[ends]
    most = 0
    for slope in _SLOPES:
        offsets = np.sort(rows - slope * (x - x.mean()))
        most = max(
            most, int((np.searchsorted(offsets, offsets + 4, "right") - np.arange(len(offsets))).max())
        )
    width: int = left.shape[1]
    return most / width
