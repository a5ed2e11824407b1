"""What goes wrong with tasks, files and clients while their service is well: it stays well, for all that come after."""

import asyncio
import struct
import subprocess
import sys
import zlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import pytest_asyncio

from real_service import Service, serving
from waiting import until

PHOTO = Path(__file__).parents[2] / "src/burnish/samples/photo.jpg"

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def service(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Service]:
    """One for all of them; those that move its clock come last."""
    async with serving(tmp_path_factory.mktemp("one") / "data") as running:
        yield running


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


@pytest.mark.parametrize("when", ["before", "after"])
async def test_an_upload_may_come_before_or_after_its_task(service: Service, when: str) -> None:
    """`waiting` until the bytes have been seen, then it runs."""
    picture = PHOTO.read_bytes()
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


async def test_hostile_files_fail_their_own_task_with_the_reason(service: Service) -> None:
    """Not an image, cut short, a bomb by its header: each is told why, and the next photo is fine."""
    picture = PHOTO.read_bytes()
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


async def test_a_client_that_leaves_while_waiting_leaves_nothing_behind(service: Service) -> None:
    """A hundred waiting clients go away; the service answers the next at once."""
    task = await service.submit(seconds=600)
    for _ in range(100):
        with pytest.raises(httpx.TimeoutException):
            await service.http.get(f"/v1/tasks/{task['id']}?wait=30", timeout=httpx.Timeout(10, read=0.01))
    await service.http.post(f"/v1/tasks/{task['id']}/cancel")
    assert (await service.ended(task["id"]))["status"] == "cancelled"


async def test_an_upload_that_never_arrives_fails_its_task_in_time(service: Service) -> None:
    """It waits until the promise is over, then says what to do."""
    asked = {"filename": "a.jpg", "content_type": "image/jpeg", "size_bytes": 1000}
    promised = (await service.http.post("/v1/uploads", json=asked)).json()
    task = await service.submit("upscale", image=promised["id"])
    assert task["status"] == "waiting"
    await service.move_clock(3601)

    ended = await service.ended(task["id"])
    assert (ended["status"], ended["status_reason"]) == ("failed", "input_timeout")
    put = await service.http.put(promised["url"], content=b"x" * 1000, headers=promised["headers"])
    assert put.status_code == 410
    await service.well()


async def test_bytes_are_gone_at_their_time_and_answer_410(service: Service) -> None:
    """Seven days later the sweep has deleted every file; links and ids answer from the tombstone."""
    picture = PHOTO.read_bytes()
    task = await service.submit("upscale", image=await service.upload(picture))
    ended = await service.ended(task["id"], 60)
    link = ended["outputs"][0]["url"]
    assert (await service.http.get(link)).status_code == 200
    assert _files(service)
    await service.move_clock(8 * 86400)

    await until(lambda: not _files(service))
    assert (await service.http.get(link)).status_code == 410
    assert (await service.http.get(f"/v1/tasks/{task['id']}")).status_code == 410
    await service.well()


def _png_header(width: int, height: int) -> bytes:
    def chunk(name: bytes, content: bytes) -> bytes:
        return (
            struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))
        )

    head = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + head + chunk(b"IDAT", zlib.compress(b"\0" * 10_000)) + chunk(b"IEND", b"")


def _files(service: Service) -> list[Path]:
    return [path for path in (service.data / "blobs").rglob("*") if path.is_file()]
