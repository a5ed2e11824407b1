"""The graph of `chain.graph` in torch, for a batch of tiles; imported only where torch computes.

The same weights and the same order. Of 8-bit pictures the layers between the first and the last are computed in bf16.
Those two give and take pixels, and bf16 has a whole level between two values above 128: they are computed in single
precision, on weights that are rounded to bf16 all the same. A GPU may then take TF32 for them and loses nothing of a byte.
"""

import torch
from torch.nn import functional

from burnish.engines.networks.chain import Chain, Route, contexts


class TorchRoute:
    """A route on `where`: uint8 or uint16 `[N, H + 2m, W + 2m, C]` in, uint8 or int32 `[N, H', W', k * k * C]` out."""

    def __init__(self, route: Route, where: torch.device, *, bits: int, half: bool, bound: bool) -> None:
        self._route = route
        self._bits = bits
        self._bound = bound
        self._half = half
        self._contexts = contexts(route)
        self._chains = [_Chain(chain, where, half=half) for chain in route.chains]

    @torch.inference_mode()
    def __call__(self, windows: torch.Tensor) -> torch.Tensor:
        torch.backends.cudnn.allow_tf32 = self._half
        unit = 1 if self._bits == 8 else 257
        first = windows.to(torch.float32).permute(0, 3, 1, 2)
        first = value = first if unit == 1 else first.div_(unit)
        height, width = (size - 2 * self._contexts[0] for size in windows.shape[1:3])
        zoom, before = 1, 1
        for chain, needed in zip(self._chains, self._contexts, strict=True):
            if chain is not self._chains[0]:
                value = _spread(value.clamp_(0, 255), before)
            value = chain(_middle(value, height * zoom + 2 * needed, width * zoom + 2 * needed))
            zoom, before = zoom * chain.k, chain.k
        if self._bound:
            low, high = _neighbours(_middle(first, height + 2, width + 2), self._route.zoom)
            value = torch.minimum(torch.maximum(value, low), high)
        else:
            value = value.clamp_(0, 255)
        value = value.mul_(unit).add_(0.5).to(torch.uint8 if self._bits == 8 else torch.int32)
        return value.permute(0, 2, 3, 1).contiguous()


class _Chain:
    """`[N, C, H, W]` of 0 to 255 in single precision in, and so out, less the layers' context."""

    def __init__(self, chain: Chain, where: torch.device, *, half: bool) -> None:
        def tensor(values: object, kind: torch.dtype) -> torch.Tensor:
            made: torch.Tensor = torch.as_tensor(values).to(where, kind)
            return made

        self.k = chain.k
        self._shortcut = chain.shortcut
        self._kind = torch.bfloat16 if half else torch.float32
        self._layers = []
        for number, layer in enumerate(chain.layers):
            exact = number in (0, len(chain.layers) - 1)
            kind = torch.float32 if exact else self._kind
            weight = tensor(layer.weight, self._kind).to(kind)
            slope = None if layer.slope is None else tensor(layer.slope, kind)
            bias = tensor(layer.bias, kind)
            self._layers.append((weight.contiguous(memory_format=torch.channels_last), bias, slope))
        self._gain = tensor(chain.gain, torch.float32).reshape(1, -1, 1, 1)

    def __call__(self, value: torch.Tensor) -> torch.Tensor:
        out = value.contiguous(memory_format=torch.channels_last)
        for weight, bias, slope in self._layers:
            out = functional.conv2d(out.to(weight.dtype), weight, bias)
            if slope is not None:
                out = functional.prelu(out, slope)
        made = out.mul_(self._gain)
        if self._shortcut:
            made = made.add_(_middle(value, *made.shape[2:]).repeat(1, self.k**2, 1, 1))
        return made


def _spread(value: torch.Tensor, k: int) -> torch.Tensor:
    """Channels (dy, dx, colour) into pixels."""
    count, channels, height, width = value.shape
    blocks = value.reshape(count, k, k, channels // k**2, height, width)
    return blocks.permute(0, 3, 4, 1, 5, 2).reshape(count, channels // k**2, height * k, width * k)


def _neighbours(near: torch.Tensor, zoom: int) -> tuple[torch.Tensor, torch.Tensor]:
    """The least and the greatest of each pixel and its neighbours, `zoom` times as large."""
    high, low = functional.max_pool2d(near, 3, 1), -functional.max_pool2d(-near, 3, 1)
    if zoom == 1:
        return low, high
    low, high = (values.repeat_interleave(zoom, 2).repeat_interleave(zoom, 3) for values in (low, high))
    return low, high


def _middle(value: torch.Tensor, height: int, width: int) -> torch.Tensor:
    top, left = (value.shape[2] - height) // 2, (value.shape[3] - width) // 2
    return value[:, :, top : top + height, left : left + width]
