"""The native API from the first upload to the last byte, against a running service over real sockets."""

import asyncio
import io
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from PIL import Image, ImageFilter

from real_service import Service, serving
from waiting import until
from websites import website

PHOTO = Path(__file__).parents[2] / "src/burnish/samples/photo.jpg"


pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def service(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Service]:
    """One service for all journeys: they must not disturb each other."""
    async with serving(tmp_path_factory.mktemp("journeys") / "data") as running:
        yield running


async def test_a_photo_goes_through_the_whole_house(service: Service) -> None:
    """Upload, task, wait, result, a range of it, the list; and the picture is the same one, four times as large."""
    task = await service.submit(
        "upscale", image=await service.upload(PHOTO.read_bytes()), scale=4, format="png"
    )
    ended = await service.ended(task["id"], 60)
    assert (ended["status"], ended["progress"], ended["stage"]) == ("succeeded", 1.0, None)
    (output,) = ended["outputs"]
    reply = await service.http.get(output["url"], headers={"Authorization": ""})

    assert reply.status_code == 200
    assert (reply.headers["Content-Type"], len(reply.content)) == ("image/png", output["size_bytes"])
    picture = Image.open(io.BytesIO(reply.content)).convert("RGB")
    assert picture.size == (output["width"], output["height"]) == (2400, 1600)
    assert _difference(picture, Image.open(PHOTO)) < 4
    part = await service.http.get(output["url"], headers={"Range": "bytes=100-199"})
    assert (part.status_code, part.content) == (206, reply.content[100:200])
    listed = (await service.http.get("/v1/tasks?status=succeeded")).json()
    assert task["id"] in [t["id"] for t in listed["data"]]
    await service.well()


async def test_a_task_may_end_with_data_and_with_two_things(service: Service) -> None:
    """What an engine found is in the bytes and beside them; what has a role is called by it."""
    ended = await service.ended((await service.submit("noop-sources", roles=["", "mask"]))["id"])

    found, mask = ended["outputs"]
    assert (found["filename"], mask["filename"]) == (
        "noop-sources-noop-sources.json",
        "noop-sources-mask.json",
    )
    assert (found["role"], mask["role"], found["width"], found["height"]) == (None, "mask", None, None)
    reply = await service.http.get(found["url"], headers={"Authorization": ""})
    assert reply.headers["Content-Type"] == "application/json"
    assert reply.json() == found["data"] == {"sources": []}
    await service.well()


def _difference(made: Image.Image, original: Image.Image) -> float:
    """Mean distance, in levels, between the original and the result made small again; both slightly blurred."""
    small = made.resize(original.size, Image.Resampling.BOX).filter(ImageFilter.GaussianBlur(2))
    pairs = zip(
        small.tobytes(), original.convert("RGB").filter(ImageFilter.GaussianBlur(2)).tobytes(), strict=True
    )
    return sum(abs(a - b) for a, b in pairs) / (original.width * original.height * 3)


async def test_progress_reaches_whoever_asks(service: Service) -> None:
    """While a large picture is worked on, `progress` grows."""
    large = io.BytesIO()
    Image.open(PHOTO).resize((1500, 1000)).save(large, "JPEG")
    task = await service.submit("upscale", image=await service.upload(large.getvalue()))
    heard: list[float] = []

    async def look() -> bool:
        now = (await service.http.get(f"/v1/tasks/{task['id']}")).json()
        heard.append(now["progress"])
        return bool(now["status"] == "succeeded")

    await until(look, 100)
    assert heard == sorted(heard)
    assert {progress for progress in heard if 0 < progress < 1}


async def test_an_input_may_be_a_url(service: Service) -> None:
    """The worker brings it, through redirects; the name of the file is kept for the result."""
    answers = {
        "/moved": (302, {"Location": "/holiday.jpg"}, b""),
        "/holiday.jpg": (200, {"Content-Type": "image/jpeg"}, PHOTO.read_bytes()),
    }
    with website(answers) as site:
        task = await service.submit("upscale", image=f"{site}/moved")
        assert task["status"] == "waiting"
        ended = await service.ended(task["id"], 60)
    assert ended["status"] == "succeeded", ended["status_message"]
    result = await service.http.get(ended["outputs"][0]["url"])
    assert "holiday" in result.headers["Content-Disposition"]
    await service.well()


