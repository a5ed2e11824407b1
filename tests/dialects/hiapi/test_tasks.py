"""Tasks in HiAPI's words: submitted, read, listed, field by field."""

import asyncio
import dataclasses
import re
from collections.abc import Awaitable, Callable
from typing import Any

import httpx
import pytest

from burnish.settings import Settings
from burnish.tasks import lease, store
from burnish.tasks.audit import audit
from burnish.tasks.task import HEAVY, LIGHT
from native.surface import Visitor, visit

ID = re.compile(r"tk-hiapi-[0-9A-HJKMNP-TV-Z]{26}")


async def create(http: httpx.AsyncClient, **body: Any) -> str:
    reply = await http.post("/v1/tasks", json={"model": "noop", "input": {}} | body)
    assert reply.status_code == 200, reply.text
    task_id: str = reply.json()["data"]["taskId"]
    return task_id


async def detail(http: httpx.AsyncClient, task_id: str) -> dict[str, Any]:
    reply = await http.get(f"/v1/tasks/{task_id}")
    assert reply.status_code == 200, reply.text
    envelope = reply.json()
    assert envelope.keys() == {"code", "message", "data"}
    assert (envelope["code"], envelope["message"]) == (200, "success")
    data: dict[str, Any] = envelope["data"]
    return data


async def test_created_as_documented(hiapi: httpx.AsyncClient) -> None:
    """200, the envelope, and an id of `tk-hiapi-` and 26 characters; nothing else."""
    reply = await hiapi.post("/v1/tasks", json={"model": "noop", "input": {}, "storage": "temp", "other": 1})
    assert reply.status_code == 200
    body = reply.json()
    assert body.keys() == {"code", "message", "data"}
    assert (body["code"], body["message"]) == (200, "success")
    assert body["data"].keys() == {"taskId"}
    assert ID.fullmatch(body["data"]["taskId"])
    assert len(body["data"]["taskId"]) == 35
    assert "idempotent-replay" not in reply.headers


async def test_statuses_and_moments(visitor: Visitor, hiapi: httpx.AsyncClient) -> None:
    """queued, handling, archiving, success; `completed` is 0 until the end; moments are whole seconds."""
    task_id = await create(hiapi)
    queued = await detail(hiapi, task_id)
    assert queued == {
        "taskId": task_id, "model": "noop", "status": "queued", "created": queued["created"], "completed": 0,
        "storage": "temp",
    }  # fmt: skip
    assert isinstance(queued["created"], int)
    claimed = await visitor.claim()
    assert (await detail(hiapi, task_id))["status"] == "handling"
    async with visitor.resources.db.transaction() as tx:
        await tx.execute("UPDATE tasks SET stage = 'storing' WHERE id = $1", claimed.id)
    assert (await detail(hiapi, task_id))["status"] == "archiving"


async def test_success_has_outputs_with_links_that_open(visitor: Visitor, hiapi: httpx.AsyncClient) -> None:
    """`output` is an array of url, type and expireAt; the link ends in the file's extension and gives the bytes."""
    task_id = await create(hiapi)
    await visitor.succeed_with(
        (b"film", {"filename": "a.mp4", "type": "video/mp4"}),
        (b"last", {"filename": "a-last_frame.png", "role": "last_frame"}),
        (b"mask", {"filename": "a-mask.png", "role": "mask"}),
    )
    task = await detail(hiapi, task_id)
    assert task["status"] == "success"
    assert isinstance(task["completed"], int)
    assert task["completed"] >= task["created"]
    assert "error" not in task
    assert [output.keys() for output in task["output"]] == [{"url", "type", "expireAt"}] * 3
    assert [output["type"] for output in task["output"]] == ["video", "last_frame", "image"]
    assert all(isinstance(output["expireAt"], int) for output in task["output"])
    assert task["output"][0]["expireAt"] == task["completed"] + 604_800
    assert ".mp4?" in task["output"][0]["url"]
    file = await visitor.http.get(task["output"][0]["url"])
    assert (file.content, file.headers["content-type"]) == (b"film", "video/mp4")
    assert file.headers["content-length"] == "4"


