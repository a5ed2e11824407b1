"""What both naive clients do with a file, a step at a time; and a count of how each request was answered."""

import json
import sys
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import httpx

ENDED = ("succeeded", "failed", "cancelled")


class Steps:
    """One client's requests, counted. Whatever is not a success is raised: a naive client does not try again."""

    def __init__(self, http: httpx.AsyncClient) -> None:
        self._http = http
        self.done = 0
        self.failed = 0
        self.refused = 0

    async def upload(self, file: Path) -> str:
        size = file.stat().st_size
        asked = {"filename": file.name, "content_type": "image/png", "size_bytes": size}
        promised = await self._counted(self._http.post("/v1/uploads", json=asked))
        sent = self._http.put(promised["url"], content=file.read_bytes(), headers=promised["headers"])
        await self._counted(sent)
        return str(promised["id"])

    async def create(self, upload: str) -> str:
        asked = {"model": "upscale", "input": {"image": upload}}
        return str((await self._counted(self._http.post("/v1/tasks", json=asked)))["id"])

    async def read(self, task: str, wait: int = 0) -> Any:
        return await self._counted(self._http.get(f"/v1/tasks/{task}", params={"wait": wait}))

    async def fetch(self, task: Any) -> None:
        if task["status"] != "succeeded":
            raise ValueError(task["status_reason"])
        (await self._http.get(task["outputs"][0]["url"])).raise_for_status()

    async def _counted(self, request: Coroutine[Any, Any, httpx.Response]) -> Any:
        reply = await request
        self.refused += reply.status_code == 429
        return reply.raise_for_status().json()

    async def whole(self, work: Coroutine[Any, Any, None]) -> None:
        """A file from its first byte to its last: done, or failed for good."""
        try:
            await work
        except (httpx.HTTPError, ValueError):
            self.failed += 1
        else:
            self.done += 1


async def play(work: Callable[[Steps, list[Path]], Coroutine[Any, Any, None]]) -> None:
    """`URL KEY FOLDER` from the command line; says in JSON what came of it."""
    url, key, folder = sys.argv[1:]
    headers = {"Authorization": f"Bearer {key}"}
    async with httpx.AsyncClient(
        base_url=url,
        headers=headers,
        timeout=httpx.Timeout(90, pool=None),
        trust_env=False,
        limits=httpx.Limits(max_connections=100, keepalive_expiry=2),
    ) as http:
        steps = Steps(http)
        await work(steps, sorted(Path(folder).iterdir()))
    print(json.dumps({"done": steps.done, "failed": steps.failed, "refused": steps.refused}))  # noqa: T201 -- its result
