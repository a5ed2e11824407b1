"""Receivers that change under a delivery: their address, their secret, their mind; and when they are away for long."""

import asyncio
import json
import socket
from collections.abc import AsyncIterator
from typing import Any

import pytest
from aiohttp.abc import AbstractResolver, ResolveResult

from burnish.outbound import Outbound
from burnish.settings import Settings
from native.surface import Visitor, visit
from waiting import until
from webhooks.conftest import Receiver, accept, delivering, open_endpoint, pass_time, receiving, status
from webhooks.test_deliveries import settled, until_tries, verified


class Names(AbstractResolver):
    """Answers each question with the next of these addresses, the last for ever after; counts the questions."""

    def __init__(self, *addresses: str) -> None:
        self._addresses = list(addresses)
        self.asked = 0

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        self.asked += 1
        address = self._addresses.pop(0) if len(self._addresses) > 1 else self._addresses[0]
        return [
            {
                "hostname": host, "host": address, "port": port, "family": socket.AF_INET, "proto": 0,
                "flags": socket.AI_NUMERICHOST,
            }
        ]  # fmt: skip

    async def close(self) -> None:
        """Nothing is open."""


@pytest.fixture
async def visitor(settings: Settings) -> AsyncIterator[Visitor]:
    """Without lanes: each test has its own."""
    async with visit(settings) as visitor:
        yield visitor


async def attempts_of(visitor: Visitor, endpoint: dict[str, Any]) -> list[dict[str, Any]]:
    """Of the endpoint's only delivery, as its owner reads them."""
    (delivery,) = (await visitor.http.get(f"/v1/webhooks/{endpoint['id']}/deliveries")).json()["data"]
    url = f"/v1/webhooks/{endpoint['id']}/deliveries/{delivery['id']}"
    found: list[dict[str, Any]] = (await visitor.http.get(url)).json()["attempts"]
    return found


async def test_an_address_that_turns_private_between_tries_is_refused(
    visitor: Visitor, receiver: Receiver
) -> None:
    """Each try asks the DNS once and connects to what was judged; the second answer is private, and the log says so."""
    names = Names("127.0.0.1", "10.0.0.1")
    outbound = Outbound(visitor.resources.settings.outbound, resolver=names)
    port = receiver.url.split(":")[2].partition("/")[0]
    receiver.answer = status(500, connection="close")
    async with delivering(visitor, outbound):
        endpoint = await open_endpoint(visitor, f"http://hooks.example.com:{port}/hook", "task.succeeded")
        await visitor.submit()
        await visitor.end()
        await until_tries(visitor, endpoint, 1)
        assert names.asked == len(receiver.got) == 1  # whatever it would have answered next, nobody asked
        assert receiver.got[0][0]["host"] == f"hooks.example.com:{port}"
        await pass_time(visitor, 6)
        await until_tries(visitor, endpoint, 2)
    await outbound.close()

    assert (names.asked, len(receiver.got)) == (2, 1)
    first, second = await attempts_of(visitor, endpoint)
    assert (first["status"], second["status"]) == (500, None)
    assert second["error"].startswith("input_blocked:")
    assert "10.0.0.1" not in second["error"]


async def test_a_secret_that_is_rotated_between_tries_signs_the_next(
    visitor: Visitor, receiver: Receiver
) -> None:
    """The same bytes and id, signed with both while the grace lasts, and with the new one alone after it."""
    receiver.answer = status(500)
    async with delivering(visitor):
        endpoint = await open_endpoint(visitor, receiver.url, "task.succeeded")
        await visitor.submit()
        await visitor.end()
        await until_tries(visitor, endpoint, 1)
        url = f"/v1/webhooks/{endpoint['id']}/rotate"
        rotated = (await visitor.http.post(url, json={"grace_seconds": 60})).json()
        await pass_time(visitor, 6)
        await until_tries(visitor, endpoint, 2)
        receiver.answer = accept
        await pass_time(visitor, 400)
        await settled(visitor, endpoint, "accepted")

    first, second, third = receiver.got
    assert (
        len({headers["webhook-id"] for headers, _ in receiver.got})
        == len({body for _, body in receiver.got})
        == 1
    )
    verified(endpoint["secret"], *first)
    for secret in (endpoint["secret"], rotated["secret"]):
        verified(secret, *second)
    verified(rotated["secret"], *third)
    with pytest.raises(AssertionError):
        verified(endpoint["secret"], *third)


