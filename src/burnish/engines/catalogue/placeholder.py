"""`placeholder`: results that show nothing, of the size and format asked for, in place of what a provider would make.

Clients of the native API are not told of them; a dialect's test keys get them for models that nothing here does.
"""

from typing import Annotated, Final, Literal

from msgspec import Meta, Struct

from burnish.engines.catalogue.model import Lane, Limits, Model, Shape

#: Nothing runs: what is made is canned, whoever asks.
CANNED: Final = "canned"
Side = Annotated[int, Meta(ge=16, le=16_384)]


class Placeholder(Struct, frozen=True, forbid_unknown_fields=True):
    """Parameters of `placeholder`: a picture."""

    width: Side
    height: Side
    format: Literal["png", "jpeg", "webp"] = "png"


class PlaceholderFilm(Struct, frozen=True, forbid_unknown_fields=True):
    """Parameters of `placeholder-film`: sides are even."""

    width: Annotated[Side, Meta(multiple_of=2)]
    height: Annotated[Side, Meta(multiple_of=2)]
    format: Literal["mp4", "webm"] = "mp4"


def _shapes(params: Struct, _width: int, _height: int) -> tuple[Shape, ...]:
    assert isinstance(params, Placeholder)
    return (Shape(params.width, params.height, channels=3, bits=8),)


def _picture(name: str, lane: Lane) -> Model:
    return Model(
        name=name,
        description="A picture that shows nothing.",
        runner=CANNED,
        lane=lane,
        parameters=Placeholder,
        price="rendering",
        sources=(),
        limits=Limits(types=()),
        shapes=_shapes,
        public=False,
        canned=True,
    )


MODELS: Final = (
    _picture("placeholder", "light"),
    _picture("placeholder-heavy", "heavy"),
    Model(
        name="placeholder-film",
        description="A film of a second that shows nothing.",
        runner=CANNED,
        lane="heavy",
        parameters=PlaceholderFilm,
        price="rendering",
        sources=(),
        limits=Limits(types=()),
        film=True,
        public=False,
        canned=True,
    ),
)
