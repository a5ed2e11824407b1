"""What a model is: its parameters, what it takes and makes, and why some pictures cannot be taken.

Plain data and arithmetic, read by the API, the workers and the children alike; a file of this package for each family of
models says the rest. Nothing heavy is imported here.
"""

from collections.abc import Callable
from typing import Annotated, Final, Literal

from msgspec import Meta, Struct

from burnish.credits.price import Measure

Lane = Literal["light", "heavy"]

#: The runner of models that a worker answers itself, without bytes and without a child.
IN_THE_WORKER: Final = ""

PICTURES_IN: Final = (
    *("image/jpeg", "image/png", "image/webp", "image/tiff", "image/heic", "image/heif", "image/avif"),
    *("image/bmp", "image/gif", "image/x-tga", "image/x-adobe-dng", "image/x-canon-cr2", "image/x-canon-cr3"),
    *("image/x-nikon-nef", "image/x-sony-arw", "image/x-fuji-raf", "image/x-olympus-orf"),
    *("image/x-panasonic-rw2", "image/x-pentax-pef", "image/x-samsung-srw", "image/x-raw"),
)


class _Room(Struct, frozen=True):
    """What a format can hold."""

    name: str
    side: int
    pixels: int = 1 << 40


#: Those that hold less than is made elsewhere. AVIF could be written up to 65,536 a side, and libavif, by which browsers
#: and Pillow read it, takes no more than this.
_ROOM: Final = {
    "webp": _Room("WebP", 16_383),
    "jpeg": _Room("JPEG", 65_500),
    "avif": _Room("AVIF", 32_768, 16_384 * 16_384),
}

# --- parameters that many models have -------------------------------------------------------------------------------

Source = Annotated[
    str, Meta(min_length=1, max_length=8192, description="The id of an upload or an output, or a URL.")
]
Format = Annotated[
    Literal["jpeg", "png", "webp", "avif", "tiff"] | None,
    Meta(description="What to write. Left out: as the input where it can be written, else png."),
]
Quality = Annotated[int, Meta(ge=1, le=100, description="Of jpeg, webp and avif.")]
MetadataPolicy = Annotated[
    Literal["keep", "strip", "strip_gps"],
    Meta(description="What to do with what the file says about the picture; its colour profile is kept."),
]

Dpi = Annotated[
    Annotated[int, Meta(ge=2, le=65_535)] | None,
    Meta(
        description="Pixels an inch, as print wants them told, of jpeg, png and tiff. Left out: as the input says."
    ),
]

# --- models -----------------------------------------------------------------------------------------------------------


class Limits(Struct, frozen=True):
    """What a model takes and makes, in pixels, and the types it reads."""

    max_pixels: int = 70_000_000
    max_output_pixels: int = 432_000_000
    types: tuple[str, ...] = PICTURES_IN


#: Of models that invent: no more is made than they were taught on.
GENERATIVE: Final = Limits(max_pixels=34_000_000, max_output_pixels=34_000_000)


class Shape(Struct, frozen=True):
    """The most that one result of a picture's way may be; `channels` and `bits` None: as the first input has them.

    `role` names a result beside the first in its file's name (`photo-mask.png`).
    """

    width: int
    height: int
    channels: Literal[1, 2, 3, 4] | None = None
    bits: Literal[8, 16] | None = None
    role: str | None = None


class Stage(Struct, frozen=True):
    """One runner's part of a job, and what it is told: a struct that the runner reads.

    `size`: width and height of what it makes of a picture of this width and height, at most. None: of the last stage, what the
    model promises; of others, as large as what came.
    """

    runner: str
    params: Struct
    size: Callable[[Struct, int, int], tuple[int, int]] | None = None


def same_size(_params: Struct, width: int, height: int) -> tuple[int, int]:
    """What is made is as large as what came."""
    return width, height


class Model(Struct, frozen=True, kw_only=True):
    """One model.

    `runner`: a module that only the inference child imports. `sources`: the parameters that name bytes (an upload's id or
    a URL, or several), in the order they are read. `price`: the name of a rule in the table of prices. `size`: width and
    height of what is made of a picture of this width and height, at most. `shapes`: the results where there is not
    exactly one, like the first input. `stages`: what follows one another where there is more than `runner`; each
    works on what the one before has made. `rate`: frames a second of what is made of a film that has so many, where that
    is another. `film`: it takes a film, if it takes anything, and makes one. `canned`: nothing runs, whoever asks: what it
    makes shows nothing. `decode_side`: sources are reduced, as they are decoded, to at
    most so many pixels on a side; None: they are taken whole.
    `needs`: networks of which it wants one or another, that may not be installed (`needs.NETWORKS`); `need`: the
    one that it wants for these parameters. `one_frame`: a file of several pictures is refused, instead of its first one taken.
    """

    name: str
    description: str
    runner: str
    lane: Lane
    parameters: type[Struct]
    price: str
    sources: tuple[str, ...] = ("image",)
    limits: Limits = Limits()
    size: Callable[[Struct, int, int], tuple[int, int]] = same_size
    shapes: Callable[[Struct, int, int], tuple[Shape, ...]] | None = None
    stages: Callable[[Struct], tuple[Stage, ...]] | None = None
    rate: Callable[[Struct, float], float] | None = None
    film: bool = False
    decode_side: int | None = None
    needs: tuple[str, ...] = ()
    need: Callable[[Struct], str] | None = None
    one_frame: bool = False
    deadline_seconds: int = 900
    public: bool = True
    canned: bool = False


def stages_of(model: Model, params: Struct) -> tuple[Stage, ...]:
    """The runners that a job goes through, in order."""
    return model.stages(params) if model.stages else (Stage(model.runner, params),)


def shapes_of(model: Model, params: Struct, width: int, height: int) -> tuple[Shape, ...]:
    """What the last stage may make of a picture of this size; empty where it makes data alone."""
    if model.shapes:
        return model.shapes(params, width, height)
    return (Shape(*model.size(params, width, height)),)


def output_measure(
    model: Model,
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
    out_width, out_height = model.size(params, width, height)
    if model.rate and frame_rate is not None:
        frame_rate = model.rate(params, frame_rate)
    return Measure(width=out_width, height=out_height, seconds=seconds, frames_per_second=frame_rate)


# --- refusals -----------------------------------------------------------------------------------------------------------


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
    out_width, out_height = model.size(params, width, height)
    if out_width * out_height > limits.max_output_pixels:
        return "output_too_large", (
            f"The result would be {out_width} x {out_height} pixels ({_megapixels(out_width * out_height)}); at most "
            f"{_megapixels(limits.max_output_pixels)} are made. Ask for a smaller scale, or send a smaller picture."
        )
    format_ = getattr(params, "format", None) or ""
    if not fits(format_, out_width, out_height):
        room = _ROOM[format_]
        most = f"{room.side:,} on a side"
        if room.pixels < room.side**2:
            most += f" and {_megapixels(room.pixels)} in all"
        return "output_too_large", (
            f"The result would be {out_width} x {out_height} pixels, and {room.name} holds at most {most}. "
            "Ask for png or tiff."
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
    room = _ROOM.get(format_)
    return room is None or (max(width, height) <= room.side and width * height <= room.pixels)


def _megapixels(pixels: int) -> str:
    return f"{pixels / 1e6:,.1f} megapixels"
