"""How long an ended task and its media are kept: told otherwise over HTTP, longer or not any more."""

from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import Any

import pytest

from burnish.tasks.audit import audit
from burnish.workers.sweep import STEPS
from native.surface import Visitor, task_uuid

PassTime = Callable[[float], Awaitable[None]]
DAY = 86_400
WEEK = 7 * DAY


async def succeeded(visitor: Visitor, **body: Any) -> dict[str, Any]:
    """A task that has made one output."""
    task = await visitor.submit(**body)
    await visitor.succeed(b"a larger picture")
    return await visitor.read(task["id"])


async def keep(visitor: Visitor, task: dict[str, Any], seconds: object) -> Any:
    return await visitor.http.post(f"/v1/tasks/{task['id']}/keep", json={"retention_seconds": seconds})


async def sweep(visitor: Visitor) -> None:
    for step in STEPS:
        await step(visitor.resources)


def seconds_between(earlier: str, later: str) -> float:
    return (datetime.fromisoformat(later) - datetime.fromisoformat(earlier)).total_seconds()


async def test_a_task_is_kept_for_longer(visitor: Visitor, pass_time: PassTime) -> None:
    """Counted from now; task, output, bytes and the links of the reply live until then."""
    task = await succeeded(visitor, retention_seconds=600)
    await pass_time(500)
    kept = await keep(visitor, task, DAY)
    assert kept.status_code == 200
    assert abs(seconds_between(task["ended_at"], kept.json()["expires_at"]) - DAY - 500) < 5
    await pass_time(DAY - 10)
    await sweep(visitor)
    (output,) = (await visitor.read(task["id"]))["outputs"]
    assert output["expires_at"] == kept.json()["expires_at"]
    assert (await visitor.http.get(kept.json()["outputs"][0]["url"])).content == b"a larger picture"
    assert await audit(visitor.resources.db, visitor.resources.plans) == []
    await pass_time(20)
    await sweep(visitor)
    assert (await visitor.http.get(f"/v1/tasks/{task['id']}")).status_code == 410
    assert (await visitor.http.get(output["url"])).status_code == 410


async def test_keeping_never_shortens(visitor: Visitor) -> None:
    """What is kept for longer anyway stays as it is."""
    task = await succeeded(visitor)
    kept = await keep(visitor, task, 60)
    assert (kept.status_code, kept.json()["expires_at"]) == (200, task["expires_at"])


async def test_a_plan_is_the_ceiling(visitor: Visitor, pass_time: PassTime) -> None:
    """No longer at once than the plan keeps tasks, and not beyond twice that after the end, however often."""
    async with visitor.resources.db.transaction() as tx:
        await tx.execute("""UPDATE accounts SET overrides = '{"retention_seconds": 1000}'""")
    await visitor.resources.authenticator._note()
    visitor.resources.authenticator._memory.clear()
    task = await succeeded(visitor)
    over = await keep(visitor, task, 1001)
    assert (over.status_code, over.json()["error"]["details"]) == (422, {"max": 1000})
    for _ in range(3):
        await pass_time(600)
        kept = (await keep(visitor, task, 1000)).json()
    assert seconds_between(task["ended_at"], kept["expires_at"]) == 2000


async def test_a_test_keys_task_is_kept_for_a_day_at_most(visitor: Visitor) -> None:
    """As all of its media is."""
    tester = visitor.using(await visitor.new_key(environment="test"))
    made = await visitor.http.post("/v1/tasks", json={"model": "noop", "input": {}}, headers=tester)
    path = f"/v1/tasks/{made.json()['id']}/keep"
    reply = await visitor.http.post(path, json={"retention_seconds": DAY + 1}, headers=tester)
    assert (reply.status_code, reply.json()["error"]["details"]) == (422, {"max": DAY})


@pytest.mark.parametrize("given", [59, 0, -1, "long", None, WEEK * 1000])
async def test_422_for_a_time_that_cannot_be(visitor: Visitor, given: object) -> None:
    """A retention that means nothing is named."""
    reply = await keep(visitor, await succeeded(visitor), given)
    assert (reply.status_code, reply.json()["error"]["param"]) == (422, "retention_seconds")


