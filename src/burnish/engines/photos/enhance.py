"""`enhance`: a dull photo made better, and a good one left alone.

Called by the runner `photo`. What to do is estimated from a small copy (`plan`), and then done tile by tile (`apply`): a
table for each sample takes haze and cast away; a second one, over a pixel's brightness and that of its surroundings (a
guided filter, He, Sun and Tang 2013, computed on the small copy), says by how much its colour is multiplied. So
edges have no halos, hues stay, and memory does not grow with the picture.
"""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

import cv2
import numpy as np

from burnish.engines.photos import balance, tone
from burnish.engines.photos.look import Look, Style, look_of
from burnish.engines.photos.reduced import LUMA, Floats, Pixels, Reduced, chroma, colours_of, luma, reduced

#: Pixels of the copy that everything is estimated from.
_COPY_PIXELS: Final = 1 << 18
#: How far the surroundings of a pixel reach, as a part of the longer side, and how much they may differ and still be one.
_REACH: Final = 1 / 36
_ALIKE: Final = 0.06**2
_BASES, _LUMAS = 128, 512
#: A tile's rows and columns: what is worked with stays in a core's cache.
_ROWS, _COLUMNS = 64, 2048
#: Saturation, as the mean distance of the largest sample from the smallest: below `_PALE` colours are given more, below `_GRAY`
#: there are none to give to.
_GRAY, _PALE = 0.015, 0.10
_MOST_COLOUR: Final = 1.25
#: How much of the way from a pixel's brightness to the end its samples may go; and what is no way.
_ROOM: Final = np.float32(0.985)
_TINY: Final = np.float32(1e-4)
#: From here to white a pixel's own colour is not to be known, and it is left as it is.
_NEARLY_WHITE: Final = 0.90


@dataclass(frozen=True)
class Plan:
    """What will be done to one picture. `levels`: for each colour, from sample to float. `slope`, `offset`:
    [h, w], of the guided filter, with `margin` columns of the other edge on both sides. `colour`: a factor of saturation.
    """

    levels: Floats
    factors: Floats
    slope: Floats
    offset: Floats
    margin: int
    size: tuple[int, int]
    colour: float
    white: bool
    changes: bool
    said: str


def enhance(
    pixels: Pixels, style: Style = "neutral", strength: float = 1.0, *, panorama: bool = False
) -> Pixels:
    """All of it at once: `pixels`, [H, W, C] of 8 or 16 bits, enhanced; `strength` 0 to 2."""
    made = np.empty_like(pixels)
    for _ in apply(pixels, plan(pixels, style, strength, panorama=panorama), made, threads=1):
        pass
    return made


def plan(pixels: Pixels, style: Style, strength: float, *, panorama: bool = False) -> Plan:
    """What to do to `pixels`, by what a small copy of them shows. `panorama`: left and right edge are one."""
    look = look_of(style, strength)
    copy = reduced(pixels, _COPY_PIXELS, panorama=panorama)
    gains = _gains(copy, look)
    needed = tone.tone_of(luma(copy.colours * gains), copy.weight, look)
    levels = _levels(np.iinfo(pixels.dtype).max, gains, needed.haze)
    small = Reduced(_prepared(copy.colours, gains, needed.haze), copy.weight)
    colour = _colour(small, look)
    height, width = copy.weight.shape
    reach = max(1, round(max(height, width) * _REACH))
    margin = min(2 * reach + 1, width) if panorama else 0
    slope, offset = _surroundings(small.luma, reach, margin)
    changed = bool(np.abs(gains - 1).max() > 1e-3) or needed != tone.UNTOUCHED or abs(colour - 1) > 1e-3
    return Plan(
        levels=levels,
        factors=tone.table(needed, _BASES, _LUMAS),
        slope=slope,
        offset=offset,
        margin=margin,
        size=(width, height),
        colour=colour,
        white=bool(np.abs(gains - 1).max() > 1e-3),
        changes=changed,
        said=_said(needed, gains, changed),
    )


