"""How a picture is cut into tiles: few pixels computed twice, few shapes compiled.

Plain arithmetic; called by runners. All tiles of a picture have one shape, because a graph is compiled for a shape;
the last of a row or column moves inwards, and a picture smaller than a tile that is already compiled may use that.
Context round a tile comes from the picture, and past its edge from the picture mirrored.
"""

from collections.abc import Iterable, Iterator
from itertools import product

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

#: What compiling a shape costs, in pixels that could be computed in its time: 50 ms on two cores.
COMPILE_PIXELS = 16_000
#: What starting a tile's layers one by one costs a GPU, in the same way: an estimate, not measured.
LAUNCH_PIXELS = 32_000


class Plan(Struct, frozen=True):
    """`tiles` of `height` by `width` pixels each, as (top, left)."""

    height: int
    width: int
    tiles: tuple[tuple[int, int], ...]


def plan(
    height: int,
    width: int,
    *,
    margin: int,
    most_pixels: int,
    at_once: int = 1,
    sides: tuple[int, ...] = (),
    compiled: Iterable[tuple[int, int]] = (),
) -> Plan:
    """The cheapest way to cover a picture with tiles of at most `most_pixels`, of which `at_once` are computed together.

    `sides`: tiles measure one of these each way and nothing is compiled; the smallest where `most_pixels` is less.

    A tile costs its own pixels and, as each layer eats a pixel of it, about half its context; a place in the last
    round that stays empty costs as much as a tile.
    """

    def cost(shape: tuple[int, int]) -> int:
        tiles = -(-height // shape[0]) * -(-width // shape[1])
        rounds = -(-tiles // at_once)
        computed = rounds * at_once * (shape[0] + margin) * (shape[1] + margin)
        if sides:
            return computed + tiles * LAUNCH_PIXELS
        return computed + (0 if shape in known else COMPILE_PIXELS)

    known = set(compiled)
    if sides:
        fitting = [shape for shape in product(sides, sides) if shape[0] * shape[1] <= most_pixels]
        best = min(fitting or [(min(sides), min(sides))], key=cost)
    else:
        best = min((*_shapes(height, width, most_pixels, at_once), *sorted(known)), key=cost)
    tops, lefts = _starts(height, best[0]), _starts(width, best[1])
    return Plan(*best, tuple(product(tops, lefts)))


def _shapes(height: int, width: int, most_pixels: int, at_once: int) -> Iterator[tuple[int, int]]:
    """Every even cut into columns, with as few rows as the size of a tile allows, and with a few more."""
    columns = 1
    while True:
        tile_width = -(-width // columns)
        fewest = -(-height * tile_width // most_pixels)
        for rows in range(fewest, fewest + at_once):
            tile_height = -(-height // rows)
            if tile_height * tile_width <= most_pixels:
                yield tile_height, tile_width
        if fewest == 1 and columns >= at_once:
            return
        columns += 1


def _starts(size: int, tile: int) -> list[int]:
    return [min(start, max(size - tile, 0)) for start in range(0, size, tile)]


def window(
    pixels: NDArray[np.generic], top: int, left: int, height: int, width: int, margin: int
) -> NDArray[np.generic]:
    """A copy of a tile and `margin` pixels round it; past the edges the picture is mirrored."""
    rows = _mirrored(np.arange(top - margin, top + height + margin), pixels.shape[0])
    columns = _mirrored(np.arange(left - margin, left + width + margin), pixels.shape[1])
    return pixels[rows[:, None], columns]


def _mirrored(positions: NDArray[np.int_], size: int) -> NDArray[np.int_]:
    period = max(2 * (size - 1), 1)
    folded = positions % period
    return np.minimum(folded, period - folded) if size > 1 else np.zeros_like(positions)
