"""A child process and the socket to it: the parent's side, for `codec` and `inference`.

A child is started with an empty environment (inference may hear which GPU is its), its end of a socket pair as standard
input, nowhere to write, and a session of its own, so that a terminal's Ctrl-C reaches the worker alone. It dies when the
worker does (Linux), or leaves when its socket closes. What a child says is taken as bytes of at most `wire.MAX_BYTES`.
"""

import asyncio
import fcntl
import os
import socket
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from typing import Final, Literal, Self, TypeVar

import msgspec

from burnish import log
from burnish.engines import wire
from burnish.errors import Unusable

_log = log.get("engines")

#: Longest start of a child; the networks take one second.
_START_SECONDS: Final = 60

#: One thread for numpy's algebra, which nothing here uses, and few heaps, whose address space is counted.
_FEW: Final = {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1", "MALLOC_ARENA_MAX": "1"}
#: All that a child knows of its surroundings. Networks get memory in large pages: a tile makes 63,000 page faults
#: without, which is four per cent of its time.
ENVIRONMENT: Final = {"codec": _FEW, "inference": _FEW | {"GLIBC_TUNABLES": "glibc.malloc.hugetlb=1"}}

#: What the operator may have set for the child that drives a GPU: which one.
_WHICH_GPU: Final = "CUDA_VISIBLE_DEVICES"

_Message = TypeVar("_Message")


class Memory:
    """Memory that parent and children share, as a file without a name; `fd` goes to a child, the parent maps nothing.

    `on_disk`: a file where temporary files lie, for what may be larger than memory is. Left open by `__exit__` only after
    `keep`.
    """

    def __init__(self, *, on_disk: bool = False) -> None:
        if hasattr(os, "memfd_create") and not on_disk:
            self.fd = os.memfd_create("burnish", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
        else:
            self.fd = _unnamed_file()
        self._kept = False

    @property
    def size_bytes(self) -> int:
        return os.fstat(self.fd).st_size

    def resize(self, size_bytes: int) -> None:
        """Make room; pages are taken when they are first written to."""
        os.ftruncate(self.fd, size_bytes)

    def write(self, data: bytes) -> None:
        """Put what the parent itself has to say there."""
        os.pwrite(self.fd, data, 0)

    def seal(self) -> None:
        """Fix the size for good, so that who wrote it cannot cut it off under who reads it."""
        if hasattr(fcntl, "F_ADD_SEALS"):
            fcntl.fcntl(self.fd, fcntl.F_ADD_SEALS, fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW)

    def keep(self) -> int:
        """The descriptor, at its beginning, which is now the caller's to close."""
        self._kept = True
        os.lseek(self.fd, 0, os.SEEK_SET)
        return self.fd

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if not self._kept:
            os.close(self.fd)


class Connection:
    """The parent's end of a socket pair: whole messages, one at a time in each direction."""

    def __init__(self, sock: socket.socket) -> None:
        sock.setblocking(False)
        self._sock = sock
        self._sending = asyncio.Lock()

    async def send(self, message: wire.Message, descriptors: Sequence[int] = ()) -> None:
        """Send `message`; the descriptors stay the caller's.

        Raises:
            wire.Gone: the child is.
        """
        frame = wire.pack(message)
        loop = asyncio.get_running_loop()
        try:
            async with self._sending:
                while True:
                    try:
                        sent = socket.send_fds(self._sock, [frame], list(descriptors))
                        break
                    except BlockingIOError:
                        await asyncio.sleep(0.001)  # full: only for as long as the child reads nothing
                if sent < len(frame):  # else the child may have answered and left: even no bytes would fail
                    await loop.sock_sendall(self._sock, memoryview(frame)[sent:])
        except OSError as error:
            raise wire.Gone(str(error)) from error

    async def receive(self, decoder: "msgspec.msgpack.Decoder[_Message]") -> _Message:
        """The next message.

        Raises:
            wire.Gone: the child is, or said what it may not.
        """
        try:
            size = wire.length(await self._exactly(4))
            return decoder.decode(await self._exactly(size))
        except (OSError, msgspec.DecodeError) as error:
            raise wire.Gone(str(error)) from error

    def close(self) -> None:
        self._sock.close()

    async def _exactly(self, size: int) -> bytes:
        loop, body = asyncio.get_running_loop(), bytearray()
        while len(body) < size:
            part = await loop.sock_recv(self._sock, min(size - len(body), 1 << 20))
            if not part:
                raise wire.Gone("closed")
            body += part
        return bytes(body)


class Child:
    """A started process that has said it is ready."""

    def __init__(self, process: "subprocess.Popen[bytes]", connection: Connection) -> None:
        self._process = process
        self.connection = connection
        self.pid = process.pid

    @classmethod
    async def start(
        cls,
        kind: Literal["codec", "inference"],
        start: wire.Start,
        ready: "msgspec.msgpack.Decoder[_Message]",
    ) -> "tuple[Child, _Message]":
        """Start a child and wait for its first message.

        Raises:
            Unusable: it did not come up.
        """
        ours, theirs = socket.socketpair()
        command = [sys.executable, "-I", "-m", "burnish.engines.entry", kind]
        with theirs:
            process = subprocess.Popen(  # noqa: ASYNC220 - vfork and exec: two milliseconds, and no thread of its own
                command,
                env=_environment(kind),
                cwd="/",
                stdin=theirs.fileno(),
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                start_new_session=True,
            )
        child = cls(process, Connection(ours))
        try:
            async with asyncio.timeout(_START_SECONDS):
                await child.connection.send(start)
                return child, await child.connection.receive(ready)
        except (wire.Gone, TimeoutError) as error:
            await child.end()
            raise Unusable(f"The {kind} process does not start.") from error
        except BaseException:
            await child.end()
            raise

    def kill(self) -> None:
        """End it now; `end` is still to be called."""
        self._process.kill()

    async def end(self) -> int:
        """End it, whatever it does, and wait until it has: its exit status, a negative signal's number."""
        self._process.kill()
        self.connection.close()
        return await asyncio.to_thread(self._process.wait)  # killed, so gone once its memory is freed


def _environment(kind: Literal["codec", "inference"]) -> dict[str, str]:
    gpu = os.environ.get(_WHICH_GPU) if kind == "inference" else None
    return ENVIRONMENT[kind] | ({} if gpu is None else {_WHICH_GPU: gpu})


def _unnamed_file() -> int:
    descriptor, path = tempfile.mkstemp(prefix="burnish-")
    os.unlink(path)  # noqa: PTH108
    return descriptor
