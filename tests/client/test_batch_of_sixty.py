"""Sixty files through `burnish enhance` and a real service with tight limits, beside the naive clients of `tests/naive`."""

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from burnish import client as burnish
from client.test_enhance_end_to_end import photo
from real_service import Service, serving

FILES = 60
#: Ten files a second after the burst: sixty take longer than the burst does.
PLANS = """
[owner]
metered = false

[trial]
rates.create = { limit = 1_200, burst = 20 }
rates.read = { limit = 600, burst = 20 }
at_once.account = { limit = 5 }
windows.same_name = { limit = 30, seconds = 3600 }
"""


@pytest.fixture
async def limited(tmp_path: Path) -> AsyncIterator[Service]:
    """A service whose `trial` is tight."""
    (tmp_path / "plans.toml").write_text(PLANS)
    async with serving(tmp_path / "data", BURNISH_PLANS=str(tmp_path / "plans.toml")) as service:
        yield service


def burnish_says(service: Service, *words: str) -> Any:
    said = subprocess.run(
        [sys.executable, "-m", "burnish", *words, "--json", "--data", str(service.data)],
        env=service.environ, capture_output=True, check=True,
    )  # fmt: skip
    return json.loads(said.stdout)


def account(service: Service, name: str) -> str:
    """A key of a new account with a thousand credits."""
    burnish_says(service, "accounts", "create", name)
    burnish_says(service, "credits", "grant", name, "1000")
    scopes = "uploads:write,tasks:write,tasks:read,usage:read"
    return str(burnish_says(service, "keys", "create", "--account", name, "--scopes", scopes)["secret"])


def refusals(service: Service, since: int = 0) -> list[str]:
    """The codes of all replies with 429."""
    log = (service.data.parent / f"{service.data.name}.log").read_bytes()[since:]
    lines = [json.loads(line) for line in log.splitlines() if line.startswith(b"{")]
    return [line["code"] for line in lines if line.get("status") == 429]


def pictures(folder: Path) -> Path:
    """The same name in sixty folders, as cameras make them."""
    picture = photo(8, 8, "png")
    for number in range(FILES):
        (folder / f"{number}").mkdir(parents=True)
        (folder / f"{number}" / "IMG_0001.png").write_bytes(picture)
    return folder


async def test_a_batch_meets_no_limit_that_it_could_have_foreseen(limited: Service, tmp_path: Path) -> None:
    """Sixty files of one name: all are done, no request is refused, the cost is what the account was charged; a naive
    client with the same plan and the same files is refused dozens of times.
    """
    folder = pictures(tmp_path / "in")
    key = account(limited, "batch")
    command = [
        sys.executable,
        "-m",
        "burnish",
        "enhance",
        str(folder),
        "-r",
        "-o",
        str(tmp_path / "out"),
        "--json",
    ]
    environ = {**os.environ, "BURNISH_URL": limited.url, "BURNISH_API_KEY": key}

    quoted = subprocess.run([*command, "--dry-run"], env=environ, capture_output=True, text=True, check=True)
    ran = subprocess.run(command, env=environ, capture_output=True, text=True, check=False)

    quote, summary = json.loads(quoted.stdout), json.loads(ran.stdout.splitlines()[-1])
    assert (ran.returncode, ran.stderr, summary["done"], summary["failed"]) == (0, "", FILES, 0)
    assert refusals(limited) == []
    assert len(list((tmp_path / "out").rglob("IMG_0001.png"))) == FILES
    with burnish.Client(limited.url, key) as client:
        standing = client.credits.get()
        assert quote["lowest"] == quote["highest"] == summary["credits"] == standing.charged
        assert (standing.held, quote["available"]) == (0, 1000)
        assert sum(line.succeeded for line in client.usage.list()) == FILES
        assert {entry.kind for entry in client.credits.entries()} == {"grant", "hold", "charge"}
        assert {limit.name for limit in client.limits.list()} >= {"create-rate", "tasks-at-once", "credits"}

    naive = subprocess.run(
        [sys.executable, "-m", "naive.burst", limited.url, account(limited, "naive"), str(_flat(folder))],
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])},
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert json.loads(naive.stdout)["failed"] > FILES // 2
    assert len(refusals(limited)) > FILES // 2


def _flat(folder: Path) -> Path:
    """The same pictures in one folder, under names of their own: naive clients look no further."""
    flat = folder.parent / "flat"
    flat.mkdir()
    for file in folder.rglob("*.png"):
        (flat / f"{file.parent.name}.png").hardlink_to(file)
    return flat


async def test_runs_that_are_all_started_at_once_meet_no_limit(limited: Service) -> None:
    """Twenty-five at once of an `AsyncClient`, each with its upload: none is refused."""
    key = account(limited, "runs")
    picture = photo(8, 8, "png")
    async with burnish.AsyncClient(limited.url, key) as client, asyncio.TaskGroup() as group:
        runs = [group.create_task(client.tasks.run("upscale", {"image": picture})) for _ in range(25)]

    assert all(run.result().succeeded for run in runs)
    assert refusals(limited) == []
