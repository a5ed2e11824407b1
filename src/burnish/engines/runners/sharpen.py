"""`sharpen`: the work is `photos/sharpen.py`."""

from collections.abc import Iterator, Sequence
from typing import Final

import msgspec

from burnish.engines.catalogue import Sharpen
from burnish.engines.networks.device import Device
from burnish.engines.photos import sharpen
from burnish.engines.wire import Picture
from burnish.engines.work import Work

#: A strip and its margins in single precision, about a dozen times.
_BYTES_AT_LEAST: Final = 64 * 1024 * 1024
_BYTES_PER_COLUMN: Final = 300 * 4 * 24


def load(device: Device) -> "Sharpener":
    """Nothing has to be read."""
    del device
    return Sharpener()


class Sharpener:
    """Keeps nothing between jobs."""

    def memory_bytes(self, params: bytes, pictures: Sequence[Picture]) -> int:
        """What `run` needs beside the pixels that come and go."""
        del params
        (picture,) = pictures
        return _BYTES_AT_LEAST + _BYTES_PER_COLUMN * picture.width

    def run(self, work: Work) -> Iterator[float]:
        """Fill the result; yields the part that is done. Alpha stays as it is."""
        wanted = msgspec.msgpack.decode(work.params, type=Sharpen)
        (pixels,), (made,) = work.sources, work.results
        count = 1 if pixels.shape[2] <= 2 else 3
        made[..., count:] = pixels[..., count:]
        yield from sharpen.sharpened(pixels[..., :count], wanted.amount, wanted.radius, made[..., :count])

    def rest(self) -> None:
        """Nothing is kept."""
