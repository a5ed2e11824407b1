"""The native API's uploads: promised, sent, refused, and handed to the tasks that waited for them."""

import asyncio
import dataclasses
import hashlib
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import datetime
from pathlib import Path
from typing import Any

from burnish.ids import from_wire, new_id, to_wire
from burnish.settings import Settings
from burnish.tasks import lease
from burnish.uploads import receive
from native.surface import Visitor, visit
from waiting import until

PassTime = Callable[[float], Awaitable[None]]

CONTENT = b"some bytes of a picture"


async def objects(visitor: Visitor) -> list[str]:
    async with visitor.resources.db.reading() as connection:
        return [row["key"] for row in await connection.fetch("SELECT key FROM objects")]


def stored(visitor: Visitor) -> list[Path]:
    """Every file in the storage."""
    return [path for path in (visitor.resources.settings.data / "blobs").rglob("*") if path.is_file()]


async def put(
    visitor: Visitor, upload: dict[str, Any], content: Any = CONTENT, **headers: str
) -> tuple[int, str | None]:
    """Status and code of sending these bytes."""
    reply = await visitor.http.put(upload["url"], content=content, headers=upload["headers"] | headers)
    return reply.status_code, reply.json().get("error", {}).get("code")


# --- promising ----------------------------------------------------------------------------------------------------


async def test_201_says_where_the_bytes_go(visitor: Visitor) -> None:
    """A promise has a signed URL for the bytes and one to read them, until when, and how many are taken."""
    upload = await visitor.promise(CONTENT)
    settings = visitor.resources.settings
    assert from_wire("upload", upload["id"]) is not None
    assert upload["url"].startswith(f"{settings.public_url}/v1/files/{upload['id']}?")
    assert (upload["method"], upload["headers"]) == ("PUT", {"Content-Type": "image/png"})
    assert upload["max_bytes"] == settings.uploads.max_bytes
    left = datetime.fromisoformat(upload["expires_at"]) - visitor.resources.clock.now()
    assert 0 < left.total_seconds() <= settings.uploads.arrival_seconds


async def test_422_names_the_field_of_a_promise(visitor: Visitor) -> None:
    """What cannot be promised is refused by field."""
    good = {"filename": "photo.png", "content_type": "image/png", "size_bytes": 3}
    for change, code, param in (
        ({"filename": ""}, "invalid", "filename"),
        ({"content_type": "image/png\n"}, "invalid", "content_type"),
        ({"sha256": "0" * 64 + "\n"}, "invalid", "sha256"),
        ({"filename": "\u200b\u202e"}, "invalid", "filename"),
        ({"filename": "folder/"}, "invalid", "filename"),
        ({"filename": "a\0b"}, "invalid", "filename"),
        ({"content_type": "picture"}, "invalid", "content_type"),
        ({"content_type": "image/png\r\nX: y"}, "invalid", "content_type"),
        ({"content_type": "image/png; charset=x"}, "invalid", "content_type"),
        ({"size_bytes": 0}, "invalid", "size_bytes"),
        ({"size_bytes": 3.5}, "invalid", "size_bytes"),
        ({"size_bytes": 1 << 70}, "invalid", "size_bytes"),
        ({"sha256": "abc"}, "invalid", "sha256"),
        ({"checksum": "abc"}, "unknown_field", "checksum"),
    ):
        reply = await visitor.http.post("/v1/uploads", json=good | change)
        error = reply.json()["error"]
        assert (reply.status_code, error["code"], error["param"]) == (422, code, param), change


async def test_413_for_more_than_is_taken(visitor: Visitor) -> None:
    """A file above the limit is refused before a byte of it is sent."""
    most = visitor.resources.settings.uploads.max_bytes
    reply = await visitor.http.post(
        "/v1/uploads", json={"filename": "film.mp4", "content_type": "video/mp4", "size_bytes": most + 1}
    )
    error = reply.json()["error"]
    assert (reply.status_code, error["code"], error["details"]) == (
        413,
        "upload_too_large",
        {"max_bytes": most},
    )


# --- sending ------------------------------------------------------------------------------------------------------


async def test_bytes_that_keep_the_promise_arrive(visitor: Visitor) -> None:
    """The PUT needs no key, answers with the upload as it stands, and what was sent can be read."""
    upload = await visitor.promise(
        CONTENT, filename="ferien/Köln.png", sha256=hashlib.sha256(CONTENT).hexdigest()
    )
    reply = await visitor.http.put(
        upload["url"], content=CONTENT, headers=upload["headers"] | {"Authorization": ""}
    )
    told = reply.json()
    assert (reply.status_code, told["status"], told["filename"]) == (200, "arrived", "Köln.png")
    assert (told["size_bytes"], told["sha256"]) == (len(CONTENT), hashlib.sha256(CONTENT).hexdigest())
    assert (await visitor.http.get(f"/v1/uploads/{upload['id']}")).json() == told
    assert (await visitor.http.get(upload["access_url"])).content == CONTENT
    assert (await visitor.http.get(told["access_url"])).content == CONTENT


