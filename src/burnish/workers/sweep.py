"""What time undoes: lost leases, uploads that never came, ceilings that were raised, bytes whose end has come.

A short list of steps, each run by every worker every few seconds, so that one that fails stops none of the others;
each takes a bounded batch, and two workers at the same step do no harm.
"""

from datetime import timedelta
from typing import Any, Final

from burnish import log
from burnish.credits import store as credits_
from burnish.credits.grant import expire
from burnish.dialects.autoenhance import follow as autoenhance
from burnish.errors import Unavailable
from burnish.limits import store as windows
from burnish.resources import Resources
from burnish.tasks import store as tasks
from burnish.tasks.accounts import lock_accounts
from burnish.tasks.close import close
from burnish.tasks.follow import FOLLOWED
from burnish.tasks.sources import place_in
from burnish.tasks.task import FAILED, lane_topic, topic
from burnish.uploads import store as blobs
from burnish.uploads.receive import FETCH_TOPIC
from burnish.webhooks import store as webhooks
from burnish.webhooks.announce import DELIVER_TOPIC, announce
from burnish.webhooks.event import TASK_EXPIRING, Event
from burnish.workers import store as workers

_log = log.get("sweep")
_BATCH: Final = 200
_ROUNDS: Final = 50  #: batches of one step before others have their turn
_WRITE_SECONDS: Final = 3_600  #: no write takes longer
_DELETED_AGAIN: Final = timedelta(minutes=10)
_WORKER_FORGOTTEN: Final = timedelta(days=1)


async def _lost_leases(resources: Resources) -> None:
    """Tasks of workers that no longer renew: tried again, or failed when they have been tried often enough."""
    db, now = resources.db, resources.clock.now()
    async with db.reading() as connection:
        lost = await tasks.find_lost(connection, now, _BATCH)
    if not lost:
        return
    worn_out = [row for row in lost if row["attempts"] >= row["max_attempts"]]
    others = [(row["id"], row["lease_id"]) for row in lost if row["attempts"] < row["max_attempts"]]
    topics: set[str] = set()
    async with db.transaction() as tx:
        accounts = await lock_accounts(tx, {row["account_id"] for row in lost}, resources.plans, now)
        requeued = await tasks.requeue_lost(tx, others, now)
        for row in requeued:
            topics.add(lane_topic(row["lane"]) if row["status"] != "waiting" else FETCH_TOPIC)
            topics.add(topic(row["id"]))
            _log.warning("lease_lost", task=str(row["id"]))
        still = await tasks.lock_lost(tx, [(row["id"], row["lease_id"]) for row in worn_out], now)
        message = "The workers that had this task were lost. Nothing was charged; make the task again."
        endings = [
            (row["id"], row["lease_id"], FAILED, "worker_lost", message, None, None)
            for row in worn_out
            if row["id"] in still
        ]
        if endings:
            topics |= await close(tx, accounts, await tasks.end(tx, endings, now), now)
        if gone := len(requeued) + len(endings):
            await tasks.count_lost(tx, gone)
        await accounts.write()
    db.news.announce(topics)


async def _late_uploads(resources: Resources) -> None:
    """Waiting tasks whose bytes did not come: failed, and what they were counted as is free."""
    db, now = resources.db, resources.clock.now()
    async with db.reading() as connection:
        late = await tasks.find_late(connection, now, _BATCH)
    if not late:
        return
    async with db.transaction() as tx:
        accounts = await lock_accounts(tx, {row["account_id"] for row in late}, resources.plans, now)
        given_up = [(row["id"], _missing(row)) for row in late]
        ended = await tasks.give_up_waiting(tx, given_up, now)
        topics = await close(tx, accounts, ended, now)
        await accounts.write()
    db.news.announce(topics)


def _missing(row: Any) -> str:
    """What a task is told whose bytes did not come; of several sources, which."""
    message = "The upload did not arrive in time. Make a new upload, send its bytes, then the task."
    if row["position"] is None:
        return message
    return f"{place_in(row['model'], row['input'], row['position'])}: {message}"


async def _raised_ceilings(resources: Resources) -> None:
    """Parked tasks of accounts whose ceiling leaves room now."""
    db = resources.db
    async with db.reading() as connection:
        parked = await tasks.accounts_with_parked(connection)
    for account_id in parked:
        async with db.transaction() as tx:
            accounts = await lock_accounts(tx, [account_id], resources.plans, resources.clock.now())
            topics = await accounts.promote()
            await accounts.write()
        db.news.announce(topics)


