"""Deliveries through a database that is killed: none lost, none forgotten, and none made twice."""

import asyncio
import json
from collections import Counter, defaultdict
from pathlib import Path
from typing import Any

import psutil
from aiohttp import web

from real_service import Service, serving
from waiting import until
from webhooks.conftest import receiving

TASKS = 60


async def test_the_database_killed_under_deliveries_loses_and_forgets_none(tmp_path: Path) -> None:
    """Kill -9 of the server while deliveries are due, under way and about to be noted, of an endpoint and of callbacks: every one
    is accepted, and what came twice came under the same id and as the same bytes.
    """

    async def slowly(_request: web.Request) -> web.StreamResponse:
        await asyncio.sleep(0.02)
        return web.Response(status=204)

    async with serving(tmp_path / "data") as service, receiving() as hooks, receiving() as callbacks:
        for receiver in (hooks, callbacks):
            receiver.answer = slowly
        reply = await service.http.post("/v1/webhooks", json={"url": hooks.url, "events": ["task.succeeded"]})
        endpoint = reply.json()
        tasks = [await _submit(service, callbacks.url) for _ in range(TASKS)]
        for count in (5, 20, 40):
            await hooks.wait_for(count)
            await until(lambda: _killed(service))
        for task in tasks:
            assert (await service.ended(task, 60))["status"] == "succeeded"
        # What a killed claim left under a lease is due again when that is over.
        await service.move_clock(100)
        await until(lambda: min(len(_ids(hooks.got)), len(_ids(callbacks.got))) == TASKS, 60)
        await until(lambda: _all_noted(service, endpoint), 60)
        await service.well()

    for receiver in (hooks, callbacks):
        told = defaultdict(set)
        for headers, body in receiver.got:
            told[json.loads(body)["data"]["id"]].add((headers["webhook-id"], body))
        assert set(told) == set(tasks)
        assert Counter(map(len, told.values())) == {1: TASKS}


async def _submit(service: Service, callback: str) -> str:
    """Of a no-op with a callback; 503 while the database is away is tried again."""

    async def admitted() -> str | None:
        body = {"model": "noop", "input": {}, "callback": {"url": callback}}
        reply = await service.http.post("/v1/tasks", json=body)
        found: str | None = reply.json()["id"] if reply.status_code == 202 else None
        return found

    id_: str = await until(admitted)
    return id_


def _killed(service: Service) -> bool:
    """Whether there was a server to kill: it may not be back from the last time."""
    try:
        service.postmaster().kill()
    except (psutil.NoSuchProcess, FileNotFoundError, ValueError, IndexError):
        return False
    return True


def _ids(got: list[tuple[dict[str, str], bytes]]) -> set[str]:
    return {headers["webhook-id"] for headers, _ in got}


async def _all_noted(service: Service, endpoint: dict[str, Any]) -> bool:
    """Whether the log has every one of them as accepted."""
    reply = await service.http.get(f"/v1/webhooks/{endpoint['id']}/deliveries?limit=100")
    if reply.status_code != 200:
        return False
    return [delivery["state"] for delivery in reply.json()["data"]] == ["accepted"] * TASKS
