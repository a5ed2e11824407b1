"""What whoever waits is told: whether anything has changed, when to look again, who is before them, what happened; and
what many who wait at once cost.
"""

import asyncio
import contextlib
import dataclasses
import resource
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import psutil

from burnish.settings import Settings
from burnish.tasks import lease
from burnish.tasks.finish import Ending
from burnish.tasks.task import LIGHT
from burnish.workers.sweep import STEPS
from native.surface import Visitor, task_uuid, visit_over_sockets
from real_service import serving
from waiting import until

PassTime = Callable[[float], Awaitable[None]]

MANY = 1_000


async def write(visitor: Visitor, sql: str, *arguments: object) -> None:
    async with visitor.resources.db.transaction() as tx:
        await tx.execute(sql, *arguments)


def look_anew(visitor: Visitor) -> None:
    """What is known of times and places is too old now."""
    outlooks = visitor.resources.outlooks
    for kept in (outlooks._times, *outlooks._places.values()):
        kept._until = 0.0  # type: ignore[attr-defined]


async def a_worker_is_there(visitor: Visitor, light: int = 1) -> None:
    now = visitor.resources.clock.now()
    sql = "INSERT INTO workers (id, host, pid, seen_at, light) VALUES (gen_random_uuid(), 'a', 1, $1, $2)"
    await write(visitor, sql, now, light)


# --- has it changed? ----------------------------------------------------------------------------------------------


async def test_304_until_something_has_changed(visitor: Visitor) -> None:
    """The tag of what was read answers 304, with the ordinary headers, until the task is another; every change is one."""
    task = await visitor.submit()
    seen: list[str] = []

    async def read(known: str | None = None) -> Any:
        headers = {"If-None-Match": known} if known else {}
        return await visitor.http.get(f"/v1/tasks/{task['id']}", headers=headers)

    async def changed() -> None:
        fresh = await read(seen[-1] if seen else None)
        assert fresh.status_code == 200
        seen.append(fresh.headers["etag"])
        again = await read(f'"other", {seen[-1]}')
        assert (again.status_code, again.content) == (304, b"")
        assert again.headers["etag"] == seen[-1]
        assert again.headers["request-id"].startswith("req_")
        assert again.headers["cache-control"] == "no-store"
        assert again.headers.get("retry-after") == fresh.headers.get("retry-after")

    await changed()
    claimed = await visitor.claim()
    await changed()
    await write(visitor, "UPDATE tasks SET stage = 'working' WHERE id = $1", claimed.id)
    await changed()
    await write(visitor, "UPDATE tasks SET progress = 0.0001 WHERE id = $1", claimed.id)
    await changed()
    await visitor.http.post(task["urls"]["cancel"])
    await changed()
    await visitor.http.post(f"/v1/tasks/{task['id']}/keep", json={"retention_seconds": 604_800})
    assert len(set(seen)) == len(seen) == 5
    assert all(tag.startswith('W/"') for tag in seen)


async def test_a_wait_that_ends_with_what_is_known_is_a_304(visitor: Visitor) -> None:
    """With `wait` the reply comes at its end; if that is what the client had, it has no body."""
    task = await visitor.submit()
    await visitor.end()
    path = f"/v1/tasks/{task['id']}?wait=60"
    tag = (await visitor.http.get(path)).headers["etag"]
    assert (await visitor.http.get(path, headers={"If-None-Match": tag})).status_code == 304


async def test_a_304_and_a_wait_cost_one_read(visitor: Visitor) -> None:
    """Of the key's rate, as any read does."""
    await visitor.submit()
    await write(
        visitor, """UPDATE accounts SET overrides = '{"rates": {"read": {"limit": 1, "burst": 5}}}'"""
    )
    secret = visitor.using(await visitor.new_key())  # one that has not been seen under the former terms
    left = []
    task, tag = (await visitor.http.get("/v1/tasks", headers=secret)).json()["data"][0]["id"], '""'
    for query in ("", "", "?wait=1"):
        headers = secret | {"If-None-Match": tag}
        reply = await visitor.http.get(f"/v1/tasks/{task}{query}", headers=headers)
        tag = reply.headers["etag"]
        left.append((reply.status_code, reply.headers["ratelimit"].partition(";r=")[2].partition(";")[0]))
    assert left == [(200, "3"), (304, "2"), (304, "1")]


# --- when will it be done? ----------------------------------------------------------------------------------------


async def test_a_queued_task_is_told_who_is_before_it(visitor: Visitor) -> None:
    """`queue_position` counts the tasks of the lane that are next before it, whoever's; it is null for any other."""
    tasks = [await visitor.submit() for _ in range(3)]
    assert [task["queue_position"] for task in tasks] == [None] * 3  # submitting does not ask
    assert [(await visitor.read(task["id"]))["queue_position"] for task in tasks] == [0, 1, 2]
    await visitor.claim()
    look_anew(visitor)
    assert [(await visitor.read(task["id"]))["queue_position"] for task in tasks] == [None, 0, 1]
    waiting = await visitor.submit(model="upscale", input={"image": "https://example.com/a.jpg"})
    assert (await visitor.read(waiting["id"]))["queue_position"] is None


