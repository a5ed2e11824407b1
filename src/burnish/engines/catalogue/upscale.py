"""`upscale`: larger pictures."""

from typing import Annotated, Final, Literal

from msgspec import Meta, Struct

from burnish.engines.catalogue.model import Dpi, Format, MetadataPolicy, Model, Quality, Source


class Upscale(Struct, frozen=True, forbid_unknown_fields=True):
    """Parameters of `upscale`."""

    image: Source
    scale: Annotated[
        Literal[1, 2, 4, 6, 8],
        Meta(description="How many times wider and higher; 1 cleans without enlarging."),
    ] = 2
    mode: Annotated[
        Literal["faithful", "restore", "art"],
        Meta(
            description="`faithful` keeps what is there; `restore` redraws noisy and compressed pictures; `art` is for "
            "drawings."
        ),
    ] = "faithful"
    faces: Annotated[
        Literal["keep", "restore"],
        Meta(
            description="Of `restore`: small faces are kept as they are, enlarged faithfully, or redrawn like the rest."
        ),
    ] = "keep"
    format: Format = None
    quality: Quality = 90
    metadata: MetadataPolicy = "keep"
    dpi: Dpi = None


def _size(params: Struct, width: int, height: int) -> tuple[int, int]:
    assert isinstance(params, Upscale)
    return width * params.scale, height * params.scale


MODELS: Final = (
    Model(
        name="upscale",
        description="Up to eight times as large: faithful to every pixel, restored, or as a drawing.",
        runner="burnish.engines.runners.upscale",
        lane="light",
        parameters=Upscale,
        price="photo-standard",
        size=_size,
    ),
)
