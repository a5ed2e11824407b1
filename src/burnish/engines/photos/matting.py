"""How much of each pixel is the subject's, from a coarse likelihood; and which colour that part has.

Called by runners. Pure: arrays in, arrays out. Three steps:

- `matte` works on a small copy. Where the likelihood is sure, it holds; between, the opacity is solved for that is locally
  an affine function of the colours, as closed-form matting does (A. Levin, D. Lischinski, Y. Weiss, "A Closed-Form
  Solution to Natural Image Matting", 2008). Its matrix is never made: a product with it is the residue of a guided filter
  (K. He, J. Sun, X. Tang, "Fast Matting Using Large Kernel Matting Laplacian Matrices", 2010), which is a few box
  filters whatever the radius, and conjugate gradients need only products.
- `Enlarged` brings that to the picture's own size, any rows at a time: the opacity by the affine functions themselves, so
  that edges lie where the large picture has them (K. He, J. Sun, "Fast Guided Filter", 2015).
- It takes the old background out of the colour of pixels that are only in part the subject's (M. Forte, "Approximate Fast
  Foreground Colour Estimation", 2021): the colour is that of what is opaque round it, set right by what the pixel shows.
"""

from collections.abc import Callable
from typing import Any, Final

import cv2
import numpy as np
from numpy.typing import NDArray

Pixels = NDArray[Any]
Plane = NDArray[Any]  #: of float32

#: What a matte is solved on, in pixels; more shows no more hair, as the likelihood says nothing of it.
WORK_PIXELS: Final = 640 * 640
#: Radius of the affine functions' windows on the small copy, and how flat a window's colours count as none.
_RADIUS: Final = 2
_FLAT: Final = 1e-5
_FLAT_LARGE: Final = 1e-4  #: where they are asked about a larger picture, which has more noise
#: Likelihoods that are sure; and how far from where it is even the opacity is open: anywhere, and where it is unsure. In
#: parts of the small copy's longer side.
_SURE: Final = (0.05, 0.95)
_BAND: Final = 0.008
_UNSURE_BAND: Final = 0.02
#: Pieces smaller than this part of the largest do not count, nor do holes smaller than that part of all.
_PIECE: Final = 0.02
_HOLE: Final = 0.003
#: How strongly decided pixels hold, against the smoothness; and open ones to what the network said.
_HOLD: Final = 10.0
_LEAN: Final = 0.02
_ROUNDS: Final = 60
#: Opacities below and above which nothing and all is meant.
_CLEAR, _OPAQUE = 0.08, 0.92
#: From how far round it a colour is taken: first and then, in parts of the small copy's longer side.
_FAR, _NEAR = 0.04, 0.006


class _Guide:
    """A picture, `[h, w, 3]` from 0 to 1, and the affine functions of its colours."""

    def __init__(self, picture: Plane, radius: int, flat: float) -> None:
        self.picture = picture
        self._size = (2 * radius + 1, 2 * radius + 1)
        self._mean = self._blurred(picture)
        spread = np.empty((*picture.shape[:2], 3, 3), np.float32)
        for one in range(3):
            for other in range(one + 1):
                both = self._blurred(picture[..., one] * picture[..., other])
                both -= self._mean[..., one] * self._mean[..., other]
                spread[..., one, other] = spread[..., other, one] = both
        spread += np.eye(3, dtype=np.float32) * np.float32(flat)
        self._inverse = np.linalg.inv(spread.astype(np.float64)).astype(np.float32)

    def functions(self, values: Plane) -> tuple[Plane, Plane]:
        """Of every window the affine function that fits `values` best: slopes `[h, w, 3]` and offsets `[h, w]`, the mean of all
        windows that a pixel lies in.
        """
        mean = self._blurred(values)
        along = self._blurred(self.picture * values[..., None]) - self._mean * mean[..., None]
        slopes = np.einsum("hwij,hwj->hwi", self._inverse, along)
        offsets = mean - np.einsum("hwi,hwi->hw", slopes, self._mean)
        return self._blurred(slopes), self._blurred(offsets)

    def residue(self, values: Plane) -> Plane:
        """What of `values` no affine function explains: a product with the matting Laplacian, for each pixel of a window."""
        slopes, offsets = self.functions(values)
        made: Plane = values - np.einsum("hwi,hwi->hw", slopes, self.picture) - offsets
        return made

    def _blurred(self, values: Plane) -> Plane:
        made: Plane = cv2.blur(values, self._size, borderType=cv2.BORDER_REFLECT)
        return made


