"""What HiAPI's surface tells beside tasks: callbacks and their signature, prices, what is kept for longer."""

import asyncio
import hmac
import json
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import httpx
import pytest

from burnish.dialects.hiapi.deliveries import HiapiWords, read_signing_key
from burnish.dialects.hiapi.wire import NAME
from burnish.errors import Invalid
from burnish.ids import new_id, to_wire
from burnish.keys.open import set_callbacks_secret
from burnish.uploads.sign import Links
from burnish.webhooks.deliver import Deliverer
from burnish.workers.deliver import Delivering
from native.surface import Visitor
from waiting import until

KEY = "whsec_0123456789abcdef"


@pytest.fixture
async def receiver() -> AsyncIterator[tuple[str, list[tuple[dict[str, str], bytes]]]]:
    """An address on loopback that takes what is sent there, and what came."""
    got: list[tuple[dict[str, str], bytes]] = []

    async def take(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode().splitlines()[1:-1]
        headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in head)}
        got.append((headers, await reader.readexactly(int(headers["content-length"]))))
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(take, "127.0.0.1", 0)
    yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/hook", got
    server.close()


async def delivered(visitor: Visitor, got: list[Any], count: int) -> None:
    """A worker's deliveries, until so many have come."""
    resources = visitor.resources
    words = HiapiWords(resources.reads, Links(resources.secret_keys, resources.settings.public_url))
    deliverer = Deliverer(resources.outbound, resources.seal, resources.clock, {NAME: words})

    async def noted() -> bool:
        async with resources.db.reading() as connection:
            owed: int = await connection.fetchval("SELECT count(*) FROM deliveries WHERE state = 'due'")
            return not owed

    lanes = [
        asyncio.create_task(Delivering(resources, deliverer).run(sound=sound)) for sound in (True, False)
    ]
    try:
        await until(lambda: len(got) >= count)
        await until(noted)  # or the receiver would stay with a worker that is gone
    finally:
        for lane in lanes:
            lane.cancel()
        await asyncio.gather(*lanes, return_exceptions=True)


async def create(http: httpx.AsyncClient, url: str) -> str:
    asked = {"model": "noop", "input": {}, "callback": {"url": url, "when": "final"}}
    task_id: str = (await http.post("/v1/tasks", json=asked)).json()["data"]["taskId"]
    return task_id


async def test_a_callback_is_the_bare_detail(
    visitor: Visitor, hiapi: httpx.AsyncClient, receiver: tuple[str, list[Any]]
) -> None:
    """Of success and of failure, as GET says it without its envelope; unsigned where there is no key."""
    url, got = receiver
    ids = [await create(hiapi, url) for _ in range(2)]
    await visitor.succeed(b"picture")
    await visitor.end("engine_refused", "It could not be done.")
    await delivered(visitor, got, 2)
    told = {json.loads(body)["taskId"]: json.loads(body) for _, body in got}
    for id_ in ids:
        assert told[id_] == (await hiapi.get(f"/v1/tasks/{id_}")).json()["data"]
    assert {task["status"] for task in told.values()} == {"success", "fail"}
    for headers, _ in got:
        assert headers["content-type"] == "application/json"
        assert not any("hiapi" in name or "webhook" in name for name in headers)


async def test_a_signed_callback(
    visitor: Visitor, hiapi: httpx.AsyncClient, receiver: tuple[str, list[Any]]
) -> None:
    """Hex HMAC-SHA256 of `timestamp.body` under the key's own bytes; a new key signs from the next try on; none, none."""
    url, got = receiver
    resources = visitor.resources
    for number, key in enumerate((KEY, "another-key-of-letters", None), 1):
        secret = read_signing_key(key) if key else None
        now = resources.clock.now()
        await set_callbacks_secret(resources.db, resources.seal, "default", NAME, secret, now)
        await create(hiapi, url)
        await visitor.end()
        await delivered(visitor, got, number)
        headers, body = got[-1]
        if key is None:
            assert not any("hiapi" in name for name in headers)
            continue
        timestamp = headers["x-hiapi-timestamp"]
        signed = hmac.new(key.encode(), timestamp.encode() + b"." + body, "sha256").hexdigest()
        assert headers["x-hiapi-signature"] == signed
        assert abs(int(timestamp) - now.timestamp()) < 60


