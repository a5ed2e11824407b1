"""A task's sources: what its parameters name, in order, and how each of them stands. Pure.

A parameter of `Model.sources` is one source, or a list of them; their order is that of the parameters and the lists.
"""

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import NamedTuple, Protocol
from uuid import UUID

import msgspec
from msgspec import Struct

from burnish.engines import catalogue
from burnish.engines.catalogue import Model
from burnish.ids import new_id
from burnish.uploads.blob import Blob


def sources_of(model: Model, parameters: Struct) -> tuple[str, ...]:
    """What the parameters name, in order; none for a model that takes none."""
    found: list[str] = []
    for name in model.sources:
        value: str | list[str] | None = getattr(parameters, name)
        if isinstance(value, str):
            found.append(value)
        elif value is not None:
            found += value
    return tuple(found)


def places_of(model: Model, parameters: Struct) -> tuple[str, ...]:
    """Where each of them stands, as errors name it: `input.image`, `input.images[3]`."""
    found: list[str] = []
    for name in model.sources:
        value: str | list[str] | None = getattr(parameters, name)
        if isinstance(value, str):
            found.append(f"input.{name}")
        elif value is not None:
            found += [f"input.{name}[{number}]" for number in range(len(value))]
    return tuple(found)


def place_in(model_name: str, input_: bytes, position: int) -> str:
    """The place of one source in a task's input as it is stored; its number where the model is no longer here."""
    model = catalogue.find_model(model_name)
    if model is None:
        return f"source {position}"
    return places_of(model, msgspec.json.decode(input_, type=model.parameters))[position]


class Given(NamedTuple):
    """One source as it stands: the blob of its bytes, and the address that they are fetched from, where there is one.
    Without either it is only pretended: of a test key, for which nothing is fetched.
    """

    source_id: UUID | None
    source_url: str | None
    blob: Blob | None  #: None too of an address that nobody was sent to yet

    @property
    def seen(self) -> bool:
        """Whether nothing about it is waited for."""
        return self.source_id is None or (self.blob is not None and self.blob.type is not None)

    @property
    def fetchable(self) -> bool:
        """Whether its bytes can be had now."""
        return self.source_url is not None or (self.blob is not None and self.blob.object_key is not None)


def given_of(sources: Iterable[UUID | str | None], blobs: Mapping[UUID, Blob]) -> tuple[Given, ...]:
    """Sources as a client gave them; an address that is given twice is fetched once."""
    fetched: dict[str, UUID] = {}
    found = []
    for source in sources:
        if isinstance(source, str):
            if source not in fetched:
                fetched[source] = new_id()
            found.append(Given(fetched[source], source, None))
        else:
            found.append(Given(source, None, blobs.get(source) if source is not None else None))
    return tuple(found)


def next_unseen(given: Iterable[Given]) -> Given | None:
    """The one that is waited for now; None where all have been seen."""
    return next((source for source in given if not source.seen), None)


def waits_until(given: Iterable[Given]) -> datetime | None:
    """When the first of the uploads that have not come is given up."""
    promised = [
        source.blob.expires_at for source in given if source.blob is not None and not source.fetchable
    ]
    return min(promised, default=None)


class Header(Protocol):
    """What is known of a source's bytes: its type and what it measures, pixels and of a film seconds and frames a second."""

    @property
    def type(self) -> str | None: ...
    @property
    def width(self) -> int | None: ...
    @property
    def height(self) -> int | None: ...
    @property
    def seconds(self) -> float | None: ...
    @property
    def frame_rate(self) -> float | None: ...


def refusal(model: Model, parameters: Struct, header: Header) -> tuple[str, str] | None:
    """Why a source with this header cannot be taken, or None: a reason and a message."""
    if header.type is not None and header.type not in model.limits.types:
        taken = ", ".join(model.limits.types)
        return "unsupported_format", f"This is {header.type}; {model.name} takes {taken}."
    if header.width is None or header.height is None:
        return None
    return catalogue.output_refusal(model, parameters, header.width, header.height)
