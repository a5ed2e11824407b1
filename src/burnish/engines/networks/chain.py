"""A super-resolution network as a chain of 3x3 convolutions, in the form that runs fastest, and its OpenVINO graph.

The networks of `upscale` and `denoise` are such chains. Three things are changed on the way from their files, none of which
changes what they compute:

- No convolution pads. A picture comes with `margin` pixels of context on every side, which the convolutions eat, so
  that a tile is exact up to its edge and only half the context is ever computed.
- The last layer gives every output pixel of a k x k block as a channel (dy, dx, colour); a transposed convolution
  becomes such a layer too. Nothing large is moved inside the graph: 17 % faster for the photo network.
- Bytes go in and bytes come out. Scaling is folded into the first and last weights; rounding and the shortcut from
  input to output are done in single precision after the last convolution (57 dB against single precision throughout,
  where the plain graph had 54).
"""

import math
from typing import Any

import numpy as np
import openvino as ov
from msgspec import Struct
from openvino import opset13 as ops

from burnish.engines.networks.ncnn import Array, Layer
from burnish.errors import Unusable


class Convolution(Struct, frozen=True):
    """`weight`: out, in, 3, 3. `slope`: of the activation below zero, for each channel; None for none."""

    weight: Array
    bias: Array
    slope: Array | None = None


class Chain(Struct, frozen=True):
    """A network that makes k x k pixels of one. `shortcut`: its result is added to the input pixel.

    `gain`: what each channel of the last layer is multiplied with.
    """

    layers: tuple[Convolution, ...]
    k: int
    shortcut: bool
    gain: Array

    @property
    def channels(self) -> int:
        return int(self.layers[0].weight.shape[1])


class Route(Struct, frozen=True):
    """Chains one after another in one graph, each on what the one before has made."""

    chains: tuple[Chain, ...]

    @property
    def channels(self) -> int:
        return self.chains[0].channels

    @property
    def scale(self) -> int:
        return math.prod(chain.k for chain in self.chains)

    @property
    def zoom(self) -> int:
        """How many times as large as the input that is which the last chain is given."""
        return self.scale // self.k

    @property
    def k(self) -> int:
        """Of the blocks that come out."""
        return self.chains[-1].k

    @property
    def margin(self) -> int:
        """Pixels of context on every side of the input."""
        return contexts(self)[0]


