"""HiAPI's routes: each reads downwards from the caller to the reply. `operations` is the table of them all."""

from typing import Any, Final

from burnish.credits.prices import Prices
from burnish.dialects.hiapi import models, wire
from burnish.dialects.hiapi.pricing import price_list
from burnish.dialects.hiapi.storages import promote
from burnish.errors import NotFound
from burnish.keys.key import Key
from burnish.settings import Dialects
from burnish.tasks.find import page_of_tasks
from burnish.web import bodies
from burnish.web.caller import caller
from burnish.web.operation import Operation
from burnish.web.replies import Reply, json
from burnish.web.request import Request
from burnish.web.submitting import admit_task

_READ: Final = "tasks:read"
_WRITE: Final = "tasks:write"


def operations(settings: Dialects, prices: Prices) -> tuple[Operation, ...]:
    """The table; what does the work of each model is read from the settings' file now. Raises Unusable."""
    handlers = Handlers(models.load(settings.hiapi_models), prices)
    return (
        _operation("POST", "/v1/tasks", handlers.create, "Submit a task", _WRITE),
        _operation("GET", "/v1/tasks/{id}", get, "Read a task", _READ),
        _operation("GET", "/v1/tasks", list_, "List tasks, newest first", _READ),
        _operation("POST", "/v1/storages/promote", promote, "Keep outputs for longer", _WRITE),
        _operation("GET", "/api/pricing", handlers.pricing, "Read what models cost", "signed"),
    )


def _operation(method: str, path: str, handle: Any, summary: str, access: str) -> Operation:
    return Operation(
        method=method, path=path, handle=handle, id=f"{method} {path}", tag="HiAPI", summary=summary, access=access,
        answers={200: wire.Envelope},
    )  # fmt: skip


class Handlers:
    """The routes that look into the table of models."""

    def __init__(self, table: models.Table, prices: Prices) -> None:
        self._table = table
        self._prices = json(price_list(table, prices))

    async def create(self, request: Request) -> Reply:
        key = await _caller(request, _WRITE)
        body = await bodies.read(request)
        asked = bodies.decode(body, wire.TASK_REQUEST)
        wanted = wire.submission(request, key, self._table, asked, body)
        admission = await admit_task(request, key, wanted)
        headers = [(b"idempotent-replay", b"true")] if admission.replayed else []
        return json(wire.created(admission.task), headers=headers)

    async def pricing(self, _request: Request) -> Reply:
        """The same for everybody; no key is asked for."""
        return self._prices


async def get(request: Request) -> Reply:
    """A task stays readable for as long as anything is known of it, longer than the bytes it made."""
    key = await _caller(request, _READ)
    task_id = wire.task_id(request.path_value("id"))
    task = await request.resources.reads.find_task(task_id)
    if task is None or (task.account_id, task.environment) != (key.account_id, key.environment):
        raise NotFound(f"There is no task {request.path_value('id')[:60]!r}.")
    return json(wire.Envelope(data=wire.detail(task, request.site.links)))


async def list_(request: Request) -> Reply:
    key = await _caller(request, _READ)
    asked = bodies.query(request, wire.PageQuery)
    found, total = await page_of_tasks(
        request.resources.db, key.account_id, key.environment, wire.NAME, skip=asked.skip, rows=asked.size
    )
    tasks = [wire.detail(task, request.site.links) for task in found]
    return json(wire.Envelope(data=wire.Page(tasks=tasks, page=asked.page, size=asked.size, total=total)))


async def _caller(request: Request, scope: str) -> Key:
    """Creating and reading spend one budget, as the vendor documents."""
    return await caller(request, scope, together=True)
