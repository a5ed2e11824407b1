"""`burnish enhance`: files from the terminal, over HTTP through a service that is named, running, or started for it.

This module reads the options; `found.py` finds the files, `batch.py` does the work and `estimate.py` asks what it would
cost, `place.py` finds the service, `progress.py` tells of it all.
"""

import argparse
import asyncio
import json
import os
import sys
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any, Final

from burnish.cli import add_common, printable, whole

#: Options that are parameters of the model, sent only where they are given.
_MOST_CREDITS: Final = 2_147_483_647
_PARAMETERS: Final = ("scale", "mode", "format", "quality")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "files",
        nargs="+",
        metavar="FILE",
        help="pictures or films, folders of them, or quoted patterns ('in/**/*.jpg')",
    )
    parser.add_argument(
        "-o", "--out", "--output", required=True, metavar="DIR",
        help="where results go: a folder, or a template as 'out/{folder}/{stem}-2x'",
    )  # fmt: skip
    parser.add_argument("-r", "--recursive", action="store_true", help="look into folders in folders too")
    parser.add_argument("--model", default="upscale", metavar="NAME", help="what to do (default: upscale)")
    parser.add_argument("--scale", type=int, metavar="1|2|4|6|8", help="how many times wider and higher")
    parser.add_argument(
        "--mode",
        metavar="faithful|restore|art",
        help="keep what is there, redraw what is noisy, or treat it as a drawing",
    )
    parser.add_argument(
        "--format", metavar="jpeg|png|webp|avif|tiff", help="what to write (default: as the file)"
    )
    parser.add_argument("--quality", type=int, metavar="N", help="of jpeg, webp and avif, 1 to 100")
    parser.add_argument(
        "--param", action="append", default=[], type=_param, metavar="NAME=VALUE", help="any other parameter"
    )
    parser.add_argument("--dry-run", action="store_true", help="tell what it would cost, and do nothing")
    parser.add_argument(
        "--max-credits", type=whole(0, _MOST_CREDITS), metavar="N", help="refuse a file that would cost more"
    )
    parser.add_argument("--overwrite", action="store_true", help="replace results that are there already")
    parser.add_argument(
        "--concurrency", type=_count, default=0, metavar="auto|N",
        help="files under way at once (default: auto, as many as the limits allow)",
    )  # fmt: skip
    parser.add_argument(
        "--journal", type=Path, metavar="FILE", help="what was done (default: .burnish-enhance.jsonl in DIR)"
    )
    add_common(parser)
    parser.epilog = (
        "The service is the one at BURNISH_URL with BURNISH_API_KEY (the key alone: at http://127.0.0.1:8000); without "
        "these, or with --data, the one on the data directory, started for as long as this takes if none runs there. "
        "The same command again goes on where it was interrupted, and pays for nothing twice. "
        "Exit codes: 0 all done, 1 some failed or are left, 2 wrong use, 3 trouble with the service."
    )


def run(options: argparse.Namespace) -> int:
    from burnish.cli.batch import Order, enhance
    from burnish.cli.found import EITHER, NothingFound, find
    from burnish.cli.journal import NAME, open_journal, unwritten_journal
    from burnish.cli.names import target_of
    from burnish.cli.place import WrongUse
    from burnish.cli.progress import open_display

    try:
        target = target_of(options.out)
        find(options.files, EITHER, recursive=options.recursive)  # before anything is made
        if not options.dry_run:
            target.folder.mkdir(parents=True, exist_ok=True)
    except (NothingFound, ValueError) as misuse:
        return _wrong_use(str(misuse))
    except OSError as error:
        return _wrong_use(f"{target.folder} cannot be a folder for the results: {error.strerror}.")
    with ExitStack() as stack:
        path = options.journal or target.folder / NAME
        journal = stack.enter_context((unwritten_journal if options.dry_run else open_journal)(path))
        try:
            without = {*journal.results(), *_apart(target.folder, options.files)}
            order = Order(
                find=partial(find, options.files, recursive=options.recursive, without=without),
                target=target,
                model=options.model,
                parameters=_parameters(options),
                max_credits=options.max_credits,
                overwrite=options.overwrite,
                at_once=options.concurrency,
                dry=options.dry_run,
                data=options.data,
            )
            display = stack.enter_context(open_display(as_json=options.json))
            return asyncio.run(enhance(order, journal, display, os.environ))
        except (NothingFound, WrongUse) as misuse:
            return _wrong_use(str(misuse))


def _apart(folder: Path, names: list[str]) -> set[Path]:
    """The folder of the results, where it is not one that was asked for: what is in it is no input."""
    asked = {Path(name).resolve() for name in names}
    return set() if folder.resolve() in asked else {folder}


def _parameters(options: argparse.Namespace) -> dict[str, Any]:
    """In an order of their own: the same parameters are the same request, however they were typed."""
    given = {name: getattr(options, name) for name in _PARAMETERS if getattr(options, name) is not None}
    return dict(sorted((given | dict(options.param)).items()))


def _wrong_use(message: str) -> int:
    print(f"burnish enhance: {printable(message)}", file=sys.stderr)
    return 2


def _param(text: str) -> tuple[str, Any]:
    """`name=value`; the value is JSON where it can be read so (`3`, `true`, `[1, 2]`), text otherwise."""
    name, equals, value = text.partition("=")
    if not name or not equals:
        raise argparse.ArgumentTypeError(f"{text!r} is not NAME=VALUE")
    try:
        return name, json.loads(value)
    except ValueError:
        return name, value


def _count(text: str) -> int:
    """A number from 1; 0 stands for `auto`."""
    if text == "auto":
        return 0
    if not text.isdecimal() or not int(text):
        raise argparse.ArgumentTypeError(f"{text!r} is not a number from 1, nor auto")
    return int(text)
