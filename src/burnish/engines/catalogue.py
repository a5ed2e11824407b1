"""The catalogue: plain data. Model name -> runner's dotted name, parameters, price, lane, limits.

Read by the API, which loads no engine, and by the workers. (Interim: the engines' author completes it.)
"""

from dataclasses import dataclass, field
from typing import Annotated, Any, Final, Literal

import msgspec


class Upscale(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Parameters of `upscale`."""

    image: Annotated[str, msgspec.Meta(min_length=1, max_length=4096)]
    scale: Literal[2, 4] = 2
    mode: Literal["faithful", "restore"] = "faithful"
    format: Literal["png", "jpeg", "webp", "tiff"] | None = None
    quality: Annotated[int, msgspec.Meta(ge=1, le=100)] = 90
    metadata: Literal["keep", "strip", "strip_gps"] = "keep"


class Noop(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Parameters of `noop`."""

    seconds: Annotated[float, msgspec.Meta(ge=0, le=600)] = 0.0
    fail: str | None = None


@dataclass(frozen=True, slots=True)
class Model:
    name: str
    runner: str
    lane: Literal["light", "heavy"]
    parameters: type[msgspec.Struct]
    deadline_seconds: int
    price: dict[str, Any] = field(default_factory=lambda: {"credits": 0, "unit": "task"})
    limits: dict[str, Any] = field(default_factory=dict)
    hidden: bool = False


_MODELS: Final = {
    "upscale": Model("upscale", "burnish.engines.runners.upscale", "light", Upscale, 600),
    "noop": Model("noop", "", "light", Noop, 600, hidden=True),
}


def find_model(name: str) -> Model | None:
    return _MODELS.get(name)


def models() -> list[Model]:
    return [model for model in _MODELS.values() if not model.hidden]


def output_refusal(
    model: Model, parameters: msgspec.Struct, width: int, height: int
) -> tuple[str, str] | None:
    return None
