"""HitPaw's API against a running service over real sockets: as its pages say, field by field."""

import asyncio
import io
import json
import os
import sys
import uuid
from collections.abc import AsyncIterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest
import pytest_asyncio
from PIL import Image

from engines.films import film
from real_service import Service, serving
from waiting import until
from websites import website

PHOTO = Path(__file__).parents[3] / "src/burnish/samples/photo.jpg"

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def service(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Service]:
    environ = {"BURNISH_DIALECTS_HITPAW_HOST": "hitpaw.example.com"}
    async with serving(tmp_path_factory.mktemp("hitpaw") / "data", **environ) as running:
        yield running


async def burnish(service: Service, *words: str) -> Any:
    """What a command of the operator says."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "burnish", *words, "--json", "--data", str(service.data),
        stdout=asyncio.subprocess.PIPE, env=service.environ,
    )  # fmt: skip
    said, _ = await process.communicate()
    assert process.returncode == 0
    return json.loads(said)


async def key_of(service: Service, account: str, coins: int, *options: str) -> str:
    """A customer's key."""
    await burnish(service, "accounts", "create", account, "--plan", "enterprise")
    if coins:
        await burnish(service, "credits", "grant", account, str(coins))
    secret: str = (await burnish(service, "keys", "create", "--account", account, *options))["secret"]
    return secret


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def hitpaw(service: Service) -> AsyncIterator[httpx.AsyncClient]:
    """As its clients come: a base URL, and a key in `APIKEY`."""
    headers = {"APIKEY": await key_of(service, "studio", 1_000)}
    async with httpx.AsyncClient(
        base_url=f"{service.url}/hitpaw", headers=headers, timeout=40, trust_env=False
    ) as client:
        yield client


async def staged(hitpaw: httpx.AsyncClient, content: bytes = b"", type_: str = "image/jpeg") -> str:
    """The access_url of a file put into the staging storage."""
    asked = {"filename": "IMG_0001.jpg", "content_type": type_}
    place = (await hitpaw.post("/api/oss/presign-put", json=asked)).json()["data"]
    async with httpx.AsyncClient(trust_env=False) as anybody:
        put = await anybody.put(
            place["upload_url"],
            content=content or PHOTO.read_bytes(),
            headers={"Content-Type": place["content_type"]},
        )
    assert (put.status_code, put.content) == (200, b"")
    assert put.headers["x-oss-request-id"]
    return str(place["access_url"])


async def ended(hitpaw: httpx.AsyncClient, job_id: str) -> dict[str, Any]:
    async def look() -> dict[str, Any] | None:
        reply = (await hitpaw.post("/api/task-status", json={"job_id": job_id})).json()
        assert (reply["code"], reply["message"]) == (200, "OK")
        assert reply["data"]["status"] in ("CONVERTING", "COMPLETED", "ERROR")
        return reply["data"] if reply["data"]["status"] != "CONVERTING" else None

    found: dict[str, Any] = await until(look, 60)
    return found


async def test_a_staged_photo_is_enlarged_and_paid_by_the_table(hitpaw: httpx.AsyncClient) -> None:
    """The documented request: the envelope, the price by the output's megapixels, the three states, the result's links."""
    url = await staged(hitpaw)
    assert urlsplit(url).path.endswith(".jpg")
    asked = {"model_name": "general_2x", "img_url": url, "extension": ".jpg", "exif": True, "DPI": 300}
    reply = await hitpaw.post("/api/photo-enhancer", json=asked)
    body = reply.json()
    assert (reply.status_code, body["code"], body["message"]) == (200, 200, "OK")
    assert body["data"] == {"job_id": body["data"]["job_id"], "consume_coins": 10}
    assert str(uuid.UUID(body["data"]["job_id"])) == body["data"]["job_id"]

    data = await ended(hitpaw, body["data"]["job_id"])
    assert set(data) == {"job_id", "status", "res_url", "original_url"}
    assert data["status"] == "COMPLETED"
    assert urlsplit(data["res_url"]).path.endswith(".jpg")
    async with httpx.AsyncClient(trust_env=False) as anybody:
        picture = Image.open(io.BytesIO((await anybody.get(data["res_url"])).content))
        assert (picture.format, picture.size, picture.info["dpi"]) == ("JPEG", (1200, 800), (300, 300))
        assert (await anybody.get(data["original_url"])).content == PHOTO.read_bytes()


