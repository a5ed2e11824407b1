"""`merge`: exposure brackets to one picture. The work is `photos/merge.py`; here is what it may take, and who is refused."""

from collections.abc import Iterator, Sequence
from typing import Final

import msgspec

from burnish.engines.catalogue import Merge
from burnish.engines.networks.device import Device
from burnish.engines.photos import merge
from burnish.engines.wire import Picture
from burnish.engines.work import Pixels, Work
from burnish.errors import Failed

#: Part of the work that deciding is, on small copies.
_PREPARED: Final = 0.3


def load(device: Device) -> "Merger":
    """Nothing is to be loaded."""
    del device
    return Merger()


class Merger:
    """Keeps nothing between jobs."""

    def memory_bytes(self, params: bytes, pictures: Sequence[Picture]) -> int:
        """What `run` needs beside the pixels that come and go."""
        del params
        return merge.memory_bytes(pictures[0].pixels, len(pictures))

    def run(self, work: Work) -> Iterator[float]:
        """Fill the result; yields the part that is done.

        Raises:
            Failed: engine_refused, brackets of several sizes.
        """
        wanted = msgspec.msgpack.decode(work.params, type=Merge)
        _check_sizes(work.sources)
        yield 0.01
        plan = merge.prepare(work.sources, deghost=wanted.deghost, windows=wanted.window_pull != "none")
        work.notes |= plan.notes
        yield _PREPARED
        (result,) = work.results
        colours = 1 if result.shape[2] <= 2 else 3
        for done in merge.fuse(plan, result[..., :colours]):
            yield _PREPARED + (1 - _PREPARED) * done
        if result.shape[2] > colours:
            result[..., colours:] = work.sources[0][..., colours:]

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
