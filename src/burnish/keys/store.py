"""The SQL of accounts and keys."""

from collections.abc import Collection, Mapping
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from burnish.ids import new_id
from burnish.keys.account import Account
from burnish.keys.key import Key
from burnish.keys.plan import OWNER
from burnish.storage.postgres import Connection

# --- keys ---------------------------------------------------------------------------------------------------------

_KEY: Final = """
SELECT k.id, k.account_id, coalesce(live.name, a.name) AS account, k.environment, k.name, k.last_four, k.scopes,
       k.created_at, k.expires_at, k.revoked_at, a.plan, a.overrides, a.created_at AS account_created_at,
       k.allowlist, k.credit_cap, k.rotates, k.last_used_at
FROM keys k JOIN accounts a ON a.id = k.account_id LEFT JOIN accounts live ON live.id = a.test_of
"""


def _key(row: Any) -> Key:
    return Key(
        **{
            **dict(row),
            "scopes": frozenset(row["scopes"]),
            "allowlist": tuple(str(network) for network in row["allowlist"]),
        }
    )


async def find_key_by_hash(connection: Connection, secret_hash: bytes) -> Key | None:
    row = await connection.fetchrow(_KEY + "WHERE k.secret_hash = $1", secret_hash)
    return _key(row) if row else None


async def find_key(connection: Connection, key_id: UUID) -> Key | None:
    row = await connection.fetchrow(_KEY + "WHERE k.id = $1", key_id)
    return _key(row) if row else None


async def lock_key(tx: Connection, key_id: UUID) -> Key | None:
    """The key, its account held before it: nothing is spent and nothing changed until the transaction ends."""
    await tx.execute(
        "SELECT FROM accounts WHERE id = (SELECT account_id FROM keys WHERE id = $1) FOR NO KEY UPDATE",
        key_id,
    )
    row = await tx.fetchrow(_KEY + "WHERE k.id = $1 FOR NO KEY UPDATE OF k", key_id)
    return _key(row) if row else None


async def list_keys(connection: Connection, account: str | None = None) -> list[Key]:
    """All keys, or those of one account, its test keys among them."""
    rows = await connection.fetch(
        _KEY + "WHERE $1::text IS NULL OR coalesce(live.name, a.name) = $1 ORDER BY k.id", account
    )
    return [_key(row) for row in rows]


async def insert_key(tx: Connection, key: Key, secret_hash: bytes) -> None:
    await tx.execute(
        "INSERT INTO keys (id, account_id, environment, name, secret_hash, last_four, scopes, created_at, expires_at, "
        "allowlist, credit_cap, rotates) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)",
        key.id,
        key.account_id,
        key.environment,
        key.name,
        secret_hash,
        key.last_four,
        sorted(key.scopes),
        key.created_at,
        key.expires_at,
        key.allowlist,
        key.credit_cap,
        key.rotates,
    )


async def set_revoked(tx: Connection, key_id: UUID, now: datetime) -> bool:
    """False when there is no such key; a key that is revoked already keeps its first time."""
    row = await tx.fetchrow(
        "UPDATE keys SET revoked_at = coalesce(revoked_at, $2) WHERE id = $1 RETURNING id", key_id, now
    )
    return row is not None


async def find_successor(connection: Connection, key_id: UUID) -> UUID | None:
    """The key that took its place, unless that was revoked since."""
    found: UUID | None = await connection.fetchval(
        "SELECT id FROM keys WHERE rotates = $1 AND revoked_at IS NULL ORDER BY id LIMIT 1", key_id
    )
    return found


async def set_expiry(tx: Connection, key_id: UUID, expires_at: datetime) -> None:
    """The key ends then, unless it ends before."""
    await tx.execute("UPDATE keys SET expires_at = least(expires_at, $2) WHERE id = $1", key_id, expires_at)


async def set_credit_cap(tx: Connection, key_id: UUID, credit_cap: int | None) -> bool:
    """False when there is no such key."""
    row = await tx.fetchrow("UPDATE keys SET credit_cap = $2 WHERE id = $1 RETURNING id", key_id, credit_cap)
    return row is not None


async def note_used(connection: Connection, used: Mapping[UUID, datetime]) -> None:
    """When keys were last used; one that somebody holds is left for the next time."""
    await connection.execute(
        """
        WITH n AS (SELECT * FROM unnest($1::uuid[], $2::timestamptz[]) AS n (id, at)), free AS (
            SELECT k.id FROM keys k JOIN n ON n.id = k.id FOR NO KEY UPDATE OF k SKIP LOCKED
        )
        UPDATE keys k SET last_used_at = greatest(k.last_used_at, n.at) FROM n, free
        WHERE k.id = n.id AND k.id = free.id
        """,
        list(used),
        list(used.values()),
    )


async def any_key(connection: Connection) -> bool:
    return bool(await connection.fetchval("SELECT EXISTS (SELECT FROM keys)"))


async def read_caps(tx: Connection, key_ids: Collection[UUID]) -> dict[UUID, int]:
    """What keys may spend in all, of those that are capped."""
    if not key_ids:
        return {}
    rows = await tx.fetch(
        "SELECT id, credit_cap FROM keys WHERE id = ANY($1) AND credit_cap IS NOT NULL", list(key_ids)
    )
    return {row["id"]: row["credit_cap"] for row in rows}


