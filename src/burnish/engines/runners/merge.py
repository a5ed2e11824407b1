"""`merge`: exposure brackets to one picture. The work is `photos/merge.py`; here is what it may take, and who is refused."""

from collections.abc import Iterator, Sequence
from typing import Final

import msgspec

from burnish.engines.catalogue import Merge
from burnish.engines.networks.device import Device
from burnish.engines.photos import merge
from burnish.engines.runners import sky as skies
from burnish.engines.wire import Picture
from burnish.engines.work import Pixels, Work
from burnish.errors import Failed

#: Part of the work that is done when all is decided, on small copies, and when the picture is fused.
_PREPARED, _FUSED = 0.3, 0.8
_WITH_SKIES: Final = "windows_with_skies"


def load(device: Device) -> "Merger":
    """Nothing is to be loaded."""
    del device
    return Merger()


class Merger:
    """Keeps nothing between jobs."""

    def memory_bytes(self, params: bytes, pictures: Sequence[Picture]) -> int:
        """What `run` needs beside the pixels that come and go."""
        wanted = msgspec.msgpack.decode(params, type=Merge)
        needed = merge.memory_bytes(pictures[0].pixels, len(pictures), panorama=wanted.panorama)
        return max(needed, skies.memory_bytes(pictures[0])) if wanted.window_pull == _WITH_SKIES else needed

    def run(self, work: Work) -> Iterator[float]:
        """Fill the result; yields the part that is done.

        Raises:
            Failed: engine_refused, brackets of several sizes.
        """
        wanted = msgspec.msgpack.decode(work.params, type=Merge)
        _check_sizes(work.sources)
        yield 0.01
        plan = merge.prepare(
            work.sources,
            deghost=wanted.deghost,
            windows=wanted.window_pull != "none",
            panorama=wanted.panorama,
        )
        work.notes |= plan.notes
        yield _PREPARED
        (result,) = work.results
        colours = result[..., : 1 if result.shape[2] <= 2 else 3]
        for done in merge.fuse(plan, colours):
            yield _PREPARED + (_FUSED - _PREPARED) * done
        if wanted.window_pull == _WITH_SKIES and plan.windows is not None and colours.shape[2] == 3:
            kind = "clear" if wanted.sky == "none" else wanted.sky
            for done in skies.repaint(colours, kind, 0, work.notes, within=plan.windows, panorama=False):
                yield _FUSED + (1 - _FUSED) * done
        if result.shape[2] > colours.shape[2]:
            result[..., colours.shape[2] :] = work.sources[0][..., work.sources[0].shape[2] - 1 :]

    def rest(self) -> None:
        """Nothing is kept."""


def _check_sizes(sources: Sequence[Pixels]) -> None:
    height, width = sources[0].shape[:2]
    for number, pixels in enumerate(sources):
        if pixels.shape[:2] != (height, width):
            raise Failed(
                "engine_refused",
                f"images[{number}] is {pixels.shape[1]} x {pixels.shape[0]} pixels and images[0] is {width} x {height}; "
                "brackets of one scene have one size. Send those that belong together, each as the camera wrote it.",
            )
