"""Steps of the clock between a hold and its end, and over the end of a day: nothing is minted, burnt or counted twice."""

from collections.abc import Awaitable, Callable
from datetime import timedelta
from uuid import UUID

import pytest

from burnish.credits.grant import expire, grant
from burnish.errors import Limited
from burnish.settings import Settings
from burnish.storage.postgres import Database
from burnish.tasks import lease
from burnish.tasks.audit import audit
from burnish.tasks.task import Claimed
from tasks.story import Story, a_submission, tell
from terms import narrowed

_PLANS = narrowed(metered=True, windows={"day": {"limit": 3}})
_HOUR = 3_600
Step = Callable[[float], Awaitable[None]]


@pytest.fixture
def story(db: Database, settings: Settings) -> Story:
    return tell(db, settings, _PLANS)


@pytest.fixture
def step(db: Database) -> Step:
    """Put the clock forth, or back."""

    async def put(seconds: float) -> None:
        async with db.transaction() as tx:
            await tx.execute("UPDATE clock SET ahead = ahead + make_interval(secs => $1)", float(seconds))
        await db._hear_time()

    return put


async def _renew(story: Story, task: Claimed) -> None:
    """What its worker does every few seconds."""
    held = [(task.id, task.lease_id, "working", 0.5)]
    await lease.renew(story.db, held, story.settings.tasks.lease_seconds)


async def _five(db: Database, account: UUID) -> dict[str, int]:
    """Of the account's credits, those that are not zero."""
    async with db.reading() as connection:
        row = await connection.fetchrow(
            "SELECT granted, available, held, charged, expired FROM accounts WHERE id = $1", account
        )
    assert await audit(db, _PLANS) == []
    return {name: value for name, value in row.items() if value}


async def _used(db: Database) -> list[int]:
    """Of each day, oldest first."""
    async with db.reading() as connection:
        rows = await connection.fetch("SELECT used FROM windows WHERE name = 'day' ORDER BY starts_at")
    return [row["used"] for row in rows]


@pytest.mark.parametrize("seconds", [_HOUR, -_HOUR])
@pytest.mark.parametrize("reason", [None, "internal"])
async def test_what_is_held_while_the_clock_jumps_is_charged_or_comes_back(
    story: Story, account: UUID, db: Database, step: Step, seconds: int, reason: str | None
) -> None:
    """An hour forth or back while it runs, and back again after."""
    await grant(db, account, 5, kind="paid", idempotency_key="1", now=db.clock.now())
    await story.submit(a_submission(account))
    (claimed,) = await story.claim()
    await step(seconds)
    await _renew(story, claimed)
    assert await _five(db, account) == {"granted": 5, "available": 4, "held": 1}
    assert await story.end(claimed, reason)
    await step(-seconds)

    left = {"available": 5} if reason else {"available": 4, "charged": 1}
    assert await _five(db, account) == {"granted": 5} | left
    await expire(db, account, db.clock.now())
    assert await _five(db, account) == {"granted": 5} | left


async def test_a_grant_that_ends_while_it_is_held_lapses_once(
    story: Story, account: UUID, db: Database, step: Step
) -> None:
    """What comes back to it is gone with it, also when the clock is put back to before its end."""
    ends = db.clock.now() + timedelta(minutes=30)
    await grant(db, account, 2, kind="given", idempotency_key="1", expires_at=ends, now=db.clock.now())
    await story.submit(a_submission(account))
    (claimed,) = await story.claim()
    await step(_HOUR)
    await _renew(story, claimed)
    assert await expire(db, account, db.clock.now()) == 1
    assert await _five(db, account) == {"granted": 2, "held": 1, "expired": 1}
    assert await story.end(claimed, "internal")
    assert await _five(db, account) == {"granted": 2, "expired": 2}

    await step(-_HOUR)
    assert await expire(db, account, db.clock.now()) == 0
    assert await _five(db, account) == {"granted": 2, "expired": 2}


async def test_over_midnight_and_back_each_day_counts_its_own(
    story: Story, account: UUID, db: Database, step: Step
) -> None:
    """Tomorrow's uses take nothing from today, nor the other way round; what is given back goes to its own day."""
    await grant(db, account, 20, kind="paid", idempotency_key="1", now=db.clock.now())
    now = db.clock.now()
    midnight = now.replace(hour=0, minute=0, second=0, microsecond=0)
    await step((midnight + timedelta(hours=23, minutes=30) - now) % timedelta(days=1) / timedelta(seconds=1))

    await story.submit(a_submission(account))
    await step(_HOUR)
    for _ in range(3):
        await story.submit(a_submission(account))
    with pytest.raises(Limited):
        await story.submit(a_submission(account))
    await step(-_HOUR)
    for _ in range(2):
        await story.submit(a_submission(account))
    with pytest.raises(Limited):
        await story.submit(a_submission(account))
    assert await _used(db) == [3, 3]

    first, *others = await story.claim(rows=6)
    for task in others:
        assert await story.end(task)
    assert await story.end(first, "internal")
    assert await _used(db) == [2, 3]
    await story.submit(a_submission(account))
    with pytest.raises(Limited):
        await story.submit(a_submission(account))
    assert await _five(db, account) == {"granted": 20, "available": 14, "held": 1, "charged": 5}
