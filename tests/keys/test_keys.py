"""Keys: issued once, told from typos, revoked everywhere at once."""

import asyncio
import contextlib
import json
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import timedelta
from ipaddress import ip_address
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from burnish.clock import Clock
from burnish.errors import Forbidden, Invalid, NotFound, Unauthenticated
from burnish.ids import new_id
from burnish.keys.authenticate import Authenticator
from burnish.keys.issue import issue_first_key, issue_key, revoke_key
from burnish.keys.key import ADMIN, ENVIRONMENTS, new_secret, well_formed
from burnish.keys.store import find_key
from burnish.settings import Settings
from burnish.storage.postgres import Database, open_database
from waiting import until

Later = Callable[[float], Awaitable[None]]


@pytest.fixture
async def authenticator(db: Database) -> AsyncIterator[Authenticator]:
    async with contextlib.AsyncExitStack() as stack:
        opened = Authenticator(db)
        stack.push_async_callback(opened.close)
        yield opened


@given(st.sampled_from(ENVIRONMENTS), st.integers(0, 100), st.sampled_from("0aZ_-é"))
def test_a_typo_is_told_without_the_database(environment: str, place: int, letter: str) -> None:
    """Any one letter changed, at any place, is found by the checksum."""
    secret = new_secret(environment)
    assert well_formed(secret)
    place %= len(secret)
    changed = secret[:place] + letter + secret[place + 1 :]

    assert changed == secret or not well_formed(changed)


@given(st.text(max_size=80))
def test_nothing_else_is_well_formed(text: str) -> None:
    """Whatever a client sends as a key is judged without an error."""
    assert not well_formed(text)


@pytest.mark.usefixtures("account")
async def test_a_key_names_its_account_and_environment(db: Database, authenticator: Authenticator) -> None:
    """The secret is shown once and kept nowhere; only its hash is. A test key's account is the one it was made for."""
    issued, secret = await issue_key(db, account="studio", environment="test", name="ci", now=db.clock.now())

    found = await authenticator.authenticate(secret, db.clock.now())
    assert (found, found.account, found.environment) == (issued, "studio", "test")
    async with db.reading() as connection:
        everything = await connection.fetchval("SELECT string_agg(k::text, ' ') FROM keys k")
    assert secret not in everything
    assert secret[8:-4] not in everything


async def test_401_tells_a_typo_an_unknown_a_revoked_and_an_expired_key_apart(
    db: Database, authenticator: Authenticator, later: Later
) -> None:
    """Each with its own code."""
    now = db.clock.now()
    revoked, revoked_secret = await issue_key(db, now=now)
    _, short_lived = await issue_key(db, expires_at=now + timedelta(seconds=60), now=now)
    await revoke_key(db, revoked.id, now=now)
    await later(61)
    for secret, code in [
        ("bk_live_nonsense", "malformed_key"),
        (new_secret("live"), "unknown_key"),
        (revoked_secret, "revoked_key"),
        (short_lived, "expired_key"),
    ]:
        with pytest.raises(Unauthenticated) as refused:
            await authenticator.authenticate(secret, db.clock.now())
        assert refused.value.code == code
        assert secret not in str(refused.value)


async def test_a_revocation_is_felt_in_another_process_at_once(
    db: Database, settings: Settings, authenticator: Authenticator
) -> None:
    """By announcement: the memory of the other process is emptied."""
    key, secret = await issue_key(db, now=db.clock.now())
    await authenticator.authenticate(secret, db.clock.now())
    other = await open_database(settings.database.url, settings.database, Clock())
    await revoke_key(other, key.id, now=other.clock.now())
    await other.close()

    async def refused() -> bool:
        try:
            await authenticator.authenticate(secret, db.clock.now())
        except Unauthenticated:
            return True
        return False

    await until(refused, 2)


async def test_the_first_key_is_made_once_however_many_start_at_once(db: Database) -> None:
    """Later starts make none."""
    made = await asyncio.gather(*(issue_first_key(db, now=db.clock.now()) for _ in range(5)))

    assert len([secret for secret in made if secret]) == 1
    assert await issue_first_key(db, now=db.clock.now()) is None


async def test_unknown_words_and_unknown_keys_are_refused(db: Database) -> None:
    """An environment, a scope, an id."""
    now = db.clock.now()
    with pytest.raises(Invalid, match="environment"):
        await issue_key(db, environment="production", now=now)
    with pytest.raises(Invalid, match="scope"):
        await issue_key(db, scopes=["tasks:everything"], now=now)
    with pytest.raises(NotFound):
        await revoke_key(db, new_id(), now=now)
    with pytest.raises(NotFound, match="burnish accounts create"):
        await issue_key(db, account="nobody", now=now)
    for refused in ({"credit_cap": -1}, {"name": "x" * 101}, {"environment": "test", "scopes": [ADMIN]}):
        with pytest.raises(Invalid):
            await issue_key(db, now=now, **refused)


