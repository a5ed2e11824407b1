"""Two hundred callers at once, through four API processes, on one account: exactly what a quota allows is admitted."""

from collections import Counter
from collections.abc import AsyncIterator, Collection
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import asyncpg
import pytest
import pytest_asyncio

from burnish.clock import Clock
from burnish.credits.grant import grant
from burnish.ids import new_id
from burnish.keys.issue import issue_key
from burnish.keys.store import ensure_account, set_credit_cap
from burnish.settings import Settings
from burnish.storage.embedded import Embedded
from burnish.storage.postgres import open_database
from databases import database_url
from exactness.fleet import CALLERS, Fleet, sailing

pytestmark = pytest.mark.asyncio(loop_scope="module")

#: One plan for each quota, with nothing else in it.
_PLANS = """
[owner]
metered = false

[account]
metered = false
at_once = { account = { limit = 37 } }

[key]
metered = false
at_once = { key = { limit = 23 } }

[heavy]
metered = false
at_once = { heavy = { limit = 19 } }

[model]
metered = false
at_once = { models = { noop = { limit = 29 } } }

[day]
metered = false
windows = { day = { limit = 41 } }

[name]
metered = false
windows = { same_name = { limit = 13, seconds = 3600 } }

[credits]
metered = true

[everything]
metered = true
at_once = { account = { limit = 90 }, key = { limit = 80 }, models = { noop = { limit = 70 } } }
windows = { day = { limit = 60 } }
"""


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def fleet(server: Embedded, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Fleet]:
    name = f"test_{uuid4().hex}"
    folder: Path = tmp_path_factory.mktemp("fleet")
    plans = folder / "plans.toml"
    plans.write_text(_PLANS)
    admin = await asyncpg.connect(server.dsn)
    await admin.execute(f"CREATE DATABASE {name} TEMPLATE template_burnish")
    url = database_url(server.dsn, name)
    db = await open_database(url, Settings().database, Clock())
    async with sailing(folder, url, plans, db) as fleet:
        yield fleet
    await db.close()
    await admin.execute(f"DROP DATABASE {name} WITH (FORCE)")
    await admin.close()


async def _account(
    fleet: Fleet, plan: str, *, keys: int = 1, credits_: int = 0, cap: int | None = None
) -> tuple[UUID, list[str]]:
    """A new account under that plan, its keys, and what it may spend."""
    db, now, name = fleet.db, fleet.db.clock.now(), uuid4().hex
    async with db.transaction() as tx:
        account = await ensure_account(tx, new_id(), name, now, plan)
    made = [await issue_key(db, account=name, now=now) for _ in range(keys)]
    if credits_:
        await grant(db, account, credits_ - 7, kind="paid", idempotency_key="1", now=now)
        await grant(db, account, 7, kind="given", idempotency_key="2", now=now)
    if cap is not None:
        async with db.transaction() as tx:
            for key, _ in made:
                await set_credit_cap(tx, key.id, cap)
    return account, [secret for _, secret in made]


async def _credits(fleet: Fleet, account: UUID) -> tuple[int, ...]:
    """available, held, charged"""
    async with fleet.db.reading() as connection:
        row = await connection.fetchrow(
            "SELECT available, held, charged FROM accounts WHERE id = $1", account
        )
    return tuple(row)


async def _again_and_again(
    fleet: Fleet, keys: Collection[str], limit: int, code: str, model: str = "noop"
) -> list[dict[str, Any]]:
    """Twice, all of what was admitted being cancelled between: always exactly so many."""
    admitted: list[dict[str, Any]] = []
    for _ in range(2):
        for key in keys if admitted else ():
            await fleet.cancel(admitted, key)
        admitted, refused = await fleet.crowd(keys, model)
        assert (len(admitted), refused) == (limit, {code: CALLERS - limit})
        await fleet.well()
    return admitted


@pytest.mark.parametrize(
    ("plan", "limit", "model", "code"),
    [
        ("account", 37, "noop", "too_many_tasks"),
        ("key", 23, "noop", "too_many_tasks"),
        ("heavy", 19, "noop-heavy", "too_many_heavy_tasks"),
        ("model", 29, "noop", "too_many_tasks"),
    ],
)
async def test_a_ceiling_lets_exactly_so_many_in(
    fleet: Fleet, plan: str, limit: int, model: str, code: str
) -> None:
    """Of the account, a key, heavy models and one model; and again when all have been cancelled."""
    _, keys = await _account(fleet, plan)
    await _again_and_again(fleet, keys, limit, code, model)


