"""A service without a worker, and a client of its HiAPI surface."""

from collections.abc import AsyncIterator, Awaitable, Callable

import httpx
import pytest

from burnish.settings import Settings
from native.surface import Visitor, visit
from waiting import until


@pytest.fixture
async def visitor(settings: Settings) -> AsyncIterator[Visitor]:
    """The app, called in this process; what its native client is answered is held to the document."""
    async with visit(settings) as visitor:
        yield visitor


@pytest.fixture
async def hiapi(visitor: Visitor) -> AsyncIterator[httpx.AsyncClient]:
    """A client of the HiAPI surface, with the same key."""
    transport = httpx.ASGITransport(visitor.app, raise_app_exceptions=False)
    base_url = f"{visitor.resources.settings.public_url}/hiapi"
    headers = {"Authorization": f"Bearer {visitor.secret}"}
    async with httpx.AsyncClient(transport=transport, base_url=base_url, headers=headers) as http:
        yield http


@pytest.fixture
def pass_time(visitor: Visitor) -> Callable[[float], Awaitable[None]]:
    """Move the service's time ahead by so many seconds."""

    async def move(seconds: float) -> None:
        db = visitor.resources.db
        before = db.clock.now()
        async with db.transaction() as tx:
            await tx.execute("UPDATE clock SET ahead = ahead + make_interval(secs => $1)", float(seconds))
        db.news.announce(["clock"])
        await until(lambda: (db.clock.now() - before).total_seconds() >= seconds)

    return move
