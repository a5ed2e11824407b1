"""Autoenhance's own Python client, unmodified, against a running service over real sockets: every method that it has."""

import asyncio
import io
import json
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import autoenhance
import httpx
import numpy as np
import pytest
import pytest_asyncio
from autoenhance.exceptions import (
    ApiException,
    NotFoundException,
    UnauthorizedException,
    UnprocessableEntityException,
)
from PIL import Image

from real_service import Service, serving
from waiting import until

PHOTO = Path(__file__).parents[3] / "src/burnish/samples/photo.jpg"
NO_ID = "123e4567-e89b-42d3-a456-426614174000"

pytestmark = pytest.mark.asyncio(loop_scope="module")

Call = Callable[..., Any]


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def service(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Service]:
    """One service for all journeys: they must not disturb each other."""
    async with serving(tmp_path_factory.mktemp("autoenhance") / "data") as running:
        yield running
        await running.well()


@pytest.fixture
def client(service: Service) -> autoenhance.Autoenhance:
    return autoenhance.Autoenhance(service.key, f"{service.url}/autoenhance")


async def call(method: Call, **arguments: Any) -> Any:
    """A method of the client, which blocks."""
    return await asyncio.to_thread(method, **arguments)


def small(light: float = 1.0, scene: int = 0) -> bytes:
    """The sample photo, 240 pixels wide, as a camera would have taken it with so much light; or another scene."""
    picture = Image.open(PHOTO).rotate(180 * scene).resize((240, 160))
    linear = (np.asarray(picture) / 255.0) ** 2.2 * light
    made, file = np.round(np.clip(linear, 0, 1) ** (1 / 2.2) * 255).astype(np.uint8), io.BytesIO()
    Image.fromarray(made).save(file, "JPEG", quality=92)
    return file.getvalue()


async def put(url: str, content: bytes, type_: str = "application/octet-stream") -> None:
    async with httpx.AsyncClient(trust_env=False) as http:
        reply = await http.put(url, content=content, headers={"Content-Type": type_})
    assert reply.status_code == 200, reply.text


async def done(client: autoenhance.Autoenhance, image_id: str) -> Any:
    """The image once it is processed or in error."""

    async def look() -> Any:
        image = await call(client.retrieve_image, id=image_id)
        return image if image.status in {"processed", "error"} else None

    return await until(look, 60)


async def enhanced(client: autoenhance.Autoenhance, content: bytes, **asked: Any) -> Any:
    image = await call(client.create_image, **({"image_name": "kitchen.jpg"} | asked))
    await put(image.upload_url, content)
    return await done(client, image.image_id)


def told(refused: pytest.ExceptionInfo[ApiException]) -> Any:
    """What the client made of the body."""
    assert refused.value.data is not None
    return refused.value.data


async def test_a_photo_is_registered_uploaded_enhanced_and_downloaded(client: Any, service: Service) -> None:
    """As the vendor's quickstart does it; the whole picture is the one that the native API gives for the same task."""
    asked = {"enhance_type": "warm", "metadata": {"room": "kitchen"}, "rating": 4}
    made = await call(client.create_image, image_name="kitchen.jpg", **asked)
    assert (made.status, made.enhance_type, made.metadata, made.rating) == (
        "waiting",
        "warm",
        {"room": "kitchen"},
        4,
    )
    assert made.order_id
    assert made.downloaded is False

    await put(made.upload_url, small(), "image/jpeg")
    image = await done(client, made.image_id)
    assert (image.status, image.status_reason, image.downloaded) == ("processed", None, False)
    assert image.additional_properties["enhanced"] is True
    assert image.additional_properties["error"] is None

    preview = await call(client.download_enhanced_image, id=made.image_id)
    whole = await call(client.download_enhanced_image, id=made.image_id, preview=False)
    assert Image.open(io.BytesIO(whole)).size == (240, 160)
    assert bytes(preview) != bytes(whole)
    assert (await call(client.retrieve_image, id=made.image_id)).downloaded is True
    tasks = (await service.http.get("/v1/tasks?status=succeeded")).json()["data"]
    (task,) = [task for task in tasks if (task["metadata"] or {}).get("image_id") == made.image_id]
    native = await service.http.get(task["outputs"][0]["url"])
    assert bytes(whole) == native.content


async def test_pictures_come_in_the_form_that_is_asked_for(client: Any) -> None:
    """Format, size and quality of the enhanced picture and of the original."""
    image = await enhanced(client, small(), image_name="forms.jpg")
    asked = {"format": "webp", "max_width": 100, "preview": False, "quality": 80}
    for download in (client.download_enhanced_image, client.download_original_image):
        found = Image.open(io.BytesIO(await call(download, id=image.image_id, **asked)))
        assert (found.format, found.size) == ("WEBP", (100, 67))
    half = Image.open(io.BytesIO(await call(client.download_enhanced_image, id=image.image_id, scale=0.5)))
    assert half.size == (120, 80)
    original = await call(client.download_original_image, id=image.image_id)
    assert bytes(original) == small()


