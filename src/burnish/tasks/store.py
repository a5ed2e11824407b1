"""The SQL of tasks. Every moment is a parameter; locks are taken accounts first, then blobs, then tasks, by id.

Functions that take `tx` write and do not commit.
"""

from collections import Counter
from collections.abc import Collection, Sequence
from datetime import datetime, timedelta
from operator import attrgetter
from typing import Any, Final, NamedTuple
from uuid import UUID

from msgspec import Struct

from burnish.limits import store as windows
from burnish.storage.postgres import Connection
from burnish.storage.statement import Part, write
from burnish.tasks.decide import FOR_EVER, MADE, State, made_through
from burnish.tasks.sources import Given
from burnish.tasks.task import Claimed, Task
from burnish.webhooks.event import NATIVE

# --- accounts: the lock that everything but a claim takes first ---------------------------------------------------

AccountRow = Any  #: id, plan, overrides, test, queue, created_at, listens, light_time, heavy_time

_ACCOUNTS: Final = """
SELECT id, plan, overrides, test_of IS NOT NULL AS test, queue, created_at, listens,
       (SELECT min(tag) FROM tasks WHERE ready AND lane = 0) AS light_time,
       (SELECT min(tag) FROM tasks WHERE ready AND lane = 1) AS heavy_time
FROM accounts
"""
_LOCK_ACCOUNTS: Final = _ACCOUNTS + "WHERE id = ANY($1) ORDER BY id FOR NO KEY UPDATE"


def microsecond(now: datetime) -> int:
    """Virtual time of a lane in which nothing is ready."""
    return int(now.timestamp() * 1_000_000)


def virtual_times(rows: Sequence[AccountRow], now: datetime) -> list[int]:
    """Of the light lane and of the heavy one."""
    return [
        next((row[name] for row in rows if row[name] is not None), microsecond(now))
        for name in ("light_time", "heavy_time")
    ]


async def lock_accounts(
    tx: Connection, ids: Collection[UUID], *, skip_locked: bool = False
) -> list[AccountRow]:
    """Lock these accounts, in the order of their ids; with `skip_locked`, leave out those that others hold."""
    rows: list[AccountRow] = await tx.fetch(
        _LOCK_ACCOUNTS + (" SKIP LOCKED" if skip_locked else ""), sorted(ids)
    )
    return rows


#: Quotas as the statement's snapshot has them. Whoever changes an account's grants or windows changes its row as well:
#: where the row is as the snapshot has it (`fresh`), nobody was waited for, and they are as they are under the lock.
_LOCK_AND_READ: Final = """
WITH locked AS (
    SELECT id, plan, overrides, test_of IS NOT NULL AS test, queue, created_at, listens, xmin AS version
    FROM accounts WHERE id = ANY($1) ORDER BY id FOR NO KEY UPDATE {}
)
SELECT l.id, l.plan, l.overrides, l.test, l.queue, l.created_at, l.listens,
       (SELECT min(tag) FROM tasks WHERE ready AND lane = 0) AS light_time,
       (SELECT min(tag) FROM tasks WHERE ready AND lane = 1) AS heavy_time,
       l.version = (SELECT a.xmin FROM accounts a WHERE a.id = l.id) AS fresh,
       g.ids, g.available, g.expires_at, w.names, w.subjects, w.starts_at, w.used
FROM locked l
CROSS JOIN LATERAL (
    SELECT array_agg(g.id) AS ids, array_agg(g.available) AS available, array_agg(g.expires_at) AS expires_at
    FROM grants g WHERE g.account_id = l.id AND NOT g.spent
) AS g
CROSS JOIN LATERAL (
    SELECT array_agg(w.name) AS names, array_agg(w.subject) AS subjects, array_agg(w.starts_at) AS starts_at,
           array_agg(w.used) AS used
    FROM windows w WHERE w.account_id = l.id AND w.name = ANY($2) AND w.subject = ANY($3) AND w.ends_at > $4
) AS w
"""  # one search of the index an account; joined to the names, it was walked once for each, past all its windows
_LOCK_AND_READ_ALL: Final = _LOCK_AND_READ.format("")
_LOCK_AND_READ_FREE: Final = _LOCK_AND_READ.format("SKIP LOCKED")


async def lock_and_read(
    tx: Connection,
    ids: Collection[UUID],
    names: Collection[str],
    subjects: Collection[str],
    now: datetime,
    *,
    skip_locked: bool,
) -> list[AccountRow]:
    """`lock_accounts`, with their open grants and the windows of these names and subjects that have not ended.

    Those of a row that is not `fresh` have to be read again.
    """
    sql = _LOCK_AND_READ_FREE if skip_locked else _LOCK_AND_READ_ALL
    rows: list[AccountRow] = await tx.fetch(sql, sorted(ids), names, subjects, now)
    return rows


async def read_account(connection: Connection, account_id: UUID) -> list[AccountRow]:
    """The account as it stands, unlocked."""
    rows: list[AccountRow] = await connection.fetch(_ACCOUNTS + "WHERE id = $1", account_id)
    return rows


