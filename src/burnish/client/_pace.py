"""How fast a client goes, and how much it has under way: what it knows of the service's limits, from the replies.

One for each client, shared by everything that it does at once. `_remote.py` asks before it sends, and tells what came;
`_tasks.py` takes turns for each task that it runs. Pure but for a lock.

- Requests that create and those that read keep to `create-rate` and `read-rate` (or `key-rate`, for both) as the
  headers tell them. Until the first reply to one that creates, there is one at a time.
- Tasks under way: the first alone, until the reply to its creation; then 5 at once of light models and 2 of heavy ones,
  as far as the headers tell of room. One more with every task that was admitted while there was room left, half as
  many when one was refused.
"""

import math
import threading
from collections import Counter
from collections.abc import Mapping
from typing import Final, Literal

import httpx

from burnish.client._errors import error_body
from burnish.client._gate import Gate, Turn
from burnish.client._rate import Bucket, Place
from burnish.client._standing import Standing, standings

Kind = Literal["create", "read"]

LIGHT_AT_ONCE: Final = 5
HEAVY_AT_ONCE: Final = 2
#: Each task under way holds a connection while it is waited for.
MOST_AT_ONCE: Final = 64

_SHARED: Final = "key-rate"
_HEAVY: Final = "heavy-tasks-at-once"
#: Limits on tasks that have not ended -> the gate that they narrow.
_CEILINGS: Final = {
    "tasks-at-once": "all",
    "key-tasks-at-once": "all",
    _HEAVY: "heavy",
    "model-tasks-at-once": "model",
}
_TOO_MANY: Final = frozenset({"too_many_tasks", "too_many_heavy_tasks"})
_TOO_FAST: Final = frozenset({"rate_limited", "polling_rate_limited", "ip_rate_limited"})


class Pace:
    """What one client knows. `lanes`: light or heavy, by the model's name; None until the catalogue was read."""

    def __init__(self) -> None:
        self.lanes: Mapping[str, str] | None = None
        self.catalogue = Gate(1)  #: it is read once, however many ask
        self._lock = threading.RLock()
        self._buckets: dict[Kind, Bucket] = {"create": Bucket(), "read": Bucket()}
        self._scout = Gate(1)
        self._scouted = False
        self._gates = {
            "light": Gate(LIGHT_AT_ONCE, MOST_AT_ONCE),
            "heavy": Gate(HEAVY_AT_ONCE, MOST_AT_ONCE),
            "all": Gate(MOST_AT_ONCE),
        }
        self._first = Gate(1)
        self._answered = False
        self._heavy: set[str] = set()  #: told to be by headers
        self._creating: Counter[str] = Counter()

    # --- requests -------------------------------------------------------------------------------------------------

    def scout(self, kind: Kind) -> Turn | None:
        """The turn to be had first while nothing is known of the rate."""
        return self._scout.turn() if kind == "create" and not self._scouted else None

    def take(self, kind: Kind, now: float, *, held: bool = False) -> Place:
        """A place in the line of requests of that kind; `held`: of one that the service may keep waiting."""
        with self._lock:
            return self._buckets[kind].take(now, held=held)

    def pause(self, place: Place, now: float) -> float:
        """Seconds until that request may be sent. With 0 it is sent now."""
        with self._lock:
            pause = place.bucket.pause(place, now)
            if not pause:
                place.bucket.sent(place, now)
            return pause

    def told(
        self, kind: Kind, place: Place, response: httpx.Response, asked: float | None, now: float
    ) -> None:
        """What came of a request; `asked` is the pause that its refusal asks for."""
        known = standings(response.headers)
        with self._lock:
            if _SHARED in known:
                self._buckets = {"create": self._buckets[kind], "read": self._buckets[kind]}
            standing = known.get(_SHARED) or known.get(f"{kind}-rate")
            if standing is not None:
                place.bucket.told(place, standing, now)
            if response.status_code == 429 and asked and error_body(response).get("code") in _TOO_FAST:
                place.bucket.refused(asked, now)
            if kind == "create":
                self._scouted = True
                self._scout.open()

    def left(self, place: Place) -> None:
        """The request is over, answered or given up."""
        with self._lock:
            place.bucket.left(place)

    def watched_seconds(self, least: int, most: int) -> int:
        """How long to have a reading request held, so that all that are watched leave half of the rate to others."""
        with self._lock:
            bucket = self._buckets["read"]
            if bucket.interval is None:
                return least
            return min(most, max(least, math.ceil(2 * bucket.interval * (bucket.under_way + 1))))

    # --- tasks ----------------------------------------------------------------------------------------------------

    def gates(self, model: str) -> list[Gate]:
        """What a task of that model passes, one after the other."""
        with self._lock:
            named = [self._gate(name) for name in self._names(model)]
            return named if self._answered else [self._first, *named]

    def at_once(self, model: str) -> int:
        """How many tasks of that model this client would have under way now."""
        with self._lock:
            return int(min(self._gate(name).width for name in self._names(model)))

    def creating(self, model: str, count: int) -> None:
        """So many more requests for a task of that model are under way, or so many less."""
        with self._lock:
            self._creating.update(dict.fromkeys(self._names(model), count))

    def admitted(self, model: str, response: httpx.Response) -> None:
        """A task was admitted, and the headers say how much room it left. Called while it still counts as `creating`."""
        known = standings(response.headers)
        with self._lock:
            if _HEAVY in known:
                self._heavy.add(model)
            left = [self._narrow(model, name, standing, ours=1) for name, standing in known.items()]
            lane, *_ = self._names(model)
            told = [room for room in left if room is not None]
            if told and min(told) > 0:
                self._gate(lane).grow(MOST_AT_ONCE)
            self._go_on()

    def refused(self, model: str, response: httpx.Response) -> None:
        """A task was refused: where that was for tasks under way, half as many are enough."""
        if response.status_code != 429 or error_body(response).get("code") not in _TOO_MANY:
            return
        with self._lock:
            lane, *_ = self._names(model)
            self._gate(lane).halve()
            for name, standing in standings(response.headers).items():
                self._narrow(model, name, standing, ours=0)
            self._go_on()

    def _go_on(self) -> None:
        """The service has answered a creation: what it tells of room for tasks is known."""
        self._answered = True
        self._first.open()

    def _narrow(self, model: str, name: str, standing: Standing, *, ours: int) -> int | None:
        """Make a gate as narrow as the service says; the room that is left, where this is such a limit.

        Of ours, those count that the service had admitted when it decided: not those that are still on their way to it,
        but for the one that it answered, where it admitted that (`ours`).
        """
        place = _CEILINGS.get(name)
        if place is None or standing.remaining is None:
            return None
        place = f"model {model}" if place == "model" else place
        gate = self._gate(place)
        room = max(0, gate.inside - self._creating[place] + ours) + standing.remaining
        gate.has_room_for(name, room if standing.limit is None else min(room, standing.limit))
        return standing.remaining

    def _names(self, model: str) -> tuple[str, ...]:
        heavy = model in self._heavy or (self.lanes or {}).get(model) == "heavy"
        return "heavy" if heavy else "light", f"model {model}", "all"

    def _gate(self, name: str) -> Gate:
        if name not in self._gates:
            self._gates[name] = Gate(MOST_AT_ONCE)
        return self._gates[name]