async def test_a_parked_task_has_no_place(visitor: Visitor) -> None:
    """Without a slot nobody knows when it has its turn."""
    overrides = '{"at_once": {"account": {"limit": 1, "on_limit": "queue"}}}'
    await write(visitor, "UPDATE accounts SET overrides = $1", overrides)
    _, parked = await visitor.submit(), await visitor.submit()
    task = await visitor.read(parked["id"])
    assert (task["status"], task["queue_position"], task["eta_seconds"]) == ("queued", None, None)


async def test_places_far_behind_are_not_counted(visitor: Visitor) -> None:
    """Behind a thousand tasks a task is told of a thousand, and of no time."""
    first = await visitor.submit()
    await write(
        visitor,
        """
        INSERT INTO tasks (id, account_id, environment, request_id, model, lane, status, ready, tag, fetchable, input,
                           max_attempts, deadline_seconds, retention_seconds, created_at, queued_at, expires_at)
        SELECT gen_random_uuid(), account_id, environment, request_id, model, lane, status, true, tag - n, false, input, 1, 1,
               60, created_at, queued_at, expires_at
        FROM tasks, generate_series(1, 1500) AS n WHERE id = $1
        """,
        task_uuid(first),
    )
    await a_worker_is_there(visitor)
    task = await visitor.read(first["id"])
    assert (task["queue_position"], task["eta_seconds"]) == (1_000, None)


async def test_times_are_those_of_late(visitor: Visitor, pass_time: PassTime) -> None:
    """How long tasks of the model took, who is before it and how many run at once make `eta_seconds` and `Retry-After`."""
    assert (await visitor.http.post("/v1/tasks", json={"model": "noop", "input": {}})).headers[
        "retry-after"
    ] == "1"
    claimed = await visitor.claim()
    await pass_time(8)
    await write(visitor, "UPDATE tasks SET leased_until = leased_until + interval '1 minute'")
    await visitor.resources.endings.end(Ending(claimed))
    look_anew(visitor)
    tasks = [await visitor.submit() for _ in range(5)]

    assert (await visitor.read(tasks[0]["id"]))["eta_seconds"] is None  # nobody is there to do it
    await a_worker_is_there(visitor, light=2)
    look_anew(visitor)
    etas = [(await visitor.read(task["id"]))["eta_seconds"] for task in tasks]
    assert etas in ([9, 13, 17, 21, 25], [8, 12, 16, 20, 24])

    reply = await visitor.http.get(f"/v1/tasks/{tasks[4]['id']}")
    assert reply.headers["retry-after"] == str(etas[4])
    again = await visitor.http.post("/v1/tasks", json={"model": "noop", "input": {}})
    assert again.headers["retry-after"] == str(etas[0])


async def test_retry_after_is_half_a_minute_at_most(visitor: Visitor) -> None:
    """However long tasks take, whoever polls is asked back soon enough to cancel or to be told."""
    now = visitor.resources.clock.now()
    await write(
        visitor,
        "INSERT INTO usage (account_id, hour, model, key_id, succeeded, failed, cancelled, credits, runs, run_seconds) "
        "SELECT id, date_trunc('hour', $1::timestamptz), 'noop', id, 3, 0, 0, 0, 3, 900 FROM accounts",
        now,
    )
    task = await visitor.submit()  # afterwards: what was asked once is known for some seconds
    reply = await visitor.http.get(f"/v1/tasks/{task['id']}")
    assert (reply.json()["eta_seconds"], reply.headers["retry-after"]) == (None, "30")


async def test_a_running_task_tells_what_is_left(visitor: Visitor, pass_time: PassTime) -> None:
    """By its own progress once there is some; before, nobody knows where no run has ended."""
    task = await visitor.submit()
    claimed = await visitor.claim()
    assert (await visitor.read(task["id"]))["eta_seconds"] is None
    await pass_time(10)
    await write(visitor, "UPDATE tasks SET progress = 0.25 WHERE id = $1", claimed.id)
    assert 29 <= (await visitor.read(task["id"]))["eta_seconds"] <= 33
    await visitor.http.post(task["urls"]["cancel"])
    ended = await visitor.read(task["id"])
    assert (ended["queue_position"], ended["eta_seconds"]) == (None, None)


async def test_readers_do_not_ask_one_by_one(visitor: Visitor) -> None:
    """However many read queued tasks, places and times are asked for once."""
    task = await visitor.submit()
    asked = 0
    places = visitor.resources.outlooks._places[LIGHT]
    ask = places._ask

    async def counted(connection: Any) -> list[int]:
        nonlocal asked
        asked += 1
        return await ask(connection)

    places._ask = counted
    await asyncio.gather(*(visitor.read(task["id"]) for _ in range(50)))
    assert asked == 1


