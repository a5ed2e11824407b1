"""The database directory DIR/postgres: who runs it, with which programs, how it is made, how its server starts.

Used by the keeper alone, which holds DIR/keeper meanwhile. Promises: a database is made once, whole or not at
all; what is there is never made anew, whatever it looks like; no program of ours outlives the keeper; nothing
outside DIR is changed.

PostgreSQL refuses to run as root. As root its programs run as another user of this machine, who owns
DIR/postgres and nothing above it. They are started inside the directory and told `-D /proc/self/cwd`, so that
this user needs no right on any folder above: DIR may lie under a folder that is closed to it.
"""

import ctypes
import errno
import os
import pwd
import shutil
import signal
import stat
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Final

from burnish.errors import Unusable
from burnish.storage.directory import sync_folder, write_private

#: Users that may be there already, the fittest first; Burnish makes none.
_SERVER_USERS: Final = ("burnish", "postgres", "nobody")
_HERE: Final = "/proc/self/cwd"
#: Nothing of the caller's: PGPORT, PGOPTIONS and their kin would change the server.
_ENVIRONMENT: Final = {"LC_ALL": "C", "TZ": "UTC", "PATH": os.defpath} | {
    name: os.environ[name] for name in ("LD_LIBRARY_PATH",) if name in os.environ
}
_INITDB: Final = (
    "--username=burnish",
    "--pwfile=/dev/stdin",
    "--auth=scram-sha-256",
    "--encoding=UTF8",
    # PostgreSQL's own locale: an index made here is right on every other machine.
    "--locale=C",
    "--locale-provider=builtin",
    "--builtin-locale=C.UTF-8",
    "--no-instructions",
    # Synced once, as a whole, before the rename.
    "--no-sync",
)
#: What must hold in every directory; all else is PostgreSQL's default, open to DIR/postgres/postgresql.conf.
_SETTINGS: Final = {
    "listen_addresses": "",
    "port": "5432",
    "unix_socket_directories": ".",
    "unix_socket_permissions": "0700",
    "log_destination": "stderr",
    "logging_collector": "off",
    "log_line_prefix": "%m [%p] %q%u@%d ",
    "log_timezone": "UTC",
    "timezone": "UTC",
    "jit": "off",
    # Files in DIR instead of /dev/shm, which containers keep small and systemd empties when its user logs out.
    "dynamic_shared_memory_type": "mmap",
}
_PR_SET_PDEATHSIG: Final = 1
_libc: Final = ctypes.CDLL(None, use_errno=True)


@dataclass(frozen=True, slots=True)
class User:
    uid: int
    gid: int


@dataclass(frozen=True, slots=True)
class Cluster:
    """A database directory that can be started. `version` is the programs', as `18.4`.

    `lock` is a descriptor that every program is given: the lock on it is free when the last of them is gone.
    """

    data: Path
    programs: Path
    version: str
    user: User | None
    lock: int

    @property
    def folder(self) -> Path:
        return self.data / "postgres"

    def start(self, log: IO[bytes] | int) -> "subprocess.Popen[bytes]":
        """A server on the directory, its log going to `log`; an immediate shutdown if this process dies."""
        self._clear_stale()
        settings = [f"--{name}={value}" for name, value in _SETTINGS.items()]
        command = [str(self.programs / "postgres"), "-D", _HERE, *settings]
        return subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, **self._as(self.folder, signal.SIGQUIT)
        )

    def run(self, folder: Path, program: str, *arguments: str, words: str) -> str:
        """One program to its end inside `folder`, with `words` to read; what it said.

        Raises:
            Unusable: it failed; the message has its last words.
        """
        command = [str(self.programs / program), *arguments]
        stdin = _pipe_holding(words, self.user)
        try:
            done = subprocess.run(
                command,
                stdin=stdin,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                check=False,
                **self._as(folder, signal.SIGKILL),
            )
        finally:
            os.close(stdin)
        said = str(done.stdout, errors="replace")
        # A single-user server goes on after an error and ends well.
        if done.returncode or "ERROR:" in said:
            last = "\n".join(said.strip().splitlines()[-8:])
            raise Unusable(f"{program} failed in {folder} (status {done.returncode}):\n{last}")
        return said

    def _as(self, folder: Path, death: signal.Signals) -> dict[str, Any]:
        """How our programs are started: inside `folder`, as their user, with the lock, dying with this process."""
        return {
            "cwd": folder,
            "env": _ENVIRONMENT,
            "pass_fds": (self.lock,),
            "preexec_fn": _dying_with(os.getpid(), death),
            **_identity(self.user),
        }

    def _clear_stale(self) -> None:
        """Remove the pid file of a server that is gone: its number may be another program's by now.

        We hold the lock that every server of ours has, so whose pid is there is gone or not ours; one that
        somebody else started on this directory is left alone.
        """
        pid_file = self.folder / "postmaster.pid"
        pid = _first_word(pid_file)
        if pid.isdecimal() and _works_in(int(pid), self.folder):
            raise Unusable(
                f"A PostgreSQL server (pid {pid}) that Burnish did not start runs on {self.folder}. Stop it first."
            )
        pid_file.unlink(missing_ok=True)
        (self.folder / ".s.PGSQL.5432.lock").unlink(missing_ok=True)


