"""Webhooks: signed, durable deliveries a second from one worker process, and what a thousand dead endpoints cost a live one.

The receiver is a plain asyncio server in a process of its own that answers 204. Deliveries are of an ended task: claimed,
rendered, stored, signed, sent, and their acceptance committed with fsync. For the delay, fifty events a second are owed
to a live endpoint, first alone, then beside a thousand endpoints that refuse connections or never answer, each with
deliveries due all the time; a delay is from the moment an event was owed to its arrival.
"""

import asyncio
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import Any
from uuid import UUID

import harness
import msgspec
import task_queue_burnish

NAME = "webhooks"
PEERS: list[str] = []
GOAL = {"deliveries_per_second": 1_000, "p99_times": 2.0}

FLOOD = 10_000
PACE = 50
SECONDS = int(os.environ.get("BENCH_SECONDS", "20"))
DEAD = 1_000
HERE = Path(__file__).parent


def main() -> int:
    if sys.argv[1:2] == ["receive"]:
        return asyncio.run(_receive(Path(sys.argv[2])))
    if sys.argv[1:2] == ["work"]:
        import uvloop

        uvloop.run(task_queue_burnish.work())
        return 0
    folder = Path(tempfile.mkdtemp(prefix="burnish-bench-"))
    folder.chmod(0o755)
    try:
        return asyncio.run(_bench(folder))
    finally:
        shutil.rmtree(folder, ignore_errors=True)


# --- the receiver -------------------------------------------------------------------------------------------------


async def _receive(file: Path) -> int:
    """Writes down the delay of every delivery; `/hang` never answers."""
    log = file.with_suffix(".log").open("ab", buffering=0)

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(asyncio.IncompleteReadError, ConnectionError):
            while head := await reader.readuntil(b"\r\n\r\n"):
                length = int(head.lower().partition(b"content-length:")[2].partition(b"\r\n")[0] or 0)
                body = await reader.readexactly(length)
                if head.startswith(b"POST /hang"):
                    await asyncio.sleep(60)
                owed = msgspec.json.decode(body, type=_Told).timestamp.timestamp()
                log.write(b"%.6f %.6f\n" % (time.time(), time.time() - owed))
                writer.write(b"HTTP/1.1 204 No Content\r\n\r\n")
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0, backlog=4096)
    file.write_text(str(server.sockets[0].getsockname()[1]))
    async with server:
        await server.serve_forever()
    return 0


class _Told(msgspec.Struct):
    timestamp: datetime


# --- the run ------------------------------------------------------------------------------------------------------


async def _bench(folder: Path) -> int:
    from burnish.storage import directory
    from burnish.storage.embedded import open_embedded

    directory.prepare(folder / "data")
    embedded = await open_embedded(folder / "data")
    environ = {
        **os.environ,
        "BENCH_POSTGRES": embedded.dsn,
        "BENCH_RECORDS": str(folder / "started"),
        "BURNISH_OUTBOUND_ALLOW": "127.0.0.0/8",
    }
    (folder / "started").touch()
    os.environ.update(environ)
    me = [sys.executable, str(Path(__file__))]
    receiver = subprocess.Popen([*me, "receive", str(folder / "port")], env=environ, cwd=HERE)
    with (folder / "log").open("wb") as log:
        worker = subprocess.Popen([*me, "work"], env=environ, cwd=HERE, stdout=log, stderr=log)
    try:
        while not (folder / "port").exists() or not (folder / "port").read_text():
            await asyncio.sleep(0.05)
        url = f"http://127.0.0.1:{(folder / 'port').read_text()}"
        figures = await _measure(url, folder / "port.log")
    finally:
        for process in (worker, receiver):
            process.send_signal(signal.SIGTERM)
        worker.wait(20)
        receiver.kill()
        await embedded.close()
    return _report(figures)


async def _measure(url: str, log: Path) -> dict[str, float]:
    from burnish import log as logs
    from burnish.resources import open_resources

    logs.start(level="error", format="json")
    async with open_resources(task_queue_burnish.settings()) as resources:
        task, live = await _prepare(resources, url + "/live")
        figures = {"per_second": await _flood(resources, task, live, log)}
        alone = await _delays(resources, task, live, log)
        dead = await _make_dead(resources, url)
        busy = await _delays(resources, task, live, log, dead)
    figures |= {"alone_p50": _at(alone, 0.5), "alone_p99": _at(alone, 0.99)}
    return figures | {"dead_p50": _at(busy, 0.5), "dead_p99": _at(busy, 0.99)}