async def test_preferences_are_kept_for_the_next_processing(client: Any) -> None:
    """What is not said again stays as it was; the image keeps its id."""
    image = await enhanced(client, small(), image_name="again.jpg", enhance_type="modern")
    again = await call(
        client.v3_images_id_process_post, id=image.image_id, upscale=True, vertical_correction=False
    )
    assert (again.image_id, again.enhance_type, again.upscale) == (image.image_id, "modern", True)
    image = await done(client, image.image_id)
    assert image.status == "processed"
    whole = await call(client.download_enhanced_image, id=image.image_id, preview=False)
    assert Image.open(io.BytesIO(whole)).size == (480, 320)


async def test_what_is_no_picture_is_told(client: Any) -> None:
    """A picture that is none ends in error, with the reason."""
    image = await enhanced(client, b"no picture at all", image_name="broken.jpg")
    assert (image.status, image.status_reason) == ("error", "unsupported_format")
    assert image.additional_properties["error"]
    with pytest.raises(NotFoundException):
        await call(client.download_enhanced_image, id=image.image_id, preview=False)


async def test_orders(client: Any) -> None:
    """Made, read, renamed, listed by page, deleted."""
    made = await call(client.create_order, name="12 Main Street")
    assert set(made) == {
        "created_at", "images", "is_deleted", "is_merging", "is_processing", "last_updated_at", "name", "order_id",
        "status", "total_images",
    }  # fmt: skip
    await call(client.create_image, image_name="a.jpg", order_id=made["order_id"])
    await call(client.update_order, id=made["order_id"], name="14 Main Street")
    order = await call(client.retrieve_order, id=made["order_id"])
    assert (order.name, order.total_images, order.is_merging, order.is_deleted) == (
        "14 Main Street",
        1,
        False,
        False,
    )
    assert order.created_at.tzinfo is None
    others = [await call(client.create_order) for _ in range(3)]

    page = await call(client.list_orders, per_page=2)
    assert [one.order_id for one in page.orders] == [one["order_id"] for one in reversed(others[1:])]
    following = await call(client.list_orders, per_page=2, offset=page.pagination.next_offset)
    assert [one.order_id for one in following.orders] == [others[0]["order_id"], made["order_id"]]

    await call(client.delete_order, id=made["order_id"])
    with pytest.raises(NotFoundException):
        await call(client.retrieve_order, id=made["order_id"])


async def test_brackets_become_images(client: Any) -> None:
    """Six brackets, three a picture: two images, each as large as its brackets."""
    order = await call(client.create_order, name="brackets")
    for number in range(6):
        bracket = await call(
            client.v3_brackets_post,
            name=f"{number}.jpg",
            order_id=order["order_id"],
            metadata={"number": number},
        )
        assert (bracket.is_uploaded, bracket.metadata, bracket.order_id) == (
            False, {"number": number}, order["order_id"],
        )  # fmt: skip
        await put(bracket.upload_url, small([0.3, 1.0, 3.0][number % 3]))
    listed = await call(client.v3_orders_order_id_brackets_get, order_id=order["order_id"])
    assert [(b.name, b.is_uploaded) for b in listed.brackets] == [(f"{n}.jpg", True) for n in range(6)]

    merging = await call(client.process_order, id=order["order_id"], number_of_brackets_per_image=3)
    assert (merging.is_merging, merging.is_processing, merging.total_images) == (True, True, 2)

    async def look() -> Any:
        found = await call(client.retrieve_order, id=order["order_id"])
        return found if not found.is_processing else None

    order = await until(look, 60)
    assert (order.is_merging, order.status, [image.status for image in order.images]) == (
        False, "processed", ["processed"] * 2,
    )  # fmt: skip
    for image in order.images:
        whole = await call(client.download_enhanced_image, id=image.image_id, preview=False)
        assert Image.open(io.BytesIO(whole)).size == (240, 160)


