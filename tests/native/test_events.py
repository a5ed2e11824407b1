"""Event streams over real sockets: of a task until its end, of an account for as long as somebody listens."""

import asyncio
import contextlib
from datetime import timedelta
from pathlib import Path

import httpx
import pytest

from burnish.keys.issue import revoke_key
from burnish.tasks.task import progress_topic
from burnish.webhooks.announce import account_topic, announce
from burnish.webhooks.event import Event
from native.streams import listening
from native.surface import Visitor, task_uuid
from real_service import serving
from waiting import until


async def write(guest: Visitor, sql: str, *arguments: object) -> None:
    async with guest.resources.db.transaction() as tx:
        await tx.execute(sql, *arguments)


# --- of a task ----------------------------------------------------------------------------------------------------


async def test_a_task_is_told_until_its_end(guest: Visitor) -> None:
    """Every change is one event with the task as reading tells it, under an id of its own; after the end it closes."""
    task = await guest.submit(metadata={"order": "1042\n"})
    async with listening(guest, task["urls"]["events"]) as events:
        first = await events.next()
        claimed = await guest.claim()
        sql = "UPDATE tasks SET stage = 'working', progress = 0.25 WHERE id = $1"
        await write(guest, sql, claimed.id)
        guest.resources.db.news.announce([progress_topic(claimed.id)])
        second = await events.next()
        await write(guest, "UPDATE tasks SET progress = 0.75 WHERE id = $1", claimed.id)
        guest.resources.db.news.announce([progress_topic(claimed.id)])
        third = await events.next()
        assert (await guest.http.post(task["urls"]["cancel"])).json()["status"] == "cancelled"
        (last,) = await events.rest()

    told = [first, second, third, last]
    assert [one.data["status"] for one in told] == ["queued", "running", "running", "cancelled"]
    assert [one.data["progress"] for one in told[1:3]] == [0.25, 0.75]
    assert {one.name for one in told} == {"task"}
    assert len({one.id for one in told}) == 4
    assert first.data["metadata"] == {"order": "1042\n"}
    assert last.data == await guest.read(task["id"])


async def test_nothing_between_holds_events_back(guest: Visitor) -> None:
    """Proxies are told not to buffer or change it, and more than they gather anyway comes first."""
    task = await guest.submit()
    async with listening(guest, task["urls"]["events"]) as events:
        await events.next()
        assert events.reply.headers["content-type"] == "text/event-stream"
        assert events.reply.headers["cache-control"] == "no-store, no-transform"
        assert events.reply.headers["x-accel-buffering"] == "no"
        assert "content-length" not in events.reply.headers
        assert events.reply.headers["request-id"].startswith("req_")
        assert len(events.comments[0]) > 2048
    head = await guest.http.head(task["urls"]["events"])
    assert (head.status_code, head.headers["content-type"], head.content) == (200, "text/event-stream", b"")


async def test_a_stream_goes_on_from_what_is_known(guest: Visitor) -> None:
    """With `Last-Event-ID` only what has changed since is told; once the end is known, 204 says to stay away."""
    task = await guest.submit()
    async with listening(guest, task["urls"]["events"]) as events:
        known = (await events.next()).id
    async with listening(guest, task["urls"]["events"], last_event_id=known) as events:
        coming = asyncio.create_task(events.next())
        await guest.end()
        ended = await coming
        if ended.data["status"] == "running":  # told between the claim and the end
            ended = await events.next()
        assert ended.data["status"] == "succeeded"
    async with listening(guest, task["urls"]["events"], last_event_id=known) as events:
        assert await events.rest() == [ended]
    reply = await guest.http.get(task["urls"]["events"], headers={"Last-Event-ID": ended.id})
    assert (reply.status_code, reply.content) == (204, b"")
    assert "content-length" not in reply.headers


async def test_a_quiet_stream_says_that_it_is_alive(guest: Visitor) -> None:
    """While nothing happens a comment comes now and then; it is no event."""
    task = await guest.submit()
    guest.resources.follower._quiet_seconds = 0.02
    async with listening(guest, task["urls"]["events"]) as events:
        await events.next()
        rest = asyncio.create_task(events.rest())
        await until(lambda: len(events.comments) > 3)
        await guest.end()
        assert (await rest)[-1].data["status"] == "succeeded"
    assert set(events.comments[1:]) == {": still here"}


