"""Sending to receivers, well-behaved and not: what a webhook may rely on.

Called by pytest, over real sockets on loopback.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from burnish.errors import Failed
from burnish.outbound import Outbound, Reply

LOOPBACK = "127.0.0.0/8"
Serve = Callable[..., Awaitable[int]]
Guard = Callable[..., Outbound]


async def _send(outbound: Outbound, port: int, timeout_seconds: float = 10) -> Reply:
    return await outbound.send(
        f"http://127.0.0.1:{port}/hook",
        method="POST",
        headers={"Content-Type": "application/json", "webhook-id": "msg_1"},
        body=b'{"a":1}',
        timeout_seconds=timeout_seconds,
        max_reply_bytes=100,
    )


async def _request(reader: asyncio.StreamReader) -> bytes:
    head = await reader.readuntil(b"\r\n\r\n")
    return head + await reader.readexactly(7)


async def test_body_headers_and_answer_come_through_over_one_connection(
    guard: Guard, serve: Serve, connected: list[Any]
) -> None:
    """What was given is what is sent; a second message to the same receiver needs no second connection."""
    requests = []

    async def receive(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for _ in range(2):
            requests.append(await _request(reader))
            writer.write(b"HTTP/1.1 429 Slow\r\nRetry-After: 7\r\nContent-Length: 4\r\n\r\nlate")
            await writer.drain()

    port, outbound = await serve(receive), guard(LOOPBACK)
    replies = [await _send(outbound, port) for _ in range(2)]
    assert {(reply.status, reply.headers["retry-after"], reply.body, reply.cut) for reply in replies} == {
        (429, "7", b"late", False)
    }
    assert b"webhook-id: msg_1\r\n" in requests[0]
    assert requests[0].endswith(b'\r\n\r\n{"a":1}')
    assert connected == [("127.0.0.1", port)]


@pytest.mark.parametrize("status", [301, 302, 307, 308])
async def test_a_redirect_is_an_answer(status: int, guard: Guard, serve: Serve, connected: list[Any]) -> None:
    """It is reported and never followed."""

    async def redirect(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await _request(reader)
        writer.write(
            f"HTTP/1.1 {status} Go\r\nLocation: http://127.0.0.1:9/\r\nContent-Length: 0\r\n\r\n".encode()
        )
        await writer.drain()

    port = await serve(redirect)
    assert (await _send(guard(LOOPBACK), port)).status == status
    assert connected == [("127.0.0.1", port)]


async def test_a_reply_without_end_is_cut(guard: Guard, serve: Serve) -> None:
    """The status counts; a gigabyte behind it is not read."""

    async def endless(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await _request(reader)
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000000\r\n\r\n")
        while True:
            writer.write(b"x" * 65_536)
            await writer.drain()

    reply = await _send(guard(LOOPBACK), await serve(endless))
    assert (reply.status, reply.body, reply.cut) == (200, b"x" * 100, True)


async def test_a_reply_that_dawdles_is_cut_at_the_deadline(guard: Guard, serve: Serve) -> None:
    """A receiver that has said 200 has accepted, however slowly it goes on."""

    async def dawdle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await _request(reader)
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\nx")
        await reader.read()

    reply = await _send(guard(LOOPBACK), await serve(dawdle), timeout_seconds=1)
    assert (reply.status, reply.body, reply.cut) == (200, b"x", True)


async def test_silence_is_a_timeout(guard: Guard, serve: Serve) -> None:
    """A receiver that hangs costs the time it was given and no more."""

    async def hang(reader: asyncio.StreamReader, _writer: asyncio.StreamWriter) -> None:
        await reader.read()

    with pytest.raises(Failed) as refusal:
        await _send(guard(LOOPBACK), await serve(hang), timeout_seconds=0.2)
    assert refusal.value.reason == "input_timeout"


async def test_a_message_is_never_sent_twice_by_the_connection(guard: Guard, serve: Serve) -> None:
    """A receiver that hangs up without an answer has one try; the next is for the ladder of tries to decide."""
    requests = []

    async def hang_up(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        requests.append(await _request(reader))
        writer.transport.abort()

    with pytest.raises(Failed) as refusal:
        await _send(guard(LOOPBACK), await serve(hang_up))
    assert refusal.value.reason == "input_unreachable"
    assert len(requests) == 1


async def test_receivers_that_hang_do_not_stand_before_one_that_answers(guard: Guard, serve: Serve) -> None:
    """Two hundred connections that get no answer leave room for the one that does."""
    waiting = asyncio.Semaphore(0)

    async def hang(reader: asyncio.StreamReader, _writer: asyncio.StreamWriter) -> None:
        await _request(reader)
        waiting.release()
        await reader.read()

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await _request(reader)
        writer.write(b"HTTP/1.1 204 No Content\r\n\r\n")
        await writer.drain()

    outbound = guard(LOOPBACK)
    hanging, answering = await serve(hang), await serve(answer)
    stuck = [asyncio.ensure_future(_send(outbound, hanging, 60)) for _ in range(200)]
    async with asyncio.timeout(30):
        for _ in stuck:
            await waiting.acquire()
        assert (await _send(outbound, answering)).status == 204
    for task in stuck:
        task.cancel()
    await asyncio.gather(*stuck, return_exceptions=True)
