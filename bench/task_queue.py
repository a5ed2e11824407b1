"""Tasks through the queue, beside the queues Python programs use: no-op tasks a second, and submit-to-start latency.

Burnish: submitted through `tasks/submit` (no HTTP), committed with fsync before each answer, claimed and ended by one
worker process with a no-op runner, ended meaning that its ending is committed too. Peers: their own producer and one
worker process each, as their documentation starts them; on Redis without persistence (dramatiq, taskiq, celery), on
the same PostgreSQL (procrastinate). A peer's task is done when its function has been called. Beside each latency stands
what this disk took for one fsync of a page at that moment: Burnish waits for one between submitting and starting.

Every no-op writes one record (number, monotonic time) to a file, in the peers and in Burnish alike.
"""

import asyncio
import json
import os
import shutil
import signal
import socket
import statistics
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

NAME = "queue"
GOAL = "at least 2 times the fastest peer end to end; submit-to-start p50 at most 3 ms"
PEERS = ["dramatiq[redis]", "taskiq", "taskiq-redis", "celery[redis]", "procrastinate"]
PACKAGES = ["redis-server"]

TASKS = 4_000
ROUNDS = int(os.environ.get("BENCH_ROUNDS", "3"))
LATENCY_TASKS = 150
RECORD = struct.Struct("<qd")
HERE = Path(__file__).parent


def main() -> int:
    folder = Path(tempfile.mkdtemp(prefix="burnish-bench-"))
    folder.chmod(0o755)
    try:
        return asyncio.run(_bench(folder))
    finally:
        shutil.rmtree(folder, ignore_errors=True)


async def _bench(folder: Path) -> int:
    from burnish.storage import directory
    from burnish.storage.embedded import open_embedded

    directory.prepare(folder / "data")
    embedded = await open_embedded(folder / "data")
    redis_port = _free_port()
    redis = subprocess.Popen(
        ["redis-server", "--port", str(redis_port), "--save", "", "--appendonly", "no"],
        stdout=subprocess.DEVNULL,
    )
    environ = {
        **os.environ,
        "BENCH_REDIS": f"redis://127.0.0.1:{redis_port}/0",
        "BENCH_POSTGRES": embedded.dsn,
    }
    peers = ["dramatiq", "taskiq", "celery", "procrastinate"] if "BENCH_PEERS" in os.environ else []
    results: dict[str, list[dict[str, float]]] = {name: [] for name in ["burnish", *peers]}
    missing: dict[str, str] = {}
    try:
        for round_ in range(ROUNDS):
            for name in list(results):
                if name in missing:
                    continue
                python = sys.executable if name == "burnish" else os.environ["BENCH_PEERS"]
                try:
                    results[name].append(await _measure(name, python, environ, folder / f"{name}-{round_}"))
                except (RuntimeError, TimeoutError) as error:
                    missing[name] = str(error) or type(error).__name__
    finally:
        redis.send_signal(signal.SIGTERM)
        redis.wait()
        await embedded.close()
    return _report({name: rounds for name, rounds in results.items() if rounds}, missing)


