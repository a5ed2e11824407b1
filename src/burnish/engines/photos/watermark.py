"""A text laid over all of a picture, again and again, so faint that the picture can be judged and so often that no part is free.

Light letters with a dark edge: they show on white and on black alike. The size of the letters follows the picture's. Any depth;
alpha stays as it is. The font is the one that OpenCV carries in itself (Rubik), with letters of most scripts.
"""

from collections.abc import Iterator
from typing import Any, Final

import cv2
import numpy as np
from numpy.typing import NDArray

Pixels = NDArray[Any]

#: How much of a pixel is white, and how much dark, where a letter, or its edge, lies.
_LIGHT, _DARK = 0.3, 0.3
_SMALLEST_LETTERS, _LETTERS_ACROSS = 12, 40
_DEGREES: Final = 30.0
_ROWS_AT_ONCE: Final = 256


def lay(picture: Pixels, text: str, font: "cv2.FontFace") -> Iterator[float]:
    """Lay `text` over `picture`, `[H, W, C]`, in place; yields the part that is done."""
    height, width, channels = picture.shape
    colours = channels - (channels in (2, 4))
    most = float(np.iinfo(picture.dtype).max)
    light, dark = _tile(text, max(_SMALLEST_LETTERS, max(height, width) // _LETTERS_ACROSS), font)
    across = np.arange(width) % light.shape[1]
    for top in range(0, height, _ROWS_AT_ONCE):
        bottom = min(top + _ROWS_AT_ONCE, height)
        down = np.arange(top, bottom) % light.shape[0]
        part = picture[top:bottom, :, :colours].astype(np.float32)
        part *= 1 - _DARK * dark[down][:, across, None]
        part += (most - part) * (_LIGHT * light[down][:, across, None])
        picture[top:bottom, :, :colours] = (part + 0.5).astype(picture.dtype)
        yield bottom / height


def _tile(text: str, letters: int, font: "cv2.FontFace") -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Where letters of this height lie, and where their edges, 0 to 1: a tile that goes on at every side."""
    x, y, width, height = cv2.getTextSize((0, 0), text, (0, 0), font, letters)
    side = int(width * 1.1) + 3 * letters
    canvas = np.zeros((side, side), np.uint8)
    cv2.putText(canvas, text, ((side - width) // 2 - x, (side - height) // 2 - y), 255, font, letters)
    turn = cv2.getRotationMatrix2D((side / 2, side / 2), _DEGREES, 1.0)
    turned = cv2.warpAffine(canvas, turn, (side, side), flags=cv2.INTER_LINEAR)
    down = max(4 * letters, int(side * 0.62))
    top = (side - down) // 2
    once = turned[top : top + down]
    bricks = np.concatenate([once, np.roll(once, side // 2, axis=1)])
    spread = max(1, letters // 12)
    edge = cv2.dilate(bricks, np.ones((2 * spread + 1, 2 * spread + 1), np.uint8))
    full = np.float32(255)
    return np.divide(bricks, full, dtype=np.float32), np.divide(edge - bricks, full, dtype=np.float32)
