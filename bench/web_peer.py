"""What `submit` and `poll` measure beside Burnish, run by uvicorn in the peers' Python: routes that keep nothing.

`fastapi_app` takes the same body as `POST /v1/tasks`, checked by a model, as its documentation has it. `starlette_app`
answers with JSON and does nothing else; `starlette_synced` first writes a page of a file that is there, as PostgreSQL
writes its log, and waits until the disk has it.
"""
# The peers are installed in an environment of their own, where no type checker looks.
# mypy: disable-error-code="import-not-found,untyped-decorator,misc"

import os
from typing import Any

from fastapi import FastAPI
from pydantic import BaseModel
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

PAGE_BYTES = 8192
PAGES = 2048


class Task(BaseModel):
    model: str
    input: dict[str, Any]
    metadata: dict[str, Any] | None = None


fastapi_app = FastAPI()


@fastapi_app.post("/v1/tasks", status_code=202)
async def fastapi_create(task: Task) -> dict[str, Any]:
    return {"id": "task_0123456789", "model": task.model, "status": "queued"}


async def starlette_read(request: Request) -> JSONResponse:
    return JSONResponse({"id": request.path_params["id"], "model": "noop", "status": "queued"})


async def starlette_create(request: Request) -> JSONResponse:
    task = await request.json()
    return JSONResponse({"id": "task_0123456789", "model": task["model"], "status": "queued"}, 202)


class Log:
    """A file of full length, written over page by page: what a write-ahead log costs at the least."""

    def __init__(self, path: str) -> None:
        self._fd = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
        self._at = 0
        os.write(self._fd, bytes(PAGE_BYTES) * PAGES)
        os.fsync(self._fd)

    def sync(self) -> None:
        os.pwrite(self._fd, b"x" * PAGE_BYTES, self._at % PAGES * PAGE_BYTES)
        os.fdatasync(self._fd)
        self._at += 1


async def starlette_synced_create(request: Request) -> JSONResponse:
    task = await request.json()
    _log.sync()
    return JSONResponse({"id": "task_0123456789", "model": task["model"], "status": "queued"}, 202)


starlette_app = Starlette(
    routes=[
        Route("/v1/tasks", starlette_create, methods=["POST"]),
        Route("/v1/tasks/{id}", starlette_read, methods=["GET"]),
    ]
)
if "BENCH_LOG" in os.environ:
    _log = Log(os.environ["BENCH_LOG"])
    starlette_synced = Starlette(routes=[Route("/v1/tasks", starlette_synced_create, methods=["POST"])])
