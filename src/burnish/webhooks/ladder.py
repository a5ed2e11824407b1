"""When a delivery is tried again, and when it is given up. Pure.

The tries of Standard Webhooks' recommendation: at once, then after 5 s, 5 min, 30 min, 2 h, 5 h, 10 h, 14 h, 20 h and
24 h, each a little later by chance, so that receivers that come back are not met by everything at once.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Final

#: Pauses before the second and every later try, in seconds.
PAUSES: Final = (5, 300, 1_800, 7_200, 18_000, 36_000, 50_400, 72_000, 86_400)
TRIES: Final = len(PAUSES) + 1
#: Of a pause, at most, by chance.
_JITTER: Final = 0.1
#: A receiver that asks for more gets this.
_LONGEST_WAIT: Final = 86_400
#: A receiver that failed so often in a row is tried once at a time, and ever more seldom.
_BREAKER_SECONDS: Final = (1, 2, 5, 15, 60, 120, 300)
#: An endpoint of which nothing but failures has been seen for so long is switched off.
GIVE_UP: Final = timedelta(hours=120)

_ACCEPTED: Final = range(200, 300)
_GONE: Final = 410
_LATER: Final = frozenset({429, 503})


@dataclass(frozen=True, slots=True)
class Answer:
    """What came of one try. `status` is None where there was no answer, and `error` says why; `hopeless`: no other try can
    end otherwise, and the receiver is not to blame.
    """

    status: int | None
    error: str | None = None
    retry_after: str | None = None
    hopeless: bool = False

    @property
    def accepted(self) -> bool:
        return self.status in _ACCEPTED

    @property
    def gone(self) -> bool:
        """The receiver wants no more."""
        return self.status == _GONE


def next_try(answer: Answer, tries: int, now: datetime, chance: float) -> datetime | None:
    """When to try again after so many tries; None when it is accepted or given up. `chance`: 0 to 1."""
    if answer.accepted or answer.gone or tries >= TRIES:
        return None
    pause = PAUSES[tries - 1] * (1 + _JITTER * chance)
    asked = _asked_for(answer, now) if answer.status in _LATER else None
    return now + timedelta(seconds=max(pause, asked or 0))


def shut_for(failures: int, chance: float) -> timedelta:
    """How long a receiver that failed so often in a row is left alone."""
    seconds = _BREAKER_SECONDS[min(failures, len(_BREAKER_SECONDS)) - 1]
    return timedelta(seconds=seconds * (1 + _JITTER * chance))


def _asked_for(answer: Answer, now: datetime) -> float | None:
    """Seconds of its Retry-After, which is a number or a date."""
    given = (answer.retry_after or "").strip()
    if given.isdecimal() and len(given) < 10:
        return min(int(given), _LONGEST_WAIT)
    try:
        moment = parsedate_to_datetime(given)
    except (ValueError, OverflowError):
        return None
    if moment.tzinfo is None:
        return None
    return min(max(0.0, (moment - now).total_seconds()), _LONGEST_WAIT)
