"""Skies made by computation: clear, with low clouds, with high clouds. The same seed gives the same sky.

A camera that looks a little up sees a plane of clouds. Their shapes are noise whose power falls with frequency as that of
real clouds does (made in the Fourier domain, so that it can be tiled); low clouds are marched through as a slab with flat
bottoms and lit tops, high ones are a thin sheet combed by wind. Below and behind: blue that pales towards the horizon and
towards the sun.
"""

from typing import Any, Final, Literal

import cv2
import numpy as np
from numpy import fft
from numpy.typing import NDArray

from burnish.engines.photos.around import widened

Float = NDArray[Any]
Kind = Literal["clear", "low_cloud", "high_cloud"]

#: Tangent of the angle between the horizon and the top of the picture.
_UP: Final = 0.9
#: Clouds end in haze at this tangent above the horizon.
_LOWEST: Final = 0.035
#: How high the sun stands where all is seen.
_SUN: Final = 0.9
_TILE: Final = 1024
#: Cloud layers' height to which a tile of noise stretches.
_TILE_SPAN: Final = 26.0
_SLICES: Final = 26

_ZENITH: Final = np.array([0.20, 0.40, 0.70], np.float32)
_MIDDLE: Final = np.array([0.42, 0.61, 0.84], np.float32)
_HORIZON: Final = np.array([0.76, 0.84, 0.90], np.float32)
_GLOW: Final = np.array([1.0, 0.97, 0.90], np.float32)


def sky(kind: Kind, height: int, width: int, horizon: float, seed: int) -> Float:
    """A sky, [height, width, 3], 0 to 1, in the display's levels; `horizon`: its row, may be below the picture."""
    rng = np.random.default_rng(np.random.PCG64(seed))
    sun = float(rng.uniform(0.1, 0.9))
    rows = np.arange(height, dtype=np.float32)[:, None]
    slope = np.maximum((horizon - rows) / max(horizon, 1.0) * _UP, 0.0)
    across = (np.arange(width, dtype=np.float32)[None, :] - width / 2) * np.float32(_UP / max(horizon, 1.0))
    to_sun = (sun - 0.5) * width * _UP / max(horizon, 1.0)
    up = np.clip(slope / _UP, 0, 1)
    air = _air(up, np.exp(-(((across - to_sun) / 0.75) ** 2) - ((slope - 1.25) / 0.7) ** 2))
    if kind == "clear":
        return air
    slope = np.broadcast_to(np.maximum(slope, _LOWEST), (height, width))
    away, toward_sun = across / slope, ((sun - 0.5) * 0.9, -0.35)
    return _clouded(air, kind, rng, slope, (away, 1.0 / slope), toward_sun, margin=0)


def sky_around(kind: Kind, height: int, width: int, horizon: float, seed: int) -> Float:
    """A sky all the way round, for an equirectangular panorama: its top row is the zenith, its edges meet. `horizon`: its row,
    of a whole sphere half the height.
    """
    rng = np.random.default_rng(np.random.PCG64(seed))
    sun = float(rng.uniform(0, 2 * np.pi))
    rows = np.arange(height, dtype=np.float32)[:, None] + 0.5
    elevation = (1 - rows / horizon) * np.float32(np.pi / 2)
    azimuth = (np.arange(width, dtype=np.float32)[None, :] + 0.5) * np.float32(2 * np.pi / width)
    slope = np.tan(np.maximum(elevation, 0))
    to_sun = np.sin(elevation) * np.sin(_SUN) + np.cos(elevation) * np.cos(_SUN) * np.cos(azimuth - sun)
    air = _air(1 - np.exp(-1.6 * slope), np.exp(-((np.arccos(np.clip(to_sun, -1, 1)) / 0.65) ** 2)))
    above = min(height, round(horizon))
    if kind == "clear" or not above:
        return air
    slope = np.broadcast_to(np.maximum(slope[:above], _LOWEST), (above, width))
    places = np.sin(azimuth) / slope, np.cos(azimuth) / slope
    toward_sun = 0.55 * float(np.sin(sun)), 0.55 * float(np.cos(sun))
    air[:above] = _clouded(air[:above], kind, rng, slope, places, toward_sun, margin=min(4, width))
    for row in range(
        above // 5
    ):  # a row is a circle, near the zenith one of a few pixels, drawn out to the whole width
        reach = min(round(0.7 / np.sin((row + 0.5) / horizon * np.pi / 2)), width - 1)
        wide = widened(air[row : row + 1], reach)
        air[row] = cv2.blur(wide, (2 * reach + 1, 1))[0, reach : reach + width]
    return air


def _clouded(
    air: Float,
    kind: Kind,
    rng: np.random.Generator,
    slope: Float,
    places: tuple[Float, Float],
    toward_sun: tuple[float, float],
    *,
    margin: int,
) -> Float:
    """`air` with clouds before it. `slope`: tangent above the horizon; `places`: of a plane at height 1, to the right and
    away; `margin`: columns by which one edge sees the other.
    """
    if kind == "low_cloud":
        colour, opacity = _low(rng, slope, places, toward_sun, margin)
    else:
        colour, opacity = _high(rng, places)
    far = np.clip((slope - _LOWEST) / 0.16, 0, 1)
    opacity = opacity * far * far * (3 - 2 * far)
    air += opacity[..., None] * (colour - air)
    return air