@pytest.mark.parametrize("path", ["/v1/tasks/{id}/events", "/v1/events"])
async def test_a_stream_ends_with_its_key(guest: Visitor, path: str) -> None:
    """Once the key is revoked nothing more is told, and the stream is closed."""
    task = await guest.submit()
    secret = await guest.new_key()
    guest.resources.follower._quiet_seconds = 0.05
    async with listening(guest, path.format(id=task["id"]), secret) as events:
        rest = asyncio.create_task(events.rest())
        await until(lambda: len(events.comments) > 1)
        async with guest.resources.db.reading() as connection:
            key_id = await connection.fetchval(
                "SELECT id FROM keys ORDER BY created_at DESC, id DESC LIMIT 1"
            )
        await revoke_key(guest.resources.db, key_id, now=guest.resources.clock.now())
        assert all(told.data["status"] == "queued" for told in await rest)


@pytest.mark.parametrize("path", ["/v1/tasks/{id}/events", "/v1/events"])
async def test_a_stream_ends_with_the_service(guest: Visitor, path: str) -> None:
    """When the service stops, streams end as whole replies."""
    task = await guest.submit()
    async with listening(guest, path.format(id=task["id"])) as events:
        rest = asyncio.create_task(events.rest())
        await until(lambda: events.comments)
        guest.app.state.draining = True
        await rest
    guest.app.state.draining = False


async def test_a_client_that_goes_leaves_nothing(guest: Visitor) -> None:
    """Streams whose clients have disconnected listen to nothing and run nothing."""
    task = await guest.submit()
    news = guest.resources.db.news
    before = len(news._subscribers), len(asyncio.all_tasks())
    async with contextlib.AsyncExitStack() as stack:
        own = task["urls"]
        for path in [own["events"], "/v1/events", "/v1/events?wait=60", f"{own['self']}?wait=60"] * 10:
            sent = asyncio.open_connection("127.0.0.1", guest.http.base_url.port)
            _, writer = await sent
            stack.callback(writer.close)
            target = httpx.URL(path).raw_path.decode()
            head = f"GET {target} HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {guest.secret}\r\n\r\n"
            writer.write(head.encode())
        await until(lambda: len(news._subscribers) == before[0] + 3)
        await until(lambda: sum(map(len, news._subscribers.values())) >= before[0] + 50)
    await until(lambda: len(news._subscribers) == before[0])
    await until(lambda: len(asyncio.all_tasks()) <= before[1])


async def test_404_and_410_before_a_stream_begins(guest: Visitor) -> None:
    """What cannot be followed is refused as it is when it is read."""
    task = await guest.submit()
    stranger = await guest.new_key(account="somebody-else")
    reply = await guest.http.get(task["urls"]["events"], headers=guest.using(stranger))
    assert (reply.status_code, reply.json()["error"]["code"]) == (404, "not_found")


async def test_a_worker_tells_how_far_it_is(tmp_path: Path) -> None:
    """A real worker's progress arrives as events, before the end."""
    async with serving(tmp_path / "data") as service:
        task = await service.submit(seconds=6)
        path = f"/v1/tasks/{task['id']}/events"
        async with service.http.stream("GET", path) as reply:
            lines = [line async for line in reply.aiter_lines() if line.startswith("data:")]
    running = [line for line in lines if '"status":"running"' in line]
    assert len(running) >= 2
    assert '"status":"succeeded"' in lines[-1]


# --- of an account ------------------------------------------------------------------------------------------------


async def test_every_ending_of_the_account_is_told(guest: Visitor) -> None:
    """Succeeded, failed, cancelled: each once, with the task as it ended; nothing of other accounts and environments."""
    stranger = guest.using(await guest.new_key(account="somebody-else"))
    dev = guest.using(await guest.new_key(environment="dev"))
    async with listening(guest, "/v1/events") as events:
        coming = asyncio.create_task(events.end())
        await until(lambda: events.started)
        expected = []
        for reason in (None, "decode_failed"):
            expected.append((await guest.submit())["id"])
            await guest.end(reason, "Why." if reason else None)
        for headers in (stranger, dev):
            other = await guest.http.post("/v1/tasks", json={"model": "noop", "input": {}}, headers=headers)
            await guest.http.post(other.json()["urls"]["cancel"], headers=headers)
        expected.append((await guest.submit())["id"])
        await guest.http.post(f"/v1/tasks/{expected[-1]}/cancel")
        told = [await coming, await events.end(), await events.end()]
    assert [one.data["data"]["id"] for one in told] == expected
    assert [one.name for one in told] == ["task.succeeded", "task.failed", "task.cancelled"]
    assert [one.data["data"]["status"] for one in told] == ["succeeded", "failed", "cancelled"]
    assert [one.id.partition("-")[2] for one in told] == expected


