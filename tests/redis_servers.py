"""Real Redis servers for a test, on loopback: one alone, a master that a sentinel watches, a cluster of three."""

import contextlib
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import hiredis
import pytest


class Server:
    """One redis-server process. Stopped, killed and started again as a test wants it."""

    def __init__(self, folder: Path, *options: str, port: int = 0, sentinel: bool = False) -> None:
        self.port = port or free_port()
        self._folder = folder / str(self.port)
        self._folder.mkdir()
        self._options = options
        self._sentinel = sentinel
        self.start()

    def start(self) -> None:
        if (program := shutil.which("redis-server")) is None:
            pytest.fail("There is no redis-server here. scripts/setup installs it, or says how.")
        config = self._folder / "redis.conf"
        if not config.exists():  # else the server has written into it what it must remember
            lines = ["bind 127.0.0.1", f"dir {self._folder}", *self._options]
            if not any(option.startswith("port ") for option in self._options):
                lines.append(f"port {self.port}")
            if not self._sentinel:
                lines += ['save ""', "appendonly no"]
            config.write_text("\n".join(lines) + "\n")
        command = [program, str(config), *(["--sentinel"] if self._sentinel else [])]
        with (self._folder / "log").open("ab") as log:
            self.process = subprocess.Popen(command, stdout=log, stderr=log)
        self.wait(lambda: self.ask("PING") == b"PONG")

    def ask(self, *command: str | bytes | int) -> Any:
        """The answer to one command, on a connection of its own; None where there is none."""
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port), 2) as sock:
            sock.settimeout(2)
            reader = hiredis.Reader()
            sock.sendall(hiredis.pack_command(command))  # type: ignore[arg-type]
            while (answer := reader.gets()) is False:
                if not (data := sock.recv(65_536)):
                    return None
                reader.feed(data)
            return answer
        return None

    def wait(self, condition: Any, seconds: float = 20.0) -> None:
        until = time.monotonic() + seconds
        while not condition():
            assert self.process.poll() is None, (self._folder / "log").read_text()
            assert time.monotonic() < until, (self._folder / "log").read_text()
            time.sleep(0.01)

    def freeze(self) -> None:
        """It hangs: connections stand, and nothing is answered."""
        self.process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        self.process.send_signal(signal.SIGCONT)

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()


def free_port() -> int:
    """A port that is free, with the one of the cluster's own talk, 10,000 above."""
    while True:
        with socket.socket() as sock, socket.socket() as above:
            sock.bind(("127.0.0.1", 0))
            port: int = sock.getsockname()[1]
            with contextlib.suppress(OSError, OverflowError):
                above.bind(("127.0.0.1", port + 10_000 if port < 55_536 else port - 30_000))
                if port < 55_536:
                    return port


@contextlib.contextmanager
def one(folder: Path, *options: str) -> Iterator[Server]:
    """A server alone."""
    server = Server(folder, *options)
    try:
        yield server
    finally:
        server.kill()


@contextlib.contextmanager
def watched(folder: Path) -> Iterator[tuple[Server, Server, Server]]:
    """A master, its replica, and the sentinel that makes the one into the other; the service is called `main`."""
    options = ("repl-diskless-sync-delay 0", "repl-ping-replica-period 1")
    with (
        one(folder, *options) as master,
        one(folder, *options, f"replicaof 127.0.0.1 {master.port}") as replica,
    ):
        replica.wait(lambda: b"master_link_status:up" in (replica.ask("INFO", "replication") or b""))
        sentinel = Server(
            folder,
            f"sentinel monitor main 127.0.0.1 {master.port} 1",
            "sentinel down-after-milliseconds main 300",
            "sentinel failover-timeout main 3000",
            sentinel=True,
        )
        try:
            sentinel.wait(lambda: sentinel.ask("SENTINEL", "REPLICAS", "main"))
            yield master, replica, sentinel
        finally:
            sentinel.kill()


@contextlib.contextmanager
def cluster(folder: Path) -> Iterator[list[Server]]:
    """Three masters, a third of the slots each; what is left goes on when one is gone."""
    options = ("cluster-enabled yes", "cluster-node-timeout 1000", "cluster-require-full-coverage no")
    with contextlib.ExitStack() as stack:
        servers = [stack.enter_context(one(folder, *options)) for _ in range(3)]
        for number, server in enumerate(servers):
            server.ask("CLUSTER", "SET-CONFIG-EPOCH", number + 1)
            server.ask("CLUSTER", "ADDSLOTS", *range(number * 16_384 // 3, (number + 1) * 16_384 // 3))
            server.ask("CLUSTER", "MEET", "127.0.0.1", servers[0].port)
        for server in servers:
            server.wait(lambda server=server: _is_whole(server))
        yield servers


def _is_whole(server: Server) -> bool:
    ranges = server.ask("CLUSTER", "SLOTS")
    state = server.ask("CLUSTER", "INFO") or b""
    return isinstance(ranges, list) and len(ranges) == 3 and b"cluster_state:ok" in state