_WRITE_ACCOUNTS: Final = """
UPDATE accounts a SET queue = n.queue::jsonb, granted = a.granted + n.granted, available = a.available + n.available,
                      held = a.held + n.held, charged = a.charged + n.charged, expired = a.expired + n.expired
FROM unnest($1::uuid[], $2::text[], $3::bigint[], $4::bigint[], $5::bigint[], $6::bigint[], $7::bigint[])
     AS n (id, queue, granted, available, held, charged, expired)
WHERE a.id = n.id
"""


def write_accounts(states: Sequence[State], times: Sequence[int]) -> Part:
    """The queues of locked accounts, and what their entries make of their credits."""
    sums = [
        [sum(getattr(entry, name) for entry in state.entries) for state in states]
        for name in ("granted", "available", "held", "charged", "expired")
    ]
    ids = [state.id for state in states]
    return Part(_WRITE_ACCOUNTS, [ids, [state.queue.document(times) for state in states], *sums])


# --- submitting ---------------------------------------------------------------------------------------------------


class New(Struct):
    """A task that was admitted, its sources, and what its row says beside what its owner may see. `fetchable`: waiting, and its bytes can
    be had now; `waits_until`: when it is given up where they cannot; `day_starts_at`: the window that counts it.
    """

    task: Task
    tag: int | None
    given: tuple[Given, ...] = ()
    fetchable: bool = False
    waits_until: datetime | None = None
    day_starts_at: datetime | None = None


#: What differs from task to task.
_OF_EACH: Final = {"id": "uuid", "request_id": "text", "tag": "bigint", "input": "bytea", "metadata": "bytea"}
#: What many tasks of one transaction have in common; it travels once for all of them.
_IN_COMMON: Final = {
    "account_id": "uuid",
    "environment": "text",
    "key_id": "uuid",
    "model": "text",
    "lane": "smallint",
    "priority": "smallint",
    "status": "text",
    "status_reason": "text",
    "status_message": "text",
    "source_id": "uuid",
    "source_url": "text",
    "retry_of": "uuid",
    "max_attempts": "smallint",
    "deadline_seconds": "int",
    "retention_seconds": "int",
    "max_credits": "int",
    "callback_url": "text",
    "callback_all": "boolean",
    "dialect": "text",
    "paid_at_download": "boolean",
    "cost_held": "int",
    "price": "bytea",
    "fetchable": "boolean",
    "waits_until": "timestamptz",
    "day_starts_at": "timestamptz",
}
_INSERT_TASKS: Final = """
INSERT INTO tasks ({each}, {common}, ready, created_at, queued_at, ended_at, expires_at)
SELECT {each}, {common}, tag IS NOT NULL, $1::timestamptz, CASE status WHEN 'queued' THEN $1::timestamptz END,
       CASE status WHEN 'failed' THEN $1::timestamptz END,
       $1::timestamptz + make_interval(secs => retention_seconds)
FROM unnest($2::int[], {each_arrays}) AS one (of, {each})
JOIN ROWS FROM (unnest({common_arrays})) WITH ORDINALITY AS many ({common}, number) ON number = of
""".format(
    each=", ".join(_OF_EACH),
    common=", ".join(_IN_COMMON),
    each_arrays=", ".join(f"${n}::{kind}[]" for n, kind in enumerate(_OF_EACH.values(), 3)),
    common_arrays=", ".join(
        f"${n}::{kind}[]" for n, kind in enumerate(_IN_COMMON.values(), 3 + len(_OF_EACH))
    ),
)
_NOT_OF_TASK: Final = ("fetchable", "waits_until", "day_starts_at")
_common: Final = attrgetter(*(name for name in _IN_COMMON if name not in _NOT_OF_TASK))


def insert_tasks(new: Sequence[New], now: datetime) -> Part:
    """The admitted tasks."""
    numbers: dict[tuple[Any, ...], int] = {}
    of = [
        numbers.setdefault(
            (*_common(one.task), one.fetchable, one.waits_until, one.day_starts_at), len(numbers) + 1
        )
        for one in new
    ]
    each = (
        [one.task.id for one in new],
        [one.task.request_id for one in new],
        [one.tag for one in new],
        [one.task.input for one in new],
        [one.task.metadata for one in new],
    )
    return Part(_INSERT_TASKS, [now, of, *each, *zip(*numbers, strict=True)])


_INSERT_SOURCES: Final = """
INSERT INTO task_sources (task_id, position, source_id, source_url)
SELECT * FROM unnest($1::uuid[], $2::smallint[], $3::uuid[], $4::text[])
"""


def insert_sources(new: Sequence[New]) -> Part:
    """The sources of admitted tasks that have more than one."""
    rows = [
        (one.task.id, position, source.source_id, source.source_url)
        for one in new
        for position, source in enumerate(one.given)
    ]
    return Part(_INSERT_SOURCES, list(zip(*rows, strict=True)))


_REMEMBER: Final = """
INSERT INTO idempotency AS i (account_id, route, key, fingerprint, task_id, expires_at)
SELECT * FROM unnest($1::uuid[], $2::text[], $3::text[], $4::bytea[], $5::uuid[], $6::timestamptz[])
ON CONFLICT (account_id, route, key) DO UPDATE
SET fingerprint = excluded.fingerprint, task_id = excluded.task_id, expires_at = excluded.expires_at
"""