async def test_bytes_of_unknown_length_are_counted(visitor: Visitor) -> None:
    """A chunked body without Content-Length is taken when it has the promised size."""

    async def chunks() -> AsyncIterator[bytes]:
        yield CONTENT[:5]
        yield CONTENT[5:]

    upload = await visitor.promise(CONTENT)
    assert await put(visitor, upload, chunks()) == (200, None)


async def test_nothing_is_kept_of_what_breaks_the_promise(visitor: Visitor) -> None:
    """Another type, size or hash: refused, nothing stored; the right bytes are still welcome."""

    async def too_many() -> AsyncIterator[bytes]:
        for _ in range(10):
            yield CONTENT

    async def too_few() -> AsyncIterator[bytes]:
        yield CONTENT[:-1]

    upload = await visitor.promise(CONTENT, sha256=hashlib.sha256(CONTENT).hexdigest())
    assert await put(visitor, upload, **{"Content-Type": "image/jpeg"}) == (422, "upload_type_differs")
    assert await put(visitor, upload, CONTENT[:-1]) == (422, "upload_size_differs")
    assert await put(visitor, upload, CONTENT + b"!") == (422, "upload_size_differs")
    assert await put(visitor, upload, too_few()) == (422, "upload_size_differs")
    assert await put(visitor, upload, too_many()) == (422, "upload_size_differs")
    assert await put(visitor, upload, CONTENT[::-1]) == (422, "upload_hash_differs")
    assert stored(visitor) == []
    assert (await visitor.http.get(f"/v1/uploads/{upload['id']}")).json()["status"] == "promised"

    assert await put(visitor, upload) == (200, None)
    assert len(stored(visitor)) == 1


async def test_409_for_bytes_that_have_come(visitor: Visitor) -> None:
    """A second PUT is refused, whatever it brings, and what came first stays."""
    upload = await visitor.upload(CONTENT)
    assert await put(visitor, upload) == (409, "upload_arrived")
    assert await put(visitor, upload, b"x") == (409, "upload_arrived")
    assert (await visitor.http.get(upload["access_url"])).content == CONTENT


async def test_of_several_that_send_at_once_one_arrives(visitor: Visitor) -> None:
    """Eight PUTs race: one is told 200, the others 409, and one object is left."""
    upload = await visitor.promise(CONTENT)
    answers = await asyncio.gather(*(put(visitor, upload) for _ in range(8)))
    assert sorted(status for status, _ in answers) == [200] + [409] * 7
    assert len(await objects(visitor)) == len(stored(visitor)) == 1


async def test_410_when_the_promise_is_over(visitor: Visitor, pass_time: PassTime) -> None:
    """After its time neither the PUT nor the reading of the upload goes on; both say that it has expired."""
    upload = await visitor.promise(CONTENT)
    await pass_time(visitor.resources.settings.uploads.arrival_seconds + 1)
    assert await put(visitor, upload) == (410, "file_expired")
    assert (await visitor.http.get(f"/v1/uploads/{upload['id']}")).json()["error"]["code"] == "file_expired"
    assert (await visitor.http.get(upload["access_url"])).status_code == 410


async def test_bytes_that_dawdle_past_the_promise_do_not_arrive(settings: Settings) -> None:
    """A PUT that is still sending when the promise ends is cut with 410, and nothing is kept."""
    settings = dataclasses.replace(settings, uploads=dataclasses.replace(settings.uploads, arrival_seconds=1))
    async with visit(settings) as visitor:
        upload = await visitor.promise(CONTENT)

        async def endless() -> AsyncIterator[bytes]:
            yield CONTENT[:3]
            await asyncio.Event().wait()

        assert await put(visitor, upload, endless()) == (410, "file_expired")
        assert stored(visitor) == []


async def test_the_object_is_named_before_its_first_byte(visitor: Visitor) -> None:
    """While bytes come in, a row already names their object, and would have them deleted within a day."""
    upload = await visitor.promise(CONTENT)
    go_on = asyncio.Event()
    named: list[str] = []

    async def watched() -> AsyncIterator[bytes]:
        named.extend(await objects(visitor))
        go_on.set()
        yield CONTENT

    assert await put(visitor, upload, watched()) == (200, None)
    assert named == await objects(visitor)
    async with visitor.resources.db.reading() as connection:
        kept = await connection.fetchval(
            "SELECT o.delete_at = b.expires_at FROM objects o JOIN blobs b ON b.object_key = o.key"
        )
    assert kept


async def test_404_for_uploads_of_others(visitor: Visitor) -> None:
    """Another account's upload, another environment's, an unknown one, an output's id."""
    upload = await visitor.upload(CONTENT)
    stranger = visitor.using(await visitor.new_key(account="somebody-else"))
    tester = visitor.using(await visitor.new_key(environment="test"))
    for headers, name in (
        (stranger, upload["id"]),
        (tester, upload["id"]),
        ({}, to_wire("upload", new_id())),
        ({}, "x"),
    ):
        reply = await visitor.http.get(f"/v1/uploads/{name}", headers=headers)
        assert (reply.status_code, reply.json()["error"]["code"]) == (404, "not_found")


