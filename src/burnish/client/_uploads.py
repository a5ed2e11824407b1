"""Uploads: a place is promised, then the bytes are sent to it, streamed from where they are."""

import io
import mimetypes
import os
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final, Protocol, TypeAlias, runtime_checkable

import httpx

from burnish.client._drive import Awaiting, Blocking, verb
from burnish.client._errors import Conflict, Damaged
from burnish.client._flow import Flow, Send
from burnish.client._remote import Attempt, Remote, attempt, read
from burnish.client._shapes import Upload

#: How far a transfer is: bytes so far, and bytes in all where that is known.
Progress: TypeAlias = Callable[[int, int | None], object]

_CHUNK_BYTES: Final = 65_536


@runtime_checkable
class BinaryFile(Protocol):
    """A file opened for reading bytes, in which one can seek."""

    def read(self, size: int = -1, /) -> bytes:
        """The next bytes."""
        ...

    def seek(self, offset: int, whence: int = 0, /) -> int:
        """Move; the new position."""
        ...

    def tell(self) -> int:
        """The position."""
        ...


#: What can be uploaded. In `uploads.create` a string is a path; in a task's input it is an id or a URL.
Source: TypeAlias = str | os.PathLike[str] | bytes | bytearray | memoryview | BinaryFile


class _Uploads:
    _remote: Remote

    @verb
    def create(
        self,
        source: Source,
        *,
        filename: str | None = None,
        content_type: str | None = None,
        progress: Progress | None = None,
        idempotency_key: str | None = None,
    ) -> Flow[Upload]:
        """Upload a path, bytes, or a file object opened in binary mode, from where it stands.

        Files are streamed, and read again from their beginning where a connection is lost. `filename` and
        `content_type` are taken from the path; bytes without a name are called "upload". `progress(sent, size)`
        is called as bytes leave; after a lost connection it begins again.

        Raises:
            OSError: the file cannot be read.
            Damaged: the file changed its size while it was read.
            Refused, Unreachable: as for every request.
        """
        with _opened(source) as file:
            name = filename or _name_of(source, file)
            start = file.tell()
            size = file.seek(0, os.SEEK_END) - start
            promise = {
                "filename": name,
                "content_type": content_type or _type_of(name),
                "size_bytes": size,
            }
            reply = yield from self._remote.post("/v1/uploads", promise, idempotency_key)
            upload = read(reply, Upload.from_json)
            headers = {**upload.headers, "Content-Length": str(size)}

            def put() -> Attempt:
                body = _Body(file, start, size, progress)
                # The URL is signed: the key stays here.
                return attempt(
                    Send(self._remote.request(upload.method, upload.url, headers=headers, stream=body))
                )

            try:
                yield from self._remote.repeat(put)
            except Conflict as refused:
                if refused.code != "upload_arrived":  # an earlier try had arrived, only its reply had not
                    raise
        return upload


class Uploads(_Uploads, Blocking):
    """Uploads, blocking."""


class AsyncUploads(_Uploads, Awaiting):
    """Uploads, awaited."""


class _Body(httpx.SyncByteStream, httpx.AsyncByteStream):
    """`size` bytes of a file from `start`, in pieces; begins again when it is sent again.

    Read in the event loop too: a piece comes from the page cache in microseconds, a thread costs more.
    """

    def __init__(self, file: BinaryFile, start: int, size: int, progress: Progress | None) -> None:
        self._file = file
        self._start = start
        self._size = size
        self._progress = progress

    def __iter__(self) -> Iterator[bytes]:
        self._file.seek(self._start)
        sent = 0
        while sent < self._size:
            piece = self._file.read(min(_CHUNK_BYTES, self._size - sent))
            if not piece:
                raise Damaged(
                    f"The file ended after {sent} of {self._size} bytes: it changed while it was read."
                )
            yield piece
            sent += len(piece)
            if self._progress is not None:
                self._progress(sent, self._size)

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for piece in self:
            yield piece


@contextmanager
def _opened(source: Source) -> Iterator[BinaryFile]:
    if isinstance(source, str | os.PathLike):
        with Path(source).open("rb") as file:
            yield file
    elif isinstance(source, bytes | bytearray | memoryview):
        yield io.BytesIO(source)
    elif isinstance(source, BinaryFile) and not hasattr(source, "encoding"):
        yield source
    else:
        raise TypeError(
            "A path, bytes, or a file opened in binary mode can be uploaded, not " + type(source).__name__
        )


def _name_of(source: Source, file: BinaryFile) -> str:
    name = source if isinstance(source, str | os.PathLike) else getattr(file, "name", None)
    if not isinstance(name, str | os.PathLike):  # bytes have none; a file from a descriptor has a number
        return "upload"
    return Path(name).name.encode(errors="replace").decode()  # a name on disk need not be text


def _type_of(name: str) -> str:
    return mimetypes.guess_type(name)[0] or "application/octet-stream"
