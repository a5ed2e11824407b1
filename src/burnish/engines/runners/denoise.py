"""`denoise`: as noisy as the picture is, `photos/noise.py` first and then waifu2x's photo network for noise.

The network alone takes light noise out, and leaves most of strong noise; the filter alone leaves grain in flat
surfaces. What follows the filter looks clean, and is nearer to the truth than either (docs/why/engines.md).
"""

from collections.abc import Iterator, Sequence
from typing import Final

import msgspec
import numpy as np

from burnish.engines.catalogue import Denoise
from burnish.engines.networks import tiled
from burnish.engines.networks.device import Device
from burnish.engines.networks.tiled import Step, Tiled, Way
from burnish.engines.photos import noise
from burnish.engines.wire import Picture
from burnish.engines.work import Work

#: Up to this noise, in levels, a picture is clean.
CLEAN: Final = 2.5
#: From this noise on the network pays; below it costs more detail than it takes noise.
_NETWORK_FROM: Final = 7.0
_STRENGTHS: Final = {"low": 5.0, "medium": 12.0, "high": 25.0}
_WAY: Final = Way((Step("denoising", halved=1),))
#: Strips in single precision, and what the estimate looks at.
_STRIPS_BYTES: Final = 128 * 1024 * 1024
_STRIP_BYTES_PER_COLUMN: Final = 300 * 3 * 4 * 4


def load(device: Device) -> "Denoiser":
    """The networks.

    Raises:
        Unusable: the weights are not installed.
    """
    return Denoiser(tiled.load(device))


class Denoiser:
    """Loaded networks."""

    def __init__(self, networks: Tiled) -> None:
        self._networks = networks

    def memory_bytes(self, params: bytes, pictures: Sequence[Picture]) -> int:
        """What `run` needs beside the pixels that come and go: the filtered picture once more."""
        del params
        (picture,) = pictures
        strips = _STRIPS_BYTES + _STRIP_BYTES_PER_COLUMN * picture.width
        return self._networks.memory_bytes(picture) + picture.size_bytes + strips

    def run(self, work: Work) -> Iterator[float]:
        """Fill the result; yields the part that is done. Alpha stays as it is."""
        wanted = msgspec.msgpack.decode(work.params, type=Denoise)
        (pixels,), (made,) = work.sources, work.results
        count = 1 if pixels.shape[2] <= 2 else 3
        colours = pixels[..., :count]
        made[..., count:] = pixels[..., count:]
        sigma = _STRENGTHS.get(wanted.strength) or noise.estimated(colours)
        if sigma < CLEAN:
            made[..., :count] = colours
            work.notes["noise"] = (
                "The picture was clean, and stayed as it was. Ask for a strength to clean it all the same."
            )
            yield 1.0
            return
        if sigma < _NETWORK_FROM:
            yield from noise.smoothed(colours, sigma, made[..., :count])
            return
        filtered = np.empty(colours.shape, colours.dtype)
        for done in noise.smoothed(colours, sigma, filtered):
            yield 0.1 * done
        for done in self._networks.paint(_WAY, filtered, made[..., :count]):
            yield 0.1 + 0.9 * done

    def rest(self) -> None:
        """Give back what the graphs worked with; they stay compiled."""
        self._networks.rest()
