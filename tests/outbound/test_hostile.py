"""Addresses that must never be connected to: each is refused, with the right reason, and nothing is connected to.

Called by pytest. The table is the corpus: it is fetched as it stands, it is what a public-looking server redirects
to, and it is what webhooks are sent to. `{port}` is a port of 127.0.0.1 and ::1 where a listener counts who comes.
"""
# ruff: noqa: RUF001 - digits and letters of other alphabets are the point

import asyncio
import ipaddress
import re
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from typing import Any, NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from burnish import settings
from burnish.errors import Failed
from burnish.outbound import Outbound, is_public


class Hostile(NamedTuple):
    """An address, whether its text alone gives it away, the reason, and a part of what the person is told."""

    url: str
    by_text: bool
    reason: str
    told: str


NOT_PUBLIC = "not an address on the public internet"
NOT_A_HOST = "not a host on the public internet"
SPELLING = "spells its host"
SCHEME = "must begin with http"
PASSWORD = "a user name or a password"
TRICK = "a space, a backslash or an invisible character"
UNREADABLE = "cannot be read"
NO_HOST = "no host name that can be read"
PORT = "names port"


def _text(told: str, *urls: str) -> list[Hostile]:
    return [Hostile(url, True, "input_blocked", told) for url in urls]


def _name(reason: str, told: str, *names: str) -> list[Hostile]:
    return [Hostile(f"http://{name}.example.com:{{port}}/a.png", False, reason, told) for name in names]


