"""`burnish listen`, as a process of its own, between a real service and a real receiver."""

import asyncio
import json
import sys
import threading
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from buffering_proxy import buffering
from burnish.cli import listen
from burnish.client import AsyncClient
from burnish.client._webhooks import Webhooks
from burnish.settings import Settings
from native.surface import Visitor, visit_over_sockets
from waiting import until
from webhooks.conftest import Receiver


@pytest.fixture
async def guest(settings: Settings) -> AsyncIterator[Visitor]:
    async with visit_over_sockets(settings) as guest:
        yield guest


def ended(receiver: Receiver) -> list[dict[str, Any]]:
    """The ends that came."""
    return [body for _, raw in receiver.got if (body := json.loads(raw))["type"] == "task.succeeded"]


async def test_events_reach_a_program_on_this_machine(guest: Visitor, receiver: Receiver) -> None:
    """Signed with the secret that was printed, as a delivery would be; each end once."""
    listening = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "burnish", "listen", "--url", guest.resources.settings.public_url, "--key", guest.secret,
        "--forward", receiver.url, stdout=asyncio.subprocess.PIPE,
    )  # fmt: skip
    try:
        assert listening.stdout is not None
        greeting = (await asyncio.wait_for(listening.stdout.readline(), 20)).decode()
        secret = greeting.split()[-1]
        tasks = []
        while not receiver.got:  # the stream begins when it is there
            tasks.append(await guest.submit())
            await guest.end()
        headers, body = receiver.got[0]
        event = Webhooks().verify(body, headers, secret)
        assert event.type in ("task.started", "task.succeeded")
        assert event.task.id in {task["id"] for task in tasks}
        line = (await asyncio.wait_for(listening.stdout.readline(), 20)).decode()
        assert line.startswith("Stop with")
        line = (await asyncio.wait_for(listening.stdout.readline(), 20)).decode()
        assert line.split() == [event.type, event.task.id, "noop", "->", "204"]
        await until(lambda: ended(receiver))
        assert ended(receiver)[0]["data"] == await guest.read(ended(receiver)[0]["data"]["id"])
    finally:
        listening.terminate()
        await listening.wait()


async def test_a_key_that_is_not_known_ends_it_with_a_message() -> None:
    """Without a key it says what to set."""
    listening = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "burnish", "listen", env={}, stderr=asyncio.subprocess.PIPE
    )
    _, said = await listening.communicate()

    assert listening.returncode == 3
    assert b"BURNISH_API_KEY" in said


@pytest.mark.parametrize("hold", [2_048, 8_192, None])
async def test_a_proxy_that_holds_streams_back_hides_no_event(
    guest: Visitor, hold: int | None, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """Whatever it gathers before it lets go, or everything until the end: a stream that is silent for longer than the service
    ever is is given up for waiting, once, and no event is missed or told twice.
    """
    monkeypatch.setattr(listen, "_SILENCE_SECONDS", 1.5)
    monkeypatch.setattr(listen, "_WAIT_SECONDS", 2)
    guest.resources.follower._quiet_seconds = 1.0
    told: list[tuple[str, str]] = []
    enough = threading.Event()

    def hear(url: str) -> None:
        with httpx.Client(trust_env=False) as http:
            for event in listen._Feed(http, url, guest.secret).events():
                told.append(event)
                if enough.is_set():
                    return

    port = guest.http.base_url.port
    assert port is not None
    async with buffering(port, hold) as url:
        hearing = asyncio.create_task(asyncio.to_thread(hear, url))
        await until(lambda: listened(guest))
        ends = []
        for _ in range(4):
            ends.append((await guest.submit())["id"])
            await guest.end()
        await until(lambda: len(told) >= 8)
        enough.set()
        await guest.submit()
        await guest.end()
        await hearing
    bodies = [json.loads(body) for _, body in told]
    assert [body["data"]["id"] for body in bodies if body["type"] == "task.succeeded"][:4] == ends
    assert len({id_ for id_, _ in told}) == len(told)
    assert capfd.readouterr().err.splitlines() == [
        "Nothing comes through the stream; from now on events are waited for."
    ]


async def listened(guest: Visitor) -> bool:
    async with guest.resources.db.reading() as connection:
        return bool(
            await connection.fetchval("SELECT count(*) FROM accounts WHERE followed_until IS NOT NULL")
        )


@pytest.mark.parametrize("hold", [2_048, 8_192, None])
async def test_the_client_waits_through_such_a_proxy(guest: Visitor, hold: int | None) -> None:
    """It reads no streams: a reply that comes at the end of a task is whole, and comes through at once."""
    port = guest.http.base_url.port
    assert port is not None
    async with buffering(port, hold) as url, AsyncClient(url, guest.secret) as client:
        waiting = asyncio.create_task(client.tasks.run("noop", {}, timeout=30))
        await until(lambda: queued(guest))
        await guest.end()
        assert (await waiting).succeeded


async def queued(guest: Visitor) -> bool:
    async with guest.resources.db.reading() as connection:
        return bool(await connection.fetchval("SELECT count(*) FROM tasks WHERE ready"))
