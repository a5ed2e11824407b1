"""A frame between two others: each is moved its part of the way, and what only one of them shows is taken from that one.

The flow from the moment between is put together from those between the frames (Jiang et al., Super SloMo, 2018, eq. 4).
Where forth and back do not lead to where one came from, the frame is not believed. Across a cut nothing is moved.
"""

from typing import Final, cast

import cv2
import numpy as np
from numpy.typing import NDArray

from burnish.engines.motion.flow import Flow, Frame, fetched, flow, gray

#: Pixels by which forth and back may differ before a place is thought to be hidden in one of the frames.
_DOUBT: Final = 1.0
_BELIEVED: Final = float(np.exp(-1))
#: Two frames are two scenes where less than this part of the picture is found again from both sides (of moving scenes,
#: 0.6 and more is; of two scenes, 0.02), and where what lies there differs by so many levels.
_FOUND: Final = 0.25
_DIFFERS: Final = 8.0


class Between:
    """Frames between `first` and `second`, any number at any time."""

    def __init__(self, first: Frame, second: Frame) -> None:
        self._frames = first, second
        before, after = gray(first), gray(second)
        self._still = bool(np.array_equal(before, after))
        self._cut = False
        if self._still:
            return
        self._forth = flow(before, after, "medium")
        self._back = flow(after, before, "medium")
        self._doubt_first = _doubt(self._forth, self._back)
        self._doubt_second = _doubt(self._back, self._forth)
        differs = cv2.absdiff(before, fetched(after, self._forth)).mean()
        self._cut = bool((self._doubt_first > _BELIEVED).mean() < _FOUND and differs > _DIFFERS)

    @property
    def is_cut(self) -> bool:
        return self._cut

    def at(self, part: float) -> Frame:
        """The frame after this part of the way, 0 to 1."""
        first, second = self._frames
        if self._still or part <= 0:
            return first
        if self._cut:
            return first if part < 0.5 else second
        to_first = -(1 - part) * part * self._forth + part * part * self._back
        to_second = (1 - part) ** 2 * self._forth - part * (1 - part) * self._back
        weight_first = (1 - part) * fetched(self._doubt_first, to_first)
        weight_second = part * fetched(self._doubt_second, to_second)
        share = (weight_first / (weight_first + weight_second + 1e-6))[..., None]
        one = fetched(first, to_first).astype(np.float32)
        other = fetched(second, to_second).astype(np.float32)
        mixed = np.rint(one * share + other * (1 - share))
        return np.clip(mixed, 0, np.iinfo(first.dtype).max).astype(first.dtype)


def _doubt(there: Flow, back: Flow) -> NDArray[np.float32]:
    """1 where one comes back to where one went from, towards 0 the farther off."""
    astray = there + fetched(back, there)
    far = np.square(astray).sum(-1) / _DOUBT**2
    return cast("NDArray[np.float32]", (np.exp(-far) + 1e-3).astype(np.float32))
