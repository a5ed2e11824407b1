"""`upscale`: pictures as large as they are or up to eight times as large.

`faithful` and `art` are waifu2x's networks for photos and for drawings, each pass twice as large; `restore` is
Real-ESRGAN's compact network, which makes four times. Small faces, which `restore` would redraw, are found first and
kept: there the faithful result is laid over. Speed, quality and what was tried: docs/why/engines.md.
"""

from collections.abc import Generator, Iterator, Sequence
from typing import Final

import msgspec
import numpy as np
from numpy.typing import NDArray

from burnish.engines.catalogue import Upscale
from burnish.engines.networks import faces, tiled
from burnish.engines.networks.device import Device
from burnish.engines.networks.faces import Face, Faces
from burnish.engines.networks.tiled import Step, Tiled, Way
from burnish.engines.photos import settle
from burnish.engines.wire import Picture
from burnish.engines.work import Pixels, Work

#: Faces narrower than this many pixels are redrawn by `restore`: brows, lids and teeth are no longer the person's own.
SMALL_FACE: Final = 128
#: Of a kept face, how much is computed, in widths of the face, and in whole steps of so many pixels, so that few shapes
#: are compiled; and from which part of that circle on the faithful picture fades.
_KEPT_ROUND: Final = 2.0
_KEPT_STEP: Final = 32
_FADES_FROM: Final = 0.6
#: Of the result, while that happens: the face itself, and half a dozen pictures in single precision.
_FADING_BYTES_PER_PIXEL: Final = 72
#: What part of the work looking for faces is taken for, and laying them over.
_LOOKING: Final = 0.03
_KEEPING: Final = 0.05
_SETTLING: Final = 0.1

_SIXFOLD: Final = 1.5


def _waifu(weights: str) -> dict[int, Way]:
    """Twice as large in each pass; sixfold is resampled from four, which was as good as from eight."""
    step = Step(weights)
    return {
        1: Way((Step(weights, halved=1),)),
        2: Way((step,)),
        4: Way((step, step)),
        6: Way((step, step), enlarged=_SIXFOLD),
        8: Way((step, step, step)),
    }


#: Mode and scale -> the networks; of films too.
WAYS: Final = {
    "faithful": _waifu("photo"),
    "art": _waifu("art"),
    "restore": {
        1: Way((Step("video", halved=2),)),
        2: Way((Step("video", halved=1),)),
        4: Way((Step("video"),)),
        6: Way((Step("video"),), enlarged=_SIXFOLD),
        8: Way((Step("video"), Step("photo"))),
    },
}


def load(device: Device) -> "Upscaler":
    """Read the weights, and compile the network that is asked for most.

    Raises:
        Unusable: the weights are not installed.
    """
    return Upscaler(tiled.load(device), faces.load(device) if faces.installed() else None)


