"""HTTP to addresses that clients gave us: media to fetch, webhooks to send.

Called by `uploads` and the fetch lane (`fetch`), by `webhooks` (`send`), and where a task is submitted (`check`,
which needs no network). It promises that only public addresses are connected to, save those that the operator
let through; that the address which was judged is the one connected to; that a redirect is judged like a new
address; and that time, size and headers are bounded while the bytes come. No proxy, cookie, netrc or password is used.
`docs/why/outbound-guard.md` says which rules there are, and why.
"""

import asyncio
import re
import socket
import unicodedata
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from email.message import Message
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Final

import aiohttp
from aiodns.error import ARES_ETIMEOUT, DNSError
from aiohttp.abc import AbstractResolver, ResolveResult
from aiohttp.resolver import AsyncResolver
from pycares import AresError
from yarl import URL

from burnish import settings
from burnish.errors import Failed, Unusable

Address = IPv4Address | IPv6Address

#: Signed links with session tokens reach three to four thousand characters.
_LONGEST_URL: Final = 8_192
_MOST_REDIRECTS: Final = 3
_REDIRECTS: Final = frozenset({301, 302, 303, 307, 308})

#: IPv4 that is not the public internet: IANA's special-purpose registry, and what clouds answer their own machines on.
_NOT_PUBLIC_4: Final = tuple(
    IPv4Network(network)
    for network in (
        "0.0.0.0/8",  # this network
        "10.0.0.0/8",  # private
        "100.64.0.0/10",  # carrier-grade NAT; Alibaba's metadata
        "127.0.0.0/8",  # loopback
        "168.63.129.16/32",  # Azure's platform address, reached from inside only
        "169.254.0.0/16",  # link-local; metadata of most clouds
        "172.16.0.0/12",  # private
        "192.0.0.0/24",  # IETF protocols; Oracle's metadata
        "192.0.2.0/24",  # documentation
        "192.88.99.0/24",  # 6to4 relays, withdrawn
        "192.168.0.0/16",  # private
        "198.18.0.0/15",  # benchmarks
        "198.51.100.0/24",  # documentation
        "203.0.113.0/24",  # documentation
        "224.0.0.0/4",  # multicast
        "240.0.0.0/4",  # reserved, and broadcast
    )
)
#: IPv6 is public in 2000::/3 alone, less these. Loopback, unique local, link-local and all of `::/8` lie outside it.
_PUBLIC_6: Final = IPv6Network("2000::/3")
_NOT_PUBLIC_6: Final = tuple(
    IPv6Network(network)
    for network in (
        "2001::/23",  # IETF protocols: Teredo, benchmarks, ORCHID
        "2001:db8::/32",  # documentation
        "2002::/16",  # 6to4: a tunnel to any IPv4 address
        "3fff::/20",  # documentation
    )
)
_NAT64: Final = IPv6Network("64:ff9b::/96")
#: The interface part of an ISATAP address, before its IPv4 address (RFC 5214, section 6.1).
_ISATAP: Final = frozenset({0x0000_5EFE, 0x0200_5EFE})

#: Names that never mean a host on the public internet (RFC 6761, RFC 6762, RFC 8375, ICANN's `.internal`).
_PRIVATE_NAME: Final = re.compile(r"(.+\.)?(localhost|local|internal|home\.arpa)|[^.]+")
#: Above 1023, what speaks lines of text and may obey those it finds in a request: SIP, Redis, IRC, memcached.
_REFUSED_PORTS: Final = frozenset({5060, 5061, 6379, *range(6660, 6670), 6679, 6697, 11211})

_TRICKS: Final = re.compile(r"[\x00-\x20\\\x7f]")
_AUTHORITY: Final = re.compile(r"https?://([^/?#]*)", re.IGNORECASE)
_HOST_AND_PORT: Final = re.compile(r"(\[[0-9a-f:.]+\]|[a-z0-9._-]+)(:[0-9]{0,5})?", re.IGNORECASE)
_NAME: Final = re.compile(r"(?!.{254})[a-z0-9_]([a-z0-9_-]*[a-z0-9_])?(\.[a-z0-9_]([a-z0-9_-]*[a-z0-9_])?)*")
_NUMBER: Final = re.compile(r"[0-9]+|0x[0-9a-f]*")

