"""Which files of a batch belong together, where a model takes several: the service's model `group` tells.

Used by `batch.py`. A pile is what one task of `group` looks at: all files, or where they are too many those of a folder.
What it told is kept in the journal, so that it is asked once.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from burnish.cli.found import Found
from burnish.cli.place import WrongUse
from burnish.cli.progress import Display, Grouped
from burnish.cli.work import Piece, Request, Work
from burnish.client import Damaged, Model

#: The model that tells.
GROUP: Final = "group"


def piles_of(files: Sequence[Found], most: int) -> list[Piece]:
    """All files, or each folder's where they are more than `most`.

    Raises:
        WrongUse: a folder has more.
    """
    paths = [one.file for one in files]
    if len(paths) <= most:
        return [Piece(tuple(paths))]
    folders: dict[Path, list[Path]] = {}
    for path in paths:
        folders.setdefault(path.parent, []).append(path)
    for folder, inside in folders.items():
        if len(inside) > most:
            raise WrongUse(
                f"{folder} has {len(inside):,} pictures, and at most {most} of a folder can be grouped. Move some of "
                "them to another folder, whole scenes together, or name fewer."
            )
    return [Piece(tuple(inside)) for inside in folders.values()]


def asked_of(
    models: Mapping[str, Model], model: str, parameters: Mapping[str, Any]
) -> tuple[Request, Request | None]:
    """What is asked of each piece; and of the piles, where the model takes several files and does not group itself. A
    parameter that `group` alone knows goes there.

    Raises:
        WrongUse: the service has no `group`.
    """
    request = Request.of(models[model], parameters)
    if request.most is None or model == GROUP:
        return request, None
    if GROUP not in models:
        raise WrongUse(f"{model} takes several files, and this service has no {GROUP} to tell which.")
    known = models[model].input_schema.get("properties", {})
    groups = models[GROUP].input_schema.get("properties", {})
    theirs = {name: value for name, value in parameters.items() if name in groups and name not in known}
    ours = {name: value for name, value in parameters.items() if name not in theirs}
    return Request.of(models[model], ours), Request.of(models[GROUP], theirs)


def known_sets(work: Work, pile: Piece) -> list[Piece] | None:
    """As an earlier batch was told, else None. Raises OSError."""
    if len(pile.files) == 1:
        return [pile]
    data = work.entry(pile).data
    return None if data is None else pieces_in(data, pile)


async def sets_of(work: Work, pile: Piece, display: Display) -> tuple[list[Piece], int]:
    """The sets of a pile, and what it cost to know; a file that belongs to no other is one alone. Raises as `Work.task`
    does, and Damaged.
    """
    sets, charged = known_sets(work, pile), 0
    if sets is None:
        entry, task = await work.task(pile)
        data = next((output.data for output in task.outputs if output.data is not None), {})
        sets = pieces_in(data, pile)
        charged = task.cost.charged
        work.note(replace(entry, data=data, credits=charged))
        display.grouped(grouped(data, pile, task.id))
    return sets, charged


def grouped(data: Mapping[str, Any], pile: Piece, task: str | None) -> Grouped:
    """What there is to show. Raises Damaged."""
    return Grouped([piece.files for piece in pieces_in(data, pile)], str(data.get("by", "")), task)


def pieces_in(data: Mapping[str, Any], pile: Piece) -> list[Piece]:
    """The sets that were told as places in the pile. Raises Damaged where they are something else."""
    sets = data.get("sets")
    if not isinstance(sets, Sequence) or not all(isinstance(one, Sequence) and one for one in sets):
        raise Damaged("The service told no sets.")
    places = [place for one in sets for place in one]
    if sorted(map(repr, places)) != sorted(map(repr, range(len(pile.files)))):
        raise Damaged("The service told sets that leave files out, or have one twice.")
    return [Piece(tuple(pile.files[place] for place in one)) for one in sets]


def culprit(message: str, pile: Piece) -> Path | None:
    """The file that a failure begins with, as `input.images[3]: …`."""
    found = re.match(r"(?:input\.)?images\[(\d{1,4})\]:", message)
    return pile.files[int(found[1])] if found and int(found[1]) < len(pile.files) else None


def named(message: str, piece: Piece) -> str:
    """With each file's name for its place."""

    def name(found: re.Match[str]) -> str:
        place = int(found[1])
        return piece.files[place].name if place < len(piece.files) else found[0]

    return re.sub(r"(?:input\.)?images\[(\d{1,4})\]", name, message)