def open_cluster(data: Path, installed: Path, os_user: str, lock: int) -> Cluster:
    """DIR/postgres, checked, or made where there has never been one. `installed` holds bin, lib and share.

    Raises:
        Unusable: as the messages below say.
    """
    try:
        user = _server_user(data, os_user)
        programs, version = _reachable_programs(data, installed, user)
        cluster = Cluster(data, programs, version, user, lock)
        _finish_making(data)
        if os.path.lexists(cluster.folder):
            _check(cluster)
        else:
            _make(cluster)
    except (OSError, subprocess.SubprocessError) as error:
        raise Unusable(f"The database in {data} cannot be opened: {error}") from error
    return cluster


def read_password(data: Path) -> str:
    """The database's password; empty while there is no database."""
    return _first_word(data / "postgres.password")


# --- who ------------------------------------------------------------------------------------------------------


def _server_user(data: Path, os_user: str) -> User | None:
    """Whom the server runs as; None: as we are. An existing database stays with its owner."""
    if os.geteuid() != 0:
        return None
    wanted = _user_named(os_user) if os_user else None
    if os_user and not wanted:
        raise Unusable(f"database.os_user is {os_user!r}; this machine has no such user.")
    owner = _owner(data / "postgres")
    if owner is None:
        return wanted or _owner_but_root(data) or _first_there()
    if owner.uid == 0 or (wanted and wanted.uid != owner.uid):
        fit = os_user or next((name for name in _SERVER_USERS if _user_named(name)), "USER")
        raise Unusable(
            f"{data / 'postgres'} belongs to user {owner.uid}; PostgreSQL is to run as {fit}. "
            f"Give it to that user: chown -R {fit} {data / 'postgres'}"
        )
    return owner


def _first_there() -> User:
    for name in _SERVER_USERS:
        if user := _user_named(name):
            return user
    raise Unusable(
        "PostgreSQL does not run as root, and there is no user burnish, postgres or nobody on this machine. "
        "Name one as database.os_user, or run Burnish as an ordinary user."
    )


def _user_named(name: str) -> User | None:
    try:
        entry = pwd.getpwnam(name)
    except KeyError:
        return None
    return User(entry.pw_uid, entry.pw_gid)


def _owner(path: Path) -> User | None:
    try:
        there = path.stat()
    except FileNotFoundError:
        return None
    return User(there.st_uid, there.st_gid)


def _owner_but_root(path: Path) -> User | None:
    owner = _owner(path)
    return owner if owner and owner.uid != 0 else None


# --- with what ------------------------------------------------------------------------------------------------


def _reachable_programs(data: Path, installed: Path, user: User | None) -> tuple[Path, str]:
    """A folder of programs that `user` can run, and their version; a copy in DIR where theirs is closed to it."""
    version, complaint = _try(installed / "bin", None)
    if not version:
        raise Unusable(f"The PostgreSQL programs in {installed} do not run on this machine: {complaint}")
    if user is None or _try(installed / "bin", user)[0]:
        return installed / "bin", version
    programs = _copied(installed, data / f"postgresql-{version}")
    reached, complaint = _try(programs, user)
    if not reached:
        name = _name(user)
        raise Unusable(
            f"PostgreSQL does not run as root but as user {name}, who can run its programs neither in "
            f"{installed} nor in {programs} ({complaint}). Name a directory with --data to which {name} has a "
            "way, like /var/lib/burnish, or run Burnish as an ordinary user."
        )
    return programs, version


def _try(programs: Path, user: User | None) -> tuple[str, str]:
    """The version of the programs, or "" and why they cannot be run."""
    try:
        done = subprocess.run(
            [programs / "initdb", "--version"],
            env=_ENVIRONMENT,
            cwd="/",
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            **_identity(user),
        )
    except OSError as error:
        if user and error.errno == errno.EPERM:
            raise Unusable(
                f"PostgreSQL does not run as root, and this root has no right to become user {_name(user)} "
                "(CAP_SETUID and CAP_SETGID). Give it that right, or run Burnish as an ordinary user."
            ) from error
        return "", f"{programs}: {error.strerror}"
    if done.returncode:
        return "", str(done.stderr).strip()
    return str(done.stdout).split()[2], ""  # initdb (PostgreSQL) 18.4


def _copied(installed: Path, copied: Path) -> Path:
    """The programs of `installed` in `copied`, and a way through DIR to them (not a look into it)."""
    if not copied.exists():
        for old in copied.parent.glob("postgresql-*"):
            shutil.rmtree(old)
        new = copied.with_name("postgresql-new")
        _copy(installed, new)
        new.rename(copied)
    copied.parent.chmod(stat.S_IMODE(copied.parent.stat().st_mode) | 0o001)
    return copied / installed.parent.name / installed.name / "bin"


