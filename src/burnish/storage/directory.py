"""The data directory DIR: what lies in it, who may write to it, and the locks that say who uses it.

    DIR/serve                     locked by the one `burnish serve`; holds its pid
    DIR/in-use                    locked (shared) by every process that uses the embedded server
    DIR/keeper                    locked by the keeper of the embedded server and all its processes; holds its pid
    DIR/secret.key                the keys that links and stored secrets are derived from, newest first
    DIR/postgres/                 the database, DIR/postgres.password its password, DIR/postgres.log its log
    DIR/blobs/                    media, where no other place is set

`resources` and the command line call it before anything else; `embedded` and its keeper use its locks.
It promises that what it makes is readable by its owner alone, is on disk when it returns, and that no
permission of anything outside DIR is changed. A file that root makes in somebody's DIR belongs to that somebody.
"""

import errno
import fcntl
import os
import secrets
import struct
from contextlib import suppress
from pathlib import Path
from typing import Final, Literal

from burnish.errors import Unusable

#: Below this PostgreSQL can hardly write its next log segment; expired media are swept long before.
_FLOOR_BYTES: Final = 16 * 1024 * 1024
#: `struct flock` of 64-bit Linux: type, whence, start, length (0: all of it), pid.
_FLOCK: Final = struct.Struct("@hhqqi4x")


def prepare(data: Path) -> None:
    """Make DIR, 0700, where it is not there yet; an existing one is taken as it is.

    Raises:
        Unusable: DIR cannot be made, is no directory, cannot be written to, or is (nearly) full.
    """
    try:
        data.mkdir(mode=0o700, parents=True, exist_ok=True)
        free_bytes = _free_bytes(data)
        if free_bytes >= _FLOOR_BYTES:
            _try_to_write(data)
            return
    except OSError as error:
        if error.errno not in {errno.ENOSPC, errno.EDQUOT}:
            raise Unusable(_complaint(data, error)) from error
        free_bytes = 0
    raise Unusable(
        f"{data} is full: {free_bytes >> 20} MiB free, {_FLOOR_BYTES >> 20} MiB are needed to start. "
        "Make room there, or name another directory with --data."
    )


def hold_serve(data: Path) -> "Lock":
    """The right to be the one `serve` of DIR, until `close()` or the end of the process.

    Raises:
        Unusable: another process has it; the message says which.
    """
    lock = Lock(data / "serve")
    if lock.take():
        lock.note(str(os.getpid()))
        return lock
    pid = lock.noted()
    lock.close()
    raise Unusable(
        f"Another `burnish serve`{f' (pid {pid})' if pid else ''} runs on {data}. Stop that one, "
        "add a `burnish worker` beside it, or name another directory with --data."
    )


def secret_keys(data: Path) -> tuple[str, ...]:
    """The keys in DIR/secret.key, one a line, newest first; the first caller makes one of 256 random bits.

    Raises:
        Unusable: the file cannot be read or made, or is there and empty.
    """
    path = data / "secret.key"
    try:
        if not path.exists():
            _make_once(path, secrets.token_urlsafe(32))
        keys = tuple(path.read_text("ascii").split())
    except (OSError, UnicodeDecodeError) as error:
        raise Unusable(f"{path} cannot be read: {error}") from error
    if not keys:
        raise Unusable(
            f"{path} is empty. Put the key back from a backup: without it no link and no stored secret of "
            "before can be read. Remove the file only where there is nothing to lose; a new key is made then."
        )
    return keys


def write_private(path: Path, text: str) -> None:
    """`path` holds `text`, 0600, and is on disk; what stood there is gone."""
    path.unlink(missing_ok=True)
    file = open_own(path, os.O_WRONLY)
    try:
        os.write(file, text.encode())
        os.fsync(file)
    finally:
        os.close(file)


def sync_folder(path: Path) -> None:
    """The names in `path` are on disk."""
    folder = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


class Lock:
    """A lock on a file: shared by many, or exclusive to one; the kernel frees it when the last who has it dies.

    It belongs to the open file, as `flock` does: a child that is given `file` has the lock too. Unlike
    `flock` it can be asked what others hold without taking anything (`fcntl(2)`, open file description locks).
    """

    def __init__(self, path: Path) -> None:
        try:
            self.file = open_own(path, os.O_RDWR)
        except OSError as error:
            raise Unusable(_complaint(path, error)) from error
        self._path = path

    def take(self, *, shared: bool = False) -> bool:
        """Whether it could be had at once."""
        try:
            self._fcntl(fcntl.F_OFD_SETLK, fcntl.F_RDLCK if shared else fcntl.F_WRLCK)
        except BlockingIOError:
            return False
        except OSError as error:
            raise Unusable(f"{self._path} cannot be locked: {error.strerror}") from error
        return True

    def held_by_others(self) -> Literal["", "shared", "exclusive"]:
        kind, *_ = _FLOCK.unpack(self._fcntl(fcntl.F_OFD_GETLK, fcntl.F_WRLCK))
        if kind == fcntl.F_UNLCK:
            return ""
        return "shared" if kind == fcntl.F_RDLCK else "exclusive"

    def note(self, text: str) -> None:
        """Write who has it, for people; a full disk keeps nobody from a lock."""
        with suppress(OSError):
            os.ftruncate(self.file, 0)
            os.pwrite(self.file, f"{text}\n".encode(), 0)

    def noted(self) -> str:
        return os.pread(self.file, 100, 0).decode(errors="replace").strip()

    def unlock(self) -> None:
        """Give it up, also for children that were born with it; others can still be asked about."""
        self._fcntl(fcntl.F_OFD_SETLK, fcntl.F_UNLCK)

    def close(self) -> None:
        """Give it up, and the file; a second time does nothing."""
        if self.file >= 0:
            self.unlock()
            os.close(self.file)
            self.file = -1

    def _fcntl(self, command: int, kind: int) -> bytes:
        return fcntl.fcntl(self.file, command, _FLOCK.pack(kind, os.SEEK_SET, 0, 0, 0))


def _free_bytes(data: Path) -> int:
    there = os.statvfs(data)
    return there.f_bavail * there.f_frsize


def _try_to_write(data: Path) -> None:
    """Permissions do not tell: a read-only mount, a quota or root's rights decide otherwise."""
    probe = data / f".probe-{os.getpid()}"
    try:
        probe.write_bytes(bytes(4096))
    finally:
        probe.unlink(missing_ok=True)


def _make_once(path: Path, text: str) -> None:
    """Of several that race one wins, and nobody ever sees half a file."""
    mine = path.with_name(f"{path.name}.{secrets.token_hex(4)}")
    write_private(mine, text)
    try:
        with suppress(FileExistsError):
            os.link(mine, path)
        sync_folder(path.parent)
    finally:
        mine.unlink()


def open_own(path: Path, flags: int) -> int:
    """Open a file, or make it, 0600; a new one belongs to whom the folder belongs."""
    flags |= os.O_CLOEXEC | os.O_NOFOLLOW
    try:
        file = os.open(path, flags | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        return os.open(path, flags)
    owner = path.parent.stat()
    if os.geteuid() == 0 and owner.st_uid != 0:
        os.fchown(file, owner.st_uid, owner.st_gid)
    return file


def _complaint(path: Path, error: OSError) -> str:
    if isinstance(error, FileExistsError | NotADirectoryError):
        return f"{error.filename or path} is not a directory. Name another one with --data."
    return (
        f"{path} cannot be used by user {os.geteuid()}: {error.strerror}. Make it writable for that user, "
        "or name another directory with --data."
    )
