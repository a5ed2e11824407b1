"""The table of HiAPI's models: what does the work of each, by which routes, and what it takes. `models.toml` is the shipped one.

The service's own models are not in it: they are found in the catalogue by their names, and have one route.
"""

import tomllib
from importlib.resources import files
from pathlib import Path
from typing import Annotated, Final, Literal, NamedTuple

import msgspec
from msgspec import Meta, Struct

from burnish.dialects.hiapi.inputs import INPUTS
from burnish.engines import catalogue
from burnish.errors import Invalid, Unusable

#: The code of a model that there is not, or that nothing here does.
UNAVAILABLE: Final = "unknown_model"
DEFAULT: Final = "default"


class Entry(Struct, frozen=True, forbid_unknown_fields=True):
    """One of the vendor's models. `routes`: name -> the catalogue's model; `model`: the default route's, "" the same name."""

    input: str
    makes: Literal["picture", "film"]
    model: str = ""
    routes: dict[str, str] = {}


class Chosen(NamedTuple):
    """A model by one of its routes. `name`: in full, as it is echoed; `route`: as it was asked for, where it was;
    `entry`: None of the service's own.
    """

    name: str
    served_by: str
    route: str | None
    entry: Entry | None

    @property
    def heavy(self) -> bool:
        """Films and the route `pro` count against the stricter ceiling, as documented."""
        return self.entry is not None and (self.entry.makes == "film" or self.name.endswith("@pro"))


class Table(Struct, frozen=True, forbid_unknown_fields=True):
    """Their names, and what a credit is worth in the list of prices, in dollars."""

    models: dict[str, Entry]
    usd_per_credit: Annotated[float, Meta(gt=0, le=1_000)] = 0.001

    def choose(self, given: str, asked: str | None, *, hidden: bool) -> Chosen:
        """The model that was named, by the route that its name ends in or that was asked for beside it.

        Raises:
            Invalid: there is no such model (`unknown_model`), or no such route.
        """
        base, _, suffix = given.partition("@")
        asked = None if asked in (None, "", DEFAULT) else asked
        if asked is not None and suffix not in ("", DEFAULT, asked):
            raise Invalid(f"The model says @{suffix[:60]} and the route says {asked[:60]!r}.", param="route")
        route = asked or (suffix if suffix != DEFAULT else "")
        entry = self.models.get(base)
        if entry is None:
            own = catalogue.find_model(base)
            if own is None or not (own.public or hidden):
                raise self._unknown(base)
        routes = entry.routes if entry else {}
        if not route:
            return Chosen(base, (entry.model if entry else "") or base, None, entry)
        if route not in routes:
            there_are = ", ".join([DEFAULT, *routes])
            raise Invalid(
                f"{base[:60]} has no route {route[:60]!r}. Available routes: {there_are}.", param="route"
            )
        return Chosen(f"{base}@{route}", routes[route], asked, entry)

    def _unknown(self, name: str) -> Invalid:
        names = ", ".join([*(model.name for model in catalogue.models()), *self.models])
        return Invalid(
            f"There is no model {name[:60]!r}. There are: {names}.", param="model", code=UNAVAILABLE
        )


def load(path: str) -> Table:
    """The table of a file; of the shipped one where `path` is empty. Raises Unusable."""
    name = path or "models.toml"
    try:
        text = Path(path).read_text("utf-8") if path else _shipped()
        table = msgspec.convert(tomllib.loads(text), Table)
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError, msgspec.ValidationError) as error:
        raise Unusable(f"dialects.hiapi_models names {name}: {error}") from error
    for model, entry in table.models.items():
        if entry.input not in INPUTS:
            raise Unusable(
                f"dialects.hiapi_models names {name}: the input of {model} is {entry.input!r}; there are "
                f"{', '.join(INPUTS)}."
            )
        if "@" in model:
            raise Unusable(f"dialects.hiapi_models names {name}: {model} belongs into `routes`.")
    return table


def _shipped() -> str:
    return files("burnish.dialects.hiapi").joinpath("models.toml").read_text("utf-8")
