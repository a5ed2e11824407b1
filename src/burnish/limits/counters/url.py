"""What `counters.url` says: which servers, of what kind, and how to come in."""

import re
from dataclasses import dataclass
from typing import Final
from urllib.parse import unquote

from burnish import log
from burnish.errors import Unusable
from burnish.limits.counters.connection import Access, Place

_URL: Final = re.compile(
    r"(?:redis|valkey)(?P<tls>s?)(?:\+(?P<kind>cluster|sentinel))?://"
    r"(?:(?P<username>[^:@/]*)(?::(?P<password>[^@/]*))?@)?(?P<places>[^@/?#]+)(?P<path>(?:/[^/?#]*)*)"
)
_PLACE: Final = re.compile(r"(?:\[(?P<v6>[0-9A-Fa-f:.]+)\]|(?P<host>[^:\[\]\s]+))(?::(?P<port>\d{1,5}))?")
_PORTS: Final = {"": 6379, "cluster": 6379, "sentinel": 26379}


@dataclass(frozen=True, slots=True)
class Store:
    """`kind`: empty for a server alone, `cluster`, or `sentinel` for the master of `service`."""

    kind: str
    places: tuple[Place, ...]
    access: Access
    service: str = ""


def parsed(url: str, patience_seconds: float) -> Store:
    """See `counters.url` among the settings.

    Raises:
        Unusable: it says nothing that is known here; the message shows it without its password.
    """
    found = _URL.fullmatch(url)
    places = [_PLACE.fullmatch(place) for place in found["places"].split(",")] if found else [None]
    if found is None or None in places:
        raise _unusable(url)
    kind = found["kind"] or ""
    path = [unquote(part) for part in found["path"].split("/")[1:] if part]
    service = path.pop(0) if kind == "sentinel" and path else ""
    database = path.pop(0) if kind != "cluster" and path else "0"
    if (
        path
        or not database.isdecimal()
        or (kind == "sentinel") != bool(service)
        or not (kind or len(places) == 1)
    ):
        raise _unusable(url)
    access = Access(
        username=unquote(found["username"] or ""),
        password=unquote(found["password"] or ""),
        database=int(database),
        tls=bool(found["tls"]),
        patience_seconds=patience_seconds,
    )
    read = (Place(p["v6"] or p["host"], int(p["port"] or _PORTS[kind])) for p in places if p is not None)
    return Store(kind, tuple(read), access, service)


def _unusable(url: str) -> Unusable:
    return Unusable(
        f"counters.url is {log.redact_text(url)!r}; it must be empty, memory://, redis://host:port/database, "
        "redis+cluster://host:port,host:port or redis+sentinel://host:port,host:port/service "
        "(with TLS: rediss://…; for Valkey: valkey://…)."
    )
