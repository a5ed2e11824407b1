"""What time undoes: lost leases, uploads that never came, ceilings that were raised, bytes whose end has come.

A short list of steps, each run by every worker every few seconds, so that one that fails stops none of the others;
each takes a bounded batch, and two workers at the same step do no harm.
"""

from datetime import timedelta
from typing import Final

from burnish import log
from burnish.errors import Unavailable
from burnish.resources import Resources
from burnish.tasks import store as tasks
from burnish.tasks.promote import free_slots, promote
from burnish.tasks.task import FAILED, lane_topic, topic
from burnish.uploads import store as blobs
from burnish.uploads.receive import FETCH_TOPIC
from burnish.workers import store as workers

_log = log.get("sweep")
_BATCH: Final = 200
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
        queues = await tasks.lock_accounts(
            tx, {row["account_id"] for row in lost}, resources.settings.tasks, now
        )
        for row in await tasks.requeue_lost(tx, others, now):
            topics.add(lane_topic(row["lane"]) if row["status"] != "waiting" else FETCH_TOPIC)
            _log.warning("lease_lost", task=str(row["id"]))
        still = await tasks.lock_lost(tx, [(row["id"], row["lease_id"]) for row in worn_out], now)
        message = "The workers that had this task were lost. Nothing was charged; make the task again."
        endings = [
            (row["id"], row["lease_id"], FAILED, "worker_lost", message, None)
            for row in worn_out
            if row["id"] in still
        ]
        if endings:
            ended = await tasks.end(tx, endings, now)
            slots = [(row["account_id"], row["lane"]) for row in worn_out if ended.get(row["id"])]
            topics |= await free_slots(tx, queues, slots) | {topic(task_id) for task_id in ended}
        await tasks.write_accounts(tx, queues)
    db.news.announce(topics)


async def _late_uploads(resources: Resources) -> None:
    async with resources.db.transaction() as tx:
        late = await tasks.give_up_waiting(tx, resources.clock.now(), _BATCH)
    resources.db.news.announce({topic(task_id) for task_id in late})


async def _raised_ceilings(resources: Resources) -> None:
    """Parked tasks of accounts whose ceiling leaves room now."""
    db = resources.db
    async with db.reading() as connection:
        places = [(row["account_id"], row["lane"]) for row in await tasks.parked_places(connection)]
    for place in places:
        async with db.transaction() as tx:
            queues = await tasks.lock_accounts(
                tx, [place[0]], resources.settings.tasks, resources.clock.now()
            )
            topics = await promote(tx, queues, place)
            await tasks.write_accounts(tx, queues)
        db.news.announce(topics)


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


async def _killed_writes(resources: Resources) -> None:
    """What a killed process had begun to write: it never became an object, and no row names it."""
    await resources.blobs.sweep_leftovers(_WRITE_SECONDS)


async def _tombstones(resources: Resources) -> None:
    """Remove rows whose media has been gone for so long that nobody asks any more."""
    before = resources.clock.now() - timedelta(seconds=resources.settings.uploads.tombstone_seconds)
    async with resources.db.transaction() as tx:
        await tasks.forget(tx, before, _BATCH)
        await blobs.forget_blobs(tx, before, _BATCH)
        await workers.forget(tx, resources.clock.now() - _WORKER_FORGOTTEN)


#: What a worker runs, again and again.
STEPS: Final = (_lost_leases, _late_uploads, _raised_ceilings, _expired_objects, _killed_writes, _tombstones)