async def _measure(name: str, python: str, environ: dict[str, str], folder: Path) -> dict[str, float]:
    """One worker, one producer, both processes of their own; then fifty a second."""
    folder.mkdir()
    environ = {**environ, "BENCH_RECORDS": str(folder / "started")}
    script = str(HERE / ("task_queue_burnish.py" if name == "burnish" else "task_queue_peer.py"))
    (folder / "started").touch()
    run = [python, script, name]
    subprocess.run([*run, "prepare"], env=environ, check=True, cwd=HERE, capture_output=True)
    with (folder / "log").open("wb") as log:
        worker = subprocess.Popen(
            [*run, "work"], env=environ, cwd=HERE, stdout=log, stderr=log, start_new_session=True
        )
    try:
        await _produce(run, environ, folder, 20, 100.0)  # the worker is up and warm
        flood = await _produce(run, environ, folder, TASKS, 0.0)
        calm = await _produce(run, environ, folder, LATENCY_TASKS, 50.0)
        fsync = _fsync_seconds(folder / "log-page")
    finally:
        os.killpg(worker.pid, signal.SIGTERM)
        try:
            worker.wait(10)
        except subprocess.TimeoutExpired:
            os.killpg(worker.pid, signal.SIGKILL)
            worker.wait()
    submitted, started = flood["submitted"], flood["started"]
    waits = sorted(begun - put for put, begun in zip(calm["submitted"], calm["started"], strict=True))
    first = min(submitted)
    return {
        "submit": TASKS / (max(submitted) - first),
        "through": TASKS / (flood["done"] - first),
        "worker": TASKS / (max(started) - min(started)),
        "p50": waits[len(waits) // 2] * 1000,
        "p99": waits[int(len(waits) * 0.99)] * 1000,
        "fsync": fsync * 1000,
    }


def _fsync_seconds(file: Path) -> float:
    """How long this disk takes, now, to keep one page of a file that is there: what no durable submission can go below."""
    fd = os.open(file, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        os.pwrite(fd, bytes(1 << 20), 0)
        os.fsync(fd)
        times = []
        for page in range(100):
            began = time.monotonic()
            os.pwrite(fd, b"x" * 8192, page * 8192)
            os.fdatasync(fd)
            times.append(time.monotonic() - began)
            time.sleep(0.005)
    finally:
        os.close(fd)
    return statistics.median(times)


async def _produce(run: list[str], environ: dict[str, str], folder: Path, tasks: int, rate: float) -> dict:  # type: ignore[type-arg]
    """Submit, and wait until all are done. `submitted` and `started` are monotonic seconds by task."""
    records = folder / "started"
    records.write_bytes(b"")
    producer = await asyncio.create_subprocess_exec(
        *run,
        "submit",
        str(tasks),
        str(rate),
        env=environ,
        cwd=HERE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    out, err = await asyncio.wait_for(producer.communicate(), 120)
    if producer.returncode:
        raise RuntimeError(err.decode().strip().splitlines()[-1][:120])
    said = json.loads(out.decode().strip().splitlines()[-1])
    give_up = time.monotonic() + 60
    while records.stat().st_size < tasks * RECORD.size:
        if time.monotonic() > give_up:
            raise RuntimeError(f"{records.stat().st_size // RECORD.size} of {tasks} tasks were done in time")
        await asyncio.sleep(0.005)
    started = dict(RECORD.iter_unpack(records.read_bytes()))
    return {
        "submitted": said["submitted"],
        "started": [started[number] for number in range(tasks)],
        "done": said.get("done") or max(started.values()),
    }


def _report(results: dict[str, list[dict[str, float]]], missing: dict[str, str]) -> int:
    median = {
        name: {key: statistics.median(r[key] for r in rounds) for key in rounds[0]}
        for name, rounds in results.items()
    }
    print(
        f"{'queue':14} {'submit/s':>9} {'worker/s':>9} {'end to end/s':>13} {'p50 ms':>8} {'p99 ms':>8} {'fsync ms':>9}"
    )
    for name, row in sorted(median.items(), key=lambda item: -item[1]["through"]):
        print(
            f"{name:14} {row['submit']:9.0f} {row['worker']:9.0f} {row['through']:13.0f} {row['p50']:8.2f} {row['p99']:8.2f} {row['fsync']:9.2f}"
        )
    for name, why in missing.items():
        print(f"{name:14} not measured: {why}")
    peers = [row["through"] for name, row in median.items() if name != "burnish"]
    ratio = median["burnish"]["through"] / max(peers) if peers else 0.0
    holds = bool(peers) and ratio >= 2 and median["burnish"]["p50"] <= 3
    figures = {name: {key: round(value, 2) for key, value in row.items()} for name, row in median.items()}
    print(
        json.dumps(
            {"bench": NAME, "figures": figures, "ratio": round(ratio, 2), "goal": GOAL, "holds": holds}
        )
    )
    return 0 if holds else 1


def record(number: int) -> None:
    """The no-op itself: called by every queue for every task."""
    os.write(_records(), RECORD.pack(number, time.monotonic()))


_fd: int | None = None


def _records() -> int:
    global _fd  # noqa: PLW0603 - one descriptor a process
    if _fd is None:
        _fd = os.open(os.environ["BENCH_RECORDS"], os.O_WRONLY | os.O_APPEND)
    return _fd


async def paced(tasks: int, rate: float, submit: Callable[[int], object]) -> list[float]:
    """Submit `tasks`, `rate` a second or (0) as fast as 32 callers can; the moment before each."""
    at = [0.0] * tasks
    if rate:
        begun = time.monotonic()
        for number in range(tasks):
            await asyncio.sleep(max(0.0, begun + number / rate - time.monotonic()))
            at[number] = time.monotonic()
            await submit(number)  # type: ignore[misc]
        return at
    numbers = iter(range(tasks))

    async def caller() -> None:
        for number in numbers:
            at[number] = time.monotonic()
            await submit(number)  # type: ignore[misc]

    await asyncio.gather(*(caller() for _ in range(32)))
    return at


def _free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port: int = sock.getsockname()[1]
        return port


if __name__ == "__main__":
    sys.exit(main())
