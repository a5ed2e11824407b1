"""A receiver that is a real server and answers as it is told, and a service whose deliveries go out."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

import pytest
from aiohttp import web

from burnish.dialects.native.deliveries import NativeWords
from burnish.outbound import Outbound
from burnish.settings import Settings
from burnish.tasks.audit import audit
from burnish.uploads.sign import Links
from burnish.webhooks.deliver import Deliverer
from burnish.webhooks.event import NATIVE
from burnish.workers.deliver import Delivering
from native.surface import Visitor, visit

Answer = Callable[[web.Request], Awaitable[web.StreamResponse]]


async def accept(_request: web.Request) -> web.StreamResponse:
    return web.Response(status=204)


def status(code: int, **headers: str) -> Answer:
    """Answers so, with these headers (`retry_after` -> Retry-After)."""

    async def answer(_request: web.Request) -> web.StreamResponse:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return web.Response(status=code, headers=named, text="as the test wanted")

    return answer


@dataclass
class Receiver:
    """What came, in order; `answer` says what is answered."""

    url: str = ""
    answer: Answer = accept
    got: list[tuple[dict[str, str], bytes]] = field(default_factory=list)
    came: asyncio.Event = field(default_factory=asyncio.Event)

    async def take(self, request: web.Request) -> web.StreamResponse:
        headers = {name.lower(): value for name, value in request.headers.items()}
        self.got.append((headers, await request.read()))
        self.came.set()
        return await self.answer(request)

    async def wait_for(self, count: int) -> None:
        """Until so many have come."""
        async with asyncio.timeout(20):
            while len(self.got) < count:
                self.came.clear()
                await self.came.wait()


@contextlib.asynccontextmanager
async def receiving(port: int = 0) -> AsyncIterator[Receiver]:
    receiver = Receiver()
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", receiver.take)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", port)
    await site.start()
    port = runner.addresses[0][1]
    receiver.url = f"http://127.0.0.1:{port}/hook"
    try:
        yield receiver
    finally:
        await runner.cleanup()


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    async with receiving() as one:
        yield one


@pytest.fixture
async def visitor(settings: Settings) -> AsyncIterator[Visitor]:
    """A service without a worker but for its delivering lanes; the doctor finds nothing in the end."""
    async with visit(settings) as visitor, delivering(visitor):
        yield visitor
        assert await audit(visitor.resources.db, visitor.resources.plans) == []


@contextlib.asynccontextmanager
async def delivering(visitor: Visitor, outbound: Outbound | None = None) -> AsyncIterator[None]:
    """The lanes of one worker; `outbound`: through another guard than the service's."""
    resources = visitor.resources
    links = Links(resources.secret_keys, resources.settings.public_url)
    words = NativeWords(resources.reads, links, resources.settings.public_url)
    lanes = Delivering(
        resources, Deliverer(outbound or resources.outbound, resources.seal, resources.clock, {NATIVE: words})
    )
    running = [asyncio.create_task(lanes.run(sound=sound)) for sound in (True, False)]
    try:
        yield
    finally:
        for lane in running:
            lane.cancel()
        found = await asyncio.gather(*running, return_exceptions=True)
        assert [one for one in found if not isinstance(one, asyncio.CancelledError)] == []


async def open_endpoint(visitor: Visitor, url: str, *events: str) -> dict[str, Any]:
    """An endpoint, with its secret."""
    reply = await visitor.http.post("/v1/webhooks", json={"url": url, "events": list(events)})
    assert reply.status_code == 201, reply.text
    found: dict[str, Any] = reply.json()
    return found


async def pass_time(visitor: Visitor, seconds: float) -> None:
    """Move the service's time ahead, and wake the lanes."""
    db = visitor.resources.db
    async with db.transaction() as tx:
        await tx.execute("UPDATE clock SET ahead = ahead + make_interval(secs => $1)", float(seconds))
    await db._hear_time()
    db.news.announce(["deliver"])
