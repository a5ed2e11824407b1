"""A house front that was never photographed, and a camera that looks at it as askew as it is told to."""

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

#: The focal length that `seen` has, as of a full frame, in mm.
FOCAL_35MM = 28.0


def facade(width: int = 1800, height: int = 1280, seed: int = 0) -> NDArray[np.uint8]:
    """Windows in rows, on a wall with a slope of light and noise."""
    rng = np.random.default_rng(seed)
    wall: Any = np.full((height, width, 3), (150, 140, 130), np.float32)
    wall += np.linspace(40, -30, height)[:, None, None]
    for x in range(60, width - 100, 150):
        for y in range(50, height - 150, 210):
            pane = tuple(float(value) for value in rng.uniform(30, 90, 3))
            cv2.rectangle(wall, (x, y), (x + 85, y + 130), pane, -1)
            cv2.rectangle(wall, (x, y), (x + 85, y + 130), (225, 225, 220), 5)
            cv2.line(wall, (x + 42, y), (x + 42, y + 130), (220, 220, 220), 3)
    wall += rng.normal(0, 5, wall.shape)
    front: NDArray[np.uint8] = np.clip(wall, 0, 255).astype(np.uint8)
    return front


def seen(
    picture: NDArray[Any], roll: float, pitch: float, width: int = 900, height: int = 640
) -> NDArray[np.uint8]:
    """`picture` through a camera that is rolled clockwise and tilted down by so many degrees."""
    focal = max(width, height) * FOCAL_35MM / 36
    rolled, pitched = np.radians(roll), np.radians(pitch)
    camera = np.array([[focal, 0, (width - 1) / 2], [0, focal, (height - 1) / 2], [0, 0, 1]])
    down = np.array(
        [[1, 0, 0], [0, np.cos(pitched), -np.sin(pitched)], [0, np.sin(pitched), np.cos(pitched)]]
    )
    turn = np.array([[np.cos(rolled), np.sin(rolled), 0], [-np.sin(rolled), np.cos(rolled), 0], [0, 0, 1]])
    plane = np.array([[1, 0, (1 - picture.shape[1]) / 2], [0, 1, (1 - picture.shape[0]) / 2], [0, 0, focal]])
    size = (width, height)
    made: Any = cv2.warpPerspective(
        picture, camera @ turn @ down @ plane, size, flags=cv2.INTER_AREA, borderMode=cv2.BORDER_REFLECT
    )
    return np.asarray(made)
