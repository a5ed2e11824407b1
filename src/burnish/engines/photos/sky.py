"""The sky of a photo: where it is, and another one in its place.

Found classically: what is smooth and reaches the top edge, in the colours of skies (blue, or brighter than all that is
below); then sorted by its colours against the rest (GrabCut, Rother and others 2004), so that clouds come along; then led to
the edges of trees and roofs by a guided filter in colour (He, Sun and Tang 2010), which gives each pixel's share of sky.
Where that is not sure of itself, there is no sky: a white ceiling is not to become a cloud.

Replaced by what it makes of each pixel: the old sky's light is taken out of a mixed pixel in its share, and the new one's put
in. So twigs keep their own colour and have no fringe.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

import cv2
import numpy as np
from numpy.typing import NDArray

from burnish.engines.photos import skies
from burnish.engines.photos.around import enlarged, joined, widened
from burnish.engines.photos.skies import Kind

Float = NDArray[Any]
Mask = NDArray[Any]

NO_SKY: Final = "No sky was found that could be told from the rest; the picture is as it was."

#: Pixels of the copies on which the sky is sorted out, its edge is led, and the new one is made.
_SORT_PIXELS: Final = 110_000
_EDGE_PIXELS: Final = 1_000_000
_NEW_PIXELS: Final = 420_000
_STRIP_PIXELS: Final = 500_000

#: Of the picture that must be sky, and of its top edge.
_LEAST_AREA: Final = 0.03
_LEAST_TOP: Final = 0.12
#: A sky that is gray or white is believed where what is below has at most this part of its light.
_DARKER_BELOW: Final = 0.74
#: A night sky is not told from what stands before it.
_DARK: Final = 0.25
#: Things that may hang in the air.
_MOST_THINGS: Final = 14
#: Memory beside the picture and its result, in bytes a pixel of it, and once.
BYTES_PER_PIXEL: Final = 2
FIXED_BYTES: Final = 320 * 1024 * 1024


@dataclass
class Sky:
    """A sky that was found. `share`: how much of each place is sky, 0 to 1, small; `slopes`, `offset`: the same from a
    pixel's own colours, `slopes . colour + offset`, small; `light`: the old sky's colour, behind all that stands before it.
    `panorama`: its left and right edge are one.
    """

    share: Float
    slopes: Float
    offset: Float
    light: Float
    panorama: bool = False

    @property
    def horizon(self) -> float:
        """The lowest row that is sky, of 1."""
        rows = np.flatnonzero((self.share > 0.5).mean(1) > 0.01)
        return float((rows[-1] + 1) / len(self.share)) if len(rows) else 1.0


def replace_sky(
    rgb: Float, kind: Kind, seed: int, within: Float | None = None, *, panorama: bool = False
) -> tuple[Float, str]:
    """The picture with another sky, and what is to be said of it: "" where all went well.

    Args:
        rgb: float32 [H, W, 3], 0 to 1, in the display's levels; it is not changed.
        kind: which sky.
        seed: the same one gives the same sky.
        within: [h, w] of any size, 0 to 1: only there, as through a window, whose top edge then is the edge that counts.
        panorama: it goes all the way round (equirectangular), and so does the new sky.
    """
    found = find(rgb, within, panorama=panorama)
    if found is None:
        return rgb, NO_SKY
    made = np.empty_like(rgb)
    for _ in paint(rgb, found, kind, seed, made):
        pass
    return made, ""


# --- finding ----------------------------------------------------------------------------------------------------------


def find(rgb: Float, within: Float | None = None, *, panorama: bool = False) -> Sky | None:
    """The sky of a picture, float32 [H, W, 3], or None. `panorama`: left and right edge are one."""
    small = _copy(rgb, _SORT_PIXELS)
    room = None if within is None else _fit(within, small) > 0.5
    margin = small.shape[1] // 4 if panorama else 0
    wide, wide_room = widened(small, margin), None if room is None else widened(room, margin)
    seeds = _seeds(wide, wide_room)
    if seeds is None:
        return None
    sorted_ = _sorted(wide, seeds, wide_room)
    if sorted_ is None:
        return None
    sky = joined(sorted_.astype(np.float32), margin)
    if not _believed(small, sky > 0.5, room):
        return None
    edge = _copy(rgb, _EDGE_PIXELS)
    margin = edge.shape[1] // 8 if panorama else 0
    hard = (_fit(sky, edge) > 0.5).astype(np.float32)
    within = None if within is None else widened(_fit(within, edge), margin)
    share, slopes, offset, light = (
        joined(plane, margin) for plane in _led(widened(edge, margin), widened(hard, margin), within)
    )
    return Sky(share, slopes, offset, light, panorama)


def _copy(rgb: Float, pixels: int) -> Float:
    height, width = rgb.shape[:2]
    factor = min(1.0, (pixels / (height * width)) ** 0.5)
    size = (max(1, round(width * factor)), max(1, round(height * factor)))
    return np.clip(cv2.resize(rgb, size, interpolation=cv2.INTER_AREA), 0, 1)


def _fit(plane: Float, like: Float) -> Float:
    return cv2.resize(plane.astype(np.float32), like.shape[1::-1], interpolation=cv2.INTER_LINEAR)


def _seeds(small: Float, room: Mask | None) -> Mask | None:
    """What is sky almost for certain: smooth, of a sky's colour, in one piece with the top edge (of the room)."""
    luma = cv2.cvtColor(small, cv2.COLOR_RGB2GRAY)
    blurred = cv2.GaussianBlur(luma, (0, 0), 1.2)
    steep = cv2.magnitude(
        cv2.Sobel(blurred, cv2.CV_32F, 1, 0, scale=0.125), cv2.Sobel(blurred, cv2.CV_32F, 0, 1, scale=0.125)
    )
    smooth = cv2.blur(steep, (5, 5)) < 0.02
    red, green, blue = cv2.split(small)
    bluish = (blue > red + 0.03) & (blue > green - 0.01)
    bright = luma > max(0.5, 0.75 * float(np.percentile(luma if room is None else luma[room], 95)))
    pale = (
        bright
        & (blue > red - 0.06)
        & (cv2.max(cv2.max(red, green), blue) - cv2.min(cv2.min(red, green), blue) < 0.22)
    )
    maybe = smooth & (bluish | pale)
    if room is not None:
        maybe &= room
    count, labels = cv2.connectedComponents(maybe.astype(np.uint8))
    top = _top_edge(labels.shape, room)
    touching = np.bincount(labels[top], minlength=count)
    touching[0] = 0
    size = np.bincount(labels.ravel(), minlength=count)
    kept = (touching >= max(3, 0.02 * top.sum())) & (size >= 0.004 * labels.size)
    if room is not None:
        kept |= (size >= 0.02 * room.sum()) & (touching > 0)
    kept[0] = False
    if not kept.any():
        return None
    seeds: Mask = _joined(small, labels, kept, size, steep, bluish, panes=room is not None)
    return seeds


