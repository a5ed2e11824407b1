"""From the end of a task to the bytes of the client that waits for it, with a thousand waiting; and ten thousand.

One API process with its embedded database. The clients are a process of their own, with a socket and a task for each:
long polls (`?wait=60`) or event streams. Tasks are ended by this process as a worker ends them, in an order of chance
and at an even pace; what is measured begins when their commit has returned. Of ten thousand waiting it is told what
they cost as well: resident memory of the API process, and connections of the database.
"""

import asyncio
import json
import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import aiohttp
import uvloop
from harness import machine, table, verdict
from served import TASK, Service

from burnish.cli.files import allow_files
from burnish.resources import Resources, open_resources
from burnish.settings import read
from burnish.tasks import lease
from burnish.tasks.finish import Ending
from burnish.tasks.task import LIGHT

NAME = "wait"
PEERS: list[str] = []
GOAL = {"p50_ms": 10, "p99_ms": 50, "memory_mb": 1024, "connections": 1}
FEW, MANY = 1_000, 10_000
ENDED_OF_MANY = 4_000  #: for twenty seconds: long enough for whoever waits to look by themselves
ENDINGS_A_SECOND = 200
_LEASE_SECONDS = 300
_SETTLED_SECONDS = 2.0
_DONE = b'"status":"succeeded"'


@dataclass(frozen=True)
class Found:
    """What one crowd of waiting clients saw and cost."""

    waiting: int
    how: str
    p50_ms: float
    p99_ms: float
    max_ms: float
    memory_mb: float
    connections: int


def main() -> None:
    allow_files()
    folder = Path(tempfile.mkdtemp(prefix="burnish-bench-"))
    folder.chmod(0o755)
    service = Service(folder / "service")
    try:
        found = uvloop.run(_rounds(service))
    finally:
        service.close()
        shutil.rmtree(folder, ignore_errors=True)
    _report(found)


async def _rounds(service: Service) -> list[Found]:
    found = []
    async with open_resources(read({"BURNISH_TESTING": "true"}, {"data": str(service.data)})) as resources:
        await _submit(service, FEW)  # warm: what is left of it is ended with nobody waiting
        await _end_all(resources, await _claim(resources, FEW), ENDINGS_A_SECOND * 10)
        for waiting, how in ((FEW, "poll"), (FEW, "stream"), (MANY, "poll"), (MANY, "stream")):
            found.append(await _crowd(service, resources, waiting, how))
    return found


async def _crowd(service: Service, resources: Resources, waiting: int, how: str) -> Found:
    """So many wait; some of their tasks end; the others are let go."""
    ids = await _submit(service, waiting)
    claimed = await _claim(resources, waiting)
    memory, connections = _memory_mb(service), await _connections(resources)
    clients = await asyncio.create_subprocess_exec(
        sys.executable, __file__, "clients", stdin=subprocess.PIPE, stdout=subprocess.PIPE, limit=1 << 26
    )  # fmt: skip
    assert clients.stdin
    assert clients.stdout
    ended = random.sample(claimed, min(waiting, ENDED_OF_MANY))
    given = {"url": service.url, "key": service.key, "ids": ids, "how": how, "ended": len(ended)}
    clients.stdin.write(json.dumps(given).encode() + b"\n")
    assert await clients.stdout.readline() == b"waiting\n"
    grown, more = _memory_mb(service), await _connections(resources) - connections
    committed = await _end_all(resources, ended, ENDINGS_A_SECOND)
    heard: dict[str, float] = json.loads(await clients.stdout.readline())
    await clients.wait()
    late = sorted((heard[id_] - at) * 1000 for id_, at in committed.items())
    left = [task for task in claimed if str(task.id) not in committed]
    await _end_all(resources, left, ENDINGS_A_SECOND * 10)
    print(f"{waiting} {how}: {memory:.0f} MB before", file=sys.stderr)
    return Found(waiting, how, _at(late, 0.5), _at(late, 0.99), late[-1], grown, more)


def _at(late: Sequence[float], part: float) -> float:
    return late[min(len(late) - 1, int(len(late) * part))]


