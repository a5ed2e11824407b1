"""What `burnish enhance` shows: bars on a terminal, plain lines elsewhere, JSON lines for scripts.

Bars and plain lines go to standard error. JSON goes to standard output, one object a line with its `event`:
`note`, `grouped`, `stage`, `done`, `skipped`, `left_out`, `failed`, and `summary` as the last; of a dry run `quote` alone.
"""

import json
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Literal, Protocol, Self

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn
from rich.text import Text

from burnish.cli import printable
from burnish.client import Output

Stage = Literal["upload", "queue", "work", "download"]

_DOING: Final[dict[Stage, str]] = {
    "upload": "uploading",
    "queue": "waiting its turn",
    "work": "working",
    "download": "downloading",
}
_NAME_WIDTH: Final = 28
_DOING_WIDTH: Final = max(len(doing) for doing in _DOING.values())


@dataclass(frozen=True, slots=True)
class Step:
    """Where a file is: `share` of the stage is done, from 0 to 1, or None where nobody knows."""

    file: Path
    stage: Stage
    share: float | None
    task_id: str | None


@dataclass(frozen=True, slots=True)
class Done:
    """A file's results, and where they are; of a set, `files` are all of it and `file` the first, here and below."""

    file: Path
    task_id: str
    saved: Sequence[tuple[Path, Output]]
    seconds: float
    credits: int = 0
    files: Sequence[Path] = ()


@dataclass(frozen=True, slots=True)
class Skipped:
    """A file that an earlier batch has done, and where its results are."""

    file: Path
    saved: Sequence[Path]
    files: Sequence[Path] = ()


@dataclass(frozen=True, slots=True)
class LeftOut:
    """A file that belongs to no other, where a model takes several."""

    file: Path


@dataclass(frozen=True, slots=True)
class Grouped:
    """Which files belong together, and by what that was told."""

    sets: Sequence[Sequence[Path]]
    by: str
    task_id: str | None


@dataclass(frozen=True, slots=True)
class Failure:
    """Why a file has no result, and what can be done about it."""

    file: Path
    task_id: str | None
    reason: str
    message: str
    advice: str | None
    retryable: bool
    files: Sequence[Path] = ()


Ended = Done | Skipped | LeftOut | Failure


@dataclass(frozen=True, slots=True)
class Summary:
    """How a batch ended; `left` files (or sets) were not begun or not finished, `alone` were left out as they belong to no
    other. `credits`: what this batch was charged.
    """

    done: int
    skipped: int
    failed: int
    left: int
    seconds: float
    credits: int
    alone: int = 0


@dataclass(frozen=True, slots=True)
class Estimate:
    """What a batch would cost, `lowest` to `highest` credits (None: nobody knows); `available` where that may be known.
    `sets`: how few and how many are made of the files, where a model takes several.
    """

    files: int
    skipped: int
    lowest: int
    highest: int | None
    available: int | None
    sets: tuple[int, int] | None = None


class Display(Protocol):
    """One way of telling; used as a context."""

    def __enter__(self) -> Self: ...
    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...
    def said(self, text: str) -> None:
        """Something about the batch as a whole."""

    def expect(self, count: int) -> None:
        """So many files or sets are to end."""

    def grouped(self, grouped: Grouped) -> None:
        """It is known which files belong together."""

    def step(self, step: Step) -> None:
        """A file is a little further."""

    def ended(self, ended: Ended) -> None:
        """A file is finished with."""

    def summary(self, summary: Summary) -> None:
        """The batch is over."""

    def estimate(self, estimate: Estimate) -> None:
        """The batch was only asked about."""


def open_display(*, as_json: bool) -> Display:
    """The way that fits: JSON where it is asked for, bars on a terminal, lines otherwise."""
    if as_json:
        return JsonLines()
    console = Console(stderr=True, highlight=False)
    return Bars(console) if console.is_terminal and not console.is_dumb_terminal else Lines()


