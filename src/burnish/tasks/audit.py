"""Does every invariant hold? Recomputed from rows, one account at a time under its lock. For the doctor and tests.

Each finding is a sentence that says what was counted, what the row says, and where.
"""

from collections.abc import Iterator
from datetime import timedelta
from typing import Any, Final

from burnish.keys.plan import Plans
from burnish.storage.postgres import Connection, Database
from burnish.tasks.accounts import Accounts, lock_accounts
from burnish.tasks.close import NOT_THEIRS
from burnish.tasks.decide import promotions
from burnish.tasks.task import key_digits

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
        WHERE t.status = 'waiting' AND NOT t.fetchable AND t.leased_until IS NULL
            AND (t.waits_until IS NULL OR b.object_key IS NOT NULL)
        """,
    ),
    "foreign_cursor": (
        "waiting tasks that wait for a source which is none of theirs",
        """
        SELECT count(*) FROM tasks t WHERE t.status = 'waiting'
            AND EXISTS (SELECT FROM task_sources s WHERE s.task_id = t.id)
            AND NOT EXISTS (SELECT FROM task_sources s WHERE s.task_id = t.id AND s.source_id = t.source_id)
        """,
    ),
    "unseen_sources": (
        "tasks that have been queued although nobody has seen one of their sources",
        """
        SELECT count(*) FROM tasks t JOIN task_sources s ON s.task_id = t.id JOIN blobs b ON b.id = s.source_id
        WHERE t.queued_at IS NOT NULL AND b.type IS NULL
        """,
    ),
    "wrong_patience": (
        "waiting tasks that are not given up when the first of their missing uploads is",
        """
        SELECT count(*) FROM tasks t WHERE t.status = 'waiting'
            AND EXISTS (SELECT FROM task_sources s WHERE s.task_id = t.id)
            AND t.waits_until IS DISTINCT FROM (
                SELECT min(b.expires_at) FROM task_sources s JOIN blobs b ON b.id = s.source_id
                WHERE s.task_id = t.id AND s.source_url IS NULL AND b.object_key IS NULL)
        """,
    ),
    "sources_of_nothing": (
        "sources of tasks that are gone",
        "SELECT count(*) FROM task_sources s WHERE NOT EXISTS (SELECT FROM tasks t WHERE t.id = s.task_id)",
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
    "forgotten_deliveries": (
        "deliveries that are due and that no receiver will be asked to take",
        """
        SELECT count(*) FROM deliveries d WHERE d.state = 'due' AND NOT EXISTS (
            SELECT FROM receivers r WHERE r.id = d.receiver AND (r.due_at IS NOT NULL OR r.leased_until IS NOT NULL))
        """,
    ),
    "unswept_leases": (
        "leases that ran out long ago and were not swept: is a worker running?",
        "SELECT count(*) FROM tasks WHERE leased_until < $1::timestamptz - $2::interval",
    ),
}


async def audit(db: Database, plans: Plans) -> list[str]:
    """What does not hold; empty when all does."""
    async with db.reading() as connection:
        accounts = [row["id"] for row in await connection.fetch("SELECT id FROM accounts ORDER BY id")]
        findings = await _counts(db, connection)
    for account_id in accounts:
        async with db.transaction() as tx:
            locked = await lock_accounts(tx, [account_id], plans, db.clock.now())
            findings += await _queue(tx, locked)
            row = await tx.fetchrow(_CREDITS, account_id)
            findings += [f"Account {account_id}: {finding}" for finding in _credits(row)]
            findings += [
                f"Account {account_id}: {row['finding']}" for row in await tx.fetch(_HOLDS, account_id)
            ]
            findings += [
                f"Account {account_id} says {row['used']} of {row['name']} {row['subject']} from {row['starts_at']}; "
                f"{row['found']} are there."
                for row in await tx.fetch(_WINDOWS, account_id, sorted(NOT_THEIRS))
            ]
    return findings


async def _queue(tx: Connection, accounts: Accounts) -> list[str]:
    """The account's document of its queue against its tasks, and whether anything is parked that has room."""
    findings = []
    ((account_id, state),) = accounts.states.items()
    rows = {
        (row["lane"], row["model"], key_digits(row["key_id"])): (row["slots"], row["parked"], row["waiting"])
        for row in await tx.fetch(_TASKS, account_id)
    }
    groups = {
        place: (group.slots, group.parked, group.waiting)
        for place, group in state.queue.groups.items()
        if not group.empty
    }
    for place in sorted({*rows, *groups}):
        said, found = groups.get(place, (0, 0, 0)), rows.get(place, (0, 0, 0))
        if said != found:
            findings.append(
                f"Account {account_id} says {said} slots, parked and waiting of {place}; {found} are there."
            )
    findings += [
        f"Account {account_id} has parked tasks of {group.model} and room for them."
        for group, _ in promotions(state, accounts.times)
    ]
    return findings