def remember(requests: Sequence[tuple[UUID, str, str, bytes, UUID, datetime]]) -> Part:
    """Which request made which task: (account, route, key, fingerprint, task, until)."""
    return Part(_REMEMBER, list(zip(*requests, strict=True)))


async def read_remembered(
    tx: Connection, requests: Collection[tuple[UUID, str, str]], now: datetime
) -> dict[tuple[UUID, str, str], tuple[bytes, UUID]]:
    """By (account, route, key), the fingerprint and the task of requests that were admitted before."""
    rows = await tx.fetch(
        """
        SELECT i.account_id, i.route, i.key, i.fingerprint, i.task_id
        FROM unnest($1::uuid[], $2::text[], $3::text[]) AS n (account_id, route, key)
        JOIN idempotency i ON i.account_id = n.account_id AND i.route = n.route AND i.key = n.key
        WHERE i.expires_at > $4
        """,
        *zip(*requests, strict=True),
        now,
    )
    return {
        (row["account_id"], row["route"], row["key"]): (row["fingerprint"], row["task_id"]) for row in rows
    }


async def forget_remembered(tx: Connection, now: datetime, rows: int) -> None:
    await tx.execute(
        """
        DELETE FROM idempotency WHERE ctid = ANY(ARRAY(
            SELECT ctid FROM idempotency WHERE expires_at <= $1 LIMIT $2 FOR UPDATE SKIP LOCKED))
        """,
        now,
        rows,
    )


# --- claiming: touches no account ---------------------------------------------------------------------------------

#: An array, and no join: of that the planner knows, before it is told how many are wanted, that the rows are few.
_CLAIMED: Final = """
       t.id, t.lease_id, t.account_id, t.environment, t.request_id, t.model, t.lane, t.input, t.attempts,
       t.max_attempts, t.deadline_seconds, t.retention_seconds, t.source_id, t.source_url, t.key_id, t.priority,
       t.max_credits, t.cost_held, t.day_starts_at, t.callback_url, t.callback_all, t.dialect,
       t.paid_at_download, a.listens OR a.followed_until IS NOT NULL AS listens, b.object_key, b.filename
"""
_CLAIM_NEXT: Final = f"""
, t AS (
    UPDATE tasks SET status = 'running', ready = false, lease_id = gen_random_uuid(), leased_until = $3,
                     attempts = attempts + 1, started_at = coalesce(started_at, $2), stage = 'fetching', progress = 0
    WHERE id = ANY(ARRAY(SELECT id FROM next)) RETURNING *
)
SELECT {_CLAIMED} FROM t JOIN accounts a ON a.id = t.account_id LEFT JOIN blobs b ON b.id = t.source_id ORDER BY t.tag
"""  # noqa: S608
_CLAIM: Final = f"""
WITH next AS (
    SELECT id FROM tasks WHERE lane = $4 AND ready AND environment <> 'test' ORDER BY lane, tag LIMIT $1
    FOR UPDATE SKIP LOCKED
){_CLAIM_NEXT}"""  # noqa: S608
_CLAIM_TESTS: Final = f"""
WITH next AS (
    SELECT id FROM tasks WHERE ready AND environment = 'test' ORDER BY tag LIMIT $1 FOR UPDATE SKIP LOCKED
){_CLAIM_NEXT}"""  # noqa: S608
_CLAIM_FETCHES: Final = f"""
WITH next AS (
    SELECT id FROM tasks WHERE fetchable AND (source_url IS NOT NULL) = $3
    ORDER BY id LIMIT $1 FOR UPDATE SKIP LOCKED
), t AS (
    UPDATE tasks SET fetchable = false, lease_id = gen_random_uuid(), leased_until = $2, attempts = attempts + 1
    WHERE id = ANY(ARRAY(SELECT id FROM next)) RETURNING *
)
SELECT {_CLAIMED} FROM t JOIN accounts a ON a.id = t.account_id LEFT JOIN blobs b ON b.id = t.source_id ORDER BY t.id
"""  # noqa: S608


async def claim(
    connection: Connection, lane: int, rows: int, now: datetime, lease: timedelta
) -> list[Claimed]:
    """The next ready tasks of a lane, in the order of their tags, each under a fresh random lease. None of test keys."""
    return [Claimed(**row) for row in await connection.fetch(_CLAIM, rows, now, now + lease, lane)]


async def claim_tests(connection: Connection, rows: int, now: datetime, lease: timedelta) -> list[Claimed]:
    """The next ready tasks of test keys, of either lane."""
    return [Claimed(**row) for row in await connection.fetch(_CLAIM_TESTS, rows, now, now + lease)]


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


_ARRIVE: Final = """
UPDATE tasks t SET status = 'queued', ready = n.tag IS NOT NULL, tag = n.tag, queued_at = $1, waits_until = NULL,
                   lease_id = NULL, leased_until = NULL, attempts = 0, cost_held = n.cost, price = n.price
FROM unnest($2::uuid[], $3::uuid[], $4::bigint[], $5::int[], $6::bytea[]) AS n (id, lease_id, tag, cost, price)
WHERE t.id = n.id AND t.lease_id = n.lease_id AND t.status = 'waiting'
"""


