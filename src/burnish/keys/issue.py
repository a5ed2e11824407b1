"""Make and revoke keys. The secret is returned once and kept nowhere."""

from collections.abc import Collection
from datetime import datetime
from uuid import UUID

from burnish.errors import Invalid, NotFound
from burnish.ids import new_id, to_wire
from burnish.keys import store
from burnish.keys.key import ENVIRONMENTS, SCOPES, Key, new_secret, secret_hash
from burnish.storage.postgres import Connection, Database


async def issue_key(
    db: Database,
    *,
    account: str = "default",
    environment: str = "live",
    name: str = "",
    scopes: Collection[str] = SCOPES,
    expires_at: datetime | None = None,
    now: datetime,
) -> tuple[Key, str]:
    """A new key of the account (made when there is none) and its secret.

    Raises:
        Invalid: an unknown environment or scope.
    """
    if environment not in ENVIRONMENTS:
        raise Invalid(f"The environment must be one of {', '.join(ENVIRONMENTS)}.", param="environment")
    if unknown := sorted(set(scopes) - set(SCOPES)):
        raise Invalid(f"There is no scope {unknown[0]}; there are {', '.join(SCOPES)}.", param="scopes")
    async with db.transaction() as tx:
        return await _issue(tx, account, environment, name, frozenset(scopes), expires_at, now)


async def issue_first_key(db: Database, *, now: datetime) -> str | None:
    """The secret of a first key, when this database has none at all; None ever after."""
    async with db.transaction() as tx:
        await tx.execute("LOCK TABLE keys IN SHARE ROW EXCLUSIVE MODE")
        if await store.any_key(tx):
            return None
        _, secret = await _issue(tx, "default", "live", "first key", frozenset(SCOPES), None, now)
        return secret


async def revoke_key(db: Database, key_id: UUID, *, now: datetime) -> None:
    """Revoke; every process forgets the key at once. Raises NotFound."""
    async with db.transaction() as tx:
        if not await store.set_revoked(tx, key_id, now):
            raise NotFound(f"There is no key {to_wire('key', key_id)}.")
    db.news.announce(["keys"])


async def _issue(
    tx: Connection,
    account: str,
    environment: str,
    name: str,
    scopes: frozenset[str],
    expires_at: datetime | None,
    now: datetime,
) -> tuple[Key, str]:
    account_id = await store.ensure_account(tx, new_id(), account, now)
    if environment == "test":
        account_id = await store.ensure_test_account(tx, account_id, now)
    secret = new_secret(environment)
    key = Key(new_id(), account_id, account, environment, name, secret[-4:], scopes, now, expires_at, None)
    await store.insert_key(tx, key, secret_hash(secret))
    return key, secret
