"""Which parts of bodies a picture shows, covered or not: NudeNet's small network, as data.

Called by runners. The network is `320n.onnx` of the package nudenet 3.4.2, a YOLOv8 detector: RGB from 0 to 1, `[1, 3, 320, 320]`, the
picture in the upper left corner of a black square; it answers with `[1, 22, 2100]`: for each of 2,100 places the middle, width and
height of a box in its 320 pixels, then a score from 0 to 1 for each of 18 labels. That format, and the order of the labels, are
read from the package's `nudenet.py`, which is never loaded.
"""

from typing import Any, Final

import cv2
import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from burnish.engines.networks import ncnn
from burnish.engines.networks.device import Device

Pixels = NDArray[Any]

FILE: Final = ("nudenet", "320n.onnx")
SIDE: Final = 320
LABELS: Final = (
    "FEMALE_GENITALIA_COVERED",
    "FACE_FEMALE",
    "BUTTOCKS_EXPOSED",
    "FEMALE_BREAST_EXPOSED",
    "FEMALE_GENITALIA_EXPOSED",
    "MALE_BREAST_EXPOSED",
    "ANUS_EXPOSED",
    "FEET_EXPOSED",
    "BELLY_COVERED",
    "FEET_COVERED",
    "ARMPITS_COVERED",
    "ARMPITS_EXPOSED",
    "FACE_MALE",
    "BELLY_EXPOSED",
    "MALE_GENITALIA_EXPOSED",
    "ANUS_COVERED",
    "FEMALE_BREAST_COVERED",
    "BUTTOCKS_COVERED",
)
#: A find counts from this score on; of two with one label that share more than this part of what both cover, the surer one.
_SCORE: Final = 0.2
_SHARED: Final = 0.45
#: A picture whose longer side is at least this is looked at in quarters too, each this part of its width and height.
_LARGE: Final = 640
_QUARTER: Final = 0.6


class Find(Struct, frozen=True):
    """`box`: left, top, width and height in the picture's pixels, within it."""

    label: str
    score: float
    box: tuple[int, int, int, int]


def decoded(answer: Pixels, width: int, height: int) -> list[Find]:
    """What the network's answer to a picture of this size says: the finds, the surest first, each once.

    Raises:
        ValueError: the answer is not of the network's form, or holds what cannot be.
    """
    rows = len(LABELS) + 4
    if answer.ndim != 3 or answer.shape[:2] != (1, rows) or answer.shape[2] == 0:
        raise ValueError(f"the network answered with {answer.shape}")
    said = answer[0].astype(np.float64)
    scores = said[4:]
    if not np.isfinite(said).all() or scores.min() < -1e-3 or scores.max() > 1 + 1e-3:
        raise ValueError("the network answered with numbers that are no scores")
    scale = max(width, height) / SIDE
    found = []
    for place in np.flatnonzero(scores.max(0) >= _SCORE):
        # One box may be two things: each label that is likely counts, not only the likeliest.
        for number in np.flatnonzero(scores[:, place] >= _SCORE):
            box = _within(said[:4, place] * scale, width, height)
            found.append(Find(LABELS[number], float(scores[number, place]), box))
    return distinct(found)


def distinct(found: list[Find]) -> list[Find]:
    """The surest first, and of those that are one thing only that."""
    kept: list[Find] = []
    for find in sorted(found, key=lambda find: -find.score):
        if not any(one.label == find.label and _shared(one.box, find.box) > _SHARED for one in kept):
            kept.append(find)
    return kept


def load(device: Device) -> "Nudity":
    """Read the weights; compiled at first use.

    Raises:
        Unusable: the network is not installed.
    """
    return Nudity(device)


class Nudity:
    """The loaded network."""

    def __init__(self, device: Device) -> None:
        self._device = device
        self._model = device.core.read_model(ncnn.find(*FILE))
        self._compiled: list[Any] = []

    def look(self, pixels: Pixels) -> list[Find]:
        """What is found in 8-bit RGB `[H, W, 3]`, in the whole and, of a large picture, in its quarters.

        Raises:
            ValueError: the network's answer cannot be believed.
        """
        height, width = pixels.shape[:2]
        found = self._seen(pixels, 0, 0)
        if max(height, width) >= _LARGE:
            rows, columns = (max(1, round(size * _QUARTER)) for size in (height, width))
            for top in (0, height - rows):
                for left in (0, width - columns):
                    found += self._seen(pixels[top : top + rows, left : left + columns], left, top)
        return distinct(found)

    def rest(self) -> None:
        """Give back what the network worked with; it stays compiled."""
        for compiled in self._compiled:
            compiled.release_memory()

    def _seen(self, part: Pixels, left: int, top: int) -> list[Find]:
        if not self._compiled:
            self._model.reshape([1, 3, SIDE, SIDE])
            self._compiled = self._device.streams.compile(self._device.core, self._model, "f32")
        height, width = part.shape[:2]
        answer = self._compiled[0](shown(part))[0]
        return [
            Find(find.label, find.score, (find.box[0] + left, find.box[1] + top, *find.box[2:]))
            for find in decoded(answer, width, height)
        ]


def shown(pixels: Pixels) -> NDArray[np.float32]:
    """A picture as the network wants it."""
    height, width = pixels.shape[:2]
    scale = SIDE / max(height, width)
    rows, columns = (min(SIDE, max(1, round(size * scale))) for size in (height, width))
    how = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    square = np.zeros((SIDE, SIDE, 3), np.float32)
    square[:rows, :columns] = cv2.resize(pixels, (columns, rows), interpolation=how)
    made: NDArray[np.float32] = np.ascontiguousarray(square.transpose(2, 0, 1)[None]) / np.float32(255)
    return made


def _within(box: Pixels, width: int, height: int) -> tuple[int, int, int, int]:
    """Middle and size as whole left, top, width and height, no part of it outside."""
    across, down, wide, high = box
    left, right = (int(min(max(edge, 0), width)) for edge in (across - wide / 2, across + wide / 2))
    top, bottom = (int(min(max(edge, 0), height)) for edge in (down - high / 2, down + high / 2))
    return left, top, right - left, bottom - top


def _shared(one: tuple[int, int, int, int], other: tuple[int, int, int, int]) -> float:
    wide = min(one[0] + one[2], other[0] + other[2]) - max(one[0], other[0])
    high = min(one[1] + one[3], other[1] + other[3]) - max(one[1], other[1])
    both = max(wide, 0) * max(high, 0)
    either = one[2] * one[3] + other[2] * other[3] - both
    return both / either if either else float(one == other)