def reduced(pixels: Pixels) -> Plane:
    """8- or 16-bit RGB as a small copy, `[h, w, 3]` from 0 to 1."""
    height, width = pixels.shape[:2]
    scale = min(1.0, (WORK_PIXELS / (height * width)) ** 0.5)
    size = max(1, round(width * scale)), max(1, round(height * scale))
    small = cv2.resize(pixels, size, interpolation=cv2.INTER_AREA) if scale < 1 else pixels
    made: Plane = small.astype(np.float32) / np.float32(255 if pixels.dtype == np.uint8 else 65535)
    return made


def matte(picture: Plane, likelihood: Plane) -> Plane:
    """The opacity, `[h, w]` from 0 to 1, of a small copy of which a network has said how likely each pixel is the subject's."""
    inside = _pieces(likelihood >= 0.5)
    open_ = _open(inside, likelihood)
    if not open_.any():
        return inside.astype(np.float32)
    wanted = np.where(open_, np.where(inside | (likelihood < 0.5), likelihood, 0), inside).astype(np.float32)
    hold = np.where(open_, np.float32(_LEAN), np.float32(_HOLD))
    guide = _Guide(picture, _RADIUS, _FLAT)

    def product(values: Plane) -> Plane:
        made: Plane = guide.residue(values) + hold * values
        return made

    return np.clip(_solved(product, hold * wanted, wanted, 1 / (hold + 1)), 0, 1)


