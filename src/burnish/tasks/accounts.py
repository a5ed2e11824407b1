"""The accounts of one transaction: locked in the order of their ids, read as far as a decision needs, written at its end.

Everything that moves tasks but a claim goes through here: lock, decide (`decide.py`), write. What is written goes with
the caller's own writes in one round trip.
"""

from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any, Final
from uuid import UUID

import msgspec

from burnish.credits import store as credits_
from burnish.credits.ledger import Grant
from burnish.keys.plan import Plan, Plans
from burnish.limits import store as windows
from burnish.limits.limit import Limit, Window
from burnish.limits.names import SAME_NAME
from burnish.limits.window import Span, span, used
from burnish.storage.postgres import Connection
from burnish.storage.statement import Part, write
from burnish.tasks import store
from burnish.tasks.decide import CEILINGS, DAY, FOR_EVER, KEY_CREDITS, State, promotions
from burnish.tasks.queue import Queue
from burnish.tasks.task import lane_topic
from burnish.webhooks.event import Event

#: How often a limit that is not enforced would have refused: counted by the day.
_SHADOW: Final = Window(limit=0)

_ENCODE: Final = msgspec.json.Encoder().encode


class Accounts:
    """Their states by id, and each lane's virtual time. Ids that are not in it are locked elsewhere, or nobody's."""

    def __init__(self, tx: Connection, rows: Sequence[store.AccountRow], plans: Plans, now: datetime) -> None:
        self._tx = tx
        self._now = now
        self.times = store.virtual_times(rows, now)
        self.states = {
            row["id"]: State(
                row["id"],
                plans.terms(row["plan"], row["overrides"], test=row["test"]),
                row["created_at"],
                Queue(row["queue"]),
                listens=row["listens"],
            )
            for row in rows
        }

    def __contains__(self, account_id: object) -> bool:
        return account_id in self.states

    async def read_quotas(
        self, capped_keys: Iterable[tuple[UUID, str]], rows: Iterable[store.AccountRow] = ()
    ) -> None:
        """Grants and windows, of the accounts whose plans have any. `capped_keys`: (account, key) of keys with a cap;
        `rows`: what has been read of them with the lock.
        """
        read = {row["id"]: row for row in rows if row["fresh"]}
        await self._read_grants(read)
        wanted: dict[windows.Place, tuple[Window, Span]] = {}
        for state in self.states.values():
            for name, window in counted(state.plan, state.created_at):
                wanted[state.id, name, ""] = window, span(window, self._now)
        for account_id, key in capped_keys:
            if account_id in self.states:
                wanted[account_id, KEY_CREDITS, key] = _SHADOW, FOR_EVER
        counts = await self._read_windows(wanted, read)
        for place, (window, where) in wanted.items():
            account_id, name, subject = place
            found = used(window, where, counts.get(place, ()))
            self.states[account_id].windows[name, subject] = where, found

    async def _read_grants(self, read: Mapping[UUID, store.AccountRow]) -> None:
        metered = [state for state in self.states.values() if state.plan.metered]
        for state in metered:
            if state.id in read:
                state.grants = _grants(read[state.id])
        if others := [state.id for state in metered if state.id not in read]:
            for account_id, grants in (await credits_.read_open_grants(self._tx, others)).items():
                self.states[account_id].grants = grants

    async def _read_windows(
        self,
        wanted: Mapping[windows.Place, tuple[Window, Span]],
        read: Mapping[UUID, store.AccountRow],
    ) -> dict[windows.Place, windows.Rows]:
        others = [(*place, where.since) for place, (_, where) in wanted.items() if place[0] not in read]
        found = await windows.read_windows(self._tx, others) if others else {}
        for account_id, row in read.items():
            for name, subject, starts_at, count in _columns(row, "names", "subjects", "starts_at", "used"):
                found.setdefault((account_id, name, subject), []).append((starts_at, count))
        return found

    async def promote(self) -> set[str]:
        """Parked tasks that have room now become ready, and are written; returns the topics to announce."""
        topics: set[str] = set()
        for state in self.states.values():
            if not state.queue.parked:
                continue
            made = promotions(state, self.times)
            tags: defaultdict[tuple[int, str, str], list[int]] = defaultdict(list)
            for group, tag in made:
                tags[group.lane, group.model, group.key].append(tag)
                topics.add(lane_topic(group.lane))
            for (lane, model, key), theirs in tags.items():
                await store.make_ready(self._tx, state.id, lane, model, key, theirs)
        return topics

    def told(self, environments: Mapping[UUID, str]) -> list[Event]:
        """What accounts are told of themselves by the decisions; `environments`: of their tasks in this transaction."""
        return [
            Event(account_id=state.id, environment=environments[state.id], name=name, facts=_ENCODE(facts))
            for state in self.states.values()
            for name, facts in state.told
        ]

    def parts(self) -> list[Part]:
        """What the decisions made of the accounts, their windows and their credits."""
        return [*self._account_parts(), *self._window_parts(), *self._entry_parts()]

    async def write(self) -> None:
        await write(self._tx, self.parts())

    def _account_parts(self) -> Iterator[Part]:
        changed = sorted(
            (state for state in self.states.values() if state.changed or state.entries),
            key=lambda state: state.id,
        )
        if changed:
            yield store.write_accounts(changed, self.times)

    def _window_parts(self) -> Iterator[Part]:
        """No row is in both: admissions only count, and endings only give back."""
        states = self.states.values()
        more = [
            (state.id, name, subject, starts_at, count, ends_at)
            for state in states
            for (name, subject, starts_at, ends_at), count in state.uses.items()
        ]
        less = [(state.id, *place, count) for state in states for place, count in state.returns.items()]
        if more:
            yield windows.count(more)
        if less:
            yield windows.give_back(less)

    def _entry_parts(self) -> list[Part]:
        entries = [entry for state in self.states.values() for entry in state.entries]
        return credits_.write_entries(entries, self._now) if entries else []


