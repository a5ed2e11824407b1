"""`straighten`: verticals made vertical, and the roll taken out.

Called by the runner `photo`. Lines (LSD, Grompone von Gioi and others 2010) that stand nearly upright are asked for the
point they run to (RANSAC, then least squares); turning the camera so that this point lies straight above or below puts
both the tilt and the roll right, whatever the focal length. A picture without such lines is levelled by what is plainly a
horizon; one that shows neither is left alone.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final, Literal

import cv2
import numpy as np
from numpy.random import default_rng
from numpy.typing import NDArray

from burnish.engines.photos.reduced import Pixels, colours_of
from burnish.engines.photos.warp import LONGEST_SIDE, Matrix, inside, through

Lines = NDArray[np.float64]

#: Pixels of the copy in which lines are looked for.
_COPY_PIXELS: Final = 1 << 20
#: The focal length where nobody says one, as a part of the longer side: 28 mm on a full frame. Only how the crop lies depends on it.
_FOCAL: Final = 28 / 36
#: Lines shorter than this part of the diagonal say little.
_SHORTEST: Final = 0.02
#: How far from upright a line may lean and count, beyond the most that is corrected; and from a point that it is said to run to.
_LEAN_DEGREES: Final = 6.0
_FIT_DEGREES: Final = 0.8
_DRAWS: Final = 600
#: Evidence: lines that agree, as a multiple of the picture's height; as a part of all that are nearly upright; and how far apart
#: they stand, as the standard deviation in widths.
_LENGTH: Final = 1.2
_SHARE: Final = 0.35
_APART: Final = 0.10
#: Without it, a horizon: lines that agree, as a multiple of the width, within `_LEVEL_DEGREES`, and as a part of all that are nearly level.
_HORIZON: Final = 0.8
_LEVEL_DEGREES: Final = 0.5
_LEVEL_SHARE: Final = 0.6
#: Less than this nobody sees, and every correction costs a little sharpness.
LEAST_DEGREES: Final = 0.12


@dataclass(frozen=True)
class Tilt:
    """How the camera was held, in degrees: `roll` clockwise, `pitch` downwards. `by`: the evidence; `beyond`: it is further from upright than may be
    corrected, and told as 0.
    """

    roll: float
    pitch: float
    by: Literal["verticals", "horizon", "nothing"]
    beyond: bool = False

    @property
    def said(self) -> str:
        """In words for the client."""
        if self.beyond:
            return "Left: it is further from upright than may be corrected (`max_degrees`)."
        if self.by == "nothing":
            return "Left: it shows neither enough upright lines nor a plain horizon to go by."
        if not self.roll and not self.pitch:
            return "Left: it is straight."
        return f"Turned by {-self.roll:+.1f}° and tilted by {-self.pitch:+.1f}°, by its {self.by}."


def straighten(
    pixels: Pixels,
    *,
    max_degrees: float = 12.0,
    fill: Literal["crop", "extend"] = "crop",
    focal_35mm: float | None = None,
) -> Pixels:
    """All of it at once: `pixels`, [H, W, C] of 8 or 16 bits; the result is smaller where it is cropped."""
    tilt = tilt_of(pixels, max_degrees=max_degrees, focal_35mm=focal_35mm)
    homography, width, height = turned(pixels.shape[1], pixels.shape[0], tilt, fill, focal_35mm)
    made = np.empty((height, width, pixels.shape[2]), pixels.dtype)
    for _ in seen(pixels, homography, made):
        pass
    return made


def tilt_of(
    pixels: Pixels,
    *,
    max_degrees: float,
    focal_35mm: float | None = None,
    least_degrees: float = LEAST_DEGREES,
) -> Tilt:
    """How the picture was taken, as far as it shows; nothing where what it shows is faint, below `least_degrees` or beyond
    `max_degrees`.
    """
    height, width = pixels.shape[:2]
    if min(height, width) < 32 or max(height, width) > LONGEST_SIDE:
        return Tilt(0.0, 0.0, "nothing")
    gray = _gray(pixels)
    lines = _lines(gray)
    point = _upright(lines, gray.shape, max_degrees)
    if point is not None:
        focal = _focal(gray.shape[1], gray.shape[0], focal_35mm)
        roll = float(np.degrees(np.arctan2(point[0], point[1])))
        flat = float(np.hypot(point[0], point[1]))
        pitch = float(np.degrees(np.arctan2(point[2] * focal, flat)))
        tilt = Tilt(roll, pitch, "verticals")
    else:
        level = _level(lines, gray.shape, max_degrees)
        tilt = Tilt(level or 0.0, 0.0, "nothing" if level is None else "horizon")
    most = max(abs(tilt.roll), abs(tilt.pitch))
    if most > max_degrees or most < least_degrees:
        return Tilt(0.0, 0.0, tilt.by, beyond=most > max_degrees)
    return tilt


def turned(
    width: int, height: int, tilt: Tilt, fill: Literal["crop", "extend"], focal_35mm: float | None = None
) -> tuple[Matrix, int, int]:
    """The homography from the picture to the straight one, and that one's width and height."""
    if not tilt.roll and not tilt.pitch:
        return np.eye(3), width, height
    focal = _focal(width, height, focal_35mm)
    camera = np.array([[focal, 0, (width - 1) / 2], [0, focal, (height - 1) / 2], [0, 0, 1]])
    homography = camera @ _pitched(tilt.pitch) @ _rolled(tilt.roll) @ np.linalg.inv(camera)
    edge = np.array([[-0.5, -0.5], [width - 0.5, -0.5], [width - 0.5, height - 0.5], [-0.5, height - 0.5]])
    corners = cv2.perspectiveTransform(edge[None], homography)[0]
    x, y, part = inside(corners, width, height)
    if fill == "extend":
        middle = corners.mean(0)
        return _moved((width - 1) / 2 - middle[0], (height - 1) / 2 - middle[1]) @ homography, width, height
    part = min(part, 1.0)
    made_width, made_height = max(1, int(width * part)), max(1, int(height * part))
    return _moved((made_width - 1) / 2 - x, (made_height - 1) / 2 - y) @ homography, made_width, made_height


