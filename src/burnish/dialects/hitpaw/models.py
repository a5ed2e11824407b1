"""The table of HitPaw's models: which of ours does the work of each, and what its input says. `models.toml` is the shipped one."""

import tomllib
from importlib.resources import files
from pathlib import Path
from typing import Any, Final, Literal

import msgspec
from msgspec import Struct

from burnish.engines import catalogue
from burnish.errors import Invalid, Unusable, explained

Kind = Literal["photo", "video", "other"]
#: The code of a model that there is not, or that nothing here does.
UNSUPPORTED: Final = "unknown_model"


class Entry(Struct, frozen=True, forbid_unknown_fields=True):
    """`stands_in`: it is the closest, not the same."""

    model: str
    input: dict[str, Any] = {}
    stands_in: bool = False


class Table(Struct, frozen=True, forbid_unknown_fields=True):
    """Their names, by the endpoint that takes them."""

    photo: dict[str, Entry]
    video: dict[str, Entry]
    other: dict[str, Entry]

    def choose(self, kind: Kind, name: str, *, substitute: bool) -> Entry:
        """Raises Invalid: there is no such model, or only one that stands in for it and may not."""
        entry: Entry | None = getattr(self, kind).get(name)
        if entry is None or (entry.stands_in and not substitute):
            raise Invalid(f"There is no model {name[:60]!r} here.", param="model_name", code=UNSUPPORTED)
        return entry


def load(path: str) -> Table:
    """The table of a file; of the shipped one where `path` is empty. Raises Unusable."""
    try:
        text = Path(path).read_text("utf-8") if path else _shipped()
        return msgspec.convert(tomllib.loads(text), Table)
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError, msgspec.ValidationError) as error:
        raise Unusable(f"dialects.hitpaw_models names {path or 'models.toml'}: {error}") from error


def parameters_of(entry: Entry, input_: dict[str, Any]) -> tuple[catalogue.Model, Struct, bytes]:
    """The model, its parameters, and these as the task keeps them.

    Raises:
        Invalid: the model is not here (`unknown_model`), or a parameter is wrong.
    """
    model = catalogue.find_model(entry.model)
    if model is None:
        raise Invalid(f"The model {entry.model} is not here.", param="model_name", code=UNSUPPORTED)
    kept = msgspec.json.encode(entry.input | input_)
    try:
        return model, msgspec.json.decode(kept, type=model.parameters), kept
    except msgspec.ValidationError as error:
        wrong = explained(str(error), "", model.parameters)
        if wrong.param in entry.input:  # nothing that the client said
            wrong = Invalid(
                f"The model {entry.model} here cannot do it.", param="model_name", code=UNSUPPORTED
            )
        raise wrong from error


def _shipped() -> str:
    return files("burnish.dialects.hitpaw").joinpath("models.toml").read_text("utf-8")