@pytest.mark.parametrize(
    ("reason", "code"),
    [
        ("engine_refused", "TASK_FAILED"),
        ("decode_failed", "TASK_FAILED"),
        ("deadline_exceeded", "TASK_TIMEOUT"),
    ],
)
async def test_failure_has_an_error(
    visitor: Visitor, hiapi: httpx.AsyncClient, reason: str, code: str
) -> None:
    """`error` with code and message, HTTP 200; no `output`."""
    task_id = await create(hiapi)
    await visitor.end(reason, "It could not be done.")
    task = await detail(hiapi, task_id)
    assert (task["status"], "output" in task) == ("fail", False)
    assert task["error"] == {"code": code, "message": f"It could not be done. ({reason})"}
    assert task["completed"] > 0


async def test_a_cancelled_task_is_a_failed_one(visitor: Visitor, hiapi: httpx.AsyncClient) -> None:
    """Cancelled through the native API, it is told as failed: there is no other word."""
    task_id = await create(hiapi)
    native = "task_" + task_id.removeprefix("tk-hiapi-").lower()
    assert (await visitor.http.post(f"/v1/tasks/{native}/cancel")).status_code == 200
    task = await detail(hiapi, task_id)
    assert (task["status"], task["error"]["code"]) == ("fail", "TASK_FAILED")
    assert "cancelled" in task["error"]["message"]


async def test_another_accounts_task_is_not_found(visitor: Visitor, hiapi: httpx.AsyncClient) -> None:
    """404 for what is another's, of another environment, or no id at all."""
    task_id = await create(hiapi)
    strangers = [await visitor.new_key(account="stranger"), await visitor.new_key(environment="test")]
    for secret in strangers:
        reply = await hiapi.get(f"/v1/tasks/{task_id}", headers=visitor.using(secret))
        assert (reply.status_code, reply.json()["error_code"]) == (404, "NOT_FOUND")
    for unknown in ("tk-hiapi-abc123", task_id[:-1], "x", "tk-hiapi-" + "0" * 26):
        reply = await hiapi.get(f"/v1/tasks/{unknown}")
        assert (reply.status_code, reply.json()["code"]) == (404, 404)


# --- idempotency ----------------------------------------------------------------------------------------------------


async def test_the_same_request_again_is_the_first_task(hiapi: httpx.AsyncClient) -> None:
    """The same key and body: the same id, and `Idempotent-Replay: true`; another body is 422."""
    key = {"Idempotency-Key": "order-8472:video"}
    body = {"model": "noop", "input": {}}
    first = await hiapi.post("/v1/tasks", json=body, headers=key)
    again = await hiapi.post("/v1/tasks", json=body, headers=key)
    assert again.json() == first.json()
    assert again.headers["idempotent-replay"] == "true"
    assert "idempotent-replay" not in first.headers
    other = await hiapi.post("/v1/tasks", json=body | {"route": ""}, headers=key)
    assert (other.status_code, other.json()["error_code"]) == (422, "IDEMPOTENCY_KEY_MISMATCH")
    long = await hiapi.post("/v1/tasks", json=body, headers={"Idempotency-Key": "k" * 256})
    assert (long.status_code, long.json()["error_code"]) == (400, "INVALID_REQUEST")


