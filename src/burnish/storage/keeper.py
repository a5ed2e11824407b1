"""The keeper: one small process beside every embedded database, the parent of its server.

Started by `embedded` as `python -m burnish.storage.keeper DIR PROGRAMS OS_USER`; it leaves its caller at once
and belongs to nobody: no terminal, no signals. Any number may be started: the first has DIR/keeper, the others
leave. It makes the database where there is none, runs the server, starts it again when it dies, and stops it
when no process is left that uses it: DIR/in-use is then free to be taken alone. It keeps that lock until it is
gone, so that who comes meanwhile waits for its end and starts the next one.

What stands in the way is written to standard output, for the caller to show; closing it without a word means
that the server is ready, or that another keeper is at work. A server that gives up before it was ready ends
the keeper: whoever still lives starts another, and is told what is wrong.

Killed itself, it takes the server along. It imports little, to start fast.
"""

import ctypes
import os
import select
import signal
import sys
import time
from collections import deque
from contextlib import suppress
from pathlib import Path
from types import FrameType
from typing import Final

from burnish.errors import Unusable
from burnish.storage.cluster import Cluster, open_cluster
from burnish.storage.directory import Lock, open_own

#: How soon it is seen that the last user is gone, or the server.
_TICK_SECONDS: Final = 0.1
#: Ways to stop a server, and how long each may take: wait for a checkpoint; leave all to recovery; by force.
_STOPPING: Final = ((signal.SIGINT, 30.0), (signal.SIGQUIT, 10.0), (signal.SIGKILL, 10.0))
_LONGEST_PAUSE_SECONDS: Final = 5.0
#: Servers that are killed while they start, one after the other: whoever kills so many will kill the next.
_KILLS: Final = 5
#: A server that lived this long did not die of its start.
_STEADY_SECONDS: Final = 60.0
_READY: Final = b"database system is ready to accept connections"
_LOG_BYTES: Final = 4 * 1024 * 1024
_PR_SET_CHILD_SUBREAPER: Final = 36


def main(data: Path, installed: Path, os_user: str) -> None:
    os.chdir("/")
    os.umask(0o077)
    # Orphans of a killed server become children of ours, and can be ended.
    ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _stay)
    try:
        lock, in_use = Lock(data / "keeper"), Lock(data / "in-use")
        if lock.take():
            lock.note(str(os.getpid()))
            log = Log(data / "postgres.log")
            _keep(open_cluster(data, installed, os_user, lock.file), in_use, log)
    except (Unusable, OSError) as complaint:
        with suppress(OSError):
            os.write(1, str(complaint).encode())


def _stay(_number: int, _frame: FrameType | None) -> None:
    """A machine or a terminal that closes tells everybody; we go after the last who uses the server."""


def _keep(cluster: Cluster, in_use: Lock, log: "Log") -> None:
    """Servers one after the other, until nobody needs one."""
    pause, killed = 0.0, 0
    while True:
        born = time.monotonic()
        server = Server(cluster, log)
        while server.lives():
            if in_use.take():
                server.stop()
                return
        killed = 0 if server.was_ready else killed + 1
        if killed and (server.gave_up or killed == _KILLS):
            raise Unusable(f"PostgreSQL could not start in {cluster.folder}:\n{log.last_words()}")
        pause = 0.0 if time.monotonic() - born > _STEADY_SECONDS else pause
        log.note(f"the server ended ({server.status}); it is started again in {pause} s")
        until = time.monotonic() + pause
        while time.monotonic() < until:
            if in_use.take():
                return
            time.sleep(_TICK_SECONDS)
        pause = min(pause * 2 or _TICK_SECONDS, _LONGEST_PAUSE_SECONDS)


class Server:
    """A running server: its postmaster, and the pipe that all of its processes write their log to."""

    def __init__(self, cluster: Cluster, log: "Log") -> None:
        self.was_ready = False
        self._log = log
        self._seen = b""
        self._outlet, inlet = os.pipe()
        self._postmaster = cluster.start(inlet)
        os.close(inlet)

    @property
    def gave_up(self) -> bool:
        """It ended by itself: another start would end as this one."""
        return self._postmaster.returncode >= 0

    @property
    def status(self) -> str:
        code = self._postmaster.returncode
        return f"status {code}" if self.gave_up else signal.Signals(-code).name

    def lives(self) -> bool:
        """Copy what it logs for a tick; False, once, when it has ended and nothing of it is left."""
        self._copy(_TICK_SECONDS)
        if self._postmaster.poll() is None:
            return True
        _end_orphans()
        while self._copy(0):
            pass
        os.close(self._outlet)
        return False

    def stop(self) -> None:
        for number, seconds in _STOPPING:
            self._postmaster.send_signal(number)
            until = time.monotonic() + seconds
            while time.monotonic() < until:
                if not self.lives():
                    return

    def _copy(self, seconds: float) -> bool:
        """Whether there may be more to read."""
        if not select.select([self._outlet], [], [], seconds)[0]:
            return False
        said = os.read(self._outlet, 65536)
        self._log.write(said)
        if not self.was_ready:
            self._seen = self._seen[-len(_READY) :] + said
            if _READY in self._seen:
                self.was_ready = True
                self._log.take_output()
        return bool(said)


class Log:
    """DIR/postgres.log, at most two files of a few MB; a disk that is full loses lines and stops nothing."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lines: deque[bytes] = deque([b""], maxlen=20)
        self._file = self._open()

    def write(self, said: bytes) -> None:
        first, *others = said.split(b"\n")
        self._lines[-1] += first
        self._lines.extend(others)
        with suppress(OSError):
            os.write(self._file, said)
            if os.fstat(self._file).st_size > _LOG_BYTES:
                self._path.rename(self._path.with_name(f"{self._path.name}.1"))
                full, self._file = self._file, self._open()
                os.close(full)

    def note(self, words: str) -> None:
        moment = time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime())
        self.write(f"{moment} UTC [{os.getpid()}] keeper: {words}\n".encode())

    def last_words(self) -> str:
        return b"\n".join(line for line in [*self._lines][-10:] if line).decode(errors="replace")

    def take_output(self) -> None:
        """The caller waits for this pipe to close; whatever is still to be said goes into the log."""
        for stream in (1, 2):
            os.dup2(self._file, stream)

    def _open(self) -> int:
        return open_own(self._path, os.O_WRONLY | os.O_APPEND)


def _end_orphans() -> None:
    """End what a killed postmaster left behind: a long query would not notice for as long as it runs."""
    with suppress(OSError):
        for pid in Path(f"/proc/self/task/{os.getpid()}/children").read_text("ascii").split():
            os.kill(int(pid), signal.SIGKILL)
    with suppress(ChildProcessError):
        while True:
            os.waitpid(-1, 0)


if __name__ == "__main__":
    if os.fork():
        os._exit(0)
    main(Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3])
