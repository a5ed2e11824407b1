"""`enhance`, `straighten` and `lens`: what photographers do to a picture, without networks.

All three are steps of one runner, in one order; `enhance` may ask for the others as well, for another sky, and for twice the size.
"""

from typing import Annotated, Final, Literal

from msgspec import Meta, Struct

from burnish.engines.catalogue.model import (
    Dpi,
    Format,
    MetadataPolicy,
    Model,
    Quality,
    Source,
    Stage,
    same_size,
)
from burnish.engines.catalogue.privacy import Privacy
from burnish.engines.catalogue.sky import Sky
from burnish.engines.catalogue.upscale import Upscale
from burnish.engines.photos.look import Style

PHOTOGRAPHER: Final = "burnish.engines.runners.photo"
_ANOTHER_SKY: Final = "burnish.engines.runners.sky"
_NOBODY: Final = "burnish.engines.runners.privacy"
_LARGER: Final = "burnish.engines.runners.upscale"
_SCALE: Final = 2

# --- what the runner is told --------------------------------------------------------------------------------------------


class Lens(Struct, frozen=True):
    """Take out what the lens did: by its profile, or by given coefficients where one is not None."""

    distortion: float | None = None
    vignetting: float | None = None


class Straighten(Struct, frozen=True):
    """Turn upright, by at most so much."""

    max_degrees: float = 12.0
    fill: Literal["crop", "extend"] = "crop"


class Enhance(Struct, frozen=True):
    """Light and colour."""

    style: Style = "neutral"
    strength: float = 1.0


class Steps(Struct, frozen=True):
    """What is done to a photo, in this order; None is left out. `panorama`: whether left and right edge are one; None: by
    its shape, where that matters.
    """

    lens: Lens | None = None
    straighten: Straighten | None = None
    enhance: Enhance | None = None
    panorama: bool | None = None


# --- what clients may ask for -------------------------------------------------------------------------------------------

_Panorama = Annotated[
    bool | None,
    Meta(
        description="A 360° panorama (equirectangular) is left as it is. Left out: told by its shape, exactly twice as wide as "
        "high and at least 2,048 wide."
    ),
]


class EnhanceParams(Struct, frozen=True, forbid_unknown_fields=True):
    """Parameters of `enhance`."""

    image: Source
    style: Annotated[
        Style,
        Meta(
            description="`neutral` puts right what is wrong and has no taste; `authentic` does so by half and keeps the light's "
            "colour; `property` is bright and clear; `property_usa` brighter, more vivid; `warm` is bright, with warm whites; "
            "`modern` cool, with contrast and quiet colours."
        ),
    ] = "neutral"
    strength: Annotated[
        float,
        Meta(ge=0, le=2, description="How far to go: 0 changes nothing, 1 is the style, 2 twice its taste."),
    ] = 1.0
    lens: Annotated[bool, Meta(description="First take out what the lens did, where it is known.")] = False
    straighten: Annotated[bool, Meta(description="Then make verticals vertical; crops.")] = False
    sky: Annotated[
        Literal["none", "clear", "low_cloud", "high_cloud"],
        Meta(description="After light and colour, another sky, as of the model `sky`."),
    ] = "none"
    panorama: Annotated[
        bool,
        Meta(
            description="A 360° panorama (equirectangular): no seam between its edges; neither lens nor verticals are corrected."
        ),
    ] = False
    privacy: Annotated[
        bool, Meta(description="Then faces and number plates made unreadable, as of the model `privacy`.")
    ] = False
    upscale: Annotated[bool, Meta(description="At the end, twice as wide and high (`faithful`).")] = False
    format: Format = None
    quality: Quality = 90
    metadata: MetadataPolicy = "keep"
    dpi: Dpi = None


class StraightenParams(Struct, frozen=True, forbid_unknown_fields=True):
    """Parameters of `straighten`."""

    image: Source
    max_degrees: Annotated[
        float,
        Meta(
            ge=0,
            le=20,
            description="A picture that is further from upright than this, in roll or in tilt, is left.",
        ),
    ] = 12.0
    fill: Annotated[
        Literal["crop", "extend"],
        Meta(
            description="`crop` keeps what is inside; `extend` keeps the size, and mirrors what is missing at the edges."
        ),
    ] = "crop"
    panorama: _Panorama = None
    format: Format = None
    quality: Quality = 90
    metadata: MetadataPolicy = "keep"
    dpi: Dpi = None


