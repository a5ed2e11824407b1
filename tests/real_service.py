"""A real `burnish serve` for a test: its own directory, its own processes, ended with the test."""

import asyncio
import contextlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import psutil

from waiting import until

#: Short leases and frequent sweeps, so that a lost worker is found out about in seconds.
QUICK = {
    "BURNISH_TESTING": "true",
    "BURNISH_TASKS_LEASE_SECONDS": "2",
    "BURNISH_WORKERS_SWEEP_SECONDS": "1",
    "BURNISH_WORKERS_LIGHT": "4",
    "BURNISH_OUTBOUND_ALLOW": "127.0.0.0/8",
}


@dataclass
class Service:
    """A running service and one key of it."""

    data: Path
    process: subprocess.Popen[bytes]
    url: str
    key: str
    environ: dict[str, str]
    http: httpx.AsyncClient = field(init=False)

    def __post_init__(self) -> None:
        headers = {"Authorization": f"Bearer {self.key}"}  # of the first start; later ones are given none
        self.http = httpx.AsyncClient(base_url=self.url, headers=headers, timeout=40, trust_env=False)

    async def submit(self, model: str = "noop", **input_: Any) -> dict[str, Any]:
        reply = await self.http.post("/v1/tasks", json={"model": model, "input": input_})
        assert reply.status_code == 202, reply.text
        task: dict[str, Any] = reply.json()
        return task

    async def upload(self, picture: bytes, filename: str = "a.jpg", type_: str = "image/jpeg") -> str:
        """The id of an upload that has arrived."""
        asked = {"filename": filename, "content_type": type_, "size_bytes": len(picture)}
        promised = (await self.http.post("/v1/uploads", json=asked)).json()
        put = await self.http.put(promised["url"], content=picture, headers=promised["headers"])
        assert put.status_code in (200, 201, 204), put.text
        id_: str = promised["id"]
        return id_

    async def ended(self, task_id: str, seconds: float = 40) -> dict[str, Any]:
        """The task once it has ended, whatever happens to the service meanwhile."""

        async def look() -> dict[str, Any] | None:
            try:
                reply = await self.http.get(f"/v1/tasks/{task_id}?wait=2")
            except httpx.TransportError:
                return None
            if reply.status_code != 200:
                return None
            task: dict[str, Any] = reply.json()
            return task if task["status"] in ("succeeded", "failed", "cancelled") else None

        found: dict[str, Any] = await until(look, seconds)
        return found

    async def running(self, task_id: str) -> None:
        async def look() -> bool:
            return bool((await self.http.get(f"/v1/tasks/{task_id}")).json()["status"] == "running")

        await until(look)

    def children(self, *words: str) -> list[psutil.Process]:
        """Processes below the service, and of its keeper, whose command line has all of the words."""
        found = []
        for process in psutil.process_iter(["cmdline", "pid"]):
            line = " ".join(process.info["cmdline"] or [])
            if str(self.data) in line and all(word in line for word in words):
                found.append(process)
        return found

    def worker(self) -> psutil.Process:
        (worker,) = self.children("-m burnish worker")
        return worker

    def postmaster(self) -> psutil.Process:
        """The embedded server's first process."""
        pid = int((self.data / "postgres" / "postmaster.pid").read_text().splitlines()[0])
        return psutil.Process(pid)

    async def move_clock(self, seconds: int) -> None:
        """Move the one offset of the service's database, from beside it, as `doctor` would reach it."""
        script = (
            "import asyncio, sys\n"
            "from burnish.settings import read\n"
            "from burnish.resources import open_database_of\n"
            "async def move():\n"
            "    async with open_database_of(read({}, {'data': sys.argv[1]})) as db:\n"
            "        async with db.transaction() as tx:\n"
            "            await tx.execute('UPDATE clock SET ahead = ahead + make_interval(secs => $1)', float(sys.argv[2]))\n"
            "        db.news.announce(['clock'])\n"
            "asyncio.run(move())\n"
        )
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-c", script, str(self.data), str(seconds)
        )
        assert await process.wait() == 0

    async def doctor(self) -> dict[str, dict[str, Any]]:
        """What `burnish doctor` says of this directory, by check."""
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "burnish", "doctor", "--json", "--data", str(self.data),
            stdout=subprocess.PIPE, env=self.environ,
        )  # fmt: skip
        said, _ = await process.communicate()
        return {finding["check"]: finding for finding in json.loads(said)}

    async def well(self) -> None:
        """Every invariant of the house holds."""
        found = (await self.doctor())["invariants"]
        assert found["well"], found["says"]


@contextlib.asynccontextmanager
async def serving(data: Path, *options: str, **environ: str) -> AsyncIterator[Service]:
    """`burnish serve` on a free port; stopped as Ctrl-C stops it, and nothing may be left."""
    whole = {**os.environ, **QUICK, **environ, "BURNISH_LOG_FORMAT": "json"}
    with (data.parent / f"{data.name}.log").open("ab") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "burnish", "serve", "--json", "--port", "0", "--data", str(data), *options],
            stdout=subprocess.PIPE, stderr=log, env=whole,
        )  # fmt: skip
    assert process.stdout is not None
    try:
        said = json.loads(await asyncio.to_thread(process.stdout.readline))
        service = Service(data, process, said["url"], said["key"] or "none", whole)
        try:
            if "--workers" not in options:
                await until(lambda: _ready(service))
            yield service
        finally:
            await service.http.aclose()
    finally:
        with _killed_if_late(process):
            process.send_signal(signal.SIGINT)
            await asyncio.to_thread(process.wait, 10)
        process.stdout.close()


async def _ready(service: Service) -> bool:
    return (await service.http.get("/ready")).status_code == 200


@contextlib.contextmanager
def _killed_if_late(process: subprocess.Popen[bytes]) -> Iterator[None]:
    try:
        yield
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()
