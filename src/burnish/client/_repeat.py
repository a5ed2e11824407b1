"""When a request is tried again, and how long before. Pure: what happened goes in, seconds or None come out.

Connection errors, 408, 409 while the first of two equal requests is still being decided, 429 and 5xx are tried
again; 402 and 422 never are. The service has the last word: `X-Should-Retry`, then `retry-after-ms`, then
`Retry-After` in seconds or as a date. Where it says nothing: 1, 2, 4 … 30 s, less up to a quarter of it, so that
clients that were refused together do not come back together.
"""

import time
from email.utils import parsedate_to_datetime
from typing import Final

import httpx

from burnish.client._errors import error_body

FIRST_PAUSE_SECONDS: Final = 1.0
LONGEST_PAUSE_SECONDS: Final = 30.0
#: A service that asks for more than this is not waited for: its error is raised, with `retry_after`.
LONGEST_ASKED_SECONDS: Final = 120.0

_NEVER: Final = frozenset({402, 422})
_SPREAD: Final = 0.25


def pause_before_retry(
    outcome: httpx.Response | httpx.RequestError, tried: int, chance: float
) -> float | None:
    """Seconds to wait after the `tried`-th try (from 1) came to `outcome`; None when there is no sense in another.

    `chance` is from 0 to 1 and makes the jitter: an asked pause is only ever made longer, by a tenth at most.
    """
    if isinstance(outcome, httpx.RequestError):
        return _own_pause(tried, chance) if _may_pass(outcome) else None
    if not _worth_repeating(outcome):
        return None
    asked = asked_pause(outcome.headers)
    if not asked:  # asked for no pause at all, we still make one: an immediate retry only adds to a burst
        return _own_pause(tried, chance)
    if asked > LONGEST_ASKED_SECONDS:
        return None
    return asked * (1 + chance / 10)


def asked_pause(headers: httpx.Headers) -> float | None:
    """What `retry-after-ms` or `Retry-After` asks for, in seconds; None where neither says anything readable."""
    milliseconds = _number(headers.get("retry-after-ms"))
    if milliseconds is not None:
        return milliseconds / 1000
    text = headers.get("retry-after")
    seconds = _number(text)
    return seconds if seconds is not None or text is None else _until(text, headers.get("date"))


def _own_pause(tried: int, chance: float) -> float:
    pause: float = min(LONGEST_PAUSE_SECONDS, FIRST_PAUSE_SECONDS * 2 ** (tried - 1))
    return pause * (1 - _SPREAD * chance)


def _worth_repeating(response: httpx.Response) -> bool:
    if response.status_code in _NEVER or not response.is_error:
        return False
    wish: str = response.headers.get("x-should-retry", "").lower()
    if wish in ("true", "false"):
        return wish == "true"
    if response.status_code == 409:
        return bool(error_body(response).get("code") == "idempotency_in_progress")
    return response.status_code in (408, 429) or response.status_code >= 500


def _may_pass(error: httpx.RequestError) -> bool:
    """Whether the network may do better next time: not where the request itself cannot be sent, or a loop is followed."""
    return isinstance(error, httpx.TransportError) and not isinstance(
        error, httpx.LocalProtocolError | httpx.UnsupportedProtocol
    )


def _number(text: str | None) -> float | None:
    """A count that is not negative, or None."""
    try:
        number = float(text or "")
    except ValueError:
        return None
    return number if 0 <= number < float("inf") else None


def _until(text: str, service_date: str | None) -> float | None:
    """Seconds until an HTTP date, by the service's own clock where it tells it: ours may be wrong."""
    then = _moment(text)
    if then is None:
        return None
    now = _moment(service_date) if service_date else None
    return max(0.0, then - (time.time() if now is None else now))


def _moment(text: str) -> float | None:
    try:
        return parsedate_to_datetime(text).timestamp()
    except ValueError:
        return None
