"""Fetching from servers that behave, and from those that do not: over real sockets, names and certificates.

Called by pytest. Each server is a script that reads a request and writes bytes, so it can lie as it likes.
"""

import asyncio
import contextlib
import gzip
import socket
import ssl
from collections import Counter
from collections.abc import Awaitable, Callable
from typing import Any

import aiohttp.connector
import pytest
import trustme

from burnish import settings
from burnish.errors import Failed, Unusable
from burnish.outbound import Fetched, Outbound

LOOPBACK = "127.0.0.0/8"
Serve = Callable[..., Awaitable[int]]
Guard = Callable[..., Outbound]


class Sink:
    """Where fetched bytes go."""

    def __init__(self) -> None:
        self.bytes = bytearray()

    async def write(self, chunk: bytes) -> None:
        self.bytes += chunk


class Says:
    """A script that notes each request and answers with bytes; where `then_wait`, it keeps the connection open."""

    def __init__(self, *replies: bytes, then_wait: bool = False) -> None:
        self.replies = list(replies)
        self.requests: list[bytes] = []
        self.then_wait = then_wait

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.requests.append(await reader.readuntil(b"\r\n\r\n"))
        reply = self.replies.pop(0) if len(self.replies) > 1 else self.replies[0]
        writer.write(reply)
        await writer.drain()
        if self.then_wait:
            await reader.read()


def ok(body: bytes, *headers: str) -> bytes:
    lines = ["HTTP/1.1 200 OK", f"Content-Length: {len(body)}", *headers, "", ""]
    return "\r\n".join(lines).encode("latin-1") + body


def moved(location: str, status: int = 302) -> bytes:
    return f"HTTP/1.1 {status} Moved\r\nContent-Length: 0\r\nLocation: {location}\r\n\r\n".encode()


async def refused(outbound: Outbound, url: str, max_bytes: int = 10_000) -> Failed:
    with pytest.raises(Failed) as refusal:
        await outbound.fetch(url, Sink().write, max_bytes=max_bytes)
    return refusal.value


async def test_bytes_arrive_as_they_were_sent(guard: Guard, serve: Serve, connected: list[Any]) -> None:
    """The file, its type, its size and its name come through; the only connection is the one to its server."""
    body = bytes(range(256)) * 4_000
    port = await serve(Says(ok(body, "Content-Type: Image/PNG; q=1")))
    sink = Sink()
    url = f"http://127.0.0.1:{port}/photos/IMG_1.png?sig=%2b%7e#there"
    fetched = await guard(LOOPBACK).fetch(url, sink.write, max_bytes=len(body))
    assert fetched == Fetched(url.removesuffix("#there"), "image/png", len(body), "IMG_1.png")
    assert sink.bytes == body
    assert connected == [("127.0.0.1", port)]


async def test_a_request_carries_nothing_but_what_it_must(
    guard: Guard, serve: Serve, monkeypatch: pytest.MonkeyPatch, tmp_path: Any
) -> None:
    """No proxy, netrc or cookie of this machine is used; a signed query is sent letter for letter."""
    (tmp_path / "netrc").write_text("machine 127.0.0.1 login a password b\n")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9/")
    monkeypatch.setenv("ALL_PROXY", "http://127.0.0.1:9/")
    server = Says(ok(b"x", "Set-Cookie: a=b"))
    port = await serve(server)
    outbound = guard(LOOPBACK)
    for _ in range(2):
        await outbound.fetch(f"http://127.0.0.1:{port}/a%2Fb?s=%2b%7e+%20", Sink().write, max_bytes=10)
    line, *headers = server.requests[1].decode().split("\r\n")
    assert line == "GET /a%2Fb?s=%2b%7e+%20 HTTP/1.1"
    assert {header.partition(":")[0].lower() for header in headers if header} <= {
        "host",
        "user-agent",
        "accept",
        "accept-encoding",
        "connection",
    }
    assert "Accept-Encoding: identity" in headers


