"""`moderate`: a network looks, `photos/explicit.py` judges. It fails closed: where anything is in doubt there is no level at all.

A picture with transparency is looked at three times, as its colours are and laid on black and on white, so that nothing is
hidden in what is clear, or drawn in the transparency alone.
"""

from collections.abc import Iterator, Sequence
from typing import Final

import numpy as np

from burnish.engines import installed
from burnish.engines.networks import nudity
from burnish.engines.networks.device import Device
from burnish.engines.photos import explicit
from burnish.engines.wire import Picture
from burnish.engines.work import Pixels, Work
from burnish.errors import Failed

_NETWORK_BYTES: Final = 256 * 1024 * 1024
#: Finds that are told, the surest.
_TOLD: Final = 100


def load(device: Device) -> "Moderator":
    """Read the weights, where they are installed."""
    return Moderator(nudity.load(device) if installed.package_has(*nudity.FILE) else None)


class Moderator:
    """The loaded network, or none."""

    def __init__(self, network: nudity.Nudity | None) -> None:
        self._network = network

    def memory_bytes(self, params: bytes, pictures: Sequence[Picture]) -> int:
        """What `run` needs beside the picture: it is laid on something, in 8 bits."""
        del params
        (picture,) = pictures
        return _NETWORK_BYTES + picture.pixels * 24

    def run(self, work: Work) -> Iterator[float]:
        """The level and what it is made of, as data.

        Raises:
            Failed: engine_refused, where the network is not installed on this worker.
            ValueError: the network's answer cannot be believed.
        """
        if self._network is None:
            raise Failed("engine_refused", "The network for moderation is not installed on this worker.")
        (pixels,) = work.sources
        found: list[nudity.Find] = []
        views = list(_views(pixels))
        for number, view in enumerate(views):
            found += self._network.look(view)
            yield (number + 1) / len(views)
        found = nudity.distinct(found)
        work.data = {
            "level": explicit.level(found),
            "labels": [
                {"label": find.label, "score": round(find.score, 3), "box": list(find.box)}
                for find in found[:_TOLD]
            ],
        }

    def rest(self) -> None:
        """Give back what the network worked with."""
        if self._network:
            self._network.rest()


def _views(pixels: Pixels) -> Iterator[Pixels]:
    """8-bit RGB, in every way that the picture may be meant to be seen."""
    eight = pixels if pixels.dtype == np.uint8 else (pixels >> 8).astype(np.uint8)
    channels = eight.shape[2]
    colours = eight[..., :3] if channels >= 3 else np.repeat(eight[..., :1], 3, axis=2)
    yield np.ascontiguousarray(colours)
    if channels in (2, 4):
        part = eight[..., -1:].astype(np.uint16)
        for behind in (0, 255):
            laid = (colours * part + behind * (255 - part) + 127) // 255
            yield laid.astype(np.uint8)
