"""The table of prices: a TOML file of rules by name, and the name of its edition.

`prices.toml` beside this file is the shipped one; `settings.prices` names another. Loaded once at start by
`resources.py`; a model in the catalogue says by a rule's name what it costs.
"""

import tomllib
from collections.abc import Iterable
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Annotated, Any

import msgspec
from msgspec import Meta, Struct

from burnish.credits.price import Rule
from burnish.errors import Unusable


class Prices(Struct, frozen=True, eq=False):
    """The rules by their names. `version`: the edition, which stands beside every price that was told or taken.

    Compared by identity: a process has one.
    """

    version: int
    rules: dict[str, Rule]

    def get_rule(self, name: str) -> Rule:
        """Of a model's `price`; it is there, because `load_prices` was told of it."""
        return self.rules[name]


class _File(Struct, frozen=True, forbid_unknown_fields=True):
    version: Annotated[int, Meta(ge=1, le=2_147_483_647)]
    rules: dict[str, Any]


def load_prices(path: str = "", needed: Iterable[str] = ()) -> Prices:
    """The table of a file; of the shipped one where `path` is empty. `needed`: rules that must be in it.

    Raises:
        Unusable: it cannot be read, or something in it means nothing; the message names the place.
    """
    prices = _read(path) if path else _shipped()
    if missing := sorted(set(needed) - prices.rules.keys()):
        raise Unusable(
            f"The prices in {path} lack the rules {', '.join(missing)}, which models are priced by."
        )
    return prices


@cache
def _shipped() -> Prices:
    return parse(files("burnish.credits").joinpath("prices.toml").read_text("utf-8"), "prices.toml")


def _read(path: str) -> Prices:
    try:
        return parse(Path(path).read_text("utf-8"), path)
    except (OSError, UnicodeDecodeError) as error:
        raise Unusable(f"The prices in {path} cannot be read: {error}") from error


def parse(text: str, name: str) -> Prices:
    """A table from TOML; `name` is what messages call it.

    Raises:
        Unusable: it is no TOML, or something in it means nothing; the message names the place.
    """
    place = ""
    try:
        file = msgspec.convert(tomllib.loads(text), _File)
        rules: dict[str, Rule] = {}
        for rule in file.rules:
            place = f".rules.{rule}"
            rules[rule] = msgspec.convert(file.rules[rule], Rule)
    except (tomllib.TOMLDecodeError, msgspec.ValidationError) as error:
        found, _, at = str(error).partition(" - at `$")
        place = (place + at.rstrip("`")).lstrip(".")
        raise Unusable(
            f"The prices in {name} mean nothing{f' at {place}' if place else ''}: {found}."
        ) from error
    return Prices(file.version, rules)
