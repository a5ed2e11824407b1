"""Tasks that read several sources: each is waited for, wherever it comes from, and named where it is at fault."""

import asyncio
import dataclasses
import random
from collections.abc import Awaitable, Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from burnish.credits.grant import grant
from burnish.engines.catalogue import find_model
from burnish.errors import Failed
from burnish.ids import from_wire, new_id, to_wire
from burnish.settings import Settings
from burnish.tasks import lease
from burnish.tasks.arrive import Seen
from burnish.tasks.audit import audit
from burnish.tasks.task import Claimed
from burnish.workers.sweep import _expired_objects, _late_uploads, _lost_leases, _tombstones
from native.surface import Visitor, task_uuid, visit

PassTime = Callable[[float], Awaitable[None]]


async def merge(visitor: Visitor, *images: str, **headers: str) -> dict[str, Any]:
    """A task that reads these."""
    reply = await visitor.http.post(
        "/v1/tasks", json={"model": "noop-sources", "input": {"images": images}}, headers=headers
    )
    assert reply.status_code == 202, reply.text
    task: dict[str, Any] = reply.json()
    return task


async def refused(visitor: Visitor, *images: str, path: str = "/v1/tasks", **headers: str) -> tuple[Any, ...]:
    reply = await visitor.http.post(
        path, json={"model": "noop-sources", "input": {"images": images}}, headers=headers
    )
    error = reply.json()["error"]
    return reply.status_code, error["code"], error["param"]


async def put(visitor: Visitor, upload: dict[str, Any], content: bytes = b"bytes") -> None:
    reply = await visitor.http.put(upload["url"], content=content, headers=upload["headers"])
    assert reply.status_code == 200, reply.text


async def fetches(visitor: Visitor) -> list[Claimed]:
    """Waiting tasks whose next bytes can be had, claimed."""
    db, seconds = visitor.resources.db, visitor.resources.settings.tasks.lease_seconds
    return [
        *await lease.claim_fetches(db, 10, seconds, by_url=False),
        *await lease.claim_fetches(db, 10, seconds, by_url=True),
    ]


async def look(visitor: Visitor, failed: Failed | None = None, **header: Any) -> int:
    """What workers do until there is nothing to look at; how much there was."""
    facts: dict[str, Any] = {"type": "image/png", "width": 3, "height": 2, "frames": 1} | header
    looked = 0
    while claimed := await fetches(visitor):
        for task in claimed:
            assert await visitor.resources.arrivals.arrive(Seen(task, failed=failed, **facts))
            looked += 1
    return looked


async def well(visitor: Visitor) -> None:
    assert await audit(visitor.resources.db, visitor.resources.plans) == []


async def status(visitor: Visitor, task: dict[str, Any]) -> str:
    found: str = (await visitor.read(task["id"]))["status"]
    return found


async def given(visitor: Visitor, task: dict[str, Any]) -> list[tuple[Any, Any]]:
    """The sources of a task as they are stored, and the task's own."""
    async with visitor.resources.db.reading() as connection:
        rows = await connection.fetch(
            "SELECT source_id, source_url FROM task_sources WHERE task_id = $1 ORDER BY position",
            task_uuid(task),
        )
    return [tuple(row) for row in rows]


# --- arriving ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 1, 0), (1, 2, 0), (1, 0, 2)])
async def test_a_task_waits_for_all_of_its_uploads(visitor: Visitor, order: tuple[int, ...]) -> None:
    """In whatever order they come: it is queued by the last, and not before."""
    uploads = [await visitor.promise(b"bytes") for _ in range(3)]
    task = await merge(visitor, *(upload["id"] for upload in uploads))
    for arriving in order:
        assert await status(visitor, task) == "waiting"
        await well(visitor)
        await put(visitor, uploads[arriving])
        await well(visitor)
        await look(visitor)
        await well(visitor)

    assert await status(visitor, task) == "queued"
    claimed = await visitor.claim()
    assert to_wire("upload", claimed.source_id or new_id()) == uploads[0]["id"], "the first names the outputs"


