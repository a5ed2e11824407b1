"""HitPaw's routes: each reads downwards from the caller to the reply. `operations` is the table of them all."""

from functools import partial
from typing import Any, Final

import msgspec

from burnish.credits.price import bounds
from burnish.dialects.hitpaw import models, storage, wire
from burnish.dialects.hitpaw.errors import DemoOver
from burnish.dialects.hitpaw.models import Kind, Table
from burnish.errors import STATUS_REASONS, InsufficientCredits, Invalid, Limited
from burnish.settings import Dialects
from burnish.tasks.submit import Submission
from burnish.tasks.task import FINAL, QUEUED, RUNNING, Task
from burnish.web import bodies
from burnish.web.caller import caller
from burnish.web.operation import Operation
from burnish.web.replies import Reply, json
from burnish.web.request import Request
from burnish.web.submitting import admit_task, submission

#: How long a submission waits for its bytes to be seen, so that it can say what is charged.
_SEEN_SECONDS: Final = 10.0
_SEEN: Final = FINAL | {QUEUED, RUNNING}


def operations(settings: Dialects) -> tuple[Operation, ...]:
    """The table; what does the work of each model is read from the settings' file now. Raises Unusable."""
    handlers = Handlers(models.load(settings.hitpaw_models), substitute=settings.substitute)
    return (
        _operation("/api/photo-enhancer", handlers.photo, "Enhance a picture"),
        _operation("/api/video-enhancer", handlers.video, "Enhance a film"),
        _operation("/api/image-segmentation", handlers.segmentation, "Cut out"),
        _operation("/api/image-nsfw", handlers.moderation, "Moderate"),
        _operation("/api/task-status", status, "Read a task"),
        *storage.OPERATIONS,
    )


def _operation(path: str, handle: Any, summary: str) -> Operation:
    return Operation(
        method="POST", path=path, handle=handle, id=path, tag="HitPaw", summary=summary,
        access="tasks:write", answers={200: wire.Envelope},
    )  # fmt: skip


class Handlers:
    """The routes that choose a model."""

    def __init__(self, table: Table, *, substitute: bool) -> None:
        self._choose = partial(table.choose, substitute=substitute)

    async def photo(self, request: Request) -> Reply:
        key = await caller(request, "tasks:write", wire.key_of)
        asked = await _read(request, wire.PHOTO)
        return await self._admitted(request, key, "photo", wire.photo_model(asked), wire.photo_input(asked))

    async def video(self, request: Request) -> Reply:
        key = await caller(request, "tasks:write", wire.key_of)
        asked = await _read(request, wire.VIDEO)
        name = wire.video_model(asked)
        model = self._choose("video", name).model
        return await self._admitted(request, key, "video", name, wire.video_input(asked, model))

    async def segmentation(self, request: Request) -> Reply:
        key = await caller(request, "tasks:write", wire.key_of)
        asked = await _read(request, wire.FILE)
        return await self._admitted(request, key, "other", "segmentation", wire.cutout_input(asked))

    async def moderation(self, request: Request) -> Reply:
        key = await caller(request, "tasks:write", wire.key_of)
        asked = await _read(request, wire.FILE)
        return await self._admitted(request, key, "other", "moderation", wire.moderation_input(asked))

    async def _admitted(
        self, request: Request, key: Any, kind: Kind, name: str, input_: dict[str, Any]
    ) -> Reply:
        """The task's id, and what it costs: its bytes are waited for, and what is wrong with them is said at once."""
        entry = self._choose(kind, name)
        model, parameters, kept = models.parameters_of(entry, input_)
        wanted: Submission = submission(request, key, model, parameters, kept, dialect=wire.NAME)
        try:
            task = (await admit_task(request, key, wanted)).task
        except Limited as limited:
            if key.test and limited.code == "daily_limit_reached":
                raise DemoOver(limited.message, retry_after=limited.retry_after) from limited
            raise
        if task.status not in _SEEN:
            waiting = request.resources.reads.wait_for(task, _SEEN_SECONDS, _SEEN)
            task = await request.while_there(waiting, though_draining=False) or task
        if wire.ended_badly(task):
            raise _why(task)
        lowest, _ = bounds(request.resources.prices.get_rule(model.price))
        return json(wire.created(task, 0 if key.test else lowest))


async def status(request: Request) -> Reply:
    key = await caller(request, "tasks:read", wire.key_of, kind="read")
    asked = await _read(request, wire.STATUS)
    resources = request.resources
    task = await resources.reads.get_task(key.account_id, key.environment, wire.task_id(asked), request.now)
    return json(wire.status_reply(task, request.site.links))


async def _read(request: Request, decoder: "msgspec.json.Decoder[Any]") -> Any:
    """The body, whatever content type it comes with."""
    return bodies.decode(await bodies.read(request), decoder)


def _why(task: Task) -> Exception:
    """What the task ended with, as the refusal that it would have been."""
    reason = task.status_reason or "internal"
    message = task.status_message or "The task failed."
    if reason == "insufficient_credits":
        return InsufficientCredits(message)
    assert reason in STATUS_REASONS
    return Invalid(message, code=reason)
