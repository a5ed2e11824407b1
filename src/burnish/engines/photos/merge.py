"""Exposure brackets of one scene to one picture: aligned, without ghosts, fused, with natural tones.

Exposure fusion in the sense of Mertens, Kautz and Van Reeth (2007): each bracket counts where it is well exposed. What
differs, and why (figures in docs/reference/models/merge.md):

- No Laplacian pyramid blends them. It makes seams invisible and halos in their stead, wide ones where a bright window
  meets a wall. Here weights follow the brightness of surfaces, without their texture, up to their very edges (guided
  filter, He, Sun and Tang 2010), so there is no seam to hide.
- Weights never make more light come out darker, at any place (`_WEIGHTS`).
- Where something moved, a bracket is not left out but replaced by the reference seen at that bracket's exposure: the blend
  there has the same light as around it, and no ghost.
- Strip by strip, in single precision: whatever the size, memory is that of small copies.

`prepare` looks at small copies and decides; `fuse` makes the picture. Of a panorama (`around`) the small copies are widened by
a part of each other edge, and brackets are only shifted, round and round.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Final

import cv2
import numpy as np
from numpy.typing import NDArray

from burnish.engines.photos import align
from burnish.engines.photos.around import enlarged, joined, widened

Pixels = NDArray[Any]
Float = NDArray[Any]
Mask = NDArray[Any]

#: Pixels of the copies on which moves, ghosts and windows are looked for.
SMALL_PIXELS: Final = 1_500_000

_STRIP_PIXELS: Final = 500_000
_FIXED_BYTES: Final = 96 * 1024 * 1024
_BYTES_PER_SMALL_PIXEL: Final = 40
_BYTES_PER_STRIP_PIXEL: Final = 40
#: Variance of levels below which they are texture, which weights do not follow.
_TEXTURE: Final = 0.0006
#: How far a bracket may be from what the reference makes one expect before something must have moved, in levels.
_NOISE_LEVELS: Final = 7
_GHOST_LEVELS: Final = 14
#: The smallest thing that moved, and the smallest window, as parts of the picture.
_LEAST_GHOST: Final = 2e-5
_LEAST_WINDOW: Final = 1.5e-3
#: A window is bright in the reference, and much of it blown.
_BRIGHT, _BLOWN, _LEAST_BLOWN = 205, 240, 0.3
#: By which part of its width a panorama's small copy is widened on each side: more than any window here sees.
_WIDENED: Final = 8


@dataclass
class Bracket:
    """One source. `move`: where the reference's places lie in it, in full pixels. `curves`: the reference's levels as this
    bracket would show them, [256, 3]. `ghosts`: how much of it to replace by the reference so shown, 0 to 255, small.
    """

    pixels: Pixels
    small: Pixels
    move: NDArray[Any] | None = None
    curves: NDArray[Any] | None = None
    ghosts: Mask | None = None


@dataclass
class Plan:
    """What was decided. `windows`: where only what is not blown may count, 0 to 255, small. `margin`: columns of the other edge
    that all small planes have on each side, 0 where it is no panorama.
    """

    brackets: list[Bracket]
    reference: int
    margin: int = 0
    windows: Mask | None = None
    notes: dict[str, str] = field(default_factory=dict)

    @property
    def size(self) -> tuple[int, int]:
        """Height and width."""
        height, width = self.brackets[self.reference].pixels.shape[:2]
        return height, width

    @property
    def shown_windows(self) -> Mask | None:
        """`windows` without margins."""
        return (
            None if self.windows is None else self.windows[:, self.margin : _end(self.windows, self.margin)]
        )


# --- deciding, on small copies ----------------------------------------------------------------------------------------


def prepare(sources: Sequence[Pixels], *, deghost: bool, windows: bool, panorama: bool = False) -> Plan:
    """Align, find what moved, find the windows. `sources`: [H, W, C] of one size, uint8 or uint16, in any order. `panorama`:
    left and right edge are one.
    """
    copies = [small_copy(pixels) for pixels in sources]
    margin = copies[0].shape[1] // _WIDENED if panorama else 0
    brackets = [Bracket(pixels, widened(copy, margin)) for pixels, copy in zip(sources, copies, strict=True)]
    lumas = [cv2.cvtColor(bracket.small, cv2.COLOR_RGB2GRAY) for bracket in brackets]
    readable = [_readable(luma[:, margin : _end(luma, margin)]) for luma in lumas]
    reference = max(range(len(lumas)), key=lambda number: (readable[number], -number))
    plan = Plan(brackets, reference, margin)
    lost = [n for n in range(len(brackets)) if n != reference and not _align(plan, n, lumas)]
    if lost:
        plan.notes["alignment"] = (
            f"Brackets {', '.join(str(n) for n in lost)} (counted from 0) show too little that bracket {reference} shows too; "
            "they were laid on it as they are."
        )
    moved = 0.0
    for number, bracket in enumerate(brackets):
        if number != reference:
            moved = max(moved, _find_ghosts(plan, bracket, deghost=deghost))
    if moved > _LEAST_GHOST:
        plan.notes["ghosts"] = (
            f"Something moved between the brackets, in {max(moved * 100, 0.1):.1f} % of the picture; "
            f"it is shown as in bracket {reference}."
        )
    if windows:
        plan.windows = _find_windows(plan)
        if plan.windows is None:
            plan.notes["windows"] = "No blown window was found that a darker bracket shows."
    return plan


def memory_bytes(pixels: int, brackets: int, *, panorama: bool = False) -> int:
    """What `prepare` and `fuse` need beside the brackets and the result."""
    small = min(pixels, SMALL_PIXELS) * (_WIDENED + 2 * panorama) // _WIDENED
    return _FIXED_BYTES + (brackets + 4) * (
        small * _BYTES_PER_SMALL_PIXEL + min(pixels, _STRIP_PIXELS) * _BYTES_PER_STRIP_PIXEL
    )


def small_copy(pixels: Pixels) -> NDArray[Any]:
    """8-bit RGB, at most `SMALL_PIXELS`."""
    height, width = pixels.shape[:2]
    factor = min(1.0, (SMALL_PIXELS / (height * width)) ** 0.5)
    size = (max(1, round(width * factor)), max(1, round(height * factor)))
    small = cv2.resize(pixels, size, interpolation=cv2.INTER_AREA)
    small = np.ascontiguousarray(small.reshape(size[1], size[0], -1)[..., : _colours(pixels)])
    if small.dtype != np.uint8:
        small = cv2.convertScaleAbs(small, alpha=255 / 65_535)
    return small if small.shape[-1] == 3 and small.ndim == 3 else cv2.cvtColor(small, cv2.COLOR_GRAY2RGB)


def _readable(luma: Mask) -> float:
    """How good a picture it would be alone: the share of pixels that are neither lost nor blown, less how far its middle
    is from where photos have it.
    """
    share = cv2.countNonZero(cv2.inRange(luma, np.array([24]), np.array([232]))) / luma.size
    return round(share - abs(float(np.median(luma)) / 255 - 0.45), 3)


def _align(plan: Plan, number: int, lumas: Sequence[Mask]) -> bool:
    bracket, height = plan.brackets[number], plan.size[0]
    # A turn would take the edges apart, and is none where all is seen: what is seen there has moved up and down.
    move, agreed = align.found(lumas[plan.reference], lumas[number], turns=not plan.margin)
    if move is not None:
        bracket.move = align.rescaled(move, height / bracket.small.shape[0])
        bracket.small = _meeting(_warped(bracket.small, move, cv2.INTER_LINEAR), plan.margin)
    return agreed


def _end(plane: NDArray[Any], margin: int) -> int:
    return int(plane.shape[1]) - margin


def _meeting(plane: NDArray[Any], margin: int) -> NDArray[Any]:
    """A widened plane whose margins are what the other edge is again."""
    if not margin:
        return plane
    met = widened(joined(plane.astype(np.float32), margin), margin)
    return met if plane.dtype == np.float32 else np.rint(met).astype(plane.dtype)


def _warped(pixels: Pixels, move: NDArray[Any], how: int) -> Pixels:
    size = (pixels.shape[1], pixels.shape[0])
    return cv2.warpAffine(
        pixels, move, size, flags=how | cv2.WARP_INVERSE_MAP, borderMode=cv2.BORDER_REPLICATE
    )


def _find_ghosts(plan: Plan, bracket: Bracket, *, deghost: bool) -> float:
    """Set the bracket's curves and ghosts; the share of the picture in which something moved.

    A place is consistent where the bracket's level is among those that the reference's levels round it may read as.
    A blown level may read as many, which is the point: only what no exposure explains has moved.
    """
    reference = plan.brackets[plan.reference]
    height, width = bracket.small.shape[:2]
    inside: Mask = np.full((height, width), 255, np.uint8)
    if bracket.move is not None:
        small_move = align.rescaled(bracket.move, height / bracket.pixels.shape[0])
        inside = cv2.warpAffine(inside, small_move, (width, height), flags=cv2.WARP_INVERSE_MAP)
        inside = cv2.erode(cv2.threshold(inside, 254, 255, cv2.THRESH_BINARY)[1], np.ones((3, 3), np.uint8))
    once = inside > 0  # of a panorama's small copy, each place that is there
    once[:, : plan.margin] = once[:, width - plan.margin :] = False
    curves = []
    beyond: Float = np.zeros((height, width), np.float32)
    for channel in range(3):
        seen, shown = reference.small[..., channel], bracket.small[..., channel]
        of, wanted = align.histogram(seen[once]), align.histogram(shown[once])
        curves.append(align.curve(of, wanted))
        if deghost:
            beyond = cv2.max(beyond, _beyond(seen, shown, of, wanted))
    bracket.curves = np.stack(curves, axis=-1)
    moved = _solid(cv2.threshold(beyond, _GHOST_LEVELS, 255, cv2.THRESH_BINARY)[1].astype(np.uint8), beyond)
    share = float(np.count_nonzero(moved[once]) / (height * (width - 2 * plan.margin)))
    mask = cv2.bitwise_or(moved, cv2.bitwise_not(inside))
    soft = cv2.blur(cv2.blur(mask, (9, 9)), (9, 9))
    bracket.ghosts = _meeting(soft, plan.margin) if mask.any() else None
    return share


def _beyond(seen: Mask, shown: Mask, of: NDArray[Any], wanted: NDArray[Any]) -> Float:
    """By how many levels `shown` is outside of what `seen` explains."""
    around = np.ones((3, 3), np.uint8)
    seen = cv2.medianBlur(seen, 3)
    least = np.searchsorted(wanted, np.concatenate([[0.0], of[:-1]]) + 1e-9, side="left")
    most = np.searchsorted(wanted, of - 1e-9, side="left")
    levels = np.arange(256)
    least = least[np.clip(levels - _NOISE_LEVELS, 0, 255)].astype(np.float32)
    most = np.clip(most, 0, 255)[np.clip(levels + _NOISE_LEVELS, 0, 255)].astype(np.float32)
    shown_ = cv2.medianBlur(shown, 3).astype(np.float32)
    below = cv2.subtract(cv2.LUT(cv2.erode(seen, around), least), shown_)
    above = cv2.subtract(shown_, cv2.LUT(cv2.dilate(seen, around), most))
    return cv2.max(below, above)


def _solid(mask: Mask, beyond: Float) -> Mask:
    """Without specks; with the insides, and the soft edges, of what moved. A thing counts where it is more than an edge:
    half a pixel that alignment left over makes thin lines.
    """
    unit = max(1, round(min(mask.shape) / 400))
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * unit + 1, 2 * unit + 1))
    core = cv2.morphologyEx(mask, cv2.MORPH_OPEN, kernel)
    count, labels, stats, _ = cv2.connectedComponentsWithStats(core)
    large = stats[:, cv2.CC_STAT_AREA] >= max(12, _LEAST_GHOST * mask.size)
    large[0] = False
    if count < 2 or not large.any():
        return np.zeros_like(mask)
    core = large[labels].astype(np.uint8) * 255
    grown = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (12 * unit + 1, 12 * unit + 1))
    near = cv2.bitwise_and(
        cv2.dilate(core, grown),
        cv2.threshold(beyond, _NOISE_LEVELS / 2, 255, cv2.THRESH_BINARY)[1].astype(np.uint8),
    )
    closed = cv2.morphologyEx(cv2.bitwise_or(core, near), cv2.MORPH_CLOSE, grown)
    return cv2.dilate(closed, cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (6 * unit + 1, 6 * unit + 1)))


def _find_windows(plan: Plan) -> Mask | None:
    """Regions that the reference shows blown, and a darker bracket does not; up to their frames, feathered along them.

    The edges are the darker bracket's, which sees the frame crisp where light has flown over it in the reference.
    """
    lumas = [cv2.cvtColor(bracket.small, cv2.COLOR_RGB2GRAY) for bracket in plan.brackets]
    reference = lumas[plan.reference]
    darker = [n for n, luma in enumerate(lumas) if luma.mean() < reference.mean() - 2]
    if not darker:
        return None
    shown = np.zeros_like(reference)
    for number in darker:
        shown = cv2.bitwise_or(shown, cv2.inRange(lumas[number], np.array([16]), np.array([236])))
    unit = max(1, round(min(shown.shape) / 300))
    bright = cv2.bitwise_and(cv2.threshold(reference, _BRIGHT, 255, cv2.THRESH_BINARY)[1], shown)
    bright = cv2.morphologyEx(bright, cv2.MORPH_OPEN, np.ones((2 * unit + 1,) * 2, np.uint8))
    count, labels, stats, _ = cv2.connectedComponentsWithStats(bright)
    blown = np.bincount(labels[reference > _BLOWN], minlength=count) / stats[:, cv2.CC_STAT_AREA]
    windows = (stats[:, cv2.CC_STAT_AREA] >= _LEAST_WINDOW * bright.size) & (blown >= _LEAST_BLOWN)
    windows[0] = False
    if not windows.any():
        return None
    region = windows[labels].astype(np.uint8) * 255
    region = cv2.morphologyEx(region, cv2.MORPH_CLOSE, np.ones((4 * unit + 1,) * 2, np.uint8))
    guide = lumas[max(darker, key=lambda n: lumas[n].mean())].astype(np.float32) / 255
    soft = guided(region.astype(np.float32) / 255, guide, radius=2 * unit, epsilon=1e-3)
    return _meeting(cv2.convertScaleAbs(np.clip(soft * 1.2 - 0.1, 0, 1), alpha=255), plan.margin)


def guided(mask: Float, guide: Float, radius: int, epsilon: float) -> Float:
    """The mask with the edges of the guide (guided filter, He, Sun and Tang 2010). Both [H, W], 0 to 1."""
    size = (2 * radius + 1, 2 * radius + 1)
    mean_guide, mean_mask = cv2.blur(guide, size), cv2.blur(mask, size)
    variance = cv2.blur(guide * guide, size) - mean_guide * mean_guide
    slope = (cv2.blur(guide * mask, size) - mean_guide * mean_mask) / (variance + epsilon)
    offset = mean_mask - slope * mean_guide
    soft: Float = np.clip(cv2.blur(slope, size) * guide + cv2.blur(offset, size), 0, 1)
    return soft


# --- the picture ------------------------------------------------------------------------------------------------------


def fuse(plan: Plan, result: NDArray[Any]) -> Iterator[float]:
    """Fill `result`, [H, W, 1 or 3] of either depth, with the merged picture; yields the part that is done."""
    height, width = plan.size
    bases = _bases(plan)
    tones = _tones(_preview(plan, bases))
    rows = max(2, min(height, _STRIP_PIXELS // width))
    for top in range(0, height, rows):
        bottom = min(top + rows, height)
        strips = [_rows(plan, number, top, bottom) for number in range(len(plan.brackets))]
        windows = None
        if plan.windows is not None:
            windows = enlarged(plan.windows, top, bottom, height, width, margin=plan.margin) / 255
        enlarge = partial(enlarged, top=top, bottom=bottom, height=height, width=width, margin=plan.margin)
        fused = _fused(strips, [(enlarge(slope), enlarge(offset)) for slope, offset in bases], windows)
        result[top:bottom] = _developed(fused, tones, result.shape[2], result.dtype)
        yield bottom / height


def _bases(plan: Plan) -> list[tuple[Float, Float]]:
    """For each bracket how its level, without texture, follows from the guide: `slope * guide + offset`, small."""
    levels = [_level(_small_rows(plan, number)) for number in range(len(plan.brackets))]
    guide = _mean(levels)
    size = (2 * round(min(guide.shape) / 40) + 3,) * 2
    mean_guide = cv2.blur(guide, size)
    variance = cv2.blur(guide * guide, size) - mean_guide * mean_guide
    bases = []
    for level in levels:
        mean = cv2.blur(level, size)
        slope = (cv2.blur(guide * level, size) - mean_guide * mean) / (variance + np.float32(_TEXTURE))
        pair = cv2.blur(slope, size), cv2.blur(mean - slope * mean_guide, size)
        bases.append((_meeting(pair[0], plan.margin), _meeting(pair[1], plan.margin)))
    return bases


def _small_rows(plan: Plan, number: int) -> Float:
    bracket = plan.brackets[number]
    colours = _unit(bracket.small)
    if bracket.ghosts is None or bracket.curves is None:
        return colours
    instead = _through(_unit(plan.brackets[plan.reference].small), bracket.curves)
    colours += (bracket.ghosts.astype(np.float32) / 255)[..., None] * (instead - colours)
    return colours


def _preview(plan: Plan, bases: Sequence[tuple[Float, Float]]) -> Float:
    windows = None if plan.windows is None else plan.windows.astype(np.float32) / 255
    fused = _fused([_small_rows(plan, number) for number in range(len(plan.brackets))], bases, windows)
    return fused[:, plan.margin : _end(fused, plan.margin)]


def _fused(strips: Sequence[Float], bases: Sequence[tuple[Float, Float]], windows: Float | None) -> Float:
    """The weighted mean of brackets, [H, W, 3] each; `bases` at the same size."""
    guide = _mean([_level(strip) for strip in strips])
    total = np.full(guide.shape, 1e-6, np.float32)
    fused = np.zeros_like(strips[0])
    for strip, (slope, offset) in zip(strips, bases, strict=True):
        weight = weighed(slope * guide + offset, windows)
        total += weight
        fused += cv2.multiply(strip, cv2.merge([weight] * 3))
    return cv2.divide(fused, cv2.merge([total] * 3))


def _level(colours: Float) -> Float:
    """How bright a place is for the question whether it is exposed well: half luma, half its brightest channel, which is
    the first to be blown. [H, W, 3] -> [H, W].
    """
    brightest = cv2.max(cv2.max(colours[..., 0], colours[..., 1]), colours[..., 2])
    return cv2.addWeighted(cv2.cvtColor(colours, cv2.COLOR_RGB2GRAY), 0.5, brightest, 0.5, 0)


def _mean(planes: Sequence[Float]) -> Float:
    mean = planes[0].copy()
    for plane in planes[1:]:
        mean += plane
    mean *= np.float32(1.0 / len(planes))
    return mean


def weighed(level: Float, windows: Float | None = None) -> Float:
    """How much a bracket counts where it has this level, [H, W], 0 to 1; above 0 everywhere.

    `windows`: where only what is far from blown may count, 0 to 1.
    """
    levels = cv2.convertScaleAbs(level, alpha=255)
    weight: Float = cv2.LUT(levels, _WEIGHTS)
    return weight if windows is None else weight + windows * (cv2.LUT(levels, _STRICT) - weight)


def _bell(best: float, spread: float, least: float) -> Float:
    levels = np.linspace(0, 1, 256)
    return (np.exp(-0.5 * ((levels - best) / spread) ** 2) * (1 - levels) + least).astype(np.float32)


#: So wide, and never 0, that more light never comes out darker: found by search over 2 to 9 brackets, 1 to 3 EV apart. A
#: narrower bell, or one that shuts out what is blown, makes a dark ring where a wall goes from lit to blown.
_WEIGHTS: Final = _bell(0.4, 0.4, 0.1)
_STRICT: Final = _bell(0.4, 0.14, 1e-3)


def _rows(plan: Plan, number: int, top: int, bottom: int) -> Float:
    """Rows of a bracket on the reference's grid, what moved replaced: RGB, 0 to 1."""
    bracket = plan.brackets[number]
    height, width = plan.size
    if bracket.move is None:
        strip = _unit(bracket.pixels[top:bottom])
    else:
        move = bracket.move.astype(np.float64)
        move[:, 2] += move[:, 1] * top
        strip = _unit(_warped_rows(bracket.pixels, move, bottom - top, panorama=plan.margin > 0))
    if bracket.ghosts is None or bracket.curves is None:
        return strip
    some = bracket.ghosts[
        max(0, top * len(bracket.ghosts) // height - 2) : bottom * len(bracket.ghosts) // height + 3
    ]
    if not some.any():
        return strip
    part = enlarged(bracket.ghosts, top, bottom, height, width, margin=plan.margin) * np.float32(1 / 255)
    instead = _through(_unit(plan.brackets[plan.reference].pixels[top:bottom]), bracket.curves)
    strip += part[..., None] * (instead - strip)
    return strip


def _warped_rows(pixels: Pixels, move: NDArray[Any], rows: int, *, panorama: bool) -> Pixels:
    """`rows` rows of the reference's grid, read from those of the bracket that they lie in; of a panorama round its edges."""
    height, width = pixels.shape[:2]
    corners = np.array([[0, 0, 1], [width, 0, 1], [0, rows, 1], [width, rows, 1]], np.float64) @ move.T
    first = int(np.clip(np.floor(corners[:, 1].min()) - 4, 0, height - 1))
    last = int(np.clip(np.ceil(corners[:, 1].max()) + 5, first + 1, height))
    move = move.copy()
    move[1, 2] -= first
    part = np.ascontiguousarray(pixels[first:last, :, : _colours(pixels)])
    if panorama:
        margin = min(width, int(np.ceil(abs(move[0, 2]))) + 3)
        part = widened(part, margin)
        move[0, 2] += margin
    warped = cv2.warpAffine(
        part,
        move,
        (width, rows),
        flags=cv2.INTER_CUBIC | cv2.WARP_INVERSE_MAP,
        borderMode=cv2.BORDER_REPLICATE,
    )
    return warped.reshape(rows, width, -1)


def _colours(pixels: Pixels) -> int:
    return 1 if pixels.shape[2] <= 2 else 3


def _unit(pixels: Pixels) -> Float:
    """RGB from 0 to 1, of any depth, gray or not, without alpha."""
    strip = np.ascontiguousarray(pixels[..., : _colours(pixels)])
    if strip.shape[2] == 1:
        strip = cv2.cvtColor(strip, cv2.COLOR_GRAY2RGB)
    unit: Float = np.multiply(strip, np.float32(1.0 / np.iinfo(strip.dtype).max), dtype=np.float32)
    return unit


def _through(colours: Float, curves: NDArray[Any]) -> Float:
    """Each channel through its curve of 256 levels, without steps."""
    smooth = cv2.GaussianBlur(curves.astype(np.float32) / 255, (1, 9), 2.0, borderType=cv2.BORDER_REPLICATE)
    smooth[0], smooth[-1] = curves[0] / 255, curves[-1] / 255
    levels = np.linspace(0, 1, 256)
    return np.stack([np.interp(colours[..., c], levels, smooth[:, c]) for c in range(3)], axis=-1).astype(
        np.float32
    )


# --- tones ------------------------------------------------------------------------------------------------------------


@dataclass
class Tones:
    """How the flat blend becomes a photo. `curve`: of 65,536 levels, one for all places and channels, so that it makes no
    halo; `colours`: a matrix that gives back the saturation which lifting the middle takes.
    """

    curve: NDArray[Any]
    colours: NDArray[Any]


#: Where photos that people like have their middle, and how far the blend's own is led towards it.
_MIDDLE, _LED = 0.52, 0.8
_LUMA: Final = np.array([0.299, 0.587, 0.114])


def _tones(preview: Float) -> Tones:
    """Black and white go where the darkest and the brightest lie, the middle towards where photos have it, and a gentle S
    gives back contrast; the brightest tenth rolls off instead of ending in a wall of white.
    """
    luma = cv2.cvtColor(np.clip(preview, 0, 1), cv2.COLOR_RGB2GRAY)
    black, white = (float(value) for value in np.percentile(luma, (0.2, 99.8)))
    black, white = min(black, 0.12) * 0.9, max(white, 0.75)
    middle = float(np.clip((np.median(luma) - black) / (white - black), 0.05, 0.95))
    wanted = _LED * _MIDDLE + (1 - _LED) * middle
    gamma = float(np.clip(np.log(wanted) / np.log(middle), 0.55, 1.25))
    levels = np.clip((np.linspace(0, 1, 65_536) - black) / (white - black), 0, 1) ** gamma
    levels = levels + 0.25 * levels * (1 - levels) * (2 * levels - 1)
    levels = np.where(levels > 0.9, 0.9 + 0.09 * (1 - np.exp(-(levels - 0.9) / 0.09)), levels)
    vivid = gamma**-0.6
    colours = np.eye(3) * vivid + np.outer(np.ones(3), _LUMA) * (1 - vivid)
    return Tones(np.round(levels * 65_535).astype(np.uint16), colours.astype(np.float32))


def _developed(colours: Float, tones: Tones, channels: int, kind: Any) -> Pixels:
    """A strip of the blend as pixels of the result."""
    vivid = cv2.transform(colours, tones.colours)
    levels = cv2.addWeighted(vivid, 65_535.0, vivid, 0.0, 0.0, dtype=cv2.CV_16U)
    curve = tones.curve
    if kind != np.uint16:
        curve = ((curve.astype(np.uint32) * 255 + 32_767) // 65_535).astype(np.uint8)
    made = cv2.LUT(levels, curve)
    return made[..., :1] if channels == 1 else made
