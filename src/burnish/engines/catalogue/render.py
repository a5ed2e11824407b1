"""`render`: a picture as it is wanted somewhere: smaller, in another format, as a preview, with a watermark."""

from typing import Annotated, Final

from msgspec import Meta, Struct

from burnish.engines.catalogue.model import Dpi, Format, MetadataPolicy, Model, Quality, Source

#: The longer side of a preview, in pixels.
PREVIEW_SIDE: Final = 1_024


class Render(Struct, frozen=True, forbid_unknown_fields=True):
    """Parameters of `render`."""

    image: Source
    scale: Annotated[float, Meta(gt=0, le=1, description="Times as wide and as high.")] = 1.0
    max_width: Annotated[int, Meta(ge=1, le=100_000, description="In pixels; the height follows.")] | None = (
        None
    )
    preview: Annotated[bool, Meta(description=f"At most {PREVIEW_SIDE:,} pixels on the longer side.")] = False
    watermark: Annotated[bool, Meta(description="Lay the service's watermark over all of it.")] = False
    format: Format = None
    quality: Quality = 90
    metadata: MetadataPolicy = "keep"
    dpi: Dpi = None


def _size(params: Struct, width: int, height: int) -> tuple[int, int]:
    """The smallest of all that is asked for; nothing is ever made larger."""
    assert isinstance(params, Render)
    factor = params.scale
    if params.max_width is not None:
        factor = min(factor, params.max_width / width)
    if params.preview:
        factor = min(factor, PREVIEW_SIDE / max(width, height))
    return max(1, round(width * factor)), max(1, round(height * factor))


def _model(name: str, description: str, *, public: bool) -> Model:
    return Model(
        name=name,
        description=description,
        runner="burnish.engines.runners.render",
        lane="light",
        parameters=Render,
        price="rendering",
        size=_size,
        deadline_seconds=300,
        public=public,
    )


#: The second is what a link to a result asks for: a task that no client made, and that none is told of.
RENDITION: Final = "rendition"
MODELS: Final = (
    _model(
        "render",
        "Smaller, in another format, as a preview, with a watermark: nothing is invented.",
        public=True,
    ),
    _model(RENDITION, "What a link to a result asks for.", public=False),
)
