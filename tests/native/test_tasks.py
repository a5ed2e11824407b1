"""The native API's tasks over HTTP: submitted, read, waited for, listed, cancelled; every member and every status."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import Any

from burnish.errors import STATUS_REASONS
from burnish.ids import new_id, to_wire
from burnish.tasks.task import topic
from native.surface import Visitor, task_uuid
from waiting import until

PassTime = Callable[[float], Awaitable[None]]


def moment(text: str) -> datetime:
    return datetime.fromisoformat(text)


# --- submitting ---------------------------------------------------------------------------------------------------


async def test_202_says_where_the_task_is_and_when_to_look(visitor: Visitor) -> None:
    """A submitted task has a Location that reads it, a Retry-After, and every member it will ever have."""
    reply = await visitor.http.post(
        "/v1/tasks", json={"model": "noop", "input": {}, "metadata": {"order": "1042", "rush": True}}
    )
    task = reply.json()

    assert reply.status_code == 202
    assert reply.headers["location"] == task["urls"]["self"]
    assert int(reply.headers["retry-after"]) >= 1
    assert task["status"] == "queued"
    assert task["metadata"] == {"order": "1042", "rush": True}
    assert task["cost"] == {"held": 0, "charged": 0, "unit": None, "quantity": None, "price_version": None}
    assert (task["progress"], task["outputs"], task["started_at"], task["ended_at"]) == (0.0, [], None, None)
    assert task["urls"]["cancel"] == f"{task['urls']['self']}/cancel"
    read = (await visitor.http.get(reply.headers["location"])).json()
    assert read == task | {"queue_position": 0, "eta_seconds": None}


async def test_a_task_keeps_the_request_that_made_it(visitor: Visitor) -> None:
    """The Request-Id of the reply is in the task's row."""
    reply = await visitor.http.post("/v1/tasks", json={"model": "noop", "input": {}})
    async with visitor.resources.db.reading() as connection:
        kept = await connection.fetchval(
            "SELECT request_id FROM tasks WHERE id = $1", task_uuid(reply.json())
        )
    assert kept == reply.headers["request-id"]


async def test_times_that_a_task_asks_for_are_kept(visitor: Visitor) -> None:
    """`retention_seconds` and `deadline_seconds` are taken as they are given; both have the operator's ceiling."""
    task = await visitor.submit(retention_seconds=120, deadline_seconds=7)
    async with visitor.resources.db.reading() as connection:
        row = await connection.fetchrow(
            "SELECT retention_seconds, deadline_seconds FROM tasks WHERE id = $1", task_uuid(task)
        )
    assert tuple(row) == (120, 7)
    assert (moment(task["expires_at"]) - moment(task["created_at"])).total_seconds() == 120


async def test_a_deadline_is_the_models_unless_the_service_allows_less(visitor: Visitor) -> None:
    """Without `deadline_seconds` the smaller of the model's and the service's applies."""
    task = await visitor.submit()
    async with visitor.resources.db.reading() as connection:
        seconds = await connection.fetchval(
            "SELECT deadline_seconds FROM tasks WHERE id = $1", task_uuid(task)
        )
    assert seconds == min(900, visitor.resources.settings.tasks.deadline_seconds)


