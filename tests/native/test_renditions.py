"""A result in another form, asked for by its link: made once, found again, told to nobody, and gone with the result."""

import asyncio
import dataclasses
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest

from burnish.ids import from_wire
from burnish.settings import Settings
from burnish.tasks.audit import audit
from burnish.uploads.sign import Links
from native.surface import Visitor, visit
from waiting import until

PassTime = Callable[[float], Awaitable[None]]


@pytest.fixture
async def visitor(settings: Settings) -> AsyncIterator[Visitor]:
    """Nobody waits for longer than a moment, and a file has three forms."""
    hasty = dataclasses.replace(
        settings,
        http=dataclasses.replace(settings.http, wait_seconds=2),
        uploads=dataclasses.replace(settings.uploads, renditions=3),
    )
    async with visit(hasty) as visitor:
        yield visitor


@pytest.fixture
async def url(visitor: Visitor) -> str:
    """The link to an output."""
    task = await visitor.submit()
    await visitor.succeed(b"the whole", filename="photo-2x.png")
    link: str = (await visitor.read(task["id"]))["outputs"][0]["url"]
    return link


async def queued(visitor: Visitor) -> bool:
    """Whether a rendition waits for a worker."""
    return any(task["status"] == "queued" for task in await tasks(visitor))


async def made(visitor: Visitor, content: bytes, **record: Any) -> None:
    """A worker that makes the next rendition, once it is asked for."""
    await until(lambda: queued(visitor))
    await visitor.succeed(content, type="image/webp", filename="photo-2x.webp", **record)


async def asked(visitor: Visitor, url: str, form: str) -> httpx.Response:
    return await visitor.http.get(f"{url}&{form}", headers={"Authorization": ""})


async def tasks(visitor: Visitor) -> list[Any]:
    async with visitor.resources.db.reading() as connection:
        found: list[Any] = await connection.fetch("SELECT * FROM tasks WHERE model = 'rendition' ORDER BY id")
    return found


async def test_a_form_is_made_once_and_found_again(visitor: Visitor, url: str) -> None:
    """Ten ask at the same time, two ways of writing the same: one task, the same bytes for all; afterwards at once."""
    form, same = "format=webp&max_width=800", "max_width=800&format=webp&quality=90"
    asking = [asyncio.create_task(asked(visitor, url, one)) for one in [form, same] * 5]
    await made(visitor, b"the smaller")
    for reply in await asyncio.gather(*asking):
        assert (reply.status_code, reply.content) == (200, b"the smaller")
        assert reply.headers["content-type"] == "image/webp"
        assert "photo-2x.webp" in reply.headers["content-disposition"]
    assert (await asked(visitor, url, form)).content == b"the smaller"
    assert len(await tasks(visitor)) == 1
    assert (await asked(visitor, url, "quality=90")).content == b"the whole"  # as it is anyway
    assert await audit(visitor.resources.db, visitor.resources.plans) == []


async def test_what_is_not_made_in_time_is_asked_for_again(visitor: Visitor, url: str) -> None:
    """503 with Retry-After; the task goes on, and the next who asks has it."""
    reply = await asked(visitor, url, "preview=true")
    assert (reply.status_code, reply.json()["error"]["code"]) == (503, "rendition_pending")
    assert reply.headers["retry-after"] == "2"
    await made(visitor, b"small")
    assert (await asked(visitor, url, "preview=true")).content == b"small"


@pytest.mark.parametrize(
    ("form", "code", "param"),
    [
        ("fromat=webp", "unknown_field", "fromat"),
        ("format=gif", "invalid", "format"),
        ("max_width=0", "invalid", "max_width"),
        ("scale=2", "invalid", "scale"),
        ("scale=nan", "invalid", "scale"),
        ("preview=perhaps", "invalid", "preview"),
    ],
)
async def test_422_for_what_means_nothing(
    visitor: Visitor, url: str, form: str, code: str, param: str
) -> None:
    """A typing error is no silent original."""
    reply = await asked(visitor, url, form)
    assert (reply.status_code, reply.json()["error"]["code"], reply.json()["error"]["param"]) == (
        422,
        code,
        param,
    )
    assert await tasks(visitor) == []


async def test_there_is_an_end_to_forms(visitor: Visitor, url: str) -> None:
    """A file has so many and no more; those that there are go on being found."""
    for width in (10, 20, 30):
        asking = asyncio.create_task(asked(visitor, url, f"max_width={width}"))
        await made(visitor, b"%d" % width)
        assert (await asking).status_code == 200
    reply = await asked(visitor, url, "max_width=40")
    assert (reply.status_code, reply.json()["error"]["code"]) == (409, "too_many_renditions")
    assert (await asked(visitor, url, "max_width=20")).content == b"20"


