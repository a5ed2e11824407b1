"""Make, rotate, cap and revoke keys. A secret is returned once and kept nowhere; a change is felt everywhere at once."""

import dataclasses
from collections.abc import Collection, Iterable
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

from burnish.errors import Conflict, Invalid, NotFound
from burnish.ids import new_id, to_wire
from burnish.keys import store
from burnish.keys.account import DEFAULT
from burnish.keys.allowlist import read_networks
from burnish.keys.key import ADMIN, ENVIRONMENTS, SCOPES, Key, new_secret, secret_hash
from burnish.storage.postgres import Connection, Database, answering

#: How long a key lives on beside the one that takes its place.
GRACE_SECONDS: Final = 86_400
LONGEST_GRACE: Final = 2_592_000
LARGEST_CAP: Final = 1_000_000_000_000
_LONGEST_NAME: Final = 100


async def issue_key(
    db: Database,
    *,
    account: str = DEFAULT,
    environment: str = "live",
    name: str = "",
    scopes: Collection[str] = SCOPES,
    expires_at: datetime | None = None,
    allowlist: Iterable[str] = (),
    credit_cap: int | None = None,
    now: datetime,
) -> tuple[Key, str]:
    """A new key of the account, and its secret. Only the account `default` is made when there is none.

    Raises:
        Invalid: an environment, a scope, a network or a cap that cannot be.
        NotFound: there is no such account.
        Unavailable: the database does not answer.
    """
    _must_fit(environment, name, scopes, credit_cap)
    networks = read_networks(allowlist)
    with answering():
        async with db.transaction() as tx:
            account_id = await _account_of(tx, account, now)
            if environment == "test":
                account_id = await store.ensure_test_account(tx, account_id, now)
            wanted = Key(
                new_id(), account_id, account, environment, name, "", frozenset(scopes), now, expires_at, None,
                allowlist=networks, credit_cap=credit_cap,
            )  # fmt: skip
            return await _insert(tx, wanted)


async def issue_first_key(db: Database, *, now: datetime) -> str | None:
    """The secret of a first key, when this database has none at all; None ever after."""
    async with db.transaction() as tx:
        await tx.execute("LOCK TABLE keys IN SHARE ROW EXCLUSIVE MODE")
        if await store.any_key(tx):
            return None
        account_id = await _account_of(tx, DEFAULT, now)
        wanted = Key(
            new_id(), account_id, DEFAULT, "live", "first key", "", frozenset(SCOPES), now, None, None
        )
        _, secret = await _insert(tx, wanted)
        return secret


async def rotate_key(
    db: Database, key_id: UUID, grace_seconds: int = GRACE_SECONDS, *, now: datetime
) -> tuple[Key, str]:
    """A key in the place of this one, and its secret: the same in everything but that. It may spend what the old one has
    left, which until its end, `grace_seconds` from now, the old one may too; 0 revokes the old one now.

    Raises:
        Invalid: too long a grace.
        NotFound: there is no such key.
        Conflict: it was revoked, has expired, or has been rotated already.
        Unavailable: the database does not answer.
    """
    if not 0 <= grace_seconds <= LONGEST_GRACE:
        raise Invalid(f"The grace may be 0 to {LONGEST_GRACE} seconds.", param="grace_seconds")
    with answering():
        async with db.transaction() as tx:
            old = await store.lock_key(tx, key_id)
            if old is None:
                raise _unknown(key_id)
            if old.ended(now):
                raise Conflict(f"{to_wire('key', key_id)} is of no use any more. Make a new key.")
            if (successor := await store.find_successor(tx, key_id)) is not None:
                raise Conflict(
                    f"{to_wire('key', key_id)} has been rotated: {to_wire('key', successor)} is in its place. Rotate that one."
                )
            left = old.credit_cap
            if left is not None:
                left = max(0, left - (await store.read_spent(tx, [key_id])).get(key_id, 0))
            wanted = dataclasses.replace(
                old, id=new_id(), created_at=now, credit_cap=left, rotates=key_id, last_used_at=None
            )
            issued = await _insert(tx, wanted)
            if grace_seconds:
                await store.set_expiry(tx, key_id, now + timedelta(seconds=grace_seconds))
            else:
                await store.set_revoked(tx, key_id, now)
    db.news.announce(["keys"])
    return issued


async def cap_key(db: Database, key_id: UUID, credit_cap: int | None) -> Key:
    """What the key may spend in all, of what it has spent already too; None: as much as its account has.

    Raises:
        Invalid: a cap that cannot be.
        NotFound: there is no such key.
        Unavailable: the database does not answer.
    """
    _must_be_a_cap(credit_cap)
    with answering():
        async with db.transaction() as tx:
            await store.set_credit_cap(tx, key_id, credit_cap)
            key = await store.find_key(tx, key_id)
    if key is None:
        raise _unknown(key_id)
    db.news.announce(["keys"])
    return key


async def revoke_key(db: Database, key_id: UUID, *, now: datetime) -> Key:
    """Revoke; every process forgets the key at once. One that was revoked before stays as it is.

    Raises:
        NotFound: there is no such key.
        Unavailable: the database does not answer.
    """
    with answering():
        async with db.transaction() as tx:
            await store.set_revoked(tx, key_id, now)
            key = await store.find_key(tx, key_id)
    if key is None:
        raise _unknown(key_id)
    db.news.announce(["keys"])
    return key


async def list_keys(db: Database, account: str | None = None) -> list[Key]:
    """All keys, or those of one account, oldest first. Raises Unavailable."""
    with answering():
        async with db.reading() as connection:
            return await store.list_keys(connection, account)


def _must_fit(environment: str, name: str, scopes: Collection[str], credit_cap: int | None) -> None:
    if environment not in ENVIRONMENTS:
        raise Invalid(f"The environment must be one of {', '.join(ENVIRONMENTS)}.", param="environment")
    if unknown := sorted(set(scopes) - {*SCOPES, ADMIN}):
        raise Invalid(f"There is no scope {unknown[0]}; there are {', '.join(SCOPES)}.", param="scopes")
    if ADMIN in scopes and environment == "test":
        raise Invalid("A test key meets nothing that is real, so it cannot be an operator's.", param="scopes")
    if len(name) > _LONGEST_NAME:
        raise Invalid(f"A key's name has {_LONGEST_NAME} characters at most.", param="name")
    _must_be_a_cap(credit_cap)


def _must_be_a_cap(credit_cap: int | None) -> None:
    if credit_cap is not None and not 0 <= credit_cap <= LARGEST_CAP:
        raise Invalid(f"A cap is 0 to {LARGEST_CAP:,} whole credits.", param="credit_cap")


async def _account_of(tx: Connection, name: str, now: datetime) -> UUID:
    if name == DEFAULT:
        return await store.ensure_account(tx, new_id(), name, now)
    account = await store.find_account(tx, name)
    if account is None:
        raise NotFound(f"There is no account {name[:64]!r}. Make it first: burnish accounts create")
    return account.id


async def _insert(tx: Connection, wanted: Key) -> tuple[Key, str]:
    secret = new_secret(wanted.environment)
    await store.insert_key(tx, dataclasses.replace(wanted, last_four=secret[-4:]), secret_hash(secret))
    key = await store.find_key(tx, wanted.id)
    assert key is not None
    return key, secret


def _unknown(key_id: UUID) -> NotFound:
    return NotFound(f"There is no key {to_wire('key', key_id)}.")