async def test_what_is_not_waited_for_yet_may_come_first(visitor: Visitor) -> None:
    """All bytes are here before anybody has looked at the first: one look at each, in order."""
    uploads = [await visitor.upload(b"bytes") for _ in range(3)]
    task = await merge(visitor, *(upload["id"] for upload in uploads))
    assert await look(visitor) == 3
    assert await status(visitor, task) == "queued"
    assert (await merge(visitor, *(upload["id"] for upload in uploads)))["status"] == "queued"
    await well(visitor)


async def test_uploads_and_addresses_are_mixed(visitor: Visitor) -> None:
    """A URL is fetched in its turn, and one that is given twice is fetched once."""
    upload, url = await visitor.promise(b"bytes"), "https://example.com/a.png"
    task = await merge(visitor, url, upload["id"], url)
    (first, _), _, (third, _) = await given(visitor, task)
    assert first == third
    (claimed,) = await fetches(visitor)
    assert claimed.source_url == url
    assert await visitor.resources.arrivals.arrive(Seen(claimed, type="image/png", width=3, height=2))
    assert await fetches(visitor) == []
    await put(visitor, upload)
    assert await look(visitor) == 1
    assert await status(visitor, task) == "queued"
    await well(visitor)


async def test_the_same_upload_may_be_named_twice(visitor: Visitor) -> None:
    """One look is enough, and each place has it."""
    upload = await visitor.promise(b"bytes")
    task = await merge(visitor, upload["id"], upload["id"], upload["id"])
    await put(visitor, upload)
    assert await look(visitor) == 1
    assert await status(visitor, task) == "queued"
    assert [to_wire("upload", id_) for id_, _ in await given(visitor, task)] == [upload["id"]] * 3
    await well(visitor)


async def test_two_hundred_sources_are_taken_and_no_more(visitor: Visitor) -> None:
    """In their order; most of them were seen before, and are not looked at again."""
    uploads = [await visitor.upload(b"bytes") for _ in range(8)]
    ids = [upload["id"] for upload in uploads]
    await merge(visitor, *ids[1:])
    await look(visitor)
    named = [random.choice(ids[1:]) for _ in range(198)]
    task = await merge(visitor, *named, ids[0], "https://example.com/a.png")
    assert await look(visitor) == 2
    assert await status(visitor, task) == "queued"
    stored = await given(visitor, task)
    assert [to_wire("upload", id_) for id_, _ in stored[:199]] == [*named, ids[0]]
    await well(visitor)
    assert await refused(visitor, *named, *ids[:3]) == (422, "invalid", "input.images")


async def test_an_upload_that_comes_while_another_is_looked_at_is_not_missed(visitor: Visitor) -> None:
    """Whichever of the two transactions is first, somebody is told to look at it."""
    for _ in range(15):
        first, second = await visitor.upload(b"bytes"), await visitor.promise(b"bytes")
        task = await merge(visitor, first["id"], second["id"])
        (claimed,) = await fetches(visitor)
        await asyncio.gather(
            visitor.resources.arrivals.arrive(Seen(claimed, type="image/png", width=3, height=2)),
            put(visitor, second),
        )
        await well(visitor)
        assert await look(visitor) == 1
        assert await status(visitor, task) == "queued"


# --- prices -----------------------------------------------------------------------------------------------------------


async def test_the_first_source_sets_the_price_once_all_are_seen(settings: Settings, tmp_path: Path) -> None:
    """A quote gives from, to, until every source has been seen; then what the first costs, which is what is held."""
    file = tmp_path / "plans.toml"
    file.write_text("[owner]\nmetered = true\n")
    async with visit(dataclasses.replace(settings, plans=str(file))) as visitor:

        async def quote(*images: str, **declared: int) -> tuple[int, int]:
            body = {"model": "noop-sources", "input": {"images": images}, **declared}
            found = (await visitor.http.post("/v1/quotes", json=body)).json()
            return found["credits"]["min"], found["credits"]["max"]

        await grant(
            visitor.resources.db, visitor.account_id, 1000, kind="paid", idempotency_key="1",
            now=visitor.resources.clock.now(),
        )  # fmt: skip
        large, small = await visitor.upload(b"bytes"), await visitor.upload(b"bytes")
        await merge(visitor, large["id"])
        await look(visitor, width=4000, height=2500)
        assert await quote(large["id"]) == (20, 20)
        assert await quote(large["id"], small["id"]) == (10, 480)
        assert await quote(large["id"], small["id"], width=20, height=20) == (10, 10)
        assert await quote(large["id"], large["id"], width=20, height=20) == (20, 20), "seen is not declared"

        task = await merge(visitor, large["id"], small["id"])
        assert task["cost"]["held"] == 0
        await look(visitor)
        assert (await visitor.read(task["id"]))["cost"]["held"] == 20
        assert await quote(small["id"], large["id"]) == (10, 10)
        assert (await merge(visitor, small["id"], large["id"]))["cost"]["held"] == 10
        await well(visitor)