def arrive(rows: Sequence[tuple[UUID, UUID, int | None, int, bytes | None]], now: datetime) -> Part:
    """Waiting -> queued for these (task, lease, tag, cost, price), which wait under their leases."""
    return Part(_ARRIVE, [now, *zip(*rows, strict=True)])


class Turn(NamedTuple):
    """Which source a waiting task waits for next."""

    task_id: UUID
    lease_id: UUID
    source_id: UUID | None
    source_url: str | None
    fetchable: bool
    waits_until: datetime | None


async def turn(tx: Connection, turns: Sequence[Turn]) -> None:
    """These tasks, which wait under their leases, wait for another of their sources; others may claim them."""
    await tx.execute(
        """
        UPDATE tasks t SET source_id = n.source_id, source_url = n.source_url, fetchable = n.fetchable,
                           waits_until = n.waits_until, lease_id = NULL, leased_until = NULL, attempts = 0
        FROM unnest($1::uuid[], $2::uuid[], $3::uuid[], $4::text[], $5::boolean[], $6::timestamptz[])
             AS n (id, lease_id, source_id, source_url, fetchable, waits_until)
        WHERE t.id = n.id AND t.lease_id = n.lease_id AND t.status = 'waiting'
        """,
        *zip(*turns, strict=True),
    )


async def turn_to_first(tx: Connection, task_ids: Sequence[UUID]) -> None:
    """All sources of these tasks have been seen."""
    await tx.execute(
        "UPDATE tasks t SET source_id = s.source_id, source_url = s.source_url FROM task_sources s "
        "WHERE t.id = ANY($1) AND s.task_id = t.id AND s.position = 0",
        task_ids,
    )


_TOLD_ENDED: Final = """
t.id, t.account_id, t.environment, t.lane, t.model, t.key_id, t.cost_held, t.cost_charged, t.day_starts_at, t.status,
t.status_reason, t.callback_url, t.dialect,
CASE WHEN t.status = 'succeeded' AND t.environment <> 'test' THEN extract(epoch FROM t.ended_at - t.started_at)::float8
END AS run_seconds
"""
_COUNTED: Final = """
counted AS (
    INSERT INTO usage AS u (account_id, hour, model, key_id, succeeded, failed, cancelled, credits, runs, run_seconds)
    SELECT account_id, date_trunc('hour', $1::timestamptz), model,
           coalesce(key_id, '00000000-0000-0000-0000-000000000000'::uuid),
           count(*) FILTER (WHERE status = 'succeeded'), count(*) FILTER (WHERE status = 'failed'),
           count(*) FILTER (WHERE status = 'cancelled'), coalesce(sum(cost_charged), 0), count(run_seconds),
           coalesce(sum(run_seconds), 0)
    FROM ended GROUP BY account_id, model, key_id
    ON CONFLICT (account_id, hour, model, key_id) DO UPDATE
    SET succeeded = u.succeeded + excluded.succeeded, failed = u.failed + excluded.failed,
        cancelled = u.cancelled + excluded.cancelled, credits = u.credits + excluded.credits,
        runs = u.runs + excluded.runs, run_seconds = u.run_seconds + excluded.run_seconds
)
"""
_END: Final = f"""
WITH ended AS (
    UPDATE tasks t SET status = n.status, status_reason = n.reason, status_message = n.message, outputs = n.outputs,
           ended_at = $1::timestamptz, ready = false, fetchable = false, leased_until = NULL, waits_until = NULL,
           progress = CASE n.status WHEN 'succeeded' THEN 1 ELSE t.progress END, stage = NULL,
           cost_charged = CASE n.status WHEN 'succeeded' THEN least(coalesce(n.charge, t.cost_held), t.cost_held) ELSE 0 END,
           expires_at = $1::timestamptz + make_interval(secs => t.retention_seconds)
    FROM unnest($2::uuid[], $3::uuid[], $4::text[], $5::text[], $6::text[], $7::bytea[], $8::int[])
         AS n (id, lease_id, status, reason, message, outputs, charge)
    WHERE t.id = n.id AND t.lease_id = n.lease_id AND t.ended_at IS NULL AND t.leased_until IS NOT NULL
    RETURNING {_TOLD_ENDED}, CASE WHEN t.queued_at IS NULL THEN 'waiting' ELSE 'slots' END AS was
), {_COUNTED}
SELECT * FROM ended
"""  # noqa: S608 - our own text


async def end(tx: Connection, endings: Sequence[tuple[object, ...]], now: datetime) -> list[Any]:
    """End these (task, lease, status, reason, message, outputs, charge) where the lease still holds, and count them.

    `charge`: credits of the hold that are taken; None: all of it, where it succeeded. Returns what ended now; `was` is
    what the account's queue has it as.
    """
    found: list[Any] = await tx.fetch(_END, now, *zip(*endings, strict=True))
    return found


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