async def test_a_url_that_gives_no_picture_fails_with_the_reason(service: Service) -> None:
    """And with a message for whoever gave it."""
    answers = {
        "/gone.jpg": (404, {}, b""),
        "/secret.jpg": (403, {}, b""),
        "/page": (200, {"Content-Type": "text/html"}, b"<html>"),
        "/text.jpg": (200, {"Content-Type": "image/jpeg"}, b"not a photo at all"),
        "/inside": (302, {"Location": "http://169.254.169.254/latest"}, b""),
    }
    reasons = [
        "input_unreachable",
        "input_forbidden",
        "unsupported_format",
        "unsupported_format",
        "input_blocked",
    ]
    with website(answers) as site:
        tasks = [await service.submit("upscale", image=site + path) for path in answers]
        ended = [await service.ended(task["id"]) for task in tasks]
    assert [task["status"] for task in ended] == ["failed"] * 5
    assert [task["status_reason"] for task in ended] == reasons
    assert min(len(task["status_message"]) for task in ended) > 20


async def test_422_at_once_for_an_address_that_is_never_fetched(service: Service) -> None:
    """What can be known without the network is said when the task is submitted."""
    for url in (
        "http://169.254.169.254/",
        "http://[::1]/a.jpg",
        "ftp://example.com/a.jpg",
        "http://10.1/a.jpg",
    ):
        reply = await service.http.post("/v1/tasks", json={"model": "upscale", "input": {"image": url}})
        error = reply.json()["error"]
        assert (reply.status_code, error["code"], error["param"]) == (422, "input_blocked", "input.image")


async def test_a_result_is_an_input_of_the_next_task(service: Service) -> None:
    """Our own link is a reference: nothing is fetched, and a changed signature is refused."""
    first = await service.ended(
        (await service.submit("upscale", image=await service.upload(_tiny(), "a.png", "image/png")))["id"], 60
    )
    link = first["outputs"][0]["url"]
    second = await service.ended((await service.submit("upscale", image=link))["id"], 60)

    assert [(o["width"], o["height"]) for o in second["outputs"]] == [(32, 24)]
    reply = await service.http.post(
        "/v1/tasks", json={"model": "upscale", "input": {"image": link[:-4] + "abcd"}}
    )
    assert (reply.status_code, reply.json()["error"]["param"]) == (422, "input.image")


async def test_many_tasks_of_many_kinds_at_once(service: Service) -> None:
    """Thirty pictures of all formats through one worker: every one comes out, none is anothers'."""

    async def one(number: int) -> dict[str, Any]:
        format_, type_ = [("PNG", "image/png"), ("JPEG", "image/jpeg"), ("WEBP", "image/webp")][number % 3]
        picture = io.BytesIO()
        Image.new("RGB", (10 + number, 20), (number * 8, 0, 0)).save(picture, format_)
        upload = await service.upload(picture.getvalue(), f"{number}.{format_.lower()}", type_)
        return await service.ended((await service.submit("upscale", image=upload, format="png"))["id"], 100)

    for number, ended in enumerate(await asyncio.gather(*(one(n) for n in range(30)))):
        assert [(o["width"], o["height"]) for o in ended["outputs"]] == [((10 + number) * 2, 40)]
        content = (await service.http.get(ended["outputs"][0]["url"])).content
        red = Image.open(io.BytesIO(content)).convert("RGB").getpixel((5, 5))
        assert isinstance(red, tuple)
        assert abs(red[0] - number * 8) < 12
    await service.well()


def _tiny() -> bytes:
    picture = io.BytesIO()
    Image.new("RGB", (8, 6), (200, 100, 50)).save(picture, "PNG")
    return picture.getvalue()


async def test_a_result_is_had_in_another_form_by_its_link(service: Service) -> None:
    """WebP, small, with a watermark: made by a worker when it is first asked for; the whole stays as it is."""
    upload = await service.upload(PHOTO.read_bytes())
    ended = await service.ended(
        (await service.submit("render", image=upload, scale=0.5, format="png"))["id"], 60
    )
    (output,) = ended["outputs"]
    assert (output["width"], output["height"]) == (300, 200)
    wanted = f"{output['url']}&format=webp&max_width=150&quality=80&watermark=true"
    reply = await service.http.get(wanted, headers={"Authorization": ""}, timeout=60)
    assert (reply.status_code, reply.headers["Content-Type"]) == (200, "image/webp")
    small = Image.open(io.BytesIO(reply.content))
    assert small.size == (150, 100)
    again = await service.http.get(wanted, headers={"If-None-Match": reply.headers["ETag"]})
    assert again.status_code == 304
    whole = Image.open(io.BytesIO((await service.http.get(output["url"])).content))
    assert (whole.format, whole.size) == ("PNG", (300, 200))
    await service.well()
