"""A rate: how many requests in how long, and how many at once. Pure: no clock, no store.

The generic cell rate algorithm, with rate and burst apart. What is kept for each subject is one moment: when nothing
is left of what it spent. A request moves that moment ahead by `interval`, and is refused where it would come to lie
further than `room` ahead of now. So in any stretch of time there are at most `burst` requests and one more for each
`interval` of it. Nothing is counted in windows, so nothing doubles at a window's edge.

Moments and lengths are in nanoseconds of whatever clock the counters have (`counters/`). An interval is a whole number
of microseconds, since the clock of Redis tells no less, rounded to the side of fewer requests.
"""

import re
from collections.abc import Sequence
from math import ceil
from typing import Final, Literal, get_args

from msgspec import Struct
from msgspec.structs import force_setattr

WhenDown = Literal["local", "open", "closed"]

_NAME: Final = re.compile(r"[a-z0-9][a-z0-9-]{0,62}")
_MICRO: Final = 1_000
_SECOND: Final = 1_000_000_000


class Rate(Struct, frozen=True, gc=False):
    """At most `limit` requests in `window_seconds`, of which `burst` may come at once.

    `name` is the policy's name in headers and a part of the counter's key. `when_down` says what happens while the
    store of counters does not answer: count alone (`local`), allow (`open`) or refuse (`closed`).
    """

    name: str
    limit: int
    window_seconds: float
    burst: int
    when_down: WhenDown = "local"
    interval: int = 0  #: what one request spends, in nanoseconds; made of the others
    room: int = 0  #: how much may be spent, in nanoseconds; made of the others

    def __post_init__(self) -> None:
        """Raises ValueError: a name that fits no header, or numbers that are no rate."""
        if not _NAME.fullmatch(self.name):
            raise ValueError(f"{self.name!r} is no name for a rate: lower-case letters, digits and hyphens")
        if self.limit < 1 or self.burst < 1 or not 0 < self.window_seconds < float("inf"):
            raise ValueError(f"{self.limit} in {self.window_seconds} s, {self.burst} at once, is no rate")
        if self.when_down not in get_args(WhenDown):
            raise ValueError(f"{self.when_down!r} is none of {', '.join(get_args(WhenDown))}")
        if not self.interval:
            force_setattr(self, "interval", ceil(self.window_seconds * 1_000_000 / self.limit) * _MICRO)
            force_setattr(self, "room", self.interval * self.burst)

    def share(self, processes: int) -> "Rate":
        """The part of one among `processes` that count apart; it is called, and told of, as the whole."""
        interval = self.interval * processes
        room = interval * max(1, self.burst // processes)
        return Rate(self.name, self.limit, self.window_seconds, self.burst, self.when_down, interval, room)


class Verdict(Struct, gc=False):
    """How a rate stands after a request was decided. `behind`: until nothing is spent any more, in nanoseconds."""

    rate: Rate
    allowed: bool
    behind: int

    @property
    def remaining(self) -> int:
        """How many more could be made at once, now."""
        return max(0, (self.rate.room - self.behind) // self.rate.interval)

    @property
    def used(self) -> int:
        """How many of the burst are taken, now."""
        return self.rate.room // self.rate.interval - self.remaining

    @property
    def reset_seconds(self) -> float:
        """Until the whole burst may be made again."""
        return self.behind / _SECOND

    @property
    def retry_after_seconds(self) -> float:
        """Until one more is allowed; 0 where it is now."""
        return max(0, self.behind + self.rate.interval - self.rate.room) / _SECOND


Verdicts = list[Verdict]


def ask(rate: Rate, full_at: int, now: int) -> Verdict:
    """Whether one more is allowed; `full_at` is the moment that is kept, 0 where none is. Nothing is spent."""
    behind = full_at - now
    if behind < 0:
        behind = 0
    elif behind > rate.room:  # the clock was put back, or the rate was a slower one
        behind = rate.room
    return Verdict(rate, behind + rate.interval <= rate.room, behind)


def spend(verdicts: Verdicts) -> bool:
    """Spend one request of all of them, if all allow it, and of none otherwise.

    What is to be kept then is `now + verdict.behind` for each.
    """
    for verdict in verdicts:
        if not verdict.allowed:
            return False
    for verdict in verdicts:
        verdict.behind += verdict.rate.interval
    return True


def slowest(verdicts: Sequence[Verdict]) -> Verdict | None:
    """The refusal that lasts longest; None where all were allowed."""
    refusals = [verdict for verdict in verdicts if not verdict.allowed]
    return max(refusals, key=lambda verdict: verdict.retry_after_seconds, default=None)
