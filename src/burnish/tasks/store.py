"""The SQL of tasks. Every moment is a parameter; locks are taken accounts first, then blobs, then tasks, by id.

Functions that take `tx` write and do not commit.
"""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Final
from uuid import UUID

from burnish.settings import Tasks as Ceilings
from burnish.storage.postgres import Connection
from burnish.tasks.decide import Queue, free
from burnish.tasks.task import HEAVY, LIGHT, Claimed, Task

# --- accounts: the lock that everything but a claim takes first ---------------------------------------------------

_LOCK_ACCOUNTS: Final = """
SELECT id, weight, light_slots, heavy_slots, light_tag, heavy_tag,
       (SELECT min(tag) FROM tasks WHERE ready AND lane = 0) AS light_time,
       (SELECT min(tag) FROM tasks WHERE ready AND lane = 1) AS heavy_time
FROM accounts WHERE id = ANY($1) ORDER BY id FOR NO KEY UPDATE
"""


def microsecond(now: datetime) -> int:
    """Virtual time of a lane in which nothing is ready."""
    return int(now.timestamp() * 1_000_000)


class Queues:
    """The locked accounts of one transaction: their queues by account and lane, and each lane's virtual time."""

    def __init__(self, rows: Sequence[Any], ceilings: Ceilings, now: datetime) -> None:
        self.times = [
            next((r[name] for r in rows if r[name] is not None), microsecond(now))
            for name in ("light_time", "heavy_time")
        ]
        self.queues: dict[tuple[UUID, int], Queue] = {}
        for row in rows:
            self.queues[row["id"], LIGHT] = Queue(
                row["light_slots"], ceilings.at_once, row["light_tag"], row["weight"]
            )
            self.queues[row["id"], HEAVY] = Queue(
                row["heavy_slots"], ceilings.heavy_at_once, row["heavy_tag"], row["weight"]
            )
        self._before = dict(self.queues)

    def __contains__(self, account_id: object) -> bool:
        return (account_id, LIGHT) in self.queues

    def changed(self) -> set[UUID]:
        return {
            account for (account, lane), queue in self.queues.items() if queue != self._before[account, lane]
        }

    def columns(self) -> tuple[list[Any], ...]:
        """The changed accounts as `_CHANGED` wants them."""
        changed = sorted(self.changed())
        light = [self.queues[account, LIGHT] for account in changed]
        heavy = [self.queues[account, HEAVY] for account in changed]
        return (
            changed,
            [queue.slots for queue in light],
            [queue.slots for queue in heavy],
            [queue.next_tag for queue in light],
            [queue.next_tag for queue in heavy],
        )

    def freed(self, place: tuple[UUID, int], slots: int) -> Queue:
        """The row has these slots back already; returns the queue as it was before."""
        before = self.queues[place]
        self.queues[place] = self._before[place] = free(before, slots)
        return before


async def lock_accounts(
    tx: Connection, ids: Iterable[UUID], ceilings: Ceilings, now: datetime, *, skip_locked: bool = False
) -> Queues:
    """Lock these accounts, in the order of their ids; with `skip_locked`, leave out those that others hold."""
    rows = await tx.fetch(_LOCK_ACCOUNTS + (" SKIP LOCKED" if skip_locked else ""), sorted(set(ids)))
    return Queues(rows, ceilings, now)


_CHANGED: Final = """
changed AS (
    UPDATE accounts a SET light_slots = n.light_slots, heavy_slots = n.heavy_slots,
                          light_tag = n.light_tag, heavy_tag = n.heavy_tag
    FROM unnest($1::uuid[], $2::int[], $3::int[], $4::bigint[], $5::bigint[])
         AS n (id, light_slots, heavy_slots, light_tag, heavy_tag)
    WHERE a.id = n.id
)
"""


async def write_accounts(tx: Connection, queues: Queues) -> None:
    """What the decisions made of the locked accounts."""
    if queues.changed():
        await tx.execute(f"WITH {_CHANGED} SELECT 1", *queues.columns())


