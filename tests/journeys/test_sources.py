"""Tasks of several sources against a running service: what the engine is given is what the client named, in its order."""

import asyncio
import io
from collections.abc import AsyncIterator
from functools import partial
from typing import Any

import psutil
import pytest
import pytest_asyncio
from PIL import Image

from burnish.ids import from_wire
from real_service import Service, serving
from waiting import until
from websites import website

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def service(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Service]:
    """One service for all journeys: they must not disturb each other."""
    async with serving(tmp_path_factory.mktemp("sources") / "data") as running:
        yield running


def picture(side: int, format_: str = "PNG") -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (side, side), (side % 256, 9, 9)).save(file, format_)
    return file.getvalue()


async def promised(service: Service, content: bytes, filename: str) -> dict[str, Any]:
    asked = {"filename": filename, "content_type": "image/png", "size_bytes": len(content)}
    upload: dict[str, Any] = (await service.http.post("/v1/uploads", json=asked)).json()
    return upload


async def looked_at(service: Service, upload_id: str) -> None:
    async def look() -> bool:
        return bool((await service.http.get(f"/v1/uploads/{upload_id}")).json()["type"])

    await until(look)


async def test_an_engine_is_given_every_source_in_order(service: Service) -> None:
    """Uploads that are here, one that comes last, a URL, an output of another task; names, types and sizes are theirs."""
    made = await service.submit("upscale", image=await service.upload(picture(5), "five.png", "image/png"))
    output = (await service.ended(made["id"], 60))["outputs"][0]
    late = await promised(service, picture(7), "seven.png")
    jpeg = picture(30, "JPEG")
    with website({"/thirty.jpg": (200, {"Content-Type": "image/jpeg"}, jpeg)}) as site:
        here = await service.upload(picture(6), "six.png", "image/png")
        images = [late["id"], f"{site}/thirty.jpg", here, output["id"], here]
        task = await service.submit("noop-sources", images=images)
        assert task["status"] == "waiting"
        await service.http.put(late["url"], content=picture(7), headers=late["headers"])
        ended = await service.ended(task["id"])

    assert ended["status"] == "succeeded", ended["status_message"]
    (data,) = ended["outputs"]
    assert data["data"] == {
        "sources": [
            {"filename": "seven.png", "type": "image/png", "size_bytes": len(picture(7))},
            {"filename": "thirty.jpg", "type": "image/jpeg", "size_bytes": len(jpeg)},
            {"filename": "six.png", "type": "image/png", "size_bytes": len(picture(6))},
            {"filename": output["filename"], "type": "image/png", "size_bytes": output["size_bytes"]},
            {"filename": "six.png", "type": "image/png", "size_bytes": len(picture(6))},
        ]
    }
    assert data["filename"] == "seven-noop-sources.json"
    await service.well()


async def test_a_broken_source_is_named_by_its_place(service: Service) -> None:
    """A file that is no picture, and an address where there is none."""
    sound = await service.upload(picture(8), "eight.png", "image/png")
    broken = await service.upload(picture(8)[:40], "broken.png", "image/png")
    with website({}) as site:
        tasks = [
            await service.submit("noop-sources", images=[sound, broken]),
            await service.submit("noop-sources", images=[sound, sound, f"{site}/gone.png"]),
        ]
        first, second = [await service.ended(task["id"]) for task in tasks]
    assert (first["status_reason"], second["status_reason"]) == ("decode_failed", "input_unreachable")
    assert first["status_message"].startswith("input.images[1]: ")
    assert second["status_message"].startswith("input.images[2]: ")
    await service.well()


async def test_two_hundred_sources_reach_the_engine(service: Service) -> None:
    """As many as any model takes; each is a file of its own."""
    ids = [await service.upload(picture(side), f"{side}.png", "image/png") for side in range(1, 11)]
    task = await service.submit("noop-sources", images=ids * 20)
    ended = await service.ended(task["id"], 60)
    assert ended["status"] == "succeeded", ended["status_message"]
    reply = await service.http.get(ended["outputs"][0]["url"])
    names = [source["filename"] for source in reply.json()["sources"]]
    assert names == [f"{side}.png" for side in range(1, 11)] * 20
    await service.well()


def _is_gone(process: psutil.Process) -> bool:
    return not process.is_running()


async def test_a_killed_worker_keeps_no_task_from_its_other_sources(service: Service) -> None:
    """Killed between two sources: the next worker goes on with those that are left."""
    uploads = [await promised(service, picture(side), f"{side}.png") for side in (11, 12, 13)]
    task = await service.submit("noop-sources", images=[upload["id"] for upload in uploads])
    for upload, side in zip(uploads, (11, 12, 13), strict=True):
        await service.http.put(upload["url"], content=picture(side), headers=upload["headers"])
        if side != 13:
            await looked_at(service, upload["id"])
            killed = service.worker()
            killed.kill()
            await until(partial(_is_gone, killed))
    ended = await service.ended(task["id"])
    assert ended["status"] == "succeeded", ended["status_message"]
    assert [source["filename"] for source in ended["outputs"][0]["data"]["sources"]] == [
        *("11.png", "12.png", "13.png"),
    ]
    await service.well()


async def test_an_input_that_is_gone_when_its_task_runs_is_named(service: Service) -> None:
    """Its bytes went while the task was queued: it fails, and says which."""
    ids = [await service.upload(picture(side), f"{side}.png", "image/png") for side in (14, 15)]
    await service.ended((await service.submit("noop-sources", images=ids))["id"])
    blockers = [await service.submit(seconds=3) for _ in range(4)]  # as many as run at once
    await asyncio.gather(*(service.running(task["id"]) for task in blockers))
    task = await service.submit("noop-sources", images=ids)
    blob_id = from_wire("upload", ids[1])
    assert blob_id is not None
    (stored,) = [path for path in service.data.rglob(f"*{blob_id.hex}*") if path.is_file()]
    stored.unlink()
    ended = await service.ended(task["id"])
    assert (ended["status_reason"], ended["status_message"][:17]) == (
        "input_unreachable",
        "input.images[1]: ",
    )