async def test_host_is_the_name_and_the_connection_goes_to_the_judged_address(
    guard: Guard, serve: Serve, zone: Any, asked: Counter[str], connected: list[Any]
) -> None:
    """The name is asked for once; a second answer that differs is never heard."""
    zone["files.example.com"] = [["A 127.0.0.3"], ["A 10.0.0.1"]]
    server = Says(ok(b"x"))
    port = await serve(server, "127.0.0.3")
    await guard(LOOPBACK).fetch(f"http://Files.example.com:{port}/", Sink().write, max_bytes=10)
    assert f"Host: Files.example.com:{port}".encode() in server.requests[0]
    assert asked == {"files.example.com": 1}
    assert connected == [("127.0.0.3", port)]


async def test_a_broken_connection_is_not_opened_again(
    guard: Guard, serve: Serve, zone: Any, asked: Counter[str], connected: list[Any]
) -> None:
    """A name whose second answer is private cannot be made to be asked again by hanging up."""

    async def hang_up(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.transport.abort()

    zone["files.example.com"] = [["A 127.0.0.1"], ["A 10.0.0.1"]]
    port = await serve(hang_up)
    refusal = await refused(guard(LOOPBACK), f"http://files.example.com:{port}/")
    assert refusal.reason == "input_unreachable"
    assert "broke off" in refusal.message
    assert asked == {"files.example.com": 1}
    assert connected == [("127.0.0.1", port)]


async def test_each_redirect_is_judged_again(
    guard: Guard, serve: Serve, zone: Any, connected: list[Any]
) -> None:
    """A server that redirects to its own name cannot move that name into private space meanwhile."""
    zone["files.example.com"] = [["A 127.0.0.1"], ["A 10.0.0.1"]]
    port = await serve(Says(moved("/again")))
    refusal = await refused(guard(LOOPBACK), f"http://files.example.com:{port}/")
    assert refusal.reason == "input_blocked"
    assert connected == [("127.0.0.1", port)]


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
@pytest.mark.parametrize("hops", [1, 3])
async def test_up_to_three_redirects_are_followed(status: int, hops: int, guard: Guard, serve: Serve) -> None:
    """Each with a request of its own, and the last address is the one reported."""
    server = Says(*[moved(f"/{hop}.png", status) for hop in range(hops)], ok(b"x"))
    port = await serve(server)
    fetched = await guard(LOOPBACK).fetch(f"http://127.0.0.1:{port}/a", Sink().write, max_bytes=10)
    assert fetched.final_url == f"http://127.0.0.1:{port}/{hops - 1}.png"
    assert len(server.requests) == hops + 1


@pytest.mark.parametrize("location", ["/next", ""])
async def test_a_fourth_redirect_is_refused(location: str, guard: Guard, serve: Serve) -> None:
    """Also where it has no Location, or leads in a circle."""
    server = Says(moved(location))
    refusal = await refused(guard(LOOPBACK), f"http://127.0.0.1:{await serve(server)}/")
    assert refusal.reason == "input_unreachable"
    assert "more than 3 times" in refusal.message
    assert len(server.requests) == 4


@pytest.mark.parametrize(
    ("status", "reason", "told"),
    [
        (401, "input_forbidden", "refuses access"),
        (403, "input_forbidden", "refuses access"),
        (404, "input_unreachable", "has nothing"),
        (410, "input_unreachable", "has nothing"),
        (418, "input_unreachable", "instead of the file"),
        (206, "input_unreachable", "instead of the file"),
        (500, "input_unreachable", "in trouble"),
        (503, "input_unreachable", "in trouble"),
    ],
)
async def test_a_refusing_status_is_told_apart(
    status: int, reason: str, told: str, guard: Guard, serve: Serve
) -> None:
    """The message has the status and none of what the server wrote."""
    reply = f"HTTP/1.1 {status} SECRET\r\nContent-Length: 6\r\nServer: SECRET\r\n\r\nSECRET".encode()
    refusal = await refused(guard(LOOPBACK), f"http://127.0.0.1:{await serve(Says(reply))}/")
    assert refusal.reason == reason
    assert told in refusal.message
    assert f"status {status}" in refusal.message
    assert "SECRET" not in refusal.message


@pytest.mark.parametrize(
    "content_type", ["text/html; charset=utf-8", "application/json", "application/problem+json", "text/xml"]
)
async def test_what_says_it_is_no_media_is_refused(content_type: str, guard: Guard, serve: Serve) -> None:
    """A page where a picture was meant is told at once, and not downloaded."""
    port = await serve(Says(ok(b"<html>", f"Content-Type: {content_type}")))
    refusal = await refused(guard(LOOPBACK), f"http://127.0.0.1:{port}/")
    assert refusal.reason == "unsupported_format"
    assert "not media" in refusal.message


@pytest.mark.parametrize(
    "content_type", ["", "\x80", "text/plain", "application/octet-stream", "image/x-" + "a" * 500]
)
async def test_a_type_that_says_nothing_is_left_to_the_probe(
    content_type: str, guard: Guard, serve: Serve
) -> None:
    """Servers that know no type for a raw photo send anything; only the bytes tell."""
    port = await serve(Says(ok(b"x", f"Content-Type: {content_type}")))
    await guard(LOOPBACK).fetch(f"http://127.0.0.1:{port}/", Sink().write, max_bytes=10)


async def test_a_length_over_the_limit_is_refused_before_a_byte_is_taken(guard: Guard, serve: Serve) -> None:
    """What is announced as too large is not begun."""
    port = await serve(Says(b"HTTP/1.1 200 OK\r\nContent-Length: 10001\r\n\r\n", then_wait=True))
    refusal = await refused(guard(LOOPBACK), f"http://127.0.0.1:{port}/")
    assert refusal.reason == "input_too_large"
    assert "10000 bytes" in refusal.message


async def test_an_endless_body_is_cut_at_the_limit(guard: Guard, serve: Serve) -> None:
    """No more than the limit is ever given to `write`, whatever the headers leave out."""

    async def endless(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        while True:
            writer.write(b"400\r\n" + b"x" * 0x400 + b"\r\n")
            await writer.drain()

    sink = Sink()
    with pytest.raises(Failed) as refusal:
        await guard(LOOPBACK).fetch(
            f"http://127.0.0.1:{await serve(endless)}/", sink.write, max_bytes=100_000
        )
    assert refusal.value.reason == "input_too_large"
    assert len(sink.bytes) <= 100_000


async def test_a_body_of_exactly_the_limit_is_taken(guard: Guard, serve: Serve) -> None:
    """The limit is the largest size that passes, with a length or without."""
    for reply in (ok(b"x" * 100), b"HTTP/1.1 200 OK\r\n\r\n" + b"x" * 100):
        url = f"http://127.0.0.1:{await serve(Says(reply))}/"
        assert (await guard(LOOPBACK).fetch(url, Sink().write, max_bytes=100)).size_bytes == 100


async def test_a_body_shorter_than_announced_is_broken_off(guard: Guard, serve: Serve) -> None:
    """A length that lies upwards is a broken transfer, never a short file."""
    port = await serve(Says(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nshort"))
    refusal = await refused(guard(LOOPBACK), f"http://127.0.0.1:{port}/")
    assert refusal.reason == "input_unreachable"
    assert "broke off" in refusal.message


async def test_a_body_never_gives_more_than_was_announced(guard: Guard, serve: Serve) -> None:
    """A length that lies downwards ends there, or fails as no HTTP when the rest comes in the same packet."""
    port = await serve(Says(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nshort and more"))
    sink = Sink()
    with contextlib.suppress(Failed):
        await guard(LOOPBACK).fetch(f"http://127.0.0.1:{port}/", sink.write, max_bytes=100)
    assert bytes(sink.bytes) in {b"", b"short"}


async def test_a_reset_in_the_middle_is_broken_off(guard: Guard, serve: Serve) -> None:
    """A connection that dies leaves a fetch that failed, never one that hangs."""

    async def reset(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n")
        await writer.drain()
        writer.transport.abort()

    refusal = await refused(guard(LOOPBACK), f"http://127.0.0.1:{await serve(reset)}/")
    assert refusal.reason == "input_unreachable"


@pytest.mark.parametrize("coding", ["gzip", "br", "x-gzip", "identity, GZIP"])
async def test_compressed_replies_are_refused_and_not_unpacked(
    coding: str, guard: Guard, serve: Serve
) -> None:
    """A few kilobytes that would grow to a gigabyte stay a few kilobytes."""
    bomb = gzip.compress(bytes(10_000_000))
    port = await serve(Says(ok(bomb, f"Content-Encoding: {coding}", "Content-Type: image/png")))
    refusal = await refused(guard(LOOPBACK), f"http://127.0.0.1:{port}/", max_bytes=100_000_000)
    assert refusal.reason == "unsupported_format"
    assert "compressed" in refusal.message


async def test_silence_ends_at_the_idle_limit(guard: Guard, serve: Serve) -> None:
    """Before the headers and in the middle of the body."""
    for begun in (b"", b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nbegun"):
        port = await serve(Says(begun, then_wait=True))
        refusal = await refused(guard(LOOPBACK, idle_seconds=0.1), f"http://127.0.0.1:{port}/")
        assert refusal.reason == "input_timeout"


@pytest.mark.parametrize("begun", [b"HTTP/1.1 200 OK\r\n", b"HTTP/1.1 200 OK\r\n\r\n"])
async def test_a_drip_ends_although_it_never_pauses(begun: bytes, guard: Guard, serve: Serve) -> None:
    """One header, or one byte, at a time wins no more time than the slowest rate gives."""

    async def drip(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(begun)
        while True:
            writer.write(b"X: y\r\n" if begun.count(b"\r\n") == 1 else b"x")
            await writer.drain()
            await asyncio.sleep(0.02)  # the server's own slowness

    outbound = guard(LOOPBACK, connect_seconds=0.2, idle_seconds=0.2, slowest_bytes=1_000_000)
    refusal = await refused(outbound, f"http://127.0.0.1:{await serve(drip)}/")
    assert refusal.reason == "input_timeout"


async def test_time_that_writing_takes_is_not_counted_against_the_server(guard: Guard, serve: Serve) -> None:
    """A slow disk of ours fails no client's file."""

    async def slowly(_chunk: bytes) -> None:
        await asyncio.sleep(0.7)  # our own slowness

    port = await serve(Says(ok(b"x" * 100)))
    outbound = guard(LOOPBACK, idle_seconds=0.5)
    await outbound.fetch(f"http://127.0.0.1:{port}/", slowly, max_bytes=100)


async def test_what_writing_raises_comes_through(guard: Guard, serve: Serve) -> None:
    """Also an error that would mean something else had the network raised it."""

    async def full(_chunk: bytes) -> None:
        raise TimeoutError("ours")

    port = await serve(Says(ok(b"x")))
    with pytest.raises(TimeoutError, match="ours"):
        await guard(LOOPBACK).fetch(f"http://127.0.0.1:{port}/", full, max_bytes=100)


@pytest.mark.parametrize(
    "garbage",
    [
        b"SSH-2.0-OpenSSH_9.9 SECRET\r\n",
        b"<html>SECRET</html>",
        b"HTTP/1.1 200 OK\r\nContent-Length: SECRET\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nX: " + b"SECRET" * 5_000 + b"\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n" + b"X: SECRET\r\n" * 5_000 + b"\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nSECRET",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nSECRET\r\n",
        b"",
    ],
)
async def test_what_is_not_http_is_refused_and_not_repeated(
    garbage: bytes, guard: Guard, serve: Serve
) -> None:
    """Another service's banner is never shown to whoever gave its address."""
    refusal = await refused(guard(LOOPBACK), f"http://127.0.0.1:{await serve(Says(garbage))}/")
    assert refusal.reason == "input_unreachable"
    assert "SECRET" not in refusal.message


async def test_a_closed_port_and_one_that_never_answers_are_told_apart(guard: Guard, serve: Serve) -> None:
    """Unreachable where nobody listens, timeout where nobody accepts."""
    port = await serve(Says(b""))
    outbound = guard(LOOPBACK, connect_seconds=0.3)
    assert (await refused(outbound, f"http://127.0.0.9:{port}/")).reason == "input_unreachable"
    with socket.create_server(("127.0.0.1", 0), backlog=0) as full, contextlib.ExitStack() as waiting:
        address = full.getsockname()
        for _ in range(4):  # more than the kernel keeps for a server that does not accept
            client = waiting.enter_context(socket.socket())
            client.setblocking(False)
            client.connect_ex(address)
        assert (await refused(outbound, f"http://127.0.0.1:{address[1]}/")).reason == "input_timeout"


async def test_tls_is_checked_against_the_name_that_was_given(
    guard: Guard, serve: Serve, zone: Any, connected: list[Any]
) -> None:
    """The right certificate passes at the judged address; another name's, and an unknown authority's, do not."""
    authority, stranger = trustme.CA(), trustme.CA()
    assert isinstance(aiohttp.connector._SSL_CONTEXT_VERIFIED, ssl.SSLContext)
    authority.configure_trust(aiohttp.connector._SSL_CONTEXT_VERIFIED)
    zone["right.example.com"] = zone["wrong.example.com"] = [["A 127.0.0.1"]]
    named: list[str | None] = []

    async def https(issuer: trustme.CA) -> int:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        issuer.issue_cert("right.example.com").configure_cert(context)
        context.sni_callback = lambda _socket, name, _context: named.append(name)
        return await serve(Says(ok(b"x")), ssl=context)

    async def no_tls(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"220 not TLS\r\n")
        await writer.drain()

    outbound, port = guard(LOOPBACK), await https(authority)
    await outbound.fetch(f"https://right.example.com.:{port}/", Sink().write, max_bytes=10)
    assert named == ["right.example.com"]
    assert connected == [("127.0.0.1", port)]
    for url in (
        f"https://wrong.example.com:{port}/",
        f"https://127.0.0.1:{port}/",
        f"https://right.example.com:{await https(stranger)}/",
        f"https://127.0.0.1:{await serve(no_tls)}/",
    ):
        refusal = await refused(outbound, url)
        assert refusal.reason == "input_unreachable"
        assert "certificate" in refusal.message


async def test_a_redirect_from_https_to_http_is_refused(guard: Guard, serve: Serve) -> None:
    """Whoever asks for an encrypted address is not given bytes that anyone on the way could change."""
    authority = trustme.CA()
    assert isinstance(aiohttp.connector._SSL_CONTEXT_VERIFIED, ssl.SSLContext)
    authority.configure_trust(aiohttp.connector._SSL_CONTEXT_VERIFIED)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    plain = Says(ok(b"x"))
    port = await serve(Says(moved(f"http://127.0.0.1:{await serve(plain)}/")), ssl=context)
    refusal = await refused(guard(LOOPBACK), f"https://127.0.0.1:{port}/")
    assert refusal.reason == "input_blocked"
    assert plain.requests == []


@pytest.mark.parametrize(
    ("headers", "path", "name"),
    [
        ([], "/a/b.png", "b.png"),
        ([], "/a/", None),
        ([], "/%2E%2E%2Fetc%2Fpasswd", "passwd"),
        ([], "/b%C3%BC.png", "bü.png"),
        (['Content-Disposition: attachment; filename="c d.png"'], "/x", "c d.png"),
        (["Content-Disposition: attachment; filename*=UTF-8''b%C3%BC.png"], "/x", "bü.png"),
        (["Content-Disposition: attachment; filename=../../etc/passwd"], "/x", "passwd"),
        (["Content-Disposition: attachment; filename=C:\\temp\\d.png"], "/x", "d.png"),
        (["Content-Disposition: \xff; filename*=none''%ff; =;;"], "/x", "ÿ"),
        (["Content-Disposition: attachment; filename*=UTF-8''a%00%0Ab.png"], "/x", "ab.png"),
        (["Content-Disposition: attachment; filename=" + "a" * 1_000], "/x", "a" * 255),
    ],
)
async def test_the_name_is_a_plain_file_name(
    headers: list[str], path: str, name: str | None, guard: Guard, serve: Serve
) -> None:
    """Whatever the server calls the file, no path and nothing invisible comes in by it."""
    port = await serve(Says(ok(b"x", *headers)))
    fetched = await guard(LOOPBACK).fetch(f"http://127.0.0.1:{port}{path}", Sink().write, max_bytes=10)
    assert fetched.filename == name


async def test_what_the_operator_lets_through_is_reached(guard: Guard, serve: Serve, zone: Any) -> None:
    """A network by its addresses, also behind a name; a name wherever it leads, and no other name there."""
    zone["in.example.com"] = zone["other.example.com"] = [["A 127.0.0.1"]]
    port = await serve(Says(ok(b"x")))
    for allow, url in (
        ("127.0.0.1", f"http://127.0.0.1:{port}/"),
        ("127.0.0.0/8", f"http://in.example.com:{port}/"),
        ("127.0.0.0/8", f"http://[::ffff:127.0.0.1]:{port}/"),
        ("In.example.com.", f"http://in.EXAMPLE.com:{port}/"),
        ("localhost", f"http://localhost:{port}/"),
    ):
        await guard(allow).fetch(url, Sink().write, max_bytes=10)
    for allow, url in (
        ("127.0.0.2/32", f"http://127.0.0.1:{port}/"),
        ("in.example.com", f"http://other.example.com:{port}/"),
        ("in.example.com", f"http://127.0.0.1:{port}/"),
    ):
        assert (await refused(guard(allow), url)).reason == "input_blocked"


@pytest.mark.parametrize(
    "wrong", ["10.0.0.1/8", "10.0.0.0/99", "http://a.example.com", "1.2.3", "a b", "127.1"]
)
def test_an_allowance_that_means_nothing_stops_the_start(wrong: str) -> None:
    """A misspelt network is never taken for a host name, nor left out in silence."""
    with pytest.raises(Unusable, match="allow holds"):
        Outbound(settings.Outbound(allow=(wrong,)))


async def test_a_nameserver_that_means_nothing_stops_the_start() -> None:
    """The message shows what was set."""
    with pytest.raises(Unusable, match="nameserver is"):
        Outbound(settings.Outbound(nameserver="not an address"))


async def test_names_are_asked_over_tcp_where_the_answer_is_long(
    guard: Guard, serve: Serve, zone: Any
) -> None:
    """An answer cut short over UDP is asked for again over TCP before it is judged."""
    zone["files.example.com"] = [["TRUNCATED", "A 127.0.0.1"], ["TRUNCATED", "A 127.0.0.1"]]
    port = await serve(Says(ok(b"x")))
    await guard(LOOPBACK).fetch(f"http://files.example.com:{port}/", Sink().write, max_bytes=10)


async def test_a_cancelled_fetch_leaves_no_connection(guard: Guard, serve: Serve) -> None:
    """The server sees the connection close."""
    closed = asyncio.Event()

    async def until_closed(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nx")
        await reader.read()
        closed.set()

    begun = asyncio.Event()

    async def write(_chunk: bytes) -> None:
        begun.set()

    url = f"http://127.0.0.1:{await serve(until_closed)}/"
    fetch = asyncio.ensure_future(guard(LOOPBACK).fetch(url, write, max_bytes=100))
    async with asyncio.timeout(10):
        await begun.wait()
        fetch.cancel()
        await closed.wait()
    with pytest.raises(asyncio.CancelledError):
        await fetch