# --- submitting ---------------------------------------------------------------------------------------------------

_COLUMNS: Final = {
    "id": "uuid",
    "account_id": "uuid",
    "environment": "text",
    "key_id": "uuid",
    "request_id": "text",
    "model": "text",
    "lane": "smallint",
    "status": "text",
    "fetchable": "boolean",
    "tag": "bigint",
    "input": "bytea",
    "metadata": "bytea",
    "source_id": "uuid",
    "source_url": "text",
    "max_attempts": "smallint",
    "deadline_seconds": "int",
    "waits_until": "timestamptz",
    "retention_seconds": "int",
}
_INSERT_TASKS: Final = """
WITH {changed}
INSERT INTO tasks ({names}, ready, created_at, queued_at, expires_at)
SELECT *, tag IS NOT NULL, $6::timestamptz, CASE status WHEN 'queued' THEN $6::timestamptz END,
       $6::timestamptz + make_interval(secs => retention_seconds)
FROM unnest({arrays}) AS n ({names})
""".format(
    changed=_CHANGED,
    names=", ".join(_COLUMNS),
    arrays=", ".join(f"${n}::{kind}[]" for n, kind in enumerate(_COLUMNS.values(), 7)),
)


async def insert_tasks(
    tx: Connection, rows: Sequence[Mapping[str, Any]], queues: Queues, now: datetime
) -> None:
    """The admitted tasks, and what admitting them made of their accounts, in one round trip."""
    await tx.execute(
        _INSERT_TASKS, *queues.columns(), now, *([row[column] for row in rows] for column in _COLUMNS)
    )


# --- claiming: touches no account ---------------------------------------------------------------------------------

_CLAIMED: Final = """
       t.id, t.lease_id, t.account_id, t.environment, t.request_id, t.model, t.lane, t.input, t.attempts,
       t.max_attempts, t.deadline_seconds, t.retention_seconds, t.source_id, t.source_url,
       b.object_key, b.filename
"""
_CLAIM: Final = f"""
WITH next AS (
    SELECT id FROM tasks WHERE lane = $1 AND ready ORDER BY lane, tag LIMIT $2 FOR UPDATE SKIP LOCKED
), t AS (
    UPDATE tasks SET status = 'running', ready = false, lease_id = gen_random_uuid(), leased_until = $4,
                     attempts = attempts + 1, started_at = coalesce(started_at, $3), stage = 'fetching', progress = 0
    FROM next WHERE tasks.id = next.id RETURNING tasks.*
)
SELECT {_CLAIMED} FROM t LEFT JOIN blobs b ON b.id = t.source_id ORDER BY t.tag
"""  # noqa: S608
_CLAIM_FETCHES: Final = f"""
WITH next AS (
    SELECT id FROM tasks WHERE fetchable AND (source_url IS NOT NULL) = $3
    ORDER BY id LIMIT $1 FOR UPDATE SKIP LOCKED
), t AS (
    UPDATE tasks SET fetchable = false, lease_id = gen_random_uuid(), leased_until = $2, attempts = attempts + 1
    FROM next WHERE tasks.id = next.id RETURNING tasks.*
)
SELECT {_CLAIMED} FROM t LEFT JOIN blobs b ON b.id = t.source_id ORDER BY t.id
"""  # noqa: S608


async def claim(
    connection: Connection, lane: int, rows: int, now: datetime, lease: timedelta
) -> list[Claimed]:
    """The next ready tasks of a lane, in the order of their tags, each under a fresh random lease."""
    return [Claimed(**row) for row in await connection.fetch(_CLAIM, lane, rows, now, now + lease)]


async def claim_fetches(
    connection: Connection, rows: int, now: datetime, lease: timedelta, *, by_url: bool
) -> list[Claimed]:
    """Waiting tasks whose bytes can be had now, oldest first: those to be fetched from URLs, or uploads."""
    return [Claimed(**row) for row in await connection.fetch(_CLAIM_FETCHES, rows, now + lease, by_url)]


