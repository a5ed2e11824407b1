"""`GET /v1/tasks/{id}` with its key and rates, read from the database, beside a bare Starlette route that reads nothing.

One API process, 128 connections, a thousand tasks asked for in turn. Also told, without a goal: rates counted in Redis.
"""

import json
import shutil
import tempfile
import urllib.request
from pathlib import Path
from statistics import median

from harness import machine, table, verdict
from served import ROUNDS, SECONDS, TASK, Load, Peer, Redis, Service, get, load

NAME = "poll"
PEERS = ["fastapi", "uvicorn", "uvloop", "httptools", "starlette"]
PACKAGES = ["wrk", "redis-server"]
GOAL = {"rate_ratio": 0.5}
MANY = 128
TASKS = 1_000


def main() -> None:
    folder = Path(tempfile.mkdtemp(prefix="burnish-bench-"))
    folder.chmod(0o755)
    redis = Redis()
    opened: dict[str, Service | Peer] = {}
    try:
        opened["Starlette, reads nothing"] = Peer("starlette_app")
        opened["Burnish"] = Service(folder / "memory")
        opened["Burnish, Redis counters"] = Service(folder / "redis", counters=redis.url)
        found = _rounds(opened, folder)
    finally:
        for one in opened.values():
            one.close()
        redis.close()
        shutil.rmtree(folder, ignore_errors=True)
    _report(found)


def _rounds(opened: dict[str, Service | Peer], folder: Path) -> dict[str, list[Load]]:
    scripts = {}
    for name, served in opened.items():
        paths = (
            _submitted(served) if isinstance(served, Service) else [f"/v1/tasks/{n}" for n in range(TASKS)]
        )
        scripts[name] = get(served.key, paths)
        load(served, scripts[name], folder, connections=MANY, seconds=1)  # warm
    found: dict[str, list[Load]] = {name: [] for name in opened}
    for _ in range(ROUNDS):
        for name, served in opened.items():
            found[name].append(load(served, scripts[name], folder, connections=MANY, seconds=SECONDS))
    return found


def _submitted(service: Service) -> list[str]:
    headers = {"Authorization": f"Bearer {service.key}", "Content-Type": "application/json"}
    paths = []
    for _ in range(TASKS):
        request = urllib.request.Request(f"{service.url}/v1/tasks", TASK, headers)
        with urllib.request.urlopen(request) as reply:
            paths.append(f"/v1/tasks/{json.load(reply)['id']}")
    return paths


def _report(found: dict[str, list[Load]]) -> None:
    peer, *ours = found
    print(machine())
    print(
        table(
            ("", "reads/s", "min", "max", "p50 ms", "p99 ms", "API µs", "PostgreSQL µs"),
            [
                (
                    name, round(median(one.rate for one in all_)), round(min(one.rate for one in all_)),
                    round(max(one.rate for one in all_)), *(round(median(getattr(one, what) for one in all_), 2)
                    for what in ("p50_ms", "p99_ms", "api_us", "postgres_us")),
                )
                for name, all_ in found.items()
            ],
        )
    )  # fmt: skip
    ratios = {
        name: round(
            median(one.rate / bare.rate for one, bare in zip(found[name], found[peer], strict=True)), 2
        )
        for name in ours
    }
    verdict(
        NAME,
        figures=ratios,
        ratio=ratios["Burnish"],
        goal=GOAL,
        holds=ratios["Burnish"] >= GOAL["rate_ratio"],
    )


if __name__ == "__main__":
    main()