CORPUS = [
    *_text(
        NOT_PUBLIC,
        "http://127.0.0.1:{port}/",
        "https://127.0.0.1/",
        "http://127.255.255.254:{port}/",
        "http://0.0.0.0:{port}/",
        "http://0.1.2.3:{port}/",
        "http://10.0.0.1/",
        "http://172.16.0.1/",
        "http://172.31.255.255/",
        "http://192.168.1.1:8080/",
        "http://100.64.0.1/",
        "http://100.100.100.200/latest/meta-data/",
        "http://169.254.169.254/latest/meta-data/iam/security-credentials/",
        "http://169.254.170.2/v2/credentials",
        "http://168.63.129.16/machine?comp=goalstate",
        "http://192.0.0.192/opc/v2/instance/",
        "http://192.0.2.1/",
        "http://198.18.0.1/",
        "http://198.51.100.7/",
        "http://203.0.113.9/",
        "http://192.88.99.1/",
        "http://224.0.0.1/",
        "http://240.0.0.1/",
        "http://255.255.255.255/",
        "http://[::]:{port}/",
        "http://[::1]:{port}/",
        "http://[0:0:0:0:0:0:0:1]:{port}/",
        "http://[::ffff:127.0.0.1]:{port}/",
        "http://[::FFFF:7F00:1]:{port}/",
        "http://[::ffff:169.254.169.254]/",
        "http://[::127.0.0.1]:{port}/",
        "http://[64:ff9b::127.0.0.1]:{port}/",
        "http://[64:ff9b::a9fe:a9fe]/",
        "http://[64:ff9b:1::8.8.8.8]/",
        "http://[2002:7f00:1::]/",
        "http://[2002:0808:0808::1]/",
        "http://[2001:0:4136:e378:8000:63bf:80ff:fffe]/",
        "http://[2a00:1450:4001:80b:0:5efe:10.0.0.1]/",
        "http://[2a00:1450:4001:80b:200:5efe:127.0.0.1]/",
        "http://[2001:db8::1]/",
        "http://[3fff::1]/",
        "http://[100::1]/",
        "http://[5f00::1]/",
        "http://[fc00::1]/",
        "http://[fd00:ec2::254]/latest/meta-data/",
        "http://[fe80::1]/",
        "http://[fec0::1]/",
        "http://[ff02::1]/",
        # Other alphabets' digits and dots become plain ones on the way (UTS 46).
        "http://１２７.０.０.１:{port}/",
        "http://127。0。0。1:{port}/",
        "http://①②⑦.0.0.1:{port}/",
    ),
    *_text(
        SPELLING,
        "http://2130706433:{port}/",
        "http://0x7f000001:{port}/",
        "http://017700000001:{port}/",
        "http://0177.0.0.1:{port}/",
        "http://0x7f.0.0.1:{port}/",
        "http://0x7f.1:{port}/",
        "http://127.1:{port}/",
        "http://127.0.1:{port}/",
        "http://127.0.0.01:{port}/",
        "http://127.0.0.1.:{port}/",
        "http://0:{port}/",
        "http://0x:{port}/",
        "http://256.256.256.256/",
        "http://127.0.0.0x1:{port}/",
        "http://example.com.1/",
        "http://２１３０７０６４３３:{port}/",
        "http://[::ffff:127.0.0.1.]:{port}/",
        "http://[1::2::3]/",
    ),
    *_text(
        NOT_A_HOST,
        "http://localhost:{port}/",
        "http://LOCALHOST:{port}/",
        "http://localhost.:{port}/",
        "http://ｌｏｃａｌｈｏｓｔ:{port}/",
        "http://anything.localhost:{port}/",
        "http://metadata.google.internal/computeMetadata/v1/",
        "http://metadata/computeMetadata/v1/",
        "http://printer.local/",
        "http://router.home.arpa/",
        "http://postgres:5432/",
    ),
    *_text(
        SCHEME,
        "file:///etc/passwd",
        "ftp://files.example.com/a.png",
        "gopher://127.0.0.1:{port}/_x",
        "data:image/png;base64,AAAA",
        "unix:///run/docker.sock",
        "ws://public.example.com/",
        "javascript:alert(1)",
        "//public.example.com/a.png",
        "/etc/passwd",
        "http:/127.0.0.1:{port}/",
        "http:127.0.0.1:{port}",
        "jar:http://public.example.com!/",
        "",
    ),
    *_text(
        PASSWORD,
        "http://user:secret@public.example.com/",
        "http://public.example.com@127.0.0.1:{port}/",
        "http://@127.0.0.1:{port}/",
        "http://:@127.0.0.1:{port}/",
        "https://token@public.example.com/",
        "http://127.0.0.1:{port}@public.example.com/",
    ),
    *_text(
        TRICK,
        " http://127.0.0.1:{port}/",
        "http://127.0.0.1:{port}/ ",
        "http://127.0.0.1:{port}\\@public.example.com/",
        "http://public.example.com\\.127.0.0.1:{port}/",
        "ht\ttp://127.0.0.1:{port}/",
        "http://127.0.0.1:{port}/\r\nHost: x",
        "http://127.0.0.1\x00.example.com/",
        "http://loc\u00adalhost:{port}/",
        "http://local\u200bhost:{port}/",
        "http://public.example.com/\ud800",
        "http://public.example.com/a b.png",
    ),
    *_text(
        NO_HOST,
        "http://",
        "http:///etc/passwd",
        "http://%31%32%37.0.0.1:{port}/",
        "http://127.0.0.1%00.example.com/",
        "http://127.0.0.1%2eexample.com/",
        "http://[::1%25lo]:{port}/",
        "http://[fe80::1%eth0]/",
        "http://[v1.127.0.0.1]:{port}/",
        "http://public..example.com/",
        "http://.example.com/",
        "http://-public.example.com/",
        "http://public.example.com;127.0.0.1/",
        "http://public.example.com:+80/",
        "http://" + "a" * 64 + ".example.com/",
        "http://" + "a." * 130 + "example.com/",
    ),
    *_text(
        UNREADABLE,
        "http://public.example.com:99999/",
        "http://public.example.com:80:80/",
        "http://[127.0.0.1]:{port}/",
        "http://[::1].example.com/",
        "http://℀.example.com/",
    ),
    *_text(
        PORT,
        "http://public.example.com:0/",
        "http://public.example.com:22/",
        "http://public.example.com:25/",
        "http://public.example.com:6379/",
        "http://public.example.com:11211/",
    ),
    *_text("is longer than", "http://public.example.com/" + "a" * 10_000),
    *_name(
        "input_blocked",
        NOT_A_HOST,
        "private",
        "loopback",
        "both",
        "both-the-other-way",
        "both-families",
        "mapped",
        "nat64",
        "link-local",
        "metadata",
        "any",
        "alias-into-private",
        "alias-chain-into-private",
        "truncated-private",
        "PRIVATE",
    ),
    *_name("input_unreachable", "knows no address", "nxdomain", "empty", "alias-to-nothing", "servfail"),
    *_name("input_timeout", "did not (say|answer)", "silent"),
]