WRONG_BODIES: list[tuple[object, str, str | None]] = [
    ({"model": "paint", "input": {}}, "unknown_model", "model"),
    ({"model": "noop"}, "missing_field", "input"),
    ({"input": {}}, "missing_field", "model"),
    ({"model": 7, "input": {}}, "invalid", "model"),
    ({"model": "", "input": {}}, "invalid", "model"),
    ({"model": "noop", "input": {}, "priority": 101}, "invalid", "priority"),
    ({"model": "noop", "input": {}, "callback": {"url": "ftp://example.com"}}, "input_blocked", "callback.url"),
    ({"model": "noop", "input": {}, "callback": {"when": "all"}}, "missing_field", "callback.url"),
    ({"model": "noop", "input": {}, "max_credits": -1}, "invalid", "max_credits"),
    ({"model": "noop", "input": {}, "on_limit": "wait"}, "invalid", "on_limit"),
    ({"model": "noop", "input": {"seconds": "long"}}, "invalid", "input.seconds"),
    ({"model": "noop", "input": {"seconds": -1}}, "invalid", "input.seconds"),
    ({"model": "noop", "input": []}, "invalid", "input"),
    ({"model": "noop", "input": None}, "invalid", "input"),
    ({"model": "upscale", "input": {"image": "https://example.com/a.png", "scale": 3}}, "invalid", "input.scale"),
    ({"model": "upscale", "input": {"image": ""}}, "invalid", "input.image"),
    ({"model": "upscale", "input": {"image": "photo.jpg"}}, "upload_not_found", "input.image"),
    ({"model": "noop", "input": {}, "metadata": {"b": 1, "a": [1]}}, "invalid", "metadata.a"),
    ({"model": "noop", "input": {}, "metadata": {"a": "x" * 501}}, "invalid", "metadata.a"),
    ({"model": "noop", "input": {}, "metadata": {"a": 1 << 63}}, "invalid", "metadata.a"),
    ({"model": "noop", "input": {}, "metadata": {"a": -(1 << 70)}}, "invalid", "metadata.a"),
    ({"model": "noop", "input": {}, "metadata": {str(n): "x" * 499 for n in range(20)}}, "invalid", "metadata"),
    ({"model": "noop", "input": {}, "metadata": {"a": "x\0y"}}, "invalid", "metadata.a"),
    ({"model": "noop", "input": {}, "metadata": {str(n): n for n in range(51)}}, "invalid", "metadata"),
    ({"model": "noop", "input": {}, "retention_seconds": 1}, "invalid", "retention_seconds"),
    ({"model": "noop", "input": {}, "retention_seconds": 10**9}, "invalid", "retention_seconds"),
    ({"model": "noop", "input": {}, "deadline_seconds": 0}, "invalid", "deadline_seconds"),
    ({"model": "noop", "input": {}, "deadline_seconds": 10**9}, "invalid", "deadline_seconds"),
    ({"model": "noop", "input": {}, "deadline_seconds": 1.5}, "invalid", "deadline_seconds"),
    ([], "invalid", None),
]  # fmt: skip


async def test_422_names_the_field(visitor: Visitor) -> None:
    """Readable JSON with a wrong field is refused with a stable code and the field's path; nothing is stored."""
    for body, code, param in WRONG_BODIES:
        reply = await visitor.http.post("/v1/tasks", json=body)
        error = reply.json()["error"]
        assert (reply.status_code, error["code"], error["param"]) == (422, code, param), body
        assert error["retryable"] is False
    assert (await visitor.http.get("/v1/tasks")).json()["data"] == []


async def test_an_address_that_is_not_public_is_refused_at_once(visitor: Visitor) -> None:
    """The guard judges an input's URL before the task is admitted."""
    for address in (
        "http://10.0.0.8/a.png",
        "http://169.254.169.254/latest/meta-data",
        "http://[::1]/a.png",
        "ftp://example.com/a.png",
        "http://someone:secret@example.com/a.png",
    ):
        reply = await visitor.http.post("/v1/tasks", json={"model": "upscale", "input": {"image": address}})
        error = reply.json()["error"]
        assert (reply.status_code, error["code"], error["param"]) == (422, "input_blocked", "input.image")
        assert "secret" not in reply.text


async def test_a_public_address_waits_to_be_fetched(visitor: Visitor) -> None:
    """A task on a URL is `waiting` until its bytes have been seen."""
    task = await visitor.submit(model="upscale", input={"image": "https://example.com/photo.jpg"})
    assert task["status"] == "waiting"


# --- reading ------------------------------------------------------------------------------------------------------


async def test_a_task_is_told_through_all_its_states(visitor: Visitor) -> None:
    """waiting, queued, running with stage and progress, succeeded with its output: as its owner reads them."""
    upload = await visitor.upload(b"a picture")
    task_id = (await visitor.submit(model="upscale", input={"image": upload["id"]}))["id"]
    assert (await visitor.read(task_id))["status"] == "waiting"

    assert await visitor.arrive()
    assert (await visitor.read(task_id))["status"] == "queued"

    await visitor.succeed(b"a larger picture", notes={"metadata": "kept"})
    task = await visitor.read(task_id)
    (output,) = task["outputs"]
    assert (task["status"], task["progress"], task["stage"]) == ("succeeded", 1.0, None)
    assert moment(task["created_at"]) <= moment(task["started_at"]) <= moment(task["ended_at"])
    assert (output["type"], output["width"], output["height"], output["size_bytes"]) == (
        "image/png",
        6,
        4,
        16,
    )
    assert output["notes"] == {"metadata": "kept"}
    assert output["expires_at"] == task["expires_at"]
    assert (
        await visitor.http.get(output["url"], headers={"Authorization": ""})
    ).content == b"a larger picture"