def counted(plan: Plan, created_at: datetime) -> Iterator[tuple[str, Window]]:
    """The windows of an account: its day, and one for each limit that is only counted."""
    if plan.windows.day is not None:
        yield DAY, plan.windows.day
        if not plan.windows.day.enforced(created_at):
            yield f"shadow {DAY}", _SHADOW
    if plan.windows.same_name is not None and not plan.windows.same_name.enforced(created_at):
        yield f"shadow {SAME_NAME}", _SHADOW
    of_models = [("model", ceiling) for ceiling in plan.at_once.models.values()]
    places: list[tuple[str, Limit | None]] = [
        ("account", plan.at_once.account),
        ("key", plan.at_once.key),
        ("heavy", plan.at_once.heavy),
        *of_models,
    ]
    names = {
        CEILINGS[place]
        for place, ceiling in places
        if ceiling is not None and not ceiling.enforced(created_at)
    }
    for name in sorted(names):
        yield f"shadow {name}", _SHADOW


async def lock_accounts(
    tx: Connection, ids: Collection[UUID], plans: Plans, now: datetime, *, skip_locked: bool = False
) -> Accounts:
    """Lock these accounts, in the order of their ids; with `skip_locked`, leave out those that others hold."""
    return Accounts(tx, await store.lock_accounts(tx, ids, skip_locked=skip_locked), plans, now)


#: All windows that `counted` may name.
_WINDOWS: Final = [DAY, *(f"shadow {name}" for name in (DAY, SAME_NAME, *CEILINGS.values()))]


async def lock_and_read(
    tx: Connection,
    ids: Collection[UUID],
    plans: Plans,
    now: datetime,
    capped_keys: Collection[tuple[UUID, str]],
    *,
    skip_locked: bool,
) -> Accounts:
    """`lock_accounts` and `read_quotas`, mostly in one round trip."""
    names, subjects = _WINDOWS, [""]
    if capped_keys:
        names, subjects = [*_WINDOWS, KEY_CREDITS], ["", *(key for _, key in capped_keys)]
    rows = await store.lock_and_read(tx, ids, names, subjects, now, skip_locked=skip_locked)
    accounts = Accounts(tx, rows, plans, now)
    await accounts.read_quotas(capped_keys, rows)
    return accounts


def _grants(row: store.AccountRow) -> list[Grant]:
    return [Grant(*values) for values in _columns(row, "ids", "available", "expires_at")]


def _columns(row: store.AccountRow, *names: str) -> Iterator[tuple[Any, ...]]:
    """What was gathered into these arrays, row by row; arrays of nothing are null."""
    return zip(*(row[name] or () for name in names), strict=True)


async def look_at(
    connection: Connection, account_id: UUID, plans: Plans, now: datetime, *, key: str = ""
) -> State:
    """One account as it stands, for telling and not for deciding: nothing is locked. `key`: whose spending is told too."""
    rows = await store.read_account(connection, account_id)
    accounts = Accounts(connection, rows, plans, now)
    await accounts.read_quotas([(account_id, key)] if key else [])
    return accounts.states[account_id]