def apply(pixels: Pixels, wanted: Plan, made: Pixels, *, threads: int) -> Iterator[float]:
    """Do what was planned to `pixels`, into `made`, on several threads; yields the part that is done."""
    height, width, channels = pixels.shape
    if not wanted.changes:
        made[...] = pixels
        yield 1.0
        return
    places = [(top, left) for top in range(0, height, _ROWS) for left in range(0, width, _COLUMNS)]
    at_once = 32 * threads
    with ThreadPoolExecutor(threads, "photo") as pool:
        for first in range(0, len(places), at_once):
            now = places[first : first + at_once]
            for _ in pool.map(partial(_tile, pixels, wanted, made), now):
                pass
            yield min(1.0, (first + len(now)) / len(places))
    if colours_of(channels) != channels:
        made[..., -1] = pixels[..., -1]


def _tile(pixels: Pixels, wanted: Plan, made: Pixels, place: tuple[int, int]) -> None:
    """A tile, as planes: numpy works on those as fast as memory gives them."""
    top, left = place
    count = colours_of(pixels.shape[2])
    window = (slice(top, top + _ROWS), slice(left, left + _COLUMNS))
    source = cv2.split(np.ascontiguousarray(pixels[window][..., :count]))
    full = np.iinfo(pixels.dtype).max
    planes: list[Any] = [cv2.LUT(plane, table) for plane, table in zip(source, wanted.levels, strict=True)]
    if wanted.white:
        _keep_white(planes, source, full)
    light = _light(planes)
    factor = _factor(wanted, light, pixels.shape, top, left)
    for plane in planes:
        np.multiply(plane, factor, out=plane)
    if count > 1:
        light *= factor
        _keep_in_bounds(planes, light, wanted.colour)
    made[window][..., :count] = cv2.merge(
        [_samples(plane, given, full) for plane, given in zip(planes, source, strict=True)]
    ).reshape(*light.shape, count)


def _light(planes: Sequence[Floats]) -> Floats:
    if len(planes) == 1:
        return planes[0].copy()
    light: Floats = planes[0] * LUMA[0, 0]
    light += planes[1] * LUMA[0, 1]
    light += planes[2] * LUMA[0, 2]
    return light


def _factor(wanted: Plan, light: Floats, shape: tuple[int, ...], top: int, left: int) -> Any:
    """By how much each pixel of a tile is multiplied: looked up between the table's entries."""
    width, height = wanted.size
    across, down = width / shape[1], height / shape[0]
    matrix = np.array(
        [[across, 0, (left + 0.5) * across - 0.5 + wanted.margin], [0, down, (top + 0.5) * down - 0.5]]
    )
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    size = light.shape[::-1]
    slope: Any = cv2.warpAffine(wanted.slope, matrix, size, flags=flags, borderMode=cv2.BORDER_REPLICATE)
    base: Any = cv2.warpAffine(wanted.offset, matrix, size, flags=flags, borderMode=cv2.BORDER_REPLICATE)
    base += slope * light
    base *= np.float32(_BASES - 1)
    columns = light * np.float32(_LUMAS - 1)
    return cv2.remap(wanted.factors, columns, base, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)


def _keep_in_bounds(planes: Sequence[Floats], light: Floats, colour: float) -> None:
    """Make colours of brightness `light` `colour` times as far from gray; and nearer to gray, where one would leave what can be
    shown: a sample never goes more than most of the way from its brightness to the end.
    """
    most = np.maximum(np.maximum(planes[0], planes[1]), planes[2])
    most -= light
    np.maximum(most, _TINY, out=most)
    keep = (1 - light) * _ROOM
    keep /= most
    np.minimum(keep, np.float32(colour), out=keep)
    if colour > 1:
        least = np.minimum(np.minimum(planes[0], planes[1]), planes[2])
        np.subtract(light, least, out=least)
        np.maximum(least, _TINY, out=least)
        np.divide(light * _ROOM, least, out=least)
        np.maximum(least, 1, out=least)
        np.minimum(keep, least, out=keep)
    np.maximum(keep, 0, out=keep)
    for plane in planes:
        np.subtract(plane, light, out=plane)
        np.multiply(plane, keep, out=plane)
        np.add(plane, light, out=plane)