async def test_a_task_may_end_with_data_with_a_film_and_with_more_than_one_thing(visitor: Visitor) -> None:
    """Data has no size in pixels, a film has a length and a rate, a mask says what it is; each is served as its type."""
    task_id = (await visitor.submit())["id"]
    picture: dict[str, Any] = {"role": None, "width": 6, "height": 4, "seconds": None, "frame_rate": None}
    mask: dict[str, Any] = {"role": "mask"}
    data = {"type": "application/json", "width": None, "height": None, "data": {"nudity": 0.25}}
    film = {"type": "video/mp4", "seconds": 2.5, "frame_rate": 29.97}
    await visitor.succeed_with((b"cutout", {}), (b"mask", mask), (b'{"nudity":0.25}', data), (b"film", film))

    outputs = (await visitor.read(task_id))["outputs"]
    for output, told in zip(outputs, [picture, mask, data, film], strict=True):
        assert {name: output[name] for name in picture} == {name: (picture | told)[name] for name in picture}
    served = [await visitor.http.get(output["url"], headers={"Authorization": ""}) for output in outputs]
    assert [reply.content for reply in served] == [b"cutout", b"mask", b'{"nudity":0.25}', b"film"]
    assert [reply.headers["content-type"] for reply in served] == [
        *("image/png", "image/png", "application/json", "video/mp4")
    ]
    assert served[2].headers["content-disposition"].startswith("attachment")
    assert outputs[2]["data"] == {"nudity": 0.25}


async def test_a_running_task_shows_its_progress(visitor: Visitor) -> None:
    """What the worker renews with, its owner reads."""
    task_id = (await visitor.submit())["id"]
    claimed = await visitor.claim()
    async with visitor.resources.db.transaction() as tx:
        await tx.execute("UPDATE tasks SET stage = 'working', progress = 0.3 WHERE id = $1", claimed.id)
    task = await visitor.read(task_id)
    assert (task["status"], task["stage"], task["progress"]) == ("running", "working", 0.3)
    assert task["started_at"] is not None


async def test_a_failed_task_says_why(visitor: Visitor) -> None:
    """The reason, a sentence, and whether the same request may succeed later."""
    for reason in STATUS_REASONS.keys() - {"cancelled_by_user"}:
        task_id = (await visitor.submit())["id"]
        await visitor.end(reason, "What happened.")
        task = await visitor.read(task_id)
        assert (task["status"], task["status_reason"], task["status_message"]) == (
            "failed",
            reason,
            "What happened.",
        )
        assert task["retryable"] is STATUS_REASONS[reason]
        assert task["outputs"] == []


async def test_404_for_what_is_not_there_or_somebody_elses(visitor: Visitor) -> None:
    """Another account's task, another environment's task, an unknown id and no id at all look the same."""
    task_id = (await visitor.submit())["id"]
    stranger = visitor.using(await visitor.new_key(account="somebody-else"))
    tester = visitor.using(await visitor.new_key(environment="test"))
    for headers, name in (
        (stranger, task_id),
        (tester, task_id),
        ({}, to_wire("task", new_id())),
        ({}, task_id.replace("task_", "upload_")),
        ({}, "task_%00"),
        ({}, "%E2%82%AC"),
    ):
        for method, path in (("GET", f"/v1/tasks/{name}"), ("POST", f"/v1/tasks/{name}/cancel")):
            reply = await visitor.http.request(method, path, headers=headers)
            assert (reply.status_code, reply.json()["error"]["code"]) == (404, "not_found")


async def test_a_plain_uuid_is_taken_as_an_id(visitor: Visitor) -> None:
    """The id may be given as its plain UUID."""
    task = await visitor.submit()
    assert (await visitor.read(str(task_uuid(task))))["id"] == task["id"]


async def test_410_when_a_task_has_expired(visitor: Visitor, pass_time: PassTime) -> None:
    """After its retention a task answers 410, not 404."""
    task_id = (await visitor.submit(retention_seconds=60))["id"]
    await visitor.end()
    await pass_time(61)
    reply = await visitor.http.get(f"/v1/tasks/{task_id}")
    assert (reply.status_code, reply.json()["error"]["code"]) == (410, "expired")


# --- waiting ------------------------------------------------------------------------------------------------------


async def until_somebody_waits(visitor: Visitor, task: dict[str, Any]) -> None:
    news = visitor.resources.db.news
    await until(lambda: topic(task_uuid(task)) in news._subscribers)


