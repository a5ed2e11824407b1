"""`privacy`: faces and number plates made unreadable. Found by `networks/faces.py` and `photos/plates.py`."""

from collections.abc import Iterator, Sequence
from typing import Final

import cv2
import msgspec
import numpy as np

from burnish.engines.catalogue import Privacy
from burnish.engines.networks import faces
from burnish.engines.networks.device import Device
from burnish.engines.photos import plates, privacy
from burnish.engines.wire import Picture
from burnish.engines.work import Pixels, Work

_FIXED_BYTES: Final = 192 * 1024 * 1024
#: What is hidden is worked on in single precision; most of a picture may be a face.
_BYTES_PER_PIXEL: Final = 64


def load(device: Device) -> "Hider":
    """The detector of faces.

    Raises:
        Unusable: its networks are not installed.
    """
    return Hider(faces.load(device))


class Hider:
    """Knows where faces are; keeps nothing else between jobs."""

    def __init__(self, detector: faces.Faces) -> None:
        self._faces = detector

    def memory_bytes(self, params: bytes, pictures: Sequence[Picture]) -> int:
        """What `run` needs beside the pixels that come and go."""
        wanted = msgspec.msgpack.decode(params, type=Privacy)
        (picture,) = pictures
        looking = faces.memory_bytes(picture) if wanted.faces else 0
        return looking + _FIXED_BYTES + picture.pixels * _BYTES_PER_PIXEL

    def run(self, work: Work) -> Iterator[float]:
        """Fill the result; yields the part that is done."""
        wanted = msgspec.msgpack.decode(work.params, type=Privacy)
        (pixels,), (result,) = work.sources, work.results
        result[...] = pixels
        colours = result[..., : 1 if pixels.shape[2] <= 2 else 3]
        yield 0.02
        if wanted.faces:
            looking = self._faces.look(pixels)
            found: list[faces.Face] = []
            while True:
                try:
                    yield 0.02 + 0.7 * next(looking)
                except StopIteration as over:
                    found = over.value
                    break
            for face in found:
                outline = privacy.face_outline(face.left, face.top, face.width, face.height)
                privacy.hide(colours, outline, privacy.FACE_TILES)
                yield 0.75
            work.notes["faces"] = _told(len(found), "face", "faces")
        if wanted.plates:
            seen = plates.find_plates(_gray(pixels))
            yield 0.95
            for plate in seen:
                privacy.hide(colours, np.array(plate.corners), privacy.PLATE_TILES)
                yield 0.97
            work.notes["plates"] = _told(len(seen), "number plate", "number plates")

    def rest(self) -> None:
        """Give back what the networks worked with."""
        self._faces.rest()


def _told(count: int, one: str, several: str) -> str:
    if not count:
        return f"No {one} was found. That is no proof that there is none: look before you publish."
    return f"{count} {one if count == 1 else several} made unreadable. Look before you publish: none is found for certain."


def _gray(pixels: Pixels) -> Pixels:
    """8 bits, [H, W]."""
    colours = np.ascontiguousarray(pixels[..., : 1 if pixels.shape[2] <= 2 else 3])
    if colours.dtype != np.uint8:
        colours = cv2.convertScaleAbs(colours, alpha=255 / 65_535).reshape(colours.shape)
    return colours[..., 0] if colours.shape[2] == 1 else cv2.cvtColor(colours, cv2.COLOR_RGB2GRAY)
