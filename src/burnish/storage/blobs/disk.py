"""Blobs as files: written aside, synced, renamed into place.

Plain files and not obstore's local store, which (0.12.1, seen by strace) syncs nothing that it writes, tells a full disk
by the text of its message only, leaves the halves of killed puts beside the blobs, and makes all of it readable for everyone.
With the syncs added to it, puts are as fast as here; reads are eight times slower (210 against 1,700 MB/s, two cores).

    ROOT/ab/cdef…     a blob; its key is the path
    ROOT/.incoming/   what is being put, and what killed processes left
"""

import asyncio
import errno
import hashlib
import os
import secrets
import stat
import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final, ParamSpec, TypeVar

from burnish.errors import Unavailable, Unusable
from burnish.storage.blobs.blob import (
    CHUNK_BYTES,
    PROBES,
    Blobs,
    Stored,
    absent,
    checked,
    full,
    limited,
    unavailable,
)

#: Written in one go: an image of a few hundred kilobytes costs one trip to a thread.
_BLOCK_BYTES: Final = 1_048_576
#: Syncs wait for the disk and not for a processor: sixteen at once share its commits.
_THREADS: Final = 16
_FULL: Final = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})

_Given = ParamSpec("_Given")
_Answer = TypeVar("_Answer")


class DiskBlobs(Blobs):
    """Under one folder of one file system, which any number of processes may share."""

    def __init__(self, root: Path) -> None:
        """Make `root` where it is missing.

        Raises:
            Unusable: it cannot be made, or is no folder.
        """
        super().__init__()
        self._root = root
        self._incoming = root / ".incoming"
        try:
            root.mkdir(0o700, parents=True, exist_ok=True)
            self._incoming.mkdir(0o700, exist_ok=True)
        except OSError as error:
            raise Unusable(f"The folder for blobs, {root}, cannot be made: {error.strerror}.") from error
        self._threads = ThreadPoolExecutor(_THREADS, "blobs")

    async def put(self, key: str, chunks: AsyncIterator[bytes], *, max_bytes: int) -> Stored:
        draft = _Draft(self._incoming / secrets.token_hex(16), self._path(key))
        block = bytearray()
        try:
            async for chunk in limited(chunks, max_bytes):
                block += chunk
                if len(block) >= _BLOCK_BYTES:
                    await self._run(draft.write, block)
                    block = bytearray()
            return await self._run(draft.keep, block)
        except BaseException:
            with suppress(Unavailable):  # what could not be removed is a leftover
                await self._run(draft.drop)
            raise

    async def size(self, key: str) -> int:
        return await self._run(_size, self._path(key))

    async def read(self, key: str, start: int = 0, end: int | None = None) -> AsyncIterator[bytes]:
        source = _Source(self._path(key))
        try:
            at = start
            while end is None or at < end:
                count = CHUNK_BYTES if end is None else min(CHUNK_BYTES, end - at)
                chunk = await self._run(source.read, count, at)
                if not chunk:
                    return
                yield chunk
                at += len(chunk)
        finally:
            source.close()

    async def copy_to(self, key: str, fd: int) -> int:
        return await self._run(_copy, self._path(key), fd)

    async def delete(self, keys: Sequence[str]) -> None:
        await self._run(_delete, [self._path(key) for key in keys])

    async def sweep_leftovers(self, older_than_seconds: float) -> int:
        before = time.time() - older_than_seconds
        folders = (self._incoming, self._root / PROBES)
        return sum([await self._run(_sweep, folder, before) for folder in folders])

    async def close(self) -> None:
        await super().close()
        self._threads.shutdown(wait=False)

    def _path(self, key: str) -> Path:
        return self._root / checked(key)

    async def _run(
        self, work: Callable[_Given, _Answer], *args: _Given.args, **kwargs: _Given.kwargs
    ) -> _Answer:
        """`work` in a thread. One who is cancelled waits for it: no descriptor is closed under a write."""

        def told() -> _Answer:
            with _in_words():
                return work(*args, **kwargs)

        future = asyncio.get_running_loop().run_in_executor(self._threads, told)
        try:
            return await asyncio.shield(future)
        except asyncio.CancelledError:
            while not future.done():
                with suppress(asyncio.CancelledError):
                    await asyncio.wait([future])
            raise


class _Draft:
    """A blob that is being put. Its methods run in threads, one after the other."""

    def __init__(self, draft: Path, final: Path) -> None:
        self._draft = draft
        self._final = final
        self._fd: int | None = None
        self._kept = False
        self._size = 0
        self._digest = hashlib.sha256()

    def write(self, block: bytearray) -> None:
        if self._fd is None:
            self._fd = os.open(self._draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        self._digest.update(block)
        self._size += len(block)
        rest = memoryview(block)
        while rest:
            rest = rest[os.write(self._fd, rest) :]

    def keep(self, block: bytearray) -> Stored:
        """The last block, then the bytes, the name and, where it is new, the folder are made to last."""
        self.write(block)
        assert self._fd is not None
        os.fsync(self._fd)
        _make(self._final.parent)
        self._draft.rename(self._final)
        self._kept = True
        _sync(self._final.parent)
        self._close()
        return Stored(self._size, self._digest.digest())

    def drop(self) -> None:
        self._close()
        (self._final if self._kept else self._draft).unlink(missing_ok=True)

    def _close(self) -> None:
        if self._fd is not None:
            fd, self._fd = self._fd, None
            os.close(fd)


class _Source:
    """A blob that is being read; opened by its first read, so that it is whoever closes it who holds it."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._fd: int | None = None

    def read(self, count: int, at: int) -> bytes:
        if self._fd is None:
            self._fd = _open(self._path)
        return os.pread(self._fd, count, at)

    def close(self) -> None:
        if self._fd is not None:
            os.close(self._fd)


def _open(path: Path) -> int:
    try:
        fd = os.open(path, os.O_RDONLY)
    except (FileNotFoundError, NotADirectoryError):
        raise absent() from None
    if not stat.S_ISREG(os.fstat(fd).st_mode):
        os.close(fd)
        raise absent()
    return fd


def _size(path: Path) -> int:
    fd = _open(path)
    try:
        return os.fstat(fd).st_size
    finally:
        os.close(fd)


def _copy(path: Path, into: int) -> int:
    source = _open(path)
    try:
        copied = 0
        while sent := os.sendfile(into, source, copied, 1 << 30):
            copied += sent
        return copied
    finally:
        os.close(source)


def _delete(paths: Sequence[Path]) -> None:
    """Unlinked and synced, so that no crash brings back what a row no longer names."""
    for path in paths:
        with suppress(NotADirectoryError):
            path.unlink(missing_ok=True)
    for folder in {path.parent for path in paths}:
        with suppress(FileNotFoundError, NotADirectoryError):
            _sync(folder)


def _sweep(folder: Path, before: float) -> int:
    removed = 0
    for path in folder.glob("*"):
        with suppress(FileNotFoundError):  # its put ended meanwhile
            if path.stat().st_mtime < before:
                path.unlink()
                removed += 1
    return removed


def _make(folder: Path) -> None:
    try:
        folder.mkdir(0o700)
    except FileExistsError:
        return
    except FileNotFoundError:
        _make(folder.parent)
        folder.mkdir(0o700, exist_ok=True)
    _sync(folder.parent)


def _sync(folder: Path) -> None:
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


@contextmanager
def _in_words() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise (full() if error.errno in _FULL else unavailable()) from error