async def read_spent(connection: Connection, key_ids: Collection[UUID]) -> dict[UUID, int]:
    """What keys have spent in all, held credits among it; of those that spent anything. `tasks` counts it, as a window
    that never ends.
    """
    rows = await connection.fetch(
        """
        SELECT k.id, w.used FROM keys k
        JOIN windows w ON w.account_id = k.account_id AND w.name = 'key-credits'
                      AND w.subject = replace(k.id::text, '-', '') AND w.starts_at = 'epoch'
        WHERE k.id = ANY($1)
        """,
        list(key_ids),
    )
    return {row["id"]: row["used"] for row in rows}


# --- accounts -----------------------------------------------------------------------------------------------------

_ACCOUNT: Final = """
SELECT id, name, plan, overrides, created_at, granted, available, held, charged, expired, test_of FROM accounts
"""


async def find_account(connection: Connection, name: str) -> Account | None:
    """The account of that name; a test account has none that is asked for."""
    row = await connection.fetchrow(_ACCOUNT + "WHERE name = $1 AND test_of IS NULL", name)
    return Account(**row) if row else None


async def read_account(connection: Connection, account_id: UUID) -> Account | None:
    row = await connection.fetchrow(_ACCOUNT + "WHERE id = $1", account_id)
    return Account(**row) if row else None


async def list_accounts(connection: Connection, *, after: str | None, rows: int) -> list[Account]:
    """By name, those after `after`."""
    found = await connection.fetch(
        _ACCOUNT + "WHERE test_of IS NULL AND ($1::text IS NULL OR name > $1) ORDER BY name LIMIT $2",
        after,
        rows,
    )
    return [Account(**row) for row in found]


async def insert_account(
    tx: Connection, account_id: UUID, name: str, plan: str, now: datetime, overrides: str = "{}"
) -> bool:
    """False where the name is taken."""
    row = await tx.fetchrow(
        "INSERT INTO accounts (id, name, plan, created_at, overrides) VALUES ($1, $2, $3, $4, $5) "
        "ON CONFLICT (name) DO NOTHING RETURNING id",
        account_id,
        name,
        plan,
        now,
        overrides,
    )
    return row is not None


async def lock_account(tx: Connection, name: str) -> Account | None:
    """The account of that name, held with its test account, in the order of their ids as everybody does."""
    await tx.execute(
        """
        SELECT FROM accounts WHERE id IN (
            SELECT a.id FROM accounts a LEFT JOIN accounts live ON live.id = a.test_of
            WHERE live.name = $1 OR (a.name = $1 AND a.test_of IS NULL))
        ORDER BY id FOR NO KEY UPDATE
        """,
        name,
    )
    return await find_account(tx, name)


async def set_terms(tx: Connection, account_id: UUID, plan: str, overrides: str) -> None:
    """The account's plan and what differs from it; its test account's with it."""
    await tx.execute(
        "UPDATE accounts SET plan = $2, overrides = $3 WHERE id = $1 OR test_of = $1",
        account_id,
        plan,
        overrides,
    )


async def ensure_account(
    tx: Connection, account_id: UUID, name: str, now: datetime, plan: str = OWNER
) -> UUID:
    """The account of that name, made now when there is none."""
    await insert_account(tx, account_id, name, plan, now)
    found: UUID = await tx.fetchval("SELECT id FROM accounts WHERE name = $1", name)
    return found


async def ensure_test_account(tx: Connection, account_id: UUID, now: datetime) -> UUID:
    """The account that this one's test keys work in, made now when there is none."""
    await tx.execute(
        "INSERT INTO accounts (id, name, plan, overrides, test_of, created_at) "
        "SELECT $2, name || ' (test)', plan, overrides, id, $3 FROM accounts WHERE id = $1 FOR NO KEY UPDATE "
        "ON CONFLICT DO NOTHING",  # locked, so that it gets the terms that are being set just now
        account_id,
        new_id(),
        now,
    )
    found: UUID = await tx.fetchval("SELECT id FROM accounts WHERE test_of = $1", account_id)
    return found


# --- what an account has set for itself -----------------------------------------------------------------------------


async def read_settings(connection: Connection, account_id: UUID) -> dict[str, bytes]:
    """Sealed values, by name."""
    rows = await connection.fetch(
        "SELECT name, value FROM account_settings WHERE account_id = $1", account_id
    )
    return {row["name"]: row["value"] for row in rows}


async def write_setting(tx: Connection, account_id: UUID, name: str, value: bytes | None) -> None:
    """None takes it away."""
    if value is None:
        await tx.execute("DELETE FROM account_settings WHERE account_id = $1 AND name = $2", account_id, name)
        return
    await tx.execute(
        "INSERT INTO account_settings (account_id, name, value) VALUES ($1, $2, $3) "
        "ON CONFLICT (account_id, name) DO UPDATE SET value = excluded.value",
        account_id,
        name,
        value,
    )
