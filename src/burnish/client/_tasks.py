"""Tasks: created once however often a request is tried, waited for without polling, made again, listed, cancelled."""

import math
import os
import random
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from functools import partial
from typing import Any, Final, Literal, TypeAlias
from urllib.parse import quote

import httpx

from burnish.client._drive import Awaiting, Blocking, pages, verb
from burnish.client._errors import NotBurnish, Problem, Refused, StillRunning, TaskFailed
from burnish.client._flow import Enter, Flow, Page, Pause
from burnish.client._gate import Turns
from burnish.client._models import catalogue
from burnish.client._remote import Remote, page, read
from burnish.client._repeat import asked_pause
from burnish.client._shapes import Output, Receipt, Task, TimelineEntry, Upload
from burnish.client._uploads import BinaryFile, _Uploads

#: How long the service is asked to hold a reading request until the task ends, in seconds.
HELD_SECONDS: Final = 60
#: The same, where someone watches the progress.
WATCHED_SECONDS: Final = 2
#: A pause where the service does not hold requests: from 2 to 5 s, so that many who wait do not come together; longer
#: where the service asks for it.
POLL_SECONDS: Final = 2.0
POLL_SPREAD_SECONDS: Final = 3.0

#: What may happen over a limit: wait for a slot, be stored as failed, be refused.
OnLimit: TypeAlias = Literal["queue", "error_state", "reject"]

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
        priority: int | None = None,
        on_limit: OnLimit | None = None,
        max_credits: int | None = None,
        callback: Mapping[str, Any] | None = None,
        idempotency_key: str | None = None,
    ) -> Flow[Task]:
        """Submit a task and return it as it was admitted, usually waiting or queued.

        In `input`, a path, bytes or a binary file is uploaded first; an `Upload` stands for its id, an `Output` for
        its URL; strings stay as they are (an upload's id, or a URL). `metadata` is yours and comes back with the task;
        it and its outputs are kept for `retention_seconds` after its end; a run may take `deadline_seconds`.
        `priority` (-100 to 100) orders this account's tasks that await a slot; `on_limit` asks for a stricter behaviour
        over a limit than the plan's; a task that would cost more than `max_credits` is refused; `callback` is
        `{"url": …, "when": "final"}`, told instead of waited for.

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
            "priority": priority,
            "on_limit": on_limit,
            "max_credits": max_credits,
            "callback": callback,
        }
        said = {name: value for name, value in body.items() if value is not None}
        return (yield from self._admit(model, "/v1/tasks", said, idempotency_key))

    @verb
    def retry(self, task: Task, *, idempotency_key: str | None = None) -> Flow[Task]:
        """A task that failed or was cancelled, made again: a new task, with its own price; `retry_of` names the old one.

        Raises:
            Conflict: it has neither failed nor been cancelled.
            NotFound, Expired, InsufficientCredits, Limited, Refused, Unreachable.
        """
        return (yield from self._admit(task.model, f"{_path(task)}/retry", {}, idempotency_key))

    @verb
    def turn(self, model: str) -> Flow[Turns]:
        """Wait until there is room for one more task of that model, as `run` does: 5 at once of light models and 2 of
        heavy ones to begin with, then as the service's headers tell.

        For those who create and wait apart: `with client.tasks.turn("upscale"): …`. It is over at the end of the `with`,
        or with `leave()`. Raises Unreachable.
        """
        yield from self._know_lanes()
        turns = Turns()
        try:
            for gate in self._remote.pace.gates(model):
                yield Enter(turns.add(gate.turn()))
        except BaseException:
            turns.leave()
            raise
        return turns

    def at_once(self, model: str) -> int:
        """How many tasks of that model this client would have under way now, by what it knows of the limits."""
        return self._remote.pace.at_once(model)

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
        priority: int | None = None,
        on_limit: OnLimit | None = None,
        max_credits: int | None = None,
        idempotency_key: str | None = None,
    ) -> Flow[Task]:
        """Create a task, wait for it, and return it succeeded, with its outputs. Arguments as for `create` and `wait`.

        However many run at once, no more are under way than the service has room for: the others wait for their `turn`.

        Raises:
            TaskFailed: it failed or was cancelled; `task.status_reason` says why.
            StillRunning: the time is over; `error.task` goes on.
            Invalid, InsufficientCredits, Limited, Refused, Unreachable.
        """
        turns = yield from _Tasks.turn.flow(self, model)
        with turns:
            created = yield from _Tasks.create.flow(
                self,
                model,
                input,
                metadata=metadata,
                retention_seconds=retention_seconds,
                deadline_seconds=deadline_seconds,
                priority=priority,
                on_limit=on_limit,
                max_credits=max_credits,
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

    @verb
    def timeline(self, task: Task | str) -> Flow[Sequence[TimelineEntry]]:
        """What happened to the task, oldest first. Raises NotFound, Expired, Refused, Unreachable."""
        reply = yield from self._remote.get(f"{_path(task)}/timeline")
        return read(reply, lambda body: [TimelineEntry.from_json(item) for item in body["data"]])

    @verb
    def keep(self, task: Task | str, retention_seconds: int) -> Flow[Task]:
        """The ended task, kept with its outputs for so long from now on, where that is longer than they are kept anyway; the links
        of its outputs are new.

        Raises:
            Invalid: longer than the plan keeps anything.
            Conflict: it has not ended.
            NotFound, Expired, Refused, Unreachable.
        """
        body = {"retention_seconds": retention_seconds}
        return _task((yield from self._remote.post(f"{_path(task)}/keep", body, None)))

    @verb
    def delete(self, task: Task | str) -> Flow[Receipt]:
        """Delete the ended task, and its outputs with it, now.

        Raises:
            Conflict: it has not ended; cancel it first.
            Expired: it is gone already, which may be this call's own doing where a reply was lost.
            NotFound, Refused, Unreachable.
        """
        return read((yield from self._remote.delete(_path(task))), Receipt.from_json)

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
        return (yield from page(self._remote, "/v1/tasks", query, Task.from_json))

    def _admit(
        self, model: str, path: str, body: Mapping[str, Any], idempotency_key: str | None
    ) -> Flow[Task]:
        """The task that a POST made; what the reply tells of room for more is noted."""
        pace = self._remote.pace
        pace.creating(model, 1)
        try:
            refused = partial(pace.refused, model)
            reply = yield from self._remote.post(path, body, idempotency_key, refused)
            pace.admitted(model, reply)
        finally:
            pace.creating(model, -1)
        return _task(reply)

    def _know_lanes(self) -> Flow[None]:
        """Read the catalogue once, to know the heavy models; where it cannot be read, all are light."""
        pace = self._remote.pace
        if pace.lanes is not None:
            return
        with Turns() as turns:
            yield Enter(turns.add(pace.catalogue.turn()))
            if pace.lanes is None:
                try:
                    yield from catalogue(self._remote)
                except (NotBurnish, Refused):
                    pace.lanes = {}

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
        longest = (
            self._remote.pace.watched_seconds(WATCHED_SECONDS, HELD_SECONDS) if watched else HELD_SECONDS
        )
        left = longest if until is None else max(0.0, until - clock())
        held = min(longest, math.ceil(left))
        asked_at = clock()
        reply = yield from self._remote.get(_path(task), {"wait": held}, held_seconds=held, until=until)
        current = _task(reply)
        if not current.ended and clock() - asked_at < min(1.0, held / 2):
            pause = max(current.retry_after or 0, POLL_SECONDS + random.random() * POLL_SPREAD_SECONDS)
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