class Upscaler:
    """Loaded networks."""

    def __init__(self, networks: Tiled, finder: Faces | None) -> None:
        self._networks = networks
        self._finder = finder
        networks.prepare(WAYS["faithful"][2])

    def memory_bytes(self, params: bytes, pictures: Sequence[Picture]) -> int:
        """What `run` needs beside the pixels that come and go."""
        (picture,) = pictures
        wanted = msgspec.msgpack.decode(params, type=Upscale)
        kept = 0
        if self._keeps_faces(wanted):
            side = int(SMALL_FACE * _KEPT_ROUND) + _KEPT_STEP
            fading = _FADING_BYTES_PER_PIXEL * (side * wanted.scale) ** 2
            settling = settle.memory_bytes(side, wanted.scale) if wanted.scale > 1 else 0
            kept = faces.memory_bytes(picture) + max(fading, settling)
        if _settles(wanted):
            kept = settle.memory_bytes(picture.width, wanted.scale)
        return self._networks.memory_bytes(picture) + kept

    def run(self, work: Work) -> Iterator[float]:
        """Fill the result from the source; yields the part that is done, after every round of tiles."""
        wanted = msgspec.msgpack.decode(work.params, type=Upscale)
        (pixels,), (made,) = work.sources, work.results
        small = (yield from self._small_faces(pixels)) if self._keeps_faces(wanted) else []
        begun = _LOOKING if self._keeps_faces(wanted) else 0.0
        until = 1 - _KEEPING if small else 1 - _SETTLING if _settles(wanted) else 1.0
        for done in self._networks.paint(WAYS[wanted.mode][wanted.scale], pixels, made):
            yield begun + done * (until - begun)
        if _settles(wanted):
            colours = slice(0, 1 if pixels.shape[2] <= 2 else 3)
            for done in settle.settle(pixels[..., colours], made[..., colours], wanted.scale):
                yield until + (1 - until) * done
        for number, face in enumerate(small, 1):
            self._keep(face, pixels, made, wanted.scale)
            yield until + (1 - until) * number / len(small)
        if wanted.mode == "restore" and wanted.faces == "keep":
            work.notes |= self._said(len(small))

    def rest(self) -> None:
        """Give back what the graphs worked with; they stay compiled."""
        self._networks.rest()
        if self._finder:
            self._finder.rest()

    # --- small faces ------------------------------------------------------------------------------------------------

    def _keeps_faces(self, wanted: Upscale) -> bool:
        return wanted.mode == "restore" and wanted.faces == "keep" and self._finder is not None

    def _small_faces(self, pixels: Pixels) -> Generator[float, None, list[Face]]:
        assert self._finder
        looking = self._finder.look(pixels)
        while True:
            try:
                yield _LOOKING * next(looking)
            except StopIteration as over:
                return [face for face in over.value if face.width < SMALL_FACE]

    def _keep(self, face: Face, pixels: Pixels, made: Pixels, scale: int) -> None:
        """Lay the faithful picture of a face over what was made, fading out round it."""
        count = 1 if pixels.shape[2] <= 2 else 3
        middle = face.top + face.height / 2, face.left + face.width / 2
        radius = max(face.width, face.height) * _KEPT_ROUND / 2
        (top, bottom), (left, right) = (
            _span(at, radius, size) for at, size in zip(middle, pixels.shape, strict=False)
        )
        source = np.ascontiguousarray(pixels[top:bottom, left:right, :count])
        faithful = np.empty((source.shape[0] * scale, source.shape[1] * scale, count), pixels.dtype)
        for _ in self._networks.paint(WAYS["faithful"][scale], source, faithful):
            pass
        if scale > 1:
            for _ in settle.settle(source, faithful, scale):
                pass
        down, across = (
            ((np.arange(size * scale) + 0.5) / scale + start - at) / radius
            for at, start, size in zip(middle, (top, left), source.shape, strict=False)
        )
        place = made[top * scale : bottom * scale, left * scale : right * scale, :count]
        place[...] = _faded(place, faithful, np.hypot(down[:, None], across))

    def _said(self, kept: int) -> dict[str, str]:
        if self._finder is None:
            return {"faces": "Small faces were not looked for, as the face detector is not installed here."}
        if not kept:
            return {}
        what = "A small face was" if kept == 1 else f"{kept} small faces were"
        return {"faces": f"{what} kept as found, enlarged faithfully; `faces: restore` redraws them as well."}


def _settles(wanted: Upscale) -> bool:
    """What is as large as it was has nothing plain to be compared with."""
    return wanted.mode == "faithful" and wanted.scale > 1


def _span(middle: float, radius: float, size: int) -> tuple[int, int]:
    """Whole steps of pixels round the middle, as far as the picture goes."""
    length = min(-(-int(2 * radius + 2) // _KEPT_STEP) * _KEPT_STEP, size)
    start = min(max(round(middle - length / 2), 0), size - length)
    return start, start + length


def _faded(outside: Pixels, inside: Pixels, distance: NDArray[np.float64]) -> Pixels:
    """One picture in the middle, where `distance` is small, and from 1 on the other."""
    part = np.clip((1 - distance) / (1 - _FADES_FROM), 0, 1)
    weight = (part * part * (3 - 2 * part)).astype(np.float32)[..., None]
    mixed: Pixels = np.rint(outside + (inside - outside.astype(np.float32)) * weight)
    return mixed
