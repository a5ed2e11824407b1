"""Tasks: created once however often a request is tried, waited for without polling, listed, cancelled."""

import math
import os
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any, Final, TypeAlias
from urllib.parse import quote

import httpx

from burnish.client._drive import Awaiting, Blocking, pages, verb
from burnish.client._errors import Problem, StillRunning, TaskFailed
from burnish.client._flow import Flow, Page, Pause
from burnish.client._remote import Remote, read
from burnish.client._repeat import asked_pause
from burnish.client._shapes import Output, Task, Upload
from burnish.client._uploads import BinaryFile, _Uploads

#: How long the service is asked to hold a reading request until the task ends, in seconds.
HELD_SECONDS: Final = 60
#: The same, where someone watches the progress.
WATCHED_SECONDS: Final = 2
#: A pause where the service does not hold requests, and does not say when to come again, in seconds.
POLL_SECONDS: Final = 2.0

#: Called with a task each time it is read.
Watch: TypeAlias = Callable[[Task], object]


class _Tasks:
    _remote: Remote

    @verb
    def create(
        self,
        model: str,
        input: Mapping[str, Any],  # noqa: A002 -- the API's word
        *,
        metadata: Mapping[str, Any] | None = None,
        retention_seconds: int | None = None,
        deadline_seconds: int | None = None,
        idempotency_key: str | None = None,
    ) -> Flow[Task]:
        """Submit a task and return it as it was admitted, usually waiting or queued.

        In `input`, a path, bytes or a binary file is uploaded first; an `Upload` stands for its id, an `Output` for
        its URL; strings stay as they are (an upload's id, or a URL). `metadata` is yours and comes back with the task;
        it and its outputs are kept for `retention_seconds` after its end; a run may take `deadline_seconds`.

        Every try of this request carries the same idempotency key, so it makes one task, whatever the network does.
        Give one of your own to make that hold across restarts of your program.

        Raises:
            Invalid: no such model, or a wrong parameter; `param` names it.
            InsufficientCredits, Limited, Refused, Unreachable.
        """
        given: dict[str, Any] = {}
        for name, value in input.items():
            given[name] = yield from self._named(value)
        body = {
            "model": model,
            "input": given,
            "metadata": metadata,
            "retention_seconds": retention_seconds,
            "deadline_seconds": deadline_seconds,
        }
        said = {name: value for name, value in body.items() if value is not None}
        reply = yield from self._remote.post("/v1/tasks", said, idempotency_key)
        return _task(reply)

    @verb
    def get(self, task: Task | str) -> Flow[Task]:
        """The task as it is now. Raises NotFound, Expired, Refused, Unreachable."""
        return _task((yield from self._remote.get(_path(task))))

    @verb
    def wait(
        self, task: Task | str, *, timeout: float | None = None, progress: Watch | None = None
    ) -> Flow[Task]:
        """The task once it has ended, however it ended: look at its `status`.

        The service holds each request until the end comes (up to a minute), so this is no polling. With `progress`
        it is held for 2 s at most, and `progress(task)` is called each time. `timeout` is in seconds.

        Raises:
            StillRunning: the time is over; the task goes on.
            Refused, Unreachable: reading failed for good, or for longer than there was time; `error.task` is the
                task as last read.
        """
        known = task if isinstance(task, Task) else None
        until = None if timeout is None else self._remote.clock() + timeout
        while known is None or not known.ended:
            try:
                known = yield from self._reading(task, until, watched=progress is not None)
            except Problem as problem:
                problem.task = known
                raise
            if progress is not None:
                progress(known)
            if not known.ended and until is not None and self._remote.clock() >= until:
                raise StillRunning(known)
        return known

    @verb
    def run(
        self,
        model: str,
        input: Mapping[str, Any],  # noqa: A002
        *,
        timeout: float | None = None,
        progress: Watch | None = None,
        metadata: Mapping[str, Any] | None = None,
        retention_seconds: int | None = None,
        deadline_seconds: int | None = None,
        idempotency_key: str | None = None,
    ) -> Flow[Task]:
        """Create a task, wait for it, and return it succeeded, with its outputs. Arguments as for `create` and `wait`.

        Raises:
            TaskFailed: it failed or was cancelled; `task.status_reason` says why.
            StillRunning: the time is over; `error.task` goes on.
            Invalid, InsufficientCredits, Limited, Refused, Unreachable.
        """
        created = yield from _Tasks.create.flow(
            self,
            model,
            input,
            metadata=metadata,
            retention_seconds=retention_seconds,
            deadline_seconds=deadline_seconds,
            idempotency_key=idempotency_key,
        )
        ended = yield from _Tasks.wait.flow(self, created, timeout=timeout, progress=progress)
        if not ended.succeeded:
            raise TaskFailed(ended)
        return ended

    @verb
    def cancel(self, task: Task | str) -> Flow[Task]:
        """The task, cancelled unless it had ended before. Raises NotFound, Refused, Unreachable."""
        return _task((yield from self._remote.post(f"{_path(task)}/cancel", {}, None)))

    @pages
    def list(
        self,
        *,
        status: str | None = None,
        model: str | None = None,
        created_after: datetime | None = None,
    ) -> Flow[Page[Task]]:
        """All tasks, newest first, fetched a hundred at a time as they are reached. Raises Refused, Unreachable."""
        query = {
            "limit": 100,
            "status": status,
            "model": model,
            "created_after": None if created_after is None else created_after.isoformat(),
        }
        return (yield from self._page(query))

    def _page(self, query: Mapping[str, Any]) -> Flow[Page[Task]]:
        reply = yield from self._remote.get("/v1/tasks", query)
        items, following = read(
            reply,
            lambda body: (
                [Task.from_json(item) for item in body["data"]],
                body.get("next") if body.get("has_more") else None,
            ),
        )
        return Page(items, self._page({**query, "after": following}) if following else None)

    def _named(self, value: Any) -> Flow[Any]:
        """A value of an input as the service takes it; what has to be uploaded is."""
        if isinstance(value, Upload):
            return value.id
        if isinstance(value, Output):
            return value.url
        if isinstance(value, os.PathLike | bytes | bytearray | memoryview | BinaryFile):
            return (yield from _Uploads.create.flow(self, value)).id
        if isinstance(value, list | tuple):
            named = []
            for item in value:
                named += [(yield from self._named(item))]
            return named
        return value

    def _reading(self, task: Task | str, until: float | None, *, watched: bool) -> Flow[Task]:
        """The task after one long poll; or, where the service does not hold requests, after a pause as it asks."""
        clock = self._remote.clock
        longest = WATCHED_SECONDS if watched else HELD_SECONDS
        left = longest if until is None else max(0.0, until - clock())
        held = min(longest, math.ceil(left))
        asked_at = clock()
        reply = yield from self._remote.get(_path(task), {"wait": held}, held_seconds=held, until=until)
        current = _task(reply)
        if not current.ended and clock() - asked_at < min(1.0, held / 2):
            pause = POLL_SECONDS if current.retry_after is None else current.retry_after
            yield Pause(pause if until is None else min(pause, max(0.0, until - clock())))
        return current


class Tasks(_Tasks, Blocking):
    """Tasks, blocking."""


class AsyncTasks(_Tasks, Awaiting):
    """Tasks, awaited."""


def _path(task: Task | str) -> str:
    return f"/v1/tasks/{quote(task if isinstance(task, str) else task.id, safe='')}"


def _task(reply: httpx.Response) -> Task:
    return read(reply, lambda body: Task.from_json(body, asked_pause(reply.headers)))