_COMPRESSED: Final = frozenset({"gzip", "x-gzip", "deflate", "br", "zstd", "compress", "x-compress"})
_NOT_MEDIA: Final = re.compile(r"text/(html|xml)|application/(xhtml\+xml|xml|json|.+\+json|pdf|javascript)")


@dataclass(frozen=True, slots=True)
class Fetched:
    """What came: the address after redirects, the type it claims (`""` where none), and the name it goes by."""

    final_url: str
    content_type: str
    size_bytes: int
    filename: str | None


@dataclass(frozen=True, slots=True)
class Reply:
    """What a receiver answered: its headers by lower-case name, and as much of its body as was asked for."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    cut: bool


class Outbound:
    """The guard. Made inside a running event loop, shared by a whole process, closed at its end."""

    def __init__(self, settings: settings.Outbound, *, resolver: AbstractResolver | None = None) -> None:
        """`resolver` asks for names; without one, c-ares does, at `settings.nameserver` or where the system says.

        Raises:
            Unusable: an entry of `settings.allow`, or `settings.nameserver`, means nothing.
        """
        self._settings = settings
        self._reach = _Reach(settings.allow)
        self._names = _Guard(self._reach, resolver or _names(settings))
        # A fetch opens its own connection: a kept one that breaks would be opened, and its name asked for, again.
        self._fetching = self._session(keep=False, pause_seconds=settings.idle_seconds)
        self._sending = self._session(keep=True, pause_seconds=None)

    async def close(self) -> None:
        await self._fetching.close()
        await self._sending.close()
        await self._names.close()

    def check(self, url: str) -> None:
        """Judge an address by its text alone.

        Raises:
            Failed: `input_blocked`; the message says what is wrong with it.
        """
        self._judged(url)

    async def fetch(
        self,
        url: str,
        write: Callable[[bytes], Awaitable[None]],
        *,
        max_bytes: int,
        accept: str = "image/*,video/*;q=0.9,*/*;q=0.5",
    ) -> Fetched:
        """GET `url`, following at most three redirects, and give its bytes to `write` as they come.

        Raises:
            Failed: `input_blocked`, `input_unreachable`, `input_forbidden`, `input_timeout`, `input_too_large`, or
                `unsupported_format` for what says itself that it is no media. Whatever `write` raises comes through.
        """
        target = self._judged(url)
        for _ in range(1 + _MOST_REDIRECTS):
            async with await self._get(target, accept) as reply:
                if reply.status not in _REDIRECTS:
                    _refuse_what_is_no_media(reply)
                    size = await self._receive(reply, write, max_bytes)
                    return Fetched(str(reply.url), _content_type(reply), size, _filename(reply))
                target = self._next(reply)
        raise Failed(
            "input_unreachable",
            f"The address redirects more than {_MOST_REDIRECTS} times; give the one it ends at.",
        )

    async def send(
        self,
        url: str,
        *,
        method: str,
        headers: Mapping[str, str],
        body: bytes,
        timeout_seconds: float,
        max_reply_bytes: int,
    ) -> Reply:
        """Send `body` and return the answer, whatever its status; a redirect is an answer and is not followed.

        The status is the answer. A reply body that breaks off, dawdles or is longer than `max_reply_bytes` is cut.

        Raises:
            Failed: `input_blocked`, `input_unreachable` or `input_timeout`.
        """
        target = self._judged(url)
        deadline = asyncio.get_running_loop().time() + timeout_seconds
        with _in_words(target):
            async with asyncio.timeout_at(deadline):
                reply = await self._sending.request(
                    method, target, headers=headers, data=body, allow_redirects=False
                )
        async with reply:
            received = bytearray()
            with suppress(TimeoutError, aiohttp.ClientError, OSError):
                async with asyncio.timeout_at(deadline):
                    while len(received) <= max_reply_bytes and (chunk := await reply.content.readany()):
                        received += chunk
            return Reply(
                status=reply.status,
                headers={name.lower(): value for name, value in reply.headers.items()},
                body=bytes(received[:max_reply_bytes]),
                cut=len(received) > max_reply_bytes or not reply.content.at_eof(),
            )

    async def _get(self, target: URL, accept: str) -> aiohttp.ClientResponse:
        with _in_words(target):
            # A server may not stretch its headers over longer than a pause.
            async with asyncio.timeout(self._settings.connect_seconds + self._settings.idle_seconds):
                return await self._fetching.get(target, headers={"Accept": accept}, allow_redirects=False)

    def _next(self, reply: aiohttp.ClientResponse) -> URL:
        """Where a redirect leads, judged like an address that a client gave."""
        whose = "The address it redirects to"
        location = reply.headers.get("Location", "")
        _refuse_tricks(location, whose)
        if not _AUTHORITY.match(location):
            try:
                location = str(reply.url.join(URL(location, encoded=location.isascii())))
            except ValueError as error:
                raise _blocked(f"{whose} cannot be read.") from error
        target = self._judged(location, whose)
        if reply.url.scheme == "https" and target.scheme == "http":
            raise _blocked(f"{whose} leaves https for http; give that address itself if it is meant.")
        return target

    async def _receive(
        self, reply: aiohttp.ClientResponse, write: Callable[[bytes], Awaitable[None]], max_bytes: int
    ) -> int:
        """Bytes in, counted and timed; returns how many. Time that `write` takes is not the server's."""
        loop = asyncio.get_running_loop()
        if (reply.content_length or 0) > max_bytes:
            raise _too_large(reply, max_bytes)
        size, left_seconds = 0, self._settings.idle_seconds
        while True:
            asked_at = loop.time()
            with _in_words(reply.url):
                async with asyncio.timeout(left_seconds):
                    chunk = await reply.content.readany()
            if not chunk:
                return size
            size += len(chunk)
            if size > max_bytes:
                raise _too_large(reply, max_bytes)
            # Each byte earns time at the slowest rate taken, so the whole takes at most `size / rate` and a pause.
            left_seconds += len(chunk) / self._settings.slowest_bytes - (loop.time() - asked_at)
            await write(chunk)

    def _judged(self, text: str, whose: str = "The address") -> URL:
        """`text` as the one parsed URL that is both judged here and connected to."""
        _refuse_tricks(text, whose)
        if not (found := _AUTHORITY.match(text)):
            raise _blocked(f"{whose} must begin with http:// or https://.")
        if "@" in found[1]:
            raise _blocked(f"{whose} holds a user name or a password; use a link that needs none.")
        try:
            # A URL in ASCII is sent as it was given, or signatures over it would break; others are encoded first.
            url = URL(text if text.isascii() else str(URL(text)), encoded=True)
            host, port = (url.raw_host or "").lower(), url.port
        except ValueError as error:
            raise _blocked(f"{whose} cannot be read.") from error
        if not _HOST_AND_PORT.fullmatch(url.raw_authority):
            raise _blocked(f"{whose} has no host name that can be read.")
        if port is None or (port < 1024 and port not in {80, 443}) or port in _REFUSED_PORTS:
            raise _blocked(f"{whose} names port {port}; use 80, 443 or another web port above 1023.")
        self._reach.judge_host(host, whose)
        return url

    def _session(self, *, keep: bool, pause_seconds: float | None) -> aiohttp.ClientSession:
        connect_seconds = self._settings.connect_seconds
        return aiohttp.ClientSession(
            # As many connections as callers: one hundred hosts that hang must not stand before one that answers.
            connector=aiohttp.TCPConnector(
                resolver=self._names, use_dns_cache=False, force_close=not keep, limit=0
            ),
            timeout=aiohttp.ClientTimeout(total=None, connect=connect_seconds, sock_read=pause_seconds),
            headers={"User-Agent": "Burnish", "Accept-Encoding": "identity"},
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=False,
            middlewares=(_once,),
        )