async def test_both_roots_share_idempotency_keys(settings: Settings) -> None:
    """Below its prefix and at its own host it is one API; the native one beside it is another."""
    hosted = dataclasses.replace(settings.dialects, hiapi_host="hiapi.example.com")
    async with visit(dataclasses.replace(settings, dialects=hosted)) as visitor:
        transport = httpx.ASGITransport(visitor.app)
        headers = visitor.using(visitor.secret) | {"Idempotency-Key": "one"}
        body = {"model": "noop", "input": {}}
        urls = (f"{settings.public_url}/hiapi/v1/tasks", "http://hiapi.example.com/v1/tasks")
        async with httpx.AsyncClient(transport=transport, headers=headers) as http:
            native = await http.post(f"{settings.public_url}/v1/tasks", json=body)
            first, again = [await http.post(url, json=body) for url in urls]
    assert native.status_code == 202
    assert (first.json(), again.headers["idempotent-replay"]) == (again.json(), "true")
    assert "idempotent-replay" not in first.headers


async def test_while_the_first_is_decided_the_second_is_told_to_wait(
    visitor: Visitor, hiapi: httpx.AsyncClient
) -> None:
    """409 with Retry-After while the same key is in flight."""
    key = {"Idempotency-Key": "one"}
    async with visitor.resources.db.transaction() as tx:
        await store.lock_accounts(tx, [visitor.account_id])
        replies = await asyncio.gather(
            *(hiapi.post("/v1/tasks", json={"model": "noop", "input": {}}, headers=key) for _ in range(3))
        )
    told = [reply for reply in replies if reply.status_code == 409]
    assert told
    for reply in told:
        assert reply.json()["error_code"] == "IDEMPOTENCY_KEY_PROCESSING"
        assert int(reply.headers["retry-after"]) >= 1


# --- lists ----------------------------------------------------------------------------------------------------------


async def test_lists_are_pages_newest_first(visitor: Visitor, hiapi: httpx.AsyncClient) -> None:
    """page, size and total; those of other surfaces and other accounts are not among them."""
    made = [await create(hiapi) for _ in range(5)]
    await visitor.submit()
    stranger = await visitor.new_key(account="stranger")
    await hiapi.post("/v1/tasks", json={"model": "noop", "input": {}}, headers=visitor.using(stranger))
    first = (await hiapi.get("/v1/tasks?page=1&size=2")).json()["data"]
    assert first.keys() == {"tasks", "page", "size", "total"}
    assert (first["page"], first["size"], first["total"]) == (1, 2, 5)
    assert [task["taskId"] for task in first["tasks"]] == made[:2:-1]
    assert first["tasks"][0] == await detail(hiapi, made[-1])
    last = (await hiapi.get("/v1/tasks?page=3&size=2")).json()["data"]
    assert [task["taskId"] for task in last["tasks"]] == made[:1]
    beyond = (await hiapi.get("/v1/tasks?page=9&size=2")).json()["data"]
    assert (beyond["tasks"], beyond["total"]) == ([], 5)
    usual = (await hiapi.get("/v1/tasks")).json()["data"]
    assert (usual["page"], usual["size"], len(usual["tasks"])) == (1, 20, 5)


@pytest.mark.parametrize("query", ["page=0", "page=1001", "size=0", "size=101", "size=x"])
async def test_pages_are_bounded(hiapi: httpx.AsyncClient, query: str) -> None:
    """A page or a size that there cannot be is 400, which names it."""
    reply = await hiapi.get(f"/v1/tasks?{query}")
    assert (reply.status_code, reply.json()["error_code"]) == (400, "INVALID_REQUEST")
    assert reply.json()["message"].startswith(query.partition("=")[0])


