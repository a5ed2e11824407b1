"""Event streams as a client reads them: over sockets, event by event."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import httpx

from native.surface import Visitor


@dataclass
class Told:
    """One event, its data read."""

    id: str
    name: str
    data: dict[str, Any]


class Listening:
    """An open stream. `comments` counts those that came so far, `started` is the id that it began with."""

    def __init__(self, reply: httpx.Response) -> None:
        self.reply = reply
        self.comments: list[str] = []
        self.started = ""
        self._blocks = self._read()

    async def next(self) -> Told:
        """The next event."""
        async with asyncio.timeout(20):
            return await anext(self._blocks)

    async def end(self) -> Told:
        """The next event of an account's stream that is no start of a task."""
        while (told := await self.next()).name == "task.started":
            pass
        return told

    async def rest(self) -> list[Told]:
        """All events until the stream ends."""
        return [told async for told in self._blocks]

    async def _read(self) -> AsyncIterator[Told]:
        fields: dict[str, str] = {}
        async for line in self.reply.aiter_lines():
            name, _, value = line.partition(":")
            if line.startswith(":"):
                self.comments.append(line)
            elif line:
                fields[name] = value.removeprefix(" ")
            elif "data" in fields:
                yield Told(fields["id"], fields["event"], json.loads(fields["data"]))
                fields = {}
            else:
                self.started = fields.get("id", self.started)
                fields = {}


@contextlib.asynccontextmanager
async def listening(guest: Visitor, path: str, secret: str = "", **headers: str) -> AsyncIterator[Listening]:
    """A client of its own on that path, until the block ends."""
    sent = guest.using(secret or guest.secret) | {
        name.replace("_", "-"): value for name, value in headers.items()
    }
    async with (
        httpx.AsyncClient(base_url=str(guest.http.base_url), timeout=30, trust_env=False) as http,
        http.stream("GET", path, headers=sent) as reply,
    ):
        yield Listening(reply)
