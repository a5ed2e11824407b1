"""A batch's journal: what became of each file, a line of JSON for each step, so that a batch goes on where it was killed.

Used by `batch.py` and `work.py`. Promises, whatever moment it is killed at:

- What may be paid for is written down, and on the disk, before it is asked for; each asking has an idempotency key that
  is made of what is written, so asking again asks for the same.
- A line that was cut off is no line. One batch at a time writes a journal.
"""

import contextlib
import fcntl
import io
import json
import os
import secrets
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from hashlib import sha256
from pathlib import Path
from typing import IO, Any, Final

from burnish.errors import Unusable

NAME: Final = ".burnish-enhance.jsonl"


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """A file under one order, as far as it has come. `order` is the model with its parameters; `round` counts the tasks
    that are made of it, one after the other. `asked_at`: in seconds since 1970, before its task was asked for.
    `saving`: where nothing was before its results went there, so that what is there now is ours. `data`: what a result
    said that was not saved. Of a set of files, `file` is the first.
    """

    file: str
    order: str
    size: int
    changed_ns: int
    round: int = 1
    upload: str | None = None
    asked_at: float | None = None
    task: str | None = None
    saving: tuple[str, ...] | None = None
    saved: tuple[str, ...] | None = None
    data: Mapping[str, Any] | None = None
    credits: int = 0

    def again(self) -> "Entry":
        """The same file once more, with nothing done yet."""
        return Entry(
            file=self.file, order=self.order, size=self.size, changed_ns=self.changed_ns, round=self.round + 1
        )


_FIELDS: Final = frozenset(field.name for field in fields(Entry))


class Journal:
    """Entries by file and order; `open_journal` opens one."""

    def __init__(self, file: IO[bytes], id_: str, entries: dict[tuple[str, str], Entry]) -> None:
        self._file = file
        self._id = id_
        self._entries = entries

    def entry(self, file: Path, order: str, beside: Sequence[Path] = ()) -> Entry:
        """Where the file stands, or the set of it and those `beside` it. One that has changed since is another file, and
        makes another set. Raises OSError.
        """
        status = file.stat()
        if beside:
            others = [(str(other.resolve()), *_size_and_time(other)) for other in beside]
            order = sha256(json.dumps([order, others]).encode()).hexdigest()[:16]
        name = str(file.resolve())
        known = self._entries.get((name, order))
        fresh = Entry(file=name, order=order, size=status.st_size, changed_ns=status.st_mtime_ns)
        if known is None:
            return fresh
        same = (known.size, known.changed_ns) == (fresh.size, fresh.changed_ns)
        return known if same else replace(fresh, round=known.round + 1)

    def write(self, entry: Entry, *, sync: bool = False) -> Entry:
        """Note it; with `sync` it is on the disk when this returns."""
        self._entries[entry.file, entry.order] = entry
        _append(self._file, asdict(entry), sync=sync)
        return entry

    def key(self, entry: Entry) -> str:
        """The idempotency key of this round of a file: another for every journal, file, order and round."""
        what = (self._id, entry.file, entry.order, entry.size, entry.changed_ns, entry.round)
        return "enhance-" + sha256(json.dumps(what).encode()).hexdigest()[:40]

    def results(self) -> Iterator[Path]:
        """Every file that was saved."""
        for entry in self._entries.values():
            yield from map(Path, entry.saved or ())


@contextlib.contextmanager
def open_journal(path: Path) -> Iterator[Journal]:
    """The journal there, made where there is none.

    Raises:
        Unusable: another batch writes it, it is something else, or it cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        file = path.open("a+b", buffering=0)
    except OSError as error:
        raise Unusable(f"The journal {path} cannot be written: {error.strerror}.") from error
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise Unusable(
                f"Another batch writes the journal {path}. Wait for it, or give --journal."
            ) from error
        file.seek(0)
        text = file.read()
        lines = [line for line in map(_line, text.splitlines()) if line]
        if not lines:
            if text.strip():
                raise Unusable(f"{path} is no journal of `burnish enhance`.")
            lines = [{"journal": secrets.token_hex(16), "version": 1}]
            _append(file, lines[0], sync=True)
        id_ = lines[0].get("journal")
        if not isinstance(id_, str):
            raise Unusable(f"{path} is no journal of `burnish enhance`.")
        if text and not text.endswith(b"\n"):
            file.write(b"\n")  # the last one was killed while it wrote
        entries = [_entry(line) for line in lines[1:]]
        yield Journal(file, id_, {(entry.file, entry.order): entry for entry in entries if entry})


def unwritten_journal(path: Path) -> contextlib.AbstractContextManager[Journal]:
    """For a look alone: the one that is there, or an empty one that is kept nowhere."""
    return open_journal(path) if path.exists() else contextlib.nullcontext(Journal(io.BytesIO(), "", {}))


def order_of(model: str, parameters: Mapping[str, Any]) -> str:
    """What is asked of every file, in a few letters."""
    return sha256(json.dumps([model, parameters], sort_keys=True).encode()).hexdigest()[:16]


def _size_and_time(file: Path) -> tuple[int, int]:
    status = file.stat()
    return status.st_size, status.st_mtime_ns


def _append(file: IO[bytes], members: Mapping[str, Any], *, sync: bool) -> None:
    """One line, in one write."""
    kept = {name: value for name, value in members.items() if value is not None}
    file.write(json.dumps(kept).encode() + b"\n")
    if sync:
        os.fsync(file.fileno())


def _line(text: bytes) -> dict[str, Any] | None:
    try:
        line = json.loads(text)
    except ValueError:
        return None
    return line if isinstance(line, dict) else None


def _entry(line: dict[str, Any]) -> Entry | None:
    known = {name: value for name, value in line.items() if name in _FIELDS}
    try:
        known |= {name: tuple(known[name]) for name in ("saving", "saved") if name in known}
        return Entry(**known)
    except TypeError:
        return None
