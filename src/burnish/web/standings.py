"""How the quotas of each key stood when they were last read, for replies that read none: a dict look-up, and no database.

What is told from here is a minute old at most. It is nobody's decision: admissions, quotes and `/v1/limits` read.
"""

from collections.abc import Sequence
from time import monotonic
from typing import Final
from uuid import UUID

from msgspec import Struct
from msgspec.structs import replace

from burnish.keys.key import Key
from burnish.limits.standing import Standing

_KEYS: Final = 10_000
_SECONDS: Final = 60  #: others spend from the same quotas meanwhile, here and in other processes


class _Known(Struct):
    """`aged`: the standings as they are told when they are `age` whole seconds old."""

    read_at: float
    plan: str
    overrides: str
    standings: Sequence[Standing]
    aged: Sequence[Standing]
    age: int = 0


class Standings:
    """One a process. A key has one account, so that the key's id names both."""

    def __init__(self) -> None:
        self._known: dict[UUID, _Known] = {}

    def keep(self, key: Key, standings: Sequence[Standing], now: float | None = None) -> None:
        """They were read just now. `now` is monotonic, here and below."""
        if len(self._known) >= _KEYS:
            self._known.clear()
        read_at = monotonic() if now is None else now
        self._known[key.id] = _Known(read_at, key.plan, key.overrides, standings, standings)

    def of(self, key: Key, now: float | None = None) -> Sequence[Standing]:
        """As they must be by now: windows count down, and one that has been reset since is not known any more."""
        known = self._known.get(key.id)
        if known is None:
            return ()
        age = int((monotonic() if now is None else now) - known.read_at)
        if age >= _SECONDS or known.plan != key.plan or known.overrides != key.overrides:
            del self._known[key.id]
            return ()
        if age != known.age:  # once a second, however many read
            known.age, known.aged = age, _aged(known.standings, age)
        return known.aged


def _aged(standings: Sequence[Standing], age: int) -> Sequence[Standing]:
    return tuple(
        one if one.reset_seconds is None else replace(one, reset_seconds=one.reset_seconds - age)
        for one in standings
        if one.reset_seconds is None or one.reset_seconds > age
    )
