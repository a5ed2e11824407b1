"""News between processes, the database's time, migrations."""

import asyncio
import contextlib
import dataclasses
import functools
from collections.abc import Awaitable, Callable
from uuid import uuid4

import asyncpg
import pytest

from burnish.clock import Clock
from burnish.errors import Unusable
from burnish.settings import Settings
from burnish.storage.migrate import migrate, migrations
from burnish.storage.postgres import Database, open_database
from databases import database_url
from waiting import until


async def _another(settings: Settings) -> Database:
    return await open_database(settings.database.url, settings.database, Clock())


async def test_what_one_process_announces_another_hears(db: Database, settings: Settings) -> None:
    """Thousands of topics at once arrive, each at its subscribers, more than one payload holds."""
    other = await _another(settings)
    heard: set[str] = set()
    topics = {f"t:{n:0100d}" for n in range(2_000)}
    with contextlib.ExitStack() as stack:
        for topic in topics:
            stack.enter_context(other.news.subscribed(topic, functools.partial(heard.add, topic)))
        db.news.announce(topics)
        await until(lambda: heard == topics)
    await other.close()


async def test_after_a_reconnect_every_subscriber_reads_again(db: Database) -> None:
    """News that went by while the connection was away are not missed."""
    told = asyncio.Event()
    with db.news.subscribed("t:anything", told.set):
        async with db.reading() as connection:
            await connection.fetch(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                "WHERE application_name = 'burnish-news' AND datname = current_database()"
            )
        await asyncio.wait_for(told.wait(), 10)
        told.clear()
        db.news.announce(["t:anything"])
        await asyncio.wait_for(told.wait(), 10)


async def test_the_clock_is_the_databases(db: Database, later: Callable[[float], Awaitable[None]]) -> None:
    """A wrong wall clock of this machine is corrected at start; the test offset moves it."""
    async with db.reading() as connection:
        assert (
            abs((await connection.fetchval("SELECT clock_timestamp()") - db.clock.now()).total_seconds()) < 1
        )
    before = db.clock.now()
    await later(3600)
    assert 3600 <= (db.clock.now() - before).total_seconds() < 3700


async def test_without_the_test_setting_the_offset_moves_nothing(settings: Settings, db: Database) -> None:
    """Only a service that was told so reads it."""
    async with db.transaction() as tx:
        await tx.execute("UPDATE clock SET ahead = interval '1 year'")
    honest = await open_database(settings.database.url, settings.database, Clock())
    async with honest.reading() as connection:
        assert (
            abs((await connection.fetchval("SELECT clock_timestamp()") - honest.clock.now()).total_seconds())
            < 5
        )
    await honest.close()


async def test_migrations_apply_once_and_are_checked(db: Database) -> None:
    """A second start applies nothing."""
    assert await migrate(db) == []
    async with db.reading() as connection:
        applied = await connection.fetch("SELECT number, checksum FROM migrations ORDER BY number")
    assert [(row["number"], row["checksum"]) for row in applied] == [
        (m.number, m.checksum) for m in migrations()
    ]


async def test_two_processes_that_start_at_once_migrate_once(settings: Settings, db: Database) -> None:
    """The advisory lock lets one of them do it."""
    admin = await asyncpg.connect(settings.database.url)
    name = f"empty_{uuid4().hex}"
    await admin.execute(f"CREATE DATABASE {name}")
    url = database_url(settings.database.url, name)
    both = [await open_database(url, settings.database, Clock()) for _ in range(2)]
    applied = await asyncio.gather(*(migrate(one) for one in both))

    assert sorted(len(done) for done in applied) == [0, len(migrations())]
    for one in both:
        await one.close()
    await admin.execute(f"DROP DATABASE {name} WITH (FORCE)")
    await admin.close()


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ("INSERT INTO migrations (number, name, checksum) VALUES (9999, 'later', 'x')", "newer version"),
        ("UPDATE migrations SET checksum = 'x' WHERE number = 1", "not the one that was applied"),
    ],
)
async def test_a_database_of_another_version_is_refused(db: Database, change: str, says: str) -> None:
    """With what to do, and without touching it."""
    async with db.transaction() as tx:
        await tx.execute(change)
    with pytest.raises(Unusable, match=says):
        await migrate(db)


async def test_a_database_that_cannot_be_reached_says_so_without_its_password(settings: Settings) -> None:
    """The cause is named, the password is not."""
    url = "postgresql://someone:hunter2hunter2@127.0.0.1:9/nothing"
    with pytest.raises(Unusable) as refused:
        await open_database(url, dataclasses.replace(settings.database, url=url), Clock())
    assert "hunter2" not in str(refused.value)
    assert "cannot be reached" in str(refused.value)
