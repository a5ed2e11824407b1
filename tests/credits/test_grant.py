"""Grants, purchases and expiry on the real database: once, however many ask at once; and the audit finds nothing."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import timedelta
from types import SimpleNamespace
from typing import Any
from uuid import UUID

import pytest

from burnish.credits.find import Credits, get_credits, list_entries, list_grants
from burnish.credits.grant import expire, grant, purchase
from burnish.errors import InsufficientCredits, Invalid, NotFound
from burnish.ids import new_id
from burnish.settings import Settings
from burnish.storage.postgres import Database
from burnish.tasks.audit import audit
from burnish.workers.sweep import _expired_credits
from tasks.story import a_submission, tell
from terms import narrowed

Later = Callable[[float], Awaitable[None]]
METERED = narrowed(metered=True)


async def give(db: Database, account: UUID, amount: int, key: str = "", **options: Any) -> Any:
    facts: dict[str, Any] = {"kind": "given", "idempotency_key": key or str(new_id()), "now": db.clock.now()}
    return await grant(db, account, amount, **facts | options)


async def standing(db: Database, account: UUID) -> Credits:
    return await get_credits(db, account, db.clock.now())


async def five(db: Database, account: UUID) -> tuple[int, ...]:
    found = await standing(db, account)
    return found.granted, found.available, found.held, found.charged, found.expired


async def sweep(db: Database) -> None:
    resources: Any = SimpleNamespace(db=db, clock=db.clock)
    await _expired_credits(resources)


@pytest.fixture(autouse=True)
async def _audited(db: Database) -> Any:
    yield
    assert await audit(db, METERED) == []


async def test_one_idempotency_key_grants_once(db: Database, account: UUID) -> None:
    """However many ask at once, and ever after; all are answered with the same grant."""
    made = await asyncio.gather(*(give(db, account, 100, "order 1") for _ in range(20)))
    again = await give(db, account, 100, "order 1", note="another")
    assert len({one.id for one in (*made, again)}) == 1
    assert [one.replayed for one in made].count(False) == 1
    assert (again.replayed, again.note) == (True, "")
    assert await five(db, account) == (100, 100, 0, 0, 0)
    assert [entry.kind for entry in await list_entries(db, account, rows=9)] == ["grant"]


async def test_an_idempotency_key_means_one_grant_only(db: Database, account: UUID) -> None:
    """Another amount or kind under the same key is a mistake, and adds nothing."""
    await give(db, account, 100, "order 1")
    for amount, kind in ((200, "given"), (100, "paid")):
        with pytest.raises(Invalid) as refused:
            await give(db, account, amount, "order 1", kind=kind)
        assert refused.value.code == "idempotency_key_reused"
    assert (await five(db, account))[0] == 100


@pytest.mark.parametrize(
    ("options", "param"),
    [
        ({"amount": 0}, "credits"),
        ({"amount": 10**12 + 1}, "credits"),
        ({"kind": "found"}, "kind"),
        ({"idempotency_key": ""}, "idempotency_key"),
        ({"idempotency_key": "é" * 128}, "idempotency_key"),
        ({"note": "x" * 501}, "note"),
        ({"expires_in": -1}, "expires_at"),
    ],
)
async def test_a_grant_that_cannot_be_is_refused(
    options: dict[str, Any], param: str, db: Database, account: UUID
) -> None:
    """By its field; nothing is written."""
    if (seconds := options.pop("expires_in", None)) is not None:
        options = {"expires_at": db.clock.now() + timedelta(seconds=seconds)}
    with pytest.raises(Invalid) as refused:
        await give(db, account, options.pop("amount", 5), **options)
    assert refused.value.param == param
    with pytest.raises(NotFound):
        await give(db, new_id(), 5)
    assert await list_grants(db, account, rows=9) == []


async def test_twenty_downloads_at_once_pay_once(db: Database, account: UUID) -> None:
    """The first takes the price; for the others it is paid. Another output has a price of its own."""
    await give(db, account, 10, expires_at=db.clock.now() + timedelta(days=1))
    await give(db, account, 100)
    output = new_id()
    taken = await asyncio.gather(
        *(purchase(db, account, output, 30, key_id=None, now=db.clock.now()) for _ in range(20))
    )
    assert taken.count(True) == 1
    assert await five(db, account) == (110, 80, 0, 30, 0)
    soon, late = reversed(await list_grants(db, account, rows=9))
    assert (soon.charged, late.charged) == (10, 20)
    assert await purchase(db, account, new_id(), 30, key_id=None, now=db.clock.now())


async def test_402_when_the_price_is_more_than_there_is(db: Database, account: UUID) -> None:
    """However many try, at most what is there is spent; a refusal says what is missing."""
    await give(db, account, 50)
    tried = await asyncio.gather(
        *(purchase(db, account, new_id(), 20, key_id=None, now=db.clock.now()) for _ in range(8)),
        return_exceptions=True,
    )
    refused = [one for one in tried if isinstance(one, InsufficientCredits)]
    assert (tried.count(True), len(refused)) == (2, 6)
    assert refused[0].details["required"] == 20
    assert await five(db, account) == (50, 10, 0, 40, 0)


async def test_nothing_is_taken_for_what_is_free(db: Database, account: UUID) -> None:
    """No entry, and no credits are needed."""
    assert not await purchase(db, account, new_id(), 0, key_id=None, now=db.clock.now())
    assert await list_entries(db, account, rows=9) == []


async def test_what_has_expired_cannot_be_spent_before_the_sweep_and_is_gone_after_it(
    db: Database, account: UUID, later: Later
) -> None:
    """It is told as expired either way; sweeping twice takes nothing twice."""
    await give(db, account, 30, expires_at=db.clock.now() + timedelta(seconds=60))
    await give(db, account, 5)
    await later(61)
    assert await five(db, account) == (35, 5, 0, 0, 30)
    with pytest.raises(InsufficientCredits):
        await purchase(db, account, new_id(), 6, key_id=None, now=db.clock.now())
    await asyncio.gather(sweep(db), sweep(db))
    assert await expire(db, account, db.clock.now()) == 0
    assert await five(db, account) == (35, 5, 0, 0, 30)
    assert [entry.kind for entry in await list_entries(db, account, rows=9)] == ["expire", "grant", "grant"]


async def test_a_held_part_expires_when_it_is_returned(
    db: Database, settings: Settings, account: UUID, later: Later
) -> None:
    """While a task holds it, it stays; charged, it is spent; returned after its time, it expires in the same entry."""
    story = tell(db, settings, METERED)
    await give(db, account, 2, expires_at=db.clock.now() + timedelta(seconds=60))
    for _ in range(2):
        await story.submit(a_submission(account))
    assert await five(db, account) == (2, 0, 2, 0, 0)
    await later(61)
    await sweep(db)
    assert await five(db, account) == (2, 0, 2, 0, 0)
    first, second = await story.claim()
    assert await story.end(first)
    assert await story.end(second, "internal")
    assert await five(db, account) == (2, 0, 0, 1, 1)
    kinds = [entry.kind for entry in await list_entries(db, account, rows=9)]
    assert kinds == ["release", "charge", "hold", "hold", "grant"]