async def test_a_task_that_cannot_be_paid_ends_when_its_last_source_is_seen(
    settings: Settings, tmp_path: Path
) -> None:
    """What its first source costs is known then; nothing is held before."""
    file = tmp_path / "plans.toml"
    file.write_text("[owner]\nmetered = true\n")
    async with visit(dataclasses.replace(settings, plans=str(file))) as visitor:
        await grant(
            visitor.resources.db, visitor.account_id, 10, kind="paid", idempotency_key="1",
            now=visitor.resources.clock.now(),
        )  # fmt: skip
        uploads = [await visitor.upload(b"bytes") for _ in range(2)]
        task = await merge(visitor, *(upload["id"] for upload in uploads))
        await look(visitor, width=4000, height=2500)
        assert (await visitor.read(task["id"]))["status_reason"] == "insufficient_credits"
        await well(visitor)


# --- not arriving -----------------------------------------------------------------------------------------------------


async def test_one_that_never_comes_ends_the_task_and_is_named(visitor: Visitor, pass_time: PassTime) -> None:
    """At the end of the first promise that is not kept, whichever source is waited for then."""
    seconds = visitor.resources.settings.uploads.arrival_seconds
    early = await visitor.promise(b"bytes")
    await pass_time(seconds / 2)
    late = await visitor.promise(b"bytes")
    task = await merge(visitor, late["id"], early["id"])
    await pass_time(seconds / 2 + 1)
    await _late_uploads(_resources(visitor))

    found = await visitor.read(task["id"])
    assert (found["status"], found["status_reason"]) == ("failed", "input_timeout")
    assert found["status_message"].startswith("input.images[1]: The upload did not arrive in time.")
    await well(visitor)


async def test_a_task_is_not_given_up_for_an_upload_that_came(visitor: Visitor, pass_time: PassTime) -> None:
    """It came in its time, while another was waited for: only the other's promise counts from then on."""
    seconds = visitor.resources.settings.uploads.arrival_seconds
    early = await visitor.promise(b"bytes")
    await pass_time(seconds / 2)
    late = await visitor.promise(b"bytes")
    task = await merge(visitor, late["id"], early["id"])
    await put(visitor, early)
    await pass_time(seconds / 2 + 1)
    await _late_uploads(_resources(visitor))
    assert await status(visitor, task) == "waiting"
    await put(visitor, late)
    assert await look(visitor) == 2
    assert await status(visitor, task) == "queued"
    await well(visitor)


async def test_a_broken_one_ends_the_task_and_is_named(visitor: Visitor) -> None:
    """By its place, though not in what is remembered of the file: another task may have it elsewhere."""
    sound, broken = await visitor.upload(b"bytes"), await visitor.upload(b"broken")
    await merge(visitor, sound["id"])
    await look(visitor)
    task = await merge(visitor, sound["id"], sound["id"], broken["id"])
    await look(visitor, Failed("decode_failed", "The file is damaged."), type=None, width=None, height=None)

    found = await visitor.read(task["id"])
    assert (found["status"], found["status_reason"], found["status_message"]) == (
        *("failed", "decode_failed", "input.images[2]: The file is damaged."),
    )
    fault = (await visitor.http.get(f"/v1/uploads/{broken['id']}")).json()["fault"]
    assert fault == {"code": "decode_failed", "message": "The file is damaged."}
    assert await refused(visitor, sound["id"], broken["id"]) == (422, "decode_failed", "input.images[1]")
    await well(visitor)