async def test_all_that_webhooks_tell_is_told(guest: Visitor) -> None:
    """Starts, credits, limits, endpoints that are shut, tasks that go tomorrow: named and told as webhooks, and again to whoever
    comes back.
    """
    from burnish.workers.sweep import _expiring, _followed

    db = guest.resources.db
    await _expiring(guest.resources)  # from now on they are counted
    async with listening(guest, "/v1/events") as events:
        coming = asyncio.create_task(events.next())
        await until(lambda: events.started)
        task = await guest.submit(retention_seconds=200_000)
        await guest.end()
        told = [await coming, await events.next()]
        facts = {
            "credits.low": b'{"available":3,"low":5}',
            "webhook.disabled": b'{"why":"It answered 410 Gone."}',
        }
        for name, fact in facts.items():
            event = Event(account_id=guest.account_id, environment="live", name=name, facts=fact)
            async with db.transaction() as tx:
                topics = await announce(tx, [event], guest.resources.clock.now())
            db.news.announce(topics)
            told.append(await events.next())
        await write(guest, "UPDATE clock SET ahead = ahead + interval '115000 seconds'")
        await db._hear_time()
        await _expiring(guest.resources)
        told.append(await events.next())
    assert [one.name for one in told] == [
        "task.started", "task.succeeded", "credits.low", "webhook.disabled", "task.expiring",
    ]  # fmt: skip
    assert [one.data["type"] for one in told] == [one.name for one in told]
    assert {one.data["data"].get("id") for one in told} == {task["id"], None}
    assert (told[0].data["data"]["status"], told[0].data["data"]["ended_at"]) == ("running", None)
    assert told[2].data["data"] == {"available": 3, "low": 5}
    assert len({one.id for one in told}) == 5

    async with listening(guest, "/v1/events", last_event_id=events.started) as again:
        assert [(await again.next()).id for _ in told] == [one.id for one in told]
    # A week after the last stream nobody follows any more, and nothing is written down.
    await write(guest, "UPDATE accounts SET followed_until = $1", guest.resources.clock.now())
    await write(guest, "UPDATE events SET at = at - interval '8 days'")
    await _followed(guest.resources)
    await guest.submit()
    await guest.end()
    async with db.reading() as connection:
        assert await connection.fetchval("SELECT count(*) FROM events") == 0


async def test_who_has_no_stream_waits_for_what_is_new(guest: Visitor) -> None:
    """With `wait` the reply is whole: as soon as something newer than the id is there, with what was late; else at its end."""
    none = await guest.http.get("/v1/events", params={"wait": 0})
    start = none.text.partition("id: ")[2].strip()
    assert none.headers["content-length"]
    waiting = asyncio.create_task(guest.http.get("/v1/events?wait=30", headers={"Last-Event-ID": start}))
    task = await guest.submit()
    await guest.end()
    lines = (await waiting).text.splitlines()
    assert [line for line in lines if line.startswith("event: ")] == [
        "event: task.started"
    ]  # the first that came
    last = [line.removeprefix("id: ") for line in lines if line.startswith("id: ")][-1]
    reply = await guest.http.get("/v1/events?wait=30", headers={"Last-Event-ID": last})
    assert f'"id":"{task["id"]}","model":"noop","status":"succeeded"' in reply.text
    ended = [line.removeprefix("id: ") for line in reply.text.splitlines() if line.startswith("id: ")][-1]
    # What is known already does not answer at once, only at the end of the wait.
    again = asyncio.create_task(guest.http.get("/v1/events?wait=1", headers={"Last-Event-ID": ended}))
    fresh = asyncio.create_task(guest.http.get("/v1/events?wait=30"))
    assert "event: task.succeeded" in (await again).text
    assert not fresh.done()
    await guest.submit()
    await guest.end()
    assert "event: task." in (await fresh).text
    for wrong in ("-1", "61", "soon"):
        assert (await guest.http.get("/v1/events", params={"wait": wrong})).status_code == 422