class _Reach:
    """What may be connected to: the public internet, and what the operator let through."""

    def __init__(self, allow: Sequence[str]) -> None:
        self._networks: list[IPv4Network | IPv6Network] = []
        self._names: set[str] = set()
        for entry in allow:
            name = entry.lower().removesuffix(".")
            if "/" not in name and ":" not in name and not _spells_number(name) and _NAME.fullmatch(name):
                self._names.add(name)
                continue
            try:
                self._networks.append(ip_network(entry))
            except ValueError as error:
                raise Unusable(
                    f"outbound.allow holds {entry!r}, which is neither a network (10.0.0.0/8) nor a host name."
                ) from error

    def judge_host(self, host: str, whose: str) -> None:
        """A host as it stands in a URL: an address, or a name that may be asked for."""
        name = host.removesuffix(".")
        if ":" in host or _spells_number(name):
            self._judge_literal(host, whose)
        elif name in self._names:
            return
        elif not _NAME.fullmatch(name) or any(len(label) > 63 for label in name.split(".")):
            raise _blocked(f"{whose} has no host name that can be read.")
        elif _PRIVATE_NAME.fullmatch(name):
            raise _blocked(f"{whose} names {name}, which is not a host on the public internet.")

    def judge_answers(self, host: str, addresses: Sequence[Address]) -> None:
        """What the DNS said of a name. One address that is not public refuses the name whole."""
        if host.lower().removesuffix(".") in self._names:
            return
        if not all(map(self._reaches, addresses)):
            raise _blocked(f"{host} is not a host on the public internet.")

    def _judge_literal(self, host: str, whose: str) -> None:
        try:
            address = ip_address(host)
        except ValueError as error:
            raise _blocked(
                f"{whose} spells its host in a way that programs read differently; write 198.51.100.7 or a name."
            ) from error
        if not self._reaches(address):
            raise _blocked(f"{whose} names {host}, which is not an address on the public internet.")

    def _reaches(self, address: Address) -> bool:
        carried = _carried(address)
        return any(carried in network for network in self._networks) or is_public(carried)