async def test_the_limits_hold_for_each_source(visitor: Visitor) -> None:
    """What is too large, or of another kind, is refused in its place: when it is seen, or when it was seen before."""
    first, second = await visitor.upload(b"bytes"), await visitor.upload(b"bytes")
    task = await merge(visitor, first["id"], second["id"])
    (claimed,) = await fetches(visitor)
    assert await visitor.resources.arrivals.arrive(Seen(claimed, type="image/png", width=3, height=2))
    await look(visitor, width=50_000, height=50_000)
    found = await visitor.read(task["id"])
    assert found["status_reason"] == "input_too_large"
    assert found["status_message"].startswith("input.images[1]: The picture is 50000 x 50000 pixels")
    assert await refused(visitor, first["id"], second["id"]) == (422, "input_too_large", "input.images[1]")

    film = await visitor.upload(b"bytes")
    task = await merge(visitor, first["id"], film["id"])
    await look(visitor, type="video/mp4")
    assert (await visitor.read(task["id"]))["status_reason"] == "unsupported_format"
    assert await refused(visitor, film["id"]) == (422, "unsupported_format", "input.images[0]")
    await well(visitor)


async def test_422_names_the_source_that_cannot_be_had(visitor: Visitor, pass_time: PassTime) -> None:
    """Another account's, one that is unknown, one that has expired, an address that is refused, no address at all."""
    upload = await visitor.upload(b"bytes")
    stranger = visitor.using(await visitor.new_key(account="somebody-else"))
    for path in ("/v1/tasks", "/v1/quotes"):
        assert await refused(visitor, upload["access_url"], upload["id"], path=path, **stranger) == (
            *(422, "upload_not_found", "input.images[0]"),
        )
        for image, code in (
            (to_wire("upload", new_id()), "upload_not_found"),
            ("http://10.0.0.1/a.png", "input_blocked"),
            ("nothing", "upload_not_found"),
            ("test:ok", "test_input"),
        ):
            assert await refused(visitor, upload["id"], image, path=path) == (422, code, "input.images[1]")
    own = await visitor.upload(b"bytes")
    await pass_time(8 * 86_400)
    assert await refused(visitor, own["id"], "https://example.com/a.png") == (
        *(422, "upload_expired", "input.images[0]"),
    )


async def test_a_test_key_fetches_nothing_of_several_either(visitor: Visitor) -> None:
    """Addresses and words are pretended, uploads are looked at, each in its place."""
    tester = visitor.using(await visitor.new_key(environment="test"))
    asked = {"filename": "a.png", "content_type": "image/png", "size_bytes": 5}
    upload = (await visitor.http.post("/v1/uploads", json=asked, headers=tester)).json()
    task = await merge(visitor, "https://example.com/a.png", upload["id"], "test:ok", **tester)
    assert task["status"] == "waiting"
    await put(visitor, upload)
    assert await look(visitor) == 1
    assert [id_ is None for id_, _ in await given(visitor, task)] == [True, False, True]
    found = (await visitor.http.get(f"/v1/tasks/{task['id']}", headers=tester)).json()
    assert found["status"] == "queued"
    assert await refused(visitor, "test:ok", "test:rate_limited", **tester) == (429, "rate_limited", None)
    assert await refused(visitor, "test:ok", "test:nothing", **tester) == (
        422,
        "test_input",
        "input.images[1]",
    )
    await well(visitor)


# --- going on ---------------------------------------------------------------------------------------------------------


async def test_a_killed_worker_loses_no_place(visitor: Visitor, pass_time: PassTime) -> None:
    """At each source, more often than a task may be tried: what was seen stays seen, and each has tries of its own."""
    uploads = [await visitor.upload(b"bytes") for _ in range(5)]
    task = await merge(visitor, *(upload["id"] for upload in uploads))
    for upload in uploads:
        (dead,) = await fetches(visitor)
        assert to_wire("upload", dead.source_id or new_id()) == upload["id"]
        await pass_time(visitor.resources.settings.tasks.lease_seconds + 1)
        await _lost_leases(_resources(visitor))
        await well(visitor)
        (alive,) = await fetches(visitor)
        assert alive.source_id == dead.source_id
        assert not await visitor.resources.arrivals.arrive(Seen(dead, type="image/png", width=3, height=2))
        assert await visitor.resources.arrivals.arrive(Seen(alive, type="image/png", width=3, height=2))
        await well(visitor)
    assert await status(visitor, task) == "queued"


