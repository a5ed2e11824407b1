"""Where a request comes from, as far as that can be believed: its address, and the subject that a rate counts.

Who is not a configured proxy (`http.trusted_proxies`) may write into `X-Forwarded-For` what it likes; its own address
counts. Behind proxies the header is read from the right, past addresses of proxies, up to the first of somebody else.
IPv6 counts by /64, which is the least that one customer gets; an IPv4 address mapped into IPv6 is the IPv4 address.
"""

import functools
from collections.abc import Sequence
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Final

from starlette.types import Scope

from burnish import log
from burnish.errors import Unusable

Address = IPv4Address | IPv6Address

_log = log.get("http")
_HEADER: Final = b"x-forwarded-for"
_UNKNOWN: Final = "unknown"  #: no address at all, as through a socket file: all of those are one subject
_HOPS: Final = 32  #: proxies on the way, at most
_LETTERS: Final = 60  #: no address is longer, and nothing longer is remembered
_REMEMBERED: Final = 16_384


class Addresses:
    """One a process; `trusted` are the networks of our proxies.

    Raises:
        Unusable: one of `trusted` is no network.
    """

    def __init__(self, trusted: Sequence[str]) -> None:
        try:
            self._networks = [ip_network(network, strict=False) for network in trusted]
        except ValueError as error:
            raise Unusable(f"http.trusted_proxies: {error}.") from error
        self._warned = False

    def subject(self, scope: Scope) -> str:
        """Whom a rate counts: `203.0.113.7`, or `2001:db8:1:2::/64`."""
        return _subject(self._found(scope))

    def address(self, scope: Scope) -> Address | None:
        """The client's address itself; None where there is none, as through a socket file."""
        return _parsed(self._found(scope))

    def _found(self, scope: Scope) -> str:
        client = scope.get("client")
        peer: str = client[0] if client else _UNKNOWN
        if self._networks and self._trusts(_parsed(peer)):
            return self._behind(peer, scope)
        if not self._warned:
            for name, _ in scope["headers"]:
                if name == _HEADER:
                    self._warn(peer)
        return peer

    def _warn(self, peer: str) -> None:
        self._warned = True
        _log.warning(
            "forwarded_address_ignored",
            peer=peer,
            hint="X-Forwarded-For came from an address that http.trusted_proxies does not name",
        )

    def _behind(self, proxy: str, scope: Scope) -> str:
        """Whom the last of our proxies speaks for; what is no address ends the way at the proxy that wrote it."""
        header = b",".join(value for name, value in scope["headers"] if name == _HEADER).decode("latin-1")
        found = proxy
        for hop in reversed(header.rsplit(",", _HOPS)):
            bare = _bare(hop)
            address = _parsed(bare) if len(bare) <= _LETTERS else None
            if address is None:
                break
            found = bare
            if not self._trusts(address):
                break
        return found

    def _trusts(self, address: Address | None) -> bool:
        return address is not None and any(address in network for network in self._networks)


def _bare(hop: str) -> str:
    """The address of one entry, without a port."""
    text = hop.strip().strip('"')
    if text.startswith("["):
        return text[1:].partition("]")[0]
    return text.partition(":")[0] if text.count(":") == 1 else text


@functools.lru_cache(_REMEMBERED)
def _parsed(text: str) -> Address | None:
    try:
        address = ip_address(text)
    except ValueError:
        return None
    if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
        return address.ipv4_mapped
    return address


@functools.lru_cache(_REMEMBERED)
def _subject(text: str) -> str:
    address = _parsed(text)
    if isinstance(address, IPv6Address):
        return str(IPv6Network((int(address) >> 64 << 64, 64)))
    return str(address) if address is not None else _UNKNOWN