async def test_a_stream_of_an_account_goes_on_where_it_broke_off(guest: Visitor) -> None:
    """What ended while nobody listened is told to whoever comes back with the last id; the same id for the same task."""
    async with listening(guest, "/v1/events") as events:
        coming = asyncio.create_task(events.end())
        await until(lambda: events.started)
        await guest.submit()
        await guest.end()
        known = await coming
    missed = []
    for _ in range(3):
        missed.append((await guest.submit())["id"])
        await guest.end()
    async with listening(guest, "/v1/events", last_event_id=known.id) as events:
        told = [await events.end() for _ in range(4)]
    assert told[0] == known  # of the half minute before, so that none that was late is lost
    assert [one.data["data"]["id"] for one in told[1:]] == missed
    async with listening(guest, "/v1/events", last_event_id=told[-1].id) as events:
        assert (await events.end()).id == known.id


async def test_a_stream_that_broke_off_before_any_event_goes_on(guest: Visitor) -> None:
    """The id that a stream begins with is enough to come back with."""
    async with listening(guest, "/v1/events") as events:
        coming = asyncio.ensure_future(events.rest())
        await until(lambda: events.started)
        coming.cancel()
        await asyncio.gather(coming, return_exceptions=True)
    task = await guest.submit()
    await guest.end()
    async with listening(guest, "/v1/events", last_event_id=events.started) as events:
        assert (await events.end()).data["data"]["id"] == task["id"]


async def test_an_ending_that_commits_late_is_not_left_out(guest: Visitor) -> None:
    """A transaction that took its time ends a task before one that was told already: it is told all the same, once."""
    late, early = await guest.submit(), await guest.submit()
    db = guest.resources.db
    async with listening(guest, "/v1/events") as events:
        coming = asyncio.create_task(events.end())
        await until(lambda: events.started)
        async with db.transaction() as slow:
            moment = db.clock.now() - timedelta(milliseconds=300)
            await slow.execute(
                "UPDATE tasks SET status = 'failed', status_reason = 'internal', ready = false, ended_at = $2 WHERE id = $1",
                task_uuid(late),
                moment,
            )
            await guest.end()  # claims past the one that is held
            assert (await coming).data["data"]["id"] == early["id"]
        db.news.announce([account_topic(guest.account_id)])
        assert (await events.end()).data["data"]["id"] == late["id"]
        next_ = await guest.submit()
        await guest.http.post(next_["urls"]["cancel"])
        assert (await events.end()).data["data"]["id"] == next_["id"]


async def test_a_long_absence_is_told_page_by_page(guest: Visitor) -> None:
    """More endings than one look reads arrive all, in their order, each once."""
    first = await guest.submit()
    await guest.end()
    await write(
        guest,
        """
        INSERT INTO tasks (id, account_id, environment, request_id, model, lane, status, ready, fetchable, input, max_attempts,
                           deadline_seconds, retention_seconds, created_at, ended_at, expires_at)
        SELECT gen_random_uuid(), account_id, environment, request_id, model, lane, status, false, false, input, 1, 1, 60,
               created_at, ended_at + make_interval(secs => n / 100 + 100), expires_at
        FROM tasks, generate_series(1, 600) AS n WHERE id = $1
        """,
        task_uuid(first),
    )
    async with listening(guest, "/v1/events", last_event_id=f"{10**15}-") as events:
        told = [await events.end() for _ in range(601)]
        await guest.submit()
        await guest.end()
    assert len({one.id for one in told}) == 601
    moments = [int(one.id.partition("-")[0]) for one in told]
    assert moments == sorted(moments)


async def test_422_for_an_id_that_is_none(guest: Visitor) -> None:
    """What cannot be an event's id is refused by name rather than taken for the beginning or the end."""
    for given in ("yesterday", "-", "1e9-task_1", "9" * 17 + "-", "\u0661-".encode().decode("latin-1")):
        reply = await guest.http.get("/v1/events", headers=[(b"Last-Event-ID", given.encode("latin-1"))])
        assert (reply.status_code, reply.json()["error"]["param"]) == (422, "Last-Event-ID"), given
