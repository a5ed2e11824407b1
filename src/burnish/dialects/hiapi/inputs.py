"""What HiAPI's generation models take, as far as it is known, and how large what they make is.

Fields that are not listed are the model's own business and pass through; those that are have the vendor's bounds.
"""

from math import sqrt
from typing import Annotated, Any, Final, Literal

import msgspec
from msgspec import Meta, Struct

from burnish.errors import Invalid, explained

Url = Annotated[str, Meta(min_length=1, max_length=1_048_576, pattern=r"^(https?://|data:)")]
Ratio = Annotated[str, Meta(pattern=r"^([1-9]\d?:[1-9]\d?|auto|adaptive)$(?!\n)")]
Prompt = Annotated[str, Meta(min_length=1, max_length=32_000)]
Seed = Annotated[int, Meta(ge=-1, le=4_294_967_295)]
PictureFormat = Literal["png", "jpeg", "jpg", "webp"]

#: `resolution` of a picture -> the side of a square of as many pixels; of a film -> its shorter side.
_SQUARES: Final = {"1K": 1024, "2K": 2048, "4K": 4096}
_LINES: Final = {"480p": 480, "720p": 720, "1080p": 1080, "2K": 1440, "4K": 2160}
#: Sides are multiples of this.
_STEP: Final = 16


class PictureInput(Struct, frozen=True):
    """Pictures, of words and of other pictures."""

    prompt: Prompt
    aspect_ratio: Ratio = "1:1"
    resolution: Literal["1K", "2K", "4K"] = "1K"
    output_format: PictureFormat = "png"
    image_urls: Annotated[list[Url], Meta(max_length=16)] = []


class GptImage(Struct, frozen=True):
    """`gpt-image-2/text-to-image`."""

    prompt: Prompt
    aspect_ratio: Ratio = "1:1"
    resolution: Literal["1K", "2K", "4K"] = "1K"


class GptImageEdit(GptImage, frozen=True, kw_only=True):
    """`gpt-image-2/image-to-image`."""

    input_urls: Annotated[list[Url], Meta(min_length=1, max_length=5)]


class GptImage25(Struct, frozen=True):
    """`gpt-image-2.5-flare`, `gpt-image-2.5-sunburst`."""

    prompt: Prompt
    image_urls: Annotated[list[Url], Meta(min_length=1, max_length=16)] | None = None
    aspect_ratio: Ratio = "1:1"
    quality: str = "auto"
    background: str = "auto"
    output_format: PictureFormat = "png"


class Seedream(Struct, frozen=True):
    """`seedream-5.0-pro/text-to-image`."""

    prompt: Annotated[str, Meta(min_length=4, max_length=5_000)]
    aspect_ratio: Ratio = "1:1"
    quality: Literal["basic", "high"] = "basic"
    output_format: Literal["png", "jpeg"] = "png"


class SeedreamEdit(Seedream, frozen=True, kw_only=True):
    """`seedream-5.0-pro/image-to-image`."""

    image_urls: Annotated[list[Url], Meta(min_length=1, max_length=10)]


class FilmInput(Struct, frozen=True):
    """Films, of words and of pictures."""

    prompt: Prompt
    duration: Annotated[int, Meta(ge=1, le=60)] = 5
    resolution: Literal["480p", "720p", "1080p", "2K", "4K"] = "720p"
    aspect_ratio: Ratio = "16:9"
    image_urls: Annotated[list[Url], Meta(max_length=9)] = []


class Seedance(Struct, frozen=True):
    """`seedance-2.0`, `seedance-2.0-fast`."""

    prompt: Prompt | None = None
    duration: Annotated[int, Meta(ge=4, le=15)] = 5
    resolution: Literal["480p", "720p", "1080p", "2K", "4K"] = "720p"
    aspect_ratio: Ratio = "16:9"
    generate_audio: bool = True
    seed: Seed | None = None
    first_frame_url: Url | None = None
    last_frame_url: Url | None = None
    reference_image_urls: Annotated[list[Url], Meta(max_length=9)] = []
    reference_video_urls: Annotated[list[Url], Meta(max_length=3)] = []
    reference_audio_urls: Annotated[list[Url], Meta(max_length=3)] = []
    return_last_frame: bool = False
    web_search: bool = False
    nsfw_checker: bool = False

    def __post_init__(self) -> None:
        if self.prompt is None and self.first_frame_url is None and not self.reference_image_urls:
            raise ValueError("prompt: say what to make, or give a picture to begin with")


