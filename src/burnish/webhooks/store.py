"""The SQL of endpoints, receivers and deliveries."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any, Final
from uuid import UUID

from burnish.storage.postgres import Connection
from burnish.webhooks.endpoint import Endpoint
from burnish.webhooks.event import NATIVE, OF_STATUS, Delivery

# --- owing --------------------------------------------------------------------------------------------------------

_OWE: Final = """
WITH n AS (
    SELECT * FROM unnest($2::uuid[], $3::text[], $4::text[], $5::uuid[], $6::bytea[], $7::text[], $8::text[],
                         $9::text[])
             AS n (account_id, environment, event, task_id, facts, callback_url, callback_receiver, dialect)
), listening AS (
    -- Held, so that none is deleted while something is owed to it.
    SELECT id, account_id, environment, events, dialect FROM endpoints
    WHERE account_id IN (SELECT account_id FROM n) AND kind = 'endpoint' AND disabled_at IS NULL FOR KEY SHARE
), owed AS (
    INSERT INTO deliveries (id, account_id, environment, receiver, endpoint_id, url, event, dialect, task_id, facts,
                            state, due_at, created_at)
    SELECT gen_random_uuid(), account_id, environment, receiver, endpoint_id, url, event, dialect, task_id, facts,
           'due', $1, $1
    FROM (
        SELECT n.account_id, n.environment, e.id::text AS receiver, e.id AS endpoint_id, NULL::text AS url, n.event,
               n.task_id, n.facts, e.dialect
        FROM n JOIN listening e ON e.account_id = n.account_id AND e.environment = n.environment
                               AND (e.events = '{}' OR n.event = ANY(e.events)) AND e.dialect IN ('native', n.dialect)
        UNION ALL
        SELECT n.account_id, n.environment, n.callback_receiver, NULL, n.callback_url, n.event, n.task_id, n.facts,
               n.dialect
        FROM n WHERE n.callback_url IS NOT NULL
    ) AS wanted
    RETURNING receiver, account_id, endpoint_id
), woken AS (
    INSERT INTO receivers AS r (id, account_id, endpoint_id, due_at)
    SELECT DISTINCT receiver, account_id, endpoint_id, $1::timestamptz FROM owed ORDER BY receiver
    ON CONFLICT (id) DO UPDATE
    -- A receiver that fails is left alone until its time; what is new waits behind it.
    SET due_at = CASE WHEN r.failures = 0 THEN least(r.due_at, excluded.due_at) ELSE coalesce(r.due_at, excluded.due_at) END
), kept AS (
    INSERT INTO events (id, account_id, environment, name, task_id, facts, at)
    SELECT gen_random_uuid(), n.account_id, n.environment, n.event, n.task_id, n.facts, $1
    FROM n
    -- Asked of each account by its id, however many are followed.
    WHERE n.event <> ALL($10::text[]) AND (SELECT a.followed_until FROM accounts a WHERE a.id = n.account_id) IS NOT NULL
    RETURNING account_id
)
SELECT (SELECT count(*) FROM owed) AS owed, ARRAY(SELECT DISTINCT account_id FROM kept) AS followed
"""


async def owe(
    tx: Connection,
    events: Sequence[tuple[UUID, str, str, UUID | None, bytes | None, str | None, str | None, str]],
    now: datetime,
) -> tuple[int, list[UUID]]:
    """Deliveries of these (account, environment, event, task, facts, callback, its receiver, dialect) to all who want them,
    and a row for those who follow, but of ends; how many deliveries, and the accounts that follow.
    """
    made = await tx.fetchrow(_OWE, now, *zip(*events, strict=True), list(OF_STATUS.values()))
    return made["owed"], made["followed"]


# --- following ----------------------------------------------------------------------------------------------------


async def follow(tx: Connection, account_id: UUID, until: datetime) -> None:
    """The account counts as followed until then."""
    await tx.execute(
        "UPDATE accounts SET followed_until = $2 WHERE id = $1 AND followed_until IS DISTINCT FROM $2",
        account_id,
        until,
    )


async def forget_events(tx: Connection, now: datetime, before: datetime, rows: int) -> int:
    """Remove what happened before then, and accounts that are followed no more; returns how many events."""
    await tx.execute(
        """
        UPDATE accounts SET followed_until = NULL WHERE id = ANY(ARRAY(
            SELECT id FROM accounts WHERE followed_until <= $1 ORDER BY id LIMIT $2 FOR NO KEY UPDATE SKIP LOCKED))
        """,
        now,
        rows,
    )
    status: str = await tx.execute(
        "DELETE FROM events WHERE id = ANY(ARRAY(SELECT id FROM events WHERE at < $1 ORDER BY at LIMIT $2))",
        before,
        rows,
    )
    return int(status.rpartition(" ")[2])


# --- delivering ---------------------------------------------------------------------------------------------------

_CLAIM: Final = """
WITH next AS (
    SELECT id FROM receivers WHERE (proven AND failures = 0) = $1 AND due_at <= $2 AND leased_until IS NULL
    ORDER BY due_at LIMIT $3 FOR UPDATE SKIP LOCKED
), r AS (
    UPDATE receivers SET lease_id = gen_random_uuid(), leased_until = $4, due_at = NULL
    FROM next WHERE receivers.id = next.id RETURNING receivers.*
)
SELECT r.id AS receiver, r.lease_id, r.failures, r.failing_since, d.id, d.account_id, d.environment, d.endpoint_id,
       coalesce(d.url, e.url) AS url, d.event, d.dialect, d.task_id, d.facts, d.body, d.tries, d.created_at, e.secret,
       e.former_secret, e.former_until, e.id AS signer_id