class _Guard(AbstractResolver):
    """Stands between the DNS and aiohttp, which connects to what `resolve` returns and asks nobody else."""

    def __init__(self, reach: _Reach, names: AbstractResolver) -> None:
        self._reach = reach
        self._names = names

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        try:
            found = await self._names.resolve(host, port, family)
        except OSError as error:
            cause = error.__cause__
            if isinstance(cause, DNSError) and cause.args[0] == ARES_ETIMEOUT:
                raise Failed("input_timeout", f"The DNS did not say in time where {host} is.") from error
            raise Failed("input_unreachable", f"The DNS knows no address of {host}.") from error
        self._reach.judge_answers(host, [ip_address(answer["host"]) for answer in found])
        return found

    async def close(self) -> None:
        await self._names.close()


def is_public(address: Address) -> bool:
    """Whether anyone on the internet could mean `address` by it; tunnels to other addresses are not public."""
    if isinstance(address, IPv4Address):
        return not any(address in network for network in _NOT_PUBLIC_4)
    if address not in _PUBLIC_6 or any(address in network for network in _NOT_PUBLIC_6):
        return False
    isatap = int(address) >> 32 & 0xFFFF_FFFF in _ISATAP
    return not isatap or is_public(_last_32_bits(address))


def _carried(address: Address) -> Address:
    """The IPv4 address that a mapped or a NAT64 one is another spelling of; any other address as it is."""
    if isinstance(address, IPv6Address):
        if address.ipv4_mapped:
            return address.ipv4_mapped
        if address in _NAT64:
            return _last_32_bits(address)
    return address


def _last_32_bits(address: IPv6Address) -> IPv4Address:
    return IPv4Address(int(address) & 0xFFFF_FFFF)


def _spells_number(name: str) -> bool:
    """Whether some program reads `name` as IPv4: its last part is a number (WHATWG URL, "ends in a number")."""
    return _NUMBER.fullmatch(name.rpartition(".")[2]) is not None


def _names(settings: settings.Outbound) -> AbstractResolver:
    # c-ares and not the system's getaddrinfo, which waits in a thread that neither a timeout nor the end of the
    # process can stop: one name whose servers are silent held the exit for ten seconds.
    servers = [settings.nameserver] if settings.nameserver else None
    try:
        return AsyncResolver(nameservers=servers, timeout=settings.connect_seconds / 2, tries=2)
    except (ValueError, AresError) as error:
        raise Unusable(
            f"outbound.nameserver is {settings.nameserver!r}; it must be `address:port`."
        ) from error


