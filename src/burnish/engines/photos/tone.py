"""Curves: what becomes of each brightness. Every one is monotone, and leads 0 to 0 and 1 to 1, so that nothing is clipped.

Called by `enhance`. Arguments and results are encoded samples from 0 to 1, as numbers or arrays.
"""

from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from burnish.engines.photos.look import Look
from burnish.engines.photos.reduced import Floats, percentiles

#: Numbers or arrays of them.
Curve = Any

#: Where black and white are put in a picture whose range, between all but a few pixels, is short: all of it below the first of
#: `_RANGE`, nothing above the second.
_BLACK: Final = 0.04
_WHITE: Final = 0.89
_RANGE: Final = (0.58, 0.68)
#: Below this there is only a plain surface, of which nothing is to be told.
_PLAIN: Final = 0.02
#: A dark picture with bright lights in it is a night, or a room with windows, and is not made a day: from here to there, as the
#: distance from its middle to its lights, ever less is done.
_NIGHT: Final = (0.46, 0.56)
#: With this part of a picture burnt to white it was exposed too long, and its middle is brought down to `_BURNT_BRIGHT`.
_BURNT: Final = (0.03, 0.12)
_BURNT_BRIGHT: Final = 0.48
#: Contrast is low, as the distance of all but a twentieth at both ends.
_FLAT: Final = (0.25, 0.42)
#: The most that is taken off as haze, and the most that exposure is multiplied or divided by.
_MOST_HAZE: Final = 0.30
#: From here to there, what is taken off is a veil.
_VEIL: Final = (0.05, 0.10)
_MOST_GAIN: Final = 2.6
#: Where a scaled curve leaves its line towards white.
_KNEE: Final = 0.88
#: What is left, at least, of a brightness and of its distance from white.
_KEPT: Final = 0.2
#: From here to there, in shares of a picture, shadows and highlights come to count.
_SOME: Final = (0.05, 0.45)


@dataclass(frozen=True)
class Tone:
    """What is done to brightness. `haze` is taken off every sample; then comes `scale`, towards white; then `bias`, exposure as
    the slope at black; `lift`, `hold`, `contrast` and `clarity` as in `Look`, as much as this picture needs.
    """

    haze: float
    scale: float
    bias: float
    lift: float
    hold: float
    contrast: float
    clarity: float


UNTOUCHED: Final = Tone(0.0, 1.0, 1.0, 0.0, 0.0, 0.0, 0.0)


def tone_of(luma: Floats, weight: Floats, look: Look) -> Tone:
    """What a picture with this brightness needs."""
    dark, low, middle, high, light = percentiles(luma, weight, (0.3, 5, 50, 95, 99.7))
    if high - low < _PLAIN:
        return UNTOUCHED
    total = max(float(weight.sum()), 1e-9)
    range_missing = 1 - step(light - dark, *_RANGE)
    haze = min(max(dark - _BLACK, 0.0), _MOST_HAZE) * look.repair * range_missing
    mean = float((luma * weight).sum()) / total
    wide = max(_WHITE / max(float(without_haze(light, haze)), 0.25), 1.0) - 1
    scale = 1 + wide * look.repair * range_missing
    # A veil brightens: without it a picture is no brighter than it was.
    no_brighter = max((middle + mean) / float(without_haze(middle, haze) + without_haze(mean, haze)), 1.0)
    scale += (min(scale, no_brighter) - scale) * step(haze, *_VEIL)

    def so_far(value: float) -> float:
        return float(scaled(without_haze(value, haze), scale))

    centre = (so_far(middle) + so_far(mean)) / 2
    burnt = step(float(weight[luma > 0.98].sum()) / total, *_BURNT)
    night = step(so_far(light) - centre, *_NIGHT)
    wanted = min(
        max(centre, look.dark),
        look.bright + (min(_BURNT_BRIGHT, look.bright) - look.bright) * burnt * look.repair,
    )
    if wanted > centre:
        wanted = centre + (wanted - centre) * (1 - night)
    bias = _bias(centre, wanted)
    bent = biased(scaled(without_haze(luma.astype(np.float64), haze), scale), bias)
    shadows = step(float(weight[bent < 0.22].sum()) / total, *_SOME)
    lights = step(float(weight[bent > 0.82].sum()) / total, *_SOME)
    spread = float(biased(so_far(high), bias) - biased(so_far(low), bias))
    flat = (1 - step(spread, *_FLAT)) * (1 - night)
    return Tone(
        haze=haze,
        scale=scale,
        bias=bias,
        lift=look.lift * (0.35 + 0.65 * shadows),
        hold=look.hold * lights,
        contrast=look.contrast * (0.5 + 0.5 * flat) + 0.25 * flat * look.repair,
        clarity=look.clarity + 0.2 * flat * look.repair,
    )