async def _submit(service: Service, tasks: int) -> list[str]:
    """The ids of so many new tasks."""
    headers = {"Authorization": f"Bearer {service.key}", "Content-Type": "application/json"}

    async def some(http: aiohttp.ClientSession, many: int) -> list[str]:
        ids = []
        for _ in range(many):
            async with http.post(f"{service.url}/v1/tasks", data=TASK) as reply:
                ids.append((await reply.json())["id"])
        return ids

    async with aiohttp.ClientSession(headers=headers) as http:
        made = await asyncio.gather(*(some(http, tasks // 50) for _ in range(50)))
    return [id_ for ids in made for id_ in ids]


async def _claim(resources: Resources, tasks: int) -> list[Any]:
    claimed: list[Any] = []
    while len(claimed) < tasks:
        claimed += await lease.claim(resources.db, LIGHT, 1_000, _LEASE_SECONDS)
    return claimed


async def _end_all(resources: Resources, claimed: Iterable[Any], a_second: int) -> dict[str, float]:
    """End them at that pace; by task, the moment after the commit."""
    committed: dict[str, float] = {}
    announce = resources.db.news.announce

    def noted(topics: Iterable[str]) -> None:
        topics, now = list(topics), time.monotonic()
        committed.update((topic[2:], now) for topic in topics if topic.startswith("t:"))
        announce(topics)

    resources.db.news.announce = noted  # type: ignore[method-assign]
    begun, under_way = time.monotonic(), []
    for number, task in enumerate(claimed):
        await asyncio.sleep(max(0.0, begun + number / a_second - time.monotonic()))
        under_way.append(asyncio.create_task(resources.endings.end(Ending(task))))
    assert all(await asyncio.gather(*under_way))
    resources.db.news.announce = announce  # type: ignore[method-assign]
    return committed


def _memory_mb(service: Service) -> float:
    status = Path(f"/proc/{service.pid}/status").read_text()
    return int(status.partition("VmRSS:")[2].split()[0]) / 1024


async def _connections(resources: Resources) -> int:
    async with resources.db.reading() as connection:
        count: int = await connection.fetchval(
            "SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend'"
        )
    return count


# --- the clients, in a process of their own -----------------------------------------------------------------------


class _Waiting(asyncio.Protocol):
    """Sends one request, and notes when its task's end has come."""

    def __init__(self, request: bytes, done: asyncio.Future[float]) -> None:
        self._request = request
        self._done = done
        self._came = b""

    def connection_made(self, transport: Any) -> None:
        transport.write(self._request)

    def data_received(self, data: bytes) -> None:
        self._came = self._came[-64:] + data
        if _DONE in self._came and not self._done.done():
            self._done.set_result(time.monotonic())


async def _clients() -> None:
    from burnish.ids import from_wire

    given = json.loads(sys.stdin.readline())
    where, loop = urlsplit(given["url"]), asyncio.get_running_loop()
    heard: dict[str, asyncio.Future[float]] = {}
    path = "/v1/tasks/{}/events" if given["how"] == "stream" else "/v1/tasks/{}?wait=60"
    enough = asyncio.Semaphore(100)

    async def connect(id_: str) -> None:
        done = heard[str(from_wire("task", id_))] = loop.create_future()
        head = f"GET {path.format(id_)} HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {given['key']}\r\n\r\n"
        async with enough:
            await loop.create_connection(lambda: _Waiting(head.encode(), done), where.hostname, where.port)

    await asyncio.gather(*map(connect, given["ids"]))
    await asyncio.sleep(_SETTLED_SECONDS)
    print("waiting", flush=True)
    while sum(done.done() for done in heard.values()) < given["ended"]:
        await asyncio.sleep(0.05)
    print(json.dumps({id_: done.result() for id_, done in heard.items() if done.done()}), flush=True)


# --- what came of it ----------------------------------------------------------------------------------------------


def _report(found: Sequence[Found]) -> None:
    print(machine())
    print(
        table(
            ("waiting", "how", "p50 ms", "p99 ms", "max ms", "API MB", "connections more"),
            [
                (
                    one.waiting, one.how, round(one.p50_ms, 1), round(one.p99_ms, 1), round(one.max_ms, 1),
                    round(one.memory_mb), one.connections,
                )
                for one in found
            ],
        )
    )  # fmt: skip
    few = [one for one in found if one.waiting == FEW]
    many = [one for one in found if one.waiting == MANY]
    figures = {
        "p50_ms": round(max(one.p50_ms for one in few), 1),
        "p99_ms": round(max(one.p99_ms for one in few), 1),
        "memory_mb": round(max(one.memory_mb for one in many)),
        "connections": max(one.connections for one in many),
    }
    holds = all(figures[name] <= most for name, most in GOAL.items())
    verdict(NAME, figures=figures, ratio=None, goal=GOAL, holds=holds)


if __name__ == "__main__":
    if sys.argv[1:] == ["clients"]:
        allow_files()
        uvloop.run(_clients())
    else:
        main()