async def make_ready(
    tx: Connection, account_id: UUID, lane: int, model: str, key: str, tags: Sequence[int]
) -> None:
    """As many of the group's parked tasks as there are tags become ready: the most urgent first, then the oldest."""
    of_key = "key_id = $6" if key else "key_id IS NULL AND $6::uuid IS NULL"
    status: str = await tx.execute(
        f"""
        WITH next AS MATERIALIZED (
            SELECT id, row_number() OVER (ORDER BY priority DESC, id) AS place FROM (
                SELECT id, priority FROM tasks
                WHERE account_id = $2 AND lane = $3 AND model = $4 AND status = 'queued' AND NOT ready AND {of_key}
                ORDER BY priority DESC, id LIMIT $5 FOR UPDATE
            ) AS first
        )
        UPDATE tasks t SET ready = true, tag = ($1::bigint[])[next.place] FROM next WHERE t.id = next.id
        """,  # noqa: S608 - our own text
        list(tags),
        account_id,
        lane,
        model,
        len(tags),
        UUID(key) if key else None,
    )
    assert status == f"UPDATE {len(tags)}", "the account's row counts parked tasks that are not there"


_CANCEL: Final = f"""
WITH old AS (
    SELECT id, CASE WHEN status = 'waiting' THEN 'waiting' WHEN ready OR status = 'running' THEN 'slots' ELSE 'parked'
               END AS was
    FROM tasks WHERE id = $2 AND ended_at IS NULL FOR UPDATE
), ended AS (
    UPDATE tasks t SET status = 'cancelled', status_reason = 'cancelled_by_user', ended_at = $1::timestamptz, ready = false,
           fetchable = false, leased_until = NULL, waits_until = NULL, stage = NULL,
           expires_at = $1::timestamptz + make_interval(secs => t.retention_seconds)
    FROM old WHERE t.id = old.id
    RETURNING {_TOLD_ENDED}, old.was
), {_COUNTED}
SELECT * FROM ended
"""  # noqa: S608 - our own text


async def cancel(tx: Connection, task_id: UUID, now: datetime) -> list[Any]:
    """Cancel the task unless it has ended; returns it as `end` does, or nothing."""
    found: list[Any] = await tx.fetch(_CANCEL, now, task_id)
    return found


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
               lease_id = NULL, leased_until = NULL, stage = NULL, progress = 0,
               lost_at = CASE t.status WHEN 'running' THEN array_append(t.lost_at, $4::timestamptz) ELSE t.lost_at END
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


async def find_late(connection: Connection, now: datetime, rows: int) -> list[Any]:
    """Waiting tasks whose bytes did not come in time: (id, account_id, model, input, position), the last of the source
    that is missing, where there is more than one.
    """
    found: list[Any] = await connection.fetch(
        """
        SELECT t.id, t.account_id, t.model, t.input, (
            SELECT s.position FROM task_sources s JOIN blobs b ON b.id = s.source_id
            WHERE s.task_id = t.id AND s.source_url IS NULL AND b.object_key IS NULL
            ORDER BY b.expires_at, s.position LIMIT 1) AS position
        FROM tasks t WHERE t.status = 'waiting' AND t.waits_until < $1 AND t.leased_until IS NULL
        ORDER BY t.waits_until LIMIT $2
        """,
        now,
        rows,
    )
    return found


_GIVE_UP: Final = f"""
WITH ended AS (
    UPDATE tasks t SET status = 'failed', status_reason = 'input_timeout', ended_at = $1::timestamptz, fetchable = false,
           status_message = n.message, waits_until = NULL,
           expires_at = $1::timestamptz + make_interval(secs => t.retention_seconds)
    FROM unnest($2::uuid[], $3::text[]) AS n (id, message)
    WHERE t.id = n.id AND t.status = 'waiting' AND t.waits_until < $1 AND t.leased_until IS NULL
    RETURNING {_TOLD_ENDED}, 'waiting' AS was
), {_COUNTED}
SELECT * FROM ended
"""  # noqa: S608 - our own text


async def give_up_waiting(tx: Connection, late: Sequence[tuple[UUID, str]], now: datetime) -> list[Any]:
    """Fail those of these (task, message) whose bytes have still not come; returns them as `end` does."""
    found: list[Any] = await tx.fetch(_GIVE_UP, now, *zip(*late, strict=True))
    return found


# --- renditions ---------------------------------------------------------------------------------------------------


async def find_rendition(connection: Connection, source_id: UUID, parameters: bytes) -> UUID | None:
    """The task that makes this form of the file."""
    found: UUID | None = await connection.fetchval(
        "SELECT task_id FROM renditions WHERE source_id = $1 AND parameters = $2", source_id, parameters
    )
    return found


async def count_renditions(connection: Connection, source_id: UUID) -> int:
    found: int = await connection.fetchval("SELECT count(*) FROM renditions WHERE source_id = $1", source_id)
    return found


async def insert_rendition(tx: Connection, source_id: UUID, parameters: bytes, task_id: UUID) -> UUID:
    """Under the file's lock."""
    await tx.execute(
        "INSERT INTO renditions (source_id, parameters, task_id) VALUES ($1, $2, $3)",
        source_id,
        parameters,
        task_id,
    )
    return task_id


async def replace_rendition(
    tx: Connection, source_id: UUID, parameters: bytes, old: UUID, new: UUID
) -> UUID | None:
    """Another task in place of `old`; the one that is there now, None where the file is gone."""
    found: UUID | None = await tx.fetchval(
        """
        UPDATE renditions SET task_id = CASE WHEN task_id = $3 THEN $4 ELSE task_id END
        WHERE source_id = $1 AND parameters = $2 RETURNING task_id
        """,
        source_id,
        parameters,
        old,
        new,
    )
    return found