async def test_the_key_lies_sealed_and_signs_for_test_keys_too(visitor: Visitor) -> None:
    """A row for each environment, none of which holds the key as it is."""
    resources = visitor.resources
    secret = read_signing_key(KEY)
    await set_callbacks_secret(resources.db, resources.seal, "default", NAME, secret, resources.clock.now())
    async with resources.db.reading() as connection:
        rows = await connection.fetch(
            "SELECT environment, secret FROM endpoints WHERE dialect = 'hiapi' ORDER BY environment"
        )
    assert [row["environment"] for row in rows] == ["dev", "live", "test"]
    assert not any(secret in row["secret"] for row in rows)


@pytest.mark.parametrize("key", ["", "fifteen-letters", "k" * 257])
def test_a_signing_key_has_16_to_256_characters(key: str) -> None:
    """Others are refused."""
    with pytest.raises(Invalid, match="16 to 256"):
        read_signing_key(key)


async def test_prices_in_the_vendors_shape(visitor: Visitor) -> None:
    """Without a key: every model that is served, with factors, policies and a base in dollars."""
    transport = httpx.ASGITransport(visitor.app)
    async with httpx.AsyncClient(transport=transport, base_url="http://burnish") as stranger:
        reply = await stranger.get("/hiapi/api/pricing")
    assert reply.status_code == 200
    body = reply.json()
    assert body.keys() == {"data"}
    prices = {row["model_name"]: row for row in body["data"]}
    native = (await visitor.http.get("/v1/models")).json()["data"]
    assert prices.keys() == {model["name"] for model in native}
    assert prices["render"] == {"model_name": "render", "factors": [], "policies": [], "base_usd_value": 0.0}
    upscale = prices["upscale"]
    assert (upscale["factors"], upscale["base_usd_value"]) == ([], 0.01)
    assert {"rule": {"megapixels": {"match": "8 to 12 megapixels"}}, "usd_value": 0.02} in upscale["policies"]
    film = prices["video-upscale"]
    assert film["factors"] == ["duration"]
    assert {"rule": {"resolution": {"match": ["FHD", "1080p"]}}, "usd_value": 0.015} in film["policies"]
    assert film["base_usd_value"] == 0.01


async def test_what_is_promoted_lasts_as_long_as_the_plan_keeps_anything(
    visitor: Visitor, hiapi: httpx.AsyncClient, pass_time: Callable[[float], Awaitable[None]]
) -> None:
    """By its output's id or its own; the detail says until when. Twice is the same; what is over is over."""

    async def detail(task_id: str) -> dict[str, Any]:
        data: dict[str, Any] = (await hiapi.get(f"/v1/tasks/{task_id}")).json()["data"]
        return data

    async def promote(*ids: str) -> dict[str, Any]:
        reply = await hiapi.post("/v1/storages/promote", json=ids)
        assert reply.json().keys() == {"code", "message", "data"}
        data: dict[str, Any] = reply.json()["data"]
        return data

    by_output, by_task, left = [await made(visitor, hiapi) for _ in range(3)]
    native = await visitor.read("task_" + by_output.removeprefix("tk-hiapi-").lower())
    output = native["outputs"][0]["id"]
    assert await promote(output, by_task, output) == {"accepted": [output, by_task], "rejected": []}
    for promoted in (await detail(by_output), await detail(by_task)):
        assert promoted["output"][0]["expireAt"] == promoted["completed"] + 14 * 86_400
        assert promoted["storage"] == "temp"
    link = (await detail(by_output))["output"][0]["url"]
    assert await promote(output) == {"accepted": [output], "rejected": []}
    await pass_time(8 * 86_400)
    assert (await hiapi.get(link)).content == b"picture"
    assert await promote(left) == {"accepted": [], "rejected": [{"id": left, "reason": "already_deleted"}]}
    await pass_time(7 * 86_400)
    assert (await hiapi.get(link)).status_code == 410
    assert (await promote(output))["rejected"] == [{"id": output, "reason": "already_deleted"}]