async def _expired_credits(resources: Resources) -> None:
    """Credits whose time is over; what is held of them stays until its task ends."""
    now = resources.clock.now()
    async with resources.db.reading() as connection:
        due = await credits_.accounts_with_expired(connection, now, _BATCH)
    for account_id in due:
        expired = await expire(resources.db, account_id, now)
        _log.info("credits_expired", account=str(account_id), credits=expired)


async def _old_counts(resources: Resources) -> None:
    """Windows that are over, and idempotency keys whose day is."""
    now = resources.clock.now()
    async with resources.db.transaction() as tx:
        await windows.forget_windows(tx, now, _BATCH * 10)
        await tasks.forget_remembered(tx, now, _BATCH * 10)


async def _expired_objects(resources: Resources) -> None:
    """Delete bytes at their time; their rows, which say so, go in the same transaction."""
    while True:
        async with resources.db.transaction() as tx:
            keys = await blobs.lock_due_objects(tx, resources.clock.now(), _BATCH)
            try:
                await resources.blobs.delete(keys)
            except Unavailable as error:  # they stand back, so that one that cannot go holds up no other
                _log.error("objects_not_deleted", objects=len(keys), error=error.message)
                await blobs.postpone_objects(tx, keys, resources.clock.now() + _DELETED_AGAIN)
            else:
                await blobs.unname_objects(tx, keys)
        if len(keys) < _BATCH:
            return


async def _ended_films(resources: Resources) -> None:
    """What was finished of films whose tasks have ended."""
    now = resources.clock.now()
    async with resources.db.transaction() as tx:
        keys = await tasks.forget_segments(tx, _BATCH)
        await blobs.keep_objects(tx, keys, [now] * len(keys))


async def _killed_writes(resources: Resources) -> None:
    """What a killed process had begun to write: it never became an object, and no row names it."""
    await resources.blobs.sweep_leftovers(_WRITE_SECONDS)


async def _deliveries(resources: Resources) -> None:
    """Receivers of lost workers are free again; the log of what ended long ago goes."""
    db, now = resources.db, resources.clock.now()
    before = now - timedelta(seconds=resources.settings.uploads.tombstone_seconds)
    async with db.transaction() as tx:
        freed = await webhooks.free_lost_receivers(tx, now)
        await webhooks.forget_receivers(tx, before, _BATCH)
    if freed:
        db.news.announce([DELIVER_TOPIC])
    for _ in range(_ROUNDS):
        async with db.transaction() as tx:
            if await webhooks.forget_deliveries(tx, before, _BATCH) < _BATCH:
                return


async def _followed(resources: Resources) -> None:
    """Nobody has followed these accounts for a week; and what happened in the others before then is told no more."""
    for _ in range(_ROUNDS):
        now = resources.clock.now()
        async with resources.db.transaction() as tx:
            if await webhooks.forget_events(tx, now, now - FOLLOWED, _BATCH) < _BATCH:
                return


async def _expiring(resources: Resources) -> None:
    """A day before their end, tasks of accounts that listen or are followed are told of. A cursor says up to which end that was done; a
    task that is kept for less than a day is not told of.
    """
    db, now = resources.db, resources.clock.now()
    for _ in range(_ROUNDS):
        async with db.transaction() as tx:
            found = await tasks.take_expiring(tx, now, timedelta(days=1), _BATCH)
            events = [
                Event(
                    account_id=row["account_id"],
                    environment=row["environment"],
                    name=TASK_EXPIRING,
                    task_id=row["id"],
                )
                for row in found
            ]
            topics = await announce(tx, events, now)
        db.news.announce(topics)
        if len(found) < _BATCH:
            return


async def _tombstones(resources: Resources) -> None:
    """Remove rows whose media has been gone for so long that nobody asks any more."""
    before = resources.clock.now() - timedelta(seconds=resources.settings.uploads.tombstone_seconds)
    async with resources.db.transaction() as tx:
        await workers.forget(tx, resources.clock.now() - _WORKER_FORGOTTEN)
    for _ in range(_ROUNDS):
        async with resources.db.transaction() as tx:
            forgotten = await tasks.forget(tx, before, _BATCH)
            forgotten = max(forgotten, await blobs.forget_blobs(tx, before, _BATCH))
        if forgotten < _BATCH:
            return


#: What a worker runs, again and again.
STEPS: Final = (
    _lost_leases,
    _late_uploads,
    _raised_ceilings,
    _expired_credits,
    _ended_films,
    _expired_objects,
    _killed_writes,
    _old_counts,
    _deliveries,
    _followed,
    _expiring,
    _tombstones,
    autoenhance.forget,
)