async def test_a_waiting_reader_is_told_of_the_end(visitor: Visitor) -> None:
    """`?wait=` answers as soon as the task has ended."""
    task = await visitor.submit()
    reading = asyncio.create_task(visitor.http.get(f"/v1/tasks/{task['id']}?wait=60"))
    await until_somebody_waits(visitor, task)
    await visitor.end()
    assert (await reading).json()["status"] == "succeeded"


async def test_a_waiting_reader_gets_the_task_as_it_stands(visitor: Visitor) -> None:
    """When the time is over before the task is, the reply is the task as it is."""
    task = await visitor.submit()
    reply = await visitor.http.get(f"/v1/tasks/{task['id']}?wait=1")
    assert (reply.status_code, reply.json()["status"]) == (200, "queued")
    assert int(reply.headers["retry-after"]) >= 1


async def test_a_submission_may_wait_for_its_end(visitor: Visitor) -> None:
    """With `Prefer: wait=n` the reply is 200 with the ended task."""
    submitting = asyncio.create_task(
        visitor.http.post(
            "/v1/tasks", json={"model": "noop", "input": {}}, headers={"Prefer": "respond-async, wait=60"}
        )
    )
    await until(lambda: any(name.startswith("t:") for name in visitor.resources.db.news._subscribers))
    await visitor.end()
    reply = await submitting
    assert (reply.status_code, reply.json()["status"]) == (200, "succeeded")
    assert reply.headers["location"] == reply.json()["urls"]["self"]
    assert "retry-after" not in reply.headers


async def test_a_submission_that_waited_in_vain_is_admitted(visitor: Visitor) -> None:
    """When the task does not end in time the reply is the usual 202."""
    reply = await visitor.http.post(
        "/v1/tasks", json={"model": "noop", "input": {}}, headers={"Prefer": "wait=1"}
    )
    assert (reply.status_code, reply.json()["status"]) == (202, "queued")


async def test_preferences_are_read_as_rfc_7240_has_them(visitor: Visitor) -> None:
    """In any case, quoted, among others and capped; what only looks like one is none. The reply says what was applied."""
    body = {"model": "noop", "input": {}}
    for preference, applied in (
        ("WAIT=1", "wait=1"),
        ('wait="1"', "wait=1"),
        ("respond-async; x=2 , Wait = 01 ; y", "wait=1"),
        ("foo; wait=5", None),
        ('foo="a, wait=5"', None),
        ("wait", None),
        ("wait=0", None),
        ("wait=soon", None),
        ("waits=5, await=5", None),
    ):
        reply = await visitor.http.post("/v1/tasks", json=body, headers={"Prefer": preference})
        assert reply.status_code == 202
        assert reply.headers.get("preference-applied") == applied, preference
    waiting = asyncio.create_task(
        visitor.http.post(
            "/v1/tasks", json=body, headers=[("Prefer", "foo"), ("Prefer", f"wait={'9' * 5000}")]
        )
    )
    await until(lambda: any(name.startswith("t:") for name in visitor.resources.db.news._subscribers))
    for _ in range(10):
        await visitor.end()
    assert (await waiting).headers["preference-applied"] == "wait=60"


async def test_an_admitted_task_is_never_a_503(visitor: Visitor) -> None:
    """Where the task cannot be read while it is waited for, the reply is the task as it was admitted."""
    db = visitor.resources.db
    submitting = asyncio.create_task(
        visitor.http.post("/v1/tasks", json={"model": "noop", "input": {}}, headers={"Prefer": "wait=30"})
    )
    await until(lambda: any(name.startswith("t:") for name in db.news._subscribers))
    db._durable.terminate()
    db.news._heard(list(db.news._subscribers))
    reply = await submitting
    assert (reply.status_code, reply.json()["status"]) == (202, "queued")


async def test_422_says_what_is_allowed(visitor: Visitor) -> None:
    """A word that is none of a list is answered with the list, in bodies and queries."""
    for input_, words in (
        ({"image": "https://example.com/a.png", "scale": 3}, "it must be 1, 2, 4, 6 or 8"),
        ({"image": "https://example.com/a.png", "format": "gif"}, "it must be jpeg, png, webp, avif or tiff"),
    ):
        reply = await visitor.http.post("/v1/tasks", json={"model": "upscale", "input": input_})
        assert words in reply.json()["error"]["message"]
    reply = await visitor.http.get("/v1/tasks?status=done")
    assert "waiting, queued, running, succeeded, failed or cancelled" in reply.json()["error"]["message"]


