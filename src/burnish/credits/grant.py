"""Grant credits, let them lapse, and take the price of a download. Holds and their ends are written with the tasks.

Each is one transaction under the account's lock. A grant names an idempotency key, because money that arrives twice
is money that somebody is missing.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Final
from uuid import UUID

import asyncpg

from burnish.credits import ledger, store
from burnish.credits.ledger import Entry, Grant
from burnish.errors import InsufficientCredits, Invalid, NotFound
from burnish.ids import new_id
from burnish.storage.postgres import Connection, Database, answering
from burnish.storage.statement import write

#: Of one grant.
MOST: Final = 1_000_000_000_000
_LONGEST_NOTE: int = 500


@dataclass(frozen=True, slots=True)
class Granted:
    """A grant as it was made. `replayed`: by an earlier call with the same idempotency key."""

    id: UUID
    kind: str
    credits: int
    expires_at: datetime | None
    note: str
    created_at: datetime
    replayed: bool


async def grant(
    db: Database,
    account_id: UUID,
    credits_: int,
    *,
    kind: str,
    idempotency_key: str,
    expires_at: datetime | None = None,
    note: str = "",
    now: datetime,
) -> Granted:
    """Add credits; they can be spent the moment this returns. The same key again answers the first grant.

    Raises:
        Invalid: an amount below 1, an end in the past, or the key was used for another grant.
        NotFound: there is no such account.
        Unavailable: the database does not answer; the same key finds out what became of it.
    """
    if not 1 <= credits_ <= MOST:
        raise Invalid(f"A grant is of 1 to {MOST:,} whole credits.", param="credits")
    if expires_at is not None and expires_at <= now:
        raise Invalid("A grant cannot have expired already.", param="expires_at")
    if not 1 <= len(idempotency_key.encode()) <= 255:
        raise Invalid("Give an idempotency key of 1 to 255 bytes.", param="idempotency_key")
    if len(note) > _LONGEST_NOTE:
        raise Invalid(f"A note has {_LONGEST_NOTE} characters at most.", param="note")
    made = Grant(new_id(), credits_, expires_at)
    try:
        with answering():
            async with db.transaction() as tx:
                if not await store.lock_account(tx, account_id):
                    raise NotFound("There is no such account.")
                if found := await store.find_grant(tx, account_id, idempotency_key):
                    return _replayed(found, credits_, kind)
                await store.insert_grant(tx, account_id, made, kind, note, idempotency_key, now)
                await _write(tx, ledger.granted(account_id, made), now)
    except asyncpg.CheckViolationError as error:
        raise Invalid("A grant is `paid` or `given`.", param="kind") from error
    return Granted(made.id, kind, credits_, expires_at, note, now, replayed=False)


def _replayed(found: asyncpg.Record, credits_: int, kind: str) -> Granted:
    if (found["granted"], found["kind"]) != (credits_, kind):
        raise Invalid(
            f"This idempotency key made another grant: {found['granted']} credits, {found['kind']}.",
            param="idempotency_key",
            code="idempotency_key_reused",
        )
    return Granted(
        found["id"],
        found["kind"],
        found["granted"],
        found["expires_at"],
        found["note"],
        found["created_at"],
        replayed=True,
    )


async def expire(db: Database, account_id: UUID, now: datetime) -> int:
    """Take what is left of the account's expired grants; returns how many credits that were."""
    async with db.transaction() as tx:
        await store.lock_account(tx, account_id)
        grants = (await store.read_open_grants(tx, [account_id])).get(account_id, [])
        entries = [ledger.expire(account_id, one) for one in grants if one.ended(now)]
        for entry in entries:
            await _write(tx, entry, now)
    return sum(entry.expired for entry in entries)


async def purchase(
    db: Database, account_id: UUID, output_id: UUID, credits_: int, *, key_id: UUID | None, now: datetime
) -> bool:
    """Take the price of an output, once, however many downloads race; False where it was taken before. A key's cap is on
    tasks: it does not keep anybody from what a task has made.

    Raises:
        InsufficientCredits: there are too few.
    """
    async with db.transaction() as tx:
        return await take(tx, account_id, output_id, credits_, key_id=key_id, now=now)


async def take(
    tx: Connection, account_id: UUID, output_id: UUID, credits_: int, *, key_id: UUID | None, now: datetime
) -> bool:
    """The same within a transaction, whose first lock is the account's."""
    await store.lock_account(tx, account_id)
    if not credits_ or await store.output_paid(tx, output_id):
        return False
    grants = (await store.read_open_grants(tx, [account_id])).get(account_id, [])
    if (there := ledger.spendable(grants, now)) < credits_:
        raise short(credits_, there)
    draws = ledger.draw(grants, credits_, now)
    await _write(tx, ledger.purchase(account_id, output_id, draws, key_id), now)
    return True


def in_credits(count: int) -> str:
    return "1 credit" if count == 1 else f"{count} credits"


def short(credits_: int, available: int) -> InsufficientCredits:
    """What a caller is told whose credits do not reach."""
    return InsufficientCredits(
        f"This costs {in_credits(credits_)} and {available} are available. Buy credits; waiting does not help.",
        details={
            "policy": "credits",
            "scope": "account",
            "required": credits_,
            "remaining": available,
            "advice": "buy_credits",
        },
    )


async def _write(tx: Connection, entry: Entry, now: datetime) -> None:
    await write(tx, [*store.write_entries([entry], now), store.add_to_account(entry)])
