"""`merge`: one picture of several exposures of the same scene."""

from typing import Annotated, Final, Literal

from msgspec import Meta, Struct

from burnish.engines.catalogue.model import Format, MetadataPolicy, Model, Quality, Source


class Merge(Struct, frozen=True, forbid_unknown_fields=True):
    """Parameters of `merge`."""

    images: Annotated[
        list[Source],
        Meta(
            min_length=2,
            max_length=9,
            description="Exposure brackets of one scene, of one size, in any order.",
        ),
    ]
    deghost: Annotated[
        bool, Meta(description="Show what moved between the brackets once, as the reference bracket has it.")
    ] = True
    window_pull: Annotated[
        Literal["none", "windows"],
        Meta(
            description="`windows`: show what is outside, from the darker brackets, where the others are blown."
        ),
    ] = "none"
    format: Format = None
    quality: Quality = 90
    metadata: MetadataPolicy = "keep"


MODELS: Final = (
    Model(
        name="merge",
        description="Exposure brackets of one scene to one picture: aligned, without ghosts, with natural tones.",
        runner="burnish.engines.runners.merge",
        lane="light",
        parameters=Merge,
        price="photo-standard",
        sources=("images",),
        public=False,
    ),
)
