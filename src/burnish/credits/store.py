"""The SQL of credits. The account's row is locked by whoever calls a function that takes `tx`."""

from collections import defaultdict
from collections.abc import Collection, Iterable, Sequence
from datetime import datetime
from functools import lru_cache
from operator import attrgetter
from typing import Any, Final
from uuid import UUID

import msgspec

from burnish.credits.ledger import Entry, Grant
from burnish.storage.postgres import Connection
from burnish.storage.statement import Part

_ENCODE: Final = msgspec.json.Encoder().encode


async def read_open_grants(tx: Connection, account_ids: Collection[UUID]) -> dict[UUID, list[Grant]]:
    """By account, the grants of which something is available, expired ones among them."""
    rows = await tx.fetch(
        "SELECT account_id, id, available, expires_at FROM grants WHERE account_id = ANY($1) AND NOT spent",
        list(account_ids),
    )
    found: defaultdict[UUID, list[Grant]] = defaultdict(list)
    for row in rows:
        found[row["account_id"]].append(Grant(row["id"], row["available"], row["expires_at"]))
    return found


async def read_holds(
    tx: Connection, task_ids: Sequence[UUID]
) -> dict[UUID, dict[UUID, tuple[int, datetime | None]]]:
    """By task, its hold: grant -> (credits, when the grant expires)."""
    rows = await tx.fetch(
        """
        SELECT e.subject_id, g.id, (d.value)::bigint AS part, g.expires_at
        FROM entries e CROSS JOIN jsonb_each_text(e.draws) AS d JOIN grants g ON g.id = d.key::uuid
        WHERE e.subject_id = ANY($1) AND e.kind = 'hold'
        """,
        task_ids,
    )
    found: defaultdict[UUID, dict[UUID, tuple[int, datetime | None]]] = defaultdict(dict)
    for row in rows:
        found[row["subject_id"]][row["id"]] = row["part"], row["expires_at"]
    return found


_ENTRIES: Final = """
INSERT INTO entries (at, account_id, kind, granted, available, held, charged, expired, subject_id, key_id, draws)
SELECT $1::timestamptz, account_id, kind, granted, available, held, charged, expired, subject_id, key_id, draws::jsonb
FROM unnest($2::int[], $3::uuid[]) AS one (of, subject_id)
JOIN ROWS FROM (unnest($4::uuid[], $5::text[], $6::bigint[], $7::bigint[], $8::bigint[], $9::bigint[], $10::bigint[],
                       $11::uuid[], $12::text[]))
     WITH ORDINALITY AS many (account_id, kind, granted, available, held, charged, expired, key_id, draws, number)
     ON number = of
"""
_GRANTS: Final = """
UPDATE grants g SET available = g.available + n.available, held = g.held + n.held, charged = g.charged + n.charged,
                    expired = g.expired + n.expired
FROM unnest($1::uuid[], $2::bigint[], $3::bigint[], $4::bigint[], $5::bigint[])
     AS n (id, available, held, charged, expired)
WHERE g.id = n.id
"""


_common: Final = attrgetter(
    "account_id", "kind", "granted", "available", "held", "charged", "expired", "key_id"
)


def write_entries(entries: Sequence[Entry], now: datetime) -> list[Part]:
    """The entries, and what they make of their grants; not of the accounts, which their caller writes."""
    ids, sums = _grants(entries)
    # What many have in common travels once for all of them, as in `tasks/store.py`.
    numbers: dict[tuple[Any, ...], int] = {}
    of = [numbers.setdefault((*_common(entry), _draws(entry)), len(numbers) + 1) for entry in entries]
    subjects = [entry.subject_id for entry in entries]
    parts = [Part(_ENTRIES, [now, of, subjects, *zip(*numbers, strict=True)])]
    return [*parts, Part(_GRANTS, [ids, *sums])] if ids else parts


def _draws(entry: Entry) -> str:
    return _spelt(tuple(entry.draws.items()))


@lru_cache(maxsize=4096)
def _spelt(draws: tuple[tuple[UUID, int], ...]) -> str:
    """As JSON; what one grant pays is mostly the same from task to task."""
    return _ENCODE({str(grant): part for grant, part in draws}).decode()


def _grants(entries: Iterable[Entry]) -> tuple[list[UUID], list[list[int]]]:
    """Each grant once, with what all entries together add to it, in columns."""
    sums: defaultdict[UUID, list[int]] = defaultdict(lambda: [0, 0, 0, 0])
    for entry in entries:
        for grant, gains in entry.grants.items():
            for place, gain in enumerate(gains):
                sums[grant][place] += gain
    ids = sorted(sums)
    return ids, [[sums[grant][place] for grant in ids] for place in range(4)]


