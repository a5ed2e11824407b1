"""The command line. Verbs import what they need when they are called: `--help` reads nothing else.

Exit codes: 0 done, 1 something failed, 2 wrong use, 3 the service or the machine does not let it.
"""

import argparse
import os
import sys
from collections.abc import Callable, Sequence
from importlib import import_module
from pathlib import Path

from burnish.errors import Refused, Unusable

#: verb -> (what it does, the module whose `add_arguments` and `run` make it)
_VERBS = {
    "serve": ("run the service: API and workers", "burnish.cli.serve"),
    "worker": ("run a worker alone, beside a service or a database", "burnish.cli.worker"),
    "enhance": ("enhance files", "burnish.cli.enhance"),
    "accounts": ("create accounts, show them and set what they may do", "burnish.cli.accounts"),
    "credits": ("grant credits and show where they went", "burnish.cli.credits"),
    "listen": ("hand the account's events on to a program on this machine", "burnish.cli.listen"),
    "keys": ("create, list, rotate, cap and revoke API keys", "burnish.cli.keys"),
    "plans": ("show the plans that accounts may be under", "burnish.cli.plans"),
    "models": ("show, install, try and remove networks", "burnish.cli.models"),
    "doctor": ("check the machine, the settings and every invariant of the database", "burnish.cli.doctor"),
}


def main(argv: Sequence[str] | None = None) -> None:
    """Parse, call the verb, exit with its code."""
    arguments = sys.argv[1:] if argv is None else list(argv)
    parser = argparse.ArgumentParser(prog="burnish", description="The self-hosted media-AI API.")
    parser.add_argument("--version", action=_Version, nargs=0, help="show the version and exit")
    verbs = parser.add_subparsers(dest="verb", metavar="VERB", required=True)
    called = next((word for word in arguments if not word.startswith("-")), None)
    for verb, (meaning, module) in _VERBS.items():
        verb_parser = verbs.add_parser(verb, help=meaning, description=sentence(meaning))
        if verb == called:
            import_module(module).add_arguments(verb_parser)
    options = parser.parse_args(arguments)
    try:
        code = import_module(_VERBS[options.verb][1]).run(options)
    except (Unusable, Refused) as error:
        where = f" ({error.param})" if isinstance(error, Refused) and error.param else ""
        print(f"burnish: {error}{where}", file=sys.stderr)
        code = 3
    except ModuleNotFoundError as error:
        if error.name is None or error.name.split(".")[0] == "burnish":
            raise
        print(f"burnish: {options.verb} needs {error.name}: pip install 'burnish[server]'", file=sys.stderr)
        code = 3
    except KeyboardInterrupt:
        code = 130
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # whoever read us has left
        code = 1
    sys.exit(code)


class _Version(argparse.Action):
    """Reads the version only when it is asked for: finding it costs a third of `--help`."""

    def __call__(self, *_: object) -> None:
        print("burnish", import_module("importlib.metadata").version("burnish"))
        sys.exit(0)


def sentence(meaning: str) -> str:
    """What a verb does, as `--help` begins with it."""
    return f"{meaning[:1].upper()}{meaning[1:]}."


def printable(text: str) -> str:
    """`text` for a terminal: what would move its cursor, or hide, is shown as an escape."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def must_hold_data(data: Path, database_url: str) -> None:
    """For verbs that look at what is there, and make nothing. Raises Unusable where nothing is."""
    if not database_url and not (data / "postgres.password").exists():
        raise Unusable(f"There is no Burnish data in {data}. Name the directory with --data.")


def add_common(parser: argparse.ArgumentParser) -> None:
    """`--data` and `--json`, which every verb that works on a directory takes."""
    parser.add_argument("--data", metavar="DIR", help="the data directory (default: as in the settings)")
    parser.add_argument("--json", action="store_true", help="print facts as JSON")


def add_verb(
    verbs: "argparse._SubParsersAction[argparse.ArgumentParser]", name: str, meaning: str
) -> argparse.ArgumentParser:
    """A verb of a verb, as `keys create`."""
    return verbs.add_parser(name, help=meaning, description=sentence(meaning))


def whole(least: int, most: int, meaning: str = "a whole number") -> Callable[[str], int]:
    """What reads a whole number in that range, `10_000` and `10,000` too; for argparse."""

    def read(text: str) -> int:
        digits = text.replace(",", "").replace("_", "")
        number = int(digits) if digits.isascii() and digits.isdecimal() and len(digits) < 16 else None
        if number is None or not least <= number <= most:
            raise argparse.ArgumentTypeError(f"{text!r} is not {meaning} from {least:,} to {most:,}")
        return number

    return read