async def test_total_is_right_after_whatever_happened(visitor: Visitor, hiapi: httpx.AsyncClient) -> None:
    """Refused requests and replays are not counted, many at once are, those that are forgotten are no more."""
    key = {"Idempotency-Key": "one"}
    body = {"model": "noop", "input": {}}
    await asyncio.gather(*(create(hiapi) for _ in range(10)))
    for _ in range(3):
        await hiapi.post("/v1/tasks", json=body, headers=key)
    assert (await hiapi.post("/v1/tasks", json=body | {"model": "nothing"})).status_code == 400
    await visitor.end("engine_refused", "No.")
    assert (await hiapi.get("/v1/tasks?size=1")).json()["data"]["total"] == 11
    assert await audit(visitor.resources.db, visitor.resources.plans) == []
    now = visitor.resources.clock.now()
    async with visitor.resources.db.transaction() as tx:
        await tx.execute("UPDATE tasks SET expires_at = created_at WHERE ended_at IS NOT NULL")
        assert await store.forget(tx, now, 100) == 1
    page = (await hiapi.get("/v1/tasks")).json()["data"]
    assert (page["total"], len(page["tasks"])) == (10, 10)
    assert await audit(visitor.resources.db, visitor.resources.plans) == []
    async with visitor.resources.db.transaction() as tx:
        await tx.execute("UPDATE windows SET used = used + 1 WHERE name = 'made'")
    (found,) = await audit(visitor.resources.db, visitor.resources.plans)
    assert "says 11 of made live hiapi" in found


async def test_after_seven_days_the_bytes_are_gone_and_the_task_still_tells(
    visitor: Visitor, hiapi: httpx.AsyncClient, pass_time: Callable[[float], Awaitable[None]]
) -> None:
    """`expireAt` lies in the past, the link answers 410; a month later the task is not found."""
    task_id = await create(hiapi)
    await visitor.succeed(b"bytes")
    await pass_time(7 * 86_400 + 1)
    task = await detail(hiapi, task_id)
    assert task["output"][0]["expireAt"] < visitor.resources.clock.now().timestamp()
    assert (await visitor.http.get(task["output"][0]["url"])).status_code == 410
    await pass_time(31 * 86_400)
    async with visitor.resources.db.transaction() as tx:
        await store.forget(tx, visitor.resources.clock.now(), 100)
    assert (await hiapi.get(f"/v1/tasks/{task_id}")).status_code == 404


# --- models, routes, inputs -----------------------------------------------------------------------------------------


async def test_models_that_nothing_serves_are_unavailable(hiapi: httpx.AsyncClient) -> None:
    """400 MODEL_UNAVAILABLE to live keys, for those of the table as for those that there are not."""
    asked: dict[str, Any] = {"model": "seedance-2-0", "input": {"prompt": "a lake at dawn"}}
    for body in (asked, asked | {"model": "sora-9"}):
        reply = await hiapi.post("/v1/tasks", json=body)
        assert (reply.status_code, reply.json()["error_code"]) == (400, "MODEL_UNAVAILABLE")
        assert reply.json() == {
            "code": 400, "message": reply.json()["message"], "data": None, "error_code": "MODEL_UNAVAILABLE",
        }  # fmt: skip


async def test_own_models_are_called_by_their_names(visitor: Visitor, hiapi: httpx.AsyncClient) -> None:
    """`upscale` with its own input; what is wrong with it is named."""
    upload = await visitor.upload(b"x" * 10)
    task_id = await create(hiapi, model="upscale", input={"image": upload["id"], "scale": 4})
    native = "task_" + task_id.removeprefix("tk-hiapi-").lower()
    assert (await visitor.read(native))["model"] == "upscale"
    assert (await detail(hiapi, task_id))["model"] == "upscale"
    reply = await hiapi.post(
        "/v1/tasks", json={"model": "upscale", "input": {"image": upload["id"], "scale": 3}}
    )
    assert (reply.status_code, reply.json()["error_code"]) == (400, "INVALID_REQUEST")
    assert reply.json()["message"].startswith("input.scale")


