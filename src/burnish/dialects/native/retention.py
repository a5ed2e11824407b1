"""How long an ended task and its media are kept: longer, within the plan; or not any more."""

from typing import Final

from burnish.dialects.native import events_examples as examples
from burnish.dialects.native import events_wire as words
from burnish.dialects.native import wire
from burnish.dialects.native.examples import ENDED_TASK
from burnish.dialects.native.named import task_of
from burnish.errors import Invalid
from burnish.tasks.keep import delete, keep
from burnish.web import bodies
from burnish.web.caller import caller, retention_of
from burnish.web.operation import Operation
from burnish.web.replies import Reply, json
from burnish.web.request import Request


async def keep_(request: Request) -> Reply:
    key = await caller(request, "tasks:write")
    asked, _ = await bodies.read_json(request, words.KEEP_REQUEST)
    longest = retention_of(request, key)
    if asked.retention_seconds > longest:
        raise Invalid(
            f"Here retention_seconds may be {longest} at most.",
            param="retention_seconds",
            details={"max": longest},
        )
    task = await task_of(request, key)
    await keep(request.resources.db, task, asked.retention_seconds, longest, request.now)
    kept = await task_of(request, key)
    return json(wire.task_reply(kept, request.site.links, request.site.public_url))


async def delete_(request: Request) -> Reply:
    task = await task_of(request, await caller(request, "tasks:write"))
    return json(
        words.receipt_reply(
            task, await delete(request.resources.db, task, request.resources.plans, request.now)
        )
    )


OPERATIONS: Final = (
    Operation(
        method="POST",
        path="/v1/tasks/{id}/keep",
        handle=keep_,
        id="keepTask",
        tag="Tasks",
        summary="Keep an ended task for longer",
        description="It and its outputs are kept for so long from now on, where that is longer than they are kept anyway: at "
        "most for as long as the plan keeps tasks, and until twice that after its end. New links are in the reply; the old "
        "ones end when they would have ended.",
        access="tasks:write",
        reads=words.KeepRequest,
        answers={200: wire.TaskReply},
        refuses=(
            "malformed", "body_stalled", "too_large", "unsupported_media", "invalid", "unknown_field", "missing_field",
            "not_found", "expired", "task_not_ended",
        ),
        example=examples.KEEP_REQUEST,
        answer_example=ENDED_TASK,
    ),
    Operation(
        method="DELETE",
        path="/v1/tasks/{id}",
        handle=delete_,
        id="deleteTask",
        tag="Tasks",
        summary="Delete an ended task and its media now",
        description="It answers 410 from now on, and so do the links of its outputs; their bytes go with the next sweep. "
        "What was uploaded for it stays, for other tasks may work on it.",
        access="tasks:write",
        answers={200: words.ReceiptReply},
        refuses=("not_found", "expired", "task_not_ended"),
        answer_example=examples.RECEIPT,
    ),
)  # fmt: skip
