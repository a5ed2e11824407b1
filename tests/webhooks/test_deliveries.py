"""Deliveries from the ending that owes them to the receiver that accepts them, and everything that may come between."""

import asyncio
import base64
import hmac
import json
from datetime import timedelta
from typing import Any

import pytest
from aiohttp import web

from burnish.ids import from_wire, to_wire
from burnish.webhooks import store
from native.surface import Visitor
from waiting import until
from webhooks.conftest import Receiver, accept, delivering, open_endpoint, pass_time, receiving, status


def verified(secret: str, headers: dict[str, str], body: bytes) -> dict[str, Any]:
    """The body, whose signature is checked as the specification says."""
    key = base64.b64decode(secret.removeprefix("whsec_"))
    message = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.".encode() + body
    wanted = "v1," + base64.b64encode(hmac.digest(key, message, "sha256")).decode()
    assert wanted in headers["webhook-signature"].split(" ")
    found: dict[str, Any] = json.loads(body)
    return found


async def log_of(visitor: Visitor, endpoint: dict[str, Any]) -> list[dict[str, Any]]:
    """The endpoint's log, read where no rate is spent by it."""
    endpoint_id = from_wire("endpoint", endpoint["id"])
    assert endpoint_id is not None
    async with visitor.resources.db.reading() as connection:
        rows = await store.list_deliveries(connection, endpoint_id, state=None, before=None, rows=100)
    return [dict(row) for row in rows]


async def settled(
    visitor: Visitor, endpoint: dict[str, Any], state: str, count: int = 1
) -> list[dict[str, Any]]:
    """Those in this state, once there are so many."""
    async with asyncio.timeout(30):
        while len(found := [d for d in await log_of(visitor, endpoint) if d["state"] == state]) < count:
            await asyncio.sleep(0)
    return found


async def test_an_endpoint_is_told_of_every_end(visitor: Visitor, receiver: Receiver) -> None:
    """Succeeded, failed, cancelled, and the start: signed, under 20 kB, the task as the API gives it."""
    endpoint = await open_endpoint(visitor, receiver.url)
    tasks = [await visitor.submit() for _ in range(3)]
    await visitor.end()
    await visitor.end("decode_failed", "It was the file.")
    await visitor.http.post(tasks[2]["urls"]["cancel"])
    await receiver.wait_for(5)

    told = [verified(endpoint["secret"], headers, body) for headers, body in receiver.got]
    assert sorted(event["type"] for event in told) == [
        "task.cancelled", "task.failed", "task.started", "task.started", "task.succeeded",
    ]  # fmt: skip
    assert all(len(body) < 20_000 for _, body in receiver.got)
    assert len({headers["webhook-id"] for headers, _ in receiver.got}) == 5
    (ended,) = [event for event in told if event["type"] == "task.succeeded"]
    assert ended["data"] == await visitor.read(tasks[0]["id"])
    started = [event["data"] for event in told if event["type"] == "task.started"]
    assert {(task["status"], task["ended_at"]) for task in started} == {("running", None)}


async def test_an_endpoint_gets_what_it_asked_for_and_a_disabled_one_nothing(
    visitor: Visitor, receiver: Receiver
) -> None:
    """Events are chosen; others, other environments and switched-off endpoints stay silent."""
    wanted = await open_endpoint(visitor, receiver.url, "task.failed")
    off = await open_endpoint(visitor, receiver.url)
    await visitor.http.patch(f"/v1/webhooks/{off['id']}", json={"disabled": True})
    await visitor.submit()
    await visitor.end()
    await visitor.submit()
    await visitor.end("decode_failed", "It was the file.")
    test = visitor.using(await visitor.new_key(environment="test"))
    await visitor.http.post("/v1/tasks", json={"model": "noop", "input": {}}, headers=test)
    await settled(visitor, wanted, "accepted")

    assert [json.loads(body)["type"] for _, body in receiver.got] == ["task.failed"]
    assert await log_of(visitor, off) == []


@pytest.mark.parametrize(
    ("when", "events"), [("final", ["task.succeeded"]), ("all", ["task.started", "task.succeeded"])]
)
async def test_a_task_brings_its_own_callback(
    visitor: Visitor, receiver: Receiver, when: str, events: list[str]
) -> None:
    """Signed with the account's secret for callbacks."""
    await visitor.submit(callback={"url": receiver.url, "when": when})
    await visitor.end()
    await receiver.wait_for(len(events))
    secret = (await visitor.http.get("/v1/webhooks/callback-secret")).json()["secret"]

    assert sorted(verified(secret, headers, body)["type"] for headers, body in receiver.got) == events


async def test_a_task_stored_as_failed_is_told_of_too(visitor: Visitor, receiver: Receiver) -> None:
    """By its callback, at once."""
    del receiver
    reply = await visitor.http.post(
        "/v1/tasks", json={"model": "noop", "input": {}, "callback": {"url": "http://10.0.0.1/hook"}}
    )
    assert (reply.status_code, reply.json()["error"]["code"]) == (422, "input_blocked")


