"""What each result of a batch is called: by a template, never an input's name, never another result's. Used by `batch.py`."""

import contextlib
import re
import string
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from burnish.cli.found import Found, Kind
from burnish.client import Output

#: What a template may hold.
FIELDS: Final = ("folder", "stem", "model", "number")
PLAIN: Final = "{folder}/{stem}"
#: Of a set, where no template is given: it is called after its first file, and is no result of that file alone.
PLAIN_OF_SETS: Final = "{folder}/{stem}-{model}"

#: The file endings of a format, as they are written and as they may be found; the first format of a kind is what the
#: service writes where it cannot write the file's own.
_ENDINGS: Final[dict[Kind, dict[str, tuple[str, ...]]]] = {
    "picture": {
        "png": (".png",),
        "jpeg": (".jpg", ".jpeg"),
        "webp": (".webp",),
        "avif": (".avif",),
        "tiff": (".tiff", ".tif"),
    },
    "film": {name: (f".{name}",) for name in ("mp4", "mov", "mkv", "m4v", "avi", "gif", "webm")},
}
_ENDING_OF_TYPE: Final = {
    **{f"image/{name}": endings[0] for name, endings in _ENDINGS["picture"].items()},
    "application/json": ".json",
    "video/mp4": ".mp4",
}


@dataclass(frozen=True, slots=True)
class Target:
    """Where results go: below `folder`, by `template` where one is given; the ending is the result's own."""

    folder: Path
    template: str | None


def target_of(text: str) -> Target:
    """`enhanced/`, or `enhanced/{folder}/{stem}-2x`.

    Raises:
        ValueError: a field that does not exist; the message names those that do.
    """
    if "{" not in text and "}" not in text:
        return Target(Path(text), None)
    try:
        fields = [name for _, name, _, _ in string.Formatter().parse(text) if name is not None]
        rendered = text.format_map(dict.fromkeys(FIELDS, "x"))
    except (AttributeError, IndexError, KeyError, ValueError):
        fields, rendered = ["?"], ""
    if set(fields) - set(FIELDS) or rendered.endswith("/"):
        known = ", ".join(f"{{{name}}}" for name in FIELDS)
        raise ValueError(
            f"{text!r} is no template for results: it may hold {known}, and ends with a file's name."
        )
    path = Path(text)
    fixed = Path(path.anchor)
    for part in path.relative_to(path.anchor).parts[:-1]:
        if "{" in part:
            break
        fixed /= part
    return Target(fixed, str(path.relative_to(fixed)))


class Names:
    """The name of each file's result, without its ending; with a number where another file of the batch has it."""

    def __init__(
        self,
        files: Sequence[Found],
        target: Target,
        model: str,
        *,
        inputs: Sequence[Found],
        of_sets: bool,
        kind: Kind,
    ) -> None:
        """`files`: each one that gives a result its name; `inputs`: all that are read; `kind`: of both."""
        template = target.template or (PLAIN_OF_SETS if of_sets else PLAIN)
        self._folder = target.folder
        self._kind = kind
        self._inputs = {_identity(one.file) for one in inputs} - {None}
        self._stems: dict[Path, str] = {}
        self._taken: set[str] = set()
        used: set[str] = set()
        for number, one in enumerate(files, 1):
            # Whatever the folder is called, it stays below ours.
            folder = Path(*(part for part in one.place.parent.parts if part not in ("..", one.place.anchor)))
            plain = template.format_map(
                {"folder": folder, "stem": one.place.stem, "model": model, "number": number}
            )
            plain = str(Path(plain))
            stem = next(name for name in _numbered(plain) if name.casefold() not in used)
            used.add(stem.casefold())  # some file systems do not tell a.png from A.png
            self._stems[one.file] = stem

    def likely(self, file: Path, format_: object) -> Iterator[Path]:
        """Where the result may well go; a path that an input has is none."""
        formats = _ENDINGS[self._kind]
        own = next(
            (name for name, endings in formats.items() if file.suffix.lower() in endings), next(iter(formats))
        )
        for ending in formats.get(format_ if isinstance(format_, str) else own, ()):
            path = self._folder / (self._stems[file] + ending)
            if not self._is_input(path):
                yield path

    def take(self, file: Path, output: Output) -> Path:
        """A path for the next result of a file, with its role where it has one (`photo-mask.png`): not an input's, and not
        another result's.
        """
        ending = _ending_of(output)
        for stem in _numbered(self._stems[file] + _role_of(output)):
            path = self._folder / (stem + ending)
            if str(path).casefold() not in self._taken and not self._is_input(path):
                self._taken.add(str(path).casefold())
                return path
        raise AssertionError

    def _is_input(self, path: Path) -> bool:
        """Whether it is one of the files that the batch reads, by whatever name."""
        return _identity(path) in self._inputs


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


def _role_of(output: Output) -> str:
    """What a name says of it; a role of the service's choosing is no path either."""
    return f"-{output.role}" if re.fullmatch(r"[a-z0-9][a-z0-9-]{0,39}", output.role or "") else ""


def _ending_of(output: Output) -> str:
    """The ending of the name that the service gives, where it is one; never more of that name."""
    ending = Path(output.filename or "").suffix
    return ending if re.fullmatch(r"\.[a-z0-9]{1,8}", ending) else _ENDING_OF_TYPE.get(output.type, ".bin")