FROM r LEFT JOIN LATERAL (
    SELECT * FROM deliveries WHERE receiver = r.id AND state = 'due' AND due_at <= $2
    ORDER BY due_at, id LIMIT CASE WHEN r.proven AND r.failures = 0 THEN $5 ELSE 1 END
) AS d ON true
LEFT JOIN endpoints e ON e.id = d.endpoint_id
    OR (d.endpoint_id IS NULL AND e.kind = 'callbacks' AND e.account_id = d.account_id AND e.environment = d.environment
        AND e.dialect = d.dialect)
"""


async def claim_receivers(
    connection: Connection, *, sound: bool, rows: int, each: int, now: datetime, lease: timedelta
) -> list[Any]:
    """Receivers whose time has come: those that accept (`sound`), with at most `each` of their due deliveries, or those
    that fail or have accepted nothing yet, with one.

    A row for each delivery; a receiver of which nothing is due after all has one without.
    """
    found: list[Any] = await connection.fetch(_CLAIM, sound, now, rows, now + lease, each)
    return found


def delivery_of(row: Any) -> Delivery:
    return Delivery(**{name: row[name] for name in Delivery.__dataclass_fields__})


async def write_tries(tx: Connection, tries: Sequence[tuple[Any, ...]], now: datetime) -> None:
    """What came of these: (delivery, body, tries, state, due_at, milliseconds, status, error, reply)."""
    await tx.execute(
        """
        WITH n AS (
            SELECT * FROM unnest($2::uuid[], $3::bytea[], $4::smallint[], $5::text[], $6::timestamptz[], $7::int[],
                                 $8::smallint[], $9::text[], $10::text[])
                     AS n (id, body, tries, state, due_at, milliseconds, status, error, reply)
        ), tried AS (
            UPDATE deliveries d SET body = n.body, tries = n.tries, state = n.state, due_at = n.due_at,
                                    ended_at = CASE WHEN n.state <> 'due' THEN $1::timestamptz END
            -- A worker that noted it late takes nothing back from one that has tried since.
            FROM n WHERE d.id = n.id AND d.state = 'due' AND d.tries < n.tries RETURNING d.id
        )
        INSERT INTO attempts (delivery_id, number, at, milliseconds, status, error, reply)
        SELECT n.id, n.tries, $1, n.milliseconds, n.status, n.error, n.reply FROM n JOIN tried ON tried.id = n.id
        ON CONFLICT DO NOTHING
        """,
        now,
        *zip(*tries, strict=True),
    )


async def free_receivers(
    tx: Connection,
    receivers: Sequence[tuple[str, UUID, bool, int, datetime | None, datetime | None]],
    now: datetime,
) -> None:
    """Give these back: (receiver, lease, has it accepted, failures in a row, failing since, shut until).

    What was owed while they were held has set `due_at` already, and must not be forgotten.
    """
    await tx.execute(
        """
        WITH held AS (
            -- In the order in which whoever owes them something takes them.
            SELECT id FROM receivers WHERE id = ANY($1) ORDER BY id FOR UPDATE
        )
        UPDATE receivers r SET
            lease_id = NULL, leased_until = NULL, used_at = $7, proven = r.proven OR n.accepted, failures = n.failures,
            failing_since = n.failing_since,
            due_at = CASE WHEN n.shut_until IS NULL THEN least(r.due_at, next.due_at)
                          WHEN r.due_at IS NULL AND next.due_at IS NULL THEN NULL
                          ELSE greatest(n.shut_until, least(r.due_at, next.due_at)) END
        FROM unnest($1::text[], $2::uuid[], $3::boolean[], $4::int[], $5::timestamptz[], $6::timestamptz[])
                 AS n (id, lease_id, accepted, failures, failing_since, shut_until)
             CROSS JOIN LATERAL (
                 SELECT min(due_at) AS due_at FROM deliveries WHERE receiver = n.id AND state = 'due'
             ) AS next
             JOIN held ON held.id = n.id
        WHERE r.id = n.id AND r.lease_id = n.lease_id
        """,
        *zip(*receivers, strict=True),
        now,
    )


async def free_lost_receivers(tx: Connection, now: datetime) -> int:
    """Receivers of workers that were lost: others may have them."""
    status: str = await tx.execute(
        "UPDATE receivers SET lease_id = NULL, leased_until = NULL, due_at = $1 WHERE leased_until < $1", now
    )
    return int(status.rpartition(" ")[2])


async def next_due(connection: Connection, *, sound: bool) -> datetime | None:
    """When the next receiver is due, of those that accept or of the others."""
    found: datetime | None = await connection.fetchval(
        "SELECT min(due_at) FROM receivers WHERE (proven AND failures = 0) = $1 AND due_at IS NOT NULL", sound
    )
    return found


async def forget_deliveries(tx: Connection, ended_before: datetime, rows: int) -> int:
    """Remove the log of deliveries that ended long ago; returns how many."""
    found: int = await tx.fetchval(
        """
        WITH gone AS (
            DELETE FROM deliveries WHERE id IN (
                SELECT id FROM deliveries WHERE ended_at < $1 ORDER BY ended_at LIMIT $2 FOR UPDATE SKIP LOCKED)
            RETURNING id
        ), tried AS (
            DELETE FROM attempts WHERE delivery_id IN (SELECT id FROM gone)
        )
        SELECT count(*) FROM gone
        """,
        ended_before,
        rows,
    )
    return found


async def forget_receivers(tx: Connection, used_before: datetime, rows: int) -> None:
    """Remove queues of callbacks' hosts that nothing was sent to for long."""
    await tx.execute(
        """
        DELETE FROM receivers WHERE id IN (
            SELECT id FROM receivers WHERE used_at < $1 AND endpoint_id IS NULL AND due_at IS NULL AND leased_until IS NULL
            ORDER BY used_at LIMIT $2 FOR UPDATE SKIP LOCKED)
        """,
        used_before,
        rows,
    )