async def _once(request: aiohttp.ClientRequest, handler: aiohttp.ClientHandlerType) -> aiohttp.ClientResponse:
    """One attempt: aiohttp would ask a GET again, name and all, when its connection breaks."""
    with _in_words(request.url):
        return await handler(request)


@contextmanager
def _in_words(url: URL) -> Iterator[None]:
    """What went wrong between us and `url`, said without what the other side sent or where it stands."""
    host = url.raw_host
    try:
        yield
    except TimeoutError as error:
        raise Failed("input_timeout", f"{host} did not answer, or sent too slowly.") from error
    except aiohttp.ClientSSLError as error:
        raise Failed(
            "input_unreachable", f"{host} offers no TLS connection, or no valid certificate."
        ) from error
    except aiohttp.ClientConnectorError as error:
        raise Failed("input_unreachable", f"{host} does not accept connections.") from error
    except aiohttp.ClientResponseError as error:
        raise Failed(
            "input_unreachable", f"{host} does not answer in HTTP, or with too large headers."
        ) from error
    except (aiohttp.ClientError, OSError) as error:
        raise Failed("input_unreachable", f"The connection to {host} broke off.") from error


def _refuse_tricks(text: str, whose: str) -> None:
    """Length, and characters that parsers drop, fold or read as another."""
    if len(text) > _LONGEST_URL:
        raise _blocked(f"{whose} is longer than {_LONGEST_URL} characters.")
    if _TRICKS.search(text) or (not text.isascii() and any(map(_is_invisible, text))):
        raise _blocked(f"{whose} holds a space, a backslash or an invisible character; percent-encode it.")


def _refuse_what_is_no_media(reply: aiohttp.ClientResponse) -> None:
    host, status = reply.url.raw_host, reply.status
    if status in {401, 403}:
        raise Failed(
            "input_forbidden", f"{host} refuses access (status {status}); use a link that needs no sign-in."
        )
    if status in {404, 410}:
        raise Failed("input_unreachable", f"{host} has nothing at this address (status {status}).")
    if status >= 500:
        raise Failed("input_unreachable", f"{host} is in trouble (status {status}); try again later.")
    if status != 200:
        raise Failed("input_unreachable", f"{host} answered with status {status} instead of the file.")
    coding = reply.headers.get("Content-Encoding", "").strip().lower()
    if not _COMPRESSED.isdisjoint(part.strip() for part in coding.split(",")):
        raise Failed(
            "unsupported_format", f"{host} sends the file compressed ({coding}); it must send it as it is."
        )
    if _NOT_MEDIA.fullmatch(_content_type(reply)):
        raise Failed(
            "unsupported_format",
            f"The address is not media: {host} sends {_content_type(reply)}; give the file's own address.",
        )


def _content_type(reply: aiohttp.ClientResponse) -> str:
    claimed = reply.headers.get("Content-Type", "").partition(";")[0].strip().lower()
    return claimed if re.fullmatch(r"[!-~]{1,127}", claimed) else ""


def _filename(reply: aiohttp.ClientResponse) -> str | None:
    """The last part of the name in Content-Disposition or of the path, without what is invisible."""
    header = Message()
    header["Content-Disposition"] = reply.headers.get("Content-Disposition", "")
    name = header.get_filename() or reply.url.name
    last = re.split(r"[/\\]", name)[-1]
    return (
        "".join(letter for letter in last if letter == " " or not _is_invisible(letter)).strip()[:255] or None
    )


def _is_invisible(letter: str) -> bool:
    """Control and format characters, separators, lone surrogates, what Unicode has not assigned."""
    return unicodedata.category(letter)[0] in "CZ"


def _blocked(message: str) -> Failed:
    return Failed("input_blocked", message)


def _too_large(reply: aiohttp.ClientResponse, max_bytes: int) -> Failed:
    return Failed(
        "input_too_large", f"{reply.url.raw_host} sends more than the {max_bytes} bytes taken here."
    )
