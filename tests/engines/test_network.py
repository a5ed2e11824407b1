"""The networks: the graphs compute what their files say, and tiles are not seen."""

from typing import Any

import msgspec
import numpy as np
import pytest
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from burnish.engines.catalogue import Upscale
from burnish.engines.networks import ncnn, tiled, tiles
from burnish.engines.networks.device import Device
from burnish.engines.networks.tiled import Tiled
from burnish.engines.runners import upscale
from burnish.engines.runners.upscale import Upscaler, load
from burnish.engines.wire import Picture, Shot
from burnish.engines.work import Work
from burnish.errors import Unusable

Pixels = NDArray[Any]

MODES = [
    *(("faithful", scale) for scale in (1, 2, 4, 6, 8)),
    *(("restore", scale) for scale in (1, 2, 4, 8)),
    ("art", 2),
]


def run(upscaler: Upscaler, pixels: Pixels, mode: str, scale: int) -> Pixels:
    height, width, channels = pixels.shape
    made = np.zeros((height * scale, width * scale, channels), pixels.dtype)
    params = msgspec.msgpack.encode({"image": "upload", "mode": mode, "scale": scale})
    work = Work(params, (pixels,), (Shot(),), (made,))
    done = list(upscaler.run(work))
    assert done == sorted(done)
    assert done[-1] == 1.0
    return made


@pytest.fixture(scope="module")
def exact() -> Upscaler:
    """Single precision."""
    return load(Device(1, "f32"))


@pytest.fixture(scope="module")
def upscaler() -> Upscaler:
    """As workers have it."""
    return load(Device(2, "auto"))


def test_restore_computes_what_its_file_says(exact: Upscaler, photo: Pixels) -> None:
    """Against the network written out in numpy, layer by layer."""
    layers = ncnn.read(ncnn.find(*tiled.VIDEO))
    part = photo[:12, :14]
    value = np.pad(part / 255.0, ((18, 18), (18, 18), (0, 0)), "reflect").transpose(2, 0, 1)
    for layer in layers:
        if layer.type == "Convolution":
            value = convolved(value, layer)
        elif layer.type == "PReLU" and layer.slope is not None:
            value = np.where(value < 0, value * layer.slope[:, None, None], value)
    blocks = value.reshape(3, 4, 4, 12, 14).transpose(3, 1, 4, 2, 0).reshape(48, 56, 3)
    expected = np.clip((blocks + np.repeat(np.repeat(part / 255.0, 4, 0), 4, 1)) * 255, 0, 255)
    assert np.abs(run(exact, part, "restore", 4) - expected).max() <= 0.51
    halves = expected.reshape(24, 2, 28, 2, 3).mean((1, 3))
    assert (
        np.abs(run(exact, part, "restore", 2) - halves).max() <= 1.5
    )  # the mean of what was not yet cut off at 255


def test_faithful_computes_what_its_file_says(exact: Upscaler, photo: Pixels) -> None:
    """Against the network written out in numpy; the transposed convolution is painted pixel by pixel."""
    *layers, last = (layer for layer in ncnn.read(ncnn.find(*tiled.PHOTO)) if layer.weight is not None)
    part = photo[:12, :14]
    value = np.pad(part / 255.0, ((7, 7), (7, 7), (0, 0)), "reflect").transpose(2, 0, 1)
    for layer in layers:
        value = convolved(value, layer)
        value = np.where(value < 0, value * 0.1, value)
    assert last.weight is not None
    assert last.bias is not None
    painted = np.zeros((3, 2 * value.shape[1] + 2, 2 * value.shape[2] + 2))
    for y, x in np.ndindex(value.shape[1:]):
        stamp = np.tensordot(value[:, y, x], last.weight.transpose(1, 0, 2, 3), 1)
        painted[:, 2 * y : 2 * y + 4, 2 * x : 2 * x + 4] += stamp
    expected = np.clip((painted[:, 3:-3, 3:-3] + last.bias[:, None, None]).transpose(1, 2, 0) * 255, 0, 255)
    made = np.zeros((24, 28, 3), np.uint8)
    assert list(exact._networks.paint(upscale.WAYS["faithful"][2], part, made))[-1] == 1.0
    difference = made - expected
    assert np.abs(difference).max() <= 2  # levels are set right, by up to one at white
    assert np.abs(difference).mean() < 0.6


def convolved(value: Pixels, layer: ncnn.Layer) -> Pixels:
    windows = sliding_window_view(value, (3, 3), axis=(1, 2))
    assert layer.weight is not None
    assert layer.bias is not None
    made: Pixels = np.tensordot(layer.weight, windows, ((1, 2, 3), (0, 3, 4))) + layer.bias[:, None, None]
    return made


@pytest.mark.parametrize(("mode", "scale"), MODES)
def test_tiles_leave_no_seam(upscaler: Upscaler, photo: Pixels, mode: str, scale: int) -> None:
    """Cut into tiles or whole: nowhere more than one level apart."""
    cut = Upscaler(Tiled(Device(2, "auto"), tile_pixels=700), None)
    whole = run(upscaler, photo, mode, scale)
    assert np.abs(run(cut, photo, mode, scale).astype(int) - whole).max() <= 1