async def test_a_delivery_is_tried_again_with_the_same_id_and_bytes(
    visitor: Visitor, receiver: Receiver
) -> None:
    """Down the ladder until it is accepted; each try is in the log."""
    endpoint = await open_endpoint(visitor, receiver.url, "task.succeeded")
    receiver.answer = status(500)
    await visitor.submit()
    await visitor.end()
    for tries, pause in enumerate((6, 400), 1):
        await receiver.wait_for(tries)
        await until_tries(visitor, endpoint, tries)
        await pass_time(visitor, pause)
    receiver.answer = accept
    await settled(visitor, endpoint, "accepted")

    ids = {headers["webhook-id"] for headers, _ in receiver.got}
    assert len(ids) == len({body for _, body in receiver.got}) == 1
    detail = (await visitor.http.get(f"/v1/webhooks/{endpoint['id']}/deliveries/{ids.pop()}")).json()
    assert [a["status"] for a in detail["attempts"]][:2] == [500, 500]
    assert detail["attempts"][-1]["status"] == 204
    assert detail["attempts"][0]["reply"] == "as the test wanted"


async def until_tries(visitor: Visitor, endpoint: dict[str, Any], tries: int) -> None:
    async with asyncio.timeout(20):
        while (await log_of(visitor, endpoint))[0]["tries"] < tries:
            await asyncio.sleep(0)


async def test_410_shuts_an_endpoint_and_the_others_are_told(visitor: Visitor, receiver: Receiver) -> None:
    """What was due is a dead letter, and can be sent again once the endpoint is enabled."""
    async with receiving() as other:
        witness = await open_endpoint(visitor, other.url, "webhook.disabled")
        endpoint = await open_endpoint(visitor, receiver.url, "task.succeeded")
        receiver.answer = status(410)
        await visitor.submit()
        await visitor.end()
        await other.wait_for(1)
        told = verified(witness["secret"], *other.got[0])
    assert (told["type"], told["data"]["why"]) == ("webhook.disabled", "It answered 410 Gone.")
    found = (await visitor.http.get(f"/v1/webhooks/{endpoint['id']}")).json()
    assert found["disabled_at"] is not None
    (dead,) = await settled(visitor, endpoint, "dead")
    url = f"/v1/webhooks/{endpoint['id']}/deliveries/{to_wire('msg', dead['id'])}/replay"
    assert (await visitor.http.post(url)).status_code == 409

    receiver.answer = accept
    await visitor.http.patch(f"/v1/webhooks/{endpoint['id']}", json={"disabled": False})
    assert (await visitor.http.post(url)).status_code == 202
    await settled(visitor, endpoint, "accepted")
    assert len({headers["webhook-id"] for headers, _ in receiver.got}) == 1


async def test_120_hours_of_nothing_but_failures_shut_an_endpoint(
    visitor: Visitor, receiver: Receiver
) -> None:
    """One that accepted in between begins anew."""
    endpoint = await open_endpoint(visitor, receiver.url, "task.succeeded")
    receiver.answer = status(500)
    await visitor.submit()
    await visitor.end()
    await until_tries(visitor, endpoint, 1)
    await pass_time(visitor, timedelta(hours=121).total_seconds())
    await settled(visitor, endpoint, "dead")

    found = (await visitor.http.get(f"/v1/webhooks/{endpoint['id']}")).json()
    assert "accepted nothing since" in found["disabled_why"]


async def test_a_stretch_of_time_is_sent_again(visitor: Visitor, receiver: Receiver) -> None:
    """Dead letters, or all of it."""
    endpoint = await open_endpoint(visitor, receiver.url, "task.succeeded")
    since = visitor.resources.clock.now() - timedelta(minutes=1)
    for _ in range(3):
        await visitor.submit()
        await visitor.end()
    await settled(visitor, endpoint, "accepted", 3)
    url = f"/v1/webhooks/{endpoint['id']}/replay"
    none = (await visitor.http.post(url, json={"since": since.isoformat()})).json()
    again = (await visitor.http.post(url, json={"since": since.isoformat(), "accepted": True})).json()
    await receiver.wait_for(6)

    assert (none["deliveries"], again["deliveries"]) == (0, 3)
    assert len({headers["webhook-id"] for headers, _ in receiver.got}) == 3


async def test_a_rotated_secret_signs_beside_the_old_one_for_a_while(
    visitor: Visitor, receiver: Receiver
) -> None:
    """Both verify during the grace, the new one alone after it."""
    endpoint = await open_endpoint(visitor, receiver.url)
    url = f"/v1/webhooks/{endpoint['id']}/rotate"
    rotated = (await visitor.http.post(url, json={"grace_seconds": 3600})).json()
    await visitor.http.post(f"/v1/webhooks/{endpoint['id']}/test")
    await receiver.wait_for(1)
    for secret in (endpoint["secret"], rotated["secret"]):
        assert verified(secret, *receiver.got[0])["type"] == "webhook.test"

    await pass_time(visitor, 3601)
    await visitor.http.post(f"/v1/webhooks/{endpoint['id']}/test")
    await receiver.wait_for(2)
    verified(rotated["secret"], *receiver.got[1])
    with pytest.raises(AssertionError):
        verified(endpoint["secret"], *receiver.got[1])


