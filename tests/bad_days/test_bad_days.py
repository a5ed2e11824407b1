"""Real processes, really killed: a clear error, and nothing lost. After each, every invariant holds."""

import asyncio
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import psutil
import pytest

from real_service import Service, serving
from waiting import until


@pytest.fixture
async def service(tmp_path: Path) -> AsyncIterator[Service]:
    async with serving(tmp_path / "data") as running:
        yield running


async def test_a_worker_killed_in_the_middle_loses_no_task(service: Service) -> None:
    """Kill -9 while four tasks run: another worker has them when their leases run out, and all succeed."""
    tasks = [await service.submit(seconds=3) for _ in range(4)]
    for task in tasks:
        await service.running(task["id"])
    killed = service.worker()
    killed.kill()

    ended = [await service.ended(task["id"]) for task in tasks]
    assert [task["status"] for task in ended] == ["succeeded"] * 4
    assert service.worker().pid != killed.pid
    await service.well()


async def test_a_frozen_worker_that_wakes_up_ends_nothing_twice(service: Service) -> None:
    """SIGSTOP a worker past its lease, let another end its tasks, wake it: the endings stand."""
    tasks = [await service.submit(seconds=1) for _ in range(3)]
    for task in tasks:
        await service.running(task["id"])
    frozen = service.worker()
    frozen.suspend()
    other = subprocess.Popen(
        [sys.executable, "-m", "burnish", "worker", "--data", str(service.data)], env=service.environ
    )
    try:
        ended = [await service.ended(task["id"]) for task in tasks]
        frozen.resume()
        assert [task["status"] for task in ended] == ["succeeded"] * 3
        again = await service.submit(seconds=0)
        assert (await service.ended(again["id"]))["status"] == "succeeded"
        assert [await service.ended(task["id"]) for task in tasks] == ended
        await service.well()
    finally:
        other.send_signal(signal.SIGTERM)
        other.wait(10)


async def test_the_database_killed_under_load_loses_no_admitted_task(service: Service) -> None:
    """Kill -9 of the server while clients submit: each got 202, or 503 and can try again; every 202 is ended."""
    admitted: list[str] = []
    refused: list[int] = []
    stop = asyncio.Event()

    async def submit_all_the_time() -> None:
        while not stop.is_set():
            reply = await service.http.post("/v1/tasks", json={"model": "noop", "input": {}})
            if reply.status_code == 202:
                admitted.append(reply.json()["id"])
            else:
                assert reply.status_code == 503, reply.text
                assert int(reply.headers["Retry-After"]) >= 1
                refused.append(reply.status_code)

    clients = [asyncio.create_task(submit_all_the_time()) for _ in range(8)]
    for _ in range(2):
        before = len(admitted)
        await until(lambda before=before: len(admitted) > before + 50)  # type: ignore[misc]
        service.postmaster().kill()
    before = len(admitted)
    await until(lambda: len(admitted) > before + 50, 40)
    stop.set()
    await asyncio.gather(*clients)

    ended = await asyncio.gather(*(service.ended(id_, 60) for id_ in admitted))
    assert {task["status"] for task in ended} == {"succeeded"}
    await service.well()


async def test_the_database_killed_under_photos_fails_none_of_them(service: Service) -> None:
    """Kill -9 of the server while photos are looked at, worked on and stored: each is tried again, and succeeds."""
    picture = (Path(__file__).parents[2] / "src/burnish/samples/photo.jpg").read_bytes()
    upload = await service.upload(picture)
    tasks = [await service.submit("upscale", image=upload) for _ in range(8)]
    await service.ended(tasks[0]["id"], 60)
    service.postmaster().kill()

    ended = [await service.ended(task["id"], 90) for task in tasks]
    assert [task["status"] for task in ended] == ["succeeded"] * 8, [t["status_message"] for t in ended]
    await service.well()


async def test_503_while_the_database_is_away_and_all_well_when_it_is_back(service: Service) -> None:
    """Stopped, not killed: health stays, ready says what is missing, the waiting client gets its answer in the end."""
    task = await service.submit(seconds=2)
    waiter = asyncio.create_task(service.ended(task["id"], 60))
    postmaster = service.postmaster()
    children = postmaster.children()
    for process in [postmaster, *children]:
        process.suspend()
    assert (await service.http.get("/health")).status_code == 200

    async def database_is_missed() -> bool:  # an answer of before serves for a second
        ready = await service.http.get("/ready")
        return ready.status_code == 503 and "database" in ready.text

    await until(database_is_missed)
    for process in [*children, postmaster]:
        process.resume()

    assert (await waiter)["status"] == "succeeded"
    await service.well()


async def test_serve_killed_leaves_nothing_running_and_loses_nothing(tmp_path: Path) -> None:
    """Kill -9 of the service: its workers and its database go too; the next start has every task."""
    async with serving(tmp_path / "data") as first:
        tasks = [await first.submit(seconds=60) for _ in range(2)]
        for task in tasks:
            await first.running(task["id"])
        first.process.kill()
        await until(lambda: not first.children())

    async with serving(tmp_path / "data") as second:
        key = {"Authorization": f"Bearer {first.key}"}
        for task in tasks:
            reply = await second.http.get(f"/v1/tasks/{task['id']}", headers=key)
            assert reply.json()["status"] in ("queued", "running")
            await second.http.post(f"/v1/tasks/{task['id']}/cancel", headers=key)
        await second.well()


async def test_ctrl_c_gives_back_what_runs_and_leaves_nothing(tmp_path: Path) -> None:
    """A running task is queued again at once, at no attempt; no process of the service is left."""
    async with serving(tmp_path / "data") as first:
        task = await first.submit(seconds=60)
        await first.running(task["id"])
        everything = [
            psutil.Process(first.process.pid),
            *psutil.Process(first.process.pid).children(recursive=True),
        ]
    assert [p for p in everything if p.is_running() and p.status() != psutil.STATUS_ZOMBIE] == []
    assert not first.children()
    assert first.process.returncode == 0

    async with serving(tmp_path / "data", "--workers", "0") as second:
        reply = await second.http.get(
            f"/v1/tasks/{task['id']}", headers={"Authorization": f"Bearer {first.key}"}
        )
        assert reply.json()["status"] == "queued"
        assert (await second.http.get("/ready")).status_code == 503
        await second.well()
