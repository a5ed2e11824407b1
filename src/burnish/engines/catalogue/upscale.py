"""`upscale`: larger pictures."""

from typing import Annotated, Final, Literal

from msgspec import Meta, Struct

from burnish.engines.catalogue.model import Format, MetadataPolicy, Model, Quality, Source


class Upscale(Struct, frozen=True, forbid_unknown_fields=True):
    """Parameters of `upscale`."""

    image: Source
    scale: Annotated[Literal[2, 4], Meta(description="How many times wider and higher.")] = 2
    mode: Annotated[
        Literal["faithful", "restore"],
        Meta(description="`faithful` keeps what is there; `restore` redraws noisy and compressed pictures."),
    ] = "faithful"
    format: Format = None
    quality: Quality = 90
    metadata: MetadataPolicy = "keep"


def _size(params: Struct, width: int, height: int) -> tuple[int, int]:
    assert isinstance(params, Upscale)
    return width * params.scale, height * params.scale


MODELS: Final = (
    Model(
        name="upscale",
        description="Twice or four times as large, either faithful to every pixel or restored.",
        runner="burnish.engines.runners.upscale",
        lane="light",
        parameters=Upscale,
        price="photo-standard",
        size=_size,
    ),
)
