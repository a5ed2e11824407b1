"""`enhance`, `straighten`, `lens`: the steps that a photo goes through, each a function of `engines/photos`, in one order.

Loaded once in the inference child, with Lensfun's database.
"""

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any, Final

import msgspec
import numpy as np

from burnish.engines.catalogue.photo import Steps
from burnish.engines.networks.device import Device
from burnish.engines.photos import enhance, lens, straighten
from burnish.engines.photos.around import is_panorama
from burnish.engines.photos.lens import Correction
from burnish.engines.wire import Picture, Shot
from burnish.engines.work import Pixels, Work

#: What a job needs, whatever its size: small copies to estimate from, and the tiles that each thread works on.
_BYTES_AT_LEAST: Final = 96 * 1024 * 1024
_BYTES_PER_THREAD: Final = 24 * 1024 * 1024
#: Transparent pictures are moved as floats, multiplied by their alpha.
_BYTES_PER_SAMPLE_MOVED: Final = 4

#: Room for a result of this height and width.
Room = Callable[[int, int], Pixels]
Step = Callable[[Pixels, Room], Iterator[float]]


def load(device: Device) -> "Photographer":
    """Open Lensfun's database."""
    return Photographer(device.threads)


class Photographer:
    """Keeps the database and nothing else between jobs."""

    def __init__(self, threads: int) -> None:
        self._threads = threads
        self._lenses: Any = lens.database()

    def memory_bytes(self, params: bytes, pictures: Sequence[Picture]) -> int:
        """What `run` needs beside the pixels that come and go: a picture for each step but the last, and what moving takes."""
        wanted = msgspec.msgpack.decode(params, type=Steps)
        (picture,) = pictures
        steps = [wanted.lens, wanted.straighten, wanted.enhance]
        between = sum(step is not None for step in steps) - 1 + (wanted.lens is not None)
        moved = picture.channels in (2, 4) and (wanted.lens is not None or wanted.straighten is not None)
        floats = picture.pixels * picture.channels * _BYTES_PER_SAMPLE_MOVED if moved else 0
        fixed = _BYTES_AT_LEAST + self._threads * _BYTES_PER_THREAD
        return fixed + between * picture.size_bytes + floats

    def run(self, work: Work) -> Iterator[float]:
        """Each step into memory of its own, the last into the result; yields the part that is done."""
        wanted = msgspec.msgpack.decode(work.params, type=Steps)
        (pixels,), steps = work.sources, self._steps(wanted, work)
        for number, step in enumerate(steps):
            made: list[Pixels] = []

            def room(height: int, width: int, number: int = number, made: list[Pixels] = made) -> Pixels:
                last = number == len(steps) - 1
                size = (height, width, work.results[0].shape[2])
                made.append(work.room(height, width) if last else np.empty(size, work.results[0].dtype))
                return made[0]

            for part in step(pixels, room):
                yield (number + part) / len(steps)
            pixels = made[0]

    def rest(self) -> None:
        """Nothing is kept."""

    def _steps(self, wanted: Steps, work: Work) -> list[Step]:
        height, width = work.sources[0].shape[:2]
        shot = work.shots[0] if work.shots else Shot()
        panorama = is_panorama(wanted.panorama, width, height)
        steps: list[Step] = []
        if wanted.lens:
            steps.append(
                partial(_skipped, "lens", work) if panorama else partial(self._lens, wanted, shot, work)
            )
        if wanted.straighten:
            steps.append(
                partial(_skipped, "straighten", work)
                if panorama
                else partial(_straighten, wanted, shot, work)
            )
        if wanted.enhance:
            steps.append(partial(self._enhance, wanted, work))
        return steps

    def _lens(self, wanted: Steps, shot: Shot, work: Work, pixels: Pixels, room: Room) -> Iterator[float]:
        assert wanted.lens
        height, width = pixels.shape[:2]
        given = (wanted.lens.distortion, wanted.lens.vignetting)
        correction: Correction = (
            lens.by_profile(self._lenses, shot, width, height)
            if given == (None, None)
            else lens.by_hand(given[0] or 0.0, given[1] or 0.0, width, height)
        )
        work.notes["lens"] = correction.said
        yield from lens.corrected(pixels, correction, room(height, width))

    def _enhance(self, wanted: Steps, work: Work, pixels: Pixels, room: Room) -> Iterator[float]:
        assert wanted.enhance
        planned = enhance.plan(
            pixels, wanted.enhance.style, wanted.enhance.strength, panorama=wanted.panorama is True
        )
        work.notes["enhance"] = planned.said
        yield 0.05
        for part in enhance.apply(pixels, planned, room(*pixels.shape[:2]), threads=self._threads):
            yield 0.05 + 0.95 * part


def _straighten(wanted: Steps, shot: Shot, work: Work, pixels: Pixels, room: Room) -> Iterator[float]:
    assert wanted.straighten
    height, width = pixels.shape[:2]
    focal = shot.focal_35mm
    tilt = straighten.tilt_of(pixels, max_degrees=wanted.straighten.max_degrees, focal_35mm=focal)
    work.notes["straighten"] = tilt.said
    yield 0.2
    homography, made_width, made_height = straighten.turned(
        width, height, tilt, wanted.straighten.fill, focal
    )
    for part in straighten.seen(pixels, homography, room(made_height, made_width)):
        yield 0.2 + 0.8 * part


def _skipped(name: str, work: Work, pixels: Pixels, room: Room) -> Iterator[float]:
    """A step that a panorama does not go through."""
    work.notes[name] = "Left out: the picture is a 360° panorama."
    room(*pixels.shape[:2])[...] = pixels
    yield 1.0
