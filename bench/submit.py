"""The whole `POST /v1/tasks`, on disk before the reply, beside a FastAPI route that stores nothing.

Key, rates of address and key, validation, ceilings, the day's window, price, hold, insert, one fsync a group: one API
process with its embedded database, its log and every limit on, 128 connections, rates counted in the process and in
Redis, and with a cap on the key's credits. Then at one connection: half of the replies, beside a bare Starlette route
that waits for one fsync of a page. CPU a task is told of the API process and of all PostgreSQL processes.
"""

import shutil
import tempfile
from pathlib import Path
from statistics import median

from harness import machine, table, verdict
from served import ROUNDS, SECONDS, Load, Peer, Redis, Service, load, post

NAME = "submit"
PEERS = ["fastapi", "uvicorn", "uvloop", "httptools", "starlette"]
PACKAGES = ["wrk", "redis-server"]
GOAL = {"rate_ratio": 0.8, "api_us": 60, "postgres_us": 80, "above_fsync_ms": 1.5}
AIM = 1.2
MANY = 128


def main() -> None:
    folder = Path(tempfile.mkdtemp(prefix="burnish-bench-"))
    folder.chmod(0o755)
    redis = Redis()
    opened: dict[str, Service | Peer] = {}
    try:
        opened["FastAPI, stores nothing"] = Peer("fastapi_app")
        opened["Burnish"] = Service(folder / "memory")
        opened["Burnish, Redis counters"] = Service(folder / "redis", counters=redis.url)
        opened["Burnish, capped key"] = Service(folder / "capped", cap=True)
        opened["Starlette and one fsync"] = Peer("starlette_synced", BENCH_LOG=str(folder / "log"))
        crowd, single = _rounds(opened, folder)
    finally:
        for one in opened.values():
            one.close()
        redis.close()
        shutil.rmtree(folder, ignore_errors=True)
    _report(crowd, single)


def _rounds(
    opened: dict[str, Service | Peer], folder: Path
) -> tuple[dict[str, list[Load]], dict[str, list[Load]]]:
    """Rounds of all, one after the other: with many connections, and with one."""
    *many, alone = opened
    crowd: dict[str, list[Load]] = {name: [] for name in many}
    single: dict[str, list[Load]] = {name: [] for name in (alone, "Burnish", "Burnish, Redis counters")}
    for name, served in opened.items():
        load(served, post(served.key), folder, connections=1 if name == alone else MANY, seconds=1)  # warm
    for _ in range(ROUNDS):
        for found, connections, seconds in ((crowd, MANY, SECONDS), (single, 1, max(1, SECONDS // 2))):
            for name in found:
                served = opened[name]
                found[name].append(
                    load(served, post(served.key), folder, connections=connections, seconds=seconds)
                )
    return crowd, single


def _report(crowd: dict[str, list[Load]], single: dict[str, list[Load]]) -> None:
    peer, *ours = crowd
    synced, *ours_alone = single
    print(machine())
    print(f"\n{MANY} connections, {ROUNDS} rounds of {SECONDS} s\n")
    print(
        table(
            ("", "tasks/s", "min", "max", "p50 ms", "p99 ms", "API µs", "PostgreSQL µs"),
            [
                (
                    name, round(median(one.rate for one in all_)), round(min(one.rate for one in all_)),
                    round(max(one.rate for one in all_)), *(_median(all_, what) for what in
                    ("p50_ms", "p99_ms", "api_us", "postgres_us")),
                )
                for name, all_ in crowd.items()
            ],
        )
    )  # fmt: skip
    print("\nOne connection\n")
    above = {
        name: round(
            median(one.p50_ms - bare.p50_ms for one, bare in zip(single[name], single[synced], strict=True)),
            2,
        )
        for name in ours_alone
    }
    print(
        table(
            ("", "p50 ms", "above one fsync", "API µs", "PostgreSQL µs"),
            [
                (
                    name, _median(all_, "p50_ms"), above.get(name, 0.0), _median(all_, "api_us"),
                    _median(all_, "postgres_us"),
                )
                for name, all_ in single.items()
            ],
        )
    )  # fmt: skip
    ratios = {
        name: round(
            median(one.rate / bare.rate for one, bare in zip(crowd[name], crowd[peer], strict=True)), 2
        )
        for name in ours
    }
    figures = {
        name: {
            "rate_ratio": ratios[name],
            "api_us": _median(crowd[name], "api_us"),
            "postgres_us": _median(crowd[name], "postgres_us"),
            **({"above_fsync_ms": above[name]} if name in above else {}),
        }
        for name in ours
    }
    holds = all(
        figure >= GOAL[what] if what == "rate_ratio" else figure <= GOAL[what]
        for found in figures.values()
        for what, figure in found.items()
    )
    verdict(NAME, figures=figures, ratio=ratios["Burnish"], goal=GOAL | {"aim": AIM}, holds=holds)


def _median(found: list[Load], what: str) -> float:
    middle: float = median(getattr(one, what) for one in found)
    return round(middle, 1 if what.endswith("_us") else 2)


if __name__ == "__main__":
    main()
