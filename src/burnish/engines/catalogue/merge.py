"""`merge`: one picture of several exposures of the same scene, and all that a photo goes through after it."""

from typing import Annotated, Final, Literal

from msgspec import Meta, Struct

from burnish.engines.catalogue import photo
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
from burnish.engines.photos.look import Style

_RUNNER: Final = "burnish.engines.runners.merge"


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
        Literal["none", "windows", "windows_with_skies"],
        Meta(
            description="`windows`: show what is outside, from the darker brackets, where the others are blown; "
            "`windows_with_skies`: and another sky there, of the kind that `sky` names, else clear."
        ),
    ] = "none"
    style: Annotated[
        Literal["none"] | Style,
        Meta(
            description="Light and colour as of the model `enhance`; `none`: the merge's own natural tones."
        ),
    ] = "none"
    lens: Annotated[bool, Meta(description="Take out what the lens did, where it is known.")] = False
    straighten: Annotated[bool, Meta(description="Make verticals vertical; crops.")] = False
    sky: Annotated[
        Literal["none", "clear", "low_cloud", "high_cloud"],
        Meta(description="Another sky, as of the model `sky`."),
    ] = "none"
    panorama: Annotated[
        bool,
        Meta(
            description="360° panoramas (equirectangular): no seam between their edges; they are laid on each other by shifts alone, "
            "and neither lens nor verticals are corrected."
        ),
    ] = False
    privacy: Annotated[
        bool, Meta(description="Faces and number plates made unreadable, as of the model `privacy`.")
    ] = False
    upscale: Annotated[bool, Meta(description="At the end, twice as wide and high (`faithful`).")] = False
    format: Format = None
    quality: Quality = 90
    metadata: MetadataPolicy = "keep"
    dpi: Dpi = None


def _size(params: Struct, width: int, height: int) -> tuple[int, int]:
    assert isinstance(params, Merge)
    return photo.larger(params, width, height) if params.upscale else (width, height)


def _stages(params: Struct) -> tuple[Stage, ...]:
    assert isinstance(params, Merge)
    stages = [Stage(_RUNNER, params, size=same_size)]
    steps = photo.Steps(
        lens=photo.Lens() if params.lens else None,
        straighten=photo.Straighten() if params.straighten else None,
        enhance=photo.Enhance(params.style) if params.style != "none" else None,
        panorama=params.panorama or None,
    )
    if (steps.lens, steps.straighten, steps.enhance) != (None, None, None):
        stages.append(Stage(photo.PHOTOGRAPHER, steps, size=same_size))
    after = photo.finished(
        params.images[0],
        sky=params.sky,
        panorama=params.panorama,
        privacy=params.privacy,
        upscale=params.upscale,
    )
    return (*stages, *after)


MODELS: Final = (
    Model(
        name="merge",
        description="Exposure brackets of one scene to one picture: aligned, without ghosts, with natural tones.",
        runner=_RUNNER,
        lane="light",
        parameters=Merge,
        price="photo-standard",
        sources=("images",),
        size=_size,
        stages=_stages,
    ),
)
