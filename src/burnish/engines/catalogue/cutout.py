"""`cutout`: what a picture shows, without what lies behind it."""

from typing import Annotated, Final, Literal

from msgspec import Meta, Struct, field

from burnish.engines.catalogue.model import Dpi, MetadataPolicy, Model, Quality, Shape, Source

Format = Annotated[
    Literal["png", "webp", "avif", "tiff", "jpeg"],
    Meta(description="What to write. jpeg knows no transparency: it is laid on white."),
]


class Cutout(Struct, frozen=True, forbid_unknown_fields=True):
    """Parameters of `cutout`."""

    image: Source
    return_: Annotated[
        Literal["cutout", "mask", "both"],
        Meta(description="The cut-out, the mask (white where the subject is), or both."),
    ] = field(default="cutout", name="return")
    of: Annotated[
        Literal["person", "any"],
        Meta(
            description="What to cut out: people, with what they wear and hold; or whatever the picture shows, with a network "
            "that is installed for it."
        ),
    ] = "person"
    background: Annotated[
        str,
        Meta(
            pattern="^(transparent|white|black|#[0-9a-fA-F]{6})$",
            description="What to put behind the cut-out: `transparent`, `white`, `black`, or a colour as `#rrggbb`.",
        ),
    ] = "transparent"
    format: Format = "png"
    quality: Quality = 90
    metadata: MetadataPolicy = "keep"
    dpi: Dpi = None


def colour(background: str) -> tuple[float, float, float] | None:
    """Red, green and blue from 0 to 1 of a background; None: it is transparent."""
    if background == "transparent":
        return None
    digits = {"white": "ffffff", "black": "000000"}.get(background, background.removeprefix("#"))
    red, green, blue = (byte / 255 for byte in bytes.fromhex(digits))
    return red, green, blue


def _shapes(params: Struct, width: int, height: int) -> tuple[Shape, ...]:
    assert isinstance(params, Cutout)
    cut = Shape(width, height, channels=4 if colour(params.background) is None else 3)
    mask = Shape(width, height, channels=1, role="mask")
    return {"cutout": (cut,), "mask": (mask,), "both": (cut, mask)}[params.return_]


def _need(params: Struct) -> str:
    assert isinstance(params, Cutout)
    return "people" if params.of == "person" else "objects"


MODELS: Final = (
    Model(
        name="cutout",
        description="People, or what else a picture shows, cut out of it; or a mask of them.",
        runner="burnish.engines.runners.cutout",
        lane="light",
        parameters=Cutout,
        price="segmentation",
        shapes=_shapes,
        needs=("people", "objects"),
        need=_need,
    ),
)