class Kling(Struct, frozen=True):
    """`kling-3.0-omni/text-to-video`."""

    prompt: Prompt
    duration: Annotated[int, Meta(ge=3, le=15)] = 5
    sound: bool = False
    resolution: Literal["480p", "720p", "1080p", "2K", "4K"] = "720p"
    aspect_ratio: Ratio = "16:9"


class KlingAnimate(Struct, frozen=True):
    """`kling-3.0-omni/image-to-video`."""

    image_urls: Annotated[list[Url], Meta(min_length=1, max_length=9)]
    prompt: Prompt | None = None
    duration: Annotated[int, Meta(ge=3, le=15)] = 5
    sound: bool = False
    resolution: Literal["480p", "720p", "1080p", "2K", "4K"] = "720p"
    aspect_ratio: Ratio = "16:9"


INPUTS: Final[dict[str, type[Struct]]] = {
    "picture": PictureInput,
    "gpt-image": GptImage,
    "gpt-image-edit": GptImageEdit,
    "gpt-image-2.5": GptImage25,
    "seedream": Seedream,
    "seedream-edit": SeedreamEdit,
    "film": FilmInput,
    "seedance": Seedance,
    "kling": Kling,
    "kling-animate": KlingAnimate,
}


def read_input(kind: str, given: bytes) -> Struct:
    """The input of a generation model. Raises Invalid; `param` names the field."""
    type_ = INPUTS[kind]
    try:
        return msgspec.json.decode(given, type=type_)
    except msgspec.ValidationError as error:
        raise explained(str(error), "input", type_) from error


def must_be_bare(given: bytes) -> None:
    """The input is an object without a callback in it, whose place is beside it.

    Raises:
        Invalid: it is not.
    """
    try:
        fields = msgspec.json.decode(given, type=dict[str, msgspec.Raw])
    except msgspec.ValidationError as error:
        raise Invalid("The input is an object of the model's fields.", param="input") from error
    for name in fields:
        plain = name.lower().replace("_", "").replace("-", "")
        if plain.startswith(("callback", "webhook")):
            raise Invalid(
                "Callbacks are asked for beside the input: `callback: {url, when}`.",
                param=f"input.{name[:60]}",
            )


def placeholder_of(makes: str, input_: Struct) -> dict[str, Any]:
    """What a placeholder for such a result is like: its width and height in pixels, and its format."""
    across, down = _ratio(getattr(input_, "aspect_ratio", "1:1"), makes)
    resolution = getattr(input_, "resolution", "1K")
    if makes == "film":
        line = _LINES[resolution]
        longer = _stepped(line * max(across, down) / min(across, down))
        width, height = (longer, line) if across >= down else (line, longer)
        return {"width": width, "height": height, "format": "mp4"}
    side = _SQUARES["2K" if getattr(input_, "quality", "") == "high" else resolution]
    format_ = getattr(input_, "output_format", "png")
    return {
        "width": _stepped(side * sqrt(across / down)),
        "height": _stepped(side * sqrt(down / across)),
        "format": "jpeg" if format_ == "jpg" else format_,
    }


def _ratio(given: str, makes: str) -> tuple[int, int]:
    """As it was asked for, at most four to one; left to the model, a square, or a film's."""
    if ":" not in given:
        return (16, 9) if makes == "film" else (1, 1)
    across, down = (int(part) for part in given.split(":"))
    if max(across, down) > 4 * min(across, down):
        return (4, 1) if across > down else (1, 4)
    return across, down


def _stepped(side: float) -> int:
    return max(_STEP, round(side / _STEP) * _STEP)
