"""Server-sent events: a reply that goes on, and that nothing between us and the client holds back.

A proxy that buffers is told not to, in the headers that proxies know; for those that know none of them the reply begins
with as much as they gather before they let go. While there is nothing to tell, a comment says that the stream is alive.
"""

import contextlib
from collections.abc import AsyncGenerator, Sequence
from typing import Final, NamedTuple

from burnish.web.caller import still_calls
from burnish.web.replies import Reply, Stream
from burnish.web.request import Request

_TYPE: Final = (b"content-type", b"text/event-stream")
_HEADERS: Final = (
    _TYPE,
    (b"cache-control", b"no-store, no-transform"),
    (b"x-accel-buffering", b"no"),
)
_PADDING: Final = b":" + b" " * 2048 + b"\n\n"
_ALIVE: Final = b": still here\n\n"
#: A client that lost its stream comes back after so long.
_AGAIN_MILLISECONDS: Final = 2_000


class Event(NamedTuple):
    """One event. `id`: what a client names as `Last-Event-ID` when it comes back."""

    id: str
    name: str
    data: bytes


def stream(request: Request, events: AsyncGenerator[Event | None, None], start: str = "") -> Stream:
    """Events as they come; None among them: nothing for a while. `start`: the id to resume by before there is any.

    It ends with them, with the service, and when the key that asked is good no longer.
    """
    first = _PADDING + _beginning(start)
    idle_seconds = request.resources.settings.http.idle_seconds
    return Stream(200, first, _written(request, events), None, idle_seconds, _HEADERS)


def whole(events: Sequence[Event], start: str) -> Reply:
    """The same, as a reply that has an end, for those to whom nothing comes through before it."""
    body = _beginning(start) + b"".join(map(_spelt, events))
    return Reply(200, body, (_TYPE, (b"cache-control", b"no-store")))


def _beginning(start: str) -> bytes:
    retry = b"retry: %d\n" % _AGAIN_MILLISECONDS
    return retry + (b"id: %b\n\n" % start.encode() if start else b"\n")


async def _written(
    request: Request, events: AsyncGenerator[Event | None, None]
) -> AsyncGenerator[bytes, None]:
    async with contextlib.aclosing(events):
        async for event in events:
            if not await still_calls(request):
                return
            yield _ALIVE if event is None else _spelt(event)


def _spelt(event: Event) -> bytes:
    lines: Sequence[bytes] = event.data.split(b"\n")
    data = b"".join(b"data: %b\n" % line for line in lines)
    return b"id: %b\nevent: %b\n%b\n" % (event.id.encode(), event.name.encode(), data)
