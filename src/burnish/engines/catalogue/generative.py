"""What generative models will do: until a provider serves them, the closest engine's work, in their class and at their price.
And what another class of films costs.

Clients of the native API are not told of them; the dialects' tables name them where a vendor's model is a generative one.
"""

from typing import Final

import msgspec

from burnish.engines.catalogue import upscale, video
from burnish.engines.catalogue.model import Limits, Model

#: In and out; a fifth of what other models make, for they compute a hundred times as much.
_LIMITS: Final = Limits(max_pixels=34_000_000, max_output_pixels=34_000_000)
(_UPSCALE,) = (model for model in upscale.MODELS if model.name == "upscale")
(_FILM,) = (model for model in video.MODELS if model.name == "video-upscale")


def _of(model: Model, name: str, description: str, price: str, limits: Limits) -> Model:
    return msgspec.structs.replace(
        model, name=name, description=description, price=price, limits=limits, lane="heavy", public=False
    )


MODELS: Final = (
    _of(
        _UPSCALE,
        "generative-enhance",
        "Larger pictures, detail made up.",
        "photo-generative-enhance",
        _LIMITS,
    ),
    _of(
        _UPSCALE,
        "generative-portrait",
        "Larger portraits, detail made up.",
        "photo-generative-portrait",
        _LIMITS,
    ),
    _of(_FILM, "video-upscale-ultra", "Films for large screens.", "video-ultra-hd", _FILM.limits),
    _of(_FILM, "video-upscale-generative", "Films, detail made up.", "video-generative", _FILM.limits),
)
