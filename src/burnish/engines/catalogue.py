"""The models that clients may name: plain data, read by the API, the workers and the children alike.

A model says what runs it (a module that only the inference child imports), in which lane, which parameters it
takes, the rule that it is priced by and what it can take. Nothing heavy is imported here.
"""

from typing import Annotated, Final, Literal

import msgspec
from msgspec import Meta, Struct

from burnish.credits.price import Measure

Lane = Literal["light", "heavy"]

#: The runner of models that a worker answers itself, without bytes and without a child.
IN_THE_WORKER: Final = ""

_PICTURES_IN: Final = ("image/jpeg", "image/png", "image/webp", "image/bmp", "image/tiff", "image/gif")

#: Format -> its name, and the longest side that it can hold.
_LONGEST_SIDE: Final = {"webp": ("WebP", 16_383), "jpeg": ("JPEG", 65_500)}


class Limits(Struct, frozen=True):
    """What a model takes and makes, in pixels, and the types it reads."""

    max_pixels: int = 70_000_000
    max_output_pixels: int = 432_000_000
    types: tuple[str, ...] = _PICTURES_IN


class Model(Struct, frozen=True):
    """One model.

    `sources`: the parameters that name bytes (an upload's id or a URL), in the order they are read. `price`: the
    name of a rule in the table of prices.
    """

    name: str
    description: str
    runner: str
    lane: Lane
    parameters: type[Struct]
    price: str
    sources: tuple[str, ...] = ("image",)
    limits: Limits = Limits()
    deadline_seconds: int = 900
    public: bool = True


class Upscale(Struct, frozen=True, forbid_unknown_fields=True):
    """Parameters of `upscale`."""

    image: Annotated[str, Meta(min_length=1, max_length=8192, description="An upload's id, or a URL.")]
    scale: Annotated[Literal[2, 4], Meta(description="How many times wider and higher.")] = 2
    mode: Annotated[
        Literal["faithful", "restore"],
        Meta(description="`faithful` keeps what is there; `restore` redraws noisy and compressed pictures."),
    ] = "faithful"
    format: Annotated[
        Literal["png", "jpeg", "webp", "tiff"] | None,
        Meta(description="What to write. Left out: as the input where it can be written, else png."),
    ] = None
    quality: Annotated[int, Meta(ge=1, le=100, description="Of jpeg and webp.")] = 90
    metadata: Annotated[
        Literal["keep", "strip", "strip_gps"],
        Meta(description="What to do with what the file says about the picture; its colour profile is kept."),
    ] = "keep"


class Noop(Struct, frozen=True, forbid_unknown_fields=True):
    """Parameters of `noop`: wait, then end well or with the reason named by `fail`."""

    seconds: Annotated[float, Meta(ge=0, le=3600)] = 0.0
    fail: Annotated[str, Meta(max_length=64)] = ""


class NoopSources(Struct, frozen=True, forbid_unknown_fields=True):
    """Parameters of `noop-sources`: say what was given, once for each role."""

    images: Annotated[list[Annotated[str, Meta(min_length=1, max_length=8192)]], Meta(max_length=200)] = []
    roles: tuple[Annotated[str, Meta(max_length=40)], ...] = ("",)


_MODELS: Final = {
    model.name: model
    for model in (
        Model(
            name="upscale",
            description="Twice or four times as large, either faithful to every pixel or restored.",
            runner="burnish.engines.runners.upscale",
            lane="light",
            parameters=Upscale,
            price="photo-standard",
        ),
        Model(
            name="noop",
            description="Does nothing, for tests and benches.",
            runner=IN_THE_WORKER,
            lane="light",
            parameters=Noop,
            price="noop",
            sources=(),
            public=False,
        ),
        Model(
            name="noop-heavy",
            description="Does nothing, in the lane of heavy models.",
            runner=IN_THE_WORKER,
            lane="heavy",
            parameters=Noop,
            price="noop",
            sources=(),
            public=False,
        ),
        Model(
            name="noop-sources",
            description="Says what it was given.",
            runner=IN_THE_WORKER,
            lane="light",
            parameters=NoopSources,
            price="noop",
            sources=("images",),
            public=False,
        ),
    )
}


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
    return tuple(sorted({model.runner for model in _MODELS.values()} - {IN_THE_WORKER}))


def price_rules() -> frozenset[str]:
    """The rules that a table of prices must have."""
    return frozenset(model.price for model in _MODELS.values())


def input_schema(model: Model) -> dict[str, object]:
    """The JSON schema of a model's `input`, whole, without references."""
    (_,), definitions = msgspec.json.schema_components((model.parameters,))
    schema: dict[str, object] = definitions[model.parameters.__name__]
    return schema


def output_size(params: Struct, width: int, height: int) -> tuple[int, int]:
    """Width and height of what a model makes of a picture."""
    scale: int = getattr(params, "scale", 1)
    return width * scale, height * scale


def output_measure(
    params: Struct,
    width: int | None,
    height: int | None,
    seconds: float | None = None,
    frame_rate: float | None = None,
) -> Measure:
    """What is known of that which a model makes of a source with these measures, for its price; without `width` and
    `height`, as much as nothing. `seconds`, `frame_rate`: of a film.
    """
    if width is None or height is None:
        return Measure()
    out_width, out_height = output_size(params, width, height)
    return Measure(width=out_width, height=out_height, seconds=seconds, frames_per_second=frame_rate)


def output_refusal(
    model: Model, params: Struct, width: int, height: int, limits: Limits | None = None
) -> tuple[str, str] | None:
    """Why a picture of `width` by `height` pixels cannot be taken or its result not be made, or None.

    Asked when the price is set, from the header alone, and again before the work. `limits`: stand in for the
    model's own, on a machine that is set to take less.

    Returns:
        A reason of `errors.STATUS_REASONS` and a message for the client.
    """
    limits = limits or model.limits
    if width * height > limits.max_pixels:
        return "input_too_large", too_many_pixels(width, height, limits.max_pixels)
    out_width, out_height = output_size(params, width, height)
    if out_width * out_height > limits.max_output_pixels:
        return "output_too_large", (
            f"The result would be {out_width} x {out_height} pixels ({_megapixels(out_width * out_height)}); at most "
            f"{_megapixels(limits.max_output_pixels)} are made. Ask for a smaller scale, or send a smaller picture."
        )
    name, longest = _LONGEST_SIDE.get(getattr(params, "format", None) or "", ("", 0))
    if longest and max(out_width, out_height) > longest:
        return "output_too_large", (
            f"The result would be {out_width} x {out_height} pixels, and {name} holds at most {longest:,} on a "
            "side. Ask for png or tiff."
        )
    return None


def too_many_pixels(width: int, height: int, limit: int) -> str:
    """The message for a picture that is over the limit of what is taken in."""
    return (
        f"The picture is {width} x {height} pixels ({_megapixels(width * height)}); at most {_megapixels(limit)} are "
        "taken. Make it smaller and send it again."
    )


def fits(format_: str, width: int, height: int) -> bool:
    """Whether a format can hold a picture of this size."""
    _, longest = _LONGEST_SIDE.get(format_, ("", 0))
    return not longest or max(width, height) <= longest


def _megapixels(pixels: int) -> str:
    return f"{pixels / 1e6:,.1f} megapixels"