NAMES: dict[str, list[list[str]]] = {
    "private": [["A 10.1.2.3"]],
    "loopback": [["A 127.0.0.1"]],
    "both": [["A 8.8.8.8", "A 127.0.0.1"]],
    "both-the-other-way": [["A 192.168.0.1", "A 8.8.8.8"]],
    "both-families": [["A 8.8.8.8", "AAAA ::1"]],
    "mapped": [["AAAA ::ffff:127.0.0.1"]],
    "nat64": [["AAAA 64:ff9b::7f00:1"]],
    "link-local": [["AAAA fe80::1"]],
    "metadata": [["A 169.254.169.254"]],
    "any": [["A 0.0.0.0"]],
    "alias-into-private": [["CNAME private.example.com"]],
    "alias-chain-into-private": [["CNAME alias-into-private.example.com"]],
    "truncated-private": [["TRUNCATED", "A 127.0.0.1"]],
    "nxdomain": [["NXDOMAIN"]],
    "empty": [[]],
    "alias-to-nothing": [["CNAME empty.example.com"]],
    "servfail": [["SERVFAIL"]],
    "silent": [["SILENT"]],
}


@pytest.fixture
def zone() -> dict[str, list[list[str]]]:
    return {f"{name}.example.com": rounds for name, rounds in NAMES.items()}