@pytest.mark.parametrize(
    ("asked", "model", "route"),
    [
        ({"model": "gpt-image-2/text-to-image"}, "gpt-image-2/text-to-image", None),
        ({"model": "gpt-image-2/text-to-image", "route": ""}, "gpt-image-2/text-to-image", None),
        ({"model": "gpt-image-2/text-to-image", "route": "default"}, "gpt-image-2/text-to-image", None),
        ({"model": "gpt-image-2/text-to-image", "route": "pro"}, "gpt-image-2/text-to-image@pro", "pro"),
        ({"model": "gpt-image-2/text-to-image@ext"}, "gpt-image-2/text-to-image@ext", None),
        (
            {"model": "gpt-image-2/text-to-image@beta", "route": "beta"},
            "gpt-image-2/text-to-image@beta",
            "beta",
        ),
    ],
)
async def test_routes_are_echoed(
    visitor: Visitor, hiapi: httpx.AsyncClient, asked: dict[str, str], model: str, route: str | None
) -> None:
    """Asked for beside the model, `route` and the full name are told; in the name alone, the full name."""
    hiapi.headers.update(visitor.using(await visitor.new_key(environment="test")))
    task = await detail(hiapi, await create(hiapi, input={"prompt": "a lake"}, **asked))
    assert (task["model"], task.get("route")) == (model, route)


async def test_an_unknown_route_is_400_and_lists_what_there_is(hiapi: httpx.AsyncClient) -> None:
    """Of a model with routes, of one without, of two that differ."""
    asked: dict[str, Any] = {"model": "gpt-image-2/text-to-image", "input": {"prompt": "a lake"}}
    for body, words in (
        (asked | {"route": "x"}, "default, pro, ext, beta"),
        (asked | {"model": "noop@pro"}, "default."),
        (asked | {"model": "gpt-image-2/text-to-image@ext", "route": "pro"}, "@ext"),
    ):
        reply = await hiapi.post("/v1/tasks", json=body)
        assert (reply.status_code, reply.json()["error_code"]) == (400, "INVALID_REQUEST")
        assert words in reply.json()["message"]


@pytest.mark.parametrize("field", ["callback", "callback_url", "callBackUrl", "webhook", "webhook_url"])
async def test_callbacks_inside_the_input_are_refused(hiapi: httpx.AsyncClient, field: str) -> None:
    """400, which says where they belong."""
    reply = await hiapi.post(
        "/v1/tasks", json={"model": "noop", "input": {field: "https://example.com/hook"}}
    )
    assert (reply.status_code, reply.json()["error_code"]) == (400, "INVALID_REQUEST")
    assert reply.json()["message"].startswith(f"input.{field}")


URL = "https://example.com/a.png"


@pytest.mark.parametrize(
    ("model", "input_", "field"),
    [
        ("gpt-image-2.5-flare", {}, "prompt"),
        ("gpt-image-2.5-flare", {"prompt": "p" * 32_001}, "prompt"),
        ("gpt-image-2.5-sunburst", {"prompt": "p", "image_urls": [URL] * 17}, "image_urls"),
        ("seedream-5.0-pro/text-to-image", {"prompt": "abc"}, "prompt"),
        ("seedream-5.0-pro/text-to-image", {"prompt": "p" * 5_001}, "prompt"),
        ("seedream-5.0-pro/text-to-image", {"prompt": "four", "quality": "best"}, "quality"),
        ("seedream-5.0-pro/text-to-image", {"prompt": "four", "output_format": "webp"}, "output_format"),
        ("seedream-5.0-pro/image-to-image", {"prompt": "four"}, "image_urls"),
        ("seedream-5.0-pro/image-to-image", {"prompt": "four", "image_urls": [URL] * 11}, "image_urls"),
        ("gpt-image-2/text-to-image", {"prompt": "p", "resolution": "8K"}, "resolution"),
        ("gpt-image-2/image-to-image", {"prompt": "p", "input_urls": []}, "input_urls"),
        ("gpt-image-2/image-to-image", {"prompt": "p", "input_urls": [URL] * 6}, "input_urls"),
        ("gpt-image-2/image-to-image", {"prompt": "p", "input_urls": ["ftp://example.com"]}, "input_urls"),
        ("seedance-2.0", {"prompt": "p", "duration": 3}, "duration"),
        ("seedance-2.0-fast", {"prompt": "p", "duration": 16}, "duration"),
        ("seedance-2-0", {}, "prompt"),
        ("seedance-2-0", {"prompt": "p", "reference_image_urls": [URL] * 10}, "reference_image_urls"),
        ("seedance-2-0", {"prompt": "p", "reference_video_urls": [URL] * 4}, "reference_video_urls"),
        ("seedance-2-0", {"prompt": "p", "reference_audio_urls": [URL] * 4}, "reference_audio_urls"),
        ("kling-3.0-omni/text-to-video", {"prompt": "p", "duration": 2}, "duration"),
        ("kling-3.0-omni/image-to-video", {"prompt": "p"}, "image_urls"),
        ("Nano-Banana", {"prompt": "p", "aspect_ratio": "wide"}, "aspect_ratio"),
        ("happyhorse-1-0", {"prompt": "p", "resolution": "12p"}, "resolution"),
    ],
)
async def test_inputs_have_the_vendors_bounds(
    hiapi: httpx.AsyncClient, model: str, input_: dict[str, Any], field: str
) -> None:
    """400 INVALID_REQUEST, with the field's name in front."""
    reply = await hiapi.post("/v1/tasks", json={"model": model, "input": input_})
    assert (reply.status_code, reply.json()["error_code"]) == (400, "INVALID_REQUEST"), reply.text
    assert reply.json()["message"].startswith(f"input.{field}"), reply.text


