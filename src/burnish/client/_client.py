"""The two clients: an address, a key, and the resources behind them."""

import asyncio
import os
import time
from collections.abc import Awaitable, Callable
from types import TracebackType
from typing import Final, Self

import httpx

from burnish.client._account import (
    AsyncCreditsOfAccount,
    AsyncLimits,
    AsyncQuotes,
    AsyncUsageOfAccount,
    CreditsOfAccount,
    Limits,
    Quotes,
    UsageOfAccount,
)
from burnish.client._models import AsyncModels, Models
from burnish.client._outputs import AsyncOutputs, Outputs
from burnish.client._remote import Remote
from burnish.client._tasks import AsyncTasks, Tasks
from burnish.client._uploads import AsyncUploads, Uploads
from burnish.client._webhooks import Webhooks

DEFAULT_URL: Final = "http://127.0.0.1:8000"

#: Idle connections are given up before the service gives them up after 5 s, so that no request meets a closed one.
_LIMITS: Final = httpx.Limits(max_connections=100, max_keepalive_connections=20, keepalive_expiry=4.0)


class Client:
    """A client whose methods block. Threads may share one; close it, or use it in a `with`.

    Args:
        url: where the service is; else `BURNISH_URL`, else `http://127.0.0.1:8000`.
        key: the API key; else `BURNISH_API_KEY`.
        timeout_seconds: the longest silence of a connection that is borne.
        max_retries: tries after the first, of one request.
        http: an `httpx.Client` of yours, for proxies or certificates; it stays yours to close.
        sleep: what pauses between tries; takes seconds.
        clock: monotonic seconds, for the `timeout` of waits.

    Raises:
        ValueError: there is no key, or the address is no http(s) URL.
    """

    def __init__(
        self,
        url: str | None = None,
        key: str | None = None,
        *,
        timeout_seconds: float = 60.0,
        max_retries: int = 6,
        http: httpx.Client | None = None,
        sleep: Callable[[float], object] = time.sleep,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        remote = _remote(url, key, timeout_seconds, max_retries, clock)
        self.url = remote.url
        self._own = http is None
        self._http = httpx.Client(limits=_LIMITS) if http is None else http
        self.tasks = Tasks(remote, self._http, sleep)
        self.uploads = Uploads(remote, self._http, sleep)
        self.outputs = Outputs(remote, self._http, sleep)
        self.models = Models(remote, self._http, sleep)
        self.quotes = Quotes(remote, self._http, sleep)
        self.limits = Limits(remote, self._http, sleep)
        self.credits = CreditsOfAccount(remote, self._http, sleep)
        self.usage = UsageOfAccount(remote, self._http, sleep)
        self.webhooks = Webhooks()

    def close(self) -> None:
        """Close the connections."""
        if self._own:
            self._http.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class AsyncClient:
    """A client whose methods are awaited, in asyncio. The arguments are those of `Client`; `sleep` is awaited."""

    def __init__(
        self,
        url: str | None = None,
        key: str | None = None,
        *,
        timeout_seconds: float = 60.0,
        max_retries: int = 6,
        http: httpx.AsyncClient | None = None,
        sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        remote = _remote(url, key, timeout_seconds, max_retries, clock)
        self.url = remote.url
        self._own = http is None
        self._http = httpx.AsyncClient(limits=_LIMITS) if http is None else http
        self.tasks = AsyncTasks(remote, self._http, sleep)
        self.uploads = AsyncUploads(remote, self._http, sleep)
        self.outputs = AsyncOutputs(remote, self._http, sleep)
        self.models = AsyncModels(remote, self._http, sleep)
        self.quotes = AsyncQuotes(remote, self._http, sleep)
        self.limits = AsyncLimits(remote, self._http, sleep)
        self.credits = AsyncCreditsOfAccount(remote, self._http, sleep)
        self.usage = AsyncUsageOfAccount(remote, self._http, sleep)
        self.webhooks = Webhooks()

    async def close(self) -> None:
        """Close the connections."""
        if self._own:
            await self._http.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()


def _remote(
    url: str | None, key: str | None, timeout_seconds: float, max_retries: int, clock: Callable[[], float]
) -> Remote:
    place = (url or os.environ.get("BURNISH_URL") or DEFAULT_URL).rstrip("/")
    parsed = httpx.URL(place)
    if parsed.scheme not in ("http", "https") or not parsed.host:
        raise ValueError(f"The service's address is {place!r}; it must begin with http:// or https://.")
    secret = key or os.environ.get("BURNISH_API_KEY")
    if not secret:
        raise ValueError("There is no API key: give `key`, or set BURNISH_API_KEY.")
    if not (secret.isascii() and secret.isprintable()):
        raise ValueError("The API key holds characters that no key has; was it copied whole?")
    return Remote(
        url=place, key=secret, timeout_seconds=timeout_seconds, max_retries=max_retries, clock=clock
    )