@pytest.fixture
async def trap() -> AsyncIterator[tuple[int, list[Any]]]:
    """A port on 127.0.0.1 and, where there is one, ::1; the list grows when somebody connects."""
    came: list[Any] = []

    async def count(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        came.append(writer.get_extra_info("peername"))
        writer.close()

    servers = [await asyncio.start_server(count, "127.0.0.1", 0)]
    port = servers[0].sockets[0].getsockname()[1]
    with suppress(OSError):  # a machine without IPv6 cannot be reached over it either
        servers.append(await asyncio.start_server(count, "::1", port))
    yield port, came
    for server in servers:
        server.close()


async def _ignore(_chunk: bytes) -> None:
    raise AssertionError("bytes came from an address that must not be fetched")


def _patience(hostile: Hostile) -> dict[str, float]:
    """Short where only waiting tells the answer; as set for everybody where a busy machine might be late."""
    return {"connect_seconds": 1.0} if hostile.reason == "input_timeout" else {}


def _short(hostile: Hostile) -> str:
    return re.sub(r"[^!-~]+", "?", hostile.url[:60]) or "nothing"


each = pytest.mark.parametrize("hostile", CORPUS, ids=_short)
#: What a Location header can carry, and what does not mean a path on the server that sends it.
each_as_location = pytest.mark.parametrize(
    "hostile",
    [h for h in CORPUS if h.url.isprintable() and len(h.url) < 8_000 and re.match(r"\w+:(//|[^/h1])", h.url)],
    ids=_short,
)


def test_the_corpus_is_as_large_as_promised() -> None:
    """At least sixty hostile addresses, no two alike."""
    assert len({hostile.url for hostile in CORPUS}) == len(CORPUS) >= 60


@each
async def test_a_hostile_address_is_refused_and_not_connected_to(
    hostile: Hostile,
    guard: Callable[..., Outbound],
    trap: tuple[int, list[Any]],
    connected: list[Any],
) -> None:
    """Fetching it fails with its reason; no socket was connected to anything."""
    port, came = trap
    with pytest.raises(Failed, match=hostile.told) as refusal:
        await guard(**_patience(hostile)).fetch(
            hostile.url.replace("{port}", str(port)), _ignore, max_bytes=1
        )
    assert refusal.value.reason == hostile.reason
    assert connected == []
    assert came == []


@each_as_location
async def test_a_redirect_to_a_hostile_address_is_refused_and_not_followed(
    hostile: Hostile,
    guard: Callable[..., Outbound],
    serve: Callable[..., Awaitable[int]],
    trap: tuple[int, list[Any]],
    connected: list[Any],
) -> None:
    """A server that may be reached cannot lend its standing to one that may not."""
    trapped, came = trap

    async def redirect(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        location = hostile.url.replace("{port}", str(trapped)).encode("utf-8", "surrogateescape")
        writer.write(b"HTTP/1.1 302 Found\r\nContent-Length: 0\r\nLocation: " + location + b"\r\n\r\n")
        await writer.drain()

    port = await serve(redirect, "127.0.0.2")
    url = f"http://127.0.0.2:{port}/a.png"
    with pytest.raises(Failed) as refusal:
        await guard("127.0.0.2/32", **_patience(hostile)).fetch(url, _ignore, max_bytes=1)
    assert refusal.value.reason == hostile.reason
    assert connected == [("127.0.0.2", port)]
    assert came == []


@each
async def test_a_webhook_is_not_sent_to_a_hostile_address(
    hostile: Hostile,
    guard: Callable[..., Outbound],
    trap: tuple[int, list[Any]],
    connected: list[Any],
) -> None:
    """Sending takes the same guard as fetching."""
    port, came = trap
    with pytest.raises(Failed, match=hostile.told) as refusal:
        await guard(**_patience(hostile)).send(
            hostile.url.replace("{port}", str(port)),
            method="POST",
            headers={},
            body=b"{}",
            timeout_seconds=5,
            max_reply_bytes=100,
        )
    assert refusal.value.reason == hostile.reason
    assert connected == []
    assert came == []


@each
async def test_check_refuses_at_once_what_the_text_gives_away(
    hostile: Hostile, guard: Callable[..., Outbound], asked: dict[str, int]
) -> None:
    """A submission is refused before anything is asked of anyone; names are left for the fetch."""
    url = hostile.url.replace("{port}", "8080")
    if hostile.by_text:
        with pytest.raises(Failed, match=hostile.told) as refusal:
            guard().check(url)
        assert refusal.value.reason == "input_blocked"
    else:
        guard().check(url)
    assert not asked


async def test_no_message_tells_what_a_name_resolves_to(guard: Callable[..., Outbound]) -> None:
    """Whoever asks for a private name learns that it is private, and not where it is."""
    for name, rounds in NAMES.items():
        with pytest.raises(Failed) as refusal:
            await guard(connect_seconds=1.0).fetch(f"http://{name}.example.com/", _ignore, max_bytes=1)
        for record in rounds[0]:
            kind, _, address = record.partition(" ")
            assert kind not in {"A", "AAAA"} or address not in refusal.value.message


@given(st.ip_addresses() | st.builds(ipaddress.IPv6Address, st.integers(0x2 << 124, (0x4 << 124) - 1)))
def test_no_address_is_public_that_the_registries_call_otherwise(
    address: ipaddress.IPv4Address | ipaddress.IPv6Address,
) -> None:
    """Our table is never wider than the standard library's reading of the IANA registries."""
    if is_public(address):
        assert address.is_global
        assert not address.is_multicast


@given(
    st.lists(
        st.tuples(st.integers(0, 0xFFFFFFFF), st.sampled_from(["%d", "0%o", "0x%x", "0X%X"])), max_size=4
    )
)
async def test_whatever_inet_aton_reads_as_an_address_is_judged_as_one(parts: list[tuple[int, str]]) -> None:
    """No spelling that the C library takes for an address passes as a name."""
    host = ".".join(form % number for number, form in parts)
    try:
        address = ipaddress.IPv4Address(socket.inet_aton(host))
    except OSError:
        return
    outbound = Outbound(settings.Outbound())
    try:
        if is_public(address) and host == str(address):
            outbound.check(f"http://{host}/")
        else:
            with pytest.raises(Failed):
                outbound.check(f"http://{host}/")
    finally:
        await outbound.close()


@given(st.text(st.sampled_from("htps:/.@[]%#?\\ 0127fxa-é。１\t\u200b\ud800") | st.characters()))
async def test_any_text_is_taken_or_refused_in_words(text: str) -> None:
    """`check` raises nothing but the refusal, whatever it is given."""
    outbound = Outbound(settings.Outbound())
    for url in (text, f"http://{text}", f"http://public.example.com{text}"):
        with suppress(Failed):
            outbound.check(url)
    await outbound.close()


@pytest.mark.parametrize(
    "url",
    [
        "https://files.example.com/a.png",
        "HTTP://Files.Example.COM./a%2Fb.png?sig=%2b%7e#part",
        "http://files.example.com:8443/",
        "http://bücher.example.com/ü.png?q=ü",
        "http://xn--bcher-kva.example.com/",
        "http://8.8.8.8/",
        "http://[2a00:1450:4001:80b::200e]:8080/",
        "http://[::ffff:8.8.8.8]/",
        "http://[64:ff9b::8.8.8.8]/",
        "http://my_bucket.files.example.com/",
        "http://1.files.example.com/",
        "https://files.example.com?x=http://127.0.0.1/@",
    ],
)
async def test_public_addresses_pass(url: str, guard: Callable[..., Outbound]) -> None:
    """The guard stands in nobody's way who means a public host."""
    guard().check(url)