async def test_422_for_a_wait_that_cannot_be(visitor: Visitor) -> None:
    """A query that means nothing is refused by name rather than ignored."""
    task = await visitor.submit()
    for query in ("wait=61", "wait=-1", "wait=soon", "wait=", "delay=5", "wait=1e9", "wait=1&x=%00"):
        reply = await visitor.http.get(f"/v1/tasks/{task['id']}?{query}")
        assert reply.status_code == 422, query
        assert reply.json()["error"]["param"] in {"wait", "delay", "x"}


# --- listing ------------------------------------------------------------------------------------------------------


async def test_pages_hold_every_task_once_newest_first(visitor: Visitor) -> None:
    """Following the Link header, or `next`, visits all tasks of the account once, newest first."""
    made = [(await visitor.submit())["id"] for _ in range(5)]
    seen: list[str] = []
    url: str | None = "/v1/tasks?limit=2&model=noop"
    while url:
        reply = await visitor.http.get(url)
        page = reply.json()
        seen += [task["id"] for task in page["data"]]
        url = reply.links["next"]["url"] if page["has_more"] else None
        assert page["next"] == (seen[-1] if page["has_more"] else None)
        assert ("next" in reply.links) is page["has_more"]
    assert seen == sorted(made, reverse=True)


async def test_lists_are_narrowed(visitor: Visitor) -> None:
    """By status, by model, by time; other environments and accounts are not in them."""
    done = await visitor.submit()
    await visitor.end()
    waiting = await visitor.submit(model="upscale", input={"image": "https://example.com/photo.jpg"})
    other = visitor.using(await visitor.new_key(environment="dev"))
    await visitor.http.post("/v1/tasks", json={"model": "noop", "input": {}}, headers=other)

    async def ids(**query: str) -> list[str]:
        return [task["id"] for task in (await visitor.http.get("/v1/tasks", params=query)).json()["data"]]

    assert await ids() == [waiting["id"], done["id"]]
    assert await ids(status="succeeded") == [done["id"]]
    assert await ids(model="upscale") == [waiting["id"]]
    assert await ids(created_after=done["created_at"]) == [waiting["id"]]
    assert await ids(created_after="2026-01-01T00:00:00+02:00", status="failed") == []


async def test_422_for_a_query_that_means_nothing(visitor: Visitor) -> None:
    """A wrong or unknown parameter is named; a typing error never shows all tasks instead of some.

    A time zone that carries a moment out of the calendar is one of them, and no fault of ours.
    """
    for query, param in (
        ("limit=0", "limit"),
        ("limit=101", "limit"),
        ("limit=all", "limit"),
        ("after=task_1", "after"),
        ("status=done", "status"),
        ("created_after=yesterday", "created_after"),
        ("created_after=2026-01-01T00:00:00", "created_after"),
        ("created_after=0001-01-01T00:00:00%2B14:00", "created_after"),
        ("created_after=9999-12-31T23:59:59-14:00", "created_after"),
        ("stauts=failed", "stauts"),
        ("model=%00", "model"),
    ):
        reply = await visitor.http.get(f"/v1/tasks?{query}")
        assert (reply.status_code, reply.json()["error"]["param"]) == (422, param), query
    assert (await visitor.http.get("/v1/tasks?created_after=0001-01-01T00:00:00Z")).status_code == 200


# --- cancelling ---------------------------------------------------------------------------------------------------


async def test_cancelling_is_idempotent(visitor: Visitor) -> None:
    """A cancelled task says so, and says the same when it is cancelled again."""
    task = await visitor.submit()
    first = await visitor.http.post(task["urls"]["cancel"])
    second = await visitor.http.post(task["urls"]["cancel"], json={})
    assert (first.status_code, second.status_code) == (200, 200)
    assert (first.json()["status"], first.json()["status_reason"]) == ("cancelled", "cancelled_by_user")
    assert second.json() == first.json()


async def test_a_running_task_is_cancelled_under_its_worker(visitor: Visitor) -> None:
    """The worker that has it can end it no more."""
    task = await visitor.submit()
    claimed = await visitor.claim()
    assert (await visitor.http.post(task["urls"]["cancel"])).json()["status"] == "cancelled"
    async with visitor.resources.db.reading() as connection:
        leased = await connection.fetchval("SELECT leased_until FROM tasks WHERE id = $1", claimed.id)
    assert leased is None


async def test_an_ended_task_stays_as_it_is(visitor: Visitor) -> None:
    """Cancelling what has succeeded changes nothing and is no error."""
    task = await visitor.submit()
    await visitor.end()
    reply = await visitor.http.post(task["urls"]["cancel"])
    assert (reply.status_code, reply.json()["status"]) == (200, "succeeded")