class Lines:
    """A line for each stage of a file, and one for its end."""

    def __init__(self) -> None:
        self._stages: dict[Path, Stage] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        pass

    def said(self, text: str) -> None:
        print(printable(text), file=sys.stderr, flush=True)

    def expect(self, count: int) -> None:
        pass

    def grouped(self, grouped: Grouped) -> None:
        for line in _sets_told(grouped):
            self.said(line)

    def step(self, step: Step) -> None:
        if self._stages.get(step.file) != step.stage:
            self._stages[step.file] = step.stage
            self.said(f"{step.file}: {_DOING[step.stage]}")

    def ended(self, ended: Ended) -> None:
        self._stages.pop(ended.file, None)
        if not isinstance(ended, Skipped):
            self.said(_told(ended))

    def summary(self, summary: Summary) -> None:
        self.said(_summed_up(summary))

    def estimate(self, estimate: Estimate) -> None:
        self.said(_estimated(estimate))


class Bars:
    """A bar for each file under way, one for all of them, and a line above for each that has ended."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._progress = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=None),
            TextColumn("{task.fields[doing]}", markup=False),
            TimeElapsedColumn(),
            console=console,
            transient=True,
        )
        self._files: dict[Path, TaskID] = {}
        self._all = self._progress.add_task("All files".ljust(_NAME_WIDTH), total=None, doing="")
        self._count = 0
        self._ended = 0

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._progress.stop()

    def said(self, text: str) -> None:
        self._console.print(Text(printable(text)))

    def expect(self, count: int) -> None:
        self._count = count
        self._progress.update(self._all, total=count, doing=f"{self._ended} of {count}".ljust(_DOING_WIDTH))

    def grouped(self, grouped: Grouped) -> None:
        for line in _sets_told(grouped):
            self.said(line)

    def step(self, step: Step) -> None:
        if step.file not in self._files:
            self._files[step.file] = self._progress.add_task(_short(step.file), total=1.0, doing="")
        doing = _DOING[step.stage].ljust(_DOING_WIDTH)
        share = min(
            step.share or 0.0, 0.999
        )  # a full bar would stop its clock, and the next stage is to come
        self._progress.update(self._files[step.file], completed=share, doing=doing)

    def ended(self, ended: Ended) -> None:
        if ended.file in self._files:
            self._progress.remove_task(self._files.pop(ended.file))
        self._ended += 1
        doing = f"{self._ended} of {self._count}".ljust(_DOING_WIDTH)
        self._progress.update(self._all, completed=self._ended, doing=doing)
        if not isinstance(ended, Skipped):
            self.said(_told(ended))

    def summary(self, summary: Summary) -> None:
        self._progress.stop()
        self.said(_summed_up(summary))

    def estimate(self, estimate: Estimate) -> None:
        self._progress.stop()
        self.said(_estimated(estimate))


class JsonLines:
    """An object a line, on standard output."""

    def __init__(self) -> None:
        self._steps: dict[Path, Step] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        pass

    def said(self, text: str) -> None:
        _print(event="note", text=text)

    def expect(self, count: int) -> None:
        pass

    def grouped(self, grouped: Grouped) -> None:
        _print(
            event="grouped",
            task=grouped.task_id,
            by=grouped.by,
            sets=[list(one) for one in grouped.sets],
        )

    def step(self, step: Step) -> None:
        """Each stage once, and the work as often as it is read."""
        before = self._steps.get(step.file)
        if before is None or before.stage != step.stage or (step.stage == "work" and before != step):
            _print(event="stage", file=step.file, task=step.task_id, stage=step.stage, progress=step.share)
        self._steps[step.file] = step

    def ended(self, ended: Ended) -> None:
        self._steps.pop(ended.file, None)
        if isinstance(ended, Skipped):
            _print(event="skipped", file=ended.file, **_all_of(ended), paths=list(ended.saved))
        elif isinstance(ended, LeftOut):
            _print(event="left_out", file=ended.file)
        elif isinstance(ended, Done):
            _print(
                event="done",
                file=ended.file,
                **_all_of(ended),
                task=ended.task_id,
                outputs=[
                    {
                        "path": path,
                        "type": output.type,
                        "width": output.width,
                        "height": output.height,
                        "size_bytes": output.size_bytes,
                        **({} if output.data is None else {"data": output.data}),
                    }
                    for path, output in ended.saved
                ],
                credits=ended.credits,
                seconds=round(ended.seconds, 3),
            )
        else:
            _print(
                event="failed",
                file=ended.file,
                **_all_of(ended),
                task=ended.task_id,
                reason=ended.reason,
                message=ended.message,
                advice=ended.advice,
                retryable=ended.retryable,
            )

    def summary(self, summary: Summary) -> None:
        _print(
            event="summary",
            done=summary.done,
            skipped=summary.skipped,
            failed=summary.failed,
            left=summary.left,
            **({"alone": summary.alone} if summary.alone else {}),
            credits=summary.credits,
            seconds=round(summary.seconds, 3),
        )

    def estimate(self, estimate: Estimate) -> None:
        _print(
            event="quote",
            files=estimate.files,
            skipped=estimate.skipped,
            **({"sets": estimate.sets} if estimate.sets else {}),
            lowest=estimate.lowest,
            highest=estimate.highest,
            available=estimate.available,
        )


def _print(**members: Any) -> None:
    print(json.dumps(members, default=str), flush=True)


def _all_of(ended: Done | Skipped | Failure) -> dict[str, list[Path]]:
    return {"files": list(ended.files)} if ended.files else {}


def _sets_told(grouped: Grouped) -> Iterator[str]:
    """A line for each set."""
    files = sum(map(len, grouped.sets))
    sets = "1 set" if len(grouped.sets) == 1 else f"{len(grouped.sets)} sets"
    yield f"{files} files are {sets}{f', by {grouped.by}' if grouped.by else ''}:"
    for number, one in enumerate(grouped.sets, 1):
        yield f"  {number}: {', '.join(map(str, one))}"


def _told(ended: Done | LeftOut | Failure) -> str:
    if isinstance(ended, LeftOut):
        return f"{ended.file}: left out: it belongs to no other"
    what = f"{ended.file} and {len(ended.files) - 1} more" if ended.files else str(ended.file)
    if isinstance(ended, Failure):
        task = f" (task {ended.task_id})" if ended.task_id else ""
        advice = f" {ended.advice}" if ended.advice else ""
        return f"{what}: failed: {ended.message}{advice}{task}"
    results = ", ".join(f"{path}{_measures(output)}" for path, output in ended.saved) or "nothing"
    data = [json.dumps(output.data) for _, output in ended.saved if output.data and "sets" not in output.data]
    return "; ".join([f"{what} -> {results} in {ended.seconds:.1f} s", *data])


def _measures(output: Output) -> str:
    if not output.width or not output.height or not output.size_bytes:
        return ""
    return f" ({output.width}x{output.height}, {output.size_bytes / 1e6:.1f} MB)"


def _summed_up(summary: Summary) -> str:
    parts = [f"{summary.done} done"]
    parts += [f"{summary.skipped} done before"] if summary.skipped else []
    parts += [f"{summary.failed} failed"] if summary.failed else []
    parts += [f"{summary.left} left"] if summary.left else []
    parts += [f"{summary.alone} alone and left out"] if summary.alone else []
    cost = f", for {summary.credits:,} credits" if summary.credits else ""
    return f"{', '.join(parts)}, in {summary.seconds:.1f} s{cost}"


def _estimated(estimate: Estimate) -> str:
    files = f"{estimate.files} {'file' if estimate.files == 1 else 'files'}"
    before = f" ({estimate.skipped} done before)" if estimate.skipped else ""
    if estimate.sets:
        fewest, most = estimate.sets
        before = f" in {fewest if fewest == most else f'{fewest} to {most}'} sets{before}"
    cost = f"{estimate.lowest:,} credits"
    if estimate.highest is None:
        cost = f"at least {cost}"
    elif estimate.highest != estimate.lowest:
        cost = f"{estimate.lowest:,} to {estimate.highest:,} credits"
    there = "" if estimate.available is None else f"; {estimate.available:,} are there"
    return f"{files}{before} would cost {cost}{there}."


def _short(file: Path) -> str:
    """The name, cut in its middle where it is long, so that bars begin at one column."""
    name = printable(file.name)
    if len(name) > _NAME_WIDTH:
        half = (_NAME_WIDTH - 1) // 2
        name = f"{name[:half]}…{name[-half:]}"
    return name.ljust(_NAME_WIDTH)
