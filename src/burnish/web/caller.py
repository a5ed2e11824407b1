"""Who is calling, and whether they may: the first thing a handler asks, before it reads a body.

In this order, each step cheaper than what it guards: the rate of the caller's address, decided by `endpoint.py` before
anything is believed (`admit`); the key, from the process's memory or the database; the rates of the key, all or none;
what the key may do. How the rates stand is noted on the request, and told in the headers of its reply.
"""

from collections.abc import Callable, Sequence
from functools import lru_cache
from math import ceil
from typing import Final, Literal

from burnish.errors import Forbidden, Limited, Unauthenticated, Unavailable
from burnish.ids import plain
from burnish.keys.key import Key
from burnish.keys.plan import Plan, Rates
from burnish.limits.counters import Asked
from burnish.limits.limit import RequestRate
from burnish.limits.rate import Rate, Verdicts, slowest
from burnish.uploads.blob import kept_seconds
from burnish.web.request import Request

Kind = Literal["create", "read"]
_KINDS: Final[tuple[Kind, ...]] = ("create", "read")

#: Finds the key's secret in a request. Raises Unauthenticated.
Presented = Callable[[Request], str]

_READS: Final = frozenset({"GET", "HEAD"})


async def admit(request: Request) -> None:
    """Spend the rate of the caller's address.

    Raises:
        Limited: `ip_rate_limited`.
        Unavailable: `limits_unavailable`.
    """
    site = request.site
    verdicts = await _spend(request, site.addresses.subject(request.scope), site.asked_of_ip)
    if not verdicts[0].allowed:
        request.rates = verdicts
        message = "This address has sent too many requests in too short a time."
        raise _limited(message, verdicts, code="ip_rate_limited", scope="ip")


async def caller(
    request: Request,
    scope: str | None = None,
    presented: Presented | None = None,
    kind: Kind | None = None,
    *,
    together: bool = False,
) -> Key:
    """The key that calls, which holds `scope`, and whose rates allow it.

    `presented`: how a surface other than the native one finds the key's secret in a request; `kind`: which rate it spends,
    where the method does not tell; `together`: a surface whose vendor has one budget for both, see `rates_of`.

    Raises:
        Unauthenticated: `missing_key`, or what the key's secret is at fault for.
        Limited: `rate_limited`, or `polling_rate_limited` where it only reads.
        Forbidden: `address_not_allowed`, `scope_missing`.
        Unavailable: the database does not answer, or `limits_unavailable`.
    """
    address = request.site.addresses.address(request.scope)
    secret = (presented or bearer)(request)
    key = await request.resources.authenticator.authenticate(secret, request.now, address)
    request.account_id = key.account_id
    request.standings = request.site.standings.of(key)
    kind = kind or ("read" if request.method in _READS else "create")
    rates = rates_of(plan_of(request, key).rates, kind, together=together)
    await spend_rates(request, key, rates, kind)
    if scope is not None and scope not in key.scopes:
        raise Forbidden(f"This key lacks the scope {scope}.", code="scope_missing", details={"scope": scope})
    return key


async def still_calls(request: Request) -> bool:
    """Whether the key of a request that is answered for long is still good. Where nobody can tell, it is."""
    address = request.site.addresses.address(request.scope)
    try:
        await request.resources.authenticator.authenticate(bearer(request), request.now, address)
    except (Unauthenticated, Forbidden):
        return False
    except Unavailable:
        pass
    return True


def plan_of(request: Request, key: Key) -> Plan:
    """What the key's account may do."""
    return request.resources.plans.terms(key.plan, key.overrides, test=key.test)


def retention_of(request: Request, key: Key) -> int:
    """How long, in seconds, tasks of the key and what they make are kept: as its plan says, or the service."""
    kept = plan_of(request, key).retention_seconds or request.resources.settings.uploads.retention_seconds
    return kept_seconds(key.environment, kept)


@lru_cache(maxsize=4096)
def rates_of(rates: Rates, kind: Kind, *, together: bool = False) -> Sequence[Rate]:
    """The rates of a plan for requests of that kind, under the names that headers have.

    `together`: creating and reading spend one budget: the plan's `shared`, or else one as large as the plan's for reading.
    """
    shared = rates.shared or (rates.read if together else None)
    if shared is not None:
        return (_rate("key-rate", shared),)
    one = rates.create if kind == "create" else rates.read
    return () if one is None else (_rate(f"{kind}-rate", one),)


def _rate(name: str, rate: RequestRate) -> Rate:
    return Rate(name, rate.limit, rate.seconds, rate.burst, rate.when_down)


async def peek_ip(request: Request) -> Verdicts:
    """How the rate of the caller's address stands."""
    site = request.site
    found = request.resources.counters.peek(site.addresses.subject(request.scope), site.asked_of_ip)
    return found if isinstance(found, list) else await found


async def peek_rates(request: Request, key: Key, rates: Rates) -> Verdicts:
    """How all rates of the key stand."""
    asked = {rate.name: (str(key.id), rate) for kind in _KINDS for rate in rates_of(rates, kind)}
    if not asked:
        return []
    found = request.resources.counters.peek(str(key.account_id), list(asked.values()))
    return found if isinstance(found, list) else await found


async def spend_rates(request: Request, key: Key, rates: Sequence[Rate], kind: Kind) -> None:
    """Spend one request of all of the key's rates, or of none; how they stand then is told in the reply's headers.

    Raises:
        Limited: `rate_limited` or `polling_rate_limited`; the details name the rate that lasts longest.
        Unavailable: `limits_unavailable`.
    """
    if not rates:
        return
    subject = plain(key.id)
    verdicts = await _spend(request, plain(key.account_id), [(subject, rate) for rate in rates])
    request.rates = verdicts
    if all([verdict.allowed for verdict in verdicts]):  # noqa: C419 - a list of one or two is the quicker one
        return
    if kind == "read":
        message = "This key reads too often."
        raise _limited(message, verdicts, code="polling_rate_limited", scope="key", advice="slow_polling")
    message = "This key has created or changed too much in too short a time."
    raise _limited(message, verdicts, code="rate_limited", scope="key")


async def _spend(request: Request, tag: str, asked: Sequence[Asked]) -> Verdicts:
    verdicts = request.resources.counters.spend(tag, asked)
    return verdicts if isinstance(verdicts, list) else await verdicts


def _limited(message: str, verdicts: Verdicts, *, code: str, scope: str, advice: str = "wait") -> Limited:
    """The refusal in the words of the rate that lasts longest."""
    verdict = slowest(verdicts)
    assert verdict is not None
    rate = verdict.rate
    return Limited(
        f"{message} At most {rate.limit} in {rate.window_seconds:g} s, {rate.burst} at once.",
        code=code,
        retry_after=ceil(verdict.retry_after_seconds),
        details={
            "policy": rate.name,
            "scope": scope,
            "limit": rate.limit,
            "used": verdict.used,
            "remaining": verdict.remaining,
            "reset": ceil(verdict.reset_seconds),
            "advice": advice,
        },
    )


def bearer(request: Request) -> str:
    """The secret in `Authorization: Bearer …`. Raises Unauthenticated."""
    given = request.headers(b"authorization")
    if len(given) > 1:  # whose request it is, is not for us to choose
        raise Unauthenticated("Send one Authorization header.", code="malformed_key")
    scheme, _, secret = (given[0] if given else "").partition(" ")
    if scheme.lower() != "bearer" or not secret:
        raise Unauthenticated("Send your key as `Authorization: Bearer bk_…`.", code="missing_key")
    return secret.strip()
