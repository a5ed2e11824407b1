"""`denoise` and `sharpen`: pictures as large as they were, with less noise or clearer edges."""

from typing import Annotated, Final, Literal

from msgspec import Meta, Struct

from burnish.engines.catalogue.model import Dpi, Format, MetadataPolicy, Model, Quality, Source


class Denoise(Struct, frozen=True, forbid_unknown_fields=True):
    """Parameters of `denoise`."""

    image: Source
    strength: Annotated[
        Literal["auto", "low", "medium", "high"],
        Meta(
            description="`auto` measures the noise, and leaves a clean picture as it is; the others take noise of 5, 12 and "
            "25 levels for given."
        ),
    ] = "auto"
    format: Format = None
    quality: Quality = 90
    metadata: MetadataPolicy = "keep"
    dpi: Dpi = None


class Sharpen(Struct, frozen=True, forbid_unknown_fields=True):
    """Parameters of `sharpen`."""

    image: Source
    amount: Annotated[float, Meta(ge=0, le=3, description="How much; 0 leaves the picture as it is.")] = 1.0
    radius: Annotated[
        float, Meta(ge=0.5, le=5, description="Of the detail that is made clearer, in pixels.")
    ] = 1.0
    format: Format = None
    quality: Quality = 90
    metadata: MetadataPolicy = "keep"
    dpi: Dpi = None


MODELS: Final = (
    Model(
        name="denoise",
        description="Takes noise out and keeps edges; leaves a clean picture as it is.",
        runner="burnish.engines.runners.denoise",
        lane="light",
        parameters=Denoise,
        price="photo-standard",
    ),
    Model(
        name="sharpen",
        description="Makes edges clearer, without halos and without changing colours.",
        runner="burnish.engines.runners.sharpen",
        lane="light",
        parameters=Sharpen,
        price="photo-standard",
    ),
)
