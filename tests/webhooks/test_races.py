"""What happens to an endpoint while something else does: nothing is lost, nothing comes back, nothing is sent for ever."""

import asyncio
from typing import Any

import pytest

from burnish.settings import Settings
from burnish.storage.postgres import Connection
from burnish.tasks.audit import audit
from native.surface import Visitor
from waiting import until
from webhooks.conftest import Receiver, accept, open_endpoint, pass_time, status
from webhooks.test_deliveries import log_of, settled, until_tries, verified


async def test_a_change_beside_a_rotation_loses_no_secret(visitor: Visitor, receiver: Receiver) -> None:
    """The secret that a rotation answered signs, whatever is changed at the same time."""
    endpoint = await open_endpoint(visitor, receiver.url)
    url = f"/v1/webhooks/{endpoint['id']}"
    for number in range(5):
        rotated, *_ = await asyncio.gather(
            visitor.http.post(f"{url}/rotate", json={"grace_seconds": 0}),
            *(visitor.http.patch(url, json={"description": f"{number} {n}"}) for n in range(4)),
        )
        before = len(receiver.got)
        await visitor.http.post(f"{url}/test")
        await receiver.wait_for(before + 1)
        verified(rotated.json()["secret"], *receiver.got[-1])


async def test_what_is_owed_while_an_endpoint_is_deleted_goes_with_it(
    visitor: Visitor, receiver: Receiver
) -> None:
    """Tests, ends and starts that race with the deletion leave nothing behind."""
    for _ in range(8):
        endpoint = await open_endpoint(visitor, receiver.url)
        url = f"/v1/webhooks/{endpoint['id']}"
        await visitor.submit()
        await asyncio.gather(
            visitor.http.post(f"{url}/test"),
            visitor.http.delete(url),
            visitor.http.post(f"{url}/test"),
            visitor.end(),
        )

    async def nothing_is_due() -> bool:
        async with visitor.resources.db.reading() as connection:
            return not await connection.fetchval("SELECT count(*) FROM deliveries WHERE state = 'due'")

    await until(nothing_is_due)
    assert await audit(visitor.resources.db, visitor.resources.plans) == []


async def test_an_endpoint_that_is_switched_off_gets_nothing_more(
    visitor: Visitor, receiver: Receiver
) -> None:
    """What was due is a dead letter; switched on again it begins anew."""
    endpoint = await open_endpoint(visitor, receiver.url, "task.succeeded")
    receiver.answer = status(500)
    await visitor.submit()
    await visitor.end()
    await until_tries(visitor, endpoint, 1)
    await visitor.http.patch(f"/v1/webhooks/{endpoint['id']}", json={"disabled": True})
    await settled(visitor, endpoint, "dead")
    sent = len(receiver.got)
    await pass_time(visitor, 3600)
    receiver.answer = accept
    assert (await visitor.http.post(f"/v1/webhooks/{endpoint['id']}/test")).status_code == 409
    await visitor.http.patch(f"/v1/webhooks/{endpoint['id']}", json={"disabled": False})
    await visitor.http.post(f"/v1/webhooks/{endpoint['id']}/test")
    await settled(visitor, endpoint, "accepted")

    assert len(receiver.got) == sent + 1


async def test_a_fault_of_ours_is_a_failed_try(
    visitor: Visitor, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It goes down the ladder like any other, and is in the log."""
    endpoint = await open_endpoint(visitor, receiver.url, "task.succeeded")

    def broken(*_: object) -> dict[str, str]:
        raise ZeroDivisionError

    monkeypatch.setattr("burnish.dialects.native.deliveries.signed_headers", broken)
    await visitor.submit()
    await visitor.end()
    await until_tries(visitor, endpoint, 1)
    (delivery,) = await log_of(visitor, endpoint)

    assert (delivery["state"], delivery["tries"]) == ("due", 1)


async def test_a_moment_outside_the_calendar_is_refused(visitor: Visitor, receiver: Receiver) -> None:
    """422, and the field is named."""
    endpoint = await open_endpoint(visitor, receiver.url)
    for body in ({"since": "0001-01-01T00:00:00+14:00"},
                 {"since": "2026-01-01T00:00:00Z", "until": "9999-12-31T23:59:59-12:00"}):  # fmt: skip
        refused = await visitor.http.post(f"/v1/webhooks/{endpoint['id']}/replay", json=body)
        assert (refused.status_code, refused.json()["error"]["param"]) == (422, list(body)[-1])


async def test_tasks_that_end_in_one_moment_are_all_told_to_expire(
    visitor: Visitor, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However many there are, and however few are taken at a time."""
    from burnish.workers import sweep

    endpoint = await open_endpoint(visitor, receiver.url, "task.expiring")
    await sweep._expiring(visitor.resources)
    for _ in range(7):
        await visitor.submit(retention_seconds=200_000)
        await visitor.end()
    async with visitor.resources.db.transaction() as tx:
        await _at_one_moment(tx)
    monkeypatch.setattr(sweep, "_BATCH", 3)
    await pass_time(visitor, 200_000 - 86_000)
    await sweep._expiring(visitor.resources)
    visitor.resources.db.news.announce(["deliver"])

    assert len(await settled(visitor, endpoint, "accepted", 7)) == 7


async def _at_one_moment(tx: Connection) -> None:
    await tx.execute("UPDATE tasks SET expires_at = (SELECT min(expires_at) FROM tasks)")


async def test_queues_of_hosts_that_were_not_used_for_long_are_forgotten(
    visitor: Visitor, receiver: Receiver, settings: Settings
) -> None:
    """A client that varies the host of its callbacks leaves nothing for ever."""
    from burnish.workers.sweep import _deliveries

    await visitor.submit(callback={"url": receiver.url})
    await visitor.end()
    await receiver.wait_for(1)
    await until(lambda: _count(visitor, "SELECT count(*) FROM receivers WHERE used_at IS NOT NULL"))
    await pass_time(visitor, settings.uploads.tombstone_seconds + 60)
    await _deliveries(visitor.resources)

    assert not await _count(visitor, "SELECT count(*) FROM receivers")
    assert not await _count(visitor, "SELECT count(*) FROM deliveries")


async def _count(visitor: Visitor, sql: str) -> Any:
    async with visitor.resources.db.reading() as connection:
        return await connection.fetchval(sql)
