"""What `submit`, `poll` and `growth` share: a real service with every limit on, a load, and what its processes cost.

The service is `burnish serve` as anyone starts it, with its embedded database and its log, but without workers, with
limits so wide that they never refuse, and with the no-op model (1 credit). CPU is what the kernel has counted for
the API process, and for all processes of PostgreSQL together: `/proc/PID/stat`.
"""

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

BURNISH = str(Path(sys.executable).with_name("burnish"))
ROUNDS = int(os.environ.get("BENCH_ROUNDS", "5"))
SECONDS = int(os.environ.get("BENCH_SECONDS", "4"))
HERE = Path(__file__).parent

#: Everything that a plan can have is on.
PLANS = """
[owner]
metered = true

[owner.rates]
create = { limit = 60_000_000, seconds = 60, burst = 1_000_000 }
read = { limit = 60_000_000, seconds = 60, burst = 1_000_000 }

[owner.at_once]
account = { limit = 1_000_000_000 }
key = { limit = 1_000_000_000 }
heavy = { limit = 1_000_000_000 }

[owner.windows]
day = { limit = 1_000_000_000 }
same_name = { limit = 1_000_000_000, seconds = 3600 }
"""
TASK = b'{"model": "noop", "input": {"seconds": 0.5}, "metadata": {"order": "2024-0117-A", "customer": 48213, "express": true}}'
_GRANT = 1_000_000_000
_TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class Load:
    """What wrk saw in one stretch, and what its requests cost."""

    requests: int
    rate: float
    p50_ms: float
    p99_ms: float
    api_us: float
    postgres_us: float


class Service:
    """One `burnish serve`. `cap`: whether its key has a cap on its credits."""

    def __init__(self, folder: Path, *, counters: str = "", cap: bool = False) -> None:
        folder.mkdir()
        plans = folder / "plans.toml"
        plans.write_text(PLANS)
        self.data = folder / "data"
        environ = {
            **os.environ,
            "BURNISH_TESTING": "true",
            "BURNISH_PLANS": str(plans),
            "BURNISH_COUNTERS_URL": counters,
            "BURNISH_LIMITS_IP_PER_SECOND": "1000000",
            "BURNISH_LIMITS_IP_BURST": "1000000",
        }
        with (folder / "log").open("wb") as log:
            self._process = subprocess.Popen(
                [BURNISH, "serve", "--json", "--data", str(self.data), "--port", "0", "--workers", "0"],
                stdout=subprocess.PIPE,
                stderr=log,
                env=environ,
            )
        assert self._process.stdout
        greeting = json.loads(self._process.stdout.readline())
        self.url: str = greeting["url"]
        self.key: str = greeting["key"]
        asyncio.run(_fund(self.data, cap=cap))

    @property
    def pid(self) -> int:
        """Of the API process."""
        return self._process.pid

    def cpu_seconds(self) -> tuple[float, float]:
        """Of the API process, and of PostgreSQL's."""
        return _cpu_seconds(self._process.pid), sum(map(_cpu_seconds, self._postgres()))

    def _postgres(self) -> list[int]:
        first = int((self.data / "postgres" / "postmaster.pid").read_text().split()[0])
        return [first, *map(int, Path(f"/proc/{first}/task/{first}/children").read_text().split())]

    def close(self) -> None:
        self._process.send_signal(signal.SIGINT)
        self._process.wait()


async def _fund(data: Path, *, cap: bool) -> None:
    """Credits that do not run out, and a cap that is not reached."""
    from burnish.credits.grant import grant
    from burnish.keys.store import list_keys, set_credit_cap
    from burnish.resources import open_database_of
    from burnish.settings import read

    async with open_database_of(read({}, {"data": str(data)})) as db:
        async with db.reading() as connection:
            (key,) = await list_keys(connection)
        await grant(db, key.account_id, _GRANT, kind="given", idempotency_key="bench", now=db.clock.now())
        if cap:
            async with db.transaction() as tx:
                await set_credit_cap(tx, key.id, _GRANT)
            db.news.announce(["keys"])


