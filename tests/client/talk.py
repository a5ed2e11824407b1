"""Either client, spoken to alike, so that every promise is tested on both."""

import asyncio
import inspect
import ssl
from collections.abc import Callable
from typing import Any

import httpx

from burnish.client import AsyncClient, Client
from client.played import KEY, PlayedService

_TLS = ssl.create_default_context()  # once: reading the certificates is most of what making a client takes


class Talk:
    """Either client, spoken to alike: `talk(lambda client: client.tasks.get("task_1"))` is its result."""

    def __init__(self, kind: str, service: PlayedService) -> None:
        self.kind = kind
        self.clock = service.clock
        self.pauses = service.clock.pauses
        self.runner = asyncio.Runner()
        self.url = service.url

    def __call__(self, do: Callable[[Any], Any], **options: Any) -> Any:
        arguments: dict[str, Any] = {"url": self.url, "key": KEY, "clock": lambda: self.clock.now, **options}
        if self.kind == "Client":
            with (
                httpx.Client(verify=_TLS) as http,
                Client(sleep=self.clock.sleep, http=http, **arguments) as client,
            ):
                result = do(client)
                return list(result) if inspect.isgenerator(result) else result
        return self.runner.run(self._awaited(do, arguments))

    async def _awaited(self, do: Callable[[Any], Any], arguments: dict[str, Any]) -> Any:
        async with (
            httpx.AsyncClient(verify=_TLS) as http,
            AsyncClient(sleep=self.clock.sleep_awaited, http=http, **arguments) as client,
        ):
            result = do(client)
            return [item async for item in result] if inspect.isasyncgen(result) else await result
