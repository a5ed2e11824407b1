"""Real processes, really killed: a clear error, and nothing lost. After each, every invariant holds."""

import asyncio
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
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


async def test_two_services_on_one_directory_the_second_says_where_the_first_is(service: Service) -> None:
    """Exit code 3, a message, and the first goes on."""
    second = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "burnish", "serve", "--port", "0", "--data", str(service.data),
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=service.environ,
    )  # fmt: skip
    _, said = await asyncio.wait_for(second.communicate(), 20)

    assert second.returncode == 3
    assert service.url in said.decode()
    assert str(service.process.pid) in said.decode()
    assert (await service.ended((await service.submit())["id"]))["status"] == "succeeded"


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


async def test_cancel_stops_a_running_task_at_once(service: Service) -> None:
    """All places are taken by long tasks; cancelled, they let the next one run long before their time."""
    long = [await service.submit(seconds=600) for _ in range(4)]
    for task in long:
        await service.running(task["id"])
    for task in long:
        reply = await service.http.post(f"/v1/tasks/{task['id']}/cancel")
        assert reply.json()["status"] == "cancelled"

    assert (await service.ended((await service.submit())["id"]))["status"] == "succeeded"
    await service.well()


async def test_a_task_that_hangs_past_its_deadline_fails_alone(service: Service) -> None:
    """It says which deadline; the other places of the worker go on."""
    asked = {"model": "noop", "input": {"seconds": 600}, "deadline_seconds": 1}
    hanging = (await service.http.post("/v1/tasks", json=asked)).json()
    other = await service.submit(seconds=0)

    ended = await service.ended(hanging["id"])
    assert (ended["status"], ended["status_reason"], ended["retryable"]) == (
        "failed",
        "deadline_exceeded",
        True,
    )
    assert "1 s" in ended["status_message"]
    assert (await service.ended(other["id"]))["status"] == "succeeded"
    await service.well()


async def test_an_upload_that_never_arrives_fails_its_task_in_time(service: Service) -> None:
    """It waits until the promise is over, then says what to do."""
    asked = {"filename": "a.jpg", "content_type": "image/jpeg", "size_bytes": 1000}
    promised = (await service.http.post("/v1/uploads", json=asked)).json()
    task = await service.submit("upscale", image=promised["id"])
    assert task["status"] == "waiting"
    await _move_clock(service, 3601)

    ended = await service.ended(task["id"])
    assert (ended["status"], ended["status_reason"]) == ("failed", "input_timeout")
    put = await service.http.put(promised["url"], content=b"x" * 1000, headers=promised["headers"])
    assert put.status_code == 410
    await service.well()


@pytest.mark.parametrize("when", ["before", "after"])
async def test_an_upload_may_come_before_or_after_its_task(service: Service, when: str) -> None:
    """`waiting` until the bytes have been seen, then it runs."""
    picture = (Path(__file__).parents[2] / "src/burnish/samples/photo.jpg").read_bytes()
    asked = {"filename": "photo.jpg", "content_type": "image/jpeg", "size_bytes": len(picture)}
    promised = (await service.http.post("/v1/uploads", json=asked)).json()
    task: dict[str, Any] = {}
    if when == "after":
        task = await service.submit("upscale", image=promised["id"])
    await service.http.put(promised["url"], content=picture, headers=promised["headers"])
    if when == "before":
        task = await service.submit("upscale", image=promised["id"])

    ended = await service.ended(task["id"], 60)
    assert (ended["status"], ended["status_message"]) == ("succeeded", None)
    assert [(o["type"], o["width"], o["height"]) for o in ended["outputs"]] == [("image/jpeg", 1200, 800)]
    await service.well()


async def test_bytes_are_gone_at_their_time_and_answer_410(service: Service) -> None:
    """Seven days later the sweep has deleted every file; links and ids answer from the tombstone."""
    picture = (Path(__file__).parents[2] / "src/burnish/samples/photo.jpg").read_bytes()
    task = await service.submit("upscale", image=await service.upload(picture))
    ended = await service.ended(task["id"], 60)
    link = ended["outputs"][0]["url"]
    assert (await service.http.get(link)).status_code == 200
    assert _files(service)
    await _move_clock(service, 8 * 86400)

    await until(lambda: not _files(service))
    assert (await service.http.get(link)).status_code == 410
    assert (await service.http.get(f"/v1/tasks/{task['id']}")).status_code == 410
    await service.well()


async def test_hostile_files_fail_their_own_task_with_the_reason(service: Service) -> None:
    """Not an image, cut short, a bomb by its header: each is told why, and the next photo is fine."""
    picture = (Path(__file__).parents[2] / "src/burnish/samples/photo.jpg").read_bytes()
    cases = {
        "unsupported_format": b"<svg xmlns='http://www.w3.org/2000/svg'/>" * 10,
        "decode_failed": picture[: len(picture) // 2],
        "input_too_large": _png_header(50_000, 50_000),
    }
    tasks = {
        reason: await service.submit("upscale", image=await service.upload(content))
        for reason, content in cases.items()
    }
    for reason, task in tasks.items():
        ended = await service.ended(task["id"], 60)
        assert (ended["status"], ended["status_reason"]) == ("failed", reason), ended["status_message"]
        assert len(ended["status_message"]) > 20
    good = await service.submit("upscale", image=await service.upload(picture))
    assert (await service.ended(good["id"], 60))["status"] == "succeeded"
    await service.well()


def _png_header(width: int, height: int) -> bytes:
    import struct
    import zlib

    def chunk(name: bytes, content: bytes) -> bytes:
        return (
            struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))
        )

    head = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + head + chunk(b"IDAT", zlib.compress(b"\0" * 10_000)) + chunk(b"IEND", b"")


def _files(service: Service) -> list[Path]:
    return [path for path in (service.data / "blobs").rglob("*") if path.is_file()]


async def _move_clock(service: Service, seconds: int) -> None:
    """Move the one offset of this service's database, from beside it, as `doctor` would reach it."""
    script = (
        "import asyncio, sys\n"
        "from burnish.settings import read\n"
        "from burnish.resources import open_database_of\n"
        "async def move():\n"
        "    async with open_database_of(read({}, {'data': sys.argv[1]})) as db:\n"
        "        async with db.transaction() as tx:\n"
        "            await tx.execute('UPDATE clock SET ahead = ahead + make_interval(secs => $1)', float(sys.argv[2]))\n"
        "        db.news.announce(['clock'])\n"
        "asyncio.run(move())\n"
    )
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", script, str(service.data), str(seconds)
    )
    assert await process.wait() == 0


async def test_a_client_that_leaves_while_waiting_leaves_nothing_behind(service: Service) -> None:
    """A hundred waiting clients go away; the service answers the next at once."""
    task = await service.submit(seconds=600)
    for _ in range(100):
        with pytest.raises(httpx.TimeoutException):
            await service.http.get(f"/v1/tasks/{task['id']}?wait=30", timeout=httpx.Timeout(10, read=0.01))
    await service.http.post(f"/v1/tasks/{task['id']}/cancel")
    assert (await service.ended(task["id"]))["status"] == "cancelled"
