"""The task of a piece: its bytes uploaded, the task asked for and awaited, all by the journal.

A piece is what one task works on: a file, or a set of files where the model takes several. Used by `batch.py` for results
and by `sets.py` to learn which files belong together. Promises: what an earlier batch has uploaded or asked for is not
uploaded or asked for again; a task that we lose sight of is cancelled.
"""

import asyncio
import contextlib
import errno
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any, Final

from burnish.cli.found import Kind
from burnish.cli.journal import Entry, Journal, order_of
from burnish.cli.progress import Display, Stage, Step
from burnish.client import AsyncClient, Expired, Invalid, Model, NotFound, Problem, Task, TaskFailed

_CANCEL_SECONDS: Final = 5.0
#: Files under way for each task under way: the next ones are uploaded while these are worked on.
_AHEAD: Final = 2
#: In a task's metadata: how a task that was asked for, and never heard of, is found again.
_MARK: Final = "enhance"
#: How far the service's clock may be from ours, in seconds.
_SKEW_SECONDS: Final = 3600.0
_LOST_UPLOAD: Final = frozenset({"upload_not_found", "upload_expired"})
#: The order under which the journal keeps an upload that several tasks work on.
_UPLOADED: Final = "upload"


class NotUploaded(Exception):
    """One file of a set could not be uploaded, and why."""

    def __init__(self, file: Path, reason: OSError | Problem) -> None:
        super().__init__(f"{file}: {reason}")
        self.file = file
        self.reason = reason


