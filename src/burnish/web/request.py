"""One request as its handler sees it: what came over the wire, and what the process works with.

Made by `endpoint.py` for every request; nothing in it is parsed before it is asked for.
"""

import asyncio
from collections.abc import Coroutine, Sequence
from datetime import datetime
from typing import Any, Final, TypeVar, cast
from uuid import UUID

from starlette.types import Receive, Scope

from burnish.errors import Limited, Unusable
from burnish.ids import new_wire_id
from burnish.keys.key import Key
from burnish.limits.counters import Asked
from burnish.limits.rate import Rate, Verdicts, WhenDown
from burnish.limits.standing import Standing
from burnish.metrics import Metrics
from burnish.resources import Resources
from burnish.settings import Limits
from burnish.uploads.sign import Links
from burnish.web.address import Addresses
from burnish.web.once import Once
from burnish.web.own import OwnSettings
from burnish.web.standings import Standings

T = TypeVar("T")


class Site:
    """What all surfaces of a process share.

    Raises:
        Unusable: a setting of `limits` or `http.trusted_proxies` means nothing.
    """

    def __init__(self, resources: Resources) -> None:
        self.resources = resources
        self.public_url = resources.settings.public_url
        self.links = Links(resources.secret_keys, self.public_url)
        self.metrics = Metrics()
        self.once = Once()
        self.addresses = Addresses(resources.settings.http.trusted_proxies)
        self.asked_of_ip: Sequence[Asked] = (("ip", _ip_rate(resources.settings.limits)),)
        self.standings = Standings()
        self.own = OwnSettings(resources)
        self._stopping = asyncio.Event()

    @property
    def draining(self) -> bool:
        """Set it when the process stops: new requests are refused, and those that wait answer at once."""
        return self._stopping.is_set()

    @draining.setter
    def draining(self, stopping: bool) -> None:
        (self._stopping.set if stopping else self._stopping.clear)()

    async def until_draining(self) -> None:
        await self._stopping.wait()


def _ip_rate(limits: Limits) -> Rate:
    try:
        when_down = cast("WhenDown", limits.ip_when_down)
        return Rate("ip-rate", limits.ip_per_second, 1.0, limits.ip_burst, when_down)
    except ValueError as error:
        raise Unusable(f"limits.ip_per_second, ip_burst, ip_when_down: {error}.") from error


class HungUp(Exception):
    """The client is gone; there is nobody to answer."""


_BLANKS: Final = b" \t"
_METHODS: Final = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "CONNECT"})


class Request:
    """`id` goes into the reply, the log and the task; `account_id` is known once `caller` has said who it is.

    `rates`, `standings` and `limited` are what the reply's headers tell of limits: the verdicts on the key's rates, the
    quotas that were looked at, and the refusal, if it was one.
    """

    __slots__ = (
        "_first", "account_id", "id", "limited", "rates", "receive", "resources", "scope", "site", "standings",
    )  # fmt: skip

    def __init__(self, site: Site, scope: Scope, receive: Receive) -> None:
        self.site = site
        self.resources = site.resources
        self.scope = scope
        self.receive = receive
        # Several are asked for, most in vain.
        self._first: dict[bytes, bytes] = dict(reversed(scope.get("headers", ())))
        self.id = new_wire_id("req")
        self.account_id: UUID | None = None
        self.rates: Verdicts = []
        self.standings: Sequence[Standing] = ()
        self.limited: Limited | None = None

    @property
    def method(self) -> str:
        """In capitals; what no specification knows is `OTHER`."""
        method: str = self.scope["method"]
        return method if method in _METHODS else "OTHER"

    @property
    def now(self) -> datetime:
        return self.resources.clock.now()

    def header(self, name: bytes) -> str | None:
        """The first header of that lower-case name, without the blanks around it, which are not of it (RFC 9110, 5.5)."""
        value = self._first.get(name)
        return value.strip(_BLANKS).decode("latin-1") if value is not None else None

    def headers(self, name: bytes) -> list[str]:
        """All of that lower-case name: for those of which there may be one only."""
        if name not in self._first:
            return []
        found = [value for key, value in self.scope["headers"] if key == name]
        return [value.strip(_BLANKS).decode("latin-1") for value in found]

    def path_value(self, name: str) -> str:
        value: str = self.scope["path_params"][name]
        return value

    def quotas_stand(self, key: Key, standings: Sequence[Standing]) -> None:
        """They were read just now: this reply tells them, and so do those that read none."""
        self.standings = standings
        self.site.standings.keep(key, standings)

    async def while_there(self, work: Coroutine[Any, Any, T], *, though_draining: bool = True) -> T | None:
        """`work`, for as long as the client is there; None where the service began to drain first.

        Call it when the body has been read. Raises HungUp, and whatever `work` raises.
        """
        watches = [self._gone()] if though_draining else [self._gone(), self.site.until_draining()]
        working, gone, *_draining = tasks = [asyncio.ensure_future(one) for one in (work, *watches)]
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            if working.done():
                return working.result()
            if gone.done():
                raise HungUp
            return None
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _gone(self) -> None:
        while (await self.receive())["type"] != "http.disconnect":
            pass
