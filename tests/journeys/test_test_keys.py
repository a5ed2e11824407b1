"""What a program sees that is tried out with a test key, against a running service whose network is stopped all the while."""

import contextlib
import io
import json
import subprocess
import sys
from collections.abc import AsyncIterator
from typing import Any

import httpx
import psutil
import pytest
import pytest_asyncio
from PIL import Image

from burnish.tasks import magic
from real_service import Service, serving
from waiting import until

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def service(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Service]:
    """A service used with a test key, whose inference children stand still: whatever needs one never ends."""
    data = tmp_path_factory.mktemp("test-keys") / "data"
    async with serving(data, BURNISH_WORKERS_LIGHT="1") as running:
        made = subprocess.run(
            [sys.executable, "-m", "burnish", "keys", "create", "--env", "test", "--json", "--data", str(data)],
            env=running.environ, capture_output=True, check=True,
        )  # fmt: skip
        running.http.headers["Authorization"] = f"Bearer {json.loads(made.stdout)['secret']}"
        networks = await until(lambda: _networks(running))
        for network in networks:
            network.suspend()
        yield running
        for network in networks:
            with contextlib.suppress(psutil.NoSuchProcess):  # taken for hung, after the last test
                network.resume()


def _networks(service: Service) -> list[psutil.Process]:
    """The children of the worker that hold networks."""
    return [child for child in service.worker().children() if "inference" in child.cmdline()]


async def _submit(service: Service, image: str, **input_: Any) -> httpx.Response:
    body = {"model": "upscale", "input": {"image": image, **input_}}
    return await service.http.post("/v1/tasks", json=body)


@pytest.mark.parametrize("word", [word for word in magic.WORDS.values() if word.reason])
async def test_each_failure_that_is_asked_for(service: Service, word: magic.Word) -> None:
    """The task ends as any that fails so: status, reason, message, whether to try again; a retry fails again."""
    task = (await _submit(service, word.given)).json()
    ended = await service.ended(task["id"], 10)
    assert (ended["status"], ended["status_reason"], ended["outputs"]) == ("failed", word.reason, [])
    again = await service.http.post(f"/v1/tasks/{task['id']}/retry")
    assert again.status_code == 202
    assert (await service.ended(again.json()["id"], 10))["status_reason"] == word.reason


@pytest.mark.parametrize("word", ["ok", "webhook_refused"])
async def test_words_that_succeed(service: Service, word: str) -> None:
    """Within two seconds, as if a JPEG of 1024 x 768 had been enlarged."""
    reply = await service.http.post(
        "/v1/tasks",
        json={"model": "upscale", "input": {"image": f"test:{word}"}},
        headers={"Prefer": "wait=2"},
    )
    assert reply.status_code == 200
    (output,) = reply.json()["outputs"]
    assert (output["type"], output["width"], output["height"]) == ("image/jpeg", 2048, 1536)
    assert output["notes"] == {"canned": True}


async def test_words_that_are_refused(service: Service) -> None:
    """429 with the time to wait, and 402 with none."""
    limited, unpaid = (
        await _submit(service, "test:rate_limited"),
        await _submit(service, "test:insufficient_credits"),
    )
    assert (limited.status_code, unpaid.status_code) == (429, 402)
    assert int(limited.headers["Retry-After"]) >= 1
    assert "Retry-After" not in unpaid.headers


async def test_slow_is_cancelled_while_it_runs(service: Service) -> None:
    """Progress is told; nothing else waits behind it, though this worker does one light task at once."""
    task = (await _submit(service, "test:slow")).json()

    async def progress() -> float:
        found: float = (await service.http.get(f"/v1/tasks/{task['id']}")).json()["progress"]
        return found

    await until(progress)
    other = (await _submit(service, "test:ok")).json()
    assert (await service.ended(other["id"], 10))["status"] == "succeeded"
    assert 0 < await progress() < 1
    cancelled = await service.http.post(f"/v1/tasks/{task['id']}/cancel")
    assert (cancelled.json()["status"], cancelled.json()["status_reason"]) == (
        "cancelled",
        "cancelled_by_user",
    )


@pytest.mark.parametrize("format_", ["png", "jpeg", "webp", "tiff"])
async def test_an_upload_gets_a_picture_of_its_own_size_and_type(service: Service, format_: str) -> None:
    """The plain way: upload, task, result. The bytes are a picture of the right kind, and not the one that was sent."""
    content = io.BytesIO()
    Image.new("RGB", (123, 45), "red").save(content, format_)
    upload = await service.upload(content.getvalue(), f"photo.{format_}", f"image/{format_}")
    ended = await service.ended((await _submit(service, upload, scale=4)).json()["id"], 10)
    assert ended["status"] == "succeeded", ended["status_message"]
    (output,) = ended["outputs"]
    reply = await service.http.get(output["url"])
    picture = Image.open(io.BytesIO(reply.content))
    assert reply.headers["Content-Type"] == output["type"] == f"image/{format_}"
    assert (str(picture.format).lower(), picture.size) == (format_, (492, 180))
    assert len(reply.content) == output["size_bytes"]
    red, green, blue = picture.convert("RGB").getpixel((5, 5))  # type: ignore[misc]
    assert red == green == blue
    assert output["filename"].startswith("photo-")


async def test_an_upload_that_is_no_picture_fails_as_it_would(service: Service) -> None:
    """Its header is read by the codec, as always."""
    upload = await service.upload(b"no picture at all")
    ended = await service.ended((await _submit(service, upload)).json()["id"], 10)
    assert (ended["status"], ended["status_reason"]) == ("failed", "unsupported_format")


async def test_an_address_is_not_asked(service: Service) -> None:
    """One where nobody answers does as well as any."""
    task = (await _submit(service, "http://nowhere.invalid/photo.png", format="png")).json()
    ended = await service.ended(task["id"], 10)
    assert (ended["status"], ended["outputs"][0]["type"]) == ("succeeded", "image/png")


async def test_a_live_task_does_need_the_network(service: Service) -> None:
    """What stands still is what live tasks wait for; so the tests before prove what they say."""
    live = {"Authorization": f"Bearer {service.key}"}
    content = io.BytesIO()
    Image.new("RGB", (8, 6)).save(content, "PNG")
    asked = {"filename": "a.png", "content_type": "image/png", "size_bytes": len(content.getvalue())}
    upload = (await service.http.post("/v1/uploads", json=asked, headers=live)).json()
    await service.http.put(upload["url"], content=content.getvalue(), headers=upload["headers"])
    task = await service.http.post(
        "/v1/tasks", json={"model": "upscale", "input": {"image": upload["id"]}}, headers=live
    )
    url = f"/v1/tasks/{task.json()['id']}"

    async def working() -> bool:
        return bool((await service.http.get(url, headers=live)).json()["stage"] == "working")

    await until(working)
    ok = await service.ended((await _submit(service, "test:ok")).json()["id"], 10)
    assert ok["status"] == "succeeded"
    assert (await service.http.get(url, headers=live)).json()["status"] == "running"
    assert {network.status() for network in _networks(service)} == {psutil.STATUS_STOPPED}
    assert (await service.http.post(f"{url}/cancel", headers=live)).json()["status"] == "cancelled"
    await service.well()
