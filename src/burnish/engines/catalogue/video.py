"""`video-upscale`, `video-denoise`, `video-interpolate`: films, frame by frame.

What a film becomes is told here, to the price and to the work alike: its size, its rate, and what its runner is asked for.
"""

from typing import Annotated, Final, Literal

from msgspec import Meta, Struct

from burnish.engines.catalogue.model import Limits, Model, Source
from burnish.engines.catalogue.placeholder import PlaceholderFilm

FILMS_IN: Final = (
    "video/mp4", "video/quicktime", "video/x-m4v", "video/x-msvideo", "video/x-matroska", "video/webm", "video/x-flv",
    "video/mpeg", "video/mp2t", "video/x-ms-wmv", "image/gif",
)  # fmt: skip
FilmFormatName = Literal["mp4", "mov", "mkv", "m4v", "avi", "gif", "webm"]
#: Format -> type, and the other way for formats that a film keeps.
FILMS_OUT: Final[dict[str, str]] = {
    "mp4": "video/mp4",
    "mov": "video/quicktime",
    "mkv": "video/x-matroska",
    "m4v": "video/x-m4v",
    "avi": "video/x-msvideo",
    "gif": "image/gif",
    "webm": "video/webm",
}
#: H.264 up to here, HEVC above.
H264_PIXELS: Final = 3840 * 2160
_MOST_PIXELS: Final = 36_000_000
_SHORTEST_SIDE: Final = 16
_DAY_SECONDS: Final = 86_400

Format = Annotated[
    FilmFormatName | None,
    Meta(description="What to write. Left out: as the film where that can be written, else mp4."),
]
Quality = Annotated[int, Meta(ge=1, le=100, description="Of the film's pictures; a GIF has none.")]


class VideoUpscale(Struct, frozen=True, forbid_unknown_fields=True):
    """Parameters of `video-upscale`."""

    video: Source
    scale: Annotated[
        Literal[1, 2, 4] | None,
        Meta(description="How many times wider and higher; 2 where no `resolution` is given either."),
    ] = None
    resolution: Annotated[
        list[Annotated[int, Meta(ge=16, le=16_384)]] | None,
        Meta(
            description="Width and height that the result fits into, as large as its shape allows, in place of `scale`."
        ),
    ] = None
    mode: Annotated[
        Literal["faithful", "restore"],
        Meta(description="`faithful` keeps what is there; `restore` redraws noisy and compressed films."),
    ] = "faithful"
    denoise: Annotated[bool, Meta(description="Take noise out first, as `video-denoise` does.")] = False
    format: Format = None
    quality: Quality = 80

    def __post_init__(self) -> None:
        if self.scale is not None and self.resolution is not None:
            raise ValueError("resolution: give `scale` or `resolution`, not both")
        if self.resolution is not None and len(self.resolution) != 2:
            raise ValueError("resolution: give width and height, as [1920, 1080]")


class VideoDenoise(Struct, frozen=True, forbid_unknown_fields=True):
    """Parameters of `video-denoise`."""

    video: Source
    strength: Annotated[
        Literal["light", "medium", "strong"], Meta(description="How much is taken for noise.")
    ] = "medium"
    format: Format = None
    quality: Quality = 80


class VideoInterpolate(Struct, frozen=True, forbid_unknown_fields=True):
    """Parameters of `video-interpolate`."""

    video: Source
    frame_rate: Annotated[float, Meta(ge=1, le=120, description="Frames a second of the result.")] = 60.0
    format: Format = None
    quality: Quality = 80


class Batch(Struct, frozen=True):
    """What the runner of films is told: of `frames` frames of `height` by `width` in one memory, make these.

    `wanted`: each as the frame that it is, or as the part of the way to the next one (0 to 1). `target`: width and height of
    what is made. `scale`, `mode`: of the network, None for none. `denoise`: 0 to 3.
    """

    frames: int
    width: int
    height: int
    target: tuple[int, int]
    wanted: tuple[tuple[int, float], ...]
    scale: Literal[1, 2, 4] | None = None
    mode: Literal["faithful", "restore"] = "faithful"
    denoise: Literal[0, 1, 2, 3] = 0


