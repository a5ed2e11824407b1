"""`sky`: another sky. The work is `photos/sky.py`; here pixels become what it works on, and back."""

from collections.abc import Iterator, Sequence

import msgspec
import numpy as np

from burnish.engines.catalogue import Sky
from burnish.engines.networks.device import Device
from burnish.engines.photos import skies, sky
from burnish.engines.photos.around import is_panorama
from burnish.engines.wire import Picture
from burnish.engines.work import Pixels, Work

_FLOAT_BYTES = 12  #: of a pixel in single precision, and as many for the result's


def load(device: Device) -> "Skies":
    """Nothing is to be loaded."""
    del device
    return Skies()


class Skies:
    """Keeps nothing between jobs."""

    def memory_bytes(self, params: bytes, pictures: Sequence[Picture]) -> int:
        """What `run` needs beside the pixels that come and go."""
        del params
        return memory_bytes(pictures[0])

    def run(self, work: Work) -> Iterator[float]:
        """Fill the result; yields the part that is done. A gray picture has no sky that could be blue."""
        wanted = msgspec.msgpack.decode(work.params, type=Sky)
        (pixels,), (result,) = work.sources, work.results
        result[...] = pixels
        if pixels.shape[2] <= 2:
            work.notes["sky"] = "The picture is gray, and was left as it is."
            return
        height, width = pixels.shape[:2]
        panorama = is_panorama(wanted.panorama, width, height)
        yield from repaint(result[..., :3], wanted.kind, wanted.seed, work.notes, panorama=panorama)

    def rest(self) -> None:
        """Nothing is kept."""


def memory_bytes(picture: Picture) -> int:
    """What `repaint` needs beside the pixels."""
    return sky.FIXED_BYTES + picture.pixels * (2 * _FLOAT_BYTES + sky.BYTES_PER_PIXEL)


def repaint(
    pixels: Pixels,
    kind: skies.Kind,
    seed: int,
    notes: dict[str, str],
    within: Pixels | None = None,
    *,
    panorama: bool,
) -> Iterator[float]:
    """Put another sky into colours, [H, W, 3] of 8 or 16 bits, in place; yields the part that is done. `within`: only
    there, 0 to 255, of any size. `panorama`: left and right edge are one.
    """
    yield 0.05
    rgb = unit(pixels)
    yield 0.1
    room = None if within is None else within.astype(np.float32) / 255
    found = sky.find(rgb, room, panorama=panorama)
    yield 0.3
    if found is None:
        notes["sky"] = sky.NO_SKY
        return
    made = np.empty_like(rgb)
    for done in sky.paint(rgb, found, kind, seed, made):
        yield 0.3 + 0.65 * done
    np.clip(made, 0, 1, out=made)
    made *= np.iinfo(pixels.dtype).max
    np.rint(made, out=made)
    pixels[...] = made
    notes["sky"] = f"The sky was replaced, {100 * found.share.mean():.0f} % of the picture."


def unit(pixels: Pixels) -> Pixels:
    """Colours from 0 to 1, float32 [H, W, 3]."""
    rgb = np.empty((*pixels.shape[:2], 3), np.float32)
    np.multiply(pixels[..., :3], np.float32(1 / np.iinfo(pixels.dtype).max), out=rgb, dtype=np.float32)
    return rgb
