"""The embedded PostgreSQL on its good and bad days: real servers, real kills, nothing left behind."""

import asyncio
import contextlib
import os
import pwd
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import asyncpg
import psutil
import pytest

from burnish.errors import Unusable
from burnish.storage import cluster, keeper
from burnish.storage.directory import Lock, prepare
from burnish.storage.embedded import Embedded, open_embedded
from waiting import until

_HOLDER = """
import asyncio, sys, uvloop
from pathlib import Path
from burnish.storage.embedded import open_embedded

async def main():
    embedded = await open_embedded(Path(sys.argv[1]))
    print(embedded.dsn, flush=True)
    await asyncio.to_thread(sys.stdin.read)
    await embedded.close()

uvloop.run(main())
"""
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="of interest to root alone")


# --- places -----------------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def _place() -> Iterator[Path]:
    """A folder that everybody may pass through; afterwards nothing runs below it, and nothing above has changed."""
    folder = Path(tempfile.mkdtemp(prefix="burnish-"))
    folder.chmod(0o711)
    above = [(path, _rights(path)) for path in (folder, *folder.parents)]
    try:
        yield folder
        _ended(folder)
        assert [(path, _rights(path)) for path, _ in above] == above
    finally:
        for pid in _processes(folder):
            os.kill(pid, signal.SIGKILL)
        shutil.rmtree(folder)


@pytest.fixture
def place() -> Iterator[Path]:
    with _place() as folder:
        yield folder


@pytest.fixture
def new(place: Path) -> Path:
    """A directory without a database."""
    return place / "data"


@pytest.fixture(scope="session")
def made() -> Iterator[Path]:
    """A directory whose database has a table with one row. It goes through all the bad days below, one by one."""
    with _place() as folder:
        asyncio.run(_make(folder / "data"))
        yield folder / "data"


async def _make(data: Path) -> None:
    embedded = await open_embedded(data)
    await _ask(embedded, "CREATE TABLE kept AS SELECT 42 AS answer")
    await embedded.close()


@pytest.fixture
def data(made: Path) -> Iterator[Path]:
    """`made`, of which nothing runs."""
    yield made
    _ended(made)


@pytest.fixture
def bones(place: Path) -> Path:
    """What is looked at before a server is started: a directory as after its database was made."""
    data = place / "data"
    prepare(data)
    (data / "postgres" / "global").mkdir(parents=True)
    (data / "postgres" / "PG_VERSION").write_text("18\n")
    (data / "postgres" / "global" / "pg_control").touch()
    (data / "postgres.password").write_text("secret")
    if os.geteuid() == 0:
        shutil.chown(data / "postgres", "nobody")
    return data


@pytest.fixture
async def embedded(data: Path) -> AsyncIterator[Embedded]:
    holder = await open_embedded(data)
    yield holder
    await holder.close()


@contextlib.asynccontextmanager
async def _holder(data: Path) -> AsyncIterator[asyncio.subprocess.Process]:
    """Another process that holds on, on the event loop of `serve`."""
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", _HOLDER, data, stdin=pipe, stdout=pipe
    )
    assert process.stdout
    try:
        yield process
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.communicate()


async def _ask(embedded: Embedded, query: str, dsn: str = "") -> Any:
    connection = await asyncpg.connect(dsn or embedded.dsn)
    try:
        return await connection.fetchval(query)
    finally:
        await connection.close()


async def _answer(embedded: Embedded, query: str) -> Any:
    """What `_ask` answers, once it does."""
    async with asyncio.timeout(20):
        while True:
            try:
                return await _ask(embedded, query)
            except (OSError, asyncpg.PostgresError):
                await asyncio.sleep(0.02)


def _rights(path: Path) -> tuple[int, int, int]:
    there = path.stat()
    return there.st_uid, there.st_gid, there.st_mode


def _ended(folder: Path) -> None:
    _wait(lambda: not _processes(folder))


def _processes(folder: Path) -> list[int]:
    """Whatever runs for a directory below `folder`: keepers by what they were told, servers by where they work."""
    return [int(entry.name) for entry in Path("/proc").glob("[0-9]*") if _runs_for(entry, str(folder))]


