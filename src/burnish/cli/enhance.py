"""`burnish enhance`: files from the terminal, over HTTP through a service that is named, running, or started for it.

This module reads the options; `batch.py` does the work, `place.py` finds the service, `progress.py` tells of both.
"""

import argparse
import asyncio
import json
import os
import sys
from pathlib import Path
from typing import Any, Final

from burnish.cli import add_common, printable

_FILES_AT_ONCE: Final = 5

#: Options that are parameters of the model, sent only where they are given.
_PARAMETERS: Final = ("scale", "mode", "format", "quality")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("files", nargs="+", type=Path, metavar="FILE", help="pictures to enhance")
    parser.add_argument("-o", "--output", required=True, type=Path, metavar="DIR", help="where results go")
    parser.add_argument("--model", default="upscale", metavar="NAME", help="what to do (default: upscale)")
    parser.add_argument("--scale", type=int, metavar="2|4", help="how many times wider and higher")
    parser.add_argument(
        "--mode", metavar="faithful|restore", help="keep what is there, or redraw what is noisy"
    )
    parser.add_argument("--format", metavar="png|jpeg|webp|tiff", help="what to write (default: as the file)")
    parser.add_argument("--quality", type=int, metavar="N", help="of jpeg and webp, 1 to 100")
    parser.add_argument(
        "--param", action="append", default=[], type=_param, metavar="NAME=VALUE", help="any other parameter"
    )
    parser.add_argument("--overwrite", action="store_true", help="replace results that are there already")
    parser.add_argument(
        "--concurrency",
        type=_count,
        default=_FILES_AT_ONCE,
        metavar="N",
        help=f"files under way at once (default: {_FILES_AT_ONCE})",
    )
    add_common(parser)
    parser.epilog = (
        "The service is the one at BURNISH_URL with BURNISH_API_KEY (the key alone: at http://127.0.0.1:8000); without "
        "these, or with --data, the one on the data directory, started for as long as this takes if none runs there. "
        "Exit codes: 0 all done, 1 some failed, 2 wrong use, 3 trouble with the service."
    )


def run(options: argparse.Namespace) -> int:
    if misuse := _misuse(options):
        return _wrong_use(misuse)
    from burnish.cli.batch import Order, enhance
    from burnish.cli.place import WrongUse
    from burnish.cli.progress import open_display

    order = Order(
        files=tuple(dict.fromkeys(options.files)),
        folder=options.output,
        model=options.model,
        parameters=_parameters(options),
        overwrite=options.overwrite,
        at_once=options.concurrency,
        data=options.data,
    )
    try:
        with open_display(len(order.files), as_json=options.json) as display:
            return asyncio.run(enhance(order, display, os.environ))
    except WrongUse as misuse:
        return _wrong_use(str(misuse))


def _misuse(options: argparse.Namespace) -> str | None:
    """What is wrong with the files and the folder, before anything begins."""
    for file in options.files:
        if file.is_dir():
            return f"{file} is a folder; give the files in it."
        if not file.is_file():
            return f"There is no file {file}."
    try:
        options.output.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        return f"{options.output} cannot be a folder for the results: {error.strerror}."
    return None


def _parameters(options: argparse.Namespace) -> dict[str, Any]:
    given = {name: getattr(options, name) for name in _PARAMETERS if getattr(options, name) is not None}
    return given | dict(options.param)


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
    if not text.isdecimal() or not int(text):
        raise argparse.ArgumentTypeError(f"{text!r} is not a number from 1")
    return int(text)
