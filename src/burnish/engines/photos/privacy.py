"""Places made unreadable: first a few large tiles of their mean colours, then those blurred, feathered outwards.

The tiles are what hides: of a face so many are left that it is a face, of a plate so few that no character is. What was
blurred alone can be sharpened again; means cannot be undone. The feather lies outside of what is to be hidden.
"""

from typing import Any, Final

import cv2
import numpy as np
from numpy.typing import NDArray

Pixels = NDArray[Any]
Corners = NDArray[Any]

#: Tiles across the shorter side of a face, and of a plate.
FACE_TILES: Final = 5
PLATE_TILES: Final = 2
#: How much larger than its box a face is hidden, for hair and chin.
_FACE_ROOM: Final = 1.35
#: The feather, as a part of the shorter side.
_FEATHER: Final = 0.15
_LEAST_TILE: Final = 3


def face_outline(left: float, top: float, width: float, height: float) -> Corners:
    """The oval round a face's box, as a polygon, [N, 2]."""
    turns = np.linspace(0, 2 * np.pi, 40, endpoint=False)
    middle = np.array([left + width / 2, top + height / 2])
    return middle + np.stack([np.cos(turns) * width, np.sin(turns) * height], axis=-1) * (_FACE_ROOM / 2)


def hide(pixels: Pixels, outline: Corners, tiles: int) -> None:
    """Make what lies in the outline, [N, 2] of (x, y), unreadable, in place. `pixels`: [H, W, C] of 8 or 16 bits, colours
    only. `tiles`: how many across the shorter side are left.
    """
    height, width = pixels.shape[:2]
    (_, (long, short), _) = cv2.minAreaRect(outline.astype(np.float32))
    short = max(1.0, min(long, short))
    feather = max(1, round(short * _FEATHER))
    tile = max(_LEAST_TILE, round(short / tiles))
    room = 2 * feather + tile
    left, top = np.floor(outline.min(0)).astype(int) - room
    right, bottom = np.ceil(outline.max(0)).astype(int) + room + 1
    left, top, right, bottom = max(left, 0), max(top, 0), min(right, width), min(bottom, height)
    if left >= right or top >= bottom:
        return
    part = pixels[top:bottom, left:right]
    share: Pixels = np.zeros(part.shape[:2], np.float32)
    cv2.fillPoly(share, [np.round(outline - (left, top)).astype(np.int32)], 1.0)
    reach = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * feather + 1, 2 * feather + 1))
    # Grown by the feather's reach before it is softened: the whole outline is hidden wholly.
    share = cv2.blur(cv2.dilate(share, cv2.dilate(reach, np.ones((3, 3)))), (2 * feather + 1,) * 2)[..., None]
    instead = _tiled(part.astype(np.float32), tile)
    mixed = part + share * (instead - part)
    part[...] = np.rint(mixed) if np.issubdtype(part.dtype, np.integer) else mixed


def _tiled(part: Pixels, tile: int) -> Pixels:
    size = (max(1, round(part.shape[1] / tile)), max(1, round(part.shape[0] / tile)))
    means = cv2.resize(part, size, interpolation=cv2.INTER_AREA)
    tiles = cv2.resize(means, part.shape[1::-1], interpolation=cv2.INTER_NEAREST)
    blurred = cv2.GaussianBlur(tiles, (0, 0), 0.5 * tile)
    return blurred.reshape(part.shape)
