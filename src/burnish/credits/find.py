"""Find credits: how an account stands, what it was granted, what was posted. For those who ask; nothing is decided by it."""

from dataclasses import dataclass
from datetime import datetime
from typing import Final, Literal, get_args
from uuid import UUID

from burnish.credits import store
from burnish.errors import NotFound
from burnish.storage.postgres import Database, answering

EntryKind = Literal["grant", "hold", "charge", "release", "expire", "purchase"]
ENTRY_KINDS: Final[tuple[str, ...]] = get_args(EntryKind)
#: What was granted is the four others, always.
FIVE: Final = ("granted", "available", "held", "charged", "expired")
_OPEN_GRANTS: Final = 100


@dataclass(frozen=True, slots=True)
class GrantRow:
    """A grant, and what has become of it."""

    id: UUID
    kind: str
    granted: int
    available: int
    held: int
    charged: int
    expired: int
    expires_at: datetime | None
    note: str
    created_at: datetime


@dataclass(frozen=True, slots=True)
class EntryRow:
    """What was posted: what each of the five gained. `subject_id`: the task; of a purchase the output; of a grant and its
    expiry the grant.
    """

    id: int
    at: datetime
    kind: str
    granted: int
    available: int
    held: int
    charged: int
    expired: int
    subject_id: UUID
    key_id: UUID | None


@dataclass(frozen=True, slots=True)
class Credits:
    """What may be spent now, and where the rest is. `grants`: what may be spent, soonest to expire first, the next 100."""

    granted: int
    available: int
    held: int
    charged: int
    expired: int
    grants: tuple[GrantRow, ...]


async def get_credits(db: Database, account_id: UUID, now: datetime) -> Credits:
    """Raises NotFound, Unavailable."""
    with answering():
        async with db.reading() as connection:
            five = await store.read_account(connection, account_id, now)
            grants = await store.list_open_grants(connection, account_id, now, _OPEN_GRANTS)
    if five is None:
        raise NotFound("There is no such account.")
    return Credits(**five, grants=tuple(GrantRow(**row) for row in grants))


async def list_grants(
    db: Database, account_id: UUID, *, after: UUID | None = None, rows: int
) -> list[GrantRow]:
    """All of them, newest first, below `after`. Raises Unavailable."""
    with answering():
        async with db.reading() as connection:
            found = await store.list_grants(connection, account_id, after=after, rows=rows)
    return [GrantRow(**row) for row in found]


async def list_entries(
    db: Database, account_id: UUID, *, after: int | None = None, kind: str | None = None, rows: int
) -> list[EntryRow]:
    """Newest first, below `after`. Raises Unavailable."""
    with answering():
        async with db.reading() as connection:
            found = await store.list_entries(connection, account_id, after=after, kind=kind, rows=rows)
    return [EntryRow(**row) for row in found]
