"""A batch of files: each, or each set of them, is uploaded, worked on and saved, some at once; what goes wrong with one fails that one.

Called by `enhance.py`; `work.py` makes the tasks, `sets.py` tells which files belong together. Promises: no input and no
other result of the batch is overwritten, nor any file without `overwrite`; no half file stays; a batch that is stopped
cancels what it had submitted, and ends what it had started; one that is killed goes on where it was, by its journal, and
pays for nothing twice.
"""

import asyncio
import contextlib
import os
import signal
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Final, TypeVar

import httpx

from burnish.cli.estimate import estimate, estimate_sets
from burnish.cli.found import Found, Kind
from burnish.cli.journal import Entry, Journal
from burnish.cli.names import Names, Target
from burnish.cli.place import Place, WrongUse, open_place
from burnish.cli.progress import Display, Done, Ended, Estimate, Failure, LeftOut, Skipped, Summary
from burnish.cli.sets import GROUP, asked_of, culprit, grouped, known_sets, named, piles_of, sets_of
from burnish.cli.trouble import ends_the_batch, failed_by, failure, of_every_file, with_service
from burnish.cli.work import NotUploaded, Piece, Request, Work
from burnish.client import (
    AsyncClient,
    Forbidden,
    Invalid,
    Model,
    NotBurnish,
    Output,
    Problem,
    Task,
    Unauthenticated,
    Unreachable,
)

_SIGNALS: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_Made = TypeVar("_Made")
_LIMITS: Final = httpx.Limits(max_connections=200, max_keepalive_connections=40, keepalive_expiry=4.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """What is asked of a batch. `find`: the files, once it is known what the model takes. `parameters` go into each task's input beside the picture; `at_once` is 0 where the
    client is to find out; `dry`: only ask what it would cost.
    """

    find: Callable[[Collection[Kind]], Sequence[Found]]
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
        NothingFound: a folder holds nothing that the model takes.
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
            _open_client(place, order.model) as (client, models),
        ):
            batch = _Batch(order, journal, place, client, models, display)
            if order.dry:
                display.estimate(await batch.estimate())
                return 0
            await batch.run()
    finally:
        if batch is not None and not order.dry:
            display.summary(batch.summary(time.monotonic() - began))
    return 0 if batch.complete else 1


