"""The ledger: every movement of credits as a row whose postings come to nothing. Pure; the rows are in `store.py`.

    granted = available + held + charged + expired          of an account, of a grant, of every entry's postings

    grant     nothing   -> available        purchase  available -> charged
    hold      available -> held             expire    available -> expired
    charge    held      -> charged, and what is left over -> available
    release   held      -> available        what returns to a grant that has expired meanwhile -> expired

A hold draws from grants soonest to expire first and names them; what it returns goes back to them. A grant does not
expire while it is held. All is whole credits.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final
from uuid import UUID

from msgspec import Struct

Draws = Mapping[UUID, int]  #: grant -> credits

_NEVER: Final = datetime.max.replace(tzinfo=UTC)


@dataclass(slots=True)
class Grant:
    """What is left of a grant, as the transaction that holds its account's lock sees it."""

    id: UUID
    available: int
    expires_at: datetime | None

    def ended(self, now: datetime) -> bool:
        return self.expires_at is not None and self.expires_at <= now


class Entry(Struct, frozen=True, kw_only=True):
    """One row: what each of the five gains by it, and from or to which grants."""

    account_id: UUID
    kind: str
    subject_id: UUID
    draws: Draws
    key_id: UUID | None = None
    granted: int = 0
    available: int = 0
    held: int = 0
    charged: int = 0
    expired: int = 0
    #: grant -> (available, held, charged, expired), as each grant gains
    grants: Mapping[UUID, tuple[int, int, int, int]] = {}


def spendable(grants: Iterable[Grant], now: datetime) -> int:
    """What may be held now: an expired grant is none, whether or not the sweep has been there."""
    left = 0
    for grant in grants:  # asked for every task: a sum of a generator takes twice as long
        if grant.expires_at is None or grant.expires_at > now:
            left += grant.available
    return left


def draw(grants: Iterable[Grant], credits_: int, now: datetime) -> dict[UUID, int]:
    """Where so many credits come from, soonest to expire first; the grants have them no more. They are there: `spendable`."""
    draws: dict[UUID, int] = {}
    listed = list(grants)
    if len(listed) > 1:
        listed.sort(key=lambda g: (g.expires_at or _NEVER, g.id))
    for grant in listed:
        if credits_ and grant.available and not grant.ended(now):
            draws[grant.id] = min(credits_, grant.available)
            grant.available -= draws[grant.id]
            credits_ -= draws[grant.id]
    assert not credits_, "more was drawn than there is"
    return draws


def hold(account_id: UUID, task_id: UUID, draws: Draws, key_id: UUID | None = None) -> Entry:
    """Set aside what was drawn, until the task ends."""
    total = sum(draws.values())
    return Entry(
        account_id=account_id,
        kind="hold",
        subject_id=task_id,
        key_id=key_id,
        draws=draws,
        available=-total,
        held=total,
        grants={grant: (-part, part, 0, 0) for grant, part in draws.items()},
    )


def settle(
    account_id: UUID,
    task_id: UUID,
    draws: Draws,
    charge: int,
    expires_at: Mapping[UUID, datetime | None],
    now: datetime,
    key_id: UUID | None = None,
) -> Entry:
    """End the task's hold: charge so much of it, soonest to expire first, and return the rest to its grants."""
    total = sum(draws.values())
    assert 0 <= charge <= total, "a charge is never more than its hold"
    left, returned, lapsed = charge, 0, 0
    grants: dict[UUID, tuple[int, int, int, int]] = {}
    for grant in sorted(draws, key=lambda g: (expires_at[g] or _NEVER, g)):
        taken = min(left, draws[grant])
        back = draws[grant] - taken
        over = Grant(grant, 0, expires_at[grant]).ended(now)
        grants[grant] = (0 if over else back, -draws[grant], taken, back if over else 0)
        left -= taken
        returned += 0 if over else back
        lapsed += back if over else 0
    return Entry(
        account_id=account_id,
        kind="charge" if charge else "release",
        subject_id=task_id,
        key_id=key_id,
        draws=draws,
        available=returned,
        held=-total,
        charged=charge,
        expired=lapsed,
        grants=grants,
    )


def purchase(account_id: UUID, output_id: UUID, draws: Draws, key_id: UUID | None = None) -> Entry:
    """Hold and charge in one: paid at the first download of an output."""
    total = sum(draws.values())
    return Entry(
        account_id=account_id,
        kind="purchase",
        subject_id=output_id,
        key_id=key_id,
        draws=draws,
        available=-total,
        charged=total,
        grants={grant: (-part, 0, part, 0) for grant, part in draws.items()},
    )


def expire(account_id: UUID, grant: Grant) -> Entry:
    """What nobody has spent of a grant whose time is over."""
    return Entry(
        account_id=account_id,
        kind="expire",
        subject_id=grant.id,
        draws={grant.id: grant.available},
        available=-grant.available,
        expired=grant.available,
        grants={grant.id: (-grant.available, 0, 0, grant.available)},
    )


def granted(account_id: UUID, grant: Grant) -> Entry:
    """A new grant. Its row is written with all of it available."""
    return Entry(
        account_id=account_id,
        kind="grant",
        subject_id=grant.id,
        draws={grant.id: grant.available},
        granted=grant.available,
        available=grant.available,
    )
