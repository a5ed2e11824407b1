"""Number plates, found without a network: a line of characters on a plain patch that ends soon all round.

On each of a few sizes of the picture: what stands out of its surroundings, dark or light, in pieces as slim as characters;
pieces of one height beside each other make a line; a line is a plate where it has as many characters as plates have, on
ground of one tone, which ends above and below it. Print is lines too, but its ground does not end. What it finds and what
it takes for plates: docs/reference/models/privacy.md.
"""

from dataclasses import dataclass
from typing import Any, Final

import cv2
import numpy as np
from numpy.typing import NDArray

from burnish.engines.photos import lettering

Gray = NDArray[Any]

#: Copies that are looked at: the first has so many pixels, and is at most twice as large as the picture, so that small
#: characters are not all edge; each next one is half as large.
_PIXELS: Final = 6_000_000
_COPIES: Final = 4
_ENLARGED: Final = 2.0
#: Heights of characters on a copy, in pixels; larger ones are found on a smaller copy.
_LOW, _HIGH = 8, 40
_SLIM: Final = (0.08, 1.15)
_COUNT: Final = (4, 10)
_PIECES: Final = 4000
#: Of a plate, in heights of its characters: how far it reaches beyond them.
_BESIDE, _ABOVE = 0.75, 0.45


@dataclass(frozen=True)
class Plate:
    """Where one is: four corners (x, y), clockwise from the top left, in pixels of the picture."""

    corners: tuple[tuple[float, float], ...]


def find_plates(gray: Gray) -> list[Plate]:
    """The plates of a picture, [H, W] uint8."""
    height, width = gray.shape
    largest = min(_ENLARGED, (_PIXELS / gray.size) ** 0.5)
    found: list[NDArray[Any]] = []
    for number in range(_COPIES):
        factor = largest / 2**number
        size = (max(1, round(width * factor)), max(1, round(height * factor)))
        if min(size) < 2 * _LOW:
            break
        how = cv2.INTER_AREA if factor < 1 else cv2.INTER_CUBIC
        copy = gray if size == (width, height) else cv2.resize(gray, size, interpolation=how)
        for sign in (1, -1):
            for line in _lines(_pieces(copy if sign == 1 else cv2.bitwise_not(copy))):
                read = lettering.reading(copy, line, sign)
                if read is not None and read.ends:
                    found.append((lettering.corners(line, _BESIDE, _ABOVE) + 0.5) / factor - 0.5)
    return [Plate(tuple((float(x), float(y)) for x, y in corners)) for corners in _distinct(found)]


def _pieces(gray: Gray) -> NDArray[Any]:
    """What may be characters, darker than their surroundings: left, top, width, height of each, [N, 4]."""
    window = 2 * _HIGH // 3 * 2 + 1
    dark = cv2.adaptiveThreshold(gray, 255, cv2.ADAPTIVE_THRESH_MEAN_C, cv2.THRESH_BINARY_INV, window, 14)
    _, _, stats, _ = cv2.connectedComponentsWithStats(dark, connectivity=4)
    boxes = stats[1:, :4].astype(np.float64)
    slim = boxes[:, 2] / np.maximum(boxes[:, 3], 1)
    full = stats[1:, cv2.CC_STAT_AREA] / np.maximum(boxes[:, 2] * boxes[:, 3], 1)
    fits = (
        (boxes[:, 3] >= _LOW) & (boxes[:, 3] <= _HIGH) & (slim > _SLIM[0]) & (slim < _SLIM[1]) & (full > 0.18)
    )
    return boxes[fits][:_PIECES]


def _lines(boxes: NDArray[Any]) -> list[NDArray[Any]]:
    """Boxes of one height beside each other, from left to right."""
    if len(boxes) < _COUNT[0]:
        return []
    boxes = boxes[np.argsort(boxes[:, 0])]
    x, y = boxes[:, 0] + boxes[:, 2] / 2, boxes[:, 1] + boxes[:, 3] / 2
    tall, right = boxes[:, 3], boxes[:, 0] + boxes[:, 2]
    following = np.full(len(boxes), -1)
    for number in range(len(boxes)):
        others = slice(number + 1, min(len(boxes), number + 1 + 400))
        gap = boxes[others, 0] - right[number]
        beside = (
            (gap < 1.4 * tall[number])
            & (gap > -0.25 * tall[number])
            & (x[others] > x[number] + 0.15 * tall[number])
        )
        alike = np.abs(np.log(tall[others] / tall[number])) < 0.22
        level = np.abs(y[others] - y[number]) < 0.16 * tall[number] + 0.22 * (x[others] - x[number])
        candidates = np.flatnonzero(beside & alike & level)
        if len(candidates):
            following[number] = number + 1 + candidates[np.argmin(x[others][candidates])]
    started = np.setdiff1d(np.arange(len(boxes)), following)
    lines = []
    for number in started:
        line: list[int] = []
        at = int(number)
        while at >= 0 and len(line) <= 3 * _COUNT[1]:
            line.append(at)
            at = int(following[at])
        if _COUNT[0] <= len(line) <= _COUNT[1] and _is_straight(boxes[line]):
            lines.append(boxes[line])
    return lines


def _is_straight(line: NDArray[Any]) -> bool:
    x, y, tall = line[:, 0] + line[:, 2] / 2, line[:, 1] + line[:, 3] / 2, line[:, 3]
    slope, offset = np.polyfit(x, y, 1)
    off = np.abs(y - slope * x - offset).max()
    grow, mean = np.polyfit(x - x.mean(), tall, 1)
    uneven = np.abs(tall - grow * (x - x.mean()) - mean).max()
    long = (line[-1, 0] + line[-1, 2] - line[0, 0]) / mean
    return bool(abs(slope) < 0.45 and off < 0.14 * mean and uneven < 0.2 * mean and 2.0 < long < 9.5)


def _distinct(found: list[NDArray[Any]]) -> list[NDArray[Any]]:
    """Each once: of those that share a middle, the widest."""
    kept: list[NDArray[Any]] = []
    for corners in sorted(found, key=lambda one: -float(np.ptp(one[:, 0]))):
        middle = tuple(map(float, corners.mean(0)))
        if all(
            cv2.pointPolygonTest(other.astype(np.float32), middle, measureDist=False) < 0 for other in kept
        ):
            kept.append(corners)
    return kept