async def list_renditions(connection: Connection, source_ids: Sequence[UUID]) -> list[UUID]:
    """The tasks that make, or have made, other forms of these files."""
    rows = await connection.fetch(
        "SELECT task_id FROM renditions WHERE source_id = ANY($1)", list(source_ids)
    )
    return [row["task_id"] for row in rows]


async def forget_renditions(tx: Connection, source_ids: Sequence[UUID]) -> list[UUID]:
    """Of files that are deleted: nobody finds their renditions any more. The tasks that made them."""
    rows = await tx.fetch(
        "DELETE FROM renditions WHERE source_id = ANY($1) RETURNING task_id", list(source_ids)
    )
    return [row["task_id"] for row in rows]


# --- segments: what is finished of a film ---------------------------------------------------------------------------


class Segment(NamedTuple):
    """One that is whole; `said`: what is known at its end."""

    number: int
    recipe: str
    said: bytes
    object_key: str


async def read_segments(connection: Connection, task_id: UUID) -> list[Segment]:
    """In their order."""
    rows = await connection.fetch(
        "SELECT number, recipe, said, object_key FROM segments WHERE task_id = $1 ORDER BY number", task_id
    )
    return [Segment(**row) for row in rows]


async def insert_segment(tx: Connection, task_id: UUID, lease_id: UUID, segment: Segment) -> list[str] | None:
    """The next segment of a task that runs under this lease; the objects of those that it replaces. None: it does not."""
    held = await tx.fetchval(
        "SELECT true FROM tasks WHERE id = $1 AND lease_id = $2 AND status = 'running' FOR SHARE",
        task_id,
        lease_id,
    )
    if not held:
        return None
    replaced = await tx.fetch(
        "DELETE FROM segments WHERE task_id = $1 AND number >= $2 RETURNING object_key",
        task_id,
        segment.number,
    )
    await tx.execute(
        "INSERT INTO segments (task_id, number, recipe, said, object_key) VALUES ($1, $2, $3, $4, $5)",
        task_id,
        *segment,
    )
    return [row["object_key"] for row in replaced]


async def forget_segments(tx: Connection, rows: int) -> list[str]:
    """Of tasks that have ended, or are gone: their objects, which nobody wants any more."""
    found = await tx.fetch(
        """
        DELETE FROM segments WHERE (task_id, number) IN (
            SELECT s.task_id, s.number FROM segments s LEFT JOIN tasks t ON t.id = s.task_id
            WHERE t.id IS NULL OR t.status IN ('succeeded', 'failed', 'cancelled') LIMIT $1)
        RETURNING object_key
        """,
        rows,
    )
    return [row["object_key"] for row in found]


# --- ends ---------------------------------------------------------------------------------------------------------


async def take_expiring(tx: Connection, now: datetime, before_end: timedelta, rows: int) -> list[Any]:
    """Tasks of accounts that listen or are followed whose end has come nearer than that since the last call: (id, account_id,
    environment), in the order of their ends. One caller at a time.
    """
    told = await tx.fetchval(
        "INSERT INTO counters AS c (name, value) VALUES ('expiring_told', $1) ON CONFLICT (name) DO UPDATE SET value = c.value "
        "RETURNING value",
        microsecond(now + before_end),
    )
    found: list[Any] = await tx.fetch(
        """
        SELECT t.id, t.account_id, t.environment, t.expires_at FROM tasks t JOIN accounts a ON a.id = t.account_id
        WHERE t.ended_at IS NOT NULL AND t.expires_at > 'epoch'::timestamptz + $1 * interval '1 microsecond'
          AND t.expires_at <= $2 AND (a.listens OR a.followed_until IS NOT NULL)
          AND t.expires_at - t.ended_at > $3::interval AND t.model <> 'rendition'
        ORDER BY t.expires_at FETCH FIRST ($4::int) ROWS WITH TIES
        """,  # with ties: tasks that ended together end together, and the cursor has no other place between them
        told,
        now + before_end,
        before_end,
        rows,
    )
    reached = found[-1]["expires_at"] if len(found) >= rows else now + before_end
    await tx.execute("UPDATE counters SET value = $1 WHERE name = 'expiring_told'", microsecond(reached))
    return found


async def forget(tx: Connection, expired_before: datetime, rows: int) -> int:
    """Remove the rows of tasks whose tombstone has stood long enough."""
    gone = await tx.fetch(
        """
        DELETE FROM tasks WHERE id IN (
            SELECT id FROM tasks WHERE expires_at < $1 AND ended_at IS NOT NULL
            ORDER BY expires_at LIMIT $2 FOR UPDATE SKIP LOCKED)
        RETURNING id, account_id, environment, dialect
        """,
        expired_before,
        rows,
    )
    await tx.execute("DELETE FROM task_sources WHERE task_id = ANY($1)", [row["id"] for row in gone])
    if made := Counter(
        (row["account_id"], made_through(row["environment"], row["dialect"]))
        for row in gone
        if row["dialect"] != NATIVE
    ):
        await lock_accounts(tx, {account_id for account_id, _ in made})
        less = [
            (account_id, MADE, subject, FOR_EVER.starts_at, count_)
            for (account_id, subject), count_ in made.items()
        ]
        await write(tx, [windows.give_back(less)])
    return len(gone)


