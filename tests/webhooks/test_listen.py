"""`burnish listen`, as a process of its own, between a real service and a real receiver."""

import asyncio
import json
import sys
from collections.abc import AsyncIterator

import pytest

from burnish.client._webhooks import Webhooks
from burnish.settings import Settings
from native.surface import Visitor, visit_over_sockets
from webhooks.conftest import Receiver


@pytest.fixture
async def guest(settings: Settings) -> AsyncIterator[Visitor]:
    async with visit_over_sockets(settings) as guest:
        yield guest


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
        assert event.type == "task.succeeded"
        assert event.task.id in {task["id"] for task in tasks}
        line = (await asyncio.wait_for(listening.stdout.readline(), 20)).decode()
        assert line.startswith("Stop with")
        line = (await asyncio.wait_for(listening.stdout.readline(), 20)).decode()
        assert line.split() == [event.task.id, "succeeded", "noop", "->", "204"]
        assert json.loads(body)["data"] == await guest.read(event.task.id)
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
