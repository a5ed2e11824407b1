"""Events as they happen: of one task until its end, of an account for as long as somebody listens; and what happened."""

from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any, Final

import msgspec

from burnish.dialects.native import events_examples as examples
from burnish.dialects.native import events_wire as words
from burnish.dialects.native import wire
from burnish.dialects.native.deliveries import EventBody, as_told
from burnish.dialects.native.named import task_of
from burnish.ids import to_wire
from burnish.tasks.follow import Told, version
from burnish.tasks.task import FINAL, Task
from burnish.tasks.timeline import timeline
from burnish.web import bodies, sse
from burnish.web.caller import caller
from burnish.web.operation import Operation
from burnish.web.replies import Reply, Stream, json
from burnish.web.request import Request

_ENCODE: Final = msgspec.json.Encoder().encode
#: What a task's own stream has: the task as it stands.
_TASK: Final = "task"
_EVENT: Final = "event"  #: the prefix of what is no task's end
_Tasks = AsyncGenerator[Task | None, None]
_Events = AsyncGenerator[sse.Event | None, None]


async def of_task(request: Request) -> Reply | Stream:
    key = await caller(request, "tasks:read")
    task = await task_of(request, key)
    known = request.header(b"last-event-id")
    if task.status in FINAL and known == version(task):
        return Reply(204, b"", ())  # what tells a browser that there is nothing to come back for
    return sse.stream(request, _as_it_changes(request, request.resources.follower.task(task.id, known)))


async def of_account(request: Request) -> Reply | Stream:
    key = await caller(request, "tasks:read")
    wait = bodies.query(request, words.EventsQuery).wait
    last = request.header(b"last-event-id")
    since = words.marked(last) if last else request.now
    follower, whose = request.resources.follower, (key.account_id, key.environment)
    if wait is None:
        told = follower.account(*whose, since, resumed=bool(last))
        return sse.stream(request, _as_it_happens(request, told), words.mark(since))
    seconds = min(wait, request.resources.settings.http.wait_seconds)
    waiting = follower.wait_for_account(*whose, since, seconds, resumed=bool(last))
    found = await request.while_there(waiting, though_draining=False) or []
    return sse.whole([_event(request, one) for one in found], words.mark(since))


async def _as_it_changes(request: Request, tasks: _Tasks) -> _Events:
    async with aclosing(tasks):
        async for task in tasks:
            if task is None:
                yield None
                continue
            outlook = await request.resources.outlooks.outlook(task, request.now)
            reply = wire.task_reply(task, request.site.links, request.site.public_url, outlook)
            yield sse.Event(version(task), _TASK, _ENCODE(reply))


async def _as_it_happens(request: Request, events: AsyncGenerator[Told | None, None]) -> _Events:
    async with aclosing(events):
        async for told in events:
            yield None if told is None else _event(request, told)


def _event(request: Request, told: Told) -> sse.Event:
    """With the body that a webhook has; the end of a task is named by the task."""
    data: Any = msgspec.Raw(told.facts or b"{}")
    if told.task is not None:
        data = wire.task_reply(as_told(told.task, told.name), request.site.links, request.site.public_url)
    subject = data.id if told.task is not None and told.id == told.task.id else to_wire(_EVENT, told.id)
    body = EventBody(type=told.name, timestamp=told.at, data=data)
    return sse.Event(words.mark(told.at, subject), told.name, _ENCODE(body))


async def timeline_(request: Request) -> Reply:
    task = await task_of(request, await caller(request, "tasks:read"))
    return json(words.timeline_reply(task, await timeline(request.resources.db, task)))


_STREAM: Final = {
    "X-Accel-Buffering": "`no`: proxies pass events on as they come.",
}

OPERATIONS: Final = (
    Operation(
        method="GET",
        path="/v1/tasks/{id}/events",
        handle=of_task,
        id="followTask",
        tag="Tasks",
        summary="Follow a task, event by event",
        description="Server-sent events named `task`, each with the task as it stands: at once, and whenever it has "
        "changed, progress at most twice a second. After its end the stream closes. A comment comes every 15 seconds. With "
        "`Last-Event-ID` what is known is not told again; 204 where that is all.",
        access="tasks:read",
        answers={200: "text/event-stream", 204: None},
        meanings={200: "What happens.", 204: "It has ended, and `Last-Event-ID` says that this is known."},
        headers=_STREAM,
        refuses=("not_found", "expired"),
    ),
    Operation(
        method="GET",
        path="/v1/tasks/{id}/timeline",
        handle=timeline_,
        id="getTimeline",
        tag="Tasks",
        summary="Read what happened to a task",
        access="tasks:read",
        answers={200: words.TimelineReply},
        refuses=("not_found", "expired"),
        answer_example=examples.TIMELINE,
    ),
    Operation(
        method="GET",
        path="/v1/events",
        handle=of_account,
        id="followAccount",
        tag="Tasks",
        summary="Follow what happens in the account",
        description="Server-sent events, each named as the webhook would be (`task.succeeded`) and with its body, of the key's "
        "account and environment, from now on; or, with `Last-Event-ID`, from that event on. Those of the half minute "
        "before that event come again, under the ids that they had. No end of a task is left out, however long nobody followed; "
        "other events are kept for a week, for accounts that were followed in the week before. A comment comes every 15 seconds; where "
        "none comes, something between holds the stream back: ask with `wait`.",
        access="tasks:read",
        query=words.EventsQuery,
        answers={200: "text/event-stream"},
        headers=_STREAM,
        refuses=("invalid",),
    ),
)