# --- while it runs ------------------------------------------------------------------------------------------------


async def renew(
    connection: Connection, leases: Sequence[tuple[UUID, UUID, str | None, float]], leased_until: datetime
) -> set[UUID]:
    """Hold on to these (task, lease, stage, progress); returns the leases that still stand.

    A task that is being ended at this moment is passed over: waiting for it could be waiting for each other.
    """
    ids, lease_ids, stages, progress = zip(*leases, strict=True)
    rows = await connection.fetch(
        """
        WITH n AS (
            SELECT * FROM unnest($1::uuid[], $2::uuid[], $3::text[], $4::real[]) AS n (id, lease_id, stage, progress)
        ), standing AS (
            SELECT t.id, n.lease_id, n.stage, n.progress FROM tasks t JOIN n ON t.id = n.id
            WHERE t.lease_id = n.lease_id AND t.leased_until IS NOT NULL FOR NO KEY UPDATE OF t SKIP LOCKED
        ), renewed AS (
            UPDATE tasks t SET leased_until = $5, stage = s.stage, progress = greatest(t.progress, s.progress)
            FROM standing s WHERE t.id = s.id
        )
        SELECT n.lease_id FROM n JOIN tasks t ON t.id = n.id
        WHERE t.lease_id = n.lease_id AND t.leased_until IS NOT NULL
        """,
        ids,
        lease_ids,
        stages,
        progress,
        leased_until,
    )
    return {row["lease_id"] for row in rows}


#: A task given back goes to the front of its lane as it is now: with its old tag, virtual time would run backwards.
_FRONT: Final = "coalesce((SELECT min(r.tag) FROM tasks r WHERE r.ready AND r.lane = t.lane), $3)"


async def release(tx: Connection, leases: Sequence[tuple[UUID, UUID]], now: datetime) -> list[UUID]:
    """Give these back, for others to claim at once: the worker stops. They cost no attempt."""
    rows = await tx.fetch(
        f"""
        UPDATE tasks t SET status = CASE t.status WHEN 'running' THEN 'queued' ELSE t.status END,
               ready = (t.status = 'running'), fetchable = (t.status = 'waiting'),
               tag = CASE t.status WHEN 'running' THEN {_FRONT} END,
               lease_id = NULL, leased_until = NULL, attempts = t.attempts - 1, stage = NULL, progress = 0
        FROM unnest($1::uuid[], $2::uuid[]) AS n (id, lease_id)
        WHERE t.id = n.id AND t.lease_id = n.lease_id AND t.leased_until IS NOT NULL
        RETURNING t.id
        """,  # noqa: S608 - our own text
        [task for task, _ in leases],
        [lease for _, lease in leases],
        microsecond(now),
    )
    return [row["id"] for row in rows]


# --- moving on ----------------------------------------------------------------------------------------------------


async def arrive(
    tx: Connection, rows: Sequence[tuple[UUID, UUID, bool, int | None]], now: datetime
) -> set[UUID]:
    """Waiting -> queued for these (task, lease, ready, tag); returns those that were still waiting under the lease."""
    ids, leases, ready, tags = zip(*rows, strict=True)
    moved = await tx.fetch(
        """
        UPDATE tasks t SET status = 'queued', ready = n.ready, tag = n.tag, queued_at = $5, waits_until = NULL,
                           lease_id = NULL, leased_until = NULL, attempts = 0
        FROM unnest($1::uuid[], $2::uuid[], $3::boolean[], $4::bigint[]) AS n (id, lease_id, ready, tag)
        WHERE t.id = n.id AND t.lease_id = n.lease_id AND t.status = 'waiting'
        RETURNING t.id
        """,
        ids,
        leases,
        ready,
        tags,
        now,
    )
    return {row["id"] for row in moved}


