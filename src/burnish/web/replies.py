"""What goes back: a reply whole in memory, or one streamed from storage. Each carries its request's id.

Handlers return one of the two; `endpoint.py` sends it. Bodies are encoded once, by msgspec.
"""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from dataclasses import dataclass
from typing import Final

import msgspec
from starlette.types import Send

from burnish.web import ratelimit
from burnish.web.protocol import WHOLE, Whole
from burnish.web.request import HungUp, Request

Headers = Sequence[tuple[bytes, bytes]]

_ENCODE: Final = msgspec.json.Encoder().encode
_JSON: Final = (b"content-type", b"application/json")
#: Replies hold signed links and the state of this moment; nothing between us and the client keeps them.
_NOT_KEPT: Final = (b"cache-control", b"no-store")
_NONE: Final[dict[str, object]] = {}
#: Without a length, which after a 304 would be that of the body that it saves.
_BODILESS: Final = frozenset({204, 304})


@dataclass(frozen=True, slots=True)
class Reply:
    """A reply with its whole body."""

    status: int
    body: bytes
    headers: Headers

    async def send(self, request: Request, send: Send) -> None:
        headers = self.headers
        if self.status not in _BODILESS:
            headers = (*headers, (b"content-length", b"%d" % len(self.body)))
        headers = _with_the_requests(request, headers)
        body = b"" if request.scope["method"] == "HEAD" else self.body
        whole: Whole | None = request.scope.get("extensions", _NONE).get(WHOLE)
        if whole is None or not whole(send, self.status, headers, body):
            await send({"type": "http.response.start", "status": self.status, "headers": headers})
            await send({"type": "http.response.body", "body": body})


@dataclass(frozen=True, slots=True)
class Stream:
    """A reply whose body comes in chunks, `size_bytes` in all. A client that takes nothing for `idle_seconds` is cut.

    Where nobody knows its size (None) it may go on for ever, and ends when the service stops.
    """

    status: int
    first: bytes
    chunks: AsyncIterator[bytes]
    size_bytes: int | None
    idle_seconds: float
    headers: Headers

    async def send(self, request: Request, send: Send) -> None:
        size = self.size_bytes
        length = () if size is None else ((b"content-length", b"%d" % size),)
        try:
            headers = _with_the_requests(request, (*self.headers, *length))
            await send({"type": "http.response.start", "status": self.status, "headers": headers})
            if request.scope["method"] != "HEAD":
                await request.while_there(self._pump(send), though_draining=size is not None)
        finally:
            if isinstance(self.chunks, AsyncGenerator):
                await self.chunks.aclose()
        await send({"type": "http.response.body", "body": b""})

    async def _pump(self, send: Send) -> None:
        chunk: bytes | None = self.first
        while chunk:
            try:
                async with asyncio.timeout(self.idle_seconds):
                    await send({"type": "http.response.body", "body": chunk, "more_body": True})
            except TimeoutError as error:
                raise HungUp from error
            chunk = await anext(self.chunks, None)


def json(value: object, *, status: int = 200, headers: Headers = ()) -> Reply:
    """A reply in JSON, with a newline at its end: a terminal's next prompt stands on a line of its own."""
    return Reply(status, _ENCODE(value) + b"\n", (_JSON, _NOT_KEPT, *headers))


def unchanged(*, headers: Headers) -> Reply:
    """The client has it already."""
    return Reply(304, b"", (_NOT_KEPT, *headers))


def text(value: str, media_type: str, *, headers: Headers = ()) -> Reply:
    return Reply(200, value.encode(), ((b"content-type", f"{media_type}; charset=utf-8".encode()), *headers))


def _with_the_requests(request: Request, headers: Headers) -> list[tuple[bytes, bytes]]:
    """The reply's headers, and those that tell of its request: its id, and how the limits stand."""
    headers = [*headers, (b"request-id", request.id.encode())]
    if request.rates or request.standings:
        headers += ratelimit.headers(request.rates, request.standings)
    if request.limited is not None:
        headers += ratelimit.waiting(request.limited, request.rates)
    return headers