# --- endpoints ----------------------------------------------------------------------------------------------------

_ENDPOINT: Final = """
SELECT id, account_id, environment, kind, url, description, events, secret, former_secret, former_until, created_at,
       disabled_at, disabled_why, dialect
FROM endpoints
"""


def _endpoint(row: Any) -> Endpoint:
    return Endpoint(**{**dict(row), "events": tuple(row["events"])})


async def read_endpoint(
    connection: Connection, account_id: UUID, environment: str, endpoint_id: UUID
) -> Endpoint | None:
    row = await connection.fetchrow(
        _ENDPOINT
        + "WHERE id = $1 AND account_id = $2 AND environment = $3 AND kind = 'endpoint' AND dialect = 'native'",
        endpoint_id,
        account_id,
        environment,
    )
    return _endpoint(row) if row else None


async def list_endpoints(
    connection: Connection, account_id: UUID, environment: str, dialect: str = NATIVE
) -> list[Endpoint]:
    rows = await connection.fetch(
        _ENDPOINT
        + "WHERE account_id = $1 AND environment = $2 AND kind = 'endpoint' AND dialect = $3 ORDER BY id",
        account_id,
        environment,
        dialect,
    )
    return [_endpoint(row) for row in rows]


async def read_callbacks(
    connection: Connection, account_id: UUID, environment: str, dialect: str = NATIVE
) -> Endpoint | None:
    """The row that holds the secret of an account's callbacks in a dialect."""
    row = await connection.fetchrow(
        _ENDPOINT + "WHERE account_id = $1 AND environment = $2 AND kind = 'callbacks' AND dialect = $3",
        account_id,
        environment,
        dialect,
    )
    return _endpoint(row) if row else None


