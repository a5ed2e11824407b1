"""A service without a worker, and time that moves for it."""

from collections.abc import AsyncIterator, Awaitable, Callable

import pytest

from burnish.settings import Settings
from native.surface import Visitor, visit, visit_over_sockets
from waiting import until


@pytest.fixture
async def visitor(settings: Settings) -> AsyncIterator[Visitor]:
    """The app, called in this process."""
    async with visit(settings) as visitor:
        yield visitor


@pytest.fixture
async def guest(settings: Settings) -> AsyncIterator[Visitor]:
    """The app behind the real server, over sockets."""
    async with visit_over_sockets(settings) as visitor:
        yield visitor


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