async def test_a_secret_never_lies_readable(visitor: Visitor, receiver: Receiver) -> None:
    """In no row, and in no reply after the first."""
    endpoint = await open_endpoint(visitor, receiver.url)
    key = base64.b64decode(endpoint["secret"].removeprefix("whsec_"))
    async with visitor.resources.db.reading() as connection:
        sealed = await connection.fetchval("SELECT secret FROM endpoints WHERE url = $1", receiver.url)
    assert key not in sealed
    assert endpoint["secret"] not in (await visitor.http.get("/v1/webhooks")).text


@pytest.mark.parametrize("how", ["hangs", "drips", "redirects", "floods"])
async def test_a_receiver_that_misbehaves_is_a_failure_and_no_more(
    visitor: Visitor, receiver: Receiver, how: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It hangs, answers byte by byte, redirects into private space, or sends a gigabyte: one failed try, soon over."""
    monkeypatch.setattr("burnish.webhooks.deliver._TIMEOUT_SECONDS", 1.0)
    endpoint = await open_endpoint(visitor, receiver.url, "task.succeeded")
    done = asyncio.Event()

    async def misbehave(request: web.Request) -> web.StreamResponse:
        if how == "redirects":
            raise web.HTTPFound("http://169.254.169.254/latest/meta-data")
        if how == "hangs":
            await done.wait()
            return web.Response()
        reply = web.StreamResponse(status=200 if how == "floods" else 500)
        await reply.prepare(request)
        while not done.is_set():
            await reply.write(b"x" * (1 if how == "drips" else 1 << 16))
            await asyncio.sleep(0 if how == "floods" else 0.05)
        return reply

    receiver.answer = misbehave
    await visitor.submit()
    await visitor.end()
    await until_tries(visitor, endpoint, 1)
    done.set()
    (delivery,) = await log_of(visitor, endpoint)

    assert delivery["state"] == ("accepted" if how == "floods" else "due")


async def test_an_hour_of_a_receiver_that_is_down_loses_nothing(visitor: Visitor, receiver: Receiver) -> None:
    """Each event arrives once it is back, in the right number, and one try at a time knocks meanwhile."""
    endpoint = await open_endpoint(visitor, receiver.url, "task.succeeded")
    receiver.answer = status(503)
    for _ in range(30):
        await visitor.submit()
        await visitor.end()
    await receiver.wait_for(1)
    knocked = len(receiver.got)
    receiver.answer = accept
    await pass_time(visitor, 3600)
    await settled(visitor, endpoint, "accepted", 20)
    await until(lambda: len({headers["webhook-id"] for headers, _ in receiver.got}) == 30)

    assert knocked <= 33


async def test_a_worker_that_is_lost_loses_no_delivery(visitor: Visitor, receiver: Receiver) -> None:
    """Its receivers are free when its lease is over; what it may have sent is sent again under the same id."""
    from burnish.workers.sweep import _deliveries

    endpoint = await open_endpoint(visitor, receiver.url, "task.succeeded")
    async with visitor.resources.db.transaction() as tx:
        await tx.execute("INSERT INTO receivers (id, account_id, endpoint_id, lease_id, leased_until) VALUES "
                         "($1, $2, $3, gen_random_uuid(), $4)",
                         str(from_wire("endpoint", endpoint["id"])), visitor.account_id,
                         from_wire("endpoint", endpoint["id"]),
                         visitor.resources.clock.now() + timedelta(seconds=90))  # fmt: skip
    await visitor.submit()
    await visitor.end()
    assert receiver.got == []
    await pass_time(visitor, 91)
    await _deliveries(visitor.resources)
    await settled(visitor, endpoint, "accepted")


async def test_deliveries_survive_a_second_pair_of_lanes(visitor: Visitor, receiver: Receiver) -> None:
    """Two workers at the same receiver: every event once."""
    endpoint = await open_endpoint(visitor, receiver.url, "task.succeeded")
    async with delivering(visitor):
        for _ in range(40):
            await visitor.submit()
            await visitor.end()
        async with asyncio.timeout(20):
            while len({headers["webhook-id"] for headers, _ in receiver.got}) < 40:
                await asyncio.sleep(0)
    assert len(receiver.got) == 40
    assert {d["state"] for d in await log_of(visitor, endpoint)} <= {"accepted", "due"}


async def test_tasks_that_expire_within_a_day_are_told_of_once(visitor: Visitor, receiver: Receiver) -> None:
    """By a cursor; however often the sweep looks."""
    from burnish.workers.sweep import _expiring

    endpoint = await open_endpoint(visitor, receiver.url, "task.expiring")
    await _expiring(visitor.resources)
    await visitor.submit(retention_seconds=200_000)
    await visitor.end()
    await _expiring(visitor.resources)
    assert await log_of(visitor, endpoint) == []
    await pass_time(visitor, 200_000 - 86_000)
    for _ in range(3):
        await _expiring(visitor.resources)
    visitor.resources.db.news.announce(["deliver"])
    await settled(visitor, endpoint, "accepted")

    assert [json.loads(body)["type"] for _, body in receiver.got] == ["task.expiring"]
