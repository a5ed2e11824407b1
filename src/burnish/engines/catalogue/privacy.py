"""`privacy`: faces and number plates made unreadable."""

from typing import Annotated, Final

from msgspec import Meta, Struct

from burnish.engines.catalogue.model import Dpi, Format, MetadataPolicy, Model, Quality, Source


class Privacy(Struct, frozen=True, forbid_unknown_fields=True):
    """Parameters of `privacy`."""

    image: Source
    faces: Annotated[bool, Meta(description="Hide faces.")] = True
    plates: Annotated[bool, Meta(description="Hide number plates.")] = True
    format: Format = None
    quality: Quality = 90
    metadata: MetadataPolicy = "keep"
    dpi: Dpi = None

    def __post_init__(self) -> None:
        if not (self.faces or self.plates):
            raise ValueError("faces or plates must be true, or there is nothing to hide")


MODELS: Final = (
    Model(
        name="privacy",
        description="Faces and number plates found and made unreadable.",
        runner="burnish.engines.runners.privacy",
        lane="light",
        parameters=Privacy,
        price="photo-standard",
    ),
)
