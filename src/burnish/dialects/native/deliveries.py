"""What a delivery says in the native API's words: `{"type", "timestamp", "data"}`, as Standard Webhooks has it.

Given to the worker's `deliver` under the dialect's name. The bytes that it makes are stored and sent again as they are.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Annotated, Any, Final

import msgspec
from msgspec import Meta, Struct

from burnish.dialects.native.wire import TaskReply, task_reply
from burnish.ids import to_wire
from burnish.tasks.find import Reads
from burnish.tasks.task import RUNNING, Task
from burnish.uploads.sign import Links
from burnish.webhooks.deliver import PREFIX
from burnish.webhooks.event import TASK_STARTED, Delivery
from burnish.webhooks.sign import signed_headers

_ENCODE: Final = msgspec.json.Encoder().encode


class EventBody(Struct, frozen=True, kw_only=True):
    """The body of every delivery, and the data of every event in an account's stream."""

    type: Annotated[str, Meta(description="Which event, as `task.succeeded`.")]
    timestamp: Annotated[datetime, Meta(description="When it happened.", tz=True)]
    data: Annotated[
        TaskReply | dict[str, Any],
        Meta(description="The task as it stood, or what an event of an account tells."),
    ]


class NativeWords:
    """Renders for one process; links are made from `public_url`."""

    unsigned = False

    def __init__(self, reads: Reads, links: Links, public_url: str) -> None:
        self._reads = reads
        self._links = links
        self._public_url = public_url

    async def body(self, delivery: Delivery) -> bytes | None:
        """The body; None where the task is gone."""
        if delivery.task_id is None:
            data: Any = msgspec.Raw(delivery.facts or b"{}")
        else:
            task = await self._reads.find_task(delivery.task_id)
            if task is None:
                return None
            data = task_reply(as_told(task, delivery.event), self._links, self._public_url)
        return _ENCODE(EventBody(type=delivery.event, timestamp=delivery.created_at, data=data))

    def headers(
        self, delivery: Delivery, body: bytes, now: datetime, keys: Sequence[bytes]
    ) -> Mapping[str, str]:
        """As Standard Webhooks has them."""
        return signed_headers(to_wire(PREFIX, delivery.id), now, body, keys)


def as_told(task: Task, event: str) -> Task:
    """The start of a task is told as its start, though it may have ended by the time of the telling."""
    if event != TASK_STARTED:
        return task
    return msgspec.structs.replace(
        task, status=RUNNING, stage=None, progress=0.0, status_reason=None, status_message=None, outputs=None,
        cost_charged=0, ended_at=None,
    )  # fmt: skip
