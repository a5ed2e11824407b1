"""A service without a worker: called in this process, or over sockets."""

from collections.abc import AsyncIterator

import pytest

from burnish.settings import Settings
from native.surface import Visitor, visit, visit_over_sockets


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