async def _prepare(resources: Any, url: str) -> tuple[UUID, UUID]:
    """An account with one live endpoint, and an ended task."""
    from burnish.ids import new_id
    from burnish.keys.store import ensure_account

    async with resources.db.transaction() as tx:
        account = await ensure_account(tx, new_id(), "bench", resources.clock.now())
    task = await task_queue_burnish.submit_one(resources, account, 0)
    while True:
        async with resources.db.reading() as connection:
            if await connection.fetchval("SELECT ended_at IS NOT NULL FROM tasks WHERE id = $1", task):
                break
        await asyncio.sleep(0.05)
    await _endpoint(resources, account, url)
    return task, account


async def _endpoint(resources: Any, account: UUID, url: str) -> None:
    from burnish.webhooks.open import open_endpoint

    await open_endpoint(
        resources.db, resources.seal, resources.outbound, account, "live",
        url=url, events=(), description="", now=resources.clock.now(),
    )  # fmt: skip


async def _owe(resources: Any, task: UUID, accounts: list[UUID]) -> None:
    from burnish.webhooks import store

    now = resources.clock.now()
    rows = [(account, "live", "task.succeeded", task, None, None, None, "native") for account in accounts]
    async with resources.db.transaction() as tx:
        await store.owe(tx, rows, now)
    resources.db.news.announce(["deliver"])


async def _flood(resources: Any, task: UUID, account: UUID, log: Path) -> float:
    before = _lines(log)
    for _ in range(FLOOD // 500):
        await _owe(resources, task, [account] * 500)
    give_up = time.monotonic() + 120
    while len(found := _lines(log)[len(before) :]) < FLOOD:
        if time.monotonic() > give_up:
            sys.exit(f"{len(found)} of {FLOOD} deliveries came in two minutes")
        await asyncio.sleep(0.05)
    # From the first to the last arrival; those that came while it was still owed are part of the work.
    return FLOOD / (found[-1][0] - found[0][0])


async def _delays(
    resources: Any, task: UUID, account: UUID, log: Path, dead: list[UUID] | None = None
) -> list[float]:
    """Of the live endpoint's events, in seconds."""
    before, begun = len(_lines(log)), time.monotonic()
    for number in range(PACE * SECONDS):
        await asyncio.sleep(max(0.0, begun + number / PACE - time.monotonic()))
        await _owe(resources, task, [account])
        if dead and number % PACE == 0:  # every second each hundredth of the dead is owed one more
            await _owe(resources, task, dead[number // PACE % 100 :: 100])
    while len(found := _lines(log)[before:]) < PACE * SECONDS:
        await asyncio.sleep(0.05)
    return sorted(delay for _, delay in found)


async def _make_dead(resources: Any, url: str) -> list[UUID]:
    """Accounts whose endpoints refuse connections, or hang; each is owed five deliveries already."""
    from burnish.ids import new_id
    from burnish.keys.store import ensure_account

    with socket.create_server(("127.0.0.1", 0)) as free:
        closed = f"http://127.0.0.1:{free.getsockname()[1]}/refused"
    found = []
    for number in range(DEAD):
        async with resources.db.transaction() as tx:
            account = await ensure_account(tx, new_id(), f"dead-{number}", resources.clock.now())
        await _endpoint(resources, account, f"{url}/hang" if number % 2 else closed)
        found.append(account)
    for _ in range(5):
        await _owe(resources, UUID(int=0), found)
    return found


def _lines(log: Path) -> list[tuple[float, float]]:
    if not log.exists():
        return []
    whole = log.read_text().rpartition("\n")[0]
    return [(float(at), float(delay)) for at, delay in (line.split() for line in whole.splitlines())]


def _at(sorted_: list[float], part: float) -> float:
    return sorted_[min(len(sorted_) - 1, int(len(sorted_) * part))] * 1000


def _report(figures: dict[str, float]) -> int:
    times = figures["dead_p99"] / figures["alone_p99"]
    print(harness.machine())
    rows = [
        ["deliveries a second, one worker", round(figures["per_second"]), ""],
        ["delay alone, ms (p50, p99)", round(figures["alone_p50"], 1), round(figures["alone_p99"], 1)],
        [f"beside {DEAD:,} dead endpoints", round(figures["dead_p50"], 1), round(figures["dead_p99"], 1)],
    ]
    print(harness.table(["", "", " "], rows))
    holds = figures["per_second"] >= GOAL["deliveries_per_second"] and times < GOAL["p99_times"]
    harness.verdict(
        NAME,
        figures={name: round(value, 2) for name, value in figures.items()},
        ratio=round(times, 2),
        goal=GOAL,
        holds=holds,
    )


if __name__ == "__main__":
    sys.exit(main())