_TASKS: Final = """
SELECT lane, model, key_id, count(*) FILTER (WHERE ready OR status = 'running') AS slots,
       count(*) FILTER (WHERE status = 'queued' AND NOT ready) AS parked, count(*) FILTER (WHERE status = 'waiting') AS waiting
FROM tasks WHERE account_id = $1 AND ended_at IS NULL GROUP BY lane, model, key_id
"""

_FIVE: Final = ("granted", "available", "held", "charged", "expired")
_CREDITS: Final = f"""
SELECT a.granted, a.available, a.held, a.charged, a.expired,
       {", ".join(f"coalesce(e.{name}, 0) AS entries_{name}, coalesce(g.{name}, 0) AS grants_{name}" for name in _FIVE)},
       (SELECT coalesce(sum(cost_held), 0) FROM tasks t WHERE t.account_id = a.id AND t.ended_at IS NULL) AS held_by_tasks
FROM accounts a,
     LATERAL (SELECT {", ".join(f"sum({name})::bigint AS {name}" for name in _FIVE)} FROM entries WHERE account_id = a.id) AS e,
     LATERAL (SELECT {", ".join(f"sum({name})::bigint AS {name}" for name in _FIVE)} FROM grants WHERE account_id = a.id) AS g
WHERE a.id = $1
"""  # noqa: S608 - our own names


def _credits(row: Any) -> Iterator[str]:
    """The account's row against its entries, its grants and what its tasks hold."""
    for name in _FIVE:
        for source in ("entries", "grants"):
            if row[name] != row[f"{source}_{name}"]:
                yield f"its row says {row[name]} credits {name}; its {source} say {row[f'{source}_{name}']}."
    if row["held"] != row["held_by_tasks"]:
        yield f"{row['held']} credits are held; its tasks hold {row['held_by_tasks']}."


_HOLDS: Final = """
SELECT 'task ' || t.id || ' holds credits, and no entry says so.' AS finding
FROM tasks t WHERE t.account_id = $1 AND t.cost_held > 0
    AND NOT EXISTS (SELECT FROM entries e WHERE e.subject_id = t.id AND e.kind = 'hold' AND e.held = t.cost_held)
UNION ALL
SELECT 'task ' || t.id || ' has ended, and its hold has not.'
FROM tasks t WHERE t.account_id = $1 AND t.cost_held > 0 AND t.ended_at IS NOT NULL
    AND NOT EXISTS (SELECT FROM entries e WHERE e.subject_id = t.id AND e.kind IN ('charge', 'release')
                    AND e.held = -t.cost_held AND e.charged = t.cost_charged)
UNION ALL
SELECT 'task ' || t.id || ' has not ended, and its hold has.'
FROM tasks t JOIN entries e ON e.subject_id = t.id AND e.kind IN ('charge', 'release')
WHERE t.account_id = $1 AND t.ended_at IS NULL
"""
_WINDOWS: Final = """
SELECT * FROM (
    SELECT w.name, w.subject, w.starts_at, w.used, CASE w.name
        WHEN 'day' THEN (
            SELECT count(*) FROM tasks t WHERE t.account_id = w.account_id AND t.day_starts_at = w.starts_at
                AND NOT coalesce(t.status_reason = ANY($2), false))
        WHEN 'made' THEN (
            SELECT count(*) FROM tasks t WHERE t.account_id = w.account_id AND t.dialect <> 'native'
                AND t.environment || ' ' || t.dialect = w.subject)
        ELSE (
            SELECT coalesce(sum(e.held + e.charged), 0)::bigint FROM entries e
            WHERE e.account_id = w.account_id AND e.key_id = w.subject::uuid AND e.kind <> 'purchase')
        END AS found
    FROM windows w WHERE w.account_id = $1 AND w.name IN ('day', 'key-credits', 'made')
) AS counted WHERE used <> found
"""


async def _counts(db: Database, connection: Connection) -> list[str]:
    findings = []
    for meaning, sql in _COUNTS.values():
        arguments = [db.clock.now(), _UNSWEPT][: sql.count("$")]
        if count := await connection.fetchval(sql, *arguments):
            findings.append(f"{count} {meaning}.")
    return findings
