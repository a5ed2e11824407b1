"""Where things go from one frame to another: dense optical flow (DIS, Kroeger et al. 2016), and frames moved along it."""

from typing import Any, Final, Literal, cast

import cv2
import numpy as np
from numpy.typing import NDArray

Frame = NDArray[Any]  #: [H, W, 3], uint8 or uint16
Gray = NDArray[np.uint8]  #: [H, W]
Flow = NDArray[np.float32]  #: [H, W, 2]: right and down, in pixels

_PRESETS: Final = {
    "fast": cv2.DISOPTICAL_FLOW_PRESET_ULTRAFAST,
    "medium": cv2.DISOPTICAL_FLOW_PRESET_MEDIUM,
}
#: DIS wants patches of 8 pixels on its coarsest level; smaller frames are mirrored up to this.
_SMALLEST: Final = 32


def gray(frame: Frame) -> Gray:
    """[H, W], 8 bits."""
    eight = frame if frame.dtype == np.uint8 else (frame >> 8).astype(np.uint8)
    made: Any = cv2.cvtColor(np.ascontiguousarray(eight), cv2.COLOR_RGB2GRAY)
    return cast("Gray", made)


def flow(start: Gray, end: Gray, preset: Literal["fast", "medium"]) -> Flow:
    """For each pixel of `start`, where it is in `end`, as a shift."""
    height, width = start.shape
    found: Any = cv2.DISOpticalFlow.create(_PRESETS[preset])
    found = found.calc(_padded(start), _padded(end), None)
    return cast("Flow", found[:height, :width])


def _padded(picture: Gray) -> Any:
    down, right = (max(0, _SMALLEST - side) for side in picture.shape)
    return cv2.copyMakeBorder(picture, 0, down, 0, right, cv2.BORDER_REPLICATE) if down or right else picture


def fetched(picture: NDArray[Any], shift: Flow) -> NDArray[Any]:
    """For each pixel, what lies `shift` away from it in `picture`."""
    height, width = shift.shape[:2]
    down, across = np.mgrid[0:height, 0:width].astype(np.float32)
    moved: Any = cv2.remap(
        picture,
        across + shift[..., 0],
        down + shift[..., 1],
        cv2.INTER_LINEAR,
        borderMode=cv2.BORDER_REPLICATE,
    )
    return cast("NDArray[Any]", moved)