async def test_a_task_of_a_test_key_is_next(visitor: Visitor) -> None:
    """They are claimed apart, so nobody is before them."""
    tester = visitor.using(await visitor.new_key(environment="test"))
    for _ in range(2):
        await visitor.submit()
        made = await visitor.http.post("/v1/tasks", json={"model": "noop", "input": {}}, headers=tester)
    reply = await visitor.http.get(f"/v1/tasks/{made.json()['id']}", headers=tester)
    assert reply.json()["queue_position"] == 0


# --- what happened? -----------------------------------------------------------------------------------------------


async def test_a_timeline_tells_what_happened(visitor: Visitor, pass_time: PassTime) -> None:
    """Submitted, queued when its bytes had been seen, started, a worker lost, its end: with moments, runs and reason."""
    upload = await visitor.upload(b"a picture")
    sent = await visitor.http.post("/v1/tasks", json={"model": "upscale", "input": {"image": upload["id"]}})
    path = f"/v1/tasks/{sent.json()['id']}/timeline"

    async def events() -> list[tuple[str, int | None]]:
        return [(one["event"], one["attempt"]) for one in (await visitor.http.get(path)).json()["data"]]

    assert await events() == [("submitted", None)]
    await visitor.arrive()
    assert await events() == [("submitted", None), ("queued", None)]
    await visitor.claim()
    await pass_time(60)
    lost_leases = STEPS[0]
    await lost_leases(visitor.resources)
    await visitor.end("engine_refused", "No.")

    timeline = (await visitor.http.get(path)).json()
    assert await events() == [
        ("submitted", None), ("queued", None), ("started", 1), ("worker_lost", 1), ("failed", 2),
    ]  # fmt: skip
    assert timeline["request_id"] == sent.headers["request-id"]
    assert timeline["attempts"] == 2
    assert timeline["data"][-1]["reason"] == "engine_refused"
    moments = [one["at"] for one in timeline["data"]]
    assert moments == sorted(moments)


async def test_a_cancelled_task_has_a_timeline_too(visitor: Visitor) -> None:
    """One that never ran names no run; another account's is not there."""
    task = await visitor.submit()
    await visitor.http.post(task["urls"]["cancel"])
    timeline = (await visitor.http.get(f"/v1/tasks/{task['id']}/timeline")).json()
    assert [(one["event"], one["attempt"]) for one in timeline["data"]] == [
        ("submitted", None), ("queued", None), ("cancelled", None),
    ]  # fmt: skip
    stranger = visitor.using(await visitor.new_key(account="somebody-else"))
    reply = await visitor.http.get(f"/v1/tasks/{task['id']}/timeline", headers=stranger)
    assert reply.status_code == 404


# --- many at once -------------------------------------------------------------------------------------------------


async def test_a_thousand_wait_on_one_connection(settings: Settings) -> None:
    """A thousand clients that wait, half of them on streams, take no connection of the database beyond those that the process
    may have anyway; each hears of its end.
    """
    wide = dataclasses.replace(settings.limits, ip_per_second=100_000, ip_burst=100_000)
    async with (
        visit_over_sockets(dataclasses.replace(settings, limits=wide)) as guest,
        contextlib.AsyncExitStack() as stack,
    ):
        db = guest.resources.db
        tasks = [await guest.submit() for _ in range(MANY // 100)]
        await asyncio.gather(*(guest.read(task["id"]) for task in tasks))
        readers = []
        for number in range(MANY):
            task = tasks[number % len(tasks)]
            path = f"/v1/tasks/{task['id']}" + ("/events" if number % 2 else "?wait=60")
            reader, writer = await asyncio.open_connection("127.0.0.1", guest.http.base_url.port)
            stack.callback(writer.close)
            writer.write(
                f"GET {path} HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {guest.secret}\r\n\r\n".encode()
            )
            readers.append((reader, task))
        await until(
            lambda: (
                sum(len(told) for topic, told in db.news._subscribers.items() if topic[:2] == "t:") == MANY
            )
        )
        async with db.reading() as connection:
            # Three pools (of `database.connections`, 2 and 2), and two connections for news.
            assert guest.resources.settings.database.connections + 6 >= await connection.fetchval(
                "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()"
            )
        seconds = guest.resources.settings.tasks.lease_seconds
        for claimed in await lease.claim(db, LIGHT, MANY, seconds):
            assert await guest.resources.endings.end(Ending(claimed))
        async with asyncio.timeout(30):
            for reader, _ in readers:
                assert await reader.readuntil(b'"status":"succeeded"')


async def test_a_service_takes_as_many_files_as_it_may(tmp_path: Path) -> None:
    """`burnish serve` raises the soft limit of open files, for each client that waits is one."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(soft, 512), hard))
    try:
        async with serving(tmp_path / "data") as service:
            taken, _ = psutil.Process(service.process.pid).rlimit(psutil.RLIMIT_NOFILE)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert taken == min(hard, 65_536)
