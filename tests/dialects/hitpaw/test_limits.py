"""HitPaw's words over limits, keys and time, on a service without a worker."""

import dataclasses
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import httpx
import pytest

from burnish.keys.issue import revoke_key
from burnish.settings import Settings
from native.surface import Visitor, visit
from waiting import until

Open = Callable[[str], Awaitable[Visitor]]


@pytest.fixture
async def under(settings: Settings, tmp_path: Path) -> AsyncIterator[Open]:
    """A service whose one plan is this TOML."""
    entered = []

    async def enter(plan: str) -> Visitor:
        file = tmp_path / "plans.toml"
        file.write_text(f"[owner]\nmetered = false\n{plan}")
        visiting = visit(dataclasses.replace(settings, plans=str(file)))
        visitor = await visiting.__aenter__()
        entered.append(visiting)
        return visitor

    yield enter
    for visiting in entered:
        await visiting.__aexit__(None, None, None)


@pytest.fixture
async def visitor(settings: Settings) -> AsyncIterator[Visitor]:
    async with visit(settings) as visitor:
        yield visitor


async def pass_time(visitor: Visitor, seconds: float) -> None:
    """Move the service's time ahead."""
    db = visitor.resources.db
    async with db.transaction() as tx:
        await tx.execute("UPDATE clock SET ahead = ahead + make_interval(secs => $1)", float(seconds))
    await db._hear_time()


async def post(visitor: Visitor, path: str, **body: Any) -> httpx.Response:
    transport = httpx.ASGITransport(visitor.app)
    async with httpx.AsyncClient(transport=transport, base_url="http://hitpaw") as client:
        return await client.post(f"/hitpaw/api/{path}", json=body, headers={"Apikey": visitor.secret})


async def arrived(visitor: Visitor) -> str:
    """The link of an upload whose bytes have been seen, so that nothing waits for a worker."""
    upload = await visitor.upload(b"123456")
    task = await visitor.submit(model="upscale", input={"image": upload["id"]})
    await visitor.arrive()
    assert (await visitor.http.post(f"/v1/tasks/{task['id']}/cancel")).status_code == 200
    link: str = upload["access_url"]
    return link


async def test_too_many_at_once_is_429_until_one_has_ended(under: Open) -> None:
    """With the time to wait, which the vendor leaves out."""
    visitor = await under("[owner.at_once]\naccount = { limit = 1 }\n")
    asked = {"model_name": "general_2x", "img_url": await arrived(visitor), "extension": ".png"}
    assert (await post(visitor, "photo-enhancer", **asked)).status_code == 200
    over = await post(visitor, "photo-enhancer", **asked)
    assert (over.status_code, over.json()["error_code"]) == (429, 100429000)
    assert int(over.headers["retry-after"]) >= 1
    await visitor.end("internal")
    assert (await post(visitor, "photo-enhancer", **asked)).status_code == 200


async def test_the_day_is_used_up(under: Open) -> None:
    """Rejected, where the plan says so; as a failed task, where it says that."""
    visitor = await under("[owner.windows]\nday = { limit = 2, on_limit = 'reject' }\n")
    link = await arrived(visitor)
    asked = {"model_name": "general_2x", "img_url": link, "extension": ".png"}
    assert (await post(visitor, "photo-enhancer", **asked)).status_code == 200
    over = await post(visitor, "photo-enhancer", **asked)
    assert (over.status_code, over.json()["code"]) == (429, 100429000)


async def test_a_task_past_its_seven_days_does_not_exist(visitor: Visitor) -> None:
    """As its pages have it for any that is not there."""
    asked = {"model_name": "general_2x", "img_url": await arrived(visitor), "extension": ".png"}
    job = (await post(visitor, "photo-enhancer", **asked)).json()["data"]["job_id"]
    await visitor.end("internal")
    data = (await post(visitor, "task-status", job_id=job)).json()["data"]
    assert data == {"job_id": job, "status": "ERROR"}
    await pass_time(visitor, 7 * 86_400 + 60)
    gone = await post(visitor, "task-status", job_id=job)
    assert (gone.status_code, gone.json()["error_code"]) == (400, 110400002)


async def test_a_revoked_key_is_not_valid(visitor: Visitor) -> None:
    """400, and the vendor's sentence."""
    secret = await visitor.new_key(name="second", scopes=["tasks:read"])
    visitor.secret = secret
    known = await post(visitor, "task-status", job_id="x")
    assert known.json()["error_code"] == 110400002
    async with visitor.resources.db.reading() as connection:
        key_id: UUID = await connection.fetchval("SELECT id FROM keys WHERE name = 'second'")
    await revoke_key(visitor.resources.db, key_id, now=visitor.resources.clock.now())

    async def refused() -> bool:
        reply = await post(visitor, "task-status", job_id="x")
        return (reply.status_code, reply.json()["error_code"]) == (400, 110400000)

    await until(refused)  # within a second, on every process


async def test_a_key_whose_time_is_over_says_so(visitor: Visitor) -> None:
    """401, the one number that the vendor has for it."""
    ends = visitor.resources.clock.now() + timedelta(hours=1)
    visitor.secret = await visitor.new_key(name="short", scopes=["tasks:read"], expires_at=ends)
    assert (await post(visitor, "task-status", job_id="x")).json()["error_code"] == 110400002
    await pass_time(visitor, 3_601)
    over = await post(visitor, "task-status", job_id="x")
    assert (over.status_code, over.json()["error_code"]) == (401, 100401000)
    assert over.json()["message"].startswith("Token is expired")


async def test_a_test_key_has_so_many_tries(visitor: Visitor) -> None:
    """The vendor's demo: 402 in its number, and when there are more."""
    visitor.secret = await visitor.new_key(name="demo", environment="test", scopes=["tasks:write"])
    asked = {"model_name": "general_2x", "img_url": "https://example.com/a.jpg", "extension": ".png"}
    assert (await post(visitor, "photo-enhancer", **asked)).status_code == 200
    async with visitor.resources.db.transaction() as tx:
        assert await tx.execute("UPDATE windows SET used = 1000 WHERE name = 'day'") == "UPDATE 1"
    over = await post(visitor, "photo-enhancer", **asked)
    assert (over.status_code, over.json()["code"]) == (402, 110402004)
    assert 1 <= int(over.headers["retry-after"]) <= 86_400


async def test_a_key_without_the_scope_may_not(visitor: Visitor) -> None:
    """403, in the vendor's number for it."""
    visitor.secret = await visitor.new_key(name="reader", scopes=["tasks:read"])
    reply = await post(
        visitor, "photo-enhancer", model_name="general_2x", img_url="https://example.com/a.jpg"
    )
    assert (reply.status_code, reply.json()["error_code"]) == (403, 100403002)
