"""Rotation: a key in the place of another; the other lives on for a grace, or ends. Caps: what a key may spend in all."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import timedelta
from uuid import UUID

import pytest

from burnish.clock import Clock
from burnish.errors import Conflict, Invalid, NotFound, Unauthenticated
from burnish.ids import new_id, to_wire
from burnish.keys.authenticate import Authenticator
from burnish.keys.issue import cap_key, issue_key, revoke_key, rotate_key
from burnish.keys.key import Key
from burnish.keys.store import find_key, read_spent
from burnish.limits import store as windows
from burnish.settings import Settings
from burnish.storage.postgres import Database, open_database
from burnish.storage.statement import write
from burnish.tasks.decide import FOR_EVER, KEY_CREDITS
from burnish.tasks.task import key_digits

Later = Callable[[float], Awaitable[None]]


async def read(db: Database, key_id: UUID) -> Key:
    async with db.reading() as connection:
        key = await find_key(connection, key_id)
    assert key is not None
    return key


async def spend(db: Database, key: Key, credits_: int) -> None:
    """As an admission counts it."""
    use = (key.account_id, KEY_CREDITS, key_digits(key.id), FOR_EVER.starts_at, credits_, FOR_EVER.ends_at)
    async with db.transaction() as tx:
        await write(tx, [windows.count([use])])


async def code_of(authenticator: Authenticator, secret: str, db: Database) -> str:
    try:
        await authenticator.authenticate(secret, db.clock.now())
    except Unauthenticated as refused:
        return refused.code
    return "valid"


async def test_both_are_good_until_the_grace_is_over(db: Database, later: Later) -> None:
    """The new one is the old one in everything but its secret; the old one ends by itself."""
    old, secret = await issue_key(
        db,
        name="shop",
        scopes=["tasks:read"],
        environment="dev",
        allowlist=["10.0.0.0/8"],
        now=db.clock.now(),
    )
    new, new_secret = await rotate_key(db, old.id, 60, now=db.clock.now())
    same = ("account", "account_id", "environment", "name", "scopes", "allowlist", "credit_cap", "expires_at")
    assert [getattr(new, name) for name in same] == [getattr(old, name) for name in same]
    assert (new.rotates, new_secret[-4:]) == (old.id, new.last_four)
    assert new_secret != secret
    ending = (await read(db, old.id)).expires_at
    assert ending is not None
    assert timedelta(seconds=55) < ending - db.clock.now() <= timedelta(seconds=60)
    await later(61)
    assert (await read(db, old.id)).ended(db.clock.now())
    assert not (await read(db, new.id)).ended(db.clock.now())


async def test_a_rotation_never_prolongs_a_key(db: Database) -> None:
    """One that expires before its grace is over expires then, and so does the one in its place."""
    soon = db.clock.now() + timedelta(seconds=30)
    old, _ = await issue_key(db, expires_at=soon, now=db.clock.now())
    new, _ = await rotate_key(db, old.id, now=db.clock.now())
    assert (await read(db, old.id)).expires_at == new.expires_at == soon


async def test_a_key_is_rotated_once(db: Database) -> None:
    """In its grace it is still good, and another key is in its place already: that one is named, and may be rotated."""
    old, _ = await issue_key(db, now=db.clock.now())
    new, _ = await rotate_key(db, old.id, now=db.clock.now())
    with pytest.raises(Conflict, match=to_wire("key", new.id)):
        await rotate_key(db, old.id, now=db.clock.now())
    newest, _ = await rotate_key(db, new.id, now=db.clock.now())
    assert newest.rotates == new.id


async def test_without_grace_the_old_one_is_refused_everywhere_within_a_second(
    db: Database, settings: Settings
) -> None:
    """Also in a process that has just heard that it is good."""
    old, secret = await issue_key(db, now=db.clock.now())
    other = await open_database(settings.database.url, settings.database, Clock())
    there = Authenticator(other)
    assert await code_of(there, secret, db) == "valid"
    _, new_secret = await rotate_key(db, old.id, 0, now=db.clock.now())
    async with asyncio.timeout(1):
        while await code_of(there, secret, db) == "valid":
            await asyncio.sleep(0.01)
    assert (await code_of(there, secret, db), await code_of(there, new_secret, db)) == (
        "revoked_key",
        "valid",
    )
    await there.close()
    await other.close()


async def test_what_is_of_no_use_is_not_rotated(db: Database) -> None:
    """Neither revoked nor expired nor unknown keys; nor with a grace that cannot be."""
    now = db.clock.now()
    revoked, _ = await issue_key(db, now=now)
    await revoke_key(db, revoked.id, now=now)
    expired, _ = await issue_key(db, expires_at=now - timedelta(seconds=1), now=now)
    for key in (revoked, expired):
        with pytest.raises(Conflict):
            await rotate_key(db, key.id, now=now)
    with pytest.raises(NotFound):
        await rotate_key(db, new_id(), now=now)
    for grace in (-1, 2_592_001):
        with pytest.raises(Invalid):
            await rotate_key(db, expired.id, grace, now=now)


@pytest.mark.parametrize(
    ("cap", "spent", "left"), [(None, 30, None), (100, 0, 100), (100, 30, 70), (20, 30, 0)]
)
async def test_the_new_key_may_spend_what_the_old_one_has_left(
    cap: int | None, spent: int, left: int | None, db: Database
) -> None:
    """A cap is not renewed by a rotation."""
    old, _ = await issue_key(db, credit_cap=cap, now=db.clock.now())
    if spent:
        await spend(db, old, spent)
    new, _ = await rotate_key(db, old.id, now=db.clock.now())
    assert new.credit_cap == left
    async with db.reading() as connection:
        assert await read_spent(connection, [old.id, new.id]) == ({old.id: spent} if spent else {})


async def test_a_cap_is_set_and_taken_away(db: Database) -> None:
    """0 allows nothing that costs, None everything that the account has; of unknown keys nobody hears."""
    key, _ = await issue_key(db, now=db.clock.now())
    for cap in (0, 500, None):
        assert (await cap_key(db, key.id, cap)).credit_cap == cap
    with pytest.raises(NotFound):
        await cap_key(db, new_id(), 1)
    with pytest.raises(Invalid):
        await cap_key(db, key.id, -1)