def _joined(
    small: Float, labels: Mask, kept: Mask, size: Mask, steep: Float, bluish: Mask, *, panes: bool
) -> Mask:
    """The kept pieces, and those that go with them: sky cut off by a tree, of the colour that sky has in those rows; and
    clouds, which end softly, or have blue below them. A white wall has neither.
    """
    seeds = kept[labels]
    lowest = int(np.flatnonzero(seeds.any(1))[-1])
    share = seeds.mean(1)
    rows = np.stack([(small[..., c] * seeds).mean(1) / np.maximum(share, 1e-6) for c in range(3)], axis=-1)
    known = share > 0.02
    every = np.arange(len(rows))
    like = np.stack([np.interp(every, every[known], rows[known, c]) for c in range(3)], axis=-1)
    far = np.abs(small - like[:, None]).max(2)
    blue = bluish & (labels > 0) & (far < 0.22)
    blue_below = np.flip(np.cumsum(np.flip(blue, 0), 0), 0) > 2
    for _ in range(3):  # a cloud may lie behind a cloud
        near = cv2.dilate(seeds.astype(np.uint8), np.ones((17, 17), np.uint8)) > 0
        before = kept.copy()
        for piece in np.flatnonzero((size >= 0.0015 * labels.size) & ~kept)[:60]:
            inside = labels == piece
            if not piece:
                continue
            # The panes of a window's lower row hang together with nothing.
            above = panes or np.flatnonzero(inside.any(1))[-1] <= lowest + 0.04 * len(rows)
            border = (
                near & (cv2.dilate(inside.astype(np.uint8), np.ones((9, 9), np.uint8)) > 0) & ~inside & ~seeds
            )
            soft = border.any() and float(np.percentile(steep[border], 75)) < 0.035
            between = blue_below[inside].mean() > 0.2 or blue[inside].mean() > 0.8
            if (above and float(np.median(far[inside])) < (0.1 if panes else 0.05)) or (
                near[inside].any() and (soft or between)
            ):
                kept[piece] = True
        seeds = kept[labels]
        if (kept == before).all():
            break
    return seeds


