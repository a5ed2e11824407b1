"""`cutout`: a network says where the subject is, `photos/matting.py` finds its edge and its colours."""

from collections.abc import Iterator, Sequence
from typing import Any, Final

import msgspec
import numpy as np
from numpy.typing import NDArray

from burnish.engines.catalogue.cutout import Cutout, colour
from burnish.engines.networks import faces, objects, people
from burnish.engines.networks.device import Device
from burnish.engines.photos import matting
from burnish.engines.wire import Picture
from burnish.engines.work import Pixels, Work
from burnish.errors import Failed, Unusable

Plane = NDArray[np.float32]

NOBODY: Final = "No person was found, so the mask is empty. Send a picture in which a person is not tiny, and the right way up."
NOTHING: Final = "The network found nothing that stands out, so the mask is empty."
NO_FACE: Final = "No face was found in the picture; the network is made for people, and may have cut out something else. Look at it."

#: The small copy's planes, of which two dozen are held at once, each of four bytes a pixel; what the networks take.
_SMALL_BYTES: Final = matting.WORK_PIXELS * 4 * 80
_NETWORK_BYTES: Final = 160 * 1024 * 1024
#: Faces are looked for to say what was left out; 430 MiB were seen in all.
_FACES_BYTES: Final = 144 * 1024 * 1024
#: Pixels of the picture that are worked on at once, and what they take.
_STRIP_PIXELS: Final = 1 << 18
_STRIP_BYTES: Final = _STRIP_PIXELS * 4 * 40
#: Part of the work that is done when the matte is.
_SOLVED: Final = 0.4
#: Faces narrower than this part of the picture's longer side are not looked for.
_SMALLEST_FACE: Final = 0.03


def load(device: Device) -> "Cutter":
    """Read the weights; compiled at first use."""
    return Cutter(device)


class Cutter:
    """Loaded networks, those that are installed."""

    def __init__(self, device: Device) -> None:
        self._people = people.load(device) if people.installed() else None
        self._faces = faces.load(device) if faces.installed() else None
        self._objects, self._why_not = _objects(device)

    def memory_bytes(self, params: bytes, pictures: Sequence[Picture]) -> int:
        """What `run` needs beside the pixels that come and go."""
        wanted = msgspec.msgpack.decode(params, type=Cutout)
        (picture,) = pictures
        network = self._objects.memory_bytes if wanted.of == "any" and self._objects else _NETWORK_BYTES
        rows = max(1, _STRIP_PIXELS // picture.width)
        strip = max(_STRIP_BYTES, rows * picture.width * 4 * 40)
        return network + _FACES_BYTES + _SMALL_BYTES + strip + 4 * picture.height * 16

    def run(self, work: Work) -> Iterator[float]:
        """Fill the results; yields the part that is done.

        Raises:
            Failed: engine_refused, where the network is not installed on this worker.
        """
        wanted = msgspec.msgpack.decode(work.params, type=Cutout)
        (pixels,) = work.sources
        small = matting.reduced(_rgb(pixels))
        yield 0.05
        shown = np.round(small * 255).astype(np.uint8)
        likelihood = self._things_in(shown) if wanted.of == "any" else self._people_in(shown)
        yield 0.15
        work.notes |= self._remarks(wanted, shown, nothing=not (likelihood >= 0.5).any())
        yield 0.2
        opacity = matting.matte(small, likelihood)
        yield _SOLVED
        enlarged = matting.Enlarged(small, opacity, *pixels.shape[:2])
        rows = max(1, _STRIP_PIXELS // pixels.shape[1])
        for top in range(0, len(pixels), rows):
            _fill(work, wanted, enlarged, top, rows)
            yield _SOLVED + (1 - _SOLVED) * min(1.0, (top + rows) / len(pixels))

    def rest(self) -> None:
        """Give back what the networks worked with."""
        for network in (self._people, self._faces, self._objects):
            if network:
                network.rest()

    def _people_in(self, shown: Pixels) -> Plane:
        if self._people is None:
            raise Failed("engine_refused", "The network for people is not installed on this worker.")
        return self._people.look(shown)

    def _things_in(self, shown: Pixels) -> Plane:
        if self._objects is None:
            raise Failed("engine_refused", self._why_not)
        return self._objects.look(shown)

    def _remarks(self, wanted: Cutout, shown: Pixels, *, nothing: bool) -> dict[str, str]:
        """What is to be said of what was found."""
        if wanted.of == "any":
            return {"objects": NOTHING} if nothing else {}
        if nothing:
            return {"people": NOBODY}
        smallest = max(16, _SMALLEST_FACE * max(shown.shape))
        return {"people": NO_FACE} if self._faces and not self._faces.find(shown, smallest) else {}


def _objects(device: Device) -> tuple[objects.Objects | None, str]:
    """The network for anything, or why there is none: a bad one stops only who asks for it."""
    try:
        return objects.load(device), "No network for other things than people is installed on this worker."
    except (Unusable, OSError, RuntimeError):  # OpenVINO has only RuntimeError for a file that it cannot read
        return (
            None,
            "The network that is installed for other things than people cannot be loaded. Its operator can test it.",
        )


def _fill(work: Work, wanted: Cutout, enlarged: matting.Enlarged, top: int, rows: int) -> None:
    """Some rows of every result."""
    (pixels,), part = work.sources, slice(top, top + rows)
    most = float(np.iinfo(pixels.dtype).max)
    strip = _rgb(pixels[part]).astype(np.float32) / np.float32(most)
    opacity = enlarged.opacity(strip, top)
    whole = pixels[part, :, -1].astype(np.float32) / np.float32(most) if pixels.shape[2] in (2, 4) else None
    if whole is not None:
        opacity = opacity * whole  # what was transparent stays so
    for result in work.results:
        if result.shape[2] == 1:
            result[part, :, 0] = _levels(opacity, most)
            continue
        colours = enlarged.colours(strip, opacity, top)
        behind = colour(wanted.background)
        if behind is None:
            result[part, :, :3] = _levels(colours, most)
            result[part, :, 3] = _levels(opacity, most)
        else:
            share = opacity[..., None]
            laid = colours * share + np.array(behind, np.float32) * (1 - share)
            result[part] = _levels(laid, most)


def _levels(values: Plane, most: float) -> NDArray[Any]:
    return np.round(values * np.float32(most)).astype(np.uint8 if most == 255 else np.uint16)


def _rgb(pixels: Pixels) -> Pixels:
    """Three channels of any picture, without its alpha."""
    return pixels[..., :3] if pixels.shape[2] >= 3 else np.repeat(pixels[..., :1], 3, axis=2)
