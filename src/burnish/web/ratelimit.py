"""How the limits stand, in the headers of draft-ietf-httpapi-ratelimit-headers; and how long to wait, on a 429.

Written on every reply to a key, refused or not: rates from the verdicts that `caller.py` left on the request, quotas from
the standings that whoever decided them appended. What a policy is never changes, so its text is kept.
"""

import functools
from collections.abc import Sequence
from math import ceil
from typing import Final

from burnish.errors import Limited
from burnish.limits.rate import Rate, Verdict, slowest
from burnish.limits.standing import Policy, Standing

Header = tuple[bytes, bytes]

_GIVE_UP_SECONDS: Final = 120  #: a client that would wait for longer tells its user instead
_SHOULD_NOT_RETRY: Final = (b"x-should-retry", b"false")


def headers(verdicts: Sequence[Verdict], standings: Sequence[Standing]) -> list[Header]:
    """`RateLimit-Policy` and `RateLimit`; nothing where nothing is limited."""
    if not verdicts and not standings:
        return []
    policies = [_rate_policy(verdict.rate) for verdict in verdicts]
    state = [
        f'"{verdict.rate.name}";r={verdict.remaining};t={ceil(verdict.reset_seconds)}' for verdict in verdicts
    ]
    if standings:
        of_quotas, stands = _quotas(tuple(standings))
        policies.append(of_quotas)
        state.append(stands)
    return [
        (b"ratelimit-policy", ", ".join(policies).encode()),
        (b"ratelimit", ", ".join(state).encode()),
    ]


@functools.lru_cache(4096)
def _quotas(standings: tuple[Standing, ...]) -> tuple[str, str]:
    """Of a whole group of submissions they are the same."""
    return (
        ", ".join(_policy(standing.policy) for standing in standings),
        ", ".join(map(_state, standings)),
    )


@functools.lru_cache(4096)
def _rate_policy(rate: Rate) -> str:
    return f'"{rate.name}";q={rate.limit};w={ceil(rate.window_seconds)}'


@functools.lru_cache(4096)
def _policy(policy: Policy) -> str:
    window = f";w={policy.window_seconds}" if policy.window_seconds is not None else ""
    unit = f';qu="{policy.unit}"' if policy.unit is not None else ""
    return f'"{policy.name}";q={policy.limit}{unit}{window}'


def _state(standing: Standing) -> str:
    reset = f";t={ceil(standing.reset_seconds)}" if standing.reset_seconds is not None else ""
    return f'"{standing.policy.name}";r={standing.remaining}{reset}'


def waiting(limited: Limited, verdicts: Sequence[Verdict]) -> list[Header]:
    """Beside `Retry-After`, which the surface's own refusal writes: milliseconds, and whether to wait at all."""
    refusal = slowest(verdicts)
    if refusal is not None:
        milliseconds = ceil(refusal.retry_after_seconds * 1000)
    elif limited.retry_after is not None:
        milliseconds = limited.retry_after * 1000
    else:
        return []
    found = [(b"retry-after-ms", b"%d" % milliseconds)]
    if milliseconds > _GIVE_UP_SECONDS * 1000:
        found.append(_SHOULD_NOT_RETRY)
    return found