def _top_edge(shape: tuple[int, ...], room: Mask | None) -> Mask:
    top = np.zeros(shape, bool)
    if room is None:
        top[:2] = True
        return top
    first = room.argmax(0)
    for down in range(1, 5):  # a frame's shadow lies on the first rows
        rows = np.minimum(first + down, shape[0] - 1)
        top[rows, np.arange(shape[1])] = room.any(0)
    return top


def _sorted(small: Float, seeds: Mask, room: Mask | None) -> Mask | None:
    """Sky and the rest by their colours, from the seeds on; what is far from every seed stays what it is."""
    height, width = seeds.shape
    around = max(3, round(min(height, width) * 0.03)) | 1
    core = cv2.erode(seeds.astype(np.uint8), np.ones((3, 3), np.uint8))
    near = cv2.dilate(seeds.astype(np.uint8), np.ones((around, around), np.uint8))
    lowest = int(np.flatnonzero(seeds.any(1))[-1])
    above = np.zeros_like(core)
    above[: min(height, lowest + around)] = 1
    labels = np.full((height, width), cv2.GC_BGD, np.uint8)
    labels[(above > 0)] = cv2.GC_PR_BGD
    labels[near > 0] = cv2.GC_PR_BGD
    labels[seeds] = cv2.GC_PR_FGD
    labels[core > 0] = cv2.GC_FGD
    if room is not None:
        labels[~room] = cv2.GC_BGD
    if not (labels == cv2.GC_BGD).any() and not (labels == cv2.GC_PR_BGD).any():
        return None  # all of it is smooth and blue: a sheet of paper is as likely
    cv2.setRNGSeed(1)
    picture = cv2.convertScaleAbs(small, alpha=255)
    model = np.zeros((1, 65)), np.zeros((1, 65))
    cv2.grabCut(picture, labels, (0, 0, 1, 1), model[0], model[1], 3, cv2.GC_INIT_WITH_MASK)
    sky = (labels == cv2.GC_FGD) | (labels == cv2.GC_PR_FGD)
    # Holes in trees are sky where they are near some; a white car far below is not.
    count, parts = cv2.connectedComponents(sky.astype(np.uint8))
    kept = np.bincount(parts[near > 0], minlength=count) > 0
    kept[0] = False
    kept_sky: Mask = kept[parts]
    return kept_sky


def _believed(small: Float, sky: Mask, room: Mask | None) -> bool:
    """Whether this is a sky rather than a ceiling, a wall or a sheet of paper."""
    inside = np.ones(sky.shape, bool) if room is None else room
    area = sky.sum() / inside.sum()
    top = _top_edge(sky.shape, room)
    if area < _LEAST_AREA or (sky & top).sum() < _LEAST_TOP * top.sum() or area > 0.97:
        return False
    if _speckled(sky) or (room is None and sky[-2:].mean() > 0.3):
        return False  # print, or a thing laid on white
    rest = inside & ~sky
    luma = cv2.cvtColor(small, cv2.COLOR_RGB2GRAY)
    if float(luma[sky].mean()) < _DARK:
        return False
    red, _, blue = (float(small[..., channel][sky].mean()) for channel in range(3))
    if (
        room is not None
    ):  # what is bright at the top of a window, and was asked for, has no ceiling to be mistaken for
        return blue > red - 0.05 and float(luma[sky].mean()) > 0.55
    edge = cv2.dilate(sky.astype(np.uint8), np.ones((5, 5), np.uint8)).astype(bool) & rest
    step = float(np.median(np.abs(luma[edge] - luma[sky].mean()))) if edge.any() else 0.0
    if blue > red + 0.07:
        return step > 0.03
    return (
        blue > red - 0.03
        and float(luma[sky].mean()) > 0.6
        and float(np.median(luma[rest])) < _DARKER_BELOW * float(luma[sky].mean())
        and step > 0.12
    )