_END: Final = """
WITH ended AS (
    UPDATE tasks t SET status = n.status, status_reason = n.reason, status_message = n.message, outputs = n.outputs,
           ended_at = $7::timestamptz, ready = false, fetchable = false, leased_until = NULL, waits_until = NULL,
           progress = CASE n.status WHEN 'succeeded' THEN 1 ELSE t.progress END,
           stage = NULL, expires_at = $7::timestamptz + make_interval(secs => t.retention_seconds)
    FROM unnest($1::uuid[], $2::uuid[], $3::text[], $4::text[], $5::text[], $6::bytea[])
         AS n (id, lease_id, status, reason, message, outputs)
    WHERE t.id = n.id AND t.lease_id = n.lease_id AND t.ended_at IS NULL AND t.leased_until IS NOT NULL
    RETURNING t.id, t.account_id, t.lane, t.queued_at IS NOT NULL AS held_slot
), freed AS (
    SELECT account_id, count(*) FILTER (WHERE lane = 0) AS light, count(*) FILTER (WHERE lane = 1) AS heavy
    FROM ended WHERE held_slot GROUP BY account_id
), given_back AS (
    UPDATE accounts a SET light_slots = light_slots - freed.light, heavy_slots = heavy_slots - freed.heavy
    FROM freed WHERE a.id = freed.account_id
)
SELECT id, held_slot FROM ended
"""


async def end(tx: Connection, endings: Sequence[tuple[object, ...]], now: datetime) -> dict[UUID, bool]:
    """End these (task, lease, status, reason, message, outputs) where the lease still holds; their slots are free.

    Returns the tasks that ended now, and whether each held a slot (a waiting task holds none).
    """
    rows = await tx.fetch(_END, *zip(*endings, strict=True), now)
    return {row["id"]: row["held_slot"] for row in rows}


async def ended_under(connection: Connection, leases: Sequence[tuple[UUID, UUID]]) -> set[UUID]:
    """Which of these (task, lease) have been ended by whoever held that very lease."""
    rows = await connection.fetch(
        """
        SELECT t.id FROM tasks t JOIN unnest($1::uuid[], $2::uuid[]) AS n (id, lease_id)
               ON t.id = n.id AND t.lease_id = n.lease_id
        WHERE t.ended_at IS NOT NULL AND t.status <> 'cancelled' AND t.status_reason IS DISTINCT FROM 'worker_lost'
        """,
        [task for task, _ in leases],
        [lease for _, lease in leases],
    )
    return {row["id"] for row in rows}


async def waiting_under(connection: Connection, leases: Sequence[tuple[UUID, UUID]]) -> set[UUID]:
    """Which of these (task, lease) are still waiting under that very lease."""
    rows = await connection.fetch(
        """
        SELECT t.id FROM tasks t JOIN unnest($1::uuid[], $2::uuid[]) AS n (id, lease_id)
               ON t.id = n.id AND t.lease_id = n.lease_id
        WHERE t.status = 'waiting'
        """,
        [task for task, _ in leases],
        [lease for _, lease in leases],
    )
    return {row["id"] for row in rows}


async def parked(tx: Connection, account_id: UUID, lane: int, rows: int) -> list[UUID]:
    """The account's parked tasks that are next for a slot."""
    found = await tx.fetch(
        """
        SELECT id FROM tasks WHERE account_id = $1 AND lane = $2 AND status = 'queued' AND NOT ready
        ORDER BY priority DESC, id LIMIT $3 FOR UPDATE
        """,
        account_id,
        lane,
        rows,
    )
    return [row["id"] for row in found]


async def make_ready(tx: Connection, tags: Mapping[UUID, int]) -> None:
    await tx.execute(
        """
        UPDATE tasks t SET ready = true, tag = n.tag FROM unnest($1::uuid[], $2::bigint[]) AS n (id, tag)
        WHERE t.id = n.id
        """,
        list(tags),
        list(tags.values()),
    )