@dataclass(frozen=True, slots=True)
class Piece:
    """The files of one task; the first gives it its name."""

    files: tuple[Path, ...]

    @property
    def file(self) -> Path:
        return self.files[0]

    @property
    def set(self) -> tuple[Path, ...]:
        """All files, where there are several."""
        return self.files if len(self.files) > 1 else ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What is asked of every piece. `source` names the parameter that takes its bytes; `most`: how many files that takes,
    where it is a list; `writes`: whether there is a picture's format to choose.
    """

    model: str
    parameters: Mapping[str, Any]
    source: str
    most: int | None
    writes: bool

    @property
    def kind(self) -> Kind:
        """What it takes."""
        return "film" if self.source == "video" else "picture"

    @classmethod
    def of(cls, model: Model, parameters: Mapping[str, Any]) -> "Request":
        """By the schema that the service gives."""
        known = model.input_schema.get("properties", {})
        source = next((name for name in ("video", "images") if name in known), "image")
        listed = known.get(source, {}).get("type") == "array"
        return cls(
            model=model.name,
            parameters=parameters,
            source=source,
            most=known[source].get("maxItems", 1) if listed else None,
            writes="format" in known,
        )


class Work:
    """The tasks of some pieces, of which all is asked the same. `at_once` is 0 where the client is to find out."""

    def __init__(
        self,
        request: Request,
        pieces: Sequence[Piece],
        journal: Journal,
        client: AsyncClient,
        display: Display,
        *,
        max_credits: int | None,
        at_once: int,
    ) -> None:
        self.request = request
        self._pieces = pieces
        self._journal = journal
        self._client = client
        self._display = display
        self._max_credits = max_credits
        self._at_once = at_once
        self._order = order_of(request.model, request.parameters)
        self._known: dict[str, Task] | None = None

    @property
    def at_once(self) -> int:
        """How many files may be under way."""
        return self._at_once or _AHEAD * self._client.tasks.at_once(self.request.model)

    def entry(self, piece: Piece) -> Entry:
        """Where a piece stands. Raises OSError."""
        return self._journal.entry(piece.file, self._order, piece.files[1:])

    def note(self, entry: Entry) -> Entry:
        """Write down where a piece stands now."""
        return self._journal.write(entry)

    async def task(self, piece: Piece) -> tuple[Entry, Task]:
        """The piece's task, succeeded: the one that an earlier batch has made, where it may still succeed, or a new one.

        Raises:
            OSError: a file cannot be read.
            NotUploaded: of a set, one file.
        TaskFailed, Problem: as the client does.
        """
        entry = self.entry(piece)
        if entry.asked_at is not None and entry.task is None:
            entry = await self._adopted(entry)
        if entry.task is not None:
            try:
                task = await self._watched(piece, entry.task)
            except (NotFound, Expired):  # of another service, or too long ago
                task = None
            if task is not None and task.succeeded:
                return entry, task
            entry = self._journal.write(entry.again())
        try:
            return await self._made(piece, entry)
        except Invalid as error:
            if error.code not in _LOST_UPLOAD:
                raise
            self._forget_uploads(piece)
            return await self._made(piece, self._journal.write(entry.again()))

    def tell(self, piece: Piece, stage: Stage, share: float | None, task_id: str | None = None) -> None:
        self._display.step(Step(piece.file, stage, share, task_id))

    def tell_bytes(
        self, piece: Piece, stage: Stage, task_id: str | None, count: int, size: int | None
    ) -> None:
        self.tell(piece, stage, count / size if size else None, task_id)

    async def _adopted(self, entry: Entry) -> Entry:
        """With the task that was asked for when the batch before was killed, where there is one: read from the list, as
        the service forgets an idempotency key after a day.
        """
        if self._known is None:
            since = entry.asked_at or 0.0
            for piece in self._pieces:
                with contextlib.suppress(OSError):
                    other = self.entry(piece)
                    if other.asked_at is not None and other.task is None:
                        since = min(since, other.asked_at)
            known: dict[str, Task] = {}
            earliest = datetime.fromtimestamp(since - _SKEW_SECONDS, UTC)
            async for task in self._client.tasks.list(model=self.request.model, created_after=earliest):
                known.setdefault(str(task.metadata.get(_MARK)), task)
            self._known = known
        found = self._known.get(self._journal.key(entry))
        return entry if found is None else self._journal.write(replace(entry, task=found.id))

    async def _made(self, piece: Piece, entry: Entry) -> tuple[Entry, Task]:
        """A new task, from the first byte to the end. Where we are stopped, or lose sight of it, it is cancelled."""
        key = self._journal.key(entry)
        given: str | list[str]
        if self.request.most is None:
            entry = await self._uploaded(
                piece.file, entry, partial(self.tell_bytes, piece, "upload", None), piece
            )
            assert entry.upload is not None
            given = entry.upload
        else:
            given = await self._all_uploaded(piece)
        with await self._client.tasks.turn(self.request.model):
            entry = self._journal.write(replace(entry, asked_at=time.time()), sync=True)
            creating = asyncio.ensure_future(
                self._client.tasks.create(
                    self.request.model,
                    {self.request.source: given, **self.request.parameters},
                    metadata={_MARK: key},
                    max_credits=self._max_credits,
                    idempotency_key=key,
                )
            )
            try:
                # Shielded: a task whose creation was under way when we are stopped must be known, to be cancelled.
                task = await asyncio.shield(creating)
                entry = self._journal.write(replace(entry, task=task.id))
                self._tell_task(piece, task)
                ended = await self._client.tasks.wait(task, progress=partial(self._tell_task, piece))
            except BaseException:
                await self._cancel(creating)
                raise
        if not ended.succeeded:
            raise TaskFailed(ended)
        return entry, ended

    async def _all_uploaded(self, piece: Piece) -> list[str]:
        """Each file's upload, some at a time. They are the files' own in the journal, as more than one task works on them."""
        for file in piece.files:
            _refuse_empty(file)
        room = asyncio.Semaphore(self.at_once)
        arrived = 0

        async def upload(file: Path) -> str:
            nonlocal arrived
            async with room:
                try:
                    entry = await self._uploaded(file, self._journal.entry(file, _UPLOADED), None, piece)
                except (OSError, Problem) as error:
                    raise NotUploaded(file, error) from error
            arrived += 1
            self.tell(piece, "upload", arrived / len(piece.files))
            assert entry.upload is not None
            return entry.upload

        under_way = [asyncio.create_task(upload(file)) for file in piece.files]
        try:
            return await asyncio.gather(*under_way)
        finally:
            for one in under_way:
                one.cancel()
            await asyncio.gather(*under_way, return_exceptions=True)

    async def _uploaded(self, file: Path, entry: Entry, progress: Any, piece: Piece) -> Entry:
        """With the id of the bytes' upload."""
        if entry.upload is not None:
            return entry
        if progress is not None:
            self.tell(piece, "upload", 0.0)
        upload = await self._client.uploads.create(
            file, filename=_registered(file, self._journal.key(entry)), progress=progress
        )
        return self._journal.write(replace(entry, upload=upload.id))

    def _forget_uploads(self, piece: Piece) -> None:
        """Of a set; a single file's is forgotten with its round."""
        if self.request.most is not None:
            for file in piece.files:
                self._journal.write(self._journal.entry(file, _UPLOADED).again())

    async def _watched(self, piece: Piece, task: str) -> Task:
        """A task that an earlier batch has made, at its end."""
        with await self._client.tasks.turn(self.request.model):
            self.tell(piece, "queue", None, task)
            try:
                return await self._client.tasks.wait(task, progress=partial(self._tell_task, piece))
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

    def _tell_task(self, piece: Piece, task: Task) -> None:
        if task.status == "running":
            self.tell(piece, "work", task.progress, task.id)
        elif not task.ended:
            self.tell(piece, "queue", None, task.id)


def _refuse_empty(file: Path) -> None:
    try:
        if not file.stat().st_size:
            raise NotUploaded(file, OSError(errno.ENODATA, "The file is empty", str(file)))
    except OSError as error:
        raise NotUploaded(file, error) from error


def _registered(file: Path, key: str) -> str:
    """The name that the service is told: with a few letters of this file's own, so that the same name in forty folders is
    forty names. What is saved is called as the file is.
    """
    stem = file.stem[:100].encode(errors="replace").decode()
    return f"{stem}-{key[-8:]}{file.suffix.encode(errors='replace').decode()}"