class LensParams(Struct, frozen=True, forbid_unknown_fields=True):
    """Parameters of `lens`."""

    image: Source
    distortion: Annotated[
        Annotated[float, Meta(ge=-0.3, le=0.3)] | None,
        Meta(
            description="In place of the profile: k1 of Lensfun's `poly3`; under 0 for a barrel, over 0 for a pincushion."
        ),
    ] = None
    vignetting: Annotated[
        Annotated[float, Meta(ge=-0.9, le=0)] | None,
        Meta(
            description="In place of the profile: light in the corners, less the middle's, as a part of it: -0.5 is one stop."
        ),
    ] = None
    panorama: _Panorama = None
    format: Format = None
    quality: Quality = 90
    metadata: MetadataPolicy = "keep"
    dpi: Dpi = None


def _enhance_size(params: Struct, width: int, height: int) -> tuple[int, int]:
    assert isinstance(params, EnhanceParams)
    return larger(params, width, height) if params.upscale else (width, height)


def larger(_params: Struct, width: int, height: int) -> tuple[int, int]:
    return width * _SCALE, height * _SCALE


def _enhance_stages(params: Struct) -> tuple[Stage, ...]:
    assert isinstance(params, EnhanceParams)
    steps = Steps(
        lens=Lens() if params.lens else None,
        straighten=Straighten() if params.straighten else None,
        enhance=Enhance(params.style, params.strength),
        panorama=params.panorama or None,
    )
    after = finished(
        params.image,
        sky=params.sky,
        panorama=params.panorama,
        privacy=params.privacy,
        upscale=params.upscale,
    )
    return (Stage(PHOTOGRAPHER, steps), *after)


def finished(
    image: str,
    *,
    sky: Literal["none", "clear", "low_cloud", "high_cloud"],
    panorama: bool,
    privacy: bool,
    upscale: bool,
) -> tuple[Stage, ...]:
    """What follows light and colour, in this order; `image` is only named, as their parameters want one."""
    stages = []
    if sky != "none":
        stages.append(Stage(_ANOTHER_SKY, Sky(image, kind=sky, panorama=panorama or None), size=same_size))
    if privacy:
        stages.append(Stage(_NOBODY, Privacy(image), size=same_size))
    if upscale:
        stages.append(Stage(_LARGER, Upscale(image, scale=_SCALE), size=larger))
    return tuple(stages)


def _straighten_stages(params: Struct) -> tuple[Stage, ...]:
    assert isinstance(params, StraightenParams)
    steps = Steps(straighten=Straighten(params.max_degrees, params.fill), panorama=params.panorama)
    return (Stage(PHOTOGRAPHER, steps),)


def _lens_stages(params: Struct) -> tuple[Stage, ...]:
    assert isinstance(params, LensParams)
    return (
        Stage(PHOTOGRAPHER, Steps(lens=Lens(params.distortion, params.vignetting), panorama=params.panorama)),
    )


MODELS: Final = (
    Model(
        name="enhance",
        description="Exposure, white balance, contrast and clarity: a dull photo made better, a good one left alone.",
        runner=PHOTOGRAPHER,
        lane="light",
        parameters=EnhanceParams,
        price="photo-standard",
        size=_enhance_size,
        stages=_enhance_stages,
    ),
    Model(
        name="straighten",
        description="Verticals made vertical and the horizon level.",
        runner=PHOTOGRAPHER,
        lane="light",
        parameters=StraightenParams,
        price="photo-standard",
        stages=_straighten_stages,
    ),
    Model(
        name="lens",
        description="Distortion, colour fringes and dark corners taken out, by the profile of the lens that took the photo.",
        runner=PHOTOGRAPHER,
        lane="light",
        parameters=LensParams,
        price="photo-standard",
        stages=_lens_stages,
    ),
)