def seen(pixels: Pixels, homography: Matrix, made: Pixels) -> Iterator[float]:
    """Fill `made`; what was never in the picture is its mirror image. Yields the part that is done."""
    if made.shape == pixels.shape and np.array_equal(homography, np.eye(3)):
        made[...] = pixels
        yield 1.0
        return
    yield from through(pixels, homography, made, cv2.BORDER_REFLECT_101)


# --- how it was held ----------------------------------------------------------------------------------------------------


def _focal(width: int, height: int, focal_35mm: float | None) -> float:
    """In pixels; 36 mm are the longer side of a full frame."""
    return max(width, height) * (focal_35mm / 36 if focal_35mm and 8 <= focal_35mm <= 400 else _FOCAL)


def _rolled(degrees: float) -> Matrix:
    """Turns a picture that was rolled by so much back."""
    angle = np.radians(degrees)
    return np.array([[np.cos(angle), -np.sin(angle), 0], [np.sin(angle), np.cos(angle), 0], [0, 0, 1]])


def _pitched(degrees: float) -> Matrix:
    """Turns a camera that looked down by so much back."""
    angle = np.radians(degrees)
    return np.array([[1, 0, 0], [0, np.cos(angle), np.sin(angle)], [0, -np.sin(angle), np.cos(angle)]])


def _moved(x: float, y: float) -> Matrix:
    return np.array([[1, 0, x], [0, 1, y], [0, 0, 1]], np.float64)


def _gray(pixels: Pixels) -> NDArray[np.uint8]:
    """A copy for LSD, of 8 bits, its brightness stretched to all of them."""
    height, width = pixels.shape[:2]
    scale = min(1.0, (_COPY_PIXELS / (height * width)) ** 0.5)
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    small = cv2.resize(pixels, size, interpolation=cv2.INTER_AREA).reshape(size[1], size[0], -1)
    count = colours_of(small.shape[2])
    plane = (
        small[..., 0]
        if count == 1
        else cv2.cvtColor(np.ascontiguousarray(small[..., :3]), cv2.COLOR_RGB2GRAY)
    )
    low, high = (float(value) for value in np.percentile(plane, (0.5, 99.5)))
    stretched = (plane.astype(np.float32) - low) * (255 / max(high - low, 1.0))
    whole: NDArray[np.uint8] = np.clip(stretched, 0, 255).astype(np.uint8)
    return whole


def _lines(gray: NDArray[np.uint8]) -> Lines:
    """Straight edges, [n, 4] of two ends, round the middle of the picture; the longest 600."""
    height, width = gray.shape
    found: Any = cv2.createLineSegmentDetector(cv2.LSD_REFINE_STD).detect(gray)[0]
    if found is None:
        return np.zeros((0, 4))
    lines: Lines = found.reshape(-1, 4).astype(np.float64)
    lines -= np.array([(width - 1) / 2, (height - 1) / 2] * 2)
    lengths = np.hypot(lines[:, 2] - lines[:, 0], lines[:, 3] - lines[:, 1])
    long: NDArray[np.bool_] = lengths > _SHORTEST * np.hypot(height, width)
    order = np.argsort(-lengths[long])[:600]
    longest: Lines = lines[long][order]
    return longest