def test_after_a_rest_the_result_is_the_same(upscaler: Upscaler, photo: Pixels) -> None:
    """Memory that was given back is taken again."""
    before = run(upscaler, photo, "restore", 4)
    upscaler.rest()
    assert (run(upscaler, photo, "restore", 4) == before).all()


@pytest.mark.parametrize(("mode", "scale"), MODES)
def test_flat_surfaces_stay_flat(upscaler: Upscaler, mode: str, scale: int) -> None:
    """White stays white, in both precisions; `restore` may move middle tones a little, as its network does."""
    for level in (0, 128, 255):
        off = run(upscaler, np.full((9, 11, 3), level, np.uint8), mode, scale).astype(int) - level
        redrawn = mode == "restore" and level == 128
        exact = (mode, scale) in {("faithful", 2), ("faithful", 4), ("restore", 2), ("restore", 4)}
        assert np.abs(off).max() <= (6 if redrawn else 1 if exact else 2)
        assert redrawn or abs(off.mean()) <= 1


@pytest.mark.parametrize("size", [(1, 1), (1, 9), (2, 3), (130, 1), (3, 700)])
@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_any_size_and_any_channels(upscaler: Upscaler, size: tuple[int, int], channels: int) -> None:
    """Down to a single pixel, which comes out as it was."""
    made = run(upscaler, np.full((*size, channels), 200, np.uint8), "faithful", 2)
    assert np.abs(made.astype(int) - 200).max() <= 1


def test_gray_is_the_mean_of_the_colour_network(exact: Upscaler, photo: Pixels) -> None:
    """One channel in, one out, at a third of the work at the ends."""
    gray = photo[:20, :20, :1]
    colour = run(exact, np.repeat(gray, 3, axis=2), "restore", 4).astype(float).mean(2)
    inside = (colour > 1) & (colour < 254)
    assert np.abs(run(exact, gray, "restore", 4)[..., 0] - colour)[inside].max() <= 6


@pytest.mark.parametrize(("mode", "scale"), MODES)
def test_alpha_never_leaves_the_range_of_its_neighbours(upscaler: Upscaler, mode: str, scale: int) -> None:
    """What was all opaque or all clear stays so, exactly; an edge is sharp and does not ring."""
    pixels = np.full((24, 24, 4), 90, np.uint8)
    pixels[..., 3] = 0
    pixels[:, 12:, 3] = 255
    alpha = run(upscaler, pixels, mode, scale)[..., 3]
    assert (alpha[:, : 11 * scale] == 0).all()
    assert (alpha[:, 13 * scale :] == 255).all()


@pytest.mark.parametrize(("mode", "scale"), MODES)
def test_16_bits_keep_their_slopes(upscaler: Upscaler, exact: Upscaler, mode: str, scale: int) -> None:
    """A slope of less than a level of 8 bits comes out as a slope, and agrees with 8 bits where those can say."""
    slope = (40_000 + np.arange(32) * 20).astype(np.uint16)
    pixels = np.tile(slope[None, :, None], (32, 1, 3))
    made = run(upscaler, pixels, mode, scale).astype(float)
    if mode == "faithful":  # `restore` gives every slope a little grain
        steps = made[16 * scale, 4 * scale : -4 * scale].mean(1).reshape(-1, scale).mean(1)
        assert (np.diff(steps) > 0).all()
    eight = run(exact, (pixels >> 8).astype(np.uint8), mode, scale)
    assert np.abs(made / 257 - eight).max() < 3


def test_planned_tiles_cover_every_pixel_once_or_twice() -> None:
    """For many sizes: all covered, none outside, tiles no larger than allowed, and little computed twice."""
    rng = np.random.default_rng(3)
    for _ in range(200):
        height, width = (int(side) for side in rng.integers(1, 3000, 2))
        plan = tiles.plan(height, width, margin=18, most_pixels=1 << 19)
        covered = np.zeros((height, width), np.uint8)
        for top, left in plan.tiles:
            part = covered[top : top + plan.height, left : left + plan.width]
            assert part.shape == (plan.height, plan.width)
            part += 1
        assert covered.min() == 1
        assert plan.height * plan.width <= 1 << 19
        assert len(plan.tiles) * plan.height * plan.width <= height * width * 1.02 + 3000
        pairs = tiles.plan(height, width, margin=18, most_pixels=1 << 19, at_once=2)
        assert len(pairs.tiles) % 2 == 0 or height * width < 400


def test_a_compiled_shape_is_used_again_where_that_is_cheaper() -> None:
    """A picture a few pixels smaller than the last one compiles nothing; a much smaller one does."""
    known = [(300, 400)]
    assert tiles.plan(296, 398, margin=7, most_pixels=1 << 19, compiled=known).height == 300
    assert tiles.plan(100, 100, margin=7, most_pixels=1 << 19, compiled=known).height == 100


def test_missing_weights_are_named() -> None:
    """An installation without the weights says which package it lacks."""
    with pytest.raises(Unusable, match="no_such_package"):
        ncnn.find("no_such_package", "models", "net.param")


def test_parameters_of_the_catalogue_are_what_the_runner_reads(upscaler: Upscaler) -> None:
    """A budget is stated for every job, and grows with the picture."""
    params = msgspec.msgpack.encode(Upscale(image="upload"))
    small, large = (upscaler.memory_bytes(params, [Picture(side, side, 3, 8)]) for side in (10, 700))
    assert 0 < small < large