def _air(up: Float, near: Float) -> Float:
    """Blue between clouds: from the horizon's haze (`up` 0) to the zenith (1), brighter round the sun, which stands above a
    photo's frame; `near`: how near it is, 0 to 1.
    """
    up = up[..., None]
    low = 1 - np.exp(-up * 4.5)
    high = up**1.2
    air = _HORIZON + low * (_MIDDLE - _HORIZON) + low * high * (_ZENITH - _MIDDLE)
    lit: Float = (air + 0.42 * near[..., None] * (_GLOW - air)).astype(np.float32)
    return lit


def _noise(rng: np.random.Generator, fall: float, stretch: float = 1.0, least: float = 2.5) -> Float:
    """Tileable noise whose power falls as frequency to the `-2 fall`, mean 0, deviation 1; [_TILE, _TILE].

    `stretch`: how many times longer than wide. `least`: the lowest frequency, in waves to a tile.
    """
    down = fft.fftfreq(_TILE)[:, None] * _TILE
    right = fft.rfftfreq(_TILE)[None, :] * _TILE
    distance = np.maximum(np.hypot(down, right * stretch), 1.0)
    shape = distance**-fall * (distance >= least)
    phases = fft.rfft2(rng.standard_normal((_TILE, _TILE)))
    made = fft.irfft2(phases * shape, (_TILE, _TILE))
    noise: Float = ((made - made.mean()) / made.std()).astype(np.float32)
    return noise


def _at(noise: Float, x: Float, y: Float) -> Float:
    """The noise at places of the plane, in layers' heights."""
    scale = np.float32(_TILE / _TILE_SPAN)
    column, row = np.mod(x * scale, _TILE), np.mod(y * scale, _TILE)
    return cv2.remap(
        noise,
        np.ascontiguousarray(column, np.float32),
        np.ascontiguousarray(row, np.float32),
        cv2.INTER_LINEAR,
        borderMode=cv2.BORDER_WRAP,
    )


def _low(
    rng: np.random.Generator,
    slope: Float,
    places: tuple[Float, Float],
    toward_sun: tuple[float, float],
    margin: int,
) -> tuple[Float, Float]:
    """Heaps with flat bottoms: a height for each place of the plane, marched through from below."""
    heap, detail = _noise(rng, 1.9, least=6.0), _noise(rng, 1.22)
    shift = rng.uniform(0, _TILE_SPAN, 2)
    # Each pixel's march begins a random part of a slice further on: slices dissolve in grain, which is then smoothed.
    begun = rng.uniform(0, 1, slope.shape).astype(np.float32)
    threshold, tallest = 0.38, 0.46
    left: Float = np.ones(slope.shape, np.float32)
    light: Float = np.zeros(slope.shape, np.float32)
    (away, near), distance = places, 1.0 / slope
    for number in range(_SLICES):
        above = (number + begun) * np.float32(tallest / _SLICES)
        x, y = away * (1 + above) + shift[0], near * (1 + above) + shift[1]
        # Detail is another at every height, or else every hump would be drawn up into a tip.
        rough = _at(detail, x * 1.7 + above * 1.3, y * 1.7 - above * 1.9)
        tall = tallest * np.tanh((_at(heap, x, y) - threshold) * np.float32(0.5 / tallest)) + 0.09 * rough
        inside = np.clip((tall - above) * 9.0, 0, 1)
        thick = 1 - np.exp(-inside * np.float32(11.0 / _SLICES) * (1 + np.minimum(distance, 6) * 0.3))
        # Light comes from above and from the sun's side; what lies deep below the top, or behind more cloud, has less.
        toward = (_at(heap, x + np.float32(toward_sun[0]), y + np.float32(toward_sun[1])) - threshold) * 0.42
        lit = 0.42 + 0.85 * above / tallest + 0.8 * (tall - toward) - 0.75 * np.clip(tall - above, 0, 0.6)
        light += left * thick * np.clip(lit, 0, 1)
        left *= 1 - thick
    left, light = _smooth(left, margin), _smooth(light, margin)
    opacity = 1 - left
    light = light / np.maximum(opacity, 1e-3)
    shadow, bright = np.array([0.62, 0.67, 0.75], np.float32), np.array([0.99, 0.985, 0.97], np.float32)
    colour = shadow + np.clip(light, 0, 1)[..., None] ** 0.9 * (bright - shadow)
    return colour.astype(np.float32), opacity


def _smooth(plane: Float, margin: int) -> Float:
    smooth: Float = cv2.GaussianBlur(widened(plane, margin), (0, 0), 0.9)
    return smooth[:, margin : margin + plane.shape[1]]


def _high(rng: np.random.Generator, places: tuple[Float, Float]) -> tuple[Float, Float]:
    """Thin fibres, combed by wind and bent by a slow field."""
    fibre, field = _noise(rng, 1.45, stretch=5.0), _noise(rng, 2.2)
    shift, turn = rng.uniform(0, _TILE_SPAN, 2), rng.uniform(-0.9, 0.9)
    away, near = places[0] * 1.6, places[1] * 1.6
    along, beside = away * np.cos(turn) - near * np.sin(turn), away * np.sin(turn) + near * np.cos(turn)
    bent = _at(field, along * 0.5 + shift[0], beside * 0.5 + shift[1])
    x, y = along + 0.55 * bent + shift[0], beside + 0.35 * bent + shift[1]
    wisps = _at(fibre, x, y) + 0.45 * _at(fibre, x * 2.3, y * 2.3)
    patches = _at(field, along * 0.8 + shift[1], beside * 0.8 + shift[0])
    density = np.clip(0.30 * wisps + 0.42 * patches + 0.12, 0, None)
    opacity = 0.78 * (1 - np.exp(-1.5 * density))
    colour = np.broadcast_to(np.array([0.965, 0.97, 0.98], np.float32), (*near.shape, 3))
    return colour, opacity.astype(np.float32)
