"""The ledger, pure: whatever happens in whatever order, nothing is lost, nothing is spent twice, nothing is negative."""

from collections import Counter
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from hypothesis import given
from hypothesis import strategies as st

from burnish.credits import ledger
from burnish.credits.find import FIVE
from burnish.credits.ledger import Entry, Grant
from burnish.ids import new_id

ACCOUNT = UUID(int=7)
NOW = datetime(2026, 5, 4, 12, tzinfo=UTC)
PARTS = FIVE[1:]


@dataclass
class World:
    """One account as its rows would have it."""

    now: datetime = NOW
    expiries: dict[UUID, datetime | None] = field(default_factory=dict)
    grants: dict[UUID, Counter[str]] = field(default_factory=dict)
    holds: dict[UUID, ledger.Draws] = field(default_factory=dict)
    entries: list[Entry] = field(default_factory=list)

    def open(self) -> list[Grant]:
        return [
            Grant(id_, row["available"], self.expiries[id_])
            for id_, row in self.grants.items()
            if row["available"]
        ]

    def post(self, entry: Entry) -> Entry:
        self.entries.append(entry)
        for grant, gains in entry.grants.items():
            for part, gain in zip(PARTS, gains, strict=True):
                self.grants[grant][part] += gain
        return entry

    # --- what may happen ----------------------------------------------------------------------------------------

    def grant(self, amount: int, days: int) -> None:
        made = Grant(new_id(), amount + 1, self.now + timedelta(days=days) if days < 5 else None)
        self.expiries[made.id] = made.expires_at
        self.grants[made.id] = Counter(granted=made.available, available=made.available)
        self.post(ledger.granted(ACCOUNT, made))

    def hold(self, amount: int, _: int) -> None:
        if (draws := self.draw(amount)) is not None:
            task = new_id()
            self.holds[task] = draws
            self.post(ledger.hold(ACCOUNT, task, draws))

    def purchase(self, amount: int, _: int) -> None:
        if draws := self.draw(amount):
            self.post(ledger.purchase(ACCOUNT, new_id(), draws))

    def settle(self, amount: int, which: int) -> None:
        if self.holds:
            task = sorted(self.holds)[which % len(self.holds)]
            draws = self.holds.pop(task)
            charge = min(amount, sum(draws.values()))
            expiries = {grant: self.expiries[grant] for grant in draws}
            entry = self.post(ledger.settle(ACCOUNT, task, draws, charge, expiries, self.now))
            self.check_settled(entry, draws, charge)

    def expire(self, _amount: int, _: int) -> None:
        for grant in self.open():
            if grant.ended(self.now):
                self.post(ledger.expire(ACCOUNT, grant))

    def wait(self, _amount: int, days: int) -> None:
        self.now += timedelta(days=days)

    # --- what must hold -----------------------------------------------------------------------------------------

    def draw(self, amount: int) -> ledger.Draws | None:
        """Soonest to expire first, and nothing of what has expired; None where there is too little."""
        grants = self.open()
        if ledger.spendable(grants, self.now) < amount:
            return None
        draws = ledger.draw(grants, amount, self.now)
        assert sum(draws.values()) == amount
        never = datetime.max.replace(tzinfo=UTC)
        drawn = [self.expiries[grant] or never for grant in draws]
        left = [
            grant.expires_at or never for grant in grants if grant.available and not grant.ended(self.now)
        ]
        assert all(end > self.now for end in drawn)
        assert not drawn or not left or max(drawn) <= min(left)
        return draws

    def check_settled(self, entry: Entry, draws: ledger.Draws, charge: int) -> None:
        """The charge is what was asked; what returns goes where it came from, unless its time is over: then it expires."""
        assert (entry.held, entry.charged) == (-sum(draws.values()), charge)
        for grant, (available, held, charged, expired) in entry.grants.items():
            ended = Grant(grant, 0, self.expiries[grant]).ended(self.now)
            assert held == -draws[grant]
            assert available + charged + expired == draws[grant]
            assert (available if ended else expired) == 0

    def check(self) -> None:
        account = {name: sum(getattr(entry, name) for entry in self.entries) for name in FIVE}
        for row in (account, *map(vars_of, self.entries), *self.grants.values()):
            assert row["granted"] == sum(row[part] for part in PARTS)
        for row in (account, *self.grants.values()):
            assert min(row[name] for name in FIVE) >= 0
        for name in FIVE:
            assert account[name] == sum(row[name] for row in self.grants.values())
        assert account["held"] == sum(sum(draws.values()) for draws in self.holds.values())


def vars_of(entry: Entry) -> dict[str, Any]:
    return {name: getattr(entry, name) for name in FIVE}


@given(
    st.lists(
        st.tuples(
            st.sampled_from(
                ["grant", "grant", "hold", "hold", "settle", "settle", "purchase", "expire", "wait"]
            ),
            st.integers(0, 60),
            st.integers(0, 6),
        ),
        max_size=60,
    )
)
def test_granted_is_always_available_held_charged_and_expired(steps: list[tuple[str, int, int]]) -> None:
    """Of the account, of each grant and of each entry, after every step; and none of them is ever negative."""
    world = World()
    for name, amount, more in steps:
        getattr(world, name)(amount, more)
        world.check()


def test_what_returns_to_an_expired_grant_expires() -> None:
    """In the same entry; the part that has not expired is there again."""
    soon, late = UUID(int=1), UUID(int=2)
    draws = {soon: 5, late: 5}
    expiries: dict[UUID, datetime | None] = {soon: NOW - timedelta(seconds=1), late: None}
    entry = ledger.settle(ACCOUNT, UUID(int=3), draws, 2, expiries, NOW)
    assert (entry.kind, entry.charged, entry.available, entry.expired) == ("charge", 2, 5, 3)
    assert entry.grants == {soon: (0, -5, 2, 3), late: (5, -5, 0, 0)}
    released = ledger.settle(ACCOUNT, UUID(int=3), draws, 0, expiries, NOW)
    assert (released.kind, released.available, released.expired) == ("release", 5, 5)
