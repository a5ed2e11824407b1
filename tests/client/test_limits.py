"""Keeping to limits, over HTTP: what both clients do with what the headers tell, and how many tasks they run at once."""

import asyncio
import threading
from typing import Any

import pytest

from burnish import client as burnish
from client.played import KEY, PlayedService
from client.talk import Talk
from waiting import until

CREATE = "POST /v1/tasks"
READ = "GET /v1/tasks/{id}"
MODELS = "GET /v1/models"
SPENT = {"RateLimit-Policy": '"create-rate";q=60;w=60, "read-rate";q=30;w=60',
         "RateLimit": '"create-rate";r=0;t=20, "read-rate";r=0;t=40'}  # fmt: skip


def create(client: Any) -> Any:
    return client.tasks.create("upscale", {"image": "upload_9"})


def both(one: Any, other: Any) -> Any:
    """One after the other, of one client of either kind."""

    def do(client: Any) -> Any:
        first = one(client)
        if not asyncio.iscoroutine(first):
            return other(client)

        async def go() -> Any:
            await first
            return await other(client)

        return go()

    return do


def test_a_spent_rate_is_waited_for_and_not_run_into(talk: Talk, service: PlayedService) -> None:
    """One a second: the next request that creates leaves a second later, without a refusal; reading has its own rate."""
    service.limits = SPENT

    talk(both(create, create))
    assert len(talk.pauses) == 1
    assert 1 <= talk.pauses[0] <= 1.01

    service.clock.pauses.clear()
    talk(both(create, lambda client: client.tasks.get("task_1")))
    assert talk.pauses == []

    talk(both(lambda client: client.tasks.get("task_1"), lambda client: client.tasks.get("task_1")))
    assert len(talk.pauses) == 1
    assert 2 <= talk.pauses[0] <= 2.01


def test_one_rate_for_both_is_known_as_one(talk: Talk, service: PlayedService) -> None:
    """`key-rate` holds for whatever is asked."""
    service.limits = {"RateLimit-Policy": '"key-rate";q=60;w=60', "RateLimit": '"key-rate";r=0;t=20'}

    talk(both(create, lambda client: client.tasks.get("task_1")))

    assert len(talk.pauses) == 1


def test_a_refused_rate_holds_everyone_back(talk: Talk, service: PlayedService) -> None:
    """Once a reading was refused, the next one waits as long as the service asked, though another asks for it."""
    create_ = talk(create)
    service.plays(READ, service.refuses(429, "polling_rate_limited", headers={"Retry-After": "9"}))

    def read_twice(client: Any) -> Any:
        return client.tasks.get(create_)

    def limited(client: Any) -> Any:
        def caught() -> None:
            with pytest.raises(burnish.Limited):
                client.tasks.get(create_)

        async def caught_awaited() -> None:
            with pytest.raises(burnish.Limited):
                await client.tasks.get(create_)

        return caught_awaited() if isinstance(client, burnish.AsyncClient) else caught()

    talk(both(limited, read_twice), max_retries=0)

    assert len(talk.pauses) == 1
    assert 8.9 <= talk.pauses[0] <= 9.1


def test_no_request_that_creates_is_ahead_of_the_first_reply(service: PlayedService) -> None:
    """Ten at once on a fresh client: until the service has told how it limits, there is one; then the others leave."""
    told = threading.Event()
    service.plays(CREATE, service.waits_for(told))

    async def go() -> None:
        async with burnish.AsyncClient(service.url, KEY) as client, asyncio.TaskGroup() as group:
            for _ in range(10):
                group.create_task(client.tasks.create("upscale", {"image": "upload_9"}))
            await until(lambda: service.of(CREATE))
            assert len(service.of(CREATE)) == 1
            told.set()

    asyncio.run(go())
    assert len(service.tasks) == 10


@pytest.mark.parametrize(("lane", "at_once"), [("light", 5), ("heavy", 2)])
async def test_so_many_run_at_once(service: PlayedService, lane: str, at_once: int) -> None:
    """Of a dozen runs, five of a light model are under way at a time, and two of a heavy one; all end."""
    service.lane = lane
    release = threading.Event()
    service.plays(READ, *[service.waits_for(release)] * 12)
    async with burnish.AsyncClient(service.url, KEY) as client, asyncio.TaskGroup() as group:
        runs = [group.create_task(client.tasks.run("upscale", {"image": "upload_9"})) for _ in range(12)]
        await until(lambda: len(service.of(READ)) == at_once)
        assert len(service.tasks) == at_once
        assert client.tasks.at_once("upscale") == at_once
        release.set()

    assert all(run.result().succeeded for run in runs)
    assert (len(service.tasks), len(service.of(MODELS))) == (12, 1)


