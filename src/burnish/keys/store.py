"""The SQL of accounts and keys."""

from datetime import datetime
from typing import Any
from uuid import UUID

from burnish.keys.key import Key
from burnish.storage.postgres import Connection

_KEY = """
SELECT k.id, k.account_id, a.name AS account, k.environment, k.name, k.last_four, k.scopes,
       k.created_at, k.expires_at, k.revoked_at
FROM keys k JOIN accounts a ON a.id = k.account_id
"""


def _key(row: Any) -> Key:
    return Key(**{**dict(row), "scopes": frozenset(row["scopes"])})


async def find_key_by_hash(connection: Connection, secret_hash: bytes) -> Key | None:
    row = await connection.fetchrow(_KEY + "WHERE k.secret_hash = $1", secret_hash)
    return _key(row) if row else None


async def list_keys(connection: Connection) -> list[Key]:
    return [_key(row) for row in await connection.fetch(_KEY + "ORDER BY k.id")]


async def insert_key(tx: Connection, key: Key, secret_hash: bytes) -> None:
    await tx.execute(
        "INSERT INTO keys (id, account_id, environment, name, secret_hash, last_four, scopes, created_at, expires_at) "
        "VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)",
        key.id,
        key.account_id,
        key.environment,
        key.name,
        secret_hash,
        key.last_four,
        sorted(key.scopes),
        key.created_at,
        key.expires_at,
    )


async def set_revoked(tx: Connection, key_id: UUID, now: datetime) -> bool:
    """False when there is no such key; a key that is revoked already keeps its first time."""
    row = await tx.fetchrow(
        "UPDATE keys SET revoked_at = coalesce(revoked_at, $2) WHERE id = $1 RETURNING id", key_id, now
    )
    return row is not None


async def any_key(connection: Connection) -> bool:
    return bool(await connection.fetchval("SELECT EXISTS (SELECT FROM keys)"))


async def ensure_account(tx: Connection, account_id: UUID, name: str, now: datetime) -> UUID:
    """The account of that name, made now when there is none."""
    await tx.execute(
        "INSERT INTO accounts (id, name, created_at) VALUES ($1, $2, $3) ON CONFLICT (name) DO NOTHING",
        account_id,
        name,
        now,
    )
    found: UUID = await tx.fetchval("SELECT id FROM accounts WHERE name = $1", name)
    return found