async def test_an_operators_key_is_made_only_where_it_is_asked_for(db: Database) -> None:
    """The scope `admin` is in no default; its holder has no other unless it is named too."""
    now = db.clock.now()
    assert ADMIN not in (await issue_key(db, now=now))[0].scopes
    assert (await issue_key(db, scopes=[ADMIN], now=now))[0].scopes == {ADMIN}


# --- where it may be used from ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("networks", "address", "allowed"),
    [
        (["192.0.2.7"], "192.0.2.7", True),
        (["192.0.2.7"], "192.0.2.8", False),
        (["10.0.0.0/8", "2001:db8::/64"], "2001:db8::99", True),
        (["2001:db8::1"], "2001:db8::2", False),
        (["0.0.0.0/0"], "2001:db8::1", False),
        (["::/0"], "192.0.2.7", False),
    ],
)
async def test_a_key_is_good_only_from_its_networks(
    networks: list[str], address: str, allowed: bool, db: Database, authenticator: Authenticator
) -> None:
    """403 `address_not_allowed` from anywhere else; IPv6 counts by the address, not by its /64; from nowhere is nowhere."""
    key, secret = await issue_key(db, allowlist=networks, now=db.clock.now())
    assert len(key.allowlist) == len(networks)
    for from_, may in ((ip_address(address), allowed), (None, False)):
        if may:
            await authenticator.authenticate(secret, db.clock.now(), from_)
            continue
        with pytest.raises(Forbidden) as refused:
            await authenticator.authenticate(secret, db.clock.now(), from_)
        assert refused.value.code == "address_not_allowed"


@pytest.mark.parametrize(
    "network", ["", "10.0.0.5/8", "example.com", "300.1.1.1", "::ffff:10.0.0.0/104", "1.1.1.1/33"]
)
async def test_what_is_no_network_is_refused(network: str, db: Database) -> None:
    """With its place; a network whose address has bits to spare is a mistake, and says so."""
    with pytest.raises(Invalid) as refused:
        await issue_key(db, allowlist=["192.0.2.1", network], now=db.clock.now())
    assert refused.value.param == "allowlist.1"


# --- when it was used ---------------------------------------------------------------------------------------------


async def test_the_last_use_is_written_beside_the_requests(db: Database) -> None:
    """Gathered, and written once for many; also at the end."""
    key, secret = await issue_key(db, now=db.clock.now())
    first, second = Authenticator(db, noted_seconds=0.01), Authenticator(db)

    async def noted() -> object:
        async with db.reading() as connection:
            found = await find_key(connection, key.id)
        assert found is not None
        return found.last_used_at

    now = db.clock.now()
    for seconds in (2, 1):
        await first.authenticate(secret, now + timedelta(seconds=seconds))
        await until(noted)
    await until(lambda: first._noting is None)
    assert await noted() == now + timedelta(seconds=2)
    await second.authenticate(secret, now + timedelta(seconds=3))
    assert await noted() == now + timedelta(seconds=2)
    for one in (first, second):
        await one.close()
    assert await noted() == now + timedelta(seconds=3)


async def test_a_last_use_that_cannot_be_written_is_forgotten(db: Database, settings: Settings) -> None:
    """No request and no stop fails for it."""
    _, secret = await issue_key(db, now=db.clock.now())
    other = await open_database(settings.database.url, settings.database, Clock())
    authenticator = Authenticator(other)
    await authenticator.authenticate(secret, db.clock.now())
    await other.close()
    await authenticator.close()


# --- on the command line ------------------------------------------------------------------------------------------


async def test_the_command_line_creates_lists_and_revokes(settings: Settings, tmp_path: Path) -> None:
    """`burnish keys`, as an operator's script would use it."""

    async def burnish(*arguments: str) -> str:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "burnish", "keys", *arguments, "--data", str(tmp_path),
            env={"BURNISH_DATABASE_URL": settings.database.url, "PATH": ""}, stdout=asyncio.subprocess.PIPE,
        )  # fmt: skip
        said, _ = await process.communicate()
        assert process.returncode == 0
        return said.decode()

    created = json.loads(await burnish("create", "--name", "shop", "--json"))
    assert well_formed(created["secret"])
    assert created["secret"] not in await burnish("list")
    assert created["id"] in await burnish("list")
    await burnish("revoke", created["id"])
    (listed,) = json.loads(await burnish("list", "--json"))
    assert listed["revoked_at"]
