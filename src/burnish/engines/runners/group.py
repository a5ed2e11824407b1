"""`group`: which photos of a pile belong together. The rule is `photos/brackets.py`; here are the signatures that it asks for."""

from collections.abc import Iterator, Sequence
from typing import Final

import cv2
import msgspec
import numpy as np

from burnish.engines.catalogue import Group
from burnish.engines.networks.device import Device
from burnish.engines.photos import brackets
from burnish.engines.wire import Picture
from burnish.engines.work import Pixels, Work

_BYTES: Final = 64 * 1024 * 1024


def load(device: Device) -> "Grouper":
    """Nothing is to be loaded."""
    del device
    return Grouper()


class Grouper:
    """Keeps nothing between jobs."""

    def memory_bytes(self, params: bytes, pictures: Sequence[Picture]) -> int:
        """What `run` needs beside the pixels that come: they are small."""
        del params, pictures
        return _BYTES

    def run(self, work: Work) -> Iterator[float]:
        """Answer with data; yields the part that is done."""
        wanted = msgspec.msgpack.decode(work.params, type=Group)
        signatures = []
        for number, pixels in enumerate(work.sources):
            signatures.append(brackets.signature(_gray(pixels)))
            if number % 20 == 0:
                yield 0.5 * number / len(work.sources)
        found = brackets.group(work.shots, signatures, wanted.per_image)
        work.data = {"sets": found.sets, "by": found.by}
        yield 1.0

    def rest(self) -> None:
        """Nothing is kept."""


def _gray(pixels: Pixels) -> Pixels:
    """8 bits, [H, W]."""
    colours = np.ascontiguousarray(pixels[..., : 1 if pixels.shape[2] <= 2 else 3])
    if colours.dtype != np.uint8:
        colours = (colours >> 8).astype(np.uint8)
    return colours[..., 0] if colours.shape[2] == 1 else cv2.cvtColor(colours, cv2.COLOR_RGB2GRAY)
