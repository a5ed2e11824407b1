"""Stored bytes over HTTP: conditions, ranges, and headers that keep a browser from running what a client stored.

Called by the routes that serve a signed link. A file never changes under its id, so its hash is its ETag.
"""

import re
from collections.abc import AsyncIterator, Callable
from datetime import datetime
from typing import Final
from urllib.parse import quote

from burnish.clock import seconds_until
from burnish.errors import Invalid
from burnish.tasks.rendition import Form, get_rendition, pending
from burnish.uploads.blob import Blob
from burnish.web.etag import matches
from burnish.web.replies import Headers, Reply, Stream
from burnish.web.request import Request

_RANGE: Final = re.compile(r"bytes=\s*(\d*)-(\d*)\s*", re.ASCII)
#: What a browser shows without running anything; the rest is offered for saving.
_SHOWN: Final = re.compile(r"image/(avif|bmp|gif|heic|heif|jpeg|png|tiff|webp)|video/[a-z0-9.+-]+")
_LIFELESS: Final = (
    (b"x-content-type-options", b"nosniff"),
    (b"content-security-policy", b"default-src 'none'; sandbox"),
    (b"accept-ranges", b"bytes"),
)

Read = Callable[[int, int], AsyncIterator[bytes]]  #: the bytes from one offset up to before another


async def serve(request: Request, file: Blob, read: Read, now: datetime) -> Reply | Stream:
    """200 with all of it, 206 with a part, 304 where the client has it. Several ranges are answered with all.

    Raises:
        Invalid: `no_such_bytes`; `details` say how many there are. And what reading the first bytes raises, before
            anything is sent.
    """
    assert file.size_bytes is not None
    assert file.sha256 is not None
    tag = f'"{file.sha256.hex()}"'
    headers = (*_LIFELESS, *_about(file, tag, now))
    if matches(request.header(b"if-none-match"), tag):
        return Reply(304, b"", headers)
    status, start, end = 200, 0, file.size_bytes
    if span := _span(request, tag, file.size_bytes):
        status, (start, end) = 206, span
        headers = (*headers, (b"content-range", b"bytes %d-%d/%d" % (start, end - 1, file.size_bytes)))
    chunks = read(start, end)
    first = b"" if request.scope["method"] == "HEAD" else await anext(chunks, b"")
    return Stream(status, first, chunks, end - start, request.resources.settings.http.idle_seconds, headers)


async def in_form(request: Request, file: Blob, form: Form) -> Blob:
    """The file as the link asks for it, waited for as long as anybody is let wait."""
    resources = request.resources
    making = get_rendition(
        resources.db,
        resources.submissions,
        resources.reads,
        file,
        form,
        request_id=request.id,
        seconds=resources.settings.http.wait_seconds,
        most=resources.settings.uploads.renditions,
        now=request.now,
    )
    made = await request.while_there(making, though_draining=False)
    if made is None:
        raise pending()
    return made


def _about(file: Blob, tag: str, now: datetime) -> Headers:
    media_type = file.type or file.declared_type or "application/octet-stream"
    shown = file.type is not None and _SHOWN.fullmatch(file.type)
    return (
        (b"content-type", media_type.encode("latin-1", "replace")),
        (b"content-disposition", disposition("inline" if shown else "attachment", file.filename or "file")),
        (b"etag", tag.encode()),
        (b"cache-control", b"private, max-age=%d" % seconds_until(file.expires_at, now)),
    )


def disposition(kind: str, filename: str) -> bytes:
    """The header, with the name in ASCII for old readers and in UTF-8 for the others (RFC 6266)."""
    plain = re.sub(r"[^ !#-\[\]-~]|%", "_", filename)
    return f"{kind}; filename=\"{plain}\"; filename*=UTF-8''{quote(filename, safe='')}".encode()


def _span(request: Request, tag: str, size: int) -> tuple[int, int] | None:
    """The bytes asked for, `(start, end)`; None for all of them: no range, one that means nothing, or its condition
    fails. Raises Invalid where there are no such bytes.
    """
    asked = request.header(b"range")
    condition = request.header(b"if-range")
    found = _RANGE.fullmatch(asked) if asked is not None else None
    if found is None or condition not in {None, tag}:
        return None
    first, last = (_number(digits) for digits in found.groups())
    if first is None:
        if last is None:
            return None
        start, end = max(0, size - last), size
    elif last is not None and last < first:
        return None
    else:
        start, end = first, size if last is None else min(size, last + 1)
    if start >= end:
        raise Invalid(
            f"There are {size} bytes, none of them in the range that was asked for.",
            code="no_such_bytes",
            details={"size_bytes": size},
        )
    return start, end


def _number(digits: str) -> int | None:
    """What the digits say, or more than any file has bytes: nobody makes us read thousands of them."""
    return int(digits.lstrip("0")[:19] or 0) if digits else None
