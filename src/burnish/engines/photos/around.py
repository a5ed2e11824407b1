"""A picture that goes all the way round: a 360° panorama (equirectangular), whose left and right edge are one.

What is worked out from a place's surroundings is worked out on a copy that is wider by a margin on both sides, each side the
beginning of the other; then what comes of both edges is the same.
"""

from typing import Any, Final

import cv2
import numpy as np
from numpy.typing import NDArray

Plane = NDArray[Any]

#: Exactly twice as wide as high, and at least so wide: a panorama, where nobody says.
_LEAST_WIDTH: Final = 2048


def is_panorama(said: bool | None, width: int, height: int) -> bool:
    """What was said of a picture of this size, or else what its shape says."""
    return width == 2 * height and width >= _LEAST_WIDTH if said is None else said


def widened(plane: Plane, margin: int) -> Plane:
    """[H, W, ...] -> [H, margin + W + margin, ...]; `margin` may be as wide as the plane."""
    return np.concatenate([plane[:, plane.shape[1] - margin :], plane, plane[:, :margin]], axis=1)


def joined(wide: Plane, margin: int) -> Plane:
    """A widened plane, floats, without its margins: what was made of the columns at the left edge and of their copies at the
    right passes from the one to the other over half a margin, so that the edges meet whatever either was. The outer halves,
    where a copy ends, are not looked at.
    """
    width = wide.shape[1] - 2 * margin
    plane = wide[:, margin : margin + width].copy()
    over = (margin + 1) // 2
    copies = wide[:, margin + width : margin + width + over]
    part = (np.arange(over, dtype=np.float32) / max(over, 1)).reshape(1, -1, *(1,) * (wide.ndim - 2))
    plane[:, :over] = copies + part * (plane[:, :over] - copies)
    return plane


def enlarged(plane: Plane, top: int, bottom: int, height: int, width: int, *, margin: int = 0) -> Plane:
    """Rows `top` to `bottom` of what a small plane is at `height` by `width`, between its pixels. `margin`: columns by which
    the plane was widened.
    """
    own = plane.shape[1] - 2 * margin
    down, across = len(plane) / height, own / width
    lowest = max(0, int(top * down) - 3)
    highest = min(len(plane), int(np.ceil(bottom * down)) + 3)
    move = np.array(
        [[across, 0, (across - 1) / 2 + margin], [0, down, (down - 1) / 2 + top * down - lowest]], np.float64
    )
    return cv2.warpAffine(
        np.asarray(plane[lowest:highest], np.float32),
        move,
        (width, bottom - top),
        flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
        borderMode=cv2.BORDER_REPLICATE,
    )
