"""A frame with less noise: a mean over time along the motion, then a gentle one over space.

What moves is followed, so that the frames before and after show the same thing at the same place; where they do not, they
count for nothing (weights as in non-local means, over blocks). Noise that changes from frame to frame is what flickers,
so this takes flicker out too.
"""

from typing import Any, Final, cast

import cv2
import numpy as np
from numpy.typing import NDArray

from burnish.engines.motion.flow import Frame, Gray, fetched, flow, gray

#: Noise, in levels of 8 bits, up to which a frame beside is believed; for each strength.
_LEVELS: Final = (4.0, 8.0, 14.0)
#: Of the noise that the mean over time leaves, so much is looked for in space.
_SPACE: Final = (0.0, 1.0, 1.6)
_BLOCK: Final = (7, 7)
_SPACE_SIDE, _SPACE_SIGMA = 5, 1.5


def quiet(frames: NDArray[Any], place: int, strength: int) -> Frame:
    """The frame at `place` of `frames`, [N, H, W, 3], with less noise. `strength`: 1, 2 or 3."""
    centre = frames[place]
    level = _LEVELS[strength - 1] * (1 if centre.dtype == np.uint8 else 257)
    here = _smooth(gray(centre))
    total: NDArray[Any] = centre.astype(np.float32)
    weights = np.ones(here.shape, np.float32)
    for other, frame in enumerate(frames):
        if other == place:
            continue
        moved = fetched(frame, flow(here, _smooth(gray(frame)), "fast"))
        weight = _weight(centre, moved, level)
        total += moved.astype(np.float32) * weight[..., None]
        weights += weight
    mean: Any = total / weights[..., None]
    left = _SPACE[strength - 1] * level / float(np.sqrt(weights.mean()))
    if left:
        mean = cv2.bilateralFilter(mean, _SPACE_SIDE, left, _SPACE_SIGMA)
    whole: NDArray[Any] = np.clip(np.rint(mean), 0, np.iinfo(centre.dtype).max)
    return whole.astype(centre.dtype)


def _smooth(picture: Gray) -> Gray:
    """For the flow, which would follow the noise."""
    made: Any = cv2.GaussianBlur(picture, (5, 5), 0)
    return cast("Gray", made)


def _weight(one: Frame, other: Frame, level: float) -> NDArray[np.float32]:
    """1 where blocks differ by no more than noise does, towards 0 where they show different things."""
    difference: Any = cv2.absdiff(one, other)
    squared: Any = cv2.blur(np.square(difference.astype(np.float32)).mean(-1), _BLOCK)
    over = np.maximum(squared - 2 * (level / 2) ** 2, 0)
    return cast("NDArray[np.float32]", np.exp(-over / (level * level)).astype(np.float32))
