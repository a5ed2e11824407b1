"""White balance: which cast lies on a picture, told from what in it ought to be gray.

Called by `enhance`. Nothing is known of a photo's light, so three opinions are heard: the brightest colours (shades of
gray, Finlayson and Trezzi 2004), the edges between things (gray edge, van de Weijer and others 2007), and the nearest
peak of the picture's own nearly gray pixels. A cast colours all three alike; an orange cat does not.
"""

from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from burnish.engines.photos.reduced import Floats, Reduced

#: Minkowski's exponent, between the mean of a picture (1) and its brightest point (infinite).
_SHADES: Final = 6
#: How far from gray, in natural logarithms of red or blue over green, a peak is looked for.
_REACH: Final = 0.11
_STEPS: Final = 12
#: In the same unit: casts below `_FAINT` are left, those above `_CLEAR` taken as found, and none is stronger than `_MOST`.
_FAINT: Final = 0.06
_CLEAR: Final = 0.11
_MOST: Final = 0.22


def cast(picture: Reduced) -> NDArray[np.float64]:
    """The cast as logarithms of red and blue over green, in encoded samples; zeros where the opinions differ."""
    colours, luma = picture.colours, picture.luma
    seen = (picture.weight > 0) & (colours.max(2) < 0.985) & (luma > 0.06)
    if colours.shape[2] == 1 or seen.sum() < 64:
        return np.zeros(2)
    weight = np.where(seen, picture.weight, 0)
    cubed = colours * colours * colours
    bright = _ratio((cubed * cubed * weight[..., None]).sum((0, 1)) ** (1 / _SHADES))
    smooth = cv2.GaussianBlur(colours, (0, 0), 1.5)
    edges = np.abs(cv2.Sobel(smooth, -1, 1, 0)) + np.abs(cv2.Sobel(smooth, -1, 0, 1))
    edge = _ratio((edges**2 * weight[..., None]).sum((0, 1)) ** 0.5)
    peak, share = _peak(colours, luma * weight)
    return _agreed(np.stack([bright, edge, peak])) * min(1.0, share * 3)


def gains(cast_: NDArray[np.float64], amount: float) -> Floats:
    """Factors for red, green and blue that take `amount` of the cast away and leave a gray as bright as it is."""
    logarithms = np.array([-cast_[0], 0.0, -cast_[1]]) * amount
    kept = np.exp(logarithms - logarithms @ np.array([0.2126, 0.7152, 0.0722]))
    factors: Floats = kept.astype(np.float32)
    return factors


def _ratio(colour: Floats) -> NDArray[np.float64]:
    red, green, blue = np.maximum(colour.astype(np.float64), 1e-6)
    return np.log([red / green, blue / green])


def _peak(colours: Floats, weight: Floats) -> tuple[NDArray[np.float64], float]:
    """The peak of nearly gray pixels that is nearest to gray (mean shift), and the share of the picture in it."""
    safe = np.maximum(colours, 1e-3)
    points = np.log(np.stack([safe[..., 0] / safe[..., 1], safe[..., 2] / safe[..., 1]], -1)).reshape(-1, 2)
    near = (np.hypot(points[:, 0], points[:, 1]) < 4 * _REACH) & (weight.reshape(-1) > 0)
    points, mass = points[near], weight.reshape(-1)[near]
    total = float(weight.sum())
    at, inside = np.zeros(2), 0.0
    for _ in range(_STEPS):
        pull = mass * np.exp(-((points - at) ** 2).sum(1) / (2 * _REACH**2))
        inside = float(pull.sum())
        if inside <= 0:
            return np.zeros(2), 0.0
        at = (pull[:, None] * points).sum(0) / inside
    return at, inside / max(total, 1e-9)


def _agreed(opinions: NDArray[np.float64]) -> NDArray[np.float64]:
    """Where the opinions point one way, a cast between the middle and the least of them; zeros where they do not, or
    where the least is too faint to tell from what things happen to be in the picture.
    """
    middle = np.median(opinions, axis=0)
    length = max(float(np.hypot(*middle)), 1e-9)
    least = float((opinions @ (middle / length)).min())
    apart = float(np.hypot(*(opinions - middle).T).mean()) / length
    believed = np.clip((least - _FAINT) / (_CLEAR - _FAINT), 0, 1) * np.clip(1.6 - apart, 0, 1)
    return middle * float(min((least + length) / 2, _MOST) / length * believed)