@contextlib.asynccontextmanager
async def _open_client(place: Place, model: str) -> AsyncIterator[tuple[AsyncClient, dict[str, Model]]]:
    """A client of the place, which knows the model, and all models. A service of this machine's own is reached past all
    proxies.

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
            models,
        )


class _Batch:
    """The files of an order on their way, each a piece or in one."""

    def __init__(
        self,
        order: Order,
        journal: Journal,
        place: Place,
        client: AsyncClient,
        models: Mapping[str, Model],
        display: Display,
    ) -> None:
        self._order = order
        self._journal = journal
        self._place = place
        self._client = client
        self._display = display
        self._request, grouping = asked_of(models, order.model, order.parameters)
        self._files = order.find((self._request.kind,))
        display.expect(len(self._files))
        self._pieces = [Piece((one.file,)) for one in self._files]
        self._piles: Work | None = None
        if self._request.most is not None:
            most = self._request.most if grouping is None else (grouping.most or 1)
            self._pieces = piles_of(self._files, most)
            self._piles = None if grouping is None else self._work_on(grouping, self._pieces)
        self._begin_with(self._pieces, len(self._pieces))
        self._ended: dict[type[Ended], int] = {Done: 0, Skipped: 0, LeftOut: 0, Failure: 0}
        self._credits = 0
        self._over = False

    def _begin_with(self, pieces: Sequence[Piece], count: int) -> None:
        """These are all there are; `count` is with those that have failed already."""
        self._pieces = list(pieces)
        self._count = count
        found = {one.file: one for one in self._files}
        self._work = self._work_on(self._request, self._pieces)
        self._names = Names(
            [found[piece.file] for piece in self._pieces],
            self._order.target,
            self._order.model,
            inputs=self._files,
            of_sets=self._request.most is not None,
            kind=self._request.kind,
        )

    def _work_on(self, request: Request, pieces: Sequence[Piece]) -> Work:
        return Work(
            request,
            pieces,
            self._journal,
            self._client,
            self._display,
            max_credits=self._order.max_credits,
            at_once=self._order.at_once,
        )

    @property
    def complete(self) -> bool:
        """Whether every piece has its result, but for those that are left out; and whether there is any."""
        return self._ended[Failure] == self._left == 0 and self._ended[LeftOut] < self._count

    @property
    def _left(self) -> int:
        return self._count - sum(self._ended.values()) if self._piles is None else len(self._files)

    def summary(self, seconds: float) -> Summary:
        return Summary(
            done=self._ended[Done],
            skipped=self._ended[Skipped],
            failed=self._ended[Failure],
            left=self._left,
            seconds=seconds,
            credits=self._credits,
            alone=self._ended[LeftOut],
        )

    async def estimate(self) -> Estimate:
        """What all pieces would cost that are not done. Raises WrongUse and Unusable."""
        with self._asking():
            if self._piles is not None:
                known, unknown = [], []
                for pile in self._pieces:
                    sets = known_sets(self._piles, pile)
                    unknown += [pile] if sets is None else []
                    known += sets or []
                known = [piece for piece in known if piece.set]
                new = [piece for piece in known if self._done_before(piece) is None]
                return await estimate_sets(
                    self._client, new, unknown, len(known) - len(new), self._request, self._piles.request
                )
            pieces = [piece for piece in self._pieces if self._done_before(piece) is None]
            skipped = len(self._pieces) - len(pieces)
            files = [piece.file for piece in pieces]
            return await estimate(self._client, files, skipped, self._order.model, self._order.parameters)

    @contextlib.contextmanager
    def _asking(self) -> Iterator[None]:
        """What goes wrong with a question about all files ends the batch."""
        try:
            yield
        except Invalid as error:
            raise WrongUse(f"{error.param}: {error.message}") from error
        except OSError as error:
            raise WrongUse(f"{error.filename}: {error.strerror}") from error
        except Problem as error:
            raise with_service(error, self._place) from error

    async def run(self) -> None:
        """All pieces, some at a time. Raises WrongUse and Unusable, which end the whole batch."""
        if self._piles is not None:
            with self._asking():  # a wrong parameter is told before all files were uploaded
                await self._client.quotes.create(self._request.model, self._request.parameters)
            await self._group(self._piles)
        pieces = iter(self._pieces)
        under_way: set[asyncio.Task[None]] = set()
        try:
            following = next(pieces, None)
            while following is not None or under_way:
                while following is not None and len(under_way) < self._work.at_once and not self._over:
                    under_way.add(asyncio.create_task(self._take(following)))
                    following = next(pieces, None)
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

    async def _group(self, work: Work) -> None:
        """The pieces are then the sets that the piles hold. A file that keeps its pile from being looked at fails alone."""
        sets: list[Piece] = []
        failures: list[Failure] = []
        for whole in self._pieces:
            pile = whole
            found: tuple[list[Piece], int] | Failure | None = None
            while pile.files and not self._over:
                found = await self._attempt(pile, sets_of(work, pile, self._display))
                if not isinstance(found, Failure):
                    break
                self._over = ends_the_batch(found)
                bad = culprit(found.message, pile) if found.files else found.file
                failures.append(
                    self._named(found, pile) if bad is None else replace(found, file=bad, files=())
                )
                if bad is None or self._over:
                    break
                pile = Piece(tuple(file for file in pile.files if file != bad))
            if isinstance(found, tuple):
                sets += found[0]
                self._credits += found[1]
            elif found is None and pile.files:
                sets.append(pile)  # it was not looked at, and is left
        self._piles = None
        self._begin_with(sets, len(sets) + len(failures))
        self._display.expect(self._count)
        for failed in failures:
            self._end(failed)

    async def _take(self, piece: Piece) -> None:
        if self._request.most is not None and not piece.set:
            self._end(LeftOut(piece.file))
            return
        ended = await self._attempt(piece, self._enhance(piece))
        self._end(self._named(ended, piece) if isinstance(ended, Failure) else ended)

    def _end(self, ended: Ended) -> None:
        self._ended[type(ended)] += 1
        if isinstance(ended, Done):
            self._credits += ended.credits
        elif isinstance(ended, Failure) and ends_the_batch(ended):
            self._over = True
        self._display.ended(ended)

    def _named(self, failed: Failure, piece: Piece) -> Failure:
        """As one of the whole piece, with the names of its files in the message."""
        return replace(failed, file=piece.file, message=named(failed.message, piece), files=piece.set)

    async def _attempt(self, piece: Piece, doing: Awaitable[_Made]) -> _Made | Failure:
        """What comes of it, or why nothing does: a failure of the piece, or where it could not be uploaded of one file.
        Raises WrongUse and Unusable for what concerns all pieces.
        """
        try:
            return await doing
        except NotUploaded as error:
            return self._failure(error.file, error.reason)
        except (OSError, Problem) as error:
            return replace(self._failure(piece.file, error), files=piece.set)

    def _failure(self, file: Path, error: OSError | Problem) -> Failure:
        if isinstance(error, FileExistsError):
            return failure(file, "output_exists", str(error))
        if isinstance(error, OSError):
            return failure(file, "file_error", f"{error.strerror or error}: {error.filename or file}")
        if isinstance(error, Unauthenticated | Forbidden | NotBurnish | Unreachable):
            raise with_service(error, self._place) from error
        if isinstance(error, Invalid) and of_every_file(error, self._request.source):
            raise WrongUse(f"{error.param}: {error.message}") from error
        return failed_by(file, error)

    async def _enhance(self, piece: Piece) -> Done | Skipped | Failure:
        began = time.monotonic()
        if before := self._done_before(piece) or self._refusal(piece):
            self._show(piece, self._work.entry(piece))
            return before
        entry, task = await self._work.task(piece)
        saved = []
        for output in task.outputs:
            entry, path = await self._save(piece, entry, task, output)
            saved.append((path, output))
        paths = tuple(str(path.resolve()) for path, _ in saved)
        data = next((output.data for output in task.outputs if output.data is not None), None)
        entry = self._work.note(replace(entry, saved=paths, data=data, credits=task.cost.charged))
        self._show(piece, entry)
        return Done(piece.file, task.id, saved, time.monotonic() - began, task.cost.charged, piece.set)

    def _show(self, piece: Piece, entry: Entry) -> None:
        """The sets, where they are what was asked for."""
        if self._order.model == GROUP and entry.data is not None:
            self._display.grouped(grouped(entry.data, piece, entry.task))

    def _done_before(self, piece: Piece) -> Skipped | None:
        """By the journal, and by the files that are there. Raises OSError."""
        saved = self._work.entry(piece).saved
        if saved is None or not all(map(os.path.lexists, saved)):
            return None
        return Skipped(piece.file, [Path(path) for path in saved], piece.set)

    def _refusal(self, piece: Piece) -> Failure | None:
        """Why a piece is not begun: nothing is in a file, or its result's likely place is taken. Where that really is, is
        known and looked at again at the end. Raises OSError.
        """
        for file in piece.files:
            if not file.stat().st_size:
                message = f"{file.name} is empty." if piece.set else "The file is empty."
                return failure(file, "empty_file", message)
        if not self._order.overwrite and self._request.writes:
            ours = self._work.entry(piece).saving or ()
            for target in self._names.likely(piece.file, self._order.parameters.get("format")):
                if target.exists() and str(target.resolve()) not in ours:
                    return failure(piece.file, "output_exists", f"{target} exists already.")
        return None

    async def _save(self, piece: Piece, entry: Entry, task: Task, output: Output) -> tuple[Entry, Path]:
        """One result, where it belongs. What is there already is replaced only where it may be, or is ours."""
        self._work.tell(piece, "download", 0.0, task.id)
        target = self._names.take(piece.file, output)
        target.parent.mkdir(parents=True, exist_ok=True)
        ours = str(target.resolve()) in (entry.saving or ())
        entry = self._claimed(entry, target)
        path = await self._client.outputs.download(
            output,
            target,
            overwrite=self._order.overwrite or ours,
            progress=partial(self._work.tell_bytes, piece, "download", task.id),
        )
        return entry, path

    def _claimed(self, entry: Entry, target: Path) -> Entry:
        """With the place noted as ours, where nothing is in it yet."""
        place, before = str(target.resolve()), entry.saving or ()
        if place in before or os.path.lexists(target):
            return entry
        return self._work.note(replace(entry, saving=(*before, place)))