async def test_a_keys_ceiling_is_each_keys_own(fleet: Fleet) -> None:
    """Two keys of one account, called at once: each gets exactly its own."""
    _, keys = await _account(fleet, "key", keys=2)
    admitted, refused = await fleet.crowd(keys)
    assert (len(admitted), refused) == (46, {"too_many_tasks": CALLERS - 46})
    await fleet.well()


async def test_a_days_tasks_are_exactly_so_many(fleet: Fleet) -> None:
    """Cancelling gives none of them back: the day's second crowd is refused to the last."""
    _, keys = await _account(fleet, "day")
    admitted, refused = await fleet.crowd(keys)
    assert (len(admitted), refused) == (41, {"daily_limit_reached": CALLERS - 41})
    await fleet.cancel(admitted, keys[0])
    assert await fleet.crowd(keys) == ([], {"daily_limit_reached": CALLERS})
    await fleet.well()


async def test_a_file_name_is_registered_exactly_so_often(fleet: Fleet) -> None:
    """Whichever process is asked; another name is free."""
    _, keys = await _account(fleet, "name")
    body = {"filename": "IMG_0001.jpg", "content_type": "image/jpeg", "size_bytes": 1}
    replies = await fleet.everyone(keys, "/v1/uploads", body)
    told = Counter(
        reply.status_code if reply.is_success else reply.json()["error"]["code"] for reply in replies
    )
    assert told == {201: 13, "duplicate_name": CALLERS - 13}
    replies = await fleet.everyone(keys, "/v1/uploads", body | {"filename": "IMG_0002.jpg"})
    assert sum(reply.is_success for reply in replies) == 13


async def test_one_idempotency_key_makes_one_task(fleet: Fleet) -> None:
    """Sent two hundred times at once, to every process: one task, one credit, one use; every answer tells of it."""
    account, keys = await _account(fleet, "everything", keys=3, credits_=100)
    body = {"model": "noop", "input": {}}
    replies = await fleet.everyone(keys, "/v1/tasks", body, **{"Idempotency-Key": "order-1042"})
    assert {reply.status_code for reply in replies} == {202}
    assert len({reply.json()["id"] for reply in replies}) == 1
    assert sum("idempotent-replayed" not in reply.headers for reply in replies) == 1
    assert await _credits(fleet, account) == (99, 1, 0)
    async with fleet.db.reading() as connection:
        assert await connection.fetchval("SELECT count(*) FROM tasks WHERE account_id = $1", account) == 1
        used = await connection.fetchval(
            "SELECT used FROM windows WHERE account_id = $1 AND name = 'day'", account
        )
    assert used == 1
    await fleet.well()


async def test_credits_are_spent_to_the_last_and_never_below(fleet: Fleet) -> None:
    """Fifty-three credits of two grants are fifty-three tasks; what is cancelled comes back, to the last one."""
    account, keys = await _account(fleet, "credits", credits_=53)
    admitted = await _again_and_again(fleet, keys, 53, "insufficient_credits")
    assert await _credits(fleet, account) == (0, 53, 0)
    await fleet.cancel(admitted, keys[0])
    assert await _credits(fleet, account) == (53, 0, 0)
    await fleet.well()


async def test_a_key_spends_exactly_up_to_its_cap(fleet: Fleet) -> None:
    """Its account has more; what its cancelled tasks give back it may spend again."""
    account, keys = await _account(fleet, "credits", credits_=150, cap=31)
    await _again_and_again(fleet, keys, 31, "key_credits_spent")
    assert await _credits(fleet, account) == (119, 31, 0)


async def test_of_all_quotas_together_the_narrowest_decides_and_none_is_spent_in_vain(fleet: Fleet) -> None:
    """Sixty a day is the narrowest: exactly sixty tasks, sixty credits and sixty uses; a refusal has spent nothing."""
    account, keys = await _account(fleet, "everything", credits_=100)
    admitted, refused = await fleet.crowd(keys)
    assert (len(admitted), refused) == (60, {"daily_limit_reached": CALLERS - 60})
    assert await _credits(fleet, account) == (40, 60, 0)
    await fleet.well()
