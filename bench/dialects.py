"""Submit and poll through each dialect, beside the same through the native API.

One API process without workers, every limit on, 128 connections, the no-op model. All ways take turns in each round, so that
the rates of one round are compared. A dialect is one line of `WAYS`: what it posts where, and how a task is read.
"""

import json
import shutil
import tempfile
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

from harness import machine, table, verdict
from served import ROUNDS, SECONDS, TASK, Load, Service, get, load, post

NAME = "dialects"
PEERS: list[str] = []
PACKAGES = ["wrk"]
GOAL = {"submit_ratio": 0.85, "poll_ratio": 0.85}
MANY = 128
TASKS = 1_000


@dataclass(frozen=True)
class Way:
    """`id_of`: the task's id in the reply to a submission; its path is `path` and that."""

    path: str
    body: bytes
    id_of: Callable[[Any], str]


NATIVE = "native"
WAYS = {
    NATIVE: Way("/v1/tasks", TASK, lambda reply: str(reply["id"])),
    "hiapi": Way(
        "/hiapi/v1/tasks",
        b'{"model": "noop", "input": {"seconds": 0.5}, "callback": null, "route": ""}',
        lambda reply: str(reply["data"]["taskId"]),
    ),
}


def main() -> None:
    folder = Path(tempfile.mkdtemp(prefix="burnish-bench-"))
    folder.chmod(0o755)
    service = Service(folder / "service")
    try:
        submits, polls = _rounds(service, folder)
    finally:
        service.close()
        shutil.rmtree(folder, ignore_errors=True)
    _report(submits, polls)


def _rounds(service: Service, folder: Path) -> tuple[dict[str, list[Load]], dict[str, list[Load]]]:
    submitting = {name: post(service.key, way.path, way.body) for name, way in WAYS.items()}
    polling = {name: get(service.key, _submitted(service, way)) for name, way in WAYS.items()}
    submits: dict[str, list[Load]] = {name: [] for name in WAYS}
    polls: dict[str, list[Load]] = {name: [] for name in WAYS}
    for scripts in (submitting, polling):
        for script in scripts.values():
            load(service, script, folder, connections=MANY, seconds=1)  # warm
    for _ in range(ROUNDS):
        for found, scripts in ((submits, submitting), (polls, polling)):
            for name, script in scripts.items():
                found[name].append(load(service, script, folder, connections=MANY, seconds=SECONDS))
    return submits, polls


def _submitted(service: Service, way: Way) -> list[str]:
    headers = {"Authorization": f"Bearer {service.key}", "Content-Type": "application/json"}
    paths = []
    for _ in range(TASKS):
        request = urllib.request.Request(f"{service.url}{way.path}", way.body, headers)
        with urllib.request.urlopen(request) as reply:
            paths.append(f"{way.path}/{way.id_of(json.load(reply))}")
    return paths


def _report(submits: dict[str, list[Load]], polls: dict[str, list[Load]]) -> None:
    print(machine())
    print(f"\n{MANY} connections, {ROUNDS} rounds of {SECONDS} s\n")
    ratios = {}
    for what, found in (("submit", submits), ("poll", polls)):
        rows = [
            (
                name, round(median(one.rate for one in all_)), round(min(one.rate for one in all_)),
                round(max(one.rate for one in all_)), *(round(median(getattr(one, which) for one in all_), 1)
                for which in ("p50_ms", "p99_ms", "api_us", "postgres_us")),
            )
            for name, all_ in found.items()
        ]  # fmt: skip
        heads = (what, "a second", "min", "max", "p50 ms", "p99 ms", "API µs", "PostgreSQL µs")
        print(table(heads, rows) + "\n")
        for name in WAYS:
            if name != NATIVE:
                pairs = zip(found[name], found[NATIVE], strict=True)
                ratios[f"{name}_{what}_ratio"] = round(median(one.rate / bare.rate for one, bare in pairs), 2)
    holds = all(ratio >= GOAL[name.split("_", 1)[1]] for name, ratio in ratios.items())
    verdict(NAME, figures=ratios, ratio=min(ratios.values()), goal=GOAL, holds=holds)


if __name__ == "__main__":
    main()
