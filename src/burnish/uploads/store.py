"""The SQL of blobs and objects."""

from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Final, NamedTuple
from uuid import UUID

from burnish.storage.postgres import Connection
from burnish.uploads.blob import Blob

_BLOB: Final = """
SELECT id, account_id, environment, kind, task_id, filename, declared_type, declared_size, declared_hash, object_key,
       size_bytes, sha256, arrived_at, type, width, height, frames, fault, created_at, expires_at, seconds,
       frame_rate
FROM blobs
"""


async def read_blobs(connection: Connection, ids: Collection[UUID]) -> dict[UUID, Blob]:
    return {row["id"]: Blob(**row) for row in await connection.fetch(_BLOB + "WHERE id = ANY($1)", list(ids))}


async def share_blobs(tx: Connection, ids: Collection[UUID]) -> dict[UUID, Blob]:
    """Read these under a share lock, in the order of their ids: none arrives or goes until this commits."""
    rows = await tx.fetch(_BLOB + "WHERE id = ANY($1) ORDER BY id FOR SHARE", sorted(ids))
    return {row["id"]: Blob(**row) for row in rows}


async def lock_blob(tx: Connection, blob_id: UUID) -> bool:
    """Hold it against others who would; False where it is gone."""
    return await tx.fetchval("SELECT true FROM blobs WHERE id = $1 FOR NO KEY UPDATE", blob_id) or False


async def insert_upload(tx: Connection, blob: Blob) -> None:
    await tx.execute(
        """
        INSERT INTO blobs (id, account_id, environment, kind, filename, declared_type, declared_size, declared_hash,
                           created_at, expires_at)
        VALUES ($1, $2, $3, 'upload', $4, $5, $6, $7, $8, $9)
        """,
        blob.id,
        blob.account_id,
        blob.environment,
        blob.filename,
        blob.declared_type,
        blob.declared_size,
        blob.declared_hash,
        blob.created_at,
        blob.expires_at,
    )


async def insert_fetched(
    tx: Connection, blobs: Sequence[tuple[UUID, UUID, str, UUID, datetime]], now: datetime
) -> None:
    """(id, account, environment, task, expires_at) of inputs that a fetch lane will bring."""
    await tx.execute(
        """
        INSERT INTO blobs (id, account_id, environment, kind, task_id, created_at, expires_at)
        SELECT id, account_id, environment, 'fetched', task_id, $6, expires_at
        FROM unnest($1::uuid[], $2::uuid[], $3::text[], $4::uuid[], $5::timestamptz[])
             AS n (id, account_id, environment, task_id, expires_at)
        """,
        *zip(*blobs, strict=True),
        now,
    )


async def insert_outputs(tx: Connection, blobs: Sequence[Blob]) -> None:
    columns = (
        ("id", "uuid"), ("account_id", "uuid"), ("environment", "text"), ("task_id", "uuid"), ("filename", "text"),
        ("object_key", "text"), ("size_bytes", "bigint"), ("sha256", "bytea"), ("arrived_at", "timestamptz"),
        ("type", "text"), ("width", "int"), ("height", "int"), ("frames", "int"), ("seconds", "float8"),
        ("frame_rate", "float8"), ("created_at", "timestamptz"), ("expires_at", "timestamptz"),
    )  # fmt: skip
    names = ", ".join(name for name, _ in columns)
    arrays = ", ".join(f"${n}::{kind}[]" for n, (_, kind) in enumerate(columns, 1))
    await tx.execute(
        f"INSERT INTO blobs (kind, {names}) SELECT 'output', * FROM unnest({arrays})",  # noqa: S608 - our own names
        *([getattr(blob, name) for blob in blobs] for name, _ in columns),
    )


async def set_arrived(
    tx: Connection,
    blob_id: UUID,
    object_key: str,
    size_bytes: int,
    sha256: bytes,
    now: datetime,
    expires_at: datetime,
) -> bool:
    """The bytes are whole. False when others were there first, or the promise is over."""
    row = await tx.fetchrow(
        """
        UPDATE blobs SET object_key = $2, size_bytes = $3, sha256 = $4, arrived_at = $5, expires_at = $6
        WHERE id = $1 AND object_key IS NULL AND expires_at > $5 RETURNING id
        """,
        blob_id,
        object_key,
        size_bytes,
        sha256,
        now,
        expires_at,
    )
    return row is not None


async def take_fetched(
    tx: Connection, brought: Sequence[tuple[UUID | None, str | None, int, bytes, str | None]], now: datetime
) -> None:
    """Inputs that a fetch lane brought are whole: (blob, object key, size, hash, filename). They live as promised."""
    await tx.execute(
        """
        WITH n AS (
            SELECT * FROM unnest($1::uuid[], $2::text[], $3::bigint[], $4::bytea[], $5::text[])
                     AS n (id, object_key, size_bytes, sha256, filename) ORDER BY id
        ), taken AS (
            UPDATE blobs b SET object_key = n.object_key, size_bytes = n.size_bytes, sha256 = n.sha256,
                               filename = n.filename, arrived_at = $6
            FROM n WHERE b.id = n.id AND b.object_key IS NULL RETURNING b.object_key, b.expires_at
        )
        UPDATE objects o SET delete_at = taken.expires_at FROM taken WHERE o.key = taken.object_key
        """,
        *zip(*brought, strict=True),
        now,
    )