async def accounts_with_parked(connection: Connection) -> list[UUID]:
    """Accounts that have parked tasks: candidates for promotion after a ceiling was raised."""
    rows = await connection.fetch(
        """
        WITH RECURSIVE one AS (
            (SELECT account_id FROM tasks WHERE status = 'queued' AND NOT ready ORDER BY account_id LIMIT 1)
            UNION ALL
            SELECT (SELECT t.account_id FROM tasks t WHERE t.status = 'queued' AND NOT t.ready
                    AND t.account_id > one.account_id ORDER BY t.account_id LIMIT 1)
            FROM one WHERE one.account_id IS NOT NULL
        )
        SELECT account_id FROM one WHERE account_id IS NOT NULL
        """  # as many looks into the index as there are accounts, however many tasks are parked
    )
    return [row["account_id"] for row in rows]


# --- reading ------------------------------------------------------------------------------------------------------

_TASK: Final = f"SELECT {', '.join(Task.__struct_fields__)} FROM tasks "  # noqa: S608 - our own names


async def read_tasks(connection: Connection, ids: Sequence[UUID]) -> dict[UUID, Task]:
    return {row[0]: Task(*row) for row in await connection.fetch(_TASK + "WHERE id = ANY($1)", ids)}


async def read_sources(
    connection: Connection, task_ids: Collection[UUID]
) -> dict[UUID, list[tuple[UUID | None, str | None]]]:
    """The sources (blob, URL) of those of these tasks that have more than one, in their order."""
    found: dict[UUID, list[tuple[UUID | None, str | None]]] = {}
    for row in await connection.fetch(
        "SELECT task_id, source_id, source_url FROM task_sources WHERE task_id = ANY($1) ORDER BY task_id, position",
        list(task_ids),
    ):
        found.setdefault(row["task_id"], []).append((row["source_id"], row["source_url"]))
    return found


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
          AND ($4::text IS NULL OR status = $4) AND ($5::text IS NULL AND model <> 'rendition' OR model = $5)
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
    return [Task(*row) for row in found]


#: What is skipped is read from the index alone.
_PAGE: Final = """
SELECT id FROM tasks WHERE account_id = $1 AND environment = $2 AND dialect = $3 AND dialect <> 'native'
ORDER BY id DESC OFFSET $4 LIMIT $5
"""


async def page_of_tasks(
    connection: Connection, account_id: UUID, environment: str, dialect: str, skip: int, rows: int
) -> list[Task]:
    """The newest first of those that came through a dialect, for as long as anything is known of them."""
    found = await connection.fetch(
        f"{_TASK} WHERE id = ANY(ARRAY({_PAGE})) ORDER BY id DESC",
        account_id,
        environment,
        dialect,
        skip,
        rows,
    )
    return [Task(*row) for row in found]


async def read_made(connection: Connection, account_id: UUID, environment: str, dialect: str) -> int:
    """How many tasks `page_of_tasks` has to show, as they were counted when they were made and forgotten."""
    place = account_id, MADE, made_through(environment, dialect)
    found = await windows.read_windows(connection, [(*place, FOR_EVER.starts_at)])
    return sum(used for _, used in found.get(place, ()))


async def read_usage(
    connection: Connection,
    account_id: UUID,
    since: datetime,
    until: datetime,
    by: Collection[str],
    rows: int,
) -> list[Any]:
    """What ended in that time, summed by any of day, model and key: every column that `usage.Used` has."""
    found: list[Any] = await connection.fetch(
        """
        SELECT CASE WHEN $4 THEN (hour AT TIME ZONE 'UTC')::date END AS day, CASE WHEN $5 THEN model END AS model,
               CASE WHEN $6 THEN nullif(key_id, '00000000-0000-0000-0000-000000000000') END AS key_id,
               sum(succeeded)::bigint AS succeeded, sum(failed)::bigint AS failed, sum(cancelled)::bigint AS cancelled,
               sum(credits)::bigint AS credits
        FROM usage WHERE account_id = $1 AND hour >= $2 AND hour < $3
        GROUP BY 1, 2, 3 ORDER BY 1, 2, 3 LIMIT $7
        """,
        account_id,
        since,
        until,
        "day" in by,
        "model" in by,
        "key" in by,
        rows,
    )
    return found


# --- waiting, and keeping -----------------------------------------------------------------------------------------


async def list_happened(
    connection: Connection, account_id: UUID, environment: str, after: tuple[datetime, UUID], rows: int
) -> list[Any]:
    """What happened in the account later than `after`, in that order: (at, id, name, task_id, facts). The ends of tasks have the
    task's own id, and no name.
    """
    found: list[Any] = await connection.fetch(
        """
        (SELECT ended_at AS at, id, NULL AS name, id AS task_id, NULL AS facts FROM tasks
         WHERE account_id = $1 AND environment = $2 AND ended_at IS NOT NULL AND (ended_at, id) > ($3, $4)
           AND model <> 'rendition'
         ORDER BY ended_at, id LIMIT $5)
        UNION ALL
        (SELECT at, id, name, task_id, facts FROM events
         WHERE account_id = $1 AND environment = $2 AND (at, id) > ($3, $4) ORDER BY at, id LIMIT $5)
        ORDER BY at, id LIMIT $5
        """,
        account_id,
        environment,
        *after,
        rows,
    )
    return found


