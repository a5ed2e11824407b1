"""`moderate`: how much a picture shows that not everybody is to see."""

from typing import Final

from msgspec import Struct

from burnish.engines.catalogue.model import Model, Shape, Source


class Moderate(Struct, frozen=True, forbid_unknown_fields=True):
    """Parameters of `moderate`."""

    image: Source


def _nothing(_params: Struct, _width: int, _height: int) -> tuple[Shape, ...]:
    return ()


def _need(_params: Struct) -> str:
    return "moderation"


MODELS: Final = (
    Model(
        name="moderate",
        description="How explicit a picture is, low, mid or high, with what was found behind it.",
        runner="burnish.engines.runners.moderate",
        lane="light",
        parameters=Moderate,
        price="moderation",
        shapes=_nothing,
        needs=("moderation",),
        need=_need,
        one_frame=True,
    ),
)
