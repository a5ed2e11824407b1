"""What of a film is finished already: its segments, kept so that another run of the same job goes on after them.

A job brings a place for them where there is one that outlives it; `Spool` is the one that does not.
"""

import asyncio
import os
from typing import Protocol

from burnish.engines.child import Memory


class Checkpoints(Protocol):
    """Segments of one job, numbered from 0. `recipe`: how they were made; those made otherwise are no use."""

    async def find(self, recipe: str) -> list[bytes]:
        """What was said of each segment that is whole, in order, up to the first that is not."""

    async def keep(self, recipe: str, number: int, said: bytes, fd: int) -> None:
        """Keep the file `fd` as a segment; it stays the caller's."""

    async def load(self, number: int, fd: int) -> None:
        """Put a segment into the empty file `fd`."""


class Spool:
    """Segments in one file without a name, for as long as a run lasts."""

    def __init__(self) -> None:
        self._file = Memory(on_disk=True)
        self._ends = [0]

    async def find(self, recipe: str) -> list[bytes]:
        del recipe
        return []

    async def keep(self, recipe: str, number: int, said: bytes, fd: int) -> None:
        del recipe, said
        assert number == len(self._ends) - 1
        size = os.fstat(fd).st_size
        await asyncio.to_thread(_copy, fd, 0, self._file.fd, self._ends[-1], size)
        self._ends.append(self._ends[-1] + size)

    async def load(self, number: int, fd: int) -> None:
        start, end = self._ends[number : number + 2]
        await asyncio.to_thread(_copy, self._file.fd, start, fd, 0, end - start)

    def close(self) -> None:
        self._file.__exit__()


def _copy(source: int, start: int, target: int, at: int, size: int) -> None:
    while size:
        data = os.pread(source, min(size, 1 << 20), start)
        os.pwrite(target, data, at)
        start, at, size = start + len(data), at + len(data), size - len(data)
