"""Outputs: bytes that the service made, fetched to a path or into memory, and resumed where the connection broke."""

import io
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

import httpx

from burnish.client._drive import Awaiting, Blocking, verb
from burnish.client._errors import Damaged
from burnish.client._flow import Flow, Send, Sink
from burnish.client._remote import Remote, attempt
from burnish.client._shapes import Output
from burnish.client._uploads import Progress


class _Outputs:
    _remote: Remote

    @verb
    def download(
        self,
        output: Output | str,
        path: str | os.PathLike[str],
        *,
        overwrite: bool = False,
        progress: Progress | None = None,
    ) -> Flow[Path]:
        """Fetch an output, or any signed URL of the service, to `path`, which is there whole or not at all.

        `progress(received, size)` is called as bytes come. A broken download goes on where it broke.

        Raises:
            FileExistsError: there is a file, and `overwrite` is not set.
            OSError: the file cannot be written.
            Expired: the bytes are gone.
            Damaged: what came is not what was announced.
            Refused, Unreachable: as for every request.
        """
        target = Path(path)
        _refuse_taken(target, overwrite)
        with _unfinished(target) as (file, part):
            yield from _fetch(self._remote, output, file, progress)
            file.close()
            _refuse_taken(target, overwrite)
            part.replace(target)
        return target

    @verb
    def read(self, output: Output | str, *, progress: Progress | None = None) -> Flow[bytes]:
        """An output's bytes, in memory. Raises as `download` does."""
        file = io.BytesIO()
        yield from _fetch(self._remote, output, file, progress)
        return file.getvalue()


class Outputs(_Outputs, Blocking):
    """Outputs, blocking."""


class AsyncOutputs(_Outputs, Awaiting):
    """Outputs, awaited."""


@contextmanager
def _unfinished(target: Path) -> Iterator[tuple[BinaryIO, Path]]:
    """A file beside the target; it is gone afterwards unless it was renamed."""
    part = target.with_name(f".{target.name[:80]}.{secrets.token_hex(4)}.part")
    try:
        with part.open("xb") as file:
            yield file, part
    finally:
        part.unlink(missing_ok=True)


def _refuse_taken(target: Path, overwrite: bool) -> None:
    if not overwrite and os.path.lexists(target):
        raise FileExistsError(f"{target} exists already.")


def _fetch(remote: Remote, output: Output | str, file: BinaryIO, progress: Progress | None) -> Flow[None]:
    """All of an output into `file`. Tries are counted anew whenever bytes came: their number is then no sign of trouble."""
    url, size = (output, None) if isinstance(output, str) else (output.url, output.size_bytes)
    arrival = _Arrival(file, progress)
    tried = 0
    while True:
        before = file.tell()
        headers = {"Accept": "*/*", "Accept-Encoding": "identity", **arrival.rest()}
        request = remote.request("GET", url, headers=headers)
        outcome = yield from attempt(Send(request, arrival.begin))
        if isinstance(outcome, httpx.Response) and (outcome.is_success or _nothing_is_left(outcome, before)):
            break
        tried = 1 if file.tell() > before else tried + 1
        yield from remote.before_next(outcome, tried)
    expected = arrival.size if size is None else size
    if expected is not None and file.tell() != expected:
        raise Damaged(f"{file.tell()} bytes came where {expected} were announced.")


class _Arrival:
    """The bytes that have come so far, and what the next try has to ask for."""

    def __init__(self, file: BinaryIO, progress: Progress | None) -> None:
        self.size: int | None = None
        self._file = file
        self._progress = progress
        self._tag: str | None = None

    def rest(self) -> dict[str, str]:
        """Headers that ask for what is missing, as long as it is still the same thing."""
        have = self._file.tell()
        if not have:
            return {}
        return {"Range": f"bytes={have}-"} | ({"If-Range": self._tag} if self._tag else {})

    def begin(self, response: httpx.Response) -> Sink:
        """Where the body of this response belongs: after what is here, or in its place."""
        start, size = _range_of(response)
        if start not in (0, self._file.tell()):
            raise Damaged("The service answered with another part than was asked for.")
        self._file.seek(start)
        self._file.truncate()
        self.size = size
        tag = response.headers.get("etag", "")
        self._tag = tag if tag.startswith('"') else None  # a weak one cannot vouch for bytes
        return self._take

    def _take(self, piece: bytes) -> None:
        self._file.write(piece)
        if self._progress is not None:
            self._progress(self._file.tell(), self.size)


def _nothing_is_left(response: httpx.Response, have: int) -> bool:
    """The service has no bytes after those that are here: the last break came after the last of them."""
    return response.status_code == 416 and response.headers.get("content-range") == f"bytes */{have}"


def _range_of(response: httpx.Response) -> tuple[int, int | None]:
    """The first byte of a body, and the size of the whole where it is told."""
    if response.status_code != 206:
        length = response.headers.get("content-length", "")
        return 0, int(length) if length.isdecimal() else None
    unit, _, rest = response.headers.get("content-range", "").partition(" ")
    span, _, size = rest.partition("/")
    start = span.partition("-")[0]
    if unit != "bytes" or not start.isdecimal():
        raise Damaged("The service answered with a part and does not say which.")
    return int(start), int(size) if size.isdecimal() else None