async def test_a_retry_has_the_same_sources_in_the_same_places(visitor: Visitor) -> None:
    """Wherever the first try was when it ended; addresses are fetched again."""
    upload, url = await visitor.upload(b"bytes"), "https://example.com/a.png"
    task = await merge(visitor, upload["id"], url, upload["id"])
    assert (await visitor.http.post(f"/v1/tasks/{task['id']}/cancel")).status_code == 200
    again = (await visitor.http.post(f"/v1/tasks/{task['id']}/retry")).json()
    before, after = await given(visitor, task), await given(visitor, again)
    assert (after[0], after[2]) == (before[0], before[2])
    assert (after[1][0] != before[1][0], after[1][1]) == (True, url)
    assert await look(visitor) == 2
    assert await status(visitor, again) == "queued"
    await well(visitor)


async def test_what_a_task_fetched_goes_with_it_and_its_rows_too(
    visitor: Visitor, pass_time: PassTime
) -> None:
    """Deleted: the fetched bytes' time is over, the upload stays. After the tombstone, nothing names the sources."""
    upload = await visitor.upload(b"bytes")
    urls = [f"https://example.com/{name}.png" for name in "ab"]
    task = await merge(visitor, urls[0], upload["id"], urls[1])
    async with visitor.resources.db.transaction() as tx:  # as if workers had brought them
        await tx.execute(
            "UPDATE blobs SET object_key = 'aa/' || id, size_bytes = 5, sha256 = '', arrived_at = created_at "
            "WHERE kind = 'fetched'"
        )
        await tx.execute(
            "INSERT INTO objects SELECT object_key, expires_at FROM blobs WHERE kind = 'fetched'"
        )
    await look(visitor)
    await visitor.succeed(b"result")
    receipt = (await visitor.http.delete(f"/v1/tasks/{task['id']}")).json()
    assert receipt["bytes"] == len(b"result") + 2 * 5
    assert (await visitor.http.get(f"/v1/uploads/{upload['id']}")).status_code == 200
    await well(visitor)

    await pass_time(32 * 86_400)
    await _expired_objects(visitor.resources)
    await _tombstones(visitor.resources)
    async with visitor.resources.db.reading() as connection:
        assert await connection.fetchval("SELECT count(*) FROM tasks") == 0
    assert await given(visitor, task) == []
    await well(visitor)


# --- outputs as sources -----------------------------------------------------------------------------------------------


async def test_an_output_may_be_the_source_of_another_task(visitor: Visitor) -> None:
    """By its id or its link, alone or among others, as long as its bytes are there; of this account alone."""
    made = await visitor.submit()
    await visitor.succeed_with(
        (b"picture", {}), (b"{}", {"type": "application/json", "width": None, "height": None})
    )
    picture, data = (await visitor.read(made["id"]))["outputs"]
    assert from_wire("output", picture["id"])

    for image in (picture["id"], picture["url"]):
        task = await visitor.submit(model="upscale", input={"image": image})
        assert task["status"] == "queued", "it is known what it is"
    assert (await merge(visitor, picture["id"], picture["url"]))["status"] == "queued"
    assert await refused(visitor, picture["id"], data["id"]) == (422, "unsupported_format", "input.images[1]")
    stranger = visitor.using(await visitor.new_key(account="somebody-else"))
    tester = visitor.using(await visitor.new_key(environment="test"))
    for other in (stranger, tester):
        assert await refused(visitor, picture["id"], **other) == (422, "upload_not_found", "input.images[0]")
    assert (await visitor.http.delete(f"/v1/tasks/{made['id']}")).status_code == 200
    assert await refused(visitor, picture["id"]) == (422, "upload_expired", "input.images[0]")
    await well(visitor)


def test_sources_are_those_that_the_catalogue_names() -> None:
    """A model says which of its parameters name bytes, and has them."""
    for name in ("upscale", "noop", "noop-sources"):
        model = find_model(name)
        assert model is not None
        assert set(model.sources) <= set(model.parameters.__struct_fields__)


def _resources(visitor: Visitor) -> Any:
    resources = visitor.resources
    return SimpleNamespace(
        db=resources.db, clock=resources.clock, settings=resources.settings, plans=resources.plans
    )