def _pieces(inside: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Without the pieces that are small beside the largest, and without small holes."""
    kept = inside & ~_smaller(inside, lambda areas: _PIECE * areas.max())
    return kept | _smaller(~kept, lambda _: _HOLE * kept.sum())


def _smaller(there: NDArray[np.bool_], least: Callable[[NDArray[Any]], float]) -> NDArray[np.bool_]:
    """Connected pieces that have fewer pixels than `least` says of the areas of all."""
    count, numbers, told, _ = cv2.connectedComponentsWithStats(there.astype(np.uint8), connectivity=8)
    if count == 1:
        return np.zeros_like(there)
    small = np.zeros(count, bool)
    areas = told[1:, cv2.CC_STAT_AREA]
    small[1:] = areas < least(areas)
    made: NDArray[np.bool_] = small[numbers]
    return made


def _open(inside: NDArray[np.bool_], likelihood: Plane) -> NDArray[np.bool_]:
    """Where the opacity is to be solved for: along the edge, and farther from it where the network was unsure."""
    low, high = _SURE
    side = max(inside.shape)
    edge = _near(inside, max(1, round(_BAND * side)))
    unsure = (likelihood > low) & (likelihood < high) & _near(inside, max(1, round(_UNSURE_BAND * side)))
    return edge | unsure


def _near(inside: NDArray[np.bool_], reach: int) -> NDArray[np.bool_]:
    """Pixels that lie at most so far from the edge."""
    round_ = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * reach + 1, 2 * reach + 1))
    there = inside.astype(np.uint8)
    made: NDArray[np.bool_] = cv2.dilate(there, round_) != cv2.erode(there, round_)
    return made


def _solved(product: Any, right: Plane, start: Plane, scale: Plane) -> Plane:
    """Conjugate gradients, `scale` being about the inverse of the matrix's diagonal."""
    values = start.copy()
    left = right - product(values)
    along = scale * left
    size = float((left * along).sum(dtype=np.float64))
    for _ in range(_ROUNDS):
        if size < 1e-7 * right.size:
            break
        step = product(along)
        length = size / float((along * step).sum(dtype=np.float64))
        values += np.float32(length) * along
        left -= np.float32(length) * step
        steep = scale * left
        before, size = size, float((left * steep).sum(dtype=np.float64))
        along = steep + np.float32(size / before) * along
    return values


class Enlarged:
    """A matte and the subject's colours, for a picture of any size.

    `picture`, `opacity`: the small copy and what `matte` made of it.
    """

    def __init__(self, picture: Plane, opacity: Plane, height: int, width: int) -> None:
        self._size = (height, width)
        opacity = _definite(opacity)
        self._opacity = opacity if picture.shape[:2] == self._size else None
        slopes, offsets = _Guide(picture, _RADIUS, _FLAT_LARGE).functions(opacity)
        self._functions = np.dstack([slopes, offsets])
        subject, rest = picture, picture
        for part in (_FAR, _NEAR):
            subject, rest = _apart(picture, subject, rest, opacity, part)
        self._colours = np.dstack([subject, rest])

    def opacity(self, pixels: Plane, top: int) -> Plane:
        """Of some rows of the picture, `[n, W, 3]` from 0 to 1, of which the first is the row `top`: `[n, W]`, 0 to 1."""
        if self._opacity is not None:
            return self._opacity[top : top + len(pixels)]
        functions = self._rows(self._functions, top, len(pixels))
        made = np.einsum("hwc,hwc->hw", functions[..., :3], pixels) + functions[..., 3]
        bounded: Plane = np.clip(made, 0, 1, dtype=np.float32)
        return bounded

    def colours(self, pixels: Plane, opacity: Plane, top: int) -> Plane:
        """What the subject alone looks like in these rows: the pixels themselves where they are opaque."""
        estimated = self._rows(self._colours, top, len(pixels))
        subject, rest = estimated[..., :3], estimated[..., 3:]
        part = opacity[..., None]
        made: Plane = np.clip(subject + part * (pixels - part * subject - (1 - part) * rest), 0, 1)
        return made

    def _rows(self, small: Plane, top: int, count: int) -> Plane:
        """Some rows of what the small planes are at the picture's size, between their values linearly."""
        height, width = self._size
        places = (np.arange(top, top + count) + 0.5) * (len(small) / height) - 0.5
        places = np.clip(places, 0, len(small) - 1)
        above = places.astype(np.int64)
        below = np.minimum(above + 1, len(small) - 1)
        part = (places - above).astype(np.float32)[:, None, None]
        rows = small[above] * (1 - part) + small[below] * part
        planes = [
            cv2.resize(rows[..., first : first + 4], (width, count), interpolation=cv2.INTER_LINEAR)
            for first in range(0, rows.shape[2], 4)  # OpenCV resizes four at once
        ]
        made: Plane = np.dstack(planes)
        return made


def _definite(opacity: Plane) -> Plane:
    """Nothing and all where hardly anything lacks."""
    made: Plane = np.clip((opacity - _CLEAR) / (_OPAQUE - _CLEAR), 0, 1, dtype=np.float32)
    return made


def _apart(picture: Plane, subject: Plane, rest: Plane, opacity: Plane, reach: float) -> tuple[Plane, Plane]:
    """The subject's colours and those of what lies behind it, each from what is round a pixel."""
    side = 2 * max(1, round(reach * max(picture.shape[:2]))) + 1

    def mean(colours: Plane, part: Plane) -> Plane:
        weights = cv2.blur(part, (side, side))[..., None]
        made: Plane = cv2.blur(colours * part[..., None], (side, side)) / np.maximum(weights, 1e-4)
        return made

    subject, rest = mean(subject, opacity), mean(rest, 1 - opacity)
    part = opacity[..., None]
    subject = np.clip(subject + part * (picture - part * subject - (1 - part) * rest), 0, 1, dtype=np.float32)
    return subject, rest
