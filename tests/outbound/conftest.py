"""What the tests of the guard stand on: names and servers of their own on loopback, and an ear on every connection.

`zone` is what the DNS server knows; `serve` starts a server from a script; `connected` lists every address that
this process connected a socket to since the test began.
"""

import asyncio
import socket
import struct
import sys
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from typing import Any, cast

import pytest

from burnish import settings
from burnish.outbound import Outbound

#: A name's answers, one list for each time it is asked, the last for ever after. Each is `A 192.0.2.1`, `AAAA ::1`,
#: `CNAME other.example.com`, or alone `NXDOMAIN`, `SERVFAIL`, `SILENT` (no answer at all) or `TRUNCATED` (over TCP only).
Zone = dict[str, list[list[str]]]
Script = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]

_KINDS = {"A": 1, "CNAME": 5, "AAAA": 28}
_connected: list[Any] = []


def _hear(event: str, arguments: tuple[Any, ...]) -> None:
    if event == "socket.connect":
        _connected.append(arguments[1])


sys.addaudithook(_hear)


@pytest.fixture
def connected() -> Iterator[list[Any]]:
    """Every address that Python connected a socket to; the DNS library asks from C and is not among them."""
    _connected.clear()
    yield _connected
    _connected.clear()


@pytest.fixture
def zone() -> Zone:
    return {}


@pytest.fixture
def asked() -> Counter[str]:
    """How often each name's A record was asked for."""
    return Counter()


@pytest.fixture
async def nameserver(zone: Zone, asked: Counter[str]) -> AsyncIterator[str]:
    """A DNS server for `zone`, over UDP and TCP on one port of 127.0.0.1; its `address:port`."""

    class OverUdp(asyncio.DatagramProtocol):
        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            self.transport = cast("asyncio.DatagramTransport", transport)

        def datagram_received(self, question: bytes, sender: tuple[str, int]) -> None:
            if answer := _answer(question, zone, asked, over_udp=True):
                self.transport.sendto(answer, sender)

    async def over_tcp(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        (length,) = struct.unpack(">H", await reader.readexactly(2))
        answer = _answer(await reader.readexactly(length), zone, asked, over_udp=False)
        assert answer is not None
        writer.write(struct.pack(">H", len(answer)) + answer)
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(over_tcp, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    transport, _ = await asyncio.get_running_loop().create_datagram_endpoint(
        OverUdp, local_addr=("127.0.0.1", port)
    )
    yield f"127.0.0.1:{port}"
    transport.close()
    server.close()
    await server.wait_closed()


@pytest.fixture
async def guard(nameserver: str) -> AsyncIterator[Callable[..., Outbound]]:
    """Makes guards that ask `nameserver`; the arguments are settings."""
    made: list[Outbound] = []

    def make(*allow: str, **changed: Any) -> Outbound:
        made.append(Outbound(settings.Outbound(allow=allow, **{"nameserver": nameserver, **changed})))
        return made[-1]

    yield make
    for outbound in made:
        await outbound.close()


@pytest.fixture
async def serve() -> AsyncIterator[Callable[..., Awaitable[int]]]:
    """Starts servers on loopback that run a script for each connection; returns the port."""
    servers: list[asyncio.Server] = []
    running: set[asyncio.Task[Any]] = set()

    async def start(script: Script, address: str = "127.0.0.1", **how: Any) -> int:
        async def once(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            task = asyncio.current_task()
            assert task is not None
            running.add(task)
            async with _closed(writer):
                await script(reader, writer)
            running.discard(task)

        server = await asyncio.start_server(once, address, 0, **how)
        servers.append(server)
        port: int = server.sockets[0].getsockname()[1]
        return port

    yield start
    for server in servers:
        server.close()
    for task in list(running):
        task.cancel()
    await asyncio.gather(*running, return_exceptions=True)


@asynccontextmanager
async def _closed(writer: asyncio.StreamWriter) -> AsyncIterator[None]:
    try:
        yield
    except (ConnectionError, asyncio.CancelledError):
        pass  # the guard hung up, as many of these servers deserve, or the test is over
    finally:
        writer.close()


def _answer(question: bytes, zone: Zone, asked: Counter[str], *, over_udp: bool) -> bytes | None:
    """The DNS message that answers `question` (RFC 1035, section 4), with the whole chain of aliases in it."""
    end = question.index(0, 12) + 5
    name, kind = _read_name(question[12:]), struct.unpack(">H", question[end - 4 : end - 2])[0]
    asked[name] += kind == _KINDS["A"]
    rounds = zone.get(name, [["NXDOMAIN"]])
    records = rounds[min(max(asked[name], 1), len(rounds)) - 1]
    if records == ["SILENT"]:
        return None
    truncated = records[:1] == ["TRUNCATED"] and over_udp
    code = {"NXDOMAIN": 3, "SERVFAIL": 2}.get(records[0], 0) if records else 0
    found = b"" if truncated else b"".join(_records(name, records, kind, zone))
    count = 0 if truncated else len(list(_records(name, records, kind, zone)))
    header = question[:2] + struct.pack(">HHHHH", 0x8180 | truncated << 9 | code, 1, count, 0, 0)
    return header + question[12:end] + found


def _records(name: str, records: list[str], kind: int, zone: Zone) -> Iterator[bytes]:
    for record in records:
        what, _, value = record.partition(" ")
        if what == "CNAME":
            yield _record(name, _KINDS["CNAME"], _write_name(value))
            yield from _records(value, zone[value][0], kind, zone)
        elif _KINDS.get(what) == kind:
            family = socket.AF_INET if what == "A" else socket.AF_INET6
            yield _record(name, kind, socket.inet_pton(family, value))


def _record(name: str, kind: int, data: bytes) -> bytes:
    return _write_name(name) + struct.pack(">HHIH", kind, 1, 0, len(data)) + data


def _write_name(name: str) -> bytes:
    return b"".join(bytes([len(label)]) + label.encode() for label in name.split(".")) + b"\0"


def _read_name(data: bytes) -> str:
    labels, at = [], 0
    while data[at]:
        labels.append(data[at + 1 : at + 1 + data[at]].decode().lower())
        at += 1 + data[at]
    return ".".join(labels)