async def test_a_deleted_task_is_gone_with_its_media(visitor: Visitor) -> None:
    """The receipt says what went; task and links answer 410 at once, and the bytes are gone with the next sweep."""
    task = await succeeded(visitor)
    link = task["outputs"][0]["url"]
    gone = await visitor.http.delete(f"/v1/tasks/{task['id']}")
    assert gone.status_code == 200
    receipt = gone.json()
    assert (receipt["id"], receipt["outputs"], receipt["bytes"]) == (task["id"], 1, len(b"a larger picture"))
    for path in (f"/v1/tasks/{task['id']}", f"/v1/tasks/{task['id']}/events", link):
        assert (await visitor.http.get(path)).status_code == 410, path
    assert (await visitor.http.delete(f"/v1/tasks/{task['id']}")).status_code == 410
    assert (await keep(visitor, task, 600)).status_code == 410
    assert (await visitor.http.get("/v1/tasks")).json()["data"] == []

    await sweep(visitor)
    async with visitor.resources.db.reading() as connection:
        assert await connection.fetchval("SELECT count(*) FROM objects") == 0
    assert await audit(visitor.resources.db, visitor.resources.plans) == []


async def test_an_upload_outlives_the_task_that_worked_on_it(visitor: Visitor) -> None:
    """Other tasks may need it; what was fetched for the task alone goes with it."""
    upload = await visitor.upload(b"a picture")
    task = await visitor.submit(model="upscale", input={"image": upload["id"]})
    await visitor.arrive()
    await visitor.succeed(b"a larger picture")
    receipt = (await visitor.http.delete(f"/v1/tasks/{task['id']}")).json()
    assert receipt["bytes"] == len(b"a larger picture")
    assert (await visitor.http.get(upload["access_url"])).content == b"a picture"

    fetched = await succeeded(visitor)
    async with visitor.resources.db.transaction() as tx:
        await tx.execute(
            "UPDATE tasks SET source_url = 'https://example.com/a', source_id = b.id FROM blobs b "
            "WHERE tasks.id = $1 AND b.kind = 'upload'",
            task_uuid(fetched),
        )
    receipt = (await visitor.http.delete(f"/v1/tasks/{fetched['id']}")).json()
    assert (receipt["outputs"], receipt["bytes"]) == (1, len(b"a larger picture") + len(b"a picture"))


async def test_409_before_its_end(visitor: Visitor) -> None:
    """What has not ended is neither kept nor deleted: it is cancelled first."""
    task = await visitor.submit()
    for reply in (await keep(visitor, task, 600), await visitor.http.delete(f"/v1/tasks/{task['id']}")):
        assert (reply.status_code, reply.json()["error"]["code"]) == (409, "task_not_ended")
    await visitor.http.post(task["urls"]["cancel"])
    assert (await visitor.http.delete(f"/v1/tasks/{task['id']}")).json()["outputs"] == 0


async def test_404_for_another_accounts_task(visitor: Visitor) -> None:
    """Nobody keeps or deletes what is not theirs; a key that may only read does neither."""
    task = await succeeded(visitor)
    stranger = visitor.using(await visitor.new_key(account="somebody-else"))
    reader = visitor.using(await visitor.new_key(scopes=("tasks:read",)))
    for headers, status in ((stranger, 404), (reader, 403)):
        for method, path, body in (("DELETE", "", None), ("POST", "/keep", {"retention_seconds": 600})):
            reply = await visitor.http.request(
                method, f"/v1/tasks/{task['id']}{path}", json=body, headers=headers
            )
            assert reply.status_code == status


async def test_a_keep_that_came_too_late_keeps_nothing(visitor: Visitor) -> None:
    """Where a sweep has taken the bytes already the task is expired, not half kept."""
    task = await succeeded(visitor)
    async with visitor.resources.db.transaction() as tx:
        await tx.execute("DELETE FROM objects")
        await tx.execute("UPDATE tasks SET expires_at = expires_at - interval '6 days'")
    reply = await keep(visitor, task, 5 * DAY)
    assert (reply.status_code, reply.json()["error"]["code"]) == (410, "expired")