async def insert_endpoint(tx: Connection, endpoint: Endpoint) -> bool:
    """False where the account has its row for callbacks already."""
    row = await tx.fetchrow(
        "INSERT INTO endpoints (id, account_id, environment, kind, url, description, events, secret, created_at, "
        "dialect) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10) ON CONFLICT DO NOTHING RETURNING id",
        endpoint.id,
        endpoint.account_id,
        endpoint.environment,
        endpoint.kind,
        endpoint.url,
        endpoint.description,
        endpoint.events,
        endpoint.secret,
        endpoint.created_at,
        endpoint.dialect,
    )
    return row is not None


async def lock_endpoint(tx: Connection, endpoint_id: UUID) -> Endpoint | None:
    """It as it is now, held until the transaction ends; whoever calls this holds the account first."""
    row = await tx.fetchrow(_ENDPOINT + "WHERE id = $1 FOR UPDATE", endpoint_id)
    return _endpoint(row) if row else None


async def update_endpoint(tx: Connection, endpoint: Endpoint) -> None:
    """What its owner may change of it."""
    await tx.execute(
        """
        UPDATE endpoints SET url = $2, description = $3, events = $4, secret = $5, former_secret = $6, former_until = $7
        WHERE id = $1
        """,
        endpoint.id,
        endpoint.url,
        endpoint.description,
        endpoint.events,
        endpoint.secret,
        endpoint.former_secret,
        endpoint.former_until,
    )


async def delete_endpoint(tx: Connection, endpoint_id: UUID) -> None:
    """It, its queue and its log."""
    await tx.execute(
        """
        WITH gone AS (DELETE FROM deliveries WHERE endpoint_id = $1 RETURNING id),
             tried AS (DELETE FROM attempts WHERE delivery_id IN (SELECT id FROM gone)),
             queue AS (DELETE FROM receivers WHERE endpoint_id = $1)
        DELETE FROM endpoints WHERE id = $1
        """,
        endpoint_id,
    )


async def disable(tx: Connection, endpoint_id: UUID, why: str, now: datetime) -> bool:
    """Send it nothing more; what is due is a dead letter. False where it was disabled before."""
    row = await tx.fetchrow(
        """
        WITH dead AS (
            UPDATE deliveries SET state = 'dead', due_at = NULL, ended_at = $3 WHERE receiver = $4 AND state = 'due'
        )
        UPDATE endpoints SET disabled_at = $3, disabled_why = $2 WHERE id = $1 AND disabled_at IS NULL RETURNING id
        """,
        endpoint_id,
        why,
        now,
        str(endpoint_id),
    )
    return row is not None


async def lock_account(tx: Connection, account_id: UUID) -> None:
    """Hold the account's row until the end of the transaction."""
    await tx.execute("SELECT FROM accounts WHERE id = $1 FOR NO KEY UPDATE", account_id)


async def note_listening(tx: Connection, account_id: UUID) -> None:
    """Whether the account has an endpoint that is not disabled, in any environment."""
    await tx.execute(
        """
        UPDATE accounts SET listens = EXISTS (
            SELECT FROM endpoints WHERE account_id = $1 AND kind = 'endpoint' AND disabled_at IS NULL)
        WHERE id = $1
        """,
        account_id,
    )


async def enable(tx: Connection, endpoint_id: UUID, now: datetime) -> None:
    """Switch it on as if it had never failed; a worker that has it has it no more. One that does well is left alone: what it
    is being sent would be sent twice.
    """
    await tx.execute(
        """
        WITH forgiven AS (
            UPDATE receivers r SET failures = 0, failing_since = NULL, lease_id = NULL, leased_until = NULL,
                due_at = CASE WHEN EXISTS (SELECT FROM deliveries WHERE receiver = r.id AND state = 'due') THEN $2::timestamptz END
            WHERE id = $3 AND (failures > 0 OR EXISTS (SELECT FROM endpoints WHERE id = $1 AND disabled_at IS NOT NULL))
        )
        UPDATE endpoints SET disabled_at = NULL, disabled_why = NULL WHERE id = $1
        """,
        endpoint_id,
        now,
        str(endpoint_id),
    )


