"""A rate of the service as its client counts it: a bucket that is emptied by requests and filled by time. Pure.

Used by `_pace.py`, under its lock. What the service tells in a reply is older than the reply: other requests may have
been counted since, or not yet. So the client keeps its own count, and corrects it only where what was told proves it
wrong: then it is never faster than the service allows, and no slower than the rate.
"""

from dataclasses import dataclass
from typing import Final

from burnish.client._standing import Standing

#: The service rounds what one request spends up to a microsecond; so do we, and a little more.
_SLACK: Final = 1.0001
#: What floats cannot tell from no time at all.
_INSTANT: Final = 1e-7


class Bucket:
    """What may still be sent, all requests in the line already taken off; unknown until a reply has told."""

    def __init__(self) -> None:
        self.interval: float | None = None  #: seconds for one request to come back
        self.under_way = 0  #: sent, and not answered
        self._left: float | None = None
        self._most = 1.0
        self._as_of = 0.0
        self._not_before = 0.0
        self._taken = 0
        self._answered = 0
        self._unsent = 0
        self._flight = 0.0

    def take(self, now: float, *, held: bool = False) -> "Place":
        """A place at the end of the line. `held`: how long the reply takes tells nothing of the way."""
        self._fill(now)
        place = Place(self, self._taken, self._answered, held)
        self._taken += 1
        self._unsent += 1
        if self._left is not None:
            self._left -= 1
        return place

    def pause(self, place: "Place", now: float) -> float:
        """Seconds until that request may be sent; 0 where it may be now. Ask again afterwards: it may have moved."""
        self._fill(now)
        held = max(0.0, self._not_before - now)
        if self._left is None or self.interval is None:
            return held
        after = self._taken - 1 - place.number
        wait = (self._reserve() - self._left - after) * self.interval
        return max(held, wait + _INSTANT if wait > _INSTANT else 0.0)

    def sent(self, place: "Place", now: float) -> None:
        """That request leaves now."""
        place.sent_at = now
        self._unsent -= 1
        self.under_way += 1

    def left(self, place: "Place") -> None:
        """That request is over, answered or given up; what it took is not given back."""
        if place.sent_at is None:
            self._unsent -= 1
        else:
            self.under_way -= 1
        self._answered += 1

    def told(self, place: "Place", standing: Standing, now: float) -> None:
        """A reply to that request said how the rate stands: as it stood when the service decided, before the reply came.
        Called before `left`.
        """
        if standing.interval is None or standing.remaining is None or place.sent_at is None:
            return
        self._fill(now)
        self.interval = standing.interval * _SLACK
        self._most = max(self._most, standing.remaining + 1.0)
        open_ = self._taken - self._answered - 1
        if self._left is None:
            self._left = float(standing.remaining - open_)
            return
        flight = now - place.sent_at
        if not place.held:
            self._flight = max(flight, 0.95 * self._flight)
        full = standing.remaining + 1 >= self._most  # then nothing was coming back: all that is left is told
        highest = standing.remaining - self._unsent + (0.0 if full else 1 + flight / self.interval)
        if self._left > highest:  # others use the key too, or this request was long under way
            self._left = float(standing.remaining - open_)
        since = self._taken - place.answered - 1  # all that may have been counted after this one
        self._left = max(self._left, float(standing.remaining - since))

    def refused(self, asked: float, now: float) -> None:
        """The service refused one for this rate: the next may be sent in `asked` seconds, the others after it."""
        self._not_before = max(self._not_before, now + asked)
        if self._left is not None and self.interval is not None:
            self._left = min(self._left, 1 - self._unsent - asked / self.interval)

    def _reserve(self) -> float:
        """What is not used: requests do not arrive in the distances that they were sent in."""
        flight = self._flight / self.interval if self.interval else 0.0
        return min((self._most - 1) / 2, 1 + flight)

    def _fill(self, now: float) -> None:
        if self._left is not None and self.interval is not None:
            self._left = min(self._most, self._left + (now - self._as_of) / self.interval)
        self._as_of = now


@dataclass(slots=True)
class Place:
    """A request's place in the line of a bucket. `answered`: how many replies had come when it was taken."""

    bucket: Bucket
    number: int
    answered: int
    held: bool
    sent_at: float | None = None
