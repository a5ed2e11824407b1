"""What every place for blobs promises, and the little that all of them share.

Implemented by `disk` and `objects`; held by nobody else.
"""

import asyncio
import re
import secrets
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from typing import Final

from burnish.errors import NotFound, TooLarge, Unavailable

#: Bytes that `read` gives at a time, about.
CHUNK_BYTES: Final = 262_144

#: First part of the keys that `check` writes under.
PROBES: Final = "probe"

#: Our own keys (`3f/0192…-9a41…`), and nothing that a file system or a URL would read as more than a name.
_KEY: Final = re.compile(r"(?!.{401})[A-Za-z0-9_][A-Za-z0-9._-]*(/[A-Za-z0-9_][A-Za-z0-9._-]*)*")
_ANSWER_SECONDS: Final = 5.0


@dataclass(frozen=True, slots=True)
class Stored:
    """What was put: its length, and the SHA-256 of its bytes (32 bytes)."""

    size_bytes: int
    sha256: bytes


class Blobs(ABC):
    """Bytes under keys. A key is made by us and written once; a second `put` replaces what the first one left.

    Storage that fails raises `Unavailable`, with the code `storage_full` or `storage_unavailable`; a key that
    nothing lies under raises `NotFound`.
    """

    def __init__(self) -> None:
        self._probe: asyncio.Task[None] | None = None

    @abstractmethod
    async def put(self, key: str, chunks: AsyncIterator[bytes], *, max_bytes: int) -> Stored:
        """Take all of `chunks`. Nothing is visible under `key` until it is whole; when this returns, it is durable.

        On an error, also of `chunks`, and on cancellation, nothing of it remains.

        Raises:
            TooLarge: `chunks` hold more than `max_bytes`.
        """

    @abstractmethod
    async def size(self, key: str) -> int:
        """The length in bytes."""

    @abstractmethod
    def read(self, key: str, start: int = 0, end: int | None = None) -> AsyncIterator[bytes]:
        """The bytes from `start` until before `end`, as far as there are any, about `CHUNK_BYTES` at a time."""

    @abstractmethod
    async def copy_to(self, key: str, fd: int) -> int:
        """Write all of it to an open descriptor, at its position (a memfd or a file). Returns the length."""

    @abstractmethod
    async def delete(self, keys: Sequence[str]) -> None:
        """Remove them, for good; what is absent is fine."""

    @abstractmethod
    async def sweep_leftovers(self, older_than_seconds: float) -> int:
        """Remove what puts of killed processes left behind and nobody wrote to for so long. Returns how many."""

    async def check(self) -> None:
        """Write, read and delete a few bytes.

        Raises:
            Unavailable: that failed, or has not ended after five seconds. A probe that hangs is not followed by
                another until it ends.
        """
        if self._probe is None or self._probe.done():
            self._probe = asyncio.create_task(self._write_read_delete())
        await asyncio.wait([self._probe], timeout=_ANSWER_SECONDS)
        if not self._probe.done():
            raise unavailable()
        self._probe.result()

    async def close(self) -> None:
        """End what is under way here."""
        if self._probe is not None and not self._probe.done():
            self._probe.cancel()
            await asyncio.wait([self._probe], timeout=1)

    async def _write_read_delete(self) -> None:
        key, word = f"{PROBES}/{secrets.token_hex(16)}", secrets.token_bytes(16)

        async def chunks() -> AsyncIterator[bytes]:
            yield word

        await self.put(key, chunks(), max_bytes=len(word))
        found = b"".join([chunk async for chunk in self.read(key)])
        await self.delete([key])
        if found != word:
            raise unavailable()


def checked(key: str) -> str:
    """`key`, if it is one of ours."""
    if not _KEY.fullmatch(key):
        raise ValueError(f"not a blob's key: {key!r}")
    return key


async def limited(chunks: AsyncIterator[bytes], max_bytes: int) -> AsyncIterator[bytes]:
    """`chunks`, until they are more than `max_bytes`."""
    size = 0
    async for chunk in chunks:
        size += len(chunk)
        if size > max_bytes:
            raise TooLarge(f"There are more than the {max_bytes} bytes that fit here.")
        yield chunk


def absent() -> NotFound:
    return NotFound("There is nothing stored under this key.")


def unavailable() -> Unavailable:
    return Unavailable("The storage does not answer.", code="storage_unavailable", retry_after=5)


def full() -> Unavailable:
    return Unavailable("The storage is full.", code="storage_full", retry_after=60)