def _speckled(sky: Mask) -> bool:
    """Whether many small things lie in it with nothing to hold them: letters, not birds."""
    count, _, stats, _ = cv2.connectedComponentsWithStats((~sky).astype(np.uint8))
    floating = (stats[:, cv2.CC_STAT_AREA] < 0.01 * sky.size) & (stats[:, cv2.CC_STAT_AREA] >= 6)
    floating &= stats[:, cv2.CC_STAT_TOP] + stats[:, cv2.CC_STAT_HEIGHT] < len(sky)
    return count > _MOST_THINGS and int(floating[1:].sum()) > _MOST_THINGS


def _led(edge: Float, hard: Float, within: Float | None) -> tuple[Float, Float, Float, Float]:
    """The share of sky of each pixel: a guided filter in colour, round the border of `hard`, 0 or 1, only; and what else a
    `Sky` knows.
    """
    radius = max(2, round(min(edge.shape[:2]) * 0.012))
    slopes, offset = _linear(hard, edge, radius, 4e-4)
    share = _curve((slopes * edge).sum(2) + offset)
    window = (2 * radius + 1,) * 2
    sure = np.clip((cv2.blur(hard, window) - 0.03) / 0.04, 0, 1)  # nowhere near the border: none, or all
    full = np.clip((cv2.blur(hard, window) - 0.93) / 0.04, 0, 1)
    keep = sure * (1 - full)
    if within is not None:
        keep, full = keep * within, full * within
    share = keep * share + full
    light = _behind(edge, (share > 0.95).astype(np.float32))
    return share, slopes * keep[..., None], offset * keep + full, light


def _curve(share: Float) -> Float:
    """What is nearly all or nothing is all or nothing."""
    return np.clip((share - 0.08) / 0.84, 0, 1)


def _linear(mask: Float, guide: Float, radius: int, epsilon: float) -> tuple[Float, Float]:
    """The mask as a linear function of the guide's colours in each window: slopes [H, W, 3] and offset [H, W]."""
    window = (2 * radius + 1,) * 2

    def mean(plane: Float) -> Float:
        return cv2.blur(plane, window)

    planes = cv2.split(guide)
    means = [mean(plane) for plane in planes]
    mean_mask = mean(mask)
    with_mask = np.stack(
        [mean(p * mask) - m * mean_mask for p, m in zip(planes, means, strict=True)], axis=-1
    )
    spread = np.empty((*mask.shape, 3, 3), np.float32)
    for i in range(3):
        for j in range(i, 3):
            both = mean(planes[i] * planes[j]) - means[i] * means[j]
            spread[..., i, j] = spread[..., j, i] = both + (epsilon if i == j else 0.0)
    slopes = _solved(spread, with_mask)
    offset = mean_mask - sum(slopes[..., c] * means[c] for c in range(3))
    return cv2.blur(slopes, window), cv2.blur(offset, window)


def _solved(matrix: Float, right: Float) -> Float:
    """X of `matrix x = right` for symmetric 3 x 3 matrices, by cofactors: [H, W, 3, 3], [H, W, 3] -> [H, W, 3]."""
    a, b, c = matrix[..., 0, 0], matrix[..., 0, 1], matrix[..., 0, 2]
    d, e, f = matrix[..., 1, 1], matrix[..., 1, 2], matrix[..., 2, 2]
    inverse = [d * f - e * e, c * e - b * f, b * e - c * d, a * f - c * c, b * c - a * e, a * d - b * b]
    size = np.maximum(a * inverse[0] + b * inverse[1] + c * inverse[2], 1e-20)
    x, y, z = right[..., 0], right[..., 1], right[..., 2]
    return np.stack(
        [
            (inverse[0] * x + inverse[1] * y + inverse[2] * z) / size,
            (inverse[1] * x + inverse[3] * y + inverse[4] * z) / size,
            (inverse[2] * x + inverse[4] * y + inverse[5] * z) / size,
        ],
        axis=-1,
    ).astype(np.float32)


