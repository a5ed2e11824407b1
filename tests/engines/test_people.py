"""The network for people: its file is read, its graph computes what the file says, and people are where they are."""

from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray
from skimage import data

from astronaut import mask, overlap
from burnish.engines.networks import ncnn, people, tflite
from burnish.engines.networks.device import Device
from burnish.errors import Unusable

Pixels = NDArray[Any]


@pytest.fixture(scope="module")
def device() -> Device:
    return Device(1, "auto")


@pytest.fixture(scope="module")
def network() -> tflite.Network:
    return tflite.read(ncnn.find(*people.FILE))


def test_the_graph_computes_what_the_file_says(device: Device, network: tflite.Network) -> None:
    """Against the network written out in numpy, operator by operator, its transposed convolution painted block by block."""
    rng = np.random.default_rng(5)
    shown = rng.random((1, 256, 256, 3), np.float32)
    shown[:, 60:200, 80:180] = (0.8, 0.6, 0.5)
    *first, last = network.operators
    assert last.kind == "logistic"  # which says 0 or 1 nearly everywhere; before it, every fault is seen
    before = msgspec.structs.replace(network, operators=tuple(first), outputs=last.inputs)
    for part in (before, network):
        (compiled,) = device.streams.compile(device.core, people.graph(part), "f32")
        said = compiled(shown)[0]
        expected = computed(part, shown)
        assert said.shape == expected.shape == (1, 256, 256, 1)
        assert np.abs(said - expected).max() < 1e-4 * np.ptp(expected)


def computed(network: tflite.Network, shown: Pixels) -> Pixels:
    values: dict[int, Pixels] = {
        place: tensor.data.astype(np.float64)
        for place, tensor in enumerate(network.tensors)
        if tensor.data is not None
    }
    values[network.inputs[0]] = shown.astype(np.float64)
    for operator in network.operators:
        values[operator.outputs[0]] = one(operator, *(values[place] for place in operator.inputs))
    return values[network.outputs[0]]


def one(operator: tflite.Operator, value: Pixels, *rest: Pixels) -> Pixels:
    options = operator.options
    match operator.kind:
        case "dequantize":
            return value
        case "add":
            return value + rest[0]
        case "multiply":
            return value * rest[0]
        case "relu":
            bounded: Pixels = np.maximum(value, 0)
            return bounded
        case "hard_swish":
            swished: Pixels = value * np.clip(value + 3, 0, 6) / 6
            return swished
        case "logistic":
            made: Pixels = 1 / (1 + np.exp(-np.clip(value, -500, 500)))
            return made
        case "average_pool":
            assert value.shape[1:3] == (options["height"], options["width"])
            mean: Pixels = value.mean((1, 2), keepdims=True)
            return mean
        case "convolution":
            weight, bias = rest
            windows = cut(value, weight.shape[1:3], options)
            summed: Pixels = np.tensordot(windows, weight, ((3, 4, 5), (3, 1, 2))) + bias
            return summed
        case "depthwise_convolution":
            weight, bias = rest
            windows = cut(value, weight.shape[1:3], options)
            each: Pixels = np.einsum("nyxcij,ijc->nyxc", windows, weight[0]) + bias
            return each
        case "resize_bilinear":
            return doubled(doubled(value, 1), 2)
        case "Convolution2DTransposeBias":
            weight, bias = rest
            painted = np.zeros((1, 256, 256, 1))
            for down, across in np.ndindex(2, 2):
                painted[:, down::2, across::2, 0] = value @ weight[0, down, across]
            return painted + bias
    raise AssertionError(operator.kind)


def cut(value: Pixels, size: tuple[int, ...], options: dict[str, int]) -> Pixels:
    """The windows of a convolution, with zeros round the picture where it asks for `SAME`: the odd one after it."""
    steps = options["stride_y"], options["stride_x"]
    if options["padding"] == 0:
        lacks = [
            max((-(-length // step) - 1) * step + side - length, 0)
            for length, step, side in zip(value.shape[1:3], steps, size, strict=True)
        ]
        value = np.pad(value, ((0, 0), *((lack // 2, lack - lack // 2) for lack in lacks), (0, 0)))
    return sliding_window_view(value, size, (1, 2))[:, :: steps[0], :: steps[1]]


def doubled(value: Pixels, axis: int) -> Pixels:
    """Twice as long, linearly between the middles of pixels."""
    value = np.moveaxis(value, axis, 0)
    before, after = np.concatenate([value[:1], value[:-1]]), np.concatenate([value[1:], value[-1:]])
    both = np.stack([0.75 * value + 0.25 * before, 0.75 * value + 0.25 * after], 1)
    return np.moveaxis(both.reshape(-1, *value.shape[1:]), 0, axis)


def test_the_astronaut_is_where_she_is(device: Device) -> None:
    """Before any edge was refined, whole or with much round her, where further looks are closer."""
    network = people.load(device)
    photo = data.astronaut()
    assert overlap(network.look(photo) >= 0.5, mask()) > 0.95
    wide = np.pad(photo, ((200, 0), (900, 900), (0, 0)), constant_values=190)
    assert overlap(network.look(wide)[200:, 900:1412] >= 0.5, mask()) > 0.9


@pytest.mark.parametrize("name", ["brick", "grass", "gravel", "page", "rocket"])
def test_nobody_is_nobody(device: Device, name: str) -> None:
    """Nothing at all, not a little."""
    photo = np.asarray(getattr(data, name)())
    colour = photo if photo.ndim == 3 else np.repeat(photo[..., None], 3, 2)
    assert (people.load(device).look(colour) == 0).all()


@pytest.mark.parametrize("size", [(1, 1), (1, 40), (300, 2)])
def test_any_size_is_looked_at(device: Device, size: tuple[int, int]) -> None:
    """Down to a pixel."""
    said = people.load(device).look(np.full((*size, 3), 90, np.uint8))
    assert said.shape == size


@pytest.mark.parametrize("bytes_", [b"", b"TFL3", b"\x1c\0\0\0TFL3" + b"\xff" * 40])
def test_what_is_no_network_is_said_to_be_none(tmp_path: Path, bytes_: bytes) -> None:
    """Empty, cut off, or nonsense."""
    file = tmp_path / "net.tflite"
    file.write_bytes(bytes_)
    with pytest.raises(Unusable, match=r"net\.tflite"):
        tflite.read(file)


def test_a_network_that_is_cut_off_is_refused(tmp_path: Path) -> None:
    """At any place."""
    whole = ncnn.find(*people.FILE).read_bytes()
    file = tmp_path / "net.tflite"
    for part in (9, 100, 5000, len(whole) // 2):
        file.write_bytes(whole[:part])
        with pytest.raises(Unusable, match=r"net\.tflite"):
            tflite.read(file)