@pytest.mark.parametrize("killed", [False, True], ids=["", "worker-killed"])
async def test_brackets_are_put_together_by_their_looks(client: Any, service: Service, killed: bool) -> None:
    """Two scenes of three exposures, in one pile, nothing said of how many: two images, also where the worker is killed."""
    order = await call(client.create_order, name="a pile")
    for number in range(6):
        bracket = await call(client.v3_brackets_post, name=f"{number}.jpg", order_id=order["order_id"])
        await put(bracket.upload_url, small([0.3, 1.0, 3.0][number % 3], scene=number // 3))
    merging = await call(client.process_order, id=order["order_id"])
    assert (merging.is_merging, merging.is_processing, merging.images) == (True, True, [])
    if killed:
        service.worker().kill()

    async def look() -> Any:
        found = await call(client.retrieve_order, id=order["order_id"])
        return found if not found.is_processing else None

    order = await until(look, 90)
    assert [image.status for image in order.images] == ["processed"] * 2, order
    listed = await service.http.get(f"/autoenhance/v3/orders/{order.order_id}/brackets")
    images = [bracket["image_id"] for bracket in listed.json()["brackets"]]
    assert images == [order.images[0].image_id] * 3 + [order.images[1].image_id] * 3


async def test_reports_and_deletions(client: Any) -> None:
    """A report is taken; what was deleted is not there any more."""
    image = await call(client.create_image, image_name="bad.jpg")
    said = await call(
        client.report_image, id=image.image_id, categories=["COLOUR", "HDR"], comment="too green", score=1
    )
    assert said["message"]
    await call(client.delete_image, id=image.image_id)
    for method in (client.retrieve_image, client.delete_image, client.download_original_image):
        with pytest.raises(NotFoundException) as found:
            await call(method, id=image.image_id)
        assert told(found).message


async def test_refusals_are_read_by_the_client(client: Any, service: Service) -> None:
    """401, 404 and 422 as its models have them."""
    stranger = autoenhance.Autoenhance("bk_live_nobody", f"{service.url}/autoenhance")
    with pytest.raises(UnauthorizedException) as unauthorized:
        await call(stranger.create_image, image_name="a.jpg")
    assert told(unauthorized).message
    with pytest.raises(NotFoundException) as missing:
        await call(client.retrieve_image, id=NO_ID)
    assert told(missing).detail["code"] == "not_found"
    with pytest.raises(UnprocessableEntityException) as wrong:
        await call(client.create_image, image_name="a.jpg", hdr="yes")
    assert told(wrong).message == "Validation error"
    assert "hdr" in str(wrong.value.body)


async def test_a_test_key_sees_the_whole_way(service: Service) -> None:
    """Images, brackets by their looks, previews and whole pictures, without an engine and at no cost."""
    made = await asyncio.to_thread(
        subprocess.run,
        [sys.executable, "-m", "burnish", "keys", "create", "--env", "test", "--json", "--data", str(service.data)],
        env=service.environ, capture_output=True, check=True,
    )  # fmt: skip
    client = autoenhance.Autoenhance(json.loads(made.stdout)["secret"], f"{service.url}/autoenhance")
    image = await enhanced(client, small())
    assert image.status == "processed"
    for preview in (True, False):
        found = Image.open(
            io.BytesIO(await call(client.download_enhanced_image, id=image.image_id, preview=preview))
        )
        assert found.size == (240, 160)
    order = await call(client.create_order)
    for number in range(3):
        bracket = await call(client.v3_brackets_post, name=f"{number}.jpg", order_id=order["order_id"])
        await put(bracket.upload_url, small([0.3, 1.0, 3.0][number]))
    await call(client.process_order, id=order["order_id"])

    async def look() -> Any:
        found = await call(client.retrieve_order, id=order["order_id"])
        return found if not found.is_processing else None

    order = await until(look, 60)
    assert {image.status for image in order.images} == {"processed"}, order


async def test_the_collection_of_calls_runs_as_it_stands(service: Service, tmp_path: Path) -> None:
    """Every call of docs/reference/dialects/autoenhance.sh succeeds."""
    script = Path(__file__).parents[3] / "docs/reference/dialects/autoenhance.sh"
    photo = tmp_path / "photo.jpg"
    photo.write_bytes(small())
    told = {"BASE_URL": f"{service.url}/autoenhance", "API_KEY": service.key, "PHOTO": str(photo)}
    process = await asyncio.create_subprocess_exec(
        "bash", str(script), stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
        env=os.environ | told, cwd=tmp_path,
    )  # fmt: skip
    said, wrong = await process.communicate()
    assert (process.returncode, wrong) == (0, b""), said.decode()
    assert said.decode().splitlines()[-1] == "done"
    assert "image/webp " in said.decode()


async def test_every_method_of_the_client_was_called() -> None:
    """So that a new version of it does not go unnoticed."""
    methods = {name for name in vars(autoenhance.Autoenhance) if not name.startswith("_")}
    called = Path(__file__).read_text()
    assert sorted(name for name in methods if f"client.{name}" not in called) == []
    assert issubclass(NotFoundException, ApiException)