async def owe_one(tx: Connection, endpoint: Endpoint, event: str, facts: bytes, now: datetime) -> UUID:
    """A delivery to this endpoint alone; its id."""
    made: UUID = await tx.fetchval(
        """
        WITH owed AS (
            INSERT INTO deliveries (id, account_id, environment, receiver, endpoint_id, event, dialect, facts, state, due_at,
                                    created_at)
            VALUES (gen_random_uuid(), $2, $3, $7, $1, $4, $8, $5, 'due', $6, $6) RETURNING id
        ), woken AS (
            INSERT INTO receivers AS r (id, account_id, endpoint_id, due_at) VALUES ($7, $2, $1, $6)
            ON CONFLICT (id) DO UPDATE SET due_at = least(r.due_at, excluded.due_at)
        )
        SELECT id FROM owed
        """,
        endpoint.id,
        endpoint.account_id,
        endpoint.environment,
        event,
        facts,
        now,
        str(endpoint.id),
        endpoint.dialect,
    )
    return made


# --- the log ------------------------------------------------------------------------------------------------------


async def list_deliveries(
    connection: Connection,
    endpoint_id: UUID,
    *,
    state: str | None,
    before: tuple[datetime, UUID] | None,
    rows: int,
) -> list[Any]:
    """An endpoint's deliveries, newest first: id, event, task_id, state, tries, due_at, created_at, ended_at."""
    found: list[Any] = await connection.fetch(
        """
        SELECT id, event, task_id, state, tries, due_at, created_at, ended_at FROM deliveries
        WHERE endpoint_id = $1 AND ($2::text IS NULL OR state = $2)
          AND ($3::timestamptz IS NULL OR (created_at, id) < ($3, $4::uuid))
        ORDER BY created_at DESC, id DESC LIMIT $5
        """,
        endpoint_id,
        state,
        *(before or (None, None)),
        rows,
    )
    return found


async def read_delivery(connection: Connection, endpoint_id: UUID, delivery_id: UUID) -> Any:
    """One of them, with its body; or None."""
    return await connection.fetchrow(
        "SELECT id, event, task_id, state, tries, due_at, created_at, ended_at, body FROM deliveries "
        "WHERE endpoint_id = $1 AND id = $2",
        endpoint_id,
        delivery_id,
    )


async def list_attempts(connection: Connection, delivery_id: UUID) -> list[Any]:
    """number, at, milliseconds, status, error, reply."""
    found: list[Any] = await connection.fetch(
        "SELECT number, at, milliseconds, status, error, reply FROM attempts WHERE delivery_id = $1 ORDER BY number",
        delivery_id,
    )
    return found


async def make_due(
    tx: Connection,
    endpoint_id: UUID,
    now: datetime,
    *,
    delivery_id: UUID | None = None,
    since: datetime | None = None,
    until: datetime | None = None,
    dead_only: bool = True,
) -> int:
    """Deliveries that have ended are due again, from the first try: one, or those made in a stretch of time."""
    made: int = await tx.fetchval(
        """
        WITH again AS (
            UPDATE deliveries SET state = 'due', due_at = $2, ended_at = NULL, tries = 0
            WHERE endpoint_id = $1 AND state <> 'due' AND ($3::uuid IS NULL OR id = $3)
              AND ($4::timestamptz IS NULL OR created_at >= $4) AND ($5::timestamptz IS NULL OR created_at < $5)
              AND (NOT $6 OR state = 'dead')
            RETURNING id
        ), log AS (
            DELETE FROM attempts WHERE delivery_id IN (SELECT id FROM again)
        ), woken AS (
            UPDATE receivers SET due_at = least(due_at, $2) WHERE endpoint_id = $1 AND EXISTS (SELECT FROM again)
        )
        SELECT count(*) FROM again
        """,
        endpoint_id,
        now,
        delivery_id,
        since,
        until,
        dead_only,
    )
    return made
