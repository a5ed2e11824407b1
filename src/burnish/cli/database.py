"""The database that a verb works on, and how a verb says what it found: as text for people, or as JSON."""

import argparse
import contextlib
import os
import re
import shlex
from collections.abc import AsyncIterator, Sequence
from typing import Final

import msgspec

from burnish import settings as settings_
from burnish.cli import must_hold_data, printable
from burnish.resources import open_database_of
from burnish.settings import Settings
from burnish.storage.postgres import Database

Cell = str | int

_NUMBER: Final = re.compile(r"[+-]?[\d,]*", re.ASCII)


def settings_of(options: argparse.Namespace) -> Settings:
    return settings_.read(os.environ, {"data": options.data})


@contextlib.asynccontextmanager
async def open_database_for(options: argparse.Namespace, *, make: bool = False) -> AsyncIterator[Database]:
    """The database of the options' directory; made where there is none only if the verb makes things.

    Raises:
        Unusable: there is none, or it cannot be opened.
    """
    settings = settings_of(options)
    if not make:
        must_hold_data(settings.data, settings.database.url)
    async with open_database_of(settings) as db:
        yield db


def say(options: argparse.Namespace, facts: object, text: str) -> None:
    """`facts` with `--json`, else `text`."""
    print(msgspec.json.encode(facts).decode() if options.json else text)


def command(options: argparse.Namespace, *words: str) -> str:
    """A line to type next, with this one's `--data`."""
    data = ("--data", options.data) if options.data else ()
    return shlex.join(("burnish", *words, *data))


def table(heads: Sequence[str], rows: Sequence[Sequence[Cell]]) -> str:
    """Columns under their heads: text to the left, numbers to the right; what would move the cursor, as an escape."""
    shown = [[f"{cell:,}" if isinstance(cell, int) else printable(cell) for cell in row] for row in rows]
    widths = [max(len(line[place]) for line in (list(heads), *shown)) for place in range(len(heads))]
    numbers = [all(_NUMBER.fullmatch(line[place]) for line in shown) for place in range(len(heads))]
    lines = []
    for line in (list(heads), *shown):
        cells = zip(line, widths, numbers, strict=True)
        lines.append(
            "  ".join(f"{cell:>{width}}" if right else f"{cell:{width}}" for cell, width, right in cells)
        )
    return "\n".join(line.rstrip() for line in lines)