def from_pixel_shuffle(layers: list[Layer]) -> Chain:
    """A chain whose file ends in a pixel shuffle, with the input added (SRVGGNetCompact)."""
    found = _convolutions(layers)
    last = found[-1]
    k = int((len(last.weight) // 3) ** 0.5)
    order = np.arange(3 * k * k).reshape(3, k, k).transpose(1, 2, 0).ravel()
    return _chain([*found[:-1], Convolution(last.weight[order], last.bias[order])], k, shortcut=True)


def from_deconvolution(layers: list[Layer]) -> Chain:
    """A chain whose file ends in a transposed convolution, 4x4, stride 2, padded by 3 (waifu2x upconv)."""
    last = layers[-1]
    if (
        last.type != "Deconvolution"
        or last.weight is None
        or last.bias is None
        or last.weight.shape[2:] != (4, 4)
    ):
        raise Unusable("The network does not end in the layer that is expected.")
    # Output row 2q + d takes kernel row j from input row q + i: which (j, i) for d = 0 and for d = 1.
    taps = (((3, 0), (1, 1)), ((2, 1), (0, 2)))
    blocks = np.zeros((2, 2, *last.weight.shape[:2], 3, 3), np.float32)
    for dy, dx in np.ndindex(2, 2):
        for ky, iy in taps[dy]:
            for kx, ix in taps[dx]:
                blocks[dy, dx, :, :, iy, ix] = last.weight[:, :, ky, kx]
    weight = blocks.reshape(-1, *blocks.shape[3:])
    return _chain([*_convolutions(layers), Convolution(weight, np.tile(last.bias, 4))], 2, shortcut=False)


def gray(chain: Chain) -> Chain:
    """The same network for one channel: fed to all three, and the mean of what they give."""
    first, last = chain.layers[0], chain.layers[-1]
    return Chain(
        layers=(
            Convolution(first.weight.sum(1, keepdims=True), first.bias, first.slope),
            *chain.layers[1:-1],
            Convolution(_mean(last.weight, 3), _mean(last.bias, 3)),
        ),
        k=chain.k,
        shortcut=chain.shortcut,
        gain=np.ones(chain.k**2, np.float32),
    )


def halved(chain: Chain) -> Chain:
    """The same network, its result exactly halved: the mean of each 2x2 pixels, taken in the last layer itself."""
    last, colours, half = chain.layers[-1], chain.channels, chain.k // 2

    def blocks(values: Array) -> Array:
        split = values.reshape(half, 2, half, 2, colours, *values.shape[1:])
        return np.ascontiguousarray(split.mean((1, 3)).reshape(-1, *values.shape[1:]))

    return Chain(
        layers=(*chain.layers[:-1], Convolution(blocks(last.weight), blocks(last.bias))),
        k=half,
        shortcut=chain.shortcut,
        gain=blocks(chain.gain),
    )


def graph(route: Route, height: int, width: int, *, bits: int, bound: bool = False) -> ov.Model:
    """A graph for tiles of `height` by `width` pixels: [1, H + 2m, W + 2m, C] in, [1, H', W', k * k * C] out.

    H' and W' count blocks of k by k output pixels. `bound`: no value leaves the range of its 3x3 neighbours in the
    input, as alpha needs it.
    """
    kind, unit = (np.uint8, 1) if bits == 8 else (np.uint16, 257)
    context = contexts(route)
    shape = [1, height + 2 * context[0], width + 2 * context[0], route.channels]
    source = ops.parameter(shape, kind)
    first = ops.transpose(ops.convert(source, np.float32), _integers(0, 3, 1, 2))
    first = value = first if unit == 1 else ops.multiply(first, _constant(1 / unit))
    zoom = 1
    for number, (chain, needed) in enumerate(zip(route.chains, context, strict=True)):
        if number:
            value = ops.clamp(value, 0.0, 255.0)
            value = ops.depth_to_space(value, "blocks_first", route.chains[number - 1].k)
        value = _pass(chain, _middle(value, height * zoom + 2 * needed, width * zoom + 2 * needed))
        zoom *= chain.k
    low, high = _neighbours(first, route.zoom, height, width) if bound else (_constant(0), _constant(255))
    value = ops.minimum(ops.maximum(value, low), high)
    value = value if unit == 1 else ops.multiply(value, _constant(unit))
    value = ops.convert(ops.add(value, _constant(0.5)), kind)
    return ov.Model([ops.transpose(value, _integers(0, 2, 3, 1))], [source])


def contexts(route: Route) -> list[int]:
    """Pixels of context that each chain needs on every side of what it is given."""
    needed: list[int] = []
    for chain in reversed(route.chains):
        needed.insert(0, len(chain.layers) + (-(-needed[0] // chain.k) if needed else 0))
    return needed


def _pass(chain: Chain, value: Any) -> Any:
    height, width = (size - 2 * len(chain.layers) for size in value.shape[2:])
    out = value
    for layer in chain.layers:
        out = ops.convolution(out, _constant(layer.weight), [1, 1], [0, 0], [0, 0], [1, 1])
        out = ops.add(out, _constant(layer.bias.reshape(1, -1, 1, 1)))
        if layer.slope is not None:
            out = ops.prelu(out, _constant(layer.slope))
    if np.any(chain.gain != 1):
        out = ops.multiply(out, _constant(chain.gain.reshape(1, -1, 1, 1)))
    if chain.shortcut:
        out = ops.add(out, ops.tile(_middle(value, height, width), _integers(1, chain.k**2, 1, 1)))
    return out


def _neighbours(first: Any, zoom: int, height: int, width: int) -> tuple[Any, Any]:
    """The least and the greatest of each pixel and its neighbours in the input, for each block of the output."""
    near = _middle(first, height + 2, width + 2)
    negative = ops.multiply(near, _constant(-1))
    high, low = (
        ops.max_pool(values, [1, 1], [1, 1], [0, 0], [0, 0], [3, 3]).output(0) for values in (near, negative)
    )
    bounds = (ops.multiply(low, _constant(-1)), high)
    if zoom == 1:
        return bounds
    scales, axes = _constant([zoom, zoom]), _integers(2, 3)
    low, high = (
        ops.interpolate(
            values,
            scales,
            "nearest",
            "scales",
            coordinate_transformation_mode="asymmetric",
            nearest_mode="floor",
            axes=axes,
        )
        for values in bounds
    )
    return low, high


def _middle(value: Any, height: int, width: int) -> Any:
    top, left = (value.shape[2] - height) // 2, (value.shape[3] - width) // 2
    if not top and not left:
        return value
    begin, end = _integers(top, left), _integers(top + height, left + width)
    return ops.slice(value, begin, end, _integers(1, 1), _integers(2, 3))


def _chain(layers: list[Convolution], k: int, *, shortcut: bool) -> Chain:
    """The chain for values from 0 to 255 instead of 0 to 1."""
    first, *inner, last = layers
    return Chain(
        layers=(
            Convolution(first.weight / np.float32(255), first.bias, first.slope),
            *inner,
            Convolution(last.weight * 255, last.bias * 255),
        ),
        k=k,
        shortcut=shortcut,
        gain=np.ones(len(last.weight), np.float32),
    )


def _convolutions(layers: list[Layer]) -> list[Convolution]:
    """The convolutions in order, each with the activation that is in it or follows it."""
    found: list[Convolution] = []
    for layer in layers:
        if layer.type == "Convolution":
            assert layer.weight is not None
            assert layer.bias is not None
            found.append(Convolution(layer.weight, layer.bias, layer.slope))
        elif layer.type == "PReLU":
            found[-1] = Convolution(found[-1].weight, found[-1].bias, layer.slope)
    if not found or any(convolution.weight.shape[2:] != (3, 3) for convolution in found):
        raise Unusable("The network is not a chain of 3x3 convolutions.")
    return found


def _mean(values: Array, colours: int) -> Array:
    """The mean over the colours, which are innermost in the first axis."""
    split = values.reshape(-1, colours, *values.shape[1:])
    return np.ascontiguousarray(split.mean(1))


def _constant(values: Any) -> Any:
    return ops.constant(np.asarray(values, np.float32))


def _integers(*values: int) -> Any:
    return ops.constant(np.asarray(values, np.int64))