# --- uploads and tasks --------------------------------------------------------------------------------------------


async def test_a_task_waits_for_its_upload(visitor: Visitor) -> None:
    """Submitted first, the task is `waiting` and nobody may fetch; when the bytes are here, workers are told."""
    upload = await visitor.promise(CONTENT)
    task = await visitor.submit(model="upscale", input={"image": upload["id"]})
    assert task["status"] == "waiting"
    assert await lease.claim_fetches(visitor.resources.db, 1, 15, by_url=False) == []

    told = asyncio.Event()
    with visitor.resources.db.news.subscribed(receive.FETCH_TOPIC, told.set):
        await put(visitor, upload)
        await until(told.is_set)
    assert await visitor.arrive()
    assert (await visitor.read(task["id"]))["status"] == "queued"


async def test_an_upload_that_was_looked_at_is_queued_at_once(visitor: Visitor) -> None:
    """The second task on the same upload does not wait again; the upload says what it is."""
    upload = await visitor.upload(CONTENT)
    await visitor.submit(model="upscale", input={"image": upload["id"]})
    await visitor.arrive(type="image/png", width=30, height=20)
    assert (await visitor.submit(model="upscale", input={"image": upload["id"]}))["status"] == "queued"
    told = (await visitor.http.get(f"/v1/uploads/{upload['id']}")).json()
    assert (told["type"], told["width"], told["height"], told["fault"]) == ("image/png", 30, 20, None)
    assert (told["seconds"], told["frame_rate"]) == (None, None)


async def test_an_upload_tells_how_long_a_film_lasts(visitor: Visitor) -> None:
    """What a probe said of it, seconds and frames a second, is kept and told."""
    upload = await visitor.upload(CONTENT, content_type="video/mp4")
    await visitor.submit(model="upscale", input={"image": upload["id"]})
    await visitor.arrive(type="image/png", width=30, height=20, seconds=2.5, frame_rate=29.97)
    told = (await visitor.http.get(f"/v1/uploads/{upload['id']}")).json()
    assert (told["seconds"], told["frame_rate"]) == (2.5, 29.97)


async def test_a_link_of_ours_is_a_reference_and_never_fetched(visitor: Visitor) -> None:
    """An upload's access_url or an output's url as an input names those bytes; a changed one is refused."""
    upload = await visitor.upload(CONTENT)
    task = await visitor.submit(model="upscale", input={"image": upload["access_url"]})
    await visitor.arrive()
    await visitor.succeed(b"larger")
    output = (await visitor.read(task["id"]))["outputs"][0]
    again = await visitor.submit(model="upscale", input={"image": output["url"]})
    assert again["status"] == "queued"

    for image, code in (
        (output["url"][:-2], "bad_link"),
        (upload["url"], "bad_link"),
        (output["url"].partition("?")[0], "bad_link"),
    ):
        reply = await visitor.http.post("/v1/tasks", json={"model": "upscale", "input": {"image": image}})
        error = reply.json()["error"]
        assert (reply.status_code, error["code"], error["param"]) == (422, code, "input.image")


async def test_422_for_an_upload_that_cannot_be_an_input(visitor: Visitor, pass_time: PassTime) -> None:
    """An unknown upload, another account's, one that is no media, one whose time is over."""
    upload = await visitor.upload(CONTENT)
    broken = await visitor.upload(b"no picture")
    stranger = visitor.using(await visitor.new_key(account="somebody-else"))

    async def refused(image: str, **headers: str) -> tuple[int, str]:
        reply = await visitor.http.post(
            "/v1/tasks", json={"model": "upscale", "input": {"image": image}}, headers=headers
        )
        error = reply.json()["error"]
        assert error["param"] == "input.image"
        return reply.status_code, error["code"]

    assert await refused(to_wire("upload", new_id())) == (422, "upload_not_found")
    assert await refused(upload["id"], **stranger) == (422, "upload_not_found")
    assert await refused(upload["access_url"], **stranger) == (422, "upload_not_found")

    async with visitor.resources.db.transaction() as tx:
        await tx.execute(
            "UPDATE blobs SET fault = 'decode_failed: The file is damaged.' WHERE id = $1",
            from_wire("upload", broken["id"]),
        )
    assert await refused(broken["id"]) == (422, "decode_failed")
    assert (await visitor.http.get(f"/v1/uploads/{broken['id']}")).json()["fault"] == {
        "code": "decode_failed",
        "message": "The file is damaged.",
    }

    await pass_time(visitor.resources.settings.uploads.retention_seconds + 1)
    assert await refused(upload["id"]) == (422, "upload_expired")
    await pass_time(visitor.resources.settings.uploads.arrival_seconds)
    assert await refused(upload["access_url"]) == (422, "link_expired")
