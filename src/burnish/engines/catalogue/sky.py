"""`sky`: another sky."""

from typing import Annotated, Final, Literal

from msgspec import Meta, Struct

from burnish.engines.catalogue.model import Dpi, Format, MetadataPolicy, Model, Quality, Source


class Sky(Struct, frozen=True, forbid_unknown_fields=True):
    """Parameters of `sky`."""

    image: Source
    kind: Annotated[
        Literal["clear", "low_cloud", "high_cloud"],
        Meta(description="Blue; blue with heaps of cloud; blue with thin streaks high up."),
    ] = "clear"
    seed: Annotated[int, Meta(ge=0, le=2**32 - 1, description="The same seed gives the same sky.")] = 0
    panorama: Annotated[
        bool | None,
        Meta(
            description="A 360° panorama (equirectangular): the new sky goes all the way round, and its edges meet. Left out: told "
            "by its shape, exactly twice as wide as high and at least 2,048 wide."
        ),
    ] = None
    format: Format = None
    quality: Quality = 90
    metadata: MetadataPolicy = "keep"
    dpi: Dpi = None


MODELS: Final = (
    Model(
        name="sky",
        description="Another sky, made for the picture: clear, with low clouds, or with high ones.",
        runner="burnish.engines.runners.sky",
        lane="light",
        parameters=Sky,
        price="photo-standard",
    ),
)
