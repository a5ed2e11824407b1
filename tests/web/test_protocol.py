"""Replies that are whole are written at once; what uvicorn promises of others holds for them as well."""

import asyncio
import contextlib
import gc
import socket
from collections.abc import AsyncIterator
from typing import Any

import pytest
import uvicorn
from starlette.types import Receive, Scope, Send

from burnish.web.protocol import WHOLE, BoundedProtocol
from native.surface import _Server


async def _app(scope: Scope, receive: Receive, send: Send) -> None:
    """Answers with the path; `/slow` only when its turn would long be over, `/bad` with a header that is two."""
    await receive()
    path: str = scope["path"]
    if path == "/slow":
        for _ in range(20):
            await asyncio.sleep(0)
    value = b"a\r\nset-cookie: stolen" if path == "/bad" else b"fine"
    body = path.encode()
    headers = [(b"content-length", b"%d" % len(body)), (b"x-it", value)]
    assert scope["extensions"][WHOLE](send, 200, headers, body)


@pytest.fixture
async def port() -> AsyncIterator[int]:
    """The application behind the real server."""
    with contextlib.closing(socket.create_server(("127.0.0.1", 0))) as sock:
        config = uvicorn.Config(
            _app, lifespan="off", log_config=None, access_log=False, ws="none", http=BoundedProtocol
        )
        server = _Server(config)
        serving = asyncio.create_task(server.serve(sockets=[sock]))
        yield sock.getsockname()[1]
        server.should_exit = True
        await serving


async def _said(port: int, *requests: str) -> str:
    """What comes back for requests that are sent all at once, the last of which closes."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    lines = [f"GET {path} HTTP/1.1\r\nHost: a\r\n\r\n" for path in requests[:-1]]
    writer.write(
        "".join([*lines, f"GET {requests[-1]} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"]).encode()
    )
    said = (await reader.read()).decode()
    writer.close()
    await writer.wait_closed()
    return said


async def test_requests_that_are_sent_together_are_answered_in_their_order(port: int) -> None:
    """The first is the slowest; the last says that it closes, and the server does."""
    said = await _said(port, "/slow", "/second", "/third")
    assert said.count("HTTP/1.1 200 OK\r\n") == 3
    assert said.index("\r\n\r\n/slow") < said.index("\r\n\r\n/second") < said.index("\r\n\r\n/third")
    assert said.count("connection: close\r\n") == 1
    assert said.count("date: ") == 3


async def test_replies_of_one_moment_each_reach_their_own_client(port: int) -> None:
    """More than are written in one go; some of the connections are closed with their replies."""
    paths = [f"/{number}" for number in range(100)]
    said = await asyncio.gather(
        *(_said(port, path) for path in paths), *(_said(port, "/a", p) for p in paths)
    )
    assert all(one.endswith(f"\r\n\r\n{path}") for one, path in zip(said, paths * 2, strict=True))


async def test_a_header_that_would_be_two_is_never_written(port: int) -> None:
    """500, and nothing of it."""
    said = await _said(port, "/bad")
    assert said.startswith("HTTP/1.1 500 ")
    assert "stolen" not in said


async def test_requests_leave_nothing_for_the_garbage_collector(port: int) -> None:
    """A circle a request would have it look for them all the time: that took an eighth of a submission."""
    await _said(port, "/warm")
    gc.collect()
    gc.disable()
    try:
        await _said(port, *[f"/{number}" for number in range(100)])
        left: list[Any] = [one for one in gc.get_objects() if type(one).__name__ == "RequestResponseCycle"]
    finally:
        gc.enable()
    assert len(left) < 10
