"""The models that clients may name: plain data, a file for each family.

A model says what runs it (a module that only the inference child imports), in which lane, which parameters it
takes, the rule that it is priced by and what it can take.
"""

from typing import Final

import msgspec

from burnish.engines.catalogue import (
    clean,
    cutout,
    generative,
    group,
    merge,
    moderate,
    noop,
    photo,
    placeholder,
    privacy,
    render,
    sky,
    upscale,
    video,
)
from burnish.engines.catalogue.clean import Denoise, Sharpen
from burnish.engines.catalogue.group import Group
from burnish.engines.catalogue.merge import Merge
from burnish.engines.catalogue.model import (
    IN_THE_WORKER,
    Limits,
    Model,
    Shape,
    Stage,
    fits,
    output_measure,
    output_refusal,
    shapes_of,
    stages_of,
    too_many_pixels,
)
from burnish.engines.catalogue.noop import Noop, NoopSources
from burnish.engines.catalogue.privacy import Privacy
from burnish.engines.catalogue.render import RENDITION, Render
from burnish.engines.catalogue.sky import Sky
from burnish.engines.catalogue.upscale import Upscale

__all__ = [
    "IN_THE_WORKER",
    "RENDITION",
    "Denoise",
    "Group",
    "Limits",
    "Merge",
    "Model",
    "Noop",
    "NoopSources",
    "Privacy",
    "Render",
    "Shape",
    "Sharpen",
    "Sky",
    "Stage",
    "Upscale",
    "find_model",
    "fits",
    "input_schema",
    "models",
    "names",
    "output_measure",
    "output_refusal",
    "price_rules",
    "runners",
    "shapes_of",
    "stages_of",
    "too_many_pixels",
]

#: In the order in which clients are told of them.
_FAMILIES: Final = (
    upscale.MODELS,
    clean.MODELS,
    photo.MODELS,
    merge.MODELS,
    group.MODELS,
    sky.MODELS,
    cutout.MODELS,
    moderate.MODELS,
    privacy.MODELS,
    render.MODELS,
    video.MODELS,
    generative.MODELS,
    placeholder.MODELS,
    noop.MODELS,
)
_MODELS: Final = {model.name: model for family in _FAMILIES for model in family}
#: Every module that an inference child loads, those of stages too.
_RUNNERS: Final = (
    "burnish.engines.runners.upscale",
    "burnish.engines.runners.denoise",
    "burnish.engines.runners.sharpen",
    "burnish.engines.runners.photo",
    "burnish.engines.runners.merge",
    "burnish.engines.runners.group",
    "burnish.engines.runners.sky",
    "burnish.engines.runners.privacy",
    "burnish.engines.runners.cutout",
    "burnish.engines.runners.moderate",
    "burnish.engines.runners.render",
    video.RUNNER,
)


def find_model(name: str) -> Model | None:
    return _MODELS.get(name)


def models() -> list[Model]:
    """Every model that clients are told of."""
    return [model for model in _MODELS.values() if model.public]


def names() -> frozenset[str]:
    """Of every model, those that clients are not told of too."""
    return frozenset(_MODELS)


def runners() -> tuple[str, ...]:
    """The modules that an inference child loads."""
    return _RUNNERS


def price_rules() -> frozenset[str]:
    """The rules that a table of prices must have."""
    return frozenset(model.price for model in _MODELS.values())


def input_schema(model: Model) -> dict[str, object]:
    """The JSON schema of a model's `input`, whole, without references."""
    (_,), definitions = msgspec.json.schema_components((model.parameters,))
    schema: dict[str, object] = definitions[model.parameters.__name__]
    return schema
