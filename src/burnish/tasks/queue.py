"""An account's place in the lanes: how many of its tasks hold a slot, are parked or wait, and where its next start
tags may lie. One document in the account's row, changed under the row's lock.

Start-time fair queueing (Goyal, Vin, Cheng 1996) over keys: a task that becomes ready is tagged with
`max(virtual time, its key's next tag)`, and the key's next tag moves on by a step that is smaller the heavier the
account's plan weighs, and larger the more keys of the account have tasks in the lane: an account with ten busy keys
gets what one with a single key gets, and its keys get the same of it. Virtual time is the smallest ready tag of the
lane, or the present microsecond when nothing there is ready; steps are so small that the tags of one key (at weight
100) run ahead of the clock only above ten thousand tasks a second.
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Final, Literal

import msgspec
from msgspec import Struct

#: Where a task is that has not ended, as its account's row counts it.
Place = Literal["slots", "parked", "waiting"]
STEP: Final = 10_000  #: microseconds of virtual time that a task costs an account of weight 1


class Group(Struct, array_like=True):
    """Tasks of one lane, model and key that have not ended. `key`: its id's 32 digits, "" where there is none."""

    lane: int
    model: str
    key: str
    slots: int = 0
    parked: int = 0
    waiting: int = 0

    @property
    def empty(self) -> bool:
        return not (self.slots or self.parked or self.waiting)


class _Document(Struct):
    groups: list[Group] = []
    tags: dict[str, int] = {}


_DECODE: Final = msgspec.json.Decoder(_Document).decode
_ENCODE: Final = msgspec.json.Encoder().encode


class Queue:
    """The document, as one transaction works with it."""

    def __init__(self, document: str = "{}") -> None:
        read = _DECODE(document)
        self.groups: dict[tuple[int, str, str], Group] = {(g.lane, g.model, g.key): g for g in read.groups}
        self.tags = read.tags
        self._counts: tuple[Counter[str], Counter[str]] | None = (
            None  #: kept, since every task of a batch asks
        )

    def document(self, times: Iterable[int]) -> str:
        """What to store. Tags behind the lane's virtual time say nothing any more."""
        now = list(times)
        tags = {name: tag for name, tag in self.tags.items() if tag > now[int(name[0])]}
        groups = [group for group in self.groups.values() if not group.empty]
        return _ENCODE(_Document(groups, tags)).decode()

    def group(self, lane: int, model: str, key: str) -> Group:
        place = lane, model, key
        if (found := self.groups.get(place)) is None:
            found = self.groups[place] = Group(lane, model, key)
        return found

    @property
    def parked(self) -> int:
        return sum(group.parked for group in self.groups.values())

    def counts(self) -> tuple[Mapping[str, int], Mapping[str, int]]:
        """Slots in use, and all tasks that have not ended, by what a ceiling counts. They go along with `count`."""
        if self._counts is None:
            slots, present = self._counts = Counter(), Counter()
            for group in self.groups.values():
                for name in counted_as(group.lane, group.model, group.key):
                    slots[name] += group.slots
                    present[name] += group.slots + group.parked + group.waiting
        return self._counts

    def count(self, group: Group, what: Place, by: int) -> None:
        """So many tasks of the group more there, or fewer."""
        left = getattr(group, what) + by
        assert left >= 0, "the account's row counts fewer tasks than there are"
        setattr(group, what, left)
        if self._counts is not None:
            slots, present = self._counts
            for name in counted_as(group.lane, group.model, group.key):
                present[name] += by
                if what == "slots":
                    slots[name] += by

    def next_tag(self, lane: int, key: str, virtual_time: int) -> int:
        """The start tag that a task of this key would get now."""
        return max(virtual_time, self.tags.get(f"{lane}{key}", 0))

    def tag(self, lane: int, key: str, virtual_time: int, weight: int) -> int:
        """The start tag of a task that becomes ready now; the key's next one moves on."""
        tag = self.next_tag(lane, key, virtual_time)
        busy = 1
        if len(self.groups) > 1:
            busy = len(
                {g.key for g in self.groups.values() if g.lane == lane and (g.slots or g.parked)} | {key}
            )
        self.tags[f"{lane}{key}"] = tag + max(1, STEP * busy // weight)
        return tag


@lru_cache(maxsize=4096)
def counted_as(lane: int, model: str, key: str) -> tuple[str, ...]:
    """The ceilings that a task counts under, by name."""
    names = ("account", f"key {key}", f"model {model}")
    return (*names, "heavy") if lane else names