async def test_an_address_is_fetched_and_the_older_body_is_read(hitpaw: httpx.AsyncClient) -> None:
    """`model_list` and `upscale` in place of `model_name`; and `original_url` is the address that was given."""
    with website({"/a.jpg": (200, {"Content-Type": "image/jpeg"}, PHOTO.read_bytes())}) as site:
        asked = {"model_list": ["super_resolution_2x"], "upscale": 2, "img_url": f"{site}/a.jpg", "pid": 7}
        body = (await hitpaw.post("/api/photo-enhancer", json=asked)).json()
        assert body["data"]["consume_coins"] == 10
        data = await ended(hitpaw, body["data"]["job_id"])
    assert (data["status"], data["original_url"]) == ("COMPLETED", f"{site}/a.jpg")


async def test_what_is_wrong_with_an_address_is_said_at_once(hitpaw: httpx.AsyncClient) -> None:
    """A submission waits for its bytes, so that it need not say later what it knows now."""
    with website({"/page": (200, {"Content-Type": "text/html"}, b"<html>")}) as site:
        for path in ("/nothing.jpg", "/page"):
            asked = {"model_name": "general_2x", "img_url": site + path, "extension": ".jpg"}
            reply = await hitpaw.post("/api/photo-enhancer", json=asked)
            assert (reply.status_code, reply.json()["code"] // 1000) in ((400, 100400), (400, 110400)), path
    for url in ("http://10.0.0.1/a.jpg", "file:///etc/passwd", "not a url", "upload_123"):
        asked = {"model_name": "general_2x", "img_url": url, "extension": ".jpg"}
        reply = await hitpaw.post("/api/photo-enhancer", json=asked)
        body = reply.json()
        assert (reply.status_code, body["code"], body["error_code"]) == (400, 100400001, 100400001), url
        assert body["message"].startswith("Invalid URL")


async def test_a_films_address_has_a_number_of_its_own(hitpaw: httpx.AsyncClient) -> None:
    """What cannot be an address, what may not be fetched, and what is not there."""
    with website({}) as site:
        for url in ("not a url", "http://10.0.0.1/a.mp4", f"{site}/nothing.mp4"):
            asked = {"model_name": "general_restore_2x", "video_url": url, "resolution": [640, 360]}
            reply = await hitpaw.post("/api/video-enhancer", json=asked)
            assert (reply.status_code, reply.json()["code"]) == (400, 110400008), url
            assert reply.json()["message"].startswith("The video URL is not valid")


async def test_what_is_wrong_with_a_film_is_said_at_once(hitpaw: httpx.AsyncClient) -> None:
    """The vendor has numbers for films alone: for their length, and for what cannot be read."""
    asked = {"model_name": "general_restore_2x", "resolution": [128, 96]}
    for frames, damaged, code in ((5, False, 110400011), (30, True, 110400008)):
        content = film(frames=frames)
        url = await staged(hitpaw, content[: len(content) // 2] if damaged else content, "video/mp4")
        for _ in ("seen by a worker", "known from then on"):
            reply = await hitpaw.post("/api/video-enhancer", json=asked | {"video_url": url})
            assert (reply.status_code, reply.json()["error_code"]) == (400, code), reply.text


@pytest.mark.parametrize(
    ("path", "asked", "status", "code"),
    [
        ("photo-enhancer", {"model_name": "nothing_2x", "img_url": "https://example.com/a.jpg"}, 400, 110400005),
        ("photo-enhancer", {"img_url": "https://example.com/a.jpg"}, 403, 100403000),
        ("photo-enhancer", {"model_name": "general_2x"}, 403, 100403000),
        (
            "photo-enhancer",
            {"model_name": "general_2x", "img_url": "https://example.com/a.jpg", "extension": ".exe"},
            *(400, 110400007),
        ),
        ("photo-enhancer", {"model_name": 5, "img_url": "https://example.com/a.jpg"}, 403, 100403000),
        ("video-enhancer", {"model_name": "general_2x", "video_url": "https://example.com/a.mp4"}, 400, 110400005),
        ("image-segmentation", {"file_url": ""}, 403, 100403000),
        ("image-nsfw", {"file_url": "https://example.com/a.tiff"}, 400, 110400007),
        ("task-status", {"job_id": "f5007c0b-e902-4070-8c75-f337d896168f"}, 400, 110400002),
        ("task-status", {"job_id": "nothing"}, 400, 110400002),
        ("oss/presign-put", {"filename": "a.exe", "content_type": "application/x-msdownload"}, 400, 100400002),
        ("oss/presign-put", {"filename": "a.jpg", "content_type": "image/jpeg", "expire_seconds": 30}, 400, 100400002),
        ("oss/presign-put/batch", {"files": []}, 400, 100400002),
        ("nothing", {}, 400, 110400002),
    ],
)  # fmt: skip
async def test_refusals_have_the_vendors_numbers(
    hitpaw: httpx.AsyncClient, path: str, asked: dict[str, Any], status: int, code: int
) -> None:
    """Under both names, with a sentence; the status is digits four to six."""
    reply = await hitpaw.post(f"/api/{path}", json=asked)
    body = reply.json()
    assert (reply.status_code, body["code"], body["error_code"]) == (status, code, code), body
    assert set(body) == {"code", "error_code", "message"}
    assert status == code // 1000 % 1000 or code // 1000 == 110400


async def test_a_key_that_is_not_valid_is_400(service: Service, hitpaw: httpx.AsyncClient) -> None:
    """Not 401, as documented; and the header's name is written in any case."""
    for headers in ({"Apikey": "bk_live_nothing"}, {"Apikey": ""}):
        async with httpx.AsyncClient(base_url=f"{service.url}/hitpaw", trust_env=False) as stranger:
            reply = await stranger.post("/api/task-status", json={"job_id": "x"}, headers=headers)
        assert (reply.status_code, reply.json()["error_code"]) == (400, 110400000)
        assert reply.json()["message"].startswith("api_key is not valid")
    for name in ("Apikey", "APIKEY", "apikey"):
        async with httpx.AsyncClient(base_url=f"{service.url}/hitpaw", trust_env=False) as known:
            reply = await known.post("/api/task-status", json={"job_id": "x"}, headers={name: service.key})
        assert reply.json()["error_code"] == 110400002


async def test_at_its_own_host_the_same_is_at_the_root(service: Service) -> None:
    """And the native API is not."""
    async with httpx.AsyncClient(base_url=service.url, trust_env=False) as client:
        headers = {"Host": "hitpaw.example.com", "Apikey": service.key}
        reply = await client.post("/api/task-status", json={"job_id": "x"}, headers=headers)
        assert reply.json()["error_code"] == 110400002
        assert (await client.get("/v1/models", headers=headers)).json()["error_code"] == 110400002


async def test_presigned_places_take_exactly_what_was_said(hitpaw: httpx.AsyncClient) -> None:
    """Code 0 and no message; another type is 403, a second time is 403, and so is a changed signature."""
    asked = {"filename": "photo.png", "content_type": "image/png", "expire_seconds": 60}
    reply = (await hitpaw.post("/api/oss/presign-put", json=asked)).json()
    place = reply["data"]
    assert set(reply) == {"code", "data"}
    assert reply["code"] == 0
    assert set(place) == {"upload_url", "access_url", "object_key", "content_type", "expire_at"}
    assert place["content_type"] == "image/png"
    assert place["object_key"].startswith("uploads/20")
    assert place["object_key"].endswith(".png")
    assert isinstance(place["expire_at"], int)
    async with httpx.AsyncClient(trust_env=False) as anybody:
        url, png = place["upload_url"], {"Content-Type": "image/png"}
        other = await anybody.put(url, content=b"x", headers={"Content-Type": "image/jpeg"})
        assert (other.status_code, other.json()["code"]) == (403, 100403001)
        assert (await anybody.put(url[:-2], content=b"x", headers=png)).status_code == 403
        assert (await anybody.get(place["access_url"])).status_code in (400, 404)
        assert (await anybody.put(url, content=b"x", headers=png)).status_code == 200
        assert (await anybody.put(url, content=b"x", headers=png)).status_code == 403
        assert (await anybody.get(place["access_url"])).content == b"x"


async def test_places_in_a_batch_come_in_the_order_that_was_asked(hitpaw: httpx.AsyncClient) -> None:
    """One that is not taken takes all with it."""
    files = [
        {"filename": f"{number}.{extension}", "content_type": type_}
        for number, (extension, type_) in enumerate(
            [("jpg", "image/jpeg"), ("mov", "video/quicktime"), ("pdf", "application/pdf")]
        )
    ]
    data = (await hitpaw.post("/api/oss/presign-put/batch", json={"files": files})).json()["data"]
    assert (data["total"], data["success"], data["failed"]) == (3, 3, 0)
    assert [item["content_type"] for item in data["items"]] == [file["content_type"] for file in files]
    files.append({"filename": "a.exe", "content_type": "application/x-msdownload"})
    assert (await hitpaw.post("/api/oss/presign-put/batch", json={"files": files})).status_code == 400


async def test_files_come_from_addresses_and_in_forms(hitpaw: httpx.AsyncClient) -> None:
    """And may be worked on by the links that are answered."""
    photo = PHOTO.read_bytes()
    with website({"/a.jpg": (200, {"Content-Type": "image/jpeg"}, photo)}) as site:
        one = (await hitpaw.post("/api/oss/transfer", json={"url": f"{site}/a.jpg"})).json()
        assert (one["code"], one["data"]["size"]) == (200, len(photo))
        urls = [f"{site}/a.jpg", f"{site}/none.jpg", "http://10.0.0.1/"]
        many = (await hitpaw.post("/api/oss/batch-transfer", json={"urls": urls})).json()["data"]
    assert (many["total"], many["success"], many["failed"]) == (3, 1, 2)
    assert [item["source_url"] for item in many["items"]] == urls
    assert set(many["items"][1]) == {"source_url", "error"}
    form: dict[str, Any] = {"other": (None, "words"), "file": ("mine.jpg", photo, "image/jpeg")}
    sent = (await hitpaw.post("/api/oss/upload", files=form)).json()
    assert (sent["code"], sent["data"]["size"]) == (200, len(photo))
    none = await hitpaw.post("/api/oss/upload", files={"other": (None, "words")})
    assert (none.status_code, none.json()["code"]) == (403, 100403000)
    for url in (one["data"]["url"], sent["data"]["url"]):
        asked = {"model_name": "general_2x", "img_url": url, "extension": ".png"}
        job = (await hitpaw.post("/api/photo-enhancer", json=asked)).json()["data"]["job_id"]
        assert (await ended(hitpaw, job))["status"] == "COMPLETED"


async def test_a_task_of_another_account_is_not_there(service: Service, hitpaw: httpx.AsyncClient) -> None:
    """In the same words as one that never was."""
    other = await key_of(service, "another", 0)
    asked = {"model_name": "general_2x", "img_url": await staged(hitpaw), "extension": ".jpg"}
    job = (await hitpaw.post("/api/photo-enhancer", json=asked)).json()["data"]["job_id"]
    reply = await hitpaw.post("/api/task-status", json={"job_id": job}, headers={"APIKEY": other})
    assert (reply.status_code, reply.json()["error_code"]) == (400, 110400002)
    assert (await ended(hitpaw, job))["status"] == "COMPLETED"


async def test_films_are_paid_by_the_second_that_is_made(hitpaw: httpx.AsyncClient) -> None:
    """By the target's resolution and rate; interpolation wants a frame rate."""
    url = await staged(hitpaw, film(frames=30), "video/mp4")
    assert urlsplit(url).path.endswith(".mp4")
    asked = {
        "model_name": "general_restore_2x",
        "video_url": url,
        "resolution": [128, 96],
        "extension": ".mp4",
    }
    body = (await hitpaw.post("/api/video-enhancer", json=asked)).json()
    assert body["data"]["consume_coins"] == 10
    asked = {"model_name": "frame_interpolation", "video_url": url, "resolution": [64, 48]}
    refused = await hitpaw.post("/api/video-enhancer", json=asked)
    assert (refused.status_code, refused.json()["code"]) == (403, 100403000)
    second = (await hitpaw.post("/api/video-enhancer", json={**asked, "frame_rate": 60})).json()
    assert second["data"]["consume_coins"] == 30
    for job in (body["data"]["job_id"], second["data"]["job_id"]):
        data = await ended(hitpaw, job)
        assert data["status"] == "COMPLETED"
        assert urlsplit(data["res_url"]).path.endswith(".mp4")


async def test_the_price_of_a_film_is_in_the_class_of_its_model(hitpaw: httpx.AsyncClient) -> None:
    """Ultra HD and generative films cost more for the same size."""
    url = await staged(hitpaw, film(frames=30), "video/mp4")
    for name, coins in (("ultrahd_restore_2x", 15), ("generative_1x", 15), ("face_soft_2x", 10)):
        asked = {"model_name": name, "video_url": url, "resolution": [64, 48]}
        body = (await hitpaw.post("/api/video-enhancer", json=asked)).json()
        assert body["data"]["consume_coins"] == coins, name


async def test_a_number_stands_for_a_films_model(hitpaw: httpx.AsyncClient) -> None:
    """One client sends it where the name is left out."""
    url = await staged(hitpaw, film(frames=30), "video/mp4")
    asked = {"model_id": 37, "video_url": url, "resolution": [64, 48]}
    body = (await hitpaw.post("/api/video-enhancer", json=asked)).json()
    assert body["data"]["consume_coins"] == 15  # ultrahd_restore_2x


async def test_exif_is_kept_where_it_is_asked_for(hitpaw: httpx.AsyncClient) -> None:
    """And not otherwise."""
    photo, exif = io.BytesIO(), Image.Exif()
    exif[0x010F] = "Camera"
    Image.new("RGB", (40, 30), "teal").save(photo, "JPEG", exif=exif)
    url = await staged(hitpaw, photo.getvalue())
    for kept in (True, False):
        asked = {"model_name": "general_2x", "img_url": url, "extension": ".jpg", "exif": kept}
        job = (await hitpaw.post("/api/photo-enhancer", json=asked)).json()["data"]["job_id"]
        made = (await hitpaw.get((await ended(hitpaw, job))["res_url"])).content
        assert (Image.open(io.BytesIO(made)).getexif().get(0x010F) == "Camera") is kept


async def test_people_are_cut_out_for_20_coins(hitpaw: httpx.AsyncClient) -> None:
    """The cut-out, its mask, or both, as undocumented clients ask for it."""
    url = await staged(hitpaw)
    for returns, names in (("matted", {"res_url"}), ("mask", {"mask_url"}), ("all", {"res_url", "mask_url"})):
        asked = {"file_url": url, "return_type": returns}
        body = (await hitpaw.post("/api/image-segmentation", json=asked)).json()
        assert body["data"]["consume_coins"] == 20
        data = await ended(hitpaw, body["data"]["job_id"])
        assert set(data) == {"job_id", "status", "original_url"} | names
        for name in names:
            made = Image.open(io.BytesIO((await hitpaw.get(data[name])).content))
            assert (made.format, made.size) == ("PNG", (600, 400))


async def test_moderation_says_that_its_network_is_missing(hitpaw: httpx.AsyncClient) -> None:
    """It comes with an extra that nobody installs for the user; without it the model is not supported."""
    asked = {"file_url": await staged(hitpaw)}
    reply = await hitpaw.post("/api/image-nsfw", json=asked)
    if find_spec("nudenet") is None:
        assert (reply.status_code, reply.json()["code"]) == (400, 110400005)
    else:
        assert reply.json()["data"]["consume_coins"] == 5


async def test_the_collection_of_calls_runs_as_it_stands(service: Service, tmp_path: Path) -> None:
    """Every call of docs/reference/dialects/hitpaw.sh succeeds."""
    script = Path(__file__).parents[3] / "docs/reference/dialects/hitpaw.sh"
    told = {"BASE_URL": f"{service.url}/hitpaw", "API_KEY": service.key, "PHOTO": str(PHOTO)}
    process = await asyncio.create_subprocess_exec(
        "bash", str(script), stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
        env=os.environ | told, cwd=tmp_path,
    )  # fmt: skip
    said, wrong = await process.communicate()
    assert (process.returncode, wrong) == (0, b""), said.decode()
    assert said.decode().splitlines()[-1].startswith("image/jpeg ")


async def test_without_coins_it_is_402_at_once(service: Service, hitpaw: httpx.AsyncClient) -> None:
    """Or when the bytes have been seen, if only then it is known how many are needed."""
    headers = {"APIKEY": await key_of(service, "poor", 12)}
    url = await staged(hitpaw)  # of another account: its link is good for whoever has it, its bytes are not
    asked = {"model_name": "general_2x", "img_url": url, "extension": ".jpg"}
    reply = await hitpaw.post("/api/photo-enhancer", json=asked, headers=headers)
    assert (reply.status_code, reply.json()["code"]) == (400, 100400001)
    with website({"/a.jpg": (200, {"Content-Type": "image/jpeg"}, PHOTO.read_bytes())}) as site:
        asked = {"model_name": "general_2x", "img_url": f"{site}/a.jpg", "extension": ".jpg"}
        first = await hitpaw.post("/api/photo-enhancer", json=asked, headers=headers)
        assert first.json()["data"]["consume_coins"] == 10
        second = await hitpaw.post("/api/photo-enhancer", json=asked, headers=headers)
        assert (second.status_code, second.json()["code"]) == (402, 110402000)
        assert second.json()["message"].startswith("The coins is not enough")


async def test_test_keys_draw_what_an_engine_would_have_made(service: Service) -> None:
    """No coins, nothing fetched, the right type and size."""
    headers = {"APIKEY": await key_of(service, "tester", 0, "--env", "test")}
    async with httpx.AsyncClient(
        base_url=f"{service.url}/hitpaw", headers=headers, timeout=40, trust_env=False
    ) as tester:
        asked = {"model_name": "general_2x", "img_url": "https://example.com/a.jpg", "extension": ".png"}
        body = (await tester.post("/api/photo-enhancer", json=asked)).json()
        assert body["data"]["consume_coins"] == 0
        assert (await ended(tester, body["data"]["job_id"]))["status"] == "COMPLETED"


async def test_too_many_requests_say_when_to_come_again(service: Service) -> None:
    """100429000, and Retry-After, which the vendor leaves out; reading is counted apart from creating."""
    await burnish(service, "accounts", "create", "hasty", "--plan", "standard")
    for limit in ("create.limit=2", "create.burst=2", "read.limit=3", "read.burst=3"):
        await burnish(service, "accounts", "set", "hasty", "--override", f"rates.{limit}")
    headers = {"APIKEY": (await burnish(service, "keys", "create", "--account", "hasty"))["secret"]}
    async with httpx.AsyncClient(
        base_url=f"{service.url}/hitpaw", headers=headers, timeout=40, trust_env=False
    ) as hasty:
        for path, allowed in (("photo-enhancer", 2), ("task-status", 3)):
            numbers = []
            for _ in range(allowed + 1):
                reply = await hasty.post(f"/api/{path}", json={})
                numbers.append(reply.json()["code"])
            assert numbers[-1] == 100429000, numbers
            assert 100429000 not in numbers[:-1], numbers
            assert reply.status_code == 429
            assert int(reply.headers["retry-after"]) >= 1


async def test_the_house_is_well_afterwards(service: Service) -> None:
    """Nothing that came through this dialect broke an invariant."""
    await service.well()
