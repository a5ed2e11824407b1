"""HTTP's first lines, bounded: how large a request's head may be, and how long it may take to come. And replies that
are whole already, written at once.

Uvicorn's own protocol with httptools takes heads of any size, and waits for them for ever, before anybody has said
who is calling. `burnish serve` hands this one to uvicorn in its place.
"""

import asyncio
from collections.abc import Callable, Sequence
from typing import Any, Final

from starlette.types import Send
from uvicorn.protocols.http.httptools_impl import (
    STATUS_LINE,
    HttpToolsProtocol,
    RequestResponseCycle,
)

_BYTES: Final = 65_536
_HEADERS: Final = 100
_BURST: Final = 32  #: whole replies that wait for each other at most
_NEVER: Final = float("inf")
#: In a request's scope, where this protocol serves it: writes a reply whose body is all there.
WHOLE: Final = "burnish.whole"
#: (the request's send, status, headers, body) -> whether it was written; if not, it goes the way of every ASGI reply.
Whole = Callable[[Send, int, Sequence[tuple[bytes, bytes]], bytes], bool]
#: What must not stand in a header: all controls but the tab.
_CONTROLS: Final = bytes(byte for byte in (*range(0x20), 0x7F) if byte != 0x09)


class _Replies:
    """Whole replies of one turn of the event loop, written one after the other: who reads them all is woken once, not a
    hundred times when a hundred submissions were committed together. Waking took longer than the rest of a write.
    """

    def __init__(self) -> None:
        self._loop: asyncio.AbstractEventLoop | None = None
        self._waiting: list[tuple[asyncio.Transport, bytes]] = []

    def add(self, transport: asyncio.Transport, reply: bytes) -> None:
        loop = asyncio.get_running_loop()
        if self._loop is not loop:  # the one before has ended
            self._loop = loop
            self._waiting.clear()
        if not self._waiting:
            loop.call_soon(self.write)
        self._waiting.append((transport, reply))
        if len(self._waiting) == _BURST:
            self.write()

    def write(self) -> None:
        """Now. Call it before anything else is written, or closed."""
        for transport, reply in self._waiting:
            if not transport.is_closing():
                transport.write(reply)
        self._waiting.clear()


_replies: Final = _Replies()


class HeadTooLarge(Exception):
    """Ends the parsing; the client is told 400."""


class BoundedProtocol(HttpToolsProtocol):
    """Refuses a head above 64 KiB or 100 headers; cuts a connection whose head is not there after `head_seconds`."""

    head_seconds = 20.0

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._bytes = 0
        self._gathered = 0
        self._in_head = self._in_body = False
        self._began = False  #: in the chunk that is being parsed
        self._awaits_head = False
        self._due = _NEVER  #: when the connection is cut, unless what is awaited has come
        self._rings_at = _NEVER
        self._timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._expect_head()

    def connection_lost(self, exc: Exception | None) -> None:
        self._due = _NEVER
        if self._timer is not None:
            self._timer.cancel()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        self._began = False
        super().data_received(data)
        if self.transport.is_closing():
            return
        if self._in_head and not self._began:
            # httptools gathers a header until it is whole; this is what has come of it.
            self._gathered += len(data)
            if self._gathered > _BYTES:
                self.send_400_response("Invalid HTTP request received.")
                return
        if self._in_head or (not self._in_body and (self.cycle is None or self.cycle.response_complete)):
            self._expect_head()  # also when only empty lines came, which had stopped uvicorn's own clock

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._bytes = self._gathered = 0
        self._in_head = self._began = True

    def on_url(self, url: bytes) -> None:
        super().on_url(url)
        self._count(len(url))

    def on_header(self, name: bytes, value: bytes) -> None:
        super().on_header(name, value)
        self._count(len(name) + len(value) + 4)  # the colon, a blank and the line's end
        if len(self.headers) > _HEADERS:
            raise HeadTooLarge

    def on_headers_complete(self) -> None:
        self._in_head, self._in_body = False, True
        self._awaits_head, self._due = False, _NEVER
        super().on_headers_complete()
        self.scope["extensions"] = _EXTENSIONS

    def on_message_complete(self) -> None:
        self._in_body = False
        super().on_message_complete()

    def send_400_response(self, msg: str) -> None:
        _replies.write()
        super().send_400_response(msg)

    def shutdown(self) -> None:
        _replies.write()
        super().shutdown()

    def _count(self, size: int) -> None:
        self._bytes += size
        if self._bytes > _BYTES:
            raise HeadTooLarge

    def _expect_head(self) -> None:
        if not self._awaits_head:
            self._awaits_head = True
            self._cut_after(self.head_seconds)

    # --- the clock: one for heads and for connections that rest; uvicorn would wind and stop its own with every request

    def _cut_after(self, seconds: float) -> None:
        self._due = self.loop.time() + seconds
        if self._timer is None or self._rings_at > self._due:
            self._wind(seconds)

    def _wind(self, seconds: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._rings_at = self._due
        self._timer = self.loop.call_later(seconds, self._ring)

    def _ring(self) -> None:
        self._timer = None
        left = self._due - self.loop.time()
        if self._due == _NEVER:
            return
        if left > 0:
            self._wind(left)
        elif self.cycle is not None and not self.cycle.response_complete:
            # The request before is still being answered, and its sender may not be read from.
            self._cut_after(self.head_seconds)
        elif not self.transport.is_closing():
            _replies.write()
            self.transport.close()

    def _unset_keepalive_if_required(self) -> None:
        """Called by uvicorn when bytes have come. A head that is awaited goes on being awaited."""
        if not self._awaits_head:
            self._due = _NEVER

    def on_response_complete(self) -> None:
        """As uvicorn's, on the one clock."""
        self.server_state.total_requests += 1
        if self.transport.is_closing():
            return
        self.flow.resume_reading()
        if self.pipeline:
            self._start_asgi_task(*self.pipeline.pop())
        elif not self._awaits_head:
            self._cut_after(self.timeout_keep_alive)


def _write_whole(send: Send, status: int, headers: Sequence[tuple[bytes, bytes]], body: bytes) -> bool:
    """Status, headers and body in one write: a third of what two ASGI messages cost, which look at every header twice."""
    cycle = getattr(send, "__self__", None)  # uvicorn's state of this one request
    if not isinstance(cycle, RequestResponseCycle) or cycle.flow.write_paused or cycle.response_started:
        return False
    if cycle.disconnected:
        return True
    lines = [STATUS_LINE[status][:-2], *[b"%b: %b" % header for header in (*cycle.default_headers, *headers)]]
    if not cycle.keep_alive:
        lines.append(b"connection: close")
    head = b"\r\n".join(lines)
    if len(head) - len(head.translate(None, _CONTROLS)) != 2 * (len(lines) - 1):
        raise RuntimeError("A header holds a control character.")
    cycle.response_started = cycle.response_complete = True
    cycle.waiting_for_100_continue = False
    _replies.add(cycle.transport, b"%b\r\n\r\n%b" % (head, body))
    cycle.message_event.set()
    if not cycle.keep_alive:
        _replies.write()
        cycle.transport.close()
    cycle.on_response()
    return True


#: The same for all requests, and without any of them in it: nothing to be looked for by the garbage collector.
_EXTENSIONS: Final[Any] = {WHOLE: _write_whole}
