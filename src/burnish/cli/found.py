"""Which files a batch is about: those named, those in folders that are named, and those that a pattern fits.

Called by `enhance.py`. Each file has its place: its path below the folder that it was found in, or its bare name.
"""

import glob
import os
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

#: What is taken from a folder, by what it is: a GIF is both. A file that is named itself may be called anything.
_ENDINGS: Final = {
    "picture": frozenset(
        [
            ".jpg",
            ".jpeg",
            ".jfif",
            ".png",
            ".webp",
            ".bmp",
            ".tif",
            ".tiff",
            ".gif",
            ".heic",
            ".heif",
            ".avif",
            ".tga",
            ".dng",
            ".cr2",
            ".cr3",
            ".nef",
            ".arw",
            ".sr2",
            ".raf",
            ".orf",
            ".rw2",
            ".pef",
            ".srw",
        ]
    ),
    "film": frozenset(
        [".mp4", ".mov", ".m4v", ".avi", ".mkv", ".webm", ".flv", ".mpeg", ".mpg", ".ts", ".wmv", ".gif"]
    ),
}
Kind = Literal["picture", "film"]
#: Where it is not known yet what the model takes.
EITHER: Final[tuple[Kind, ...]] = ("picture", "film")


class NothingFound(Exception):
    """A name leads to no file; the message says which."""


@dataclass(frozen=True, slots=True)
class Found:
    """A file, and its place: what its result's path is made of."""

    file: Path
    place: Path


def find(
    names: Sequence[str], kinds: Collection[Kind], *, recursive: bool, without: Collection[Path] = ()
) -> list[Found]:
    """Every file once, in the order of the names, folders sorted. `kinds`: what is taken from folders. `without`: folders and
    files that are left out where a folder is searched, as the batch's own results.

    Raises:
        NothingFound: a name, a folder or a pattern leads to no file.
    """
    found: dict[Path, Found] = {}
    left_out = {path.resolve() for path in without}
    endings = frozenset().union(*(_ENDINGS[kind] for kind in kinds))
    for name in names:
        some = list(_of_name(name, endings, recursive, left_out))
        if not some:
            raise NothingFound(_none(name, kinds, recursive))
        for one in some:
            found.setdefault(one.file, one)
    return list(found.values())


def _of_name(
    name: str, endings: Collection[str], recursive: bool, without: Collection[Path]
) -> Iterator[Found]:
    path = Path(name)
    if path.is_file():
        yield Found(path, Path(path.name))
    elif path.is_dir():
        yield from _in_folder(path, endings, recursive, without)
    elif glob.has_magic(name):
        base = _fixed(path)
        for match in sorted(base.glob(str(path.relative_to(base)))):
            if match.is_file() and match.resolve() not in without:
                yield Found(match, match.relative_to(base))


def _in_folder(
    folder: Path, endings: Collection[str], recursive: bool, without: Collection[Path]
) -> Iterator[Found]:
    for inside, folders, files in os.walk(folder):
        here = Path(inside)
        folders[:] = sorted(
            name
            for name in folders
            if recursive and name[0] != "." and (here / name).resolve() not in without
        )
        for name in sorted(files):
            file = here / name
            if name[0] != "." and file.suffix.lower() in endings and file.resolve() not in without:
                yield Found(file, file.relative_to(folder))


def _fixed(pattern: Path) -> Path:
    """The folders before the first part with a wildcard."""
    fixed = Path(pattern.anchor)
    for part in pattern.relative_to(pattern.anchor).parts[:-1]:
        if glob.has_magic(part):
            break
        fixed /= part
    return fixed


def _none(name: str, kinds: Collection[Kind], recursive: bool) -> str:
    if Path(name).is_dir():
        deeper = "" if recursive else "; --recursive looks into the folders in it too"
        return f"There is no {' or '.join(kinds)} in the folder {name}{deeper}."
    return f"There is no file {name}."
