"""A batch of files: each is uploaded, worked on and saved, some at once; what goes wrong with one fails that one.

Called by `enhance.py`. Promises: no input and no other result of the batch is overwritten, nor any file without
`overwrite`; no half file stays; a batch that is stopped cancels what it had submitted, and ends what it had started.
"""

import asyncio
import contextlib
import re
import signal
import time
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final

import httpx

from burnish.cli.place import Place, WrongUse, open_place
from burnish.cli.progress import Display, Done, Failure, Stage, Step, Summary
from burnish.client import (
    AsyncClient,
    Forbidden,
    Invalid,
    NotBurnish,
    Output,
    Problem,
    Refused,
    Task,
    TaskFailed,
    Unauthenticated,
    Unreachable,
)
from burnish.errors import Unusable

_CANCEL_SECONDS: Final = 5.0
_SIGNALS: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

#: The file endings of a format, as they are written and as they may be found.
_ENDINGS: Final = {
    "png": (".png",),
    "jpeg": (".jpg", ".jpeg"),
    "webp": (".webp",),
    "tiff": (".tiff", ".tif"),
}
_ENDING_OF_TYPE: Final = {f"image/{name}": endings[0] for name, endings in _ENDINGS.items()}

#: What a person can do about it: by the reason of a failed task, or the code of a refusal.
_ADVICE: Final = {
    "decode_failed": "Open it in a picture program and save it again, as PNG or JPEG.",
    "unsupported_format": "Save it as JPEG, PNG, WebP or TIFF first.",
    "input_too_large": "Make it smaller first.",
    "upload_too_large": "Make it smaller first.",
    "output_too_large": "Choose a smaller --scale, or another --format.",
    "insufficient_credits": "Add credits to the account; waiting does not help.",
    "daily_limit_reached": "Try again when the day's limit is reset.",
    "deadline_exceeded": "Try again when the service has less to do, or with a smaller picture.",
    "storage_full": "The service's disk is full: tell its operator, or make room.",
    "output_exists": "Give --overwrite, or another folder with -o.",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """What is asked of a batch. `parameters` go into each task's input beside the picture."""

    files: Sequence[Path]
    folder: Path
    model: str
    parameters: Mapping[str, Any]
    overwrite: bool
    at_once: int
    data: str | None


async def enhance(order: Order, display: Display, environ: Mapping[str, str]) -> int:
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
        return await _run(order, display, environ)
    except asyncio.CancelledError:
        if not caught:
            raise
        return 128 + caught[0]
    finally:
        for number in _SIGNALS:
            loop.remove_signal_handler(number)


async def _run(order: Order, display: Display, environ: Mapping[str, str]) -> int:
    began = time.monotonic()
    batch = None
    try:
        async with (
            open_place(order.data, environ, display.said) as place,
            _open_client(place, order.model) as client,
        ):
            batch = _Batch(order, place, client, display)
            await batch.run()
    finally:
        if batch is not None:
            left = len(order.files) - batch.done - batch.failed
            display.summary(Summary(batch.done, batch.failed, left, time.monotonic() - began))
    return 1 if batch.failed else 0


@contextlib.asynccontextmanager
async def _open_client(place: Place, model: str) -> AsyncIterator[AsyncClient]:
    """A client of the place, which knows the model. A service of this machine's own is reached past all proxies.

    Asked with little patience, before the first byte is uploaded: so it is soon told that nobody is there, or that
    the key is wrong.
    """
    async with httpx.AsyncClient(trust_env=not place.local) as http:
        try:
            impatient = AsyncClient(place.url, place.key, http=http, max_retries=1)
            models = [known.name for known in await impatient.models.list()]
        except ValueError as error:
            raise WrongUse(str(error)) from error
        except Problem as error:
            raise _trouble(error, place) from error
        if model not in models:
            raise WrongUse(f"There is no model {model}. There are: {', '.join(models)}.")
        yield AsyncClient(place.url, place.key, http=http, max_retries=2 if place.started else 6)


class _Batch:
    """The files of an order on their way."""

    def __init__(self, order: Order, place: Place, client: AsyncClient, display: Display) -> None:
        self.done = 0
        self.failed = 0
        self._order = order
        self._place = place
        self._client = client
        self._display = display
        self._names = _Names(order.files, order.folder)

    async def run(self) -> None:
        """All files, `at_once` at a time. Raises WrongUse and Unusable, which end the whole batch."""
        files = iter(self._order.files)
        try:
            async with asyncio.TaskGroup() as group:
                for _ in range(min(self._order.at_once, len(self._order.files))):
                    group.create_task(self._take(files))
        except BaseExceptionGroup as errors:
            raise errors.exceptions[0] from None

    async def _take(self, files: Iterator[Path]) -> None:
        for file in files:
            ended = await self._enhance(file)
            if isinstance(ended, Done):
                self.done += 1
            else:
                self.failed += 1
            self._display.ended(ended)

    async def _enhance(self, file: Path) -> Done | Failure:
        began = time.monotonic()
        try:
            if refusal := self._refusal(file):
                return refusal
            task = await self._work(file)
            saved = [(await self._save(file, task, output), output) for output in task.outputs]
        except FileExistsError as error:
            return _failure(file, "output_exists", str(error))
        except OSError as error:
            return _failure(file, "file_error", f"{error.strerror or error}: {error.filename or file}")
        except (Unauthenticated, Forbidden, NotBurnish, Unreachable) as error:
            raise _trouble(error, self._place) from error
        except Invalid as error:
            if _of_every_file(error):
                raise WrongUse(f"{error.param}: {error.message}") from error
            return _failed_by(file, error)
        except Problem as error:
            return _failed_by(file, error)
        return Done(file, task.id, saved, time.monotonic() - began)

    def _refusal(self, file: Path) -> Failure | None:
        """Why a file is not begun: nothing is in it, or its result's likely place is taken. Where that really is, is
        known and looked at again at the end. Raises OSError.
        """
        if not file.stat().st_size:
            return _failure(file, "empty_file", "The file is empty.")
        format_ = self._order.parameters.get("format")
        likely = _ENDINGS.get(format_ if isinstance(format_, str) else _format_of(file), ())
        for ending in likely if not self._order.overwrite else ():
            target = self._order.folder / (self._names.stem(file) + ending)
            if target.exists() and not self._names.is_input(target):
                return _failure(file, "output_exists", f"{target} exists already.")
        return None

    async def _work(self, file: Path) -> Task:
        """The task of a file, succeeded. Where we are stopped, or lose sight of it, it is cancelled."""
        self._tell(file, "upload", 0.0)
        upload = await self._client.uploads.create(
            file, progress=partial(self._tell_bytes, file, "upload", None)
        )
        creating = asyncio.ensure_future(
            self._client.tasks.create(self._order.model, {"image": upload, **self._order.parameters})
        )
        try:
            # Shielded: a task whose creation was under way when we are stopped must be known, to be cancelled.
            task = await asyncio.shield(creating)
            self._tell_task(file, task)
            ended = await self._client.tasks.wait(task, progress=partial(self._tell_task, file))
        except BaseException:
            await self._cancel(creating)
            raise
        if not ended.succeeded:
            raise TaskFailed(ended)
        return ended

    async def _cancel(self, creating: asyncio.Future[Task]) -> None:
        try:
            async with asyncio.timeout(_CANCEL_SECONDS):
                await self._client.tasks.cancel(await creating)
        except (Problem, TimeoutError) as error:
            if not creating.cancelled() and creating.exception():
                return  # there is none
            self._display.said(f"A task that was under way could not be cancelled: {error or 'no answer'}")

    async def _save(self, file: Path, task: Task, output: Output) -> Path:
        self._tell(file, "download", 0.0, task.id)
        target = self._order.folder / self._names.take(file, _ending_of(output))
        progress = partial(self._tell_bytes, file, "download", task.id)
        return await self._client.outputs.download(
            output, target, overwrite=self._order.overwrite, progress=progress
        )

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


class _Names:
    """What each result is called: its file's stem, with a number where another file of the batch has that name."""

    def __init__(self, files: Sequence[Path], folder: Path) -> None:
        self._folder = folder
        self._inputs = {_identity(file) for file in files} - {None}
        self._stems: dict[Path, str] = {}
        self._taken: set[str] = set()
        used: set[str] = set()
        for file in files:
            stem = next(name for name in _numbered(file.stem) if name.casefold() not in used)
            used.add(stem.casefold())  # some file systems do not tell a.png from A.png
            self._stems[file] = stem

    def stem(self, file: Path) -> str:
        return self._stems[file]

    def is_input(self, path: Path) -> bool:
        """Whether it is one of the files that the batch reads, by whatever name."""
        return _identity(path) in self._inputs

    def take(self, file: Path, ending: str) -> str:
        """A name for the next result of a file: not an input's, and not another result's."""
        for stem in _numbered(self._stems[file]):
            name = stem + ending
            if name.casefold() not in self._taken and not self.is_input(self._folder / name):
                self._taken.add(name.casefold())
                return name
        raise AssertionError


def _numbered(stem: str) -> Iterator[str]:
    """`photo`, `photo-2`, `photo-3` …"""
    yield stem
    number = 2
    while True:
        yield f"{stem}-{number}"
        number += 1


def _identity(path: Path) -> tuple[int, int] | None:
    """Which file a path leads to; None where it leads to none."""
    with contextlib.suppress(OSError):
        status = path.stat()
        return status.st_dev, status.st_ino
    return None


def _format_of(file: Path) -> str:
    """The format that the service writes when it is not told: the file's own, or png."""
    return next((name for name, endings in _ENDINGS.items() if file.suffix.lower() in endings), "png")


def _ending_of(output: Output) -> str:
    """The ending of the name that the service gives, where it is one; never more of that name."""
    ending = Path(output.filename or "").suffix
    return ending if re.fullmatch(r"\.[a-z0-9]{1,8}", ending) else _ENDING_OF_TYPE.get(output.type, ".bin")


# --- what went wrong ----------------------------------------------------------------------------------------------


def _failed_by(file: Path, error: Problem) -> Failure:
    task = error.task
    if isinstance(error, TaskFailed):
        message = error.task.status_message or str(error)
        return _failure(file, error.task.status_reason or "internal", message, task, error.task.retryable)
    if isinstance(error, Refused):
        words = f"{error.message} (request {error.request_id})" if error.status >= 500 else error.message
        return _failure(file, error.code, words, task, error.retryable)
    return _failure(file, "damaged", str(error), task, retryable=True)


def _failure(
    file: Path, reason: str, message: str, task: Task | None = None, retryable: bool = False
) -> Failure:
    advice = _ADVICE.get(reason) or ("Try it again." if retryable else None)
    return Failure(file, task.id if task else None, reason, message, advice, retryable)


def _of_every_file(error: Invalid) -> bool:
    """Whether it is the model or a parameter that is wrong, which all files share."""
    param = error.param or ""
    return param == "model" or (param.startswith("input.") and param != "input.image")


def _trouble(error: Problem, place: Place) -> Unusable:
    """What is wrong with the service, and what to look at."""
    return Unusable((error.message if isinstance(error, Refused) else str(error)) + place.hint)