async def test_200_and_a_gigabyte_is_accepted_and_hardly_read(visitor: Visitor) -> None:
    """The status is what counts; of the rest a beginning is read, and the connection is cut."""
    sent = 0
    cut = asyncio.Event()

    async def pour(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal sent
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1073741824\r\n\r\n")
        try:
            while sent < 1 << 30:
                writer.write(b"x" * 65_536)
                await writer.drain()
                sent += 65_536
        except OSError:
            cut.set()
        writer.close()

    server = await asyncio.start_server(pour, "127.0.0.1", 0)
    async with server, delivering(visitor):
        port = server.sockets[0].getsockname()[1]
        endpoint = await open_endpoint(visitor, f"http://127.0.0.1:{port}/hook", "task.succeeded")
        await visitor.submit()
        await visitor.end()
        await settled(visitor, endpoint, "accepted")
        await asyncio.wait_for(cut.wait(), 20)

    (attempt,) = await attempts_of(visitor, endpoint)
    assert (attempt["status"], attempt["error"]) == (200, None)
    assert len(attempt["reply"]) <= 500
    assert sent < 64 << 20  # what the two sockets hold


async def test_a_redirect_into_private_space_is_not_followed(visitor: Visitor, receiver: Receiver) -> None:
    """It is a failure like any other status, and nothing was connected to."""
    async with receiving() as inner, delivering(visitor):
        receiver.answer = status(302, location=inner.url)
        endpoint = await open_endpoint(visitor, receiver.url, "task.succeeded")
        await visitor.submit()
        await visitor.end()
        await until_tries(visitor, endpoint, 1)
        assert inner.got == []
    (attempt,) = await attempts_of(visitor, endpoint)
    assert (attempt["status"], attempt["error"]) == (302, "It answered 302.")


async def test_a_receiver_that_is_down_for_an_hour_gets_each_event_once(visitor: Visitor) -> None:
    """Nothing listens at its address while two hundred tasks end and an hour passes; then each comes once, and no more."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    async with delivering(visitor):
        await open_endpoint(visitor, f"http://127.0.0.1:{port}/hook", "task.succeeded")
        for _ in range(200):
            await visitor.submit()
            await visitor.end()
        for _ in range(12):
            await pass_time(visitor, 300)
        async with receiving(port) as back:
            # One at a time knocked meanwhile; the first that is accepted brings along those that had not been tried.
            await pass_time(visitor, 331)
            await until(lambda: len(back.got) >= 150)
            for _ in range(20):
                if len(back.got) >= 200:
                    break
                await pass_time(visitor, 3_600)
                await until_quiet(visitor)
            ids = [headers["webhook-id"] for headers, _ in back.got]
            await until(lambda: nothing_due(visitor))
    assert len(ids) == len(set(ids)) == 200
    assert len({json.loads(body)["data"]["id"] for _, body in back.got}) == 200


async def until_quiet(visitor: Visitor) -> None:
    """Until nobody holds a receiver and none is due now."""

    async def quiet() -> bool:
        async with visitor.resources.db.reading() as connection:
            return not await connection.fetchval(
                "SELECT count(*) FROM receivers WHERE leased_until IS NOT NULL OR due_at <= $1",
                visitor.resources.clock.now(),
            )

    await until(quiet)


async def nothing_due(visitor: Visitor) -> bool:
    async with visitor.resources.db.reading() as connection:
        return not await connection.fetchval("SELECT count(*) FROM deliveries WHERE state = 'due'")