def without_haze(values: Curve, haze: float) -> Curve:
    """`haze` taken off, and the rest stretched; below twice of it ever less is taken, so that nothing becomes black."""
    if haze <= 0:
        return values
    taken = np.where(values < 2 * haze, values**2 / (4 * haze), values - haze)
    return taken / (1 - haze)


def scaled(values: Curve, scale: float) -> Curve:
    """`scale` times, along a line as far as `_KNEE`, and from there ever less."""
    if scale <= 1:
        return values
    start = _KNEE / scale
    beyond = np.clip((values - start) / (1 - start), 0, 1)
    return np.where(
        values < start,
        values * scale,
        _KNEE + (1 - _KNEE) * biased(beyond, scale * (1 - start) / (1 - _KNEE)),
    )


def biased(values: Curve, bias: float) -> Curve:
    """`bias` times at black, ever less towards white (Schlick's bias, 1994)."""
    return values * bias / (1 + (bias - 1) * values)


def curve(tone: Tone, values: Curve) -> Curve:
    """What becomes of brightness over a wide area, once haze is off."""
    bent = biased(scaled(values, tone.scale), tone.bias)
    bent = bent + tone.lift * bent * (1 - bent) ** 5
    bent = bent - tone.hold * bent**5 * (1 - bent)
    s = bent * bent * (3 - 2 * bent)
    return bent + tone.contrast * (s - bent)


def table(tone: Tone, bases: int, lumas: int) -> Floats:
    """Factors, [bases, lumas], for a pixel of some brightness in surroundings of another.

    The surroundings follow the curve; what a pixel differs from them is kept in proportion and made more by clarity, which is
    nothing at black and at white.
    """
    base, luma = np.linspace(0, 1, bases)[:, None], np.linspace(0, 1, lumas)[None]
    base, luma = np.maximum(base, 1e-4), np.maximum(luma, 1e-4)
    bent = curve(tone, base)
    slope = (curve(tone, base + 1e-4) - curve(tone, base - 1e-4)) / 2e-4
    keep = np.sqrt(np.clip(slope, 0.25, 3) * np.clip(bent / base, 0.25, 3)) * (
        1 + tone.clarity * 4 * base * (1 - base)
    )
    made = bent + (luma - base) * keep
    made = np.clip(made, luma * _KEPT, 1 - (1 - luma) * _KEPT)
    factors: Floats = np.clip(made / luma, 0, 4).astype(np.float32)
    return factors


def _bias(now: float, wanted: float) -> float:
    """The bias that brings `now` to `wanted`, within limits."""
    if abs(wanted - now) < 1e-3:
        return 1.0
    now, wanted = min(max(now, 0.01), 0.99), min(max(wanted, 0.01), 0.99)
    return float(np.clip(wanted * (1 - now) / (now * (1 - wanted)), 1 / _MOST_GAIN, _MOST_GAIN))


def step(value: float, start: float, end: float) -> float:
    """0 below `start`, 1 above `end`, and smooth between them."""
    part = min(max((value - start) / (end - start), 0.0), 1.0)
    return part * part * (3 - 2 * part)