def _behind(picture: Float, sky: Float) -> Float:
    """The sky's colour, flown from where it is seen to where something stands before it: a pyramid, filled upwards."""
    levels = [(picture * sky[..., None], sky)]
    while min(levels[-1][1].shape) > 2:
        colours, weight = levels[-1]
        levels.append((cv2.pyrDown(colours), cv2.pyrDown(weight)))
    total = np.maximum(levels[-1][1], 1e-6)
    filled: Float = levels[-1][0] / total[..., None]
    for colours, weight in reversed(levels[:-1]):
        filled = cv2.resize(filled, weight.shape[::-1], interpolation=cv2.INTER_LINEAR)
        own = np.clip(weight * 4, 0, 1)[..., None]
        filled += own * (colours / np.maximum(weight, 1e-6)[..., None] - filled)
    return filled.astype(np.float32)


# --- replacing --------------------------------------------------------------------------------------------------------


def paint(rgb: Float, found: Sky, kind: Kind, seed: int, made: Float) -> Iterator[float]:
    """Fill `made` with the picture under another sky; yields the part that is done. Both float32 [H, W, 3], 0 to 1."""
    height, width = rgb.shape[:2]
    new = _matched(_new(found, kind, seed, height, width), found)
    margin = 2 if found.panorama else 0
    planes = [widened(plane, margin) for plane in (found.slopes, found.offset, found.light, new)]
    at = {"height": height, "width": width, "margin": margin}
    grain = np.random.default_rng(seed).uniform(-0.5, 0.5, (256, width, 1)).astype(np.float32) / 255
    rows = max(1, min(height, _STRIP_PIXELS // width, 256))
    for top in range(0, height, rows):
        bottom = min(top + rows, height)
        strip = rgb[top:bottom]
        slopes, offset = (enlarged(plane, top, bottom, **at) for plane in planes[:2])
        share = _curve(
            cv2.transform(slopes * strip, np.ones((1, 3), np.float32)).reshape(offset.shape) + offset
        )
        if not share.any():
            made[top:bottom] = strip
            yield bottom / height
            continue
        share = share[..., None]
        old, sky = (enlarged(plane, top, bottom, **at) for plane in planes[2:])
        own = np.clip(strip - share * old, 0, 1 - share)
        made[top:bottom] = own + share * (sky + grain[: bottom - top])
        yield bottom / height


def _new(found: Sky, kind: Kind, seed: int, height: int, width: int) -> Float:
    pixels = _NEW_PIXELS * (2 if found.panorama else 1)  # of a panorama the lower half is below the horizon
    factor = min(1.0, (pixels / (height * width)) ** 0.5)
    rows, columns = max(2, round(height * factor)), max(2, round(width * factor))
    if found.panorama:
        return skies.sky_around(kind, rows, columns, max(found.horizon, 0.5) * rows, seed)
    horizon = max(found.horizon * 1.04, 0.3) * rows
    return skies.sky(kind, rows, columns, horizon, seed)


def _matched(new: Float, found: Sky) -> Float:
    """The new sky in the light of the old one: as bright as goes with it, and paling into its colour at the horizon."""
    sky = found.share > 0.9
    old = found.light[sky].mean(0) if sky.any() else found.light.mean((0, 1))
    was, is_ = float(old.mean()), float(new.mean())
    gain = np.clip((0.45 * was + 0.55 * is_) / is_, 0.35, 1.2)
    bright = new * gain if gain < 1 else 1 - (1 - new) ** gain
    rows = np.linspace(0, 1, len(new), dtype=np.float32)[:, None, None]
    low = np.clip((rows - 0.55 * found.horizon) / max(0.45 * found.horizon, 1e-3), 0, 1) ** 2
    haze = cv2.resize(found.light, new.shape[1::-1], interpolation=cv2.INTER_AREA)
    reach = len(new) // 8
    margin = min(reach, new.shape[1]) if found.panorama else 0
    haze = cv2.blur(widened(haze, margin), (reach * 2 + 1,) * 2)[:, margin : margin + new.shape[1]]
    blended: Float = bright + 0.3 * low * (haze - bright)
    return blended.astype(np.float32)