class Peer:
    """A web application of `web_peer.py` under uvicorn, run by the peers' own Python."""

    def __init__(self, app: str, **environ: str) -> None:
        port = free_port()
        self.url = f"http://127.0.0.1:{port}"
        self.key = ""
        self._process = subprocess.Popen(
            [
                os.environ["BENCH_PEERS"], "-m", "uvicorn", f"web_peer:{app}", "--port", str(port),
                "--loop", "uvloop", "--http", "httptools", "--no-access-log", "--log-level", "error",
            ],
            cwd=HERE,
            env={**os.environ, **environ},
        )  # fmt: skip
        _until_it_listens(port)

    def cpu_seconds(self) -> tuple[float, float]:
        return _cpu_seconds(self._process.pid), 0.0

    def close(self) -> None:
        self._process.terminate()
        self._process.wait()


class Redis:
    """A server without persistence."""

    def __init__(self) -> None:
        port = free_port()
        self.url = f"redis://127.0.0.1:{port}/0"
        self._process = subprocess.Popen(
            ["redis-server", "--port", str(port), "--save", "", "--appendonly", "no"],
            stdout=subprocess.DEVNULL,
        )
        _until_it_listens(port)

    def close(self) -> None:
        self._process.terminate()
        self._process.wait()


def _until_it_listens(port: int) -> None:
    give_up = time.monotonic() + 20
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
        except OSError:
            if time.monotonic() > give_up:
                raise
            time.sleep(0.02)
        else:
            return


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port: int = sock.getsockname()[1]
        return port


def _cpu_seconds(pid: int) -> float:
    """User and system time of a process and of its children that have ended."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except FileNotFoundError:  # it has ended; its parent has its time
        return 0.0
    return sum(map(int, stat.rpartition(")")[2].split()[11:15])) / _TICKS


# --- the load -----------------------------------------------------------------------------------------------------

_DONE = """
done = function(summary, latency, requests)
  local failed = summary.errors.connect + summary.errors.read + summary.errors.write
                 + summary.errors.status + summary.errors.timeout
  print(string.format('{"requests": %d, "seconds": %f, "failed": %d, "p50": %f, "p99": %f}',
    summary.requests, summary.duration / 1e6, failed, latency:percentile(50) / 1e3, latency:percentile(99) / 1e3))
end
"""


def post(key: str, path: str = "/v1/tasks", body: bytes = TASK) -> str:
    """The script for wrk: POST this body."""
    return (
        f'wrk.method = "POST"\nwrk.path = "{path}"\nwrk.body = [==[{body.decode()}]==]\n'
        f'wrk.headers["Content-Type"] = "application/json"\nwrk.headers["Authorization"] = "Bearer {key}"\n'
    )


def get(key: str, paths: list[str]) -> str:
    """The script for wrk: read one of these after the other."""
    listed = ", ".join(f'"{path}"' for path in paths)
    return (
        f'wrk.headers["Authorization"] = "Bearer {key}"\nlocal paths = {{{listed}}}\nlocal at, made = 0, {{}}\n'
        "init = function(args)\n"
        '  for i, path in ipairs(paths) do made[i] = wrk.format("GET", path) end\nend\n'
        "request = function()\n  at = at % #made + 1\n  return made[at]\nend\n"
    )


def load(served: Service | Peer, script: str, folder: Path, *, connections: int, seconds: int) -> Load:
    """Run wrk for so long. Any reply that is not a success ends the bench: a refusal is cheaper than an answer."""
    file = folder / "load.lua"
    file.write_text(script + _DONE)
    api, postgres = served.cpu_seconds()
    ran = subprocess.run(
        ["wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "-s", str(file), served.url],
        capture_output=True,
        text=True,
        check=False,
    )
    api_after, postgres_after = served.cpu_seconds()
    if ran.returncode:
        sys.exit(f"wrk: {ran.stderr or ran.stdout}")
    said: dict[str, Any] = json.loads(ran.stdout.strip().splitlines()[-1])
    if said["failed"] or not said["requests"]:
        sys.exit(f"{said['failed']} of {said['requests']} requests failed at {served.url}:\n{ran.stdout}")
    return Load(
        requests=said["requests"],
        rate=said["requests"] / said["seconds"],
        p50_ms=said["p50"],
        p99_ms=said["p99"],
        api_us=(api_after - api) / said["requests"] * 1e6,
        postgres_us=(postgres_after - postgres) / said["requests"] * 1e6,
    )