def _copy(installed: Path, new: Path) -> None:
    """`installed` and the libraries beside its package, laid out as they were, readable by all, on disk."""
    package = installed.parent
    libraries = package.with_name(f"{package.name}.libs")
    shutil.copytree(
        installed,
        new / package.name / installed.name,
        symlinks=True,
        ignore=shutil.ignore_patterns("include", "pgxs", "pkgconfig", "*.a"),
    )
    if libraries.is_dir():
        shutil.copytree(libraries, new / libraries.name, symlinks=True)
    for path in (new, *new.rglob("*")):
        if not path.is_symlink():
            path.chmod(0o755 if path.is_dir() or path.stat().st_mode & 0o100 else 0o644)
    _sync(new)


def _name(user: User) -> str:
    try:
        return pwd.getpwuid(user.uid).pw_name
    except KeyError:
        return str(user.uid)


# --- made once ------------------------------------------------------------------------------------------------


def _make(cluster: Cluster) -> None:
    """A new database: all of it in postgres.new, on disk, then renamed, its password after it.

    Whoever finds postgres.password therefore knows that there was a database, and postgres.new that there was none.
    """
    password, there = os.urandom(24).hex(), cluster.data / "postgres.password"
    if there.exists():
        raise Unusable(
            f"{cluster.folder} is gone, but {there.name} beside it says that a database was made here. Is its disk "
            f"mounted? Put the folder back, or, to begin with an empty database, remove {there}."
        )
    new = cluster.data / "postgres.new"
    if new.exists():
        shutil.rmtree(new)
    write_private(there.with_name("postgres.password.new"), password)
    try:
        _fill(cluster, new, password)
    except (OSError, Unusable):
        shutil.rmtree(new)  # a disk that is full needs the room
        raise
    new.rename(cluster.folder)
    sync_folder(cluster.data)
    _finish_making(cluster.data)


def _fill(cluster: Cluster, new: Path, password: str) -> None:
    new.mkdir(mode=0o700)
    if cluster.user:
        os.chown(new, cluster.user.uid, cluster.user.gid, follow_symlinks=False)
    cluster.run(new, "initdb", "-D", _HERE, *_INITDB, words=password)
    # The empty database of initdb becomes ours: another one would cost time and room.
    rename = "ALTER DATABASE postgres RENAME TO burnish\n"
    cluster.run(new, "postgres", "--single", "-F", "-D", _HERE, "template1", words=rename)
    _sync(new)


def _finish_making(data: Path) -> None:
    """The rename of the password, which comes last."""
    new, there = data / "postgres.password.new", data / "postgres.password"
    if (data / "postgres").exists() and new.exists() and not there.exists():
        new.rename(there)
        sync_folder(data)


def _check(cluster: Cluster) -> None:
    """What is in DIR/postgres is a database of ours, of the programs' major version."""
    made_by, ours = _first_word(cluster.folder / "PG_VERSION"), cluster.version.partition(".")[0]
    if not made_by.isdecimal() or not (cluster.folder / "global" / "pg_control").is_file():
        raise Unusable(
            f"{cluster.folder} is there but is no whole database. Is its disk mounted? Put it back from a backup; "
            "Burnish never makes a new database in the place of an old one."
        )
    if made_by != ours:
        raise Unusable(
            f"{cluster.folder} was made by PostgreSQL {made_by}, and this Burnish brings PostgreSQL {ours}. With "
            "the Burnish that made it, write a dump; move the folder and postgres.password away; load the dump "
            "with this one. docs/howto/data-directory.md has the commands."
        )
    if not read_password(cluster.data):
        raise Unusable(
            f"{cluster.data / 'postgres.password'} is missing, without which nobody can enter the database. Put it "
            "back from a backup, or set a new one as docs/howto/data-directory.md says."
        )


# --- small things of the system -------------------------------------------------------------------------------


def _identity(user: User | None) -> dict[str, Any]:
    return {"user": user.uid, "group": user.gid, "extra_groups": []} if user else {}


def _dying_with(parent: int, death: signal.Signals) -> Callable[[], None]:
    def prepare() -> None:
        _libc.prctl(_PR_SET_PDEATHSIG, int(death), 0, 0, 0)
        if os.getppid() != parent:  # it died before it could be asked
            os.kill(os.getpid(), signal.SIGKILL)

    return prepare


def _pipe_holding(words: str, user: User | None) -> int:
    """The end of a pipe from which `user` reads `words`: a password is in no file and on no command line."""
    outlet, inlet = os.pipe()
    if user:
        os.fchown(outlet, user.uid, user.gid)
    os.write(inlet, words.encode())
    os.close(inlet)
    return outlet


def _sync(folder: Path) -> None:
    """All of the file system that `folder` is on: one call instead of a thousand `fsync`s."""
    file = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        if _libc.syncfs(file):
            raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()), str(folder))
    finally:
        os.close(file)


def _works_in(pid: int, folder: Path) -> bool:
    try:
        return Path(f"/proc/{pid}/cwd").samefile(folder)
    except OSError:
        return False


def _first_word(path: Path) -> str:
    try:
        words = path.read_text("ascii", "replace").split()
    except FileNotFoundError:
        return ""
    return words[0] if words else ""
