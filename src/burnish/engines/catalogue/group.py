"""`group`: a loose pile of photos into sets of brackets."""

from typing import Annotated, Final

from msgspec import Meta, Struct

from burnish.engines.catalogue.model import Model, Shape, Source


class Group(Struct, frozen=True, forbid_unknown_fields=True):
    """Parameters of `group`."""

    images: Annotated[
        list[Source], Meta(min_length=2, max_length=200, description="The photos, in any order.")
    ]
    per_image: Annotated[int, Meta(ge=1, le=9)] | None = None


def _nothing(_params: Struct, _width: int, _height: int) -> tuple[Shape, ...]:
    """No picture is made."""
    return ()


MODELS: Final = (
    Model(
        name="group",
        description="A loose pile of photos into the brackets of each scene: which belong together.",
        runner="burnish.engines.runners.group",
        lane="light",
        parameters=Group,
        price="grouping",
        sources=("images",),
        shapes=_nothing,
        decode_side=256,
    ),
)