async def lock_account(tx: Connection, account_id: UUID) -> bool:
    """Hold the account's row until the end of the transaction. False where there is none."""
    return (
        await tx.fetchval("SELECT true FROM accounts WHERE id = $1 FOR NO KEY UPDATE", account_id)
    ) is not None


def add_to_account(entry: Entry) -> Part:
    """What one entry makes of its account."""
    return Part(
        """
        UPDATE accounts SET granted = granted + $2, available = available + $3, held = held + $4,
                            charged = charged + $5, expired = expired + $6
        WHERE id = $1
        """,
        [entry.account_id, entry.granted, entry.available, entry.held, entry.charged, entry.expired],
    )


async def insert_grant(
    tx: Connection, account_id: UUID, grant: Grant, kind: str, note: str, idempotency_key: str, now: datetime
) -> None:
    await tx.execute(
        """
        INSERT INTO grants (id, account_id, kind, granted, available, expires_at, note, idempotency_key, created_at)
        VALUES ($1, $2, $3, $4, $4, $5, $6, $7, $8)
        """,
        grant.id,
        account_id,
        kind,
        grant.available,
        grant.expires_at,
        note,
        idempotency_key,
        now,
    )


async def find_grant(connection: Connection, account_id: UUID, idempotency_key: str) -> Any:
    """The grant that was made under this key: id, kind, granted, expires_at, note, created_at; or None."""
    return await connection.fetchrow(
        "SELECT id, kind, granted, expires_at, note, created_at FROM grants "
        "WHERE account_id = $1 AND idempotency_key = $2",
        account_id,
        idempotency_key,
    )


async def accounts_with_expired(connection: Connection, now: datetime, rows: int) -> list[UUID]:
    """Accounts that have credits whose time is over."""
    found = await connection.fetch(
        "SELECT DISTINCT account_id FROM (SELECT account_id FROM grants WHERE NOT spent AND expires_at <= $1 "
        "ORDER BY expires_at LIMIT $2) AS due",
        now,
        rows,
    )
    return [row["account_id"] for row in found]


async def read_account(connection: Connection, account_id: UUID, now: datetime) -> Any:
    """granted, available (of grants that have not expired), held, charged, expired (counting those that have)."""
    return await connection.fetchrow(
        """
        SELECT a.granted, a.available - due.credits AS available, a.held, a.charged, a.expired + due.credits AS expired
        FROM accounts a, LATERAL (
            SELECT coalesce(sum(available), 0)::bigint AS credits FROM grants
            WHERE account_id = a.id AND NOT spent AND expires_at <= $2
        ) AS due
        WHERE a.id = $1
        """,
        account_id,
        now,
    )


_GRANT: Final = """
SELECT id, kind, granted, available, held, charged, expired, expires_at, note, created_at FROM grants
"""


async def list_open_grants(connection: Connection, account_id: UUID, now: datetime, rows: int) -> list[Any]:
    """What may be spent, soonest to expire first: every column that `find.GrantRow` has."""
    found: list[Any] = await connection.fetch(
        _GRANT
        + """
        WHERE account_id = $1 AND NOT spent AND (expires_at IS NULL OR expires_at > $2)
        ORDER BY expires_at, id LIMIT $3
        """,
        account_id,
        now,
        rows,
    )
    return found


async def list_grants(
    connection: Connection, account_id: UUID, *, after: UUID | None, rows: int
) -> list[Any]:
    """All of them, the newest first, below `after`: the same columns."""
    found: list[Any] = await connection.fetch(
        _GRANT + "WHERE account_id = $1 AND ($2::uuid IS NULL OR id < $2) ORDER BY id DESC LIMIT $3",
        account_id,
        after,
        rows,
    )
    return found


async def list_entries(
    connection: Connection, account_id: UUID, *, after: int | None, kind: str | None, rows: int
) -> list[Any]:
    """The newest first, below `after`: the columns that `find.EntryRow` has."""
    found: list[Any] = await connection.fetch(
        """
        SELECT id, at, kind, granted, available, held, charged, expired, subject_id, key_id FROM entries
        WHERE account_id = $1 AND ($2::bigint IS NULL OR id < $2) AND ($3::text IS NULL OR kind = $3)
        ORDER BY id DESC LIMIT $4
        """,
        account_id,
        after,
        kind,
        rows,
    )
    return found


async def output_paid(connection: Connection, output_id: UUID) -> bool:
    """Whether this output was purchased."""
    return bool(
        await connection.fetchval(
            "SELECT EXISTS (SELECT FROM entries WHERE subject_id = $1 AND kind = 'purchase')", output_id
        )
    )
