"""The rate of an address, decided before everything else; whose address counts; what replies tell of limits."""

import contextlib
import dataclasses
from collections.abc import AsyncIterator, Sequence
from typing import Any

import httpx
import pytest
import structlog

from burnish.dialects.native import errors
from burnish.errors import Unusable
from burnish.keys.issue import issue_key
from burnish.keys.key import Key
from burnish.limits.rate import Rate
from burnish.limits.standing import Policy, Standing
from burnish.resources import open_resources
from burnish.server import build_app
from burnish.settings import Counters, Limits, Settings
from burnish.web.address import Addresses
from burnish.web.caller import Kind, spend_rates
from burnish.web.endpoint import Endpoint
from burnish.web.operation import Operation
from burnish.web.replies import Reply, json
from burnish.web.request import Request
from native.surface import Visitor, visit
from redis_servers import free_port

NARROW = Limits(ip_per_second=1, ip_burst=3)


@contextlib.asynccontextmanager
async def narrow(settings: Settings, *trusted: str, limits: Limits = NARROW) -> AsyncIterator[Visitor]:
    """A service that takes three requests of one address, and then one a second."""
    http = dataclasses.replace(settings.http, trusted_proxies=trusted)
    async with visit(dataclasses.replace(settings, http=http, limits=limits)) as visitor:
        yield visitor


async def until_refused(visitor: Visitor, path: str = "/v1/models", **options: Any) -> httpx.Response:
    """The first refusal of the address's rate."""
    for _ in range(20):
        reply = await visitor.http.get(path, **options)
        if reply.status_code == 429:
            return reply
    raise AssertionError("nothing was refused")


# --- the rate of an address ---------------------------------------------------------------------------------------


async def test_429_when_an_address_sends_too_much(settings: Settings) -> None:
    """The refusal names the policy, and says when again: in whole seconds, and in milliseconds."""
    async with narrow(settings) as visitor:
        reply = await until_refused(visitor)
        error = reply.json()["error"]
        assert (error["type"], error["code"], error["retryable"]) == ("rate_limit", "ip_rate_limited", True)
        assert error["details"] == {
            "policy": "ip-rate",
            "scope": "ip",
            "limit": 1,
            "used": 3,
            "remaining": 0,
            "reset": 3,
            "advice": "wait",
        }
        assert reply.headers["retry-after"] == "1"
        assert 0 < int(reply.headers["retry-after-ms"]) <= 1000
        assert "x-should-retry" not in reply.headers
        assert reply.headers["ratelimit-policy"] == '"ip-rate";q=1;w=1'
        assert reply.headers["ratelimit"] == '"ip-rate";r=0;t=3'


async def test_the_address_is_decided_before_anything_is_believed(settings: Settings) -> None:
    """Without a key, on signed links, on paths that there are not: all of it counts, and no body is read."""
    async with narrow(settings) as visitor:
        for path in ("/v1/tasks", "/v1/files/x", "/nowhere"):
            await until_refused(visitor, path, headers={"Authorization": ""})
        read: list[str] = []

        async def body() -> AsyncIterator[bytes]:
            read.append("body")
            yield b"{}"

        for _ in range(20):
            read.clear()
            if (await visitor.http.post("/v1/tasks", content=body())).status_code == 429:
                break
        assert read == []


async def test_pages_of_the_service_are_not_counted(settings: Settings) -> None:
    """A monitor, and a reader of the reference, are answered whatever else came from their address."""
    async with narrow(settings) as visitor:
        await until_refused(visitor)
        for path in ("/health", "/metrics", "/docs", "/openapi.json"):
            for _ in range(5):
                assert (await visitor.http.get(path)).status_code == 200


# --- whose address it is ------------------------------------------------------------------------------------------


def subject(addresses: Addresses, peer: str | None, *forwarded: str) -> str:
    headers = [(b"x-forwarded-for", value.encode("latin-1")) for value in forwarded]
    return addresses.subject({"client": (peer, 1234) if peer else None, "headers": headers})


