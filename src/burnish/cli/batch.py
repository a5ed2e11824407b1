"""A batch of files: each is uploaded, worked on and saved, some at once; what goes wrong with one fails that one.

Called by `enhance.py`. Promises: no input and no other result of the batch is overwritten, nor any file without
`overwrite`; no half file stays; a batch that is stopped cancels what it had submitted, and ends what it had started; one
that is killed goes on where it was, by its journal, and pays for nothing twice.
"""

import asyncio
import contextlib
import os
import signal
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any, Final

import httpx

from burnish.cli.estimate import estimate
from burnish.cli.found import Found
from burnish.cli.journal import Entry, Journal, order_of
from burnish.cli.names import Names, Target
from burnish.cli.place import Place, WrongUse, open_place
from burnish.cli.progress import Display, Done, Estimate, Failure, Skipped, Stage, Step, Summary
from burnish.cli.trouble import ends_the_batch, failed_by, failure, of_every_file, with_service
from burnish.client import (
    AsyncClient,
    Expired,
    Forbidden,
    Invalid,
    NotBurnish,
    NotFound,
    Output,
    Problem,
    Task,
    TaskFailed,
    Unauthenticated,
    Unreachable,
)

_CANCEL_SECONDS: Final = 5.0
_SIGNALS: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_LIMITS: Final = httpx.Limits(max_connections=200, max_keepalive_connections=40, keepalive_expiry=4.0)
#: Files under way for each task under way: the next ones are uploaded while these are worked on.
_AHEAD: Final = 2
#: In a task's metadata: how a task that was asked for, and never heard of, is found again.
_MARK: Final = "enhance"
#: How far the service's clock may be from ours, in seconds.
_SKEW_SECONDS: Final = 3600.0
_LOST_UPLOAD: Final = frozenset({"upload_not_found", "upload_expired"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """What is asked of a batch. `parameters` go into each task's input beside the picture; `at_once` is 0 where the
    client is to find out; `dry`: only ask what it would cost.
    """

    files: Sequence[Found]
    target: Target
    model: str
    parameters: Mapping[str, Any]
    max_credits: int | None
    overwrite: bool
    at_once: int
    dry: bool
    data: str | None


async def enhance(order: Order, journal: Journal, display: Display, environ: Mapping[str, str]) -> int:
    """The exit code: 0 all done, 1 some failed; 128 and the signal's number when it was stopped by one.

    Raises:
        WrongUse: an unknown model, a wrong parameter, no key.
        Unusable: there is no service, it does not know the key, or it went away.
    """
    caught: list[int] = []
    us = asyncio.current_task()
    assert us is not None

    def stop(number: int) -> None:
        if not caught:  # the first is obeyed; what follows would only disturb the clearing up
            caught.append(number)
            us.cancel()

    loop = asyncio.get_running_loop()
    for number in _SIGNALS:
        loop.add_signal_handler(number, stop, number)
    try:
        return await _run(order, journal, display, environ)
    except asyncio.CancelledError:
        if not caught:
            raise
        return 128 + caught[0]
    finally:
        for number in _SIGNALS:
            loop.remove_signal_handler(number)


async def _run(order: Order, journal: Journal, display: Display, environ: Mapping[str, str]) -> int:
    began = time.monotonic()
    batch = None
    try:
        async with (
            open_place(order.data, environ, display.said) as place,
            _open_client(place, order.model) as (client, source),
        ):
            batch = _Batch(order, journal, place, client, source, display)
            if order.dry:
                display.estimate(await batch.estimate())
                return 0
            await batch.run()
    finally:
        if batch is not None and not order.dry:
            display.summary(batch.summary(time.monotonic() - began))
    return 0 if batch.complete else 1


@contextlib.asynccontextmanager
async def _open_client(place: Place, model: str) -> AsyncIterator[tuple[AsyncClient, str]]:
    """A client of the place, which knows the model, and the parameter that names what the model works on. A service of this machine's own is reached past all proxies.

    Asked with little patience, before the first byte is uploaded: so it is soon told that nobody is there, or that
    the key is wrong.
    """
    async with httpx.AsyncClient(trust_env=not place.local, limits=_LIMITS) as http:
        try:
            impatient = AsyncClient(place.url, place.key, http=http, max_retries=1)
            models = {known.name: known for known in await impatient.models.list()}
        except ValueError as error:
            raise WrongUse(str(error)) from error
        except Problem as error:
            raise with_service(error, place) from error
        if model not in models:
            raise WrongUse(f"There is no model {model}. There are: {', '.join(models)}.")
        yield (
            AsyncClient(place.url, place.key, http=http, max_retries=2 if place.started else 10),
            _source(models[model].input_schema),
        )


def _source(schema: Mapping[str, Any]) -> str:
    """A model of films names one, the others a picture."""
    return "video" if "video" in schema.get("properties", {}) else "image"


class _Batch:
    """The files of an order on their way."""

    def __init__(
        self, order: Order, journal: Journal, place: Place, client: AsyncClient, source: str, display: Display
    ) -> None:
        self._order = order
        self._journal = journal
        self._place = place
        self._client = client
        self._source = source
        self._display = display
        self._names = Names(order.files, order.target, order.model)
        self._fingerprint = order_of(order.model, order.parameters)
        self._ended = {Done: 0, Skipped: 0, Failure: 0}
        self._credits = 0
        self._over = False
        self._known: dict[str, Task] | None = None

    @property
    def complete(self) -> bool:
        """Whether every file has its result."""
        return self._ended[Done] + self._ended[Skipped] == len(self._order.files)

    def summary(self, seconds: float) -> Summary:
        done, skipped, failed = self._ended.values()
        left = len(self._order.files) - done - skipped - failed
        return Summary(done, skipped, failed, left, seconds, self._credits)

    async def estimate(self) -> Estimate:
        """What all files would cost that are not done. Raises WrongUse and Unusable."""
        try:
            files = [one.file for one in self._order.files if self._done_before(one.file) is None]
            skipped = len(self._order.files) - len(files)
            return await estimate(self._client, files, skipped, self._order.model, self._order.parameters)
        except Invalid as error:
            raise WrongUse(f"{error.param}: {error.message}") from error
        except OSError as error:
            raise WrongUse(f"{error.filename}: {error.strerror}") from error
        except Problem as error:
            raise with_service(error, self._place) from error

    async def run(self) -> None:
        """All files, some at a time. Raises WrongUse and Unusable, which end the whole batch."""
        files = iter(self._order.files)
        under_way: set[asyncio.Task[None]] = set()
        try:
            following = next(files, None)
            while following is not None or under_way:
                while following is not None and len(under_way) < self._at_once() and not self._over:
                    under_way.add(asyncio.create_task(self._take(following.file)))
                    following = next(files, None)
                if not under_way:
                    return
                ended, under_way = await asyncio.wait(under_way, return_when=asyncio.FIRST_COMPLETED)
                for error in [one.exception() for one in ended]:
                    if error is not None:
                        raise error
        finally:
            for one in under_way:
                one.cancel()
            await asyncio.gather(*under_way, return_exceptions=True)

    def _at_once(self) -> int:
        return self._order.at_once or _AHEAD * self._client.tasks.at_once(self._order.model)

    async def _take(self, file: Path) -> None:
        ended = await self._enhance(file)
        self._ended[type(ended)] += 1
        if isinstance(ended, Done):
            self._credits += ended.credits
        elif isinstance(ended, Failure) and ends_the_batch(ended):
            self._over = True
        self._display.ended(ended)

    async def _enhance(self, file: Path) -> Done | Skipped | Failure:
        began = time.monotonic()
        try:
            if before := self._done_before(file) or self._refusal(file):
                return before
            entry, task = await self._work(file, self._journal.entry(file, self._fingerprint))
            saved = []
            for output in task.outputs:
                entry, path = await self._save(file, entry, task, output)
                saved.append((path, output))
            paths = tuple(str(path.resolve()) for path, _ in saved)
            self._journal.write(replace(entry, saved=paths, credits=task.cost.charged))
        except FileExistsError as error:
            return failure(file, "output_exists", str(error))
        except OSError as error:
            return failure(file, "file_error", f"{error.strerror or error}: {error.filename or file}")
        except (Unauthenticated, Forbidden, NotBurnish, Unreachable) as error:
            raise with_service(error, self._place) from error
        except Invalid as error:
            if of_every_file(error):
                raise WrongUse(f"{error.param}: {error.message}") from error
            return failed_by(file, error)
        except Problem as error:
            return failed_by(file, error)
        return Done(file, task.id, saved, time.monotonic() - began, task.cost.charged)

    def _done_before(self, file: Path) -> Skipped | None:
        """By the journal, and by the files that are there. Raises OSError."""
        saved = self._journal.entry(file, self._fingerprint).saved
        if saved is None or not all(map(os.path.lexists, saved)):
            return None
        return Skipped(file, [Path(path) for path in saved])

    def _refusal(self, file: Path) -> Failure | None:
        """Why a file is not begun: nothing is in it, or its result's likely place is taken. Where that really is, is
        known and looked at again at the end. Raises OSError.
        """
        if not file.stat().st_size:
            return failure(file, "empty_file", "The file is empty.")
        if not self._order.overwrite:
            ours = self._journal.entry(file, self._fingerprint).saving or ()
            for target in self._names.likely(file, self._order.parameters.get("format")):
                if target.exists() and str(target.resolve()) not in ours:
                    return failure(file, "output_exists", f"{target} exists already.")
        return None

    # --- a task for a file ----------------------------------------------------------------------------------------

    async def _work(self, file: Path, entry: Entry) -> tuple[Entry, Task]:
        """The file's task, succeeded: the one that an earlier batch has made, where it may still succeed, or a new one."""
        if entry.asked_at is not None and entry.task is None:
            entry = await self._adopted(entry)
        if entry.task is not None:
            try:
                task = await self._watched(file, entry.task)
            except (NotFound, Expired):  # of another service, or too long ago
                task = None
            if task is not None and task.succeeded:
                return entry, task
            entry = self._journal.write(entry.again())
        try:
            return await self._made(file, entry)
        except Invalid as error:
            if error.code not in _LOST_UPLOAD:
                raise
            return await self._made(file, self._journal.write(entry.again()))

    async def _adopted(self, entry: Entry) -> Entry:
        """With the task that was asked for when the batch before was killed, where there is one: read from the list, as
        the service forgets an idempotency key after a day.
        """
        if self._known is None:
            since = entry.asked_at or 0.0
            for one in self._order.files:
                with contextlib.suppress(OSError):
                    other = self._journal.entry(one.file, self._fingerprint)
                    if other.asked_at is not None and other.task is None:
                        since = min(since, other.asked_at)
            known: dict[str, Task] = {}
            earliest = datetime.fromtimestamp(since - _SKEW_SECONDS, UTC)
            async for task in self._client.tasks.list(model=self._order.model, created_after=earliest):
                known.setdefault(str(task.metadata.get(_MARK)), task)
            self._known = known
        found = self._known.get(self._journal.key(entry))
        return entry if found is None else self._journal.write(replace(entry, task=found.id))

    async def _made(self, file: Path, entry: Entry) -> tuple[Entry, Task]:
        """A new task, from the first byte to the end. Where we are stopped, or lose sight of it, it is cancelled."""
        key = self._journal.key(entry)
        if entry.upload is None:
            self._tell(file, "upload", 0.0)
            upload = await self._client.uploads.create(
                file,
                filename=_registered(file, key),
                progress=partial(self._tell_bytes, file, "upload", None),
            )
            entry = self._journal.write(replace(entry, upload=upload.id))
        with await self._client.tasks.turn(self._order.model):
            entry = self._journal.write(replace(entry, asked_at=time.time()), sync=True)
            creating = asyncio.ensure_future(
                self._client.tasks.create(
                    self._order.model,
                    {self._source: entry.upload, **self._order.parameters},
                    metadata={_MARK: key},
                    max_credits=self._order.max_credits,
                    idempotency_key=key,
                )
            )
            try:
                # Shielded: a task whose creation was under way when we are stopped must be known, to be cancelled.
                task = await asyncio.shield(creating)
                entry = self._journal.write(replace(entry, task=task.id))
                self._tell_task(file, task)
                ended = await self._client.tasks.wait(task, progress=partial(self._tell_task, file))
            except BaseException:
                await self._cancel(creating)
                raise
        if not ended.succeeded:
            raise TaskFailed(ended)
        return entry, ended

    async def _watched(self, file: Path, task: str) -> Task:
        """A task that an earlier batch has made, at its end."""
        with await self._client.tasks.turn(self._order.model):
            self._tell(file, "queue", None, task)
            try:
                return await self._client.tasks.wait(task, progress=partial(self._tell_task, file))
            except asyncio.CancelledError:
                with contextlib.suppress(Problem, TimeoutError):
                    async with asyncio.timeout(_CANCEL_SECONDS):
                        await self._client.tasks.cancel(task)
                raise

    async def _cancel(self, creating: asyncio.Future[Task]) -> None:
        try:
            async with asyncio.timeout(_CANCEL_SECONDS):
                await self._client.tasks.cancel(await creating)
        except (Problem, TimeoutError) as error:
            if not creating.cancelled() and creating.exception():
                return  # there is none
            self._display.said(f"A task that was under way could not be cancelled: {error or 'no answer'}")

    async def _save(self, file: Path, entry: Entry, task: Task, output: Output) -> tuple[Entry, Path]:
        """One result, where it belongs. What is there already is replaced only where it may be, or is ours."""
        self._tell(file, "download", 0.0, task.id)
        target = self._names.take(file, output)
        target.parent.mkdir(parents=True, exist_ok=True)
        ours = str(target.resolve()) in (entry.saving or ())
        entry = self._claimed(entry, target)
        path = await self._client.outputs.download(
            output,
            target,
            overwrite=self._order.overwrite or ours,
            progress=partial(self._tell_bytes, file, "download", task.id),
        )
        return entry, path

    def _claimed(self, entry: Entry, target: Path) -> Entry:
        """With the place noted as ours, where nothing is in it yet."""
        place, before = str(target.resolve()), entry.saving or ()
        if place in before or os.path.lexists(target):
            return entry
        return self._journal.write(replace(entry, saving=(*before, place)))

    def _tell_bytes(
        self, file: Path, stage: Stage, task_id: str | None, count: int, size: int | None
    ) -> None:
        self._tell(file, stage, count / size if size else None, task_id)

    def _tell_task(self, file: Path, task: Task) -> None:
        if task.status == "running":
            self._tell(file, "work", task.progress, task.id)
        elif not task.ended:
            self._tell(file, "queue", None, task.id)

    def _tell(self, file: Path, stage: Stage, share: float | None, task_id: str | None = None) -> None:
        self._display.step(Step(file, stage, share, task_id))


def _registered(file: Path, key: str) -> str:
    """The name that the service is told: with a few letters of this file's own, so that the same name in forty folders is
    forty names. What is saved is called as the file is.
    """
    stem = file.stem[:100].encode(errors="replace").decode()
    return f"{stem}-{key[-8:]}{file.suffix.encode(errors='replace').decode()}"
