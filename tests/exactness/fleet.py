"""Four API processes on one database, and a crowd that calls them all at once."""

import asyncio
import contextlib
from collections import Counter
from collections.abc import AsyncIterator, Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from burnish.keys.plan import Plans, load_plans
from burnish.storage.postgres import Database
from burnish.tasks.audit import audit
from real_service import Service, serving

CALLERS = 200
_PROCESSES = 4


@dataclass
class Fleet:
    """`db` is the database they share, seen from beside them."""

    services: list[Service]
    db: Database
    plans: Plans

    async def everyone(
        self, keys: Collection[str], path: str, body: dict[str, Any], **headers: str
    ) -> list[httpx.Response]:
        """Two hundred callers, spread over the processes and the keys, each with this request, at the same moment.

        Who is told that the service is busy, or still deciding, asks again, as clients do.
        """
        names = list(keys)

        async def call(number: int) -> httpx.Response:
            service = self.services[number % _PROCESSES]
            key = {"Authorization": f"Bearer {names[number // _PROCESSES % len(names)]}"}
            while True:
                reply = await service.http.post(path, json=body, headers=headers | key)
                if reply.status_code not in (409, 503):
                    return reply

        return await asyncio.gather(*(call(number) for number in range(CALLERS)))

    async def crowd(
        self, keys: Collection[str], model: str = "noop"
    ) -> tuple[list[dict[str, Any]], Counter[str]]:
        """A task each: what was admitted, and how often each refusal was given."""
        replies = await self.everyone(keys, "/v1/tasks", {"model": model, "input": {"seconds": 0}})
        admitted = [reply.json() for reply in replies if reply.status_code == 202]
        refused = Counter(reply.json()["error"]["code"] for reply in replies if reply.status_code != 202)
        return admitted, refused

    async def cancel(self, tasks: Collection[dict[str, Any]], key: str) -> None:
        """All of them, through all processes at once."""
        headers = {"Authorization": f"Bearer {key}"}
        replies = await asyncio.gather(
            *(
                self.services[number % _PROCESSES].http.post(
                    f"/v1/tasks/{task['id']}/cancel", headers=headers
                )
                for number, task in enumerate(tasks)
            )
        )
        assert {reply.status_code for reply in replies} <= {200}

    async def well(self) -> None:
        """Every invariant of the house holds."""
        assert await audit(self.db, self.plans) == []


@contextlib.asynccontextmanager
async def sailing(folder: Path, database_url: str, plans: Path, db: Database) -> AsyncIterator[Fleet]:
    """The fleet, up; gone at the end."""
    environ = {
        "BURNISH_DATABASE_URL": database_url,
        "BURNISH_SECRET_KEYS": "the-same-on-every-machine-0123456789",
        "BURNISH_PLANS": str(plans),
        "BURNISH_LIMITS_IP_PER_SECOND": "100000",
        "BURNISH_LIMITS_IP_BURST": "100000",
    }
    async with contextlib.AsyncExitStack() as stack:
        starts = [
            stack.enter_async_context(serving(folder / f"machine-{number}", "--workers", "0", **environ))
            for number in range(_PROCESSES)
        ]
        services = [await start for start in starts]
        yield Fleet(services, db, load_plans(str(plans)))