async def read_ready_tags(connection: Connection, lane: int, rows: int) -> list[int]:
    """The first start tags of the lane, in their order: who is next."""
    found = await connection.fetch(
        "SELECT tag FROM tasks WHERE ready AND lane = $1 ORDER BY lane, tag LIMIT $2", lane, rows
    )
    return [row[0] for row in found]


async def read_runs(connection: Connection, since: datetime) -> dict[str, tuple[int, float]]:
    """By model: how many runs have succeeded since that hour began, and the seconds that they took in all."""
    found = await connection.fetch(
        """
        SELECT model, sum(runs)::bigint, sum(run_seconds) FROM usage
        WHERE hour >= date_trunc('hour', $1::timestamptz) AND runs > 0 GROUP BY model
        """,
        since,
    )
    return {row[0]: (row[1], row[2]) for row in found}


async def read_capacity(connection: Connection, seen_after: datetime) -> tuple[int, int]:
    """How many light and heavy tasks the workers that are there run at once."""
    light, heavy = await connection.fetchrow(
        "SELECT coalesce(sum(light), 0)::int, coalesce(sum(heavy), 0)::int FROM workers WHERE seen_at > $1",
        seen_after,
    )
    return light, heavy


async def read_lost_at(connection: Connection, task_id: UUID) -> list[datetime]:
    """When each worker that had the task was found to be lost."""
    found: list[datetime] | None = await connection.fetchval(
        "SELECT lost_at FROM tasks WHERE id = $1", task_id
    )
    return found or []


async def move_expiry(tx: Connection, task_id: UUID, expires_at: datetime, now: datetime) -> bool:
    """An ended task is kept until then; False where its time is over already."""
    status: str = await tx.execute(
        "UPDATE tasks SET expires_at = $2 WHERE id = $1 AND ended_at IS NOT NULL AND expires_at > $3",
        task_id,
        expires_at,
        now,
    )
    return status == "UPDATE 1"


# --- watching: each count walks a partial index, never the table --------------------------------------------------


async def count_unended(connection: Connection, now: datetime) -> list[tuple[str, int, str, int, float]]:
    """(state, lane, model, how many, age of the oldest in seconds) of tasks that have not ended; what is not there is
    not counted.
    """
    rows = await connection.fetch(
        """
        SELECT state, lane, model, count(*), greatest(0, extract(epoch FROM $1 - min(created_at)))::float8 AS oldest FROM (
            SELECT 'waiting' AS state, lane, model, created_at FROM tasks WHERE status = 'waiting'
            UNION ALL
            SELECT 'parked', lane, model, created_at FROM tasks WHERE status = 'queued' AND NOT ready
            UNION ALL
            SELECT 'queued', lane, model, created_at FROM tasks WHERE ready
            UNION ALL
            SELECT 'running', lane, model, created_at FROM tasks WHERE leased_until IS NOT NULL AND status = 'running'
        ) AS unended GROUP BY state, lane, model
        """,
        now,
    )
    return [tuple(row) for row in rows]


async def read_ledger(connection: Connection) -> tuple[int, int, int]:
    """Credits in open holds, by how many accounts and grants differ, and how many leases were lost so far."""
    row = await connection.fetchrow(
        """
        SELECT a.held, abs(a.granted - g.granted) + abs(a.available - g.available) + abs(a.held - g.held)
               + abs(a.charged - g.charged) + abs(a.expired - g.expired) AS imbalance,
               coalesce((SELECT value FROM counters WHERE name = 'leases_lost'), 0) AS leases_lost
        FROM (SELECT coalesce(sum(granted), 0)::bigint AS granted, coalesce(sum(available), 0)::bigint AS available,
                     coalesce(sum(held), 0)::bigint AS held, coalesce(sum(charged), 0)::bigint AS charged,
                     coalesce(sum(expired), 0)::bigint AS expired FROM accounts) AS a,
             (SELECT coalesce(sum(granted), 0)::bigint AS granted, coalesce(sum(available), 0)::bigint AS available,
                     coalesce(sum(held), 0)::bigint AS held, coalesce(sum(charged), 0)::bigint AS charged,
                     coalesce(sum(expired), 0)::bigint AS expired FROM grants) AS g
        """
    )
    return row["held"], row["imbalance"], row["leases_lost"]


async def count_lost(tx: Connection, leases: int) -> None:
    """So many leases more were lost."""
    await tx.execute(
        "INSERT INTO counters AS c (name, value) VALUES ('leases_lost', $1) "
        "ON CONFLICT (name) DO UPDATE SET value = c.value + excluded.value",
        leases,
    )


async def worker_seen_at(connection: Connection) -> datetime | None:
    """When a worker last said that it is there."""
    seen_at: datetime | None = await connection.fetchval("SELECT max(seen_at) FROM workers")
    return seen_at