async def test_a_plan_of_two_is_never_asked_for_three(service: PlayedService) -> None:
    """The first task goes alone until the service has told how many there may be; then there are so many."""
    service.limits = {
        "RateLimit-Policy": '"tasks-at-once";q=2;qu="concurrent-requests"',
        "RateLimit": '"tasks-at-once";r=1',
    }
    release = threading.Event()
    service.plays(READ, *[service.waits_for(release)] * 8)
    async with burnish.AsyncClient(service.url, KEY) as client, asyncio.TaskGroup() as group:
        runs = [group.create_task(client.tasks.run("upscale", {"image": "upload_9"})) for _ in range(8)]
        await until(lambda: len(service.of(READ)) == 2)
        assert (len(service.tasks), client.tasks.at_once("upscale")) == (2, 2)
        release.set()

    assert all(run.result().succeeded for run in runs)


def test_threads_take_turns_too(service: PlayedService) -> None:
    """Eight threads that share a `Client`: five at once, and each has its result."""
    release = threading.Event()
    service.plays(READ, *[service.waits_for(release)] * 8)
    ended: list[burnish.Task] = []
    with burnish.Client(service.url, KEY) as client:

        def run() -> None:
            ended.append(client.tasks.run("upscale", {"image": "upload_9"}))

        threads = [threading.Thread(target=run) for _ in range(8)]
        for thread in threads:
            thread.start()
        asyncio.run(until(lambda: len(service.of(READ)) == 5))
        assert len(service.tasks) == 5
        release.set()
        for thread in threads:
            thread.join(30)

    assert len({task.id for task in ended}) == 8


async def test_who_gives_up_in_the_line_holds_nobody_up(service: PlayedService) -> None:
    """A run that is cancelled while it awaits its turn, and one that is cancelled while it has it."""
    release = threading.Event()
    service.plays(READ, *[service.waits_for(release)] * 5)
    async with burnish.AsyncClient(service.url, KEY) as client:
        runs = [asyncio.create_task(client.tasks.run("upscale", {"image": "upload_9"})) for _ in range(7)]
        await until(lambda: len(service.of(READ)) == 5)
        for given_up in (runs[0], runs[5]):
            given_up.cancel()
        await until(lambda: len(service.tasks) == 6)  # the seventh has the first one's turn
        release.set()
        ended = await asyncio.gather(*runs, return_exceptions=True)

    assert [type(one) for one in ended].count(asyncio.CancelledError) == 2
    assert sum(isinstance(one, burnish.Task) for one in ended) == 5


def test_a_turn_is_taken_by_hand(talk: Talk, service: PlayedService) -> None:
    """For those who create and wait apart."""

    def by_hand(client: Any) -> Any:
        turn = client.tasks.turn("upscale")
        if not asyncio.iscoroutine(turn):
            with turn:
                return client.tasks.wait(create(client))

        async def go() -> Any:
            with await turn:
                return await client.tasks.wait(await create(client))

        return go()

    assert talk(by_hand).succeeded


def test_a_catalogue_that_cannot_be_read_stops_nobody(talk: Talk, service: PlayedService) -> None:
    """A key that may not read it, or a service that has none: all models are light."""
    service.plays(MODELS, service.refuses(403))

    assert talk(lambda client: client.tasks.run("upscale", {"image": "upload_9"})).succeeded


def test_watching_leaves_room_for_others(talk: Talk, service: PlayedService) -> None:
    """Where few readings are allowed, each is held for longer: half of the rate stays free."""
    service.limits = {"RateLimit-Policy": '"read-rate";q=6;w=60', "RateLimit": '"read-rate";r=5;t=10'}
    service.life = [{"status": "queued"}, {"status": "running"}, {"status": "succeeded"}]

    talk(lambda client: client.tasks.run("upscale", {"image": "upload_9"}, progress=lambda task: None))

    assert [int(asked.query["wait"]) >= 20 for asked in service.of(READ)] == [True, True]
