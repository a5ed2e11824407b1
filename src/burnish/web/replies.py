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


@dataclass(frozen=True, slots=True)
class Reply:
    """A reply with its whole body."""

    status: int
    body: bytes
    headers: Headers

    async def send(self, request: Request, send: Send) -> None:
        headers = self.headers
        if self.status != 304:  # its length would be that of the body which it saves
            headers = (*headers, (b"content-length", b"%d" % len(self.body)))
        headers = _with_the_requests(request, headers)
        body = b"" if request.scope["method"] == "HEAD" else self.body
        whole: Whole | None = request.scope.get("extensions", _NONE).get(WHOLE)
        if whole is None or not whole(self.status, headers, body):
            await send({"type": "http.response.start", "status": self.status, "headers": headers})
            await send({"type": "http.response.body", "body": body})


@dataclass(frozen=True, slots=True)
class Stream:
    """A reply whose body comes in chunks, `size_bytes` in all. A client that takes nothing for `idle_seconds` is cut."""

    status: int
    first: bytes
    chunks: AsyncIterator[bytes]
    size_bytes: int
    idle_seconds: float
    headers: Headers

    async def send(self, request: Request, send: Send) -> None:
        length = (b"content-length", b"%d" % self.size_bytes)
        try:
            headers = _with_the_requests(request, (*self.headers, length))
            await send({"type": "http.response.start", "status": self.status, "headers": headers})
            if request.scope["method"] != "HEAD":
                await request.while_there(self._pump(send))
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
