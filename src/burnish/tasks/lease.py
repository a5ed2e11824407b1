"""Claim, renew, release: how a worker holds a task.

Every claim makes a fresh random lease id; every later write names it. Claims and renewals commit relaxed: a crash
of the server may undo them, and then the task is claimed again, under another lease.
"""

from collections.abc import Sequence
from datetime import timedelta
from uuid import UUID

from burnish.storage.postgres import Database
from burnish.tasks import store
from burnish.tasks.task import UNTOLD, Claimed, lane_topic
from burnish.uploads.receive import FETCH_TOPIC
from burnish.webhooks.announce import announce
from burnish.webhooks.event import TASK_STARTED, Event


async def claim(db: Database, lane: int, rows: int, lease_seconds: int) -> list[Claimed]:
    """At most `rows` ready tasks of the lane, in fair order; those of test keys are claimed apart."""
    now = db.clock.now()
    async with db.relaxed() as connection:
        claimed = await store.claim(connection, lane, rows, now, timedelta(seconds=lease_seconds))
        topics = await announce(connection, _starts(claimed), now)
    db.news.announce(topics)
    return claimed


async def claim_tests(db: Database, rows: int, lease_seconds: int) -> list[Claimed]:
    """At most `rows` ready tasks of test keys, which no lane has, in fair order."""
    now = db.clock.now()
    async with db.relaxed() as connection:
        claimed = await store.claim_tests(connection, rows, now, timedelta(seconds=lease_seconds))
        topics = await announce(connection, _starts(claimed), now)
    db.news.announce(topics)
    return claimed


def _starts(claimed: Sequence[Claimed]) -> list[Event]:
    """Of first runs, to those who may want to hear of them. A crash may take one with the claim that it tells of."""
    return [
        Event(
            account_id=task.account_id,
            environment=task.environment,
            name=TASK_STARTED,
            task_id=task.id,
            callback_url=task.callback_url if task.callback_all else None,
            dialect=task.dialect,
        )
        for task in claimed
        if task.attempts == 1 and task.model != UNTOLD and (task.listens or task.callback_all)
    ]


async def claim_fetches(db: Database, rows: int, lease_seconds: int, *, by_url: bool) -> list[Claimed]:
    """At most `rows` waiting tasks whose bytes can be had now: those given by URL, or uploads that have arrived."""
    lease = timedelta(seconds=lease_seconds)
    async with db.relaxed() as connection:
        return await store.claim_fetches(connection, rows, db.clock.now(), lease, by_url=by_url)


async def renew(
    db: Database, leases: Sequence[tuple[UUID, UUID, str | None, float]], lease_seconds: int
) -> set[UUID]:
    """Hold these (task, lease, stage, progress) for longer; returns the leases that stand, the others are lost."""
    async with db.relaxed() as connection:
        return await store.renew(connection, leases, db.clock.now() + timedelta(seconds=lease_seconds))


async def release(db: Database, claimed: Sequence[Claimed]) -> None:
    """Give these back at once; their next run is not counted as another attempt."""
    now = db.clock.now()
    async with db.transaction() as tx:
        await store.lock_accounts(tx, {task.account_id for task in claimed})
        await store.release(tx, [(task.id, task.lease_id) for task in claimed], now)
    db.news.announce({FETCH_TOPIC, *(lane_topic(task.lane) for task in claimed)})