async def cancel(tx: Connection, task_id: UUID, now: datetime) -> Any:
    """Cancel the task unless it has ended; its slot is free. Returns (lane, held_slot) of one cancelled now, else None."""
    return await tx.fetchrow(
        """
        WITH old AS (
            SELECT id, account_id, lane, (ready OR status = 'running') AS held_slot
            FROM tasks WHERE id = $1 AND ended_at IS NULL FOR UPDATE
        ), given_back AS (
            UPDATE accounts a SET light_slots = light_slots - (old.lane = 0)::int,
                                  heavy_slots = heavy_slots - (old.lane = 1)::int
            FROM old WHERE a.id = old.account_id AND old.held_slot
        )
        UPDATE tasks t SET status = 'cancelled', status_reason = 'cancelled_by_user', ended_at = $2::timestamptz, ready = false,
               fetchable = false, leased_until = NULL, waits_until = NULL, stage = NULL,
               expires_at = $2::timestamptz + make_interval(secs => t.retention_seconds)
        FROM old WHERE t.id = old.id
        RETURNING old.lane, old.held_slot
        """,
        task_id,
        now,
    )


# --- what time undoes ---------------------------------------------------------------------------------------------


async def find_lost(connection: Connection, now: datetime, rows: int) -> list[Any]:
    """Tasks whose lease ran out: (id, lease_id, account_id, lane, status, attempts, max_attempts)."""
    found: list[Any] = await connection.fetch(
        """
        SELECT id, lease_id, account_id, lane, status, attempts, max_attempts FROM tasks
        WHERE leased_until < $1 ORDER BY leased_until LIMIT $2
        """,
        now,
        rows,
    )
    return found


async def requeue_lost(tx: Connection, leases: Sequence[tuple[UUID, UUID]], now: datetime) -> list[Any]:
    """Let others claim these whose lease ran out. A running one keeps its slot, and is soon next."""
    found: list[Any] = await tx.fetch(
        f"""
        UPDATE tasks t SET status = CASE t.status WHEN 'running' THEN 'queued' ELSE t.status END,
               ready = (t.status = 'running'), fetchable = (t.status = 'waiting'),
               tag = CASE t.status WHEN 'running' THEN {_FRONT} END,
               lease_id = NULL, leased_until = NULL, stage = NULL, progress = 0
        FROM unnest($1::uuid[], $2::uuid[]) AS n (id, lease_id)
        WHERE t.id = n.id AND t.lease_id = n.lease_id AND t.leased_until < $4
        RETURNING t.id, t.lane, t.status
        """,  # noqa: S608 - our own text
        [task for task, _ in leases],
        [lease for _, lease in leases],
        microsecond(now),
        now,
    )
    return found


async def lock_lost(tx: Connection, leases: Sequence[tuple[UUID, UUID]], now: datetime) -> set[UUID]:
    """Lock those of these (task, lease) whose lease has still run out: nobody renewed meanwhile."""
    rows = await tx.fetch(
        """
        SELECT t.id FROM tasks t JOIN unnest($1::uuid[], $2::uuid[]) AS n (id, lease_id)
               ON t.id = n.id AND t.lease_id = n.lease_id
        WHERE t.leased_until < $3 ORDER BY t.id FOR UPDATE OF t
        """,
        [task for task, _ in leases],
        [lease for _, lease in leases],
        now,
    )
    return {row["id"] for row in rows}


async def give_up_waiting(tx: Connection, now: datetime, rows: int) -> list[UUID]:
    """Fail the waiting tasks whose bytes did not come in time. They hold no slot."""
    found = await tx.fetch(
        """
        WITH late AS (
            SELECT id FROM tasks WHERE status = 'waiting' AND waits_until < $1 AND leased_until IS NULL
            ORDER BY waits_until LIMIT $2 FOR UPDATE SKIP LOCKED
        )
        UPDATE tasks t SET status = 'failed', status_reason = 'input_timeout', ended_at = $1::timestamptz, fetchable = false,
               status_message = 'The upload did not arrive in time. Make a new upload, send its bytes, then the task.',
               waits_until = NULL, expires_at = $1::timestamptz + make_interval(secs => t.retention_seconds)
        FROM late WHERE t.id = late.id RETURNING t.id
        """,
        now,
        rows,
    )
    return [row["id"] for row in found]