def _keep_white(planes: Sequence[Floats], source: Sequence[Any], full: int) -> None:
    """Leave what is white in the file: of a pixel that is full in all colours, nobody knows its own."""
    least = np.minimum(np.minimum(source[0], source[1]), source[2])
    near = least > _NEARLY_WHITE * full
    if near.any():
        part = ((least[near] / full - _NEARLY_WHITE) / (1 - _NEARLY_WHITE)).astype(np.float32)
        for plane, given in zip(planes, source, strict=True):
            plane[near] += (given[near] / np.float32(full) - plane[near]) * part


def _samples(plane: Floats, source: Any, full: int) -> Any:
    """Whole samples; 0 and the full value are only where they were, whatever rounding does."""
    if full == 255:
        whole: Any = cv2.convertScaleAbs(plane, alpha=255.0)
    else:
        np.clip(plane, 0, 1, out=plane)
        plane *= np.float32(full)
        plane += np.float32(0.5)
        whole = plane.astype(source.dtype)
    np.maximum(whole, np.minimum(source, 1), out=whole)
    np.minimum(whole, np.maximum(source, full - 1), out=whole)
    return whole


# --- planning -----------------------------------------------------------------------------------------------------------


def _gains(copy: Reduced, look: Look) -> Floats:
    if copy.colours.shape[2] == 1:
        return np.ones(1, np.float32)
    if float(chroma(copy.colours).mean()) < _GRAY / 4:
        return np.ones(3, np.float32)  # a gray picture in colour stays gray, whatever the style likes
    every_other = Reduced(
        np.ascontiguousarray(copy.colours[::2, ::2]), copy.weight[::2, ::2]
    )  # enough for a cast
    return balance.gains(balance.cast(every_other), look.balance) * balance.gains(-np.array(look.tint), 1.0)


def _prepared(colours: Floats, gains: Floats, haze: float) -> Floats:
    balanced = np.minimum(colours * gains, 1).astype(np.float64)
    clear: Floats = tone.without_haze(balanced, haze).astype(np.float32)
    return clear


def _levels(full: int, gains: Floats, haze: float) -> Floats:
    """What becomes of every sample that there can be: [colours, full + 1]."""
    samples = np.linspace(0, 1, full + 1)[:, None] * gains
    return np.ascontiguousarray(tone.without_haze(samples, haze).astype(np.float32).T)


def _colour(copy: Reduced, look: Look) -> float:
    """The factor of saturation: the style's, and more for a pale picture."""
    if copy.colours.shape[2] == 1:
        return 1.0
    mean = float((chroma(copy.colours) * copy.weight).sum() / max(float(copy.weight.sum()), 1e-9))
    if mean < _GRAY:
        return 1.0
    pale = min(max(_PALE / mean, 1.0), _MOST_COLOUR)
    return float(min(look.colour * (1 + (pale - 1) * look.repair * 0.6), 1.5))


def _surroundings(light: Floats, reach: int, margin: int) -> tuple[Floats, Floats]:
    """The guided filter of a picture by itself: slope and offset, [h, w + 2 margin]."""
    wrapped = np.concatenate([light[:, light.shape[1] - margin :], light, light[:, :margin]], axis=1)
    box: Callable[[Floats], Any] = partial(
        cv2.blur, ksize=(2 * reach + 1, 2 * reach + 1), borderType=cv2.BORDER_REFLECT_101
    )
    mean = box(wrapped)
    variance = np.maximum(box(wrapped * wrapped) - mean * mean, 0)
    slope = variance / (variance + _ALIKE)
    return box(slope), box(mean - slope * mean)


def _said(needed: tone.Tone, gains: Floats, changed: bool) -> str:
    """In words for the client: what was done."""
    if not changed:
        return "Nothing was found to improve; the picture is as it was."
    stops = 2.2 * np.log2(needed.bias * needed.scale)
    done = []
    if abs(stops) > 0.1:
        done.append(f"exposure {stops:+.1f} EV in the shadows and middle tones")
    if needed.haze > 0.005:
        done.append("black point set")
    if float(np.abs(gains - 1).max()) > 0.01:
        done.append("white balance " + ("cooler" if gains[0] < gains[-1] else "warmer"))
    if needed.lift > 0.05:
        done.append("shadows opened")
    if needed.contrast > 0.02 or needed.clarity > 0.02:
        done.append("contrast")
    return (", ".join(done) or "small corrections").capitalize() + "."