@pytest.mark.parametrize(
    ("peer", "forwarded", "expected"),
    [
        ("10.0.0.1", ["203.0.113.7"], "203.0.113.7"),
        ("10.0.0.1", ["1.1.1.1, 203.0.113.7"], "203.0.113.7"),  # what stands left of it, the client wrote
        ("10.0.0.1", ["1.1.1.1", "203.0.113.7"], "203.0.113.7"),
        ("10.0.0.1", ["203.0.113.7, 10.0.0.9,10.0.0.8"], "203.0.113.7"),
        ("10.0.0.1", ["10.0.0.9, 10.0.0.8"], "10.0.0.9"),
        ("10.0.0.1", ["203.0.113.7, nonsense, 10.0.0.8"], "10.0.0.8"),
        ("10.0.0.1", [""], "10.0.0.1"),
        ("10.0.0.1", [], "10.0.0.1"),
        ("10.0.0.1", ["203.0.113.7:5678"], "203.0.113.7"),
        ("10.0.0.1", ['"[2001:db8:1:2:3::4]:5678"'], "2001:db8:1:2::/64"),
        ("10.0.0.1", ["2001:db8:1:2:3::4"], "2001:db8:1:2::/64"),
        ("10.0.0.1", ["::ffff:203.0.113.7"], "203.0.113.7"),
        ("10.0.0.1", ["203.0.113.7\xe9"], "10.0.0.1"),
        ("10.0.0.1", ["9" * 60_000], "10.0.0.1"),
        ("10.0.0.1", ["203.0.113.7" + ", 10.0.0.8" * 6_000], "10.0.0.8"),
        ("::ffff:10.0.0.1", ["203.0.113.7"], "203.0.113.7"),
        ("fd00::1", ["203.0.113.7"], "203.0.113.7"),
        ("192.0.2.1", ["203.0.113.7"], "192.0.2.1"),  # none of ours
        ("2001:db8:1:2:3::4", [], "2001:db8:1:2::/64"),
        ("::ffff:192.0.2.1", [], "192.0.2.1"),
        ("fe80::1%eth0", [], "fe80::/64"),
        (None, ["203.0.113.7"], "unknown"),
    ],
)
def test_the_address_that_counts(peer: str | None, forwarded: Sequence[str], expected: str) -> None:
    """The first from the right that is no proxy of ours; IPv6 by /64, IPv4 within IPv6 as IPv4."""
    addresses = Addresses(["10.0.0.0/8", "fd00::/8"])
    assert subject(addresses, peer, *forwarded) == expected


def test_a_forwarded_address_that_is_not_believed_is_told_once() -> None:
    """The log names the peer and the setting; a million such requests write one line."""
    addresses = Addresses([])
    with structlog.testing.capture_logs() as lines:
        for _ in range(3):
            assert subject(addresses, "192.0.2.1", "203.0.113.7") == "192.0.2.1"
        subject(Addresses(["192.0.2.0/24"]), "192.0.2.1", "203.0.113.7")
    (line,) = lines
    assert (line["event"], line["peer"]) == ("forwarded_address_ignored", "192.0.2.1")
    assert "http.trusted_proxies" in line["hint"]


async def test_clients_behind_a_proxy_have_each_their_own_rate(settings: Settings) -> None:
    """One that is refused leaves the others alone; writing other addresses into the header does not help it."""
    async with narrow(settings, "127.0.0.0/8") as visitor:
        await until_refused(visitor, headers={"X-Forwarded-For": "203.0.113.7"})
        forged = {"X-Forwarded-For": "198.51.100.1, 203.0.113.7"}
        assert [(await visitor.http.get("/v1/models", headers=forged)).status_code for _ in range(2)].count(
            429
        )
        other = {"X-Forwarded-For": "203.0.113.8"}
        assert (await visitor.http.get("/v1/models", headers=other)).status_code == 200


@pytest.mark.parametrize(
    ("trusted", "limits"),
    [
        ("10.0.0.0/99", NARROW),
        ("", Limits(ip_per_second=0)),
        ("", Limits(ip_burst=0)),
        ("", Limits(ip_when_down="shut")),
    ],
)
async def test_settings_that_mean_nothing_stop_the_start(
    settings: Settings, trusted: str, limits: Limits
) -> None:
    """The message names them."""
    http = dataclasses.replace(settings.http, trusted_proxies=(trusted,) if trusted else ())
    async with open_resources(dataclasses.replace(settings, http=http, limits=limits)) as resources:
        with pytest.raises(Unusable, match=r"http\.trusted_proxies|limits\.ip_"):
            build_app(resources)


# --- while the counters are away ----------------------------------------------------------------------------------


async def test_503_when_the_counters_are_away_and_the_rate_is_closed(settings: Settings) -> None:
    """With `local`, the default, requests go on; the service's own pages do in any case."""
    away = Counters(url=f"redis://127.0.0.1:{free_port()}")
    closed = dataclasses.replace(settings, counters=away, limits=Limits(ip_when_down="closed"))
    async with visit(closed) as visitor:
        reply = await visitor.http.get("/v1/models")
        error = reply.json()["error"]
        assert (reply.status_code, error["code"], error["retry_after"]) == (503, "limits_unavailable", 1)
        assert (await visitor.http.get("/health")).status_code == 200
    async with visit(dataclasses.replace(settings, counters=away)) as visitor:
        assert (await visitor.http.get("/v1/models")).status_code == 200