async def test_nobody_is_told_of_it(visitor: Visitor, url: str) -> None:
    """It is in no list and in no stream, owes no delivery, and spends neither the day nor a credit."""
    reply = await visitor.http.post("/v1/webhooks", json={"url": "https://example.com/hook"})
    assert reply.status_code == 201, reply.text
    asking = asyncio.create_task(asked(visitor, url, "preview=true"))
    await made(visitor, b"small")
    await asking
    listed = (await visitor.http.get("/v1/tasks")).json()["data"]
    assert {task["model"] for task in listed} == {"noop"}
    async with visitor.resources.db.reading() as connection:
        assert await connection.fetchval("SELECT count(*) FROM deliveries") == 0
    (task,) = await tasks(visitor)
    assert (task["cost_charged"], task["day_starts_at"]) == (0, None)


async def test_a_form_that_cannot_be_made_says_why(visitor: Visitor, url: str) -> None:
    """422 with the reason, at once the second time."""
    asking = asyncio.create_task(asked(visitor, url, "format=avif"))
    await until(lambda: queued(visitor))
    await visitor.end("output_too_large", "AVIF holds less.")
    for reply in (await asking, await asked(visitor, url, "format=avif")):
        error = reply.json()["error"]
        assert (reply.status_code, error["code"], error["message"]) == (
            422,
            "output_too_large",
            "AVIF holds less.",
        )
    assert len(await tasks(visitor)) == 1


async def test_a_form_that_was_lost_is_made_anew(visitor: Visitor, url: str) -> None:
    """What failed through a fault of ours is tried again by whoever asks next."""
    await asked(visitor, url, "preview=true")
    await visitor.end("internal", "Down.")
    asking = asyncio.create_task(asked(visitor, url, "preview=true"))
    await made(visitor, b"small")
    assert (await asking).content == b"small"
    assert [task["status"] for task in await tasks(visitor)] == ["failed", "succeeded"]


async def test_looking_lengthens_no_life(visitor: Visitor, url: str, pass_time: PassTime) -> None:
    """A rendition ends with the file, and the file when it would have."""
    name = urlsplit(url).path.rpartition("/")[2]
    async with visitor.resources.db.transaction() as tx:
        blob_id = from_wire("output", name)
        await tx.execute("UPDATE blobs SET expires_at = now() + interval '1 hour' WHERE id = $1", blob_id)
    asking = asyncio.create_task(asked(visitor, url, "preview=true"))
    await made(visitor, b"small")
    assert (await asking).status_code == 200
    await pass_time(3_700)
    for form in ("preview=true", "quality=90", "preview=true&watermark=true"):
        assert (await asked(visitor, url, form)).json()["error"]["code"] == "file_expired"
    async with visitor.resources.db.reading() as connection:
        assert not await connection.fetchval(
            "SELECT count(*) FROM blobs WHERE kind = 'output' AND expires_at > now() + interval '1 hour 5 seconds' AND "
            "task_id IN (SELECT task_id FROM renditions)"
        )


async def test_renditions_are_deleted_with_their_file(visitor: Visitor) -> None:
    """Who deletes a task deletes what links to it have asked for, its bytes too."""
    task = await visitor.submit()
    await visitor.succeed(b"the whole")
    url = (await visitor.read(task["id"]))["outputs"][0]["url"]
    asking = asyncio.create_task(asked(visitor, url, "preview=true"))
    await made(visitor, b"small")
    await asking
    assert (await asked(visitor, url, "max_width=3")).status_code == 503  # is being made
    assert (await visitor.http.delete(f"/v1/tasks/{task['id']}")).status_code == 200
    async with visitor.resources.db.reading() as connection:
        left = await connection.fetchval(
            "SELECT count(*) FROM objects WHERE delete_at > $1", visitor.resources.clock.now()
        )
        assert left == 0
        assert await connection.fetchval("SELECT count(*) FROM renditions") == 0
    assert [task["status"] for task in await tasks(visitor)] == ["succeeded", "cancelled"]


async def test_a_link_for_one_form_opens_no_other(visitor: Visitor, url: str) -> None:
    """Neither the file itself, nor it without its watermark, nor larger; and it is no input."""
    links = Links(visitor.resources.secret_keys, visitor.resources.settings.public_url)
    name = urlsplit(url).path.rpartition("/")[2]
    blob_id = from_wire("output", name)
    assert blob_id is not None
    ends_at = visitor.resources.clock.now().replace(microsecond=0)
    (expires,) = parse_qs(urlsplit(url).query)["expires"]
    ends_at = ends_at.fromtimestamp(int(expires), ends_at.tzinfo)
    bound = links.get("output", blob_id, ends_at, form="watermark=true&preview=true")
    asking = asyncio.create_task(visitor.http.get(bound))
    await made(visitor, b"small")
    assert (await asking).content == b"small"
    turned = bound.replace("preview=true&watermark=true", "watermark=true&preview=true")
    assert (await visitor.http.get(turned)).content == b"small"
    for changed in (
        "",
        "&preview=true",
        "&preview=true&watermark=false",
        "&preview=true&watermark=true&scale=1",
    ):
        reply = await visitor.http.get(bound.replace("&preview=true&watermark=true", changed))
        assert (reply.status_code, reply.json()["error"]["code"]) == (403, "bad_signature"), changed
    for link in (bound, f"{url}&preview=true"):
        reply = await visitor.http.post("/v1/tasks", json={"model": "upscale", "input": {"image": link}})
        assert reply.json()["error"]["code"] == "bad_link"