class Film(Struct, frozen=True):
    """What a model makes of a film of a certain size.

    `beside`: frames that it wants to see before and after each. `rate`: constant, or None where frames keep their times.
    """

    width: int
    height: int
    scale: Literal[1, 2, 4] | None
    mode: Literal["faithful", "restore"] = "faithful"
    denoise: Literal[0, 1, 2, 3] = 0
    before: int = 0
    after: int = 0
    rate: float | None = None


#: Frames before and after each that tell noise from what is there.
DENOISE_BESIDE: Final = 2
_STRENGTHS: Final[dict[str, Literal[1, 2, 3]]] = {"light": 1, "medium": 2, "strong": 3}


def film_of(params: Struct, width: int, height: int) -> Film:
    """What is made of a film that is seen as `width` by `height` pixels; both of the result are even."""
    match params:
        case VideoUpscale():
            target = _target(params, width, height)
            denoise: Literal[0, 2] = 2 if params.denoise else 0
            beside = DENOISE_BESIDE if denoise else 0
            scale = _network(params, width, target[0])
            return Film(*target, scale, params.mode, denoise, beside, beside)
        case VideoDenoise():
            strength = _STRENGTHS[params.strength]
            return Film(*_even(width, height), None, "faithful", strength, DENOISE_BESIDE, DENOISE_BESIDE)
        case VideoInterpolate():
            return Film(*_even(width, height), None, after=1, rate=params.frame_rate)
        case PlaceholderFilm():
            return Film(params.width, params.height, None)
    raise AssertionError(params)


def _target(params: VideoUpscale, width: int, height: int) -> tuple[int, int]:
    if params.resolution is None:
        scale = params.scale or 2
        return _even(width * scale, height * scale)
    most_width, most_height = params.resolution
    factor = min(most_width / width, most_height / height)
    return _even(min(most_width, round(width * factor)), min(most_height, round(height * factor)))


def _network(params: VideoUpscale, width: int, target: int) -> Literal[1, 2, 4] | None:
    """The network that makes at least the target's size, or four times; none where a film is only to be smaller."""
    if target < width - 1:
        return None if params.mode == "faithful" else 1
    if target <= width:
        return 1
    return 2 if target <= 2 * width else 4


def _even(width: int, height: int) -> tuple[int, int]:
    """Colours are kept for 2 x 2 pixels: an odd row or column is left out."""
    return max(_SHORTEST_SIDE, width - width % 2), max(_SHORTEST_SIDE, height - height % 2)


def _size(params: Struct, width: int, height: int) -> tuple[int, int]:
    film = film_of(params, width, height)
    return film.width, film.height


def _rate(params: Struct, rate: float) -> float:
    return params.frame_rate if isinstance(params, VideoInterpolate) else rate


RUNNER: Final = "burnish.engines.runners.film"
_LIMITS: Final = Limits(max_pixels=_MOST_PIXELS, max_output_pixels=_MOST_PIXELS, types=FILMS_IN)


def _model(name: str, description: str, parameters: type[Struct], price: str) -> Model:
    return Model(
        name=name,
        description=description,
        runner=RUNNER,
        lane="heavy",
        parameters=parameters,
        price=price,
        sources=("video",),
        limits=_LIMITS,
        size=_size,
        rate=_rate,
        film=True,
        deadline_seconds=_DAY_SECONDS,
    )


MODELS: Final = (
    _model(
        "video-upscale",
        "Films twice or four times as large, or of a size that is given; noise taken out on request.",
        VideoUpscale,
        "video-standard",
    ),
    _model(
        "video-denoise",
        "Films with less noise, told from what is there by the frames before and after.",
        VideoDenoise,
        "video-standard",
    ),
    _model(
        "video-interpolate",
        "Films with more frames a second, up to 120, made from those before and after.",
        VideoInterpolate,
        "video-frame-interpolation",
    ),
)
