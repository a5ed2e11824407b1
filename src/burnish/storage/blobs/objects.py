"""Blobs as objects of a store that obstore speaks: memory now; others differ by their URL alone.

Used for tests and for trying things. Durability and atomic puts are the store's own promise.
"""

import asyncio
import hashlib
import os
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import contextmanager

from obstore.exceptions import BaseError
from obstore.store import ObjectStore

from burnish.storage.blobs.blob import CHUNK_BYTES, Blobs, Stored, absent, checked, limited, unavailable


class ObjectBlobs(Blobs):
    """In one store, or under its prefix."""

    def __init__(self, store: ObjectStore) -> None:
        super().__init__()
        self._store = store

    async def put(self, key: str, chunks: AsyncIterator[bytes], *, max_bytes: int) -> Stored:
        size, digest = 0, hashlib.sha256()

        async def counted() -> AsyncIterator[bytes]:
            nonlocal size
            async for chunk in limited(chunks, max_bytes):
                size += len(chunk)
                digest.update(chunk)
                yield chunk

        try:
            await self._store.put_async(checked(key), counted())
        except BaseError as error:
            raise unavailable() from error
        return Stored(size, digest.digest())

    async def size(self, key: str) -> int:
        with _in_words():
            return (await self._store.head_async(checked(key)))["size"]

    async def read(self, key: str, start: int = 0, end: int | None = None) -> AsyncIterator[bytes]:
        # A store refuses a range that begins behind the end; asking for the size first keeps one answer for all.
        size = await self.size(key)
        end = size if end is None else min(end, size)
        if start >= end:
            return
        with _in_words():
            found = await self._store.get_async(key, options={"range": (start, end)})
            async for piece in found.stream(min_chunk_size=CHUNK_BYTES):
                view = memoryview(piece)
                for at in range(0, len(view), CHUNK_BYTES):
                    yield bytes(view[at : at + CHUNK_BYTES])

    async def copy_to(self, key: str, fd: int) -> int:
        copied = 0
        async for chunk in self.read(key):
            await asyncio.to_thread(_write_all, fd, chunk)
            copied += len(chunk)
        return copied

    async def delete(self, keys: Sequence[str]) -> None:
        with _in_words():
            await self._store.delete_async([checked(key) for key in keys])

    async def sweep_leftovers(self, older_than_seconds: float) -> int:  # noqa: ARG002 - nothing outlives a process
        return 0


def _write_all(fd: int, chunk: bytes) -> None:
    rest = memoryview(chunk)
    while rest:
        rest = rest[os.write(fd, rest) :]


@contextmanager
def _in_words() -> Iterator[None]:
    try:
        yield
    except FileNotFoundError:
        raise absent() from None
    except BaseError as error:
        raise unavailable() from error
