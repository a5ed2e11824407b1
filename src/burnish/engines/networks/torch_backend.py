"""Tiles on an NVIDIA GPU, by torch; imported in the inference child only, and only where torch is to compute.

Tiles of several jobs go through a network as one batch (`gather`), so they measure one of a few sizes. torch on the
processor computes the same, slower than OpenVINO; it is there to be tested with.
"""

import ctypes
import importlib.util
import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Final, Literal

import numpy as np
import torch

from burnish.engines.networks.backend import TILE_PIXELS, Network, Part
from burnish.engines.networks.chain import Chain, Convolution, Route
from burnish.engines.networks.gather import Gather
from burnish.engines.networks.torch_chain import TorchRoute
from burnish.engines.work import Pixels
from burnish.errors import Unusable

#: What a tile may measure: few sizes, so that tiles of different pictures fit together; steps of at most a half.
SIDES: Final = (48, 64, 96, 128, 192, 256, 320, 384, 512, 640, 768, 1024)
_GPU_TILE_PIXELS: Final = 1 << 20
#: Memory of a network at work, for a pixel of a tile: the photo network's last layer (256 channels) in single precision,
#: what it is copied from, and room for the algorithm; the same for 16 bits.
_BYTES_PER_PIXEL: Final = 2400
#: Tiles in a batch, where the GPU has memory for them in a half of what is free.
_MOST: Final = 8


def load(kind: Literal["cuda", "cpu"], threads: int, precision: str) -> "TorchBackend":
    """torch, warmed up: whatever it opens or loads at first use is opened and loaded.

    Raises:
        Unusable: there is no GPU that it can compute on.
    """
    if kind == "cuda" and not torch.cuda.is_available():
        raise Unusable("torch finds no NVIDIA GPU that it can compute on.")
    torch.set_num_threads(threads)
    try:
        if kind == "cuda":
            _load_libraries()
        backend = TorchBackend(kind, precision)
    except (RuntimeError, OSError) as error:
        raise Unusable(f"torch does not start on {kind}: {error}") from error
    backend.check()
    return backend


class TorchBackend:
    """`precision`: of 8-bit pictures; auto is bf16 wherever the GPU has it."""

    at_one_price = 1
    bytes_per_pixel = _BYTES_PER_PIXEL
    sides: tuple[int, ...] = SIDES

    def __init__(self, kind: Literal["cuda", "cpu"], precision: str) -> None:
        self._where = torch.device(kind)
        if precision == "auto":
            precision = "f32" if kind == "cuda" and not torch.cuda.is_bf16_supported() else "bf16"
        self._precision = precision
        self.facts = {"precision": precision, "torch": str(torch.__version__)}
        self.tile_pixels, most = TILE_PIXELS, 4
        if kind == "cuda":
            self.tile_pixels = _GPU_TILE_PIXELS
            free, total = torch.cuda.mem_get_info()
            most = max(1, min(_MOST, free // 2 // (_GPU_TILE_PIXELS * _BYTES_PER_PIXEL)))
            self.facts["device"] = torch.cuda.get_device_name()
            self.facts["device_memory"] = f"{free >> 20} MiB free of {total >> 20}"
        self.gather = Gather(most)
        self.at_once = 1 if kind == "cpu" else most

    def compile(self, route: Route, height: int, width: int, *, bits: int, bound: bool = False) -> Network:
        del height, width  # it takes tiles of any shape
        half = bits == 8 and self._precision == "bf16"  # 16 bits are kept only by single precision
        network = TorchRoute(route, self._where, bits=bits, half=half, bound=bound)
        return _Network(self, network, bits)

    def turn(self, job: int, *, alone: bool) -> None:
        self.gather.turn(job, alone=alone)

    def meet(self, tell: Callable[[tuple[int, ...]], None]) -> None:
        self.gather.tell = tell

    def rest(self) -> None:
        if self._where.type == "cuda":
            torch.cuda.empty_cache()

    def check(self) -> None:
        """Compute a little of everything, in both precisions.

        Raises:
            Unusable: that does not work.
        """
        route = Route((_same(),))
        for bits, kind in ((8, np.uint8), (16, np.uint16)):
            window = np.arange(36 * 36 * 3, dtype=kind).reshape(36, 36, 3)
            try:
                made = self.compile(route, 32, 32, bits=bits).computed(window)
            except (RuntimeError, MemoryError) as error:
                raise Unusable(f"torch does not compute on {self._where}: {error}") from error
            if not (made == np.tile(window[2:-2, 2:-2], 4)).all():
                raise Unusable(f"torch computes wrongly on {self._where}.")

    def _run(self, network: TorchRoute, windows: Sequence[Pixels], bits: int) -> list[Pixels]:
        """[H + 2m, W + 2m, C] each: [H', W', k * k * C] each.

        Raises:
            MemoryError: of the device.
        """
        try:
            batch = torch.from_numpy(np.stack(windows)).to(self._where)
            made = network(batch).cpu().numpy()
        except RuntimeError as error:
            if isinstance(error, torch.OutOfMemoryError) or "allocate memory" in str(error):
                raise MemoryError(str(error)) from error
            if self._lost():
                # Every later call would fail: the next child has a new context, and who is to blame is known outside.
                os._exit(1)
            raise
        return list(made if bits == 8 else made.astype(np.uint16))

    def _lost(self) -> bool:
        """Whether nothing can be computed any more in this process."""
        if self._where.type != "cuda":
            return False
        try:
            torch.cuda.synchronize()
        except RuntimeError:
            return True
        return False


class _Network:
    """A route for tiles of one shape, by which jobs find each other."""

    def __init__(self, backend: TorchBackend, route: TorchRoute, bits: int) -> None:
        self._backend = backend
        self._route = route
        self._bits = bits

    def compute(self, parts: Sequence[Part]) -> Iterator[None]:
        return self._backend.gather.compute(self, parts, self._run)

    def computed(self, window: Pixels) -> Pixels:
        return self._run([window])[0]

    def release(self) -> None:
        """What is worked with is all networks' together: `TorchBackend.rest`."""

    def _run(self, windows: Sequence[Pixels]) -> list[Pixels]:
        return self._backend._run(self._route, windows, self._bits)  # noqa: SLF001 - one thing in two


def _same() -> Chain:
    """A network that makes four of each pixel, and changes none."""
    first, last = np.zeros((16, 3, 3, 3), np.float32), np.zeros((12, 16, 3, 3), np.float32)
    first[range(3), range(3), 1, 1] = 1
    last[range(12), [*range(3)] * 4, 1, 1] = 1
    layers = tuple(Convolution(weight, np.zeros(len(weight), np.float32)) for weight in (first, last))
    return Chain(layers, 2, shortcut=False, gain=np.ones(12, np.float32))


def _load_libraries() -> None:
    """What cuDNN would load at first use, when no file can be opened any more."""
    spec = importlib.util.find_spec("nvidia")
    for place in (spec.submodule_search_locations or ()) if spec else ():
        for path in sorted(Path(place).glob("*/lib/lib*.so*")):
            if path.name.startswith(("libcudnn", "libnvrtc")):
                ctypes.CDLL(str(path))