def _runs_for(entry: Path, folder: str) -> bool:
    with contextlib.suppress(OSError):
        words = (entry / "cmdline").read_text("utf-8", "replace").split("\0")
        if "burnish.storage.keeper" in words:
            return any(word.startswith(folder) for word in words)
        return str((entry / "cwd").readlink()).startswith(folder)
    return False


def _words(pid: int) -> str:
    return Path(f"/proc/{pid}/cmdline").read_text("utf-8", "replace").replace("\0", " ")


def _wait(condition: Callable[[], object], seconds: float = 20.0) -> None:
    until = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < until, "it did not come to pass"
        time.sleep(0.02)


def _keeper(data: Path) -> int:
    return int((data / "keeper").read_text())


def _postmaster(data: Path) -> int:
    return int((data / "postgres" / "postmaster.pid").read_text().split()[0])


def _gone(pid: int) -> bool:
    return not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE


# --- good days --------------------------------------------------------------------------------------------------------


async def test_a_new_directory_gets_a_durable_database_and_nothing_outside_is_changed(
    new: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is written stays, commits are durable, nobody is listened to but through the socket, and the caller's
    PG variables mean nothing.
    """
    (new.parent / "neighbour").touch(mode=0o604)
    for name, value in {"PGPORT": "1", "PGDATA": "/nowhere", "PGOPTIONS": "-c fsync=off"}.items():
        monkeypatch.setenv(name, value)
    embedded = await open_embedded(new)
    assert embedded.version.startswith("18.")
    settings = {
        name: await _ask(embedded, f"SHOW {name}")
        for name in ("fsync", "synchronous_commit", "full_page_writes", "listen_addresses", "TimeZone", "jit")
    }
    assert settings == {
        "fsync": "on",
        "synchronous_commit": "on",
        "full_page_writes": "on",
        "listen_addresses": "",
        "TimeZone": "UTC",
        "jit": "off",
    }
    assert await _ask(embedded, "SELECT current_user || ' ' || current_database()") == "burnish burnish"
    assert await _ask(embedded, "SELECT datlocale FROM pg_database WHERE datname = 'burnish'") == "C.UTF-8"
    await _ask(embedded, "CREATE TABLE kept AS SELECT 42 AS answer")
    await embedded.close()
    assert not _processes(new)

    embedded = await open_embedded(new)
    assert await _ask(embedded, "SELECT answer FROM kept") == 42
    await embedded.close()
    await embedded.close()
    assert not _processes(new)
    assert (new.parent / "neighbour").stat().st_mode & 0o777 == 0o604
    assert {path.name for path in new.parent.iterdir()} == {"data", "neighbour"}


async def test_the_password_is_the_owners_alone(embedded: Embedded, data: Path) -> None:
    """It is in one file, 0600; in no log, on no command line; and the server wants it."""
    password = (data / "postgres.password").read_text()
    assert len(password) == 48
    assert {path.stat().st_mode & 0o777 for path in data.iterdir() if path.is_file()} == {0o600}
    assert password not in (data / "postgres.log").read_text()
    assert all(password not in _words(pid) for pid in _processes(data))
    with pytest.raises(asyncpg.InvalidPasswordError):
        await _ask(embedded, "SELECT 1", embedded.dsn.replace(password, "guess"))


async def test_the_last_holder_out_stops_the_server(data: Path) -> None:
    """As long as one holds on it answers; when the last one has closed, nothing runs any more."""
    first, second = await open_embedded(data), await open_embedded(data)
    server = _postmaster(data)
    await first.close()
    assert await _ask(second, "SELECT answer FROM kept") == 42
    assert _postmaster(data) == server
    await second.close()
    assert not _processes(data)


async def test_processes_that_come_at_once_share_one_server(new: Path) -> None:
    """Several that find no database make one, and all of them use it."""
    async with _holder(new) as one, _holder(new) as two:
        embedded = await open_embedded(new)
        assert one.stdout
        assert two.stdout
        assert await one.stdout.readline() == f"{embedded.dsn}\n".encode() == await two.stdout.readline()
        assert len([pid for pid in _processes(new) if "burnish.storage.keeper" in _words(pid)]) == 1
        await embedded.close()
        assert _processes(new)


async def test_who_comes_while_the_server_stops_is_served(data: Path) -> None:
    """Closing and opening at once: the newcomer keeps the server, or waits for its end and starts the next."""
    holder = await open_embedded(data)
    for _ in range(5):
        closing = asyncio.create_task(holder.close())
        holder = await open_embedded(data)
        assert await _ask(holder, "SELECT answer FROM kept") == 42
        await closing
    await holder.close()


async def test_any_path_will_do(data: Path) -> None:
    """A path longer than a socket's may be, one with signs that addresses are cut at; DIR may be moved there."""
    for name in ("d" * 120, "a,b c", "größe %41"):
        moved = data.rename(data.with_name(name))
        try:
            embedded = await open_embedded(moved)
            assert await _ask(embedded, "SELECT answer FROM kept") == 42
            await embedded.close()
        finally:
            moved.rename(data)


# --- kills ------------------------------------------------------------------------------------------------------------


async def test_a_killed_holder_leaves_nothing_running(data: Path) -> None:
    """No process closes, none cleans up: the server stops by itself."""
    async with _holder(data) as holder:
        assert holder.stdout
        assert await holder.stdout.readline()
        assert _processes(data)
        holder.kill()
        await until(lambda: not _processes(data))


async def test_the_server_comes_back_when_it_is_killed(embedded: Embedded, data: Path) -> None:
    """Also when a backend is in a long query, which does not notice that its postmaster is gone."""
    busy = await asyncpg.connect(embedded.dsn)
    query = asyncio.create_task(busy.fetchval("SELECT count(*) FROM generate_series(1, 1e10::bigint)"))
    backend = busy.get_server_pid()
    await until(lambda: psutil.Process(backend).cpu_times().user > 0.05)
    killed = _postmaster(data)
    os.kill(killed, signal.SIGKILL)
    with pytest.raises((OSError, asyncpg.PostgresError)):
        await query
    assert await _answer(embedded, "SELECT answer FROM kept") == 42
    assert _postmaster(data) != killed
    assert _gone(backend)
    assert "it is started again" in (data / "postgres.log").read_text()


async def test_the_server_comes_back_when_its_keeper_is_killed(embedded: Embedded, data: Path) -> None:
    """The server goes with its keeper, and a holder that lives starts another."""
    killed, server = _keeper(data), _postmaster(data)
    os.kill(killed, signal.SIGKILL)
    await until(lambda: _gone(server))
    assert await _answer(embedded, "SELECT answer FROM kept") == 42
    assert _keeper(data) != killed


async def test_signals_of_a_terminal_or_a_machine_do_not_stop_the_keeper(
    embedded: Embedded, data: Path
) -> None:
    """Whoever uses the server is told too, and may still need it to end well."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        os.kill(_keeper(data), number)
    assert await _ask(embedded, "SELECT answer FROM kept") == 42
    assert os.getsid(_keeper(data)) != os.getsid(0)


async def test_half_a_database_is_thrown_away(new: Path) -> None:
    """Killed while initdb runs: the next one begins anew and ends well."""
    opening = asyncio.create_task(open_embedded(new))
    await until((new / "postgres.new" / "global").exists)
    (new / "postgres.new" / "of the first try").touch()
    os.kill(_keeper(new), signal.SIGKILL)
    embedded = await opening
    assert await _ask(embedded, "SELECT 1") == 1
    assert not (new / "postgres" / "of the first try").exists()
    assert not list(new.glob("*.new"))
    await embedded.close()


async def test_a_cancelled_opening_leaves_nothing_running(new: Path) -> None:
    """Ctrl-C while the database is being made."""
    opening = asyncio.create_task(open_embedded(new))
    await until((new / "postgres.new").exists)
    opening.cancel()
    with pytest.raises(asyncio.CancelledError):
        await opening
    await until(lambda: not _processes(new))


async def test_a_stale_pid_file_is_no_obstacle(data: Path) -> None:
    """After a power cut its number may be another program's, of the same user even."""
    embedded = await open_embedded(data)
    pid_file = data / "postgres" / "postmaster.pid"
    stale = pid_file.read_text()
    await embedded.close()
    owner = (data / "postgres").stat()
    other_user = {"user": owner.st_uid, "group": owner.st_gid} if os.geteuid() == 0 else {}
    with subprocess.Popen(["sleep", "100"], cwd="/", **other_user) as other:  # type: ignore[call-overload]
        for name in ("postmaster.pid", ".s.PGSQL.5432.lock"):
            path = data / "postgres" / name
            path.write_text(stale.replace(stale.split()[0], str(other.pid)))
            os.chown(path, owner.st_uid, owner.st_gid)
        embedded = await open_embedded(data)
        assert await _ask(embedded, "SELECT answer FROM kept") == 42
        assert other.poll() is None
        other.kill()
    await embedded.close()


async def test_a_crash_loses_no_commit(data: Path) -> None:
    """Everything is killed at once; the next start recovers."""
    async with _holder(data) as holder:
        assert holder.stdout
        dsn = (await holder.stdout.readline()).decode().strip()
        connection = await asyncpg.connect(dsn)
        await connection.execute("CREATE TABLE late AS SELECT 44 AS answer")
        connection.terminate()
        victims = _processes(data)
        for pid in victims:
            with contextlib.suppress(ProcessLookupError):  # the server's helpers come and go
                os.kill(pid, signal.SIGKILL)
        holder.kill()
        await until(lambda: all(map(_gone, victims)))
    embedded = await open_embedded(data)
    assert await _ask(embedded, "SELECT answer FROM late") == 44
    await embedded.close()


def test_a_server_that_does_not_stop_is_made_to(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A stopped (SIGSTOP) server hears neither of the two ways to ask; nothing of it is left all the same."""
    monkeypatch.setattr(
        keeper, "_STOPPING", ((signal.SIGINT, 0.3), (signal.SIGQUIT, 0.3), (signal.SIGKILL, 20.0))
    )
    lock = Lock(data / "keeper")
    log = keeper.Log(data / "postgres.log")
    server = keeper.Server(cluster.open_cluster(data, _installed(), "", lock.file), log)
    while not server.was_ready:
        assert server.lives()
    os.kill(_postmaster(data), signal.SIGSTOP)
    server.stop()
    lock.close()
    _wait(lambda: not _processes(data))


# --- directories that are not what they should be ---------------------------------------------------------------------


async def _complaint(data: Path) -> str:
    """Why the directory cannot be opened; whatever was there as a database is untouched."""
    before = sorted(path.name for path in data.rglob("*") if path.name != "postgres.log")
    with pytest.raises(Unusable) as refused:
        await open_embedded(data)
    after = sorted(path.name for path in data.rglob("*") if path.name != "postgres.log")
    assert [name for name in after if name not in before and name not in {"in-use", "keeper"}] == []
    assert [name for name in before if name not in after] == []
    return str(refused.value)


async def test_another_major_version_is_named(bones: Path) -> None:
    """Both versions are, and the way over."""
    (bones / "postgres" / "PG_VERSION").write_text("16\n")
    complaint = await _complaint(bones)
    assert "made by PostgreSQL 16" in complaint
    assert "brings PostgreSQL 18" in complaint
    assert "dump" in complaint


async def test_an_empty_database_folder_gets_no_new_database(bones: Path) -> None:
    """Its disk may not be mounted."""
    (bones / "postgres" / "PG_VERSION").unlink()
    assert "no whole database" in await _complaint(bones)


async def test_half_a_database_folder_gets_no_new_database(bones: Path) -> None:
    """Nor may another program's start on it."""
    (bones / "postgres" / "global" / "pg_control").unlink()
    assert "no whole database" in await _complaint(bones)


async def test_a_database_folder_that_is_gone_is_missed(bones: Path) -> None:
    """What lies beside it says that it was there."""
    shutil.rmtree(bones / "postgres")
    assert "is gone" in await _complaint(bones)


async def test_a_lost_password_is_said(bones: Path) -> None:
    """And not replaced by one that does not fit."""
    (bones / "postgres.password").unlink()
    assert "postgres.password is missing" in await _complaint(bones)


@as_root
async def test_a_database_that_belongs_to_root_is_said(bones: Path) -> None:
    """As after a backup was put back by root: nothing is given away unasked."""
    shutil.chown(bones / "postgres", "root")
    assert "chown -R" in await _complaint(bones)


async def test_a_wrong_password_is_said(data: Path) -> None:
    """At once."""
    password = (data / "postgres.password").read_text()
    (data / "postgres.password").write_text("guess")
    with pytest.raises(Unusable, match="does not let Burnish in"):
        await open_embedded(data)
    (data / "postgres.password").write_text(password)


async def test_a_server_that_cannot_start_says_why(data: Path) -> None:
    """The caller sees the last lines of its log, at once."""
    with _nonsense_in(data):
        complaint = await _complaint(data)
    assert "could not start" in complaint
    assert 'unrecognized configuration parameter "nonsense"' in complaint


async def test_a_server_that_cannot_start_again_is_tried_until_it_can(embedded: Embedded, data: Path) -> None:
    """Who comes meanwhile is told why; who holds on is served when the reason is gone."""
    with _nonsense_in(data):
        os.kill(_postmaster(data), signal.SIGKILL)
        await until(lambda: not _processes(data))
        with pytest.raises(Unusable, match="unrecognized configuration parameter"):
            await open_embedded(data)
    assert await _answer(embedded, "SELECT answer FROM kept") == 42


@contextlib.contextmanager
def _nonsense_in(data: Path) -> Iterator[None]:
    path = data / "postgres" / "postgresql.conf"
    settings = path.read_text()
    path.write_text(f"{settings}\nnonsense = 1\n")
    yield
    path.write_text(settings)


async def test_a_server_that_somebody_else_started_is_left_alone(data: Path) -> None:
    """Its pid file is not taken from it."""
    with subprocess.Popen(["sleep", "100"], cwd=data / "postgres") as other:
        (data / "postgres" / "postmaster.pid").write_text(f"{other.pid}\n")
        assert f"pid {other.pid}" in await _complaint(data)
        assert _postmaster(data) == other.pid
        (data / "postgres" / "postmaster.pid").unlink()
        other.kill()


def test_the_log_is_bounded(tmp_path: Path) -> None:
    """Two files, whatever the server has to say; the newest words are there."""
    log = keeper.Log(tmp_path / "postgres.log")
    for number in range(150):
        log.write(f"{number} {'x' * 65_000}\n".encode())
    files = sorted(path.name for path in tmp_path.iterdir())
    assert files == ["postgres.log", "postgres.log.1"]
    assert sum(path.stat().st_size for path in tmp_path.iterdir()) < 9_000_000
    assert "149 x" in (tmp_path / "postgres.log").read_text()


# --- full disks -------------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def _disk(folder: Path, mebibytes: int, *options: str) -> Iterator[Path]:
    """A file system of its own."""
    folder.mkdir()
    size = ",".join([f"size={mebibytes}m", "mode=711", *options])
    mount = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", size, "none", folder], check=False, capture_output=True
    )
    if mount.returncode:
        pytest.skip("no file system can be mounted here")
    try:
        yield folder
    finally:
        _ended(folder)
        subprocess.run(["umount", folder], check=True)


@as_root
def test_a_full_directory_is_said(place: Path) -> None:
    """Before anything is begun."""
    with _disk(place / "disk", 8) as disk, pytest.raises(Unusable, match="is full: 8 MiB free"):
        prepare(disk / "data")


@as_root
def test_a_read_only_directory_is_said(place: Path) -> None:
    """Root's rights do not help there."""
    with _disk(place / "disk", 64, "ro") as disk, pytest.raises(Unusable, match="Read-only file system"):
        prepare(disk)


@as_root
async def test_a_disk_too_small_for_a_database_is_said(place: Path) -> None:
    """In the words of initdb; when room is made, the database is."""
    with _disk(place / "disk", 24) as disk:
        with pytest.raises(Unusable, match=r"No space left on device|Check free disk space"):
            await open_embedded(disk / "data")
        subprocess.run(["mount", "-o", "remount,size=200m", disk], check=True)
        embedded = await open_embedded(disk / "data")
        assert await _ask(embedded, "SELECT 1") == 1
        await embedded.close()


# --- users ------------------------------------------------------------------------------------------------------------


def _installed() -> Path:
    from burnish.storage import embedded

    return embedded._installed()


@as_root
async def test_root_lends_the_database_to_another_user_and_nothing_else(place: Path) -> None:
    """DIR stays root's and closed, below a closed folder; DIR/postgres is the user's, and so are the programs."""
    (place / "closed").mkdir(mode=0o700)
    data = place / "closed" / "data"
    embedded = await open_embedded(data, "nobody")
    nobody = pwd.getpwnam("nobody").pw_uid
    assert psutil.Process(_postmaster(data)).uids().effective == nobody
    assert psutil.Process(_postmaster(data)).gids().effective != 0
    assert {path.name for path in data.iterdir() if path.stat().st_uid != 0} == {"postgres"}
    assert (data / "postgres").stat().st_uid == nobody
    if not list(data.glob("postgresql-*")):
        assert data.stat().st_mode & 0o777 == 0o700
    await embedded.close()
    with pytest.raises(Unusable, match="chown -R daemon"):
        await open_embedded(data, "daemon")
    with pytest.raises(Unusable, match="no such user"):
        await open_embedded(data, "nobody-at-all")


@as_root
async def test_programs_that_the_user_cannot_reach_are_copied_once(place: Path, new: Path) -> None:
    """As from a clone below /root: the copy is in DIR, which is opened to pass through and not to look into."""
    closed = place / "closed"
    closed.mkdir(mode=0o700)
    installed = _installed()
    shutil.copytree(installed, closed / installed.parent.name / installed.name, symlinks=True)
    libraries = installed.parent.with_name(f"{installed.parent.name}.libs")
    shutil.copytree(libraries, closed / libraries.name)
    prepare(new)
    lock = Lock(new / "keeper")
    arguments = (closed / installed.parent.name / installed.name, "nobody", lock.file)
    opened = cluster.open_cluster(new, *arguments)
    assert opened.programs.is_relative_to(new)
    assert new.stat().st_mode & 0o777 == 0o701
    copied_at = opened.programs.stat().st_ctime_ns
    assert cluster.open_cluster(new, *arguments).programs.stat().st_ctime_ns == copied_at
    embedded = await open_embedded(new)
    assert await _ask(embedded, "SELECT 1") == 1
    await embedded.close()

    prepare(closed / "data")
    with pytest.raises(Unusable, match="user nobody, who can run its programs neither in"):
        cluster.open_cluster(closed / "data", *arguments)
    lock.close()


@as_root
def test_an_ordinary_user_has_it_all_the_same(place: Path) -> None:
    """The whole life as nobody: made, opened again, closed, killed."""
    person = pwd.getpwnam("nobody")
    home = place / "home"
    home.mkdir(mode=0o700)
    os.chown(home, person.pw_uid, person.pw_gid)
    python, environment = _python_for(person)
    command = [python, "-c", _HOLDER, str(home / "data")]
    who: Any = {"user": person.pw_uid, "group": person.pw_gid, "extra_groups": []}
    pipe = subprocess.PIPE
    for last_word in ("close", "kill"):
        with subprocess.Popen(command, env=environment, cwd="/", stdin=pipe, stdout=pipe, **who) as holder:
            assert holder.stdout
            assert holder.stdin
            assert holder.stdout.readline().startswith(b"postgresql://")
            assert psutil.Process(_postmaster(home / "data")).uids().effective == person.pw_uid
            holder.kill() if last_word == "kill" else holder.stdin.close()
        _wait(lambda: not _processes(home))
    assert {path.lstat().st_uid for path in home.rglob("*")} == {person.pw_uid}


@as_root
async def test_root_leaves_nothing_of_its_own_in_a_users_directory(place: Path) -> None:
    """`sudo burnish doctor` must not lock its owner out."""
    person = pwd.getpwnam("nobody")
    data = place / "data"
    data.mkdir(mode=0o700)
    os.chown(data, person.pw_uid, person.pw_gid)
    embedded = await open_embedded(data)
    await embedded.close()
    assert {path.lstat().st_uid for path in data.iterdir() if path.name[:11] != "postgresql-"} == {
        person.pw_uid
    }


def _python_for(person: pwd.struct_passwd) -> tuple[str, dict[str, str]]:
    """An interpreter that this person can run, and what it needs to find us."""
    environment = {"PATH": os.defpath, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    for python in (sys.executable, os.path.realpath(sys.executable), shutil.which(version, path=os.defpath)):
        if python:
            with contextlib.suppress(OSError):
                done = subprocess.run(
                    [python, "-c", "import burnish.storage.embedded"],
                    env=environment,
                    cwd="/",
                    user=person.pw_uid,
                    group=person.pw_gid,
                    extra_groups=[],
                    capture_output=True,
                    check=False,
                )
                if done.returncode == 0:
                    return python, environment
    return pytest.skip(f"{person.pw_name} can reach no Python that has Burnish")