@pytest.mark.parametrize(
    "body",
    [
        b"", b"[]", b"{", b'{"model":"noop"}', b'{"input":{}}', b'{"model":"noop","input":[]}', b'{"model":1,"input":{}}',
        b'{"model":"noop","input":{},"storage":"mine"}', b'{"model":"noop","input":{},"callback":{}}',
        b'{"model":"noop","input":{},"callback":{"url":"ftp://example.com"}}',
        b'{"model":"noop","input":{},"callback":{"url":"https://example.com/","when":"all"}}', b"\xff",
    ],
)  # fmt: skip
async def test_bodies_that_mean_nothing_are_400(hiapi: httpx.AsyncClient, body: bytes) -> None:
    """INVALID_REQUEST, whatever content type they come with."""
    reply = await hiapi.post("/v1/tasks", content=body)
    assert (reply.status_code, reply.json()["error_code"]) == (400, "INVALID_REQUEST"), reply.text


async def test_storage_falls_back_to_temp(hiapi: httpx.AsyncClient) -> None:
    """Persistent storage is not here, and the detail says which there is."""
    task = await detail(hiapi, await create(hiapi, storage="persistent"))
    assert task["storage"] == "temp"


async def test_what_was_asked_is_kept_but_not_echoed(visitor: Visitor, hiapi: httpx.AsyncClient) -> None:
    """No `input` in the detail; the native API shows what it was called."""
    hiapi.headers.update(visitor.using(await visitor.new_key(environment="test")))
    task_id = await create(
        hiapi, model="Nano-Banana", input={"prompt": "a lake", "aspect_ratio": "16:9"}, route="pro"
    )
    assert "input" not in await detail(hiapi, task_id)
    native = "task_" + task_id.removeprefix("tk-hiapi-").lower()
    reply = await visitor.http.get(f"/v1/tasks/{native}", headers=dict(hiapi.headers))
    assert reply.json()["metadata"] == {"hiapi_model": "Nano-Banana@pro", "hiapi_route": "pro"}
    assert reply.json()["model"] == "placeholder-heavy"


async def test_films_and_pro_routes_are_heavy(visitor: Visitor, hiapi: httpx.AsyncClient) -> None:
    """They stand in the heavy lane, whose ceiling is the stricter."""
    hiapi.headers.update(visitor.using(await visitor.new_key(environment="test")))
    for route, lane in (("", LIGHT), ("pro", HEAVY)):
        await create(hiapi, model="Nano-Banana", input={"prompt": "a lake"}, route=route)
        claimed = await lease.claim_tests(visitor.resources.db, 10, 15)
        assert [task.lane for task in claimed] == [lane]