def _upright(lines: Lines, shape: tuple[int, ...], max_degrees: float) -> NDArray[np.float64] | None:
    """The point that upright lines run to, as (x, y, w) with y over 0, or None without evidence."""
    height, width = shape
    vector = lines[:, 2:] - lines[:, :2]
    lengths = np.hypot(vector[:, 0], vector[:, 1])
    lean = np.degrees(np.arctan2(np.abs(vector[:, 0]), np.abs(vector[:, 1])))
    # Tilted by the most, lines at the picture's edge lean by about as much again.
    near = lean < max_degrees * 1.6 + _LEAN_DEGREES
    lines, vector, lengths = lines[near], vector[near], lengths[near]
    if len(lines) < 3:
        return None
    direction = vector / lengths[:, None]
    middle = (lines[:, 2:] + lines[:, :2]) / 2
    through_both = np.cross(_homogeneous(lines[:, :2]), _homogeneous(lines[:, 2:]))
    scale = float(max(height, width))
    through_both = through_both / np.array(
        [1 / scale, 1 / scale, 1.0]
    )  # x, y in units of the longer side: better conditioned
    through_both /= np.linalg.norm(through_both, axis=1, keepdims=True)
    rng = default_rng(1)
    chance = lengths / lengths.sum()
    pairs = rng.choice(len(lines), (_DRAWS, 2), p=chance)
    points = np.cross(through_both[pairs[:, 0]], through_both[pairs[:, 1]])
    norms = np.linalg.norm(points, axis=1)
    points = points[norms > 1e-9] / norms[norms > 1e-9][:, None]
    if not len(points):
        return None
    limit = np.sin(np.radians(_FIT_DEGREES))
    votes = np.array([(lengths * (_off(point, middle, direction, scale) < limit)).sum() for point in points])
    point = points[int(votes.argmax())]
    for fit in (1.5, 1.0, 0.7, 0.5):
        off = _off(point, middle, direction, scale)
        weight = lengths * np.clip(1 - (off / (limit * fit)) ** 2, 0, None) ** 2
        if np.count_nonzero(weight) < 3:
            return None
        rows = through_both * _steadied(point, middle, through_both, scale)[:, None]
        point = np.linalg.svd(rows * np.sqrt(weight)[:, None], full_matrices=False)[2][-1]
    point = point * (np.sign(point[1]) or 1)
    kept = _off(point, middle, direction, scale) < limit
    agreed, all_ = float(lengths[kept].sum()), float(lengths.sum())
    apart = float(np.sqrt(np.average((middle[kept, 0] - np.average(middle[kept, 0], weights=lengths[kept])) ** 2, weights=lengths[kept]))) if kept.sum() > 2 else 0.0  # fmt: skip
    if agreed < _LENGTH * height or agreed < _SHARE * all_ or apart < _APART * width:
        return None
    return np.array([point[0] * scale, point[1] * scale, point[2]])


def _steadied(point: NDArray[np.float64], middle: Lines, normals: Lines, scale: float) -> NDArray[np.float64]:
    """Factors that make a line's equation at `point` the sine of the angle that it is off by there."""
    toward = point[:2] - middle / scale * point[2]
    across = np.hypot(normals[:, 0], normals[:, 1])
    factors: NDArray[np.float64] = 1 / np.maximum(across * np.hypot(toward[:, 0], toward[:, 1]), 1e-6)
    return factors


def _off(point: NDArray[np.float64], middle: Lines, direction: Lines, scale: float) -> NDArray[np.float64]:
    """The sine of the angle between each line and the way from its middle to the point."""
    toward = point[:2] - middle / scale * point[2]
    toward = toward / np.maximum(np.hypot(toward[:, 0], toward[:, 1]), 1e-12)[:, None]
    sines: NDArray[np.float64] = np.abs(direction[:, 0] * toward[:, 1] - direction[:, 1] * toward[:, 0])
    return sines


def _level(lines: Lines, shape: tuple[int, ...], max_degrees: float) -> float | None:
    """The roll, by a horizon; None where none is plain. Level lines of a room run anywhere, so they must agree."""
    vector = lines[:, 2:] - lines[:, :2]
    lengths = np.hypot(vector[:, 0], vector[:, 1])
    slope = np.degrees(np.arctan(vector[:, 1] / np.where(np.abs(vector[:, 0]) < 1e-9, 1e-9, vector[:, 0])))
    near = np.abs(slope) < max_degrees
    slope, lengths = slope[near], lengths[near]
    if not len(slope):
        return None
    votes = [(lengths * (np.abs(slope - at) < _LEVEL_DEGREES)).sum() for at in slope]
    at = slope[int(np.argmax(votes))]
    kept = np.abs(slope - at) < _LEVEL_DEGREES
    agreed = float(lengths[kept].sum())
    if agreed < _HORIZON * shape[1] or agreed < _LEVEL_SHARE * lengths.sum():
        return None
    return -float(np.average(slope[kept], weights=lengths[kept]))


def _homogeneous(points: Lines) -> Lines:
    return np.concatenate([points, np.ones((len(points), 1))], axis=1)
