"""Does every invariant hold? Recomputed from rows, one account at a time under its lock. For the doctor and tests.

Each finding is a sentence that says what was counted, what the row says, and where.
"""

from datetime import timedelta
from typing import Final

from burnish.settings import Tasks as TaskSettings
from burnish.storage.postgres import Connection, Database
from burnish.tasks import store
from burnish.tasks.task import HEAVY, LIGHT

#: A lease this long over is one that no sweep has looked at.
_UNSWEPT: Final = timedelta(minutes=5)

#: name -> (what it means when it is not zero, a count over the whole database)
_COUNTS: Final = {
    "illegal_rows": (
        "tasks whose columns contradict their status",
        """
        SELECT count(*) FROM tasks WHERE
            (status = 'running') <> (lease_id IS NOT NULL AND leased_until IS NOT NULL AND queued_at IS NOT NULL
                                     AND ended_at IS NULL)
            OR (status IN ('queued', 'running') AND queued_at IS NULL)
            OR (status = 'failed') <> (status_reason IS NOT NULL AND status <> 'cancelled')
            OR (status = 'cancelled' AND status_reason IS DISTINCT FROM 'cancelled_by_user')
            OR (status = 'waiting' AND source_id IS NULL)
            OR progress < 0 OR progress > 1
            OR cost_charged > cost_held
        """,
    ),
    "stuck_waiting": (
        "waiting tasks that nobody fetches although their bytes are here",
        """
        SELECT count(*) FROM tasks t JOIN blobs b ON b.id = t.source_id
        WHERE t.status = 'waiting' AND NOT t.fetchable AND t.leased_until IS NULL AND t.waits_until IS NULL
        """,
    ),
    "unnamed_bytes": (
        "stored media whose object no row names",
        """
        SELECT count(*) FROM blobs b WHERE b.object_key IS NOT NULL AND b.expires_at > $1
            AND NOT EXISTS (SELECT FROM objects o WHERE o.key = b.object_key)
        """,
    ),
    "outputs_without_task": (
        "outputs whose task did not succeed",
        """
        SELECT count(*) FROM blobs b JOIN tasks t ON t.id = b.task_id
        WHERE b.kind = 'output' AND t.status <> 'succeeded'
        """,
    ),
    "succeeded_without_outputs": (
        "outputs that a task lists and that are not there",
        """
        SELECT count(*) FROM tasks t, jsonb_array_elements(convert_from(t.outputs, 'UTF8')::jsonb) AS o
        WHERE t.outputs IS NOT NULL AND NOT EXISTS (SELECT FROM blobs b WHERE b.id = (o ->> 'id')::uuid)
        """,
    ),
    "undeleted_bytes": (
        "objects whose time was over long ago: is a worker running?",
        "SELECT count(*) FROM objects WHERE delete_at < $1::timestamptz - $2::interval",
    ),
    "unswept_leases": (
        "leases that ran out long ago and were not swept: is a worker running?",
        "SELECT count(*) FROM tasks WHERE leased_until < $1::timestamptz - $2::interval",
    ),
}


async def audit(db: Database, settings: TaskSettings) -> list[str]:
    """What does not hold; empty when all does."""
    async with db.reading() as connection:
        accounts = [row["id"] for row in await connection.fetch("SELECT id FROM accounts ORDER BY id")]
        findings = await _counts(db, connection)
    for account_id in accounts:
        async with db.transaction() as tx:
            queues = await store.lock_accounts(tx, [account_id], settings, db.clock.now())
            for lane, name in ((LIGHT, "light"), (HEAVY, "heavy")):
                queue = queues.queues[account_id, lane]
                row = await tx.fetchrow(_LANE, account_id, lane)
                if queue.slots != row["in_use"]:
                    findings.append(
                        f"Account {account_id} says {queue.slots} {name} slots; {row['in_use']} are in use."
                    )
                if row["in_use"] < queue.ceiling and row["parked"]:
                    findings.append(
                        f"Account {account_id} has {row['parked']} parked {name} tasks and {row['in_use']} of "
                        f"{queue.ceiling} slots in use."
                    )
    return findings


_LANE: Final = """
SELECT (SELECT count(*) FROM tasks WHERE ready AND lane = $2 AND account_id = $1)
     + (SELECT count(*) FROM tasks WHERE leased_until IS NOT NULL AND status = 'running' AND lane = $2 AND account_id = $1)
       AS in_use,
       (SELECT count(*) FROM tasks WHERE status = 'queued' AND NOT ready AND lane = $2 AND account_id = $1) AS parked
"""


async def _counts(db: Database, connection: Connection) -> list[str]:
    findings = []
    for meaning, sql in _COUNTS.values():
        arguments = [db.clock.now(), _UNSWEPT][: sql.count("$")]
        if count := await connection.fetchval(sql, *arguments):
            findings.append(f"{count} {meaning}.")
    return findings
