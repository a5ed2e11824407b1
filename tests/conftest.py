"""One embedded PostgreSQL for the run, one template migrated once, a fresh copy for every test that asks.

Time is moved by the one offset that only a test setting honours: `later(seconds)`.
"""

import asyncio
import dataclasses
import os
import shutil
import tempfile
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterator
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import asyncpg
import pytest

from burnish import log
from burnish.clock import Clock
from burnish.ids import new_id
from burnish.keys.store import ensure_account
from burnish.settings import Settings, read
from burnish.storage import directory
from burnish.storage.embedded import Embedded, open_embedded
from burnish.storage.migrate import migrate
from burnish.storage.postgres import Database, open_database
from databases import database_url
from waiting import until

_RUN = os.environ.get("PYTEST_XDIST_TESTRUNUID", str(os.getpid()))
#: A database is a thousand small files: seven hundred of them, made and removed, took a disk's file system two minutes.
_MEMORY = Path("/dev/shm")
_ROOM_BYTES = 4 << 30
_ROOMY = os.access(_MEMORY, os.W_OK) and shutil.disk_usage(_MEMORY).free > _ROOM_BYTES
_DATA = (_MEMORY if _ROOMY else Path(tempfile.gettempdir())) / f"burnish-tests-{_RUN}"


def pytest_sessionfinish(session: pytest.Session) -> None:
    """The process that started the run removes what its workers shared."""
    if not hasattr(session.config, "workerinput"):
        shutil.rmtree(_DATA, ignore_errors=True)


@pytest.fixture(autouse=True, scope="session")
def _logs() -> None:
    log.start(level="warning", format="json")


class _Thread:
    """An event loop beside the tests', for what lives as long as the run."""

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self.loop.run_forever, daemon=True)
        self._thread.start()

    def call(self, work: Coroutine[Any, Any, Any]) -> Any:
        return asyncio.run_coroutine_threadsafe(work, self.loop).result(60)

    def close(self) -> None:
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join(10)
        self.loop.close()


@pytest.fixture(scope="session")
def server() -> Iterator[Embedded]:
    """The run's PostgreSQL: the embedded one, with its real settings but for what a power cut would need: nothing of
    it outlives the run. Tests that kill a server have one of their own.
    """
    thread = _Thread()
    directory.prepare(_DATA)
    embedded = thread.call(open_embedded(_DATA))
    thread.call(_make_template(embedded.dsn))
    yield embedded
    thread.call(embedded.close())
    thread.close()


async def _make_template(dsn: str) -> None:
    admin = await asyncpg.connect(dsn)
    try:
        await admin.execute("SELECT pg_advisory_lock(1)")
        if not await admin.fetchval(
            "SELECT EXISTS (SELECT FROM pg_database WHERE datname = 'template_burnish')"
        ):
            for unneeded in ("fsync", "full_page_writes"):
                await admin.execute(f"ALTER SYSTEM SET {unneeded} = off")
            await admin.execute("SELECT pg_reload_conf()")
            await admin.execute("CREATE DATABASE half_made")
            db = await open_database(database_url(dsn, "half_made"), Settings().database, Clock())
            await migrate(db)
            await db.close()
            await admin.execute("ALTER DATABASE half_made RENAME TO template_burnish")
        await admin.execute("SELECT pg_advisory_unlock(1)")
    finally:
        await admin.close()


@pytest.fixture
async def db_url(server: Embedded) -> AsyncIterator[str]:
    """A database of this test's own, copied file by file: through the log it takes longer."""
    name = f"test_{uuid4().hex}"
    admin = await asyncpg.connect(server.dsn)
    await admin.execute(f"CREATE DATABASE {name} TEMPLATE template_burnish STRATEGY FILE_COPY")
    yield database_url(server.dsn, name)
    await admin.execute(f"DROP DATABASE {name} WITH (FORCE)")
    await admin.close()


@pytest.fixture
def settings(db_url: str, tmp_path: Path) -> Settings:
    """Settings of a service for this test: its own database and folder, loopback allowed, a movable clock."""
    settings = read({}, {"data": str(tmp_path), "database.url": db_url})
    return dataclasses.replace(
        settings,
        testing=True,
        secret_keys=("a-secret-key-for-tests-only-0123456789",),
        outbound=dataclasses.replace(settings.outbound, allow=("127.0.0.0/8",)),
    )


@pytest.fixture
async def db(settings: Settings) -> AsyncIterator[Database]:
    database = await open_database(settings.database.url, settings.database, Clock())
    await database.heed_offset()
    yield database
    await database.close()


@pytest.fixture
async def account(db: Database) -> UUID:
    """An account with nothing in it."""
    async with db.transaction() as tx:
        return await ensure_account(tx, new_id(), "studio", db.clock.now())


@pytest.fixture
def later(db: Database) -> Callable[[float], Awaitable[None]]:
    """Move every process's time ahead by so many seconds."""

    async def move(seconds: float) -> None:
        before = db.clock.now()
        async with db.transaction() as tx:
            await tx.execute("UPDATE clock SET ahead = ahead + make_interval(secs => $1)", float(seconds))
        db.news.announce(["clock"])
        await until(lambda: (db.clock.now() - before).total_seconds() >= seconds)

    return move
