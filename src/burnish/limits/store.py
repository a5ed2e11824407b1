"""The SQL of windows. Rows are written under the account's lock, or, for one subject, under an advisory lock of its own."""

from collections import defaultdict
from collections.abc import Sequence
from datetime import datetime
from typing import Final
from uuid import UUID

from burnish.storage.postgres import Connection
from burnish.storage.statement import Part

#: account, name, subject
Place = tuple[UUID, str, str]
#: starts_at, used
Rows = list[tuple[datetime, int]]


async def read_windows(
    connection: Connection, wanted: Sequence[tuple[*Place, datetime]]
) -> dict[Place, Rows]:
    """By place, the rows that begin at the given moment or later."""
    rows = await connection.fetch(
        """
        SELECT w.account_id, w.name, w.subject, w.starts_at, w.used
        FROM unnest($1::uuid[], $2::text[], $3::text[], $4::timestamptz[]) AS n (account_id, name, subject, since)
        JOIN windows w ON w.account_id = n.account_id AND w.name = n.name AND w.subject = n.subject
                      AND w.starts_at >= n.since
        """,
        *zip(*wanted, strict=True),
    )
    found: defaultdict[Place, Rows] = defaultdict(list)
    for row in rows:
        found[row["account_id"], row["name"], row["subject"]].append((row["starts_at"], row["used"]))
    return found


_COUNT: Final = """
INSERT INTO windows AS w (account_id, name, subject, starts_at, used, ends_at)
SELECT *
FROM unnest($1::uuid[], $2::text[], $3::text[], $4::timestamptz[], $5::bigint[], $6::timestamptz[])
     AS n (account_id, name, subject, starts_at, used, ends_at)
ON CONFLICT (account_id, name, subject, starts_at) DO UPDATE SET used = w.used + excluded.used
"""
_GIVE_BACK: Final = """
UPDATE windows w SET used = greatest(w.used - n.used, 0)
FROM unnest($1::uuid[], $2::text[], $3::text[], $4::timestamptz[], $5::bigint[])
     AS n (account_id, name, subject, starts_at, used)
WHERE w.account_id = n.account_id AND w.name = n.name AND w.subject = n.subject AND w.starts_at = n.starts_at
"""


def count(uses: Sequence[tuple[*Place, datetime, int, datetime]]) -> Part:
    """Add to rows (account, name, subject, starts_at, uses, ends_at), each named once; those not there yet are made."""
    return Part(_COUNT, list(zip(*uses, strict=True)))


def give_back(uses: Sequence[tuple[*Place, datetime, int]]) -> Part:
    """Take from rows (account, name, subject, starts_at, uses), each named once; one that was swept is past caring."""
    return Part(_GIVE_BACK, list(zip(*uses, strict=True)))


async def lock_subject(tx: Connection, place: Place) -> None:
    """One at a time for this subject, until the transaction ends."""
    await tx.execute("SELECT pg_advisory_xact_lock(hashtextextended($1, 7))", "\n".join(map(str, place)))


async def forget_windows(tx: Connection, now: datetime, rows: int) -> None:
    """Remove rows that mean nothing any more."""
    await tx.execute(
        """
        DELETE FROM windows WHERE ctid = ANY(ARRAY(
            SELECT ctid FROM windows WHERE ends_at <= $1 ORDER BY ends_at LIMIT $2 FOR UPDATE SKIP LOCKED))
        """,
        now,
        rows,
    )
