"""How the brackets of one scene lie on each other: a shift and a rotation for each, found on small luma pictures.

A median threshold bitmap (Ward 2003, OpenCV's AlignMTB) finds whole pixels whatever the exposure; enhanced correlation
(Evangelidis and Psarakis 2008) goes on from there to the rotation and to parts of a pixel. It bears a gain and no
other difference, so the darker of the two is first given the tones of the brighter.
"""

from typing import Any, Final

import cv2
import numpy as np
from numpy.typing import NDArray

Luma = NDArray[Any]
Affine = NDArray[Any]

#: Halvings by which the bitmap looks for its shift: up to 63 pixels of a picture of 2 megapixels, 3 % of its width.
_SHIFT_BITS: Final = 6
_STEPS: Final = (cv2.TERM_CRITERIA_EPS | cv2.TERM_CRITERIA_COUNT, 60, 1e-6)
#: Correlations below this are chance: the bitmap's shift stands, or nothing does.
_LEAST_CORRELATION: Final = 0.7
_LEAST_SIDE: Final = 24
#: Moves of every corner below this many pixels are not worth a resampling.
_STILL_PIXELS: Final = 0.08
#: Handheld brackets turn by a degree or two; a found turn beyond this is a fit gone astray.
_MOST_TURN: Final = 0.09


def tones_of(luma: Luma, wanted: Luma) -> Luma:
    """`luma` with the histogram of `wanted`: as it would be had it been exposed like that."""
    return cv2.LUT(luma, curve(histogram(luma), histogram(wanted)))


def histogram(channel: NDArray[Any]) -> NDArray[Any]:
    """The share of pixels at or below each of 256 levels."""
    counts = np.bincount(channel.reshape(-1), minlength=256)
    return np.cumsum(counts) / channel.size


def curve(of: NDArray[Any], wanted: NDArray[Any]) -> NDArray[Any]:
    """Level -> the level at the same share of pixels, by cumulative histograms (Grossberg and Nayar 2003): how one
    exposure reads in another, whatever the camera's response. The middle of what a level may stand for.
    """
    middles = of - np.diff(of, prepend=0.0) / 2
    return np.clip(np.searchsorted(wanted, middles, side="left"), 0, 255).astype(np.uint8)


def found(reference: Luma, other: Luma, *, turns: bool = True) -> tuple[Affine | None, bool]:
    """The move that takes a place `(x, y, 1)` of the reference to that of `other`, [2, 3]; None where they lie on each
    other as they are. And whether what the two show could be made to agree at all. `turns`: it may be more than a shift.
    """
    if min(reference.shape) < _LEAST_SIDE:
        return None, True
    bits = min(
        _SHIFT_BITS, min(reference.shape).bit_length() - 4
    )  # the bitmap goes down where pixels run out
    across, down = cv2.createAlignMTB(bits).calculateShift(reference, other)
    bitmap = np.array([[1, 0, -across], [0, 1, -down]], np.float32)
    move, agreement = _refined(reference, other, bitmap, turns=turns)
    if agreement < _LEAST_CORRELATION and bitmap[:, 2].any():
        move, agreement = _refined(reference, other, np.eye(2, 3, dtype=np.float32), turns=turns)
    if agreement < _LEAST_CORRELATION:
        return None, False
    return (None if _is_still(move, reference.shape) else move), True


def _refined(reference: Luma, other: Luma, move: Affine, *, turns: bool) -> tuple[Affine, float]:
    """From coarse to fine, so that a turn which moves the corners by many pixels is found too; and how well they agree.

    The darker takes on the tones of the brighter, and so is blown where that is: the edges of what is blown are as good
    as any.
    """
    agreement = -1.0
    kind = cv2.MOTION_EUCLIDEAN if turns else cv2.MOTION_TRANSLATION
    if cv2.mean(reference)[0] < cv2.mean(other)[0]:
        reference = tones_of(reference, other)
    else:
        other = tones_of(other, reference)
    for size in (4, 1):
        seen, shown = _reduced(reference, size), _reduced(other, size)
        if min(seen.shape) < _LEAST_SIDE:
            continue
        start = rescaled(move, 1 / size)
        whole = np.full(seen.shape, 255, np.uint8)
        try:
            found_, trial = cv2.findTransformECC(seen, shown, start, kind, _STEPS, whole, 5)
        except cv2.error:  # its word for: did not converge
            continue
        if abs(trial[0, 1]) <= _MOST_TURN:
            move, agreement = rescaled(trial, size), float(found_)
    return move, agreement


def _reduced(luma: Luma, size: int) -> Luma:
    if size == 1:
        return luma
    return cv2.resize(luma, None, fx=1 / size, fy=1 / size, interpolation=cv2.INTER_AREA)


def rescaled(move: Affine, factor: float) -> Affine:
    """The same move in a picture `factor` times as large; pixel centres lie at halves."""
    turn, shift = move[:, :2], move[:, 2]
    half = np.full(2, 0.5, np.float32)
    centre = half - turn @ half
    scaled = factor * (shift + centre) - centre
    return np.column_stack([turn, scaled]).astype(np.float32)


def _is_still(move: Affine, shape: tuple[int, ...]) -> bool:
    height, width = shape[:2]
    corners = np.array([[0, 0, 1], [width, 0, 1], [0, height, 1], [width, height, 1]], np.float32)
    return bool(np.abs(corners @ move.T - corners[:, :2]).max() < _STILL_PIXELS)
