"""One piece of work as a runner sees it, and the promise that every runner keeps. Loaded in the inference child only.

Runners get raw pixels and give raw pixels; what they have to say goes along as `notes` (for the client, by a short name)
and `data` (plain JSON, the result of models that make no picture).
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from burnish.engines.wire import Picture, Shot

Pixels = NDArray[Any]


@dataclass
class Work:
    """`sources`: the pictures that came, `[H, W, C]`, not to be written to; `shots`: how each was taken, as far as its
    file says. `results`: room for what was promised, at most that large; who makes less says so by `made`.
    `mark`: the text of watermarks.
    """

    params: bytes
    sources: tuple[Pixels, ...]
    shots: tuple[Shot, ...]
    results: tuple[Pixels, ...]
    notes: dict[str, str] = field(default_factory=dict)
    data: dict[str, Any] | None = None
    sizes: dict[int, tuple[int, int]] = field(default_factory=dict)
    mark: str = ""

    def made(self, picture: Pixels, place: int = 0) -> None:
        """Put a whole picture, `[H, W, C]` or `[H, W]`, in its place among the results; it may be smaller than promised.

        Raises:
            ValueError: it is larger, or has other channels.
        """
        whole = picture.reshape(*picture.shape[:2], -1)
        if whole.shape[2] != self.results[place].shape[2]:
            raise ValueError(f"{whole.shape} made where {self.results[place].shape} was promised")
        self.room(whole.shape[0], whole.shape[1], place)[...] = whole

    def room(self, height: int, width: int, place: int = 0) -> Pixels:
        """Where to put a picture of this size among the results, `[height, width, C]`; for runners that fill it part by part.

        Raises:
            ValueError: it is larger than promised.
        """
        whole = self.results[place]
        size = (height, width, whole.shape[2])
        if height > whole.shape[0] or width > whole.shape[1]:
            raise ValueError(f"{size} made where {whole.shape} was promised")
        self.sizes[place] = (width, height)
        return whole.reshape(-1)[: height * width * size[2]].reshape(size)


class Runner(Protocol):
    """What `load(device)` of a runner's module gives: everything in memory that it may need, ready for jobs."""

    def memory_bytes(self, params: bytes, pictures: Sequence[Picture]) -> int:
        """What `run` needs beside the pixels that come and go, in bytes."""

    def run(self, work: Work) -> Iterator[float]:
        """Do it, in steps of a second or so; yields the part that is done after each."""

    def rest(self) -> None:
        """Give back memory that is kept only because the next job may need as much."""


def view(memory: memoryview, picture: Picture) -> Pixels:
    """The pixels in shared memory, `[H, W, C]`."""
    kind = np.uint8 if picture.bits == 8 else np.dtype("<u2")
    shape = (picture.height, picture.width, picture.channels)
    return np.frombuffer(memory, kind, int(np.prod(shape))).reshape(shape)
