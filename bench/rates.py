"""Decisions on rates a second, beside the package `limits`: in the process, and on Redis.

One process with 32 callers at once and 1,000 keys; every request is allowed (100,000 a minute for each key), so that
nobody is quick by refusing. `limits` with each of its strategies, sync and async, which answers yes or no; Burnish answers
how many are left and when there are more, too. Both on uvloop, both with hiredis, Redis without persistence.
"""

import asyncio
import json
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path

from harness import machine, table, verdict

NAME = "limits"
GOAL = "at least 6 times the fastest strategy of `limits` in memory, 3 times on Redis"
PEERS = ["limits[redis]", "hiredis", "uvloop"]
PACKAGES = ["redis-server"]

ROUNDS = int(os.environ.get("BENCH_ROUNDS", "5"))
CALLERS = 32
KEYS = [f"198.51.{number // 250}.{number % 250}" for number in range(1_000)]
PER_MINUTE = 100_000
SECONDS = 0.6
HERE = Path(__file__).parent

Figures = dict[str, tuple[float, float]]  #: row -> decisions a second, client CPU of one in µs


def main() -> None:
    with tempfile.TemporaryDirectory() as folder, socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port = sock.getsockname()[1]
        sock.close()
        command = ["redis-server", "--port", str(port), "--save", "", "--appendonly", "no", "--dir", folder]
        redis = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        try:
            rounds = [_round(f"redis://127.0.0.1:{port}/0") for _ in range(ROUNDS)]
        finally:
            redis.terminate()
            redis.wait()
    _report(rounds)


def _round(url: str) -> Figures:
    figures: Figures = {}
    for python, script in ((sys.executable, "rates.py"), (os.environ["BENCH_PEERS"], "rates_peer.py")):
        done = subprocess.run(
            [python, str(HERE / script), "measure", url], check=True, capture_output=True, text=True
        )
        said = json.loads(done.stdout.splitlines()[-1])
        figures |= {name: (row[0], row[1]) for name, row in said.items()}
    return figures


def _report(rounds: list[Figures]) -> None:
    median = {
        name: [statistics.median(round_[name][column] for round_ in rounds) for column in (0, 1)]
        for name in rounds[0]
    }
    ratios = {}
    print(machine())
    for home in ("memory", "redis"):
        rows = {name: figures for name, figures in median.items() if name.startswith(f"{home}: ")}
        best = max(figures[0] for name, figures in rows.items() if "limits" in name)
        ratios[home] = round(rows[f"{home}: burnish"][0] / best, 2)
        print(f"\n{home}, against the fastest of `limits`: {ratios[home]} times\n")
        print(
            table(
                ["", "decisions/s", "client CPU µs", "times"],
                [
                    [
                        name.partition(": ")[2],
                        round(figures[0]),
                        round(figures[1], 2),
                        round(figures[0] / best, 2),
                    ]
                    for name, figures in sorted(rows.items(), key=lambda row: -row[1][0])
                ],
            )
        )
    verdict(
        NAME,
        figures={name: round(figures[0]) for name, figures in median.items()},
        ratio=ratios,
        goal=GOAL,
        holds=ratios["memory"] >= 6 and ratios["redis"] >= 3,
    )


# --- what both sides measure by -----------------------------------------------------------------------------------


def called(decide_all: Callable[[], None]) -> tuple[float, float]:
    """`decide_all` decides once for every key; decisions a second, and CPU of one."""
    count, began, cpu = 0, time.perf_counter(), time.process_time()
    while time.perf_counter() - began < SECONDS:
        decide_all()
        count += len(KEYS)
    return count / (time.perf_counter() - began), (time.process_time() - cpu) / count * 1e6


async def awaited(decide: Callable[[str], Awaitable[object]]) -> tuple[float, float]:
    """The same, by callers at once; `decide` decides for one key."""
    count, began, cpu = 0, time.perf_counter(), time.process_time()

    async def caller(first: int) -> None:
        nonlocal count
        number = first
        while time.perf_counter() - began < SECONDS:
            for _ in range(20):
                await decide(KEYS[number % len(KEYS)])
                number += CALLERS + 1
            count += 20

    await asyncio.gather(*(caller(number) for number in range(CALLERS)))
    return count / (time.perf_counter() - began), (time.process_time() - cpu) / count * 1e6


# --- Burnish ------------------------------------------------------------------------------------------------------


async def _measure(url: str) -> Figures:
    from burnish.limits.counters import Asked, open_counters
    from burnish.limits.rate import Rate

    one = [("key", Rate("key-rate", PER_MINUTE, 60.0, PER_MINUTE))]
    three = [("key", Rate(f"rate-{number}", PER_MINUTE, 60.0, PER_MINUTE)) for number in range(3)]
    memory = await open_counters("memory://")
    redis = await open_counters(url, patience_seconds=5)

    def in_memory(asked: Sequence[Asked]) -> Callable[[], None]:
        def decide_all() -> None:
            for key in KEYS:
                memory.spend(key, asked)

        return decide_all

    def on_redis(asked: Sequence[Asked]) -> Callable[[str], Awaitable[object]]:
        return lambda key: redis.spend(key, asked)  # type: ignore[return-value] # it is there

    figures = {
        "memory: burnish": called(in_memory(one)),
        "memory: burnish, three rates at once": called(in_memory(three)),
        "redis: burnish": await awaited(on_redis(one)),
        "redis: burnish, three rates at once": await awaited(on_redis(three)),
    }
    for counters in (memory, redis):
        found = counters.peek(KEYS[0], three)
        assert all(verdict.allowed for verdict in (found if isinstance(found, list) else await found))
    await redis.close()
    return figures


if __name__ == "__main__":
    if sys.argv[1:2] == ["measure"]:
        import uvloop

        print(json.dumps(uvloop.run(_measure(sys.argv[2]))))
    else:
        main()
