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

Float = NDArray[Any]
Kind = Literal["clear", "low_cloud", "high_cloud"]

#: Tangent of the angle between the horizon and the top of the picture.
_UP: Final = 0.9
#: Clouds end in haze at this tangent above the horizon.
_LOWEST: Final = 0.035
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
    air = _air(slope, across, (sun - 0.5) * width * _UP / max(horizon, 1.0))
    if kind == "clear":
        return air
    slope = np.broadcast_to(np.maximum(slope, _LOWEST), (height, width))
    cover = _low(rng, slope, across, sun) if kind == "low_cloud" else _high(rng, slope, across)
    colour, opacity = cover
    far = np.clip((slope - _LOWEST) / 0.16, 0, 1)
    opacity = opacity * far * far * (3 - 2 * far)
    air += opacity[..., None] * (colour - air)
    return air


def _air(slope: Float, across: Float, sun: float) -> Float:
    """Blue between clouds: from the horizon's haze to the zenith, brighter round the sun, which stands above the frame."""
    up = np.clip(slope / _UP, 0, 1)[..., None]
    low = 1 - np.exp(-up * 4.5)
    high = up**1.2
    air = _HORIZON + low * (_MIDDLE - _HORIZON) + low * high * (_ZENITH - _MIDDLE)
    near = np.exp(-(((across - sun) / 0.75) ** 2) - ((slope - 1.25) / 0.7) ** 2)[..., None]
    lit: Float = (air + 0.42 * near * (_GLOW - air)).astype(np.float32)
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


def _low(rng: np.random.Generator, slope: Float, across: Float, sun: float) -> tuple[Float, Float]:
    """Heaps with flat bottoms: a height for each place of the plane, marched through from below."""
    heap, detail = _noise(rng, 1.9, least=6.0), _noise(rng, 1.22)
    shift = rng.uniform(0, _TILE_SPAN, 2)
    # Each pixel's march begins a random part of a slice further on: slices dissolve in grain, which is then smoothed.
    begun = rng.uniform(0, 1, slope.shape).astype(np.float32)
    threshold, tallest = 0.38, 0.46
    left: Float = np.ones(slope.shape, np.float32)
    light: Float = np.zeros(slope.shape, np.float32)
    near, away = 1.0 / slope, across / slope
    for number in range(_SLICES):
        above = (number + begun) * np.float32(tallest / _SLICES)
        x, y = away * (1 + above) + shift[0], near * (1 + above) + shift[1]
        # Detail is another at every height, or else every hump would be drawn up into a tip.
        rough = _at(detail, x * 1.7 + above * 1.3, y * 1.7 - above * 1.9)
        tall = tallest * np.tanh((_at(heap, x, y) - threshold) * np.float32(0.5 / tallest)) + 0.09 * rough
        inside = np.clip((tall - above) * 9.0, 0, 1)
        thick = 1 - np.exp(-inside * np.float32(11.0 / _SLICES) * (1 + np.minimum(near, 6) * 0.3))
        # Light comes from above and from the sun's side; what lies deep below the top, or behind more cloud, has less.
        toward = (_at(heap, x + np.float32((sun - 0.5) * 0.9), y - np.float32(0.35)) - threshold) * 0.42
        lit = 0.42 + 0.85 * above / tallest + 0.8 * (tall - toward) - 0.75 * np.clip(tall - above, 0, 0.6)
        light += left * thick * np.clip(lit, 0, 1)
        left *= 1 - thick
    left, light = cv2.GaussianBlur(left, (0, 0), 0.9), cv2.GaussianBlur(light, (0, 0), 0.9)
    opacity = 1 - left
    light = light / np.maximum(opacity, 1e-3)
    shadow, bright = np.array([0.62, 0.67, 0.75], np.float32), np.array([0.99, 0.985, 0.97], np.float32)
    colour = shadow + np.clip(light, 0, 1)[..., None] ** 0.9 * (bright - shadow)
    return colour.astype(np.float32), opacity


def _high(rng: np.random.Generator, slope: Float, across: Float) -> tuple[Float, Float]:
    """Thin fibres, combed by wind and bent by a slow field."""
    fibre, field = _noise(rng, 1.45, stretch=5.0), _noise(rng, 2.2)
    shift, turn = rng.uniform(0, _TILE_SPAN, 2), rng.uniform(-0.9, 0.9)
    near, away = 1.6 / slope, across * 1.6 / slope
    along, beside = away * np.cos(turn) - near * np.sin(turn), away * np.sin(turn) + near * np.cos(turn)
    bent = _at(field, along * 0.5 + shift[0], beside * 0.5 + shift[1])
    x, y = along + 0.55 * bent + shift[0], beside + 0.35 * bent + shift[1]
    wisps = _at(fibre, x, y) + 0.45 * _at(fibre, x * 2.3, y * 2.3)
    patches = _at(field, along * 0.8 + shift[1], beside * 0.8 + shift[0])
    density = np.clip(0.30 * wisps + 0.42 * patches + 0.12, 0, None)
    opacity = 0.78 * (1 - np.exp(-1.5 * density))
    colour = np.broadcast_to(np.array([0.965, 0.97, 0.98], np.float32), (*slope.shape, 3))
    return colour, opacity.astype(np.float32)