async def let_fetch(tx: Connection, blob_id: UUID) -> bool:
    """The bytes that tasks were waiting for are here; True when there are such tasks. Of tasks with more sources, those that
    wait for this one now may be fetched, and each waits no longer than for the rest.
    """
    rows = await tx.fetch(
        """
        UPDATE tasks t SET fetchable = t.fetchable OR (t.source_id = $1 AND t.leased_until IS NULL), waits_until = (
            SELECT min(b.expires_at) FROM task_sources s JOIN blobs b ON b.id = s.source_id
            WHERE s.task_id = t.id AND s.source_url IS NULL AND b.object_key IS NULL)
        WHERE t.status = 'waiting' AND t.id = ANY(ARRAY(
            SELECT id FROM tasks WHERE source_id = $1 AND status = 'waiting'
            UNION SELECT task_id FROM task_sources WHERE source_id = $1))
        RETURNING t.fetchable
        """,
        blob_id,
    )
    return any(row["fetchable"] for row in rows)


class Facts(NamedTuple):
    """What a probe said of a blob, or the `fault` that it found."""

    blob_id: UUID
    type: str | None
    width: int | None
    height: int | None
    frames: int | None
    seconds: float | None
    frame_rate: float | None
    fault: str | None


async def describe(tx: Connection, facts: Sequence[Facts]) -> None:
    """Record what probes said."""
    await tx.execute(
        """
        UPDATE blobs b SET type = n.type, width = n.width, height = n.height, frames = n.frames, seconds = n.seconds,
                           frame_rate = n.frame_rate, fault = n.fault
        FROM (SELECT * FROM unnest($1::uuid[], $2::text[], $3::int[], $4::int[], $5::int[], $6::float8[], $7::float8[],
                                   $8::text[])
              AS n (id, type, width, height, frames, seconds, frame_rate, fault) ORDER BY id) AS n
        WHERE b.id = n.id
        """,
        *zip(*sorted(facts), strict=True),
    )


async def keep_until(tx: Connection, blob_ids: Sequence[UUID], until: datetime) -> None:
    """Bytes that a task needs stay at least until then."""
    await tx.execute(
        """
        WITH kept AS (
            UPDATE blobs SET expires_at = $2 WHERE id = ANY($1) AND expires_at < $2 RETURNING object_key
        )
        UPDATE objects o SET delete_at = $2 FROM kept WHERE o.key = kept.object_key AND o.delete_at < $2
        """,
        list(blob_ids),
        until,
    )


async def move_expiry(
    tx: Connection, blob_ids: Sequence[UUID], expires_at: datetime, *, earlier: bool = False
) -> list[int]:
    """Stored blobs are kept until then, or longer where they are unless `earlier`; the sizes of those whose bytes are
    still there.
    """
    rows = await tx.fetch(
        """
        WITH moved AS (
            UPDATE blobs SET expires_at = CASE WHEN $3 THEN $2 ELSE greatest(expires_at, $2) END
            WHERE id = ANY($1) AND object_key IS NOT NULL RETURNING object_key, size_bytes, expires_at
        )
        UPDATE objects o SET delete_at = moved.expires_at FROM moved WHERE o.key = moved.object_key
        RETURNING moved.size_bytes
        """,
        sorted(blob_ids),
        expires_at,
        earlier,
    )
    return [row["size_bytes"] for row in rows]


async def forget_blobs(tx: Connection, expired_before: datetime, rows: int) -> int:
    """Remove the tombstones that have stood long enough."""
    status: str = await tx.execute(
        """
        DELETE FROM blobs WHERE id IN (
            SELECT id FROM blobs WHERE expires_at < $1 ORDER BY expires_at LIMIT $2 FOR UPDATE SKIP LOCKED)
        """,
        expired_before,
        rows,
    )
    return int(status.rpartition(" ")[2])


# --- objects: every byte stored is named here ---------------------------------------------------------------------


async def name_objects(tx: Connection, keys: Sequence[str], delete_at: datetime) -> None:
    """Name objects about to be written; until a blob takes them they are to be deleted at `delete_at`."""
    await tx.execute(
        "INSERT INTO objects (key, delete_at) SELECT unnest($1::text[]), $2", list(keys), delete_at
    )


async def keep_objects(tx: Connection, keys: Sequence[str], delete_at: Sequence[datetime]) -> None:
    """A blob has taken these: they stay until its end."""
    await tx.execute(
        """
        UPDATE objects o SET delete_at = n.delete_at FROM unnest($1::text[], $2::timestamptz[]) AS n (key, delete_at)
        WHERE o.key = n.key
        """,
        list(keys),
        list(delete_at),
    )


async def lock_due_objects(tx: Connection, now: datetime, rows: int) -> list[str]:
    """Objects whose end has come, held for this transaction."""
    found = await tx.fetch(
        "SELECT key FROM objects WHERE delete_at <= $1 ORDER BY delete_at LIMIT $2 FOR UPDATE SKIP LOCKED",
        now,
        rows,
    )
    return [row["key"] for row in found]


async def postpone_objects(tx: Connection, keys: Sequence[str], delete_at: datetime) -> None:
    """Their bytes cannot be deleted now."""
    await tx.execute("UPDATE objects SET delete_at = $2 WHERE key = ANY($1)", list(keys), delete_at)


async def unname_objects(tx: Connection, keys: Sequence[str]) -> None:
    """Their bytes are gone."""
    await tx.execute("DELETE FROM objects WHERE key = ANY($1)", list(keys))
