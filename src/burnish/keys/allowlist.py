"""Where a key may be used from: networks of addresses. Pure; checked by `authenticate.py` for every request."""

from collections.abc import Iterable
from functools import lru_cache
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_network
from typing import Final

from burnish.errors import Invalid

Address = IPv4Address | IPv6Address

_MOST: Final = 100
_MAPPED: Final = IPv6Network("::ffff:0:0/96")


def read_networks(texts: Iterable[str]) -> tuple[str, ...]:
    """`192.0.2.7`, `10.0.0.0/8` and `2001:db8::/32` as they are kept, each once.

    Raises:
        Invalid: one is no network, or there are too many.
    """
    networks: dict[str, None] = {}
    for number, text in enumerate(texts):
        place = f"allowlist.{number}"
        try:
            network = ip_network(text.strip())
        except ValueError as error:
            raise Invalid(f"{text[:60]!r} is no address and no network: {error}.", param=place) from error
        if isinstance(network, IPv6Network) and network.subnet_of(_MAPPED):
            raise Invalid(f"Write {text[:60]!r} as the IPv4 network that it is.", param=place)
        networks[str(network)] = None
    if len(networks) > _MOST:
        raise Invalid(f"A key may have {_MOST} networks at most.", param="allowlist")
    return tuple(networks)


def allows(networks: Iterable[str], address: Address | None) -> bool:
    """Whether that address lies in one of them; an unknown one lies nowhere."""
    return address is not None and any(address in _network(text) for text in networks)


@lru_cache(maxsize=4096)
def _network(text: str) -> IPv4Network | IPv6Network:
    return ip_network(text)