async def forget(tx: Connection, expired_before: datetime, rows: int) -> int:
    """Remove the rows of tasks whose tombstone has stood long enough."""
    status: str = await tx.execute(
        """
        DELETE FROM tasks WHERE id IN (
            SELECT id FROM tasks WHERE expires_at < $1 AND ended_at IS NOT NULL
            ORDER BY expires_at LIMIT $2 FOR UPDATE SKIP LOCKED)
        """,
        expired_before,
        rows,
    )
    return int(status.rpartition(" ")[2])


async def parked_places(connection: Connection) -> list[Any]:
    """(account_id, lane) that have parked tasks: candidates for promotion after a ceiling was raised."""
    found: list[Any] = await connection.fetch(
        "SELECT DISTINCT account_id, lane FROM tasks WHERE status = 'queued' AND NOT ready"
    )
    return found


# --- reading ------------------------------------------------------------------------------------------------------

_TASK: Final = """
SELECT id, account_id, environment, request_id, model, lane, status, ready, input, metadata, source_id, attempts,
       stage, progress, status_reason, status_message, outputs, cost_held, cost_charged, created_at, queued_at,
       started_at, ended_at, expires_at
FROM tasks
"""


async def read_tasks(connection: Connection, ids: Sequence[UUID]) -> dict[UUID, Task]:
    return {row["id"]: Task(**row) for row in await connection.fetch(_TASK + "WHERE id = ANY($1)", ids)}


async def list_tasks(
    connection: Connection,
    account_id: UUID,
    environment: str,
    *,
    after: UUID | None,
    status: str | None,
    model: str | None,
    created_after: datetime | None,
    rows: int,
    now: datetime,
) -> list[Task]:
    """The newest first, below `after`; what has expired is left out."""
    found = await connection.fetch(
        _TASK
        + """
        WHERE account_id = $1 AND environment = $2 AND ($3::uuid IS NULL OR id < $3)
          AND ($4::text IS NULL OR status = $4) AND ($5::text IS NULL OR model = $5)
          AND ($6::timestamptz IS NULL OR created_at > $6) AND (ended_at IS NULL OR expires_at > $8)
        ORDER BY id DESC LIMIT $7
        """,
        account_id,
        environment,
        after,
        status,
        model,
        created_after,
        rows,
        now,
    )
    return [Task(**row) for row in found]


# --- watching: each count walks a partial index, never the table --------------------------------------------------


async def count_unended(connection: Connection) -> dict[tuple[str, int], int]:
    """How many tasks are waiting, parked, queued and running, by (state, lane); what is not there is not counted."""
    rows = await connection.fetch(
        """
        SELECT 'waiting' AS state, lane, count(*) FROM tasks WHERE status = 'waiting' GROUP BY lane
        UNION ALL
        SELECT 'parked', lane, count(*) FROM tasks WHERE status = 'queued' AND NOT ready GROUP BY lane
        UNION ALL
        SELECT 'queued', lane, count(*) FROM tasks WHERE ready GROUP BY lane
        UNION ALL
        SELECT 'running', lane, count(*) FROM tasks WHERE leased_until IS NOT NULL AND status = 'running' GROUP BY lane
        """
    )
    return {(row["state"], row["lane"]): row["count"] for row in rows}


async def worker_seen_at(connection: Connection) -> datetime | None:
    """When a worker last said that it is there."""
    seen_at: datetime | None = await connection.fetchval("SELECT max(seen_at) FROM workers")
    return seen_at