# --- the rates of a key, and what replies tell --------------------------------------------------------------------


class Probe:
    """One operation of a service, which spends these rates of the visitor's key and looks at these quotas."""

    def __init__(self, visitor: Visitor, key: Key, kind: Kind, *rates: Rate) -> None:
        self.standings: list[Standing] = []
        self._spend = key, rates, kind
        operation = Operation(
            method="GET", path="/probe", handle=self._handle, id="probe", tag="Probe", summary="", answers={}
        )
        endpoint = Endpoint(visitor.app.state, "/probe", [operation], errors.say_no)
        self.http = httpx.AsyncClient(transport=httpx.ASGITransport(endpoint), base_url="http://127.0.0.1")

    async def _handle(self, request: Request) -> Reply:
        request.standings = self.standings
        await spend_rates(request, *self._spend)
        return json({})

    async def get(self) -> httpx.Response:
        return await self.http.get("/probe")


@pytest.fixture
async def key(visitor: Visitor) -> Key:
    issued, _ = await issue_key(visitor.resources.db, now=visitor.resources.clock.now())
    return issued


async def test_every_reply_tells_how_the_limits_stand(visitor: Visitor, key: Key) -> None:
    """In the words of the draft: rates first, then quotas; refused or not."""
    probe = Probe(visitor, key, "create", Rate("key-rate", 1, 3600.0, 2), Rate("burst-rate", 1, 60.0, 9))
    probe.standings += [
        Standing(Policy("tasks-at-once", 5, unit="concurrent-requests"), 0, 7.2),
        Standing(Policy("day", 500, window_seconds=86_400), 441, 50_211),
        Standing(Policy("heavy-at-once", 2, unit="concurrent-requests"), 2),
    ]
    replies = [await probe.get() for _ in range(3)]
    assert [reply.status_code for reply in replies] == [200, 200, 429]
    policies = (
        '"key-rate";q=1;w=3600, "burst-rate";q=1;w=60, "tasks-at-once";q=5;qu="concurrent-requests", '
        '"day";q=500;w=86400, "heavy-at-once";q=2;qu="concurrent-requests"'
    )
    assert {reply.headers["ratelimit-policy"] for reply in replies} == {policies}
    assert replies[0].headers["ratelimit"] == (
        '"key-rate";r=1;t=3600, "burst-rate";r=8;t=60, "tasks-at-once";r=0;t=8, "day";r=441;t=50211, '
        '"heavy-at-once";r=2'
    )
    # Refused by the first of them, the second has spent nothing more.
    assert replies[2].headers["ratelimit"].startswith('"key-rate";r=0;t=7200, "burst-rate";r=7;t=120, ')


@pytest.mark.parametrize(
    ("kind", "code", "advice"),
    [("create", "rate_limited", "wait"), ("read", "polling_rate_limited", "slow_polling")],
)
async def test_429_tells_creating_from_reading(
    visitor: Visitor, key: Key, kind: Kind, code: str, advice: str
) -> None:
    """Each has a code and an advice of its own; a wait of more than two minutes is not worth a retry."""
    probe = Probe(visitor, key, kind, Rate("key-rate", 1, 3600.0, 1))
    assert (await probe.get()).status_code == 200
    reply = await probe.get()
    error = reply.json()["error"]
    assert (error["code"], error["retry_after"]) == (code, 3600)
    assert error["details"] == {
        "policy": "key-rate",
        "scope": "key",
        "limit": 1,
        "used": 1,
        "remaining": 0,
        "reset": 3600,
        "advice": advice,
    }
    assert 3_590_000 < int(reply.headers["retry-after-ms"]) <= 3_600_000
    assert (reply.headers["retry-after"], reply.headers["x-should-retry"]) == ("3600", "false")


async def test_keys_of_one_account_have_each_their_own_rates(visitor: Visitor, key: Key) -> None:
    """What one key spends, another does not lack; a reply without limits tells of none."""
    other, _ = await issue_key(visitor.resources.db, now=visitor.resources.clock.now())
    assert other.account_id == key.account_id
    rate = Rate("key-rate", 1, 3600.0, 1)
    mine, theirs = Probe(visitor, key, "read", rate), Probe(visitor, other, "read", rate)
    assert [(await mine.get()).status_code for _ in range(2)] == [200, 429]
    assert (await theirs.get()).status_code == 200
    reply = await Probe(visitor, key, "read").get()
    assert "ratelimit" not in reply.headers
    assert "ratelimit-policy" not in reply.headers