async def made(visitor: Visitor, hiapi: httpx.AsyncClient) -> str:
    """A task that has succeeded."""
    reply = await hiapi.post("/v1/tasks", json={"model": "noop", "input": {}})
    await visitor.succeed(b"picture")
    task_id: str = reply.json()["data"]["taskId"]
    return task_id


async def test_what_cannot_be_promoted_has_a_reason(visitor: Visitor, hiapi: httpx.AsyncClient) -> None:
    """One of the vendor's; another's is told from no output by nobody."""
    running = (await hiapi.post("/v1/tasks", json={"model": "noop", "input": {}})).json()["data"]["taskId"]
    reply = await hiapi.post("/v1/storages/promote", json=[running])
    assert reply.json()["data"]["rejected"] == [{"id": running, "reason": "not_promotable"}]
    await visitor.end("internal")
    failed = running
    task_id = await made(visitor, hiapi)
    upload = (await visitor.upload(b"123456"))["id"]
    nobodys = to_wire("output", new_id())
    ids = [failed, nobodys, upload, "90216", "ü", "tk-hiapi-90216", ""]
    reply = await hiapi.post("/v1/storages/promote", json=ids)
    reasons = ["not_promotable", *["not_owned"] * 6]
    rejected = [{"id": id_, "reason": reason} for id_, reason in zip(ids, reasons, strict=True)]
    assert reply.json() == {"code": 200, "message": "success", "data": {"accepted": [], "rejected": rejected}}
    native = await visitor.read("task_" + task_id.removeprefix("tk-hiapi-").lower())
    theirs = [task_id, native["outputs"][0]["id"]]
    stranger = visitor.using(await visitor.new_key(account="stranger"))
    told = (await hiapi.post("/v1/storages/promote", json=theirs, headers=stranger)).json()["data"]
    assert told["rejected"] == [{"id": id_, "reason": "not_owned"} for id_ in theirs]
    many = await hiapi.post("/v1/storages/promote", json=["1"] * 51)
    assert (many.status_code, many.json()["error_code"]) == (400, "INVALID_REQUEST")
    wrong = await hiapi.post("/v1/storages/promote", json={"ids": []})
    assert wrong.status_code == 400


async def test_the_command_line_sets_the_signing_key(visitor: Visitor) -> None:
    """From an option or from standard input; `none` takes it away; what does not fit is refused."""
    settings = visitor.resources.settings
    environ = {
        "BURNISH_DATABASE_URL": settings.database.url, "BURNISH_SECRET_KEYS": ",".join(settings.secret_keys),
    }  # fmt: skip

    def set_key(value: str, typed: str = "") -> subprocess.CompletedProcess[str]:
        command = [
            sys.executable,
            "-m",
            "burnish",
            "accounts",
            "set",
            "default",
            "--hiapi-signing-key",
            value,
        ]
        return subprocess.run(
            [*command, "--data", str(settings.data)],
            env=environ, input=typed, capture_output=True, text=True, check=False,
        )  # fmt: skip

    async def rows() -> int:
        async with visitor.resources.db.reading() as connection:
            count: int = await connection.fetchval("SELECT count(*) FROM endpoints WHERE dialect = 'hiapi'")
            return count

    made = await asyncio.to_thread(set_key, KEY)
    assert (made.returncode, KEY in made.stdout + made.stderr) == (0, False), made.stderr
    assert await rows() == 3
    short = await asyncio.to_thread(set_key, "short")
    assert short.returncode != 0
    assert "16 to 256" in short.stderr
    assert (await asyncio.to_thread(set_key, "-", KEY + "\n")).returncode == 0
    assert (await asyncio.to_thread(set_key, "none")).returncode == 0
    assert await rows() == 0
