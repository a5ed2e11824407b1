"""What a task costs: rules as plain data, and pure functions from what is made to whole credits.

A rule counts tasks, images by their size, or seconds of video by resolution and frame rate; its `unit` says which.
Called when the bytes of a task have been seen (`price`), and before that for what is known without them (`bounds`).
"""

import math
from itertools import pairwise
from typing import Annotated, Final, Literal

from msgspec import Meta, Struct
from msgspec.structs import astuple

from burnish.errors import Failed

Unit = Literal["task", "image", "second"]
#: Far from what 64 bits hold, even times the seconds of a long video.
Credits = Annotated[int, Meta(ge=0, le=1_000_000_000)]
#: Whole ones stay whole.
Megapixels = Annotated[int, Meta(gt=0, le=1_000_000)] | Annotated[float, Meta(gt=0, le=1_000_000)]

#: A megapixel is a million pixels.
_MEGA: Final = 1_000_000
#: Resolution class -> the most pixels in it, whichever way the picture is turned and whatever its shape.
RESOLUTIONS: Final[dict[str, float]] = {
    "HD": 1280 * 720,
    "FHD": 1920 * 1080,
    "2K": 2560 * 1440,
    "4K": 3840 * 2160,
    "8K": math.inf,
}
#: The bands of frame rates: 30 and 60 belong to the band that they end, 120 is one of its own. None is faster.
FRAME_RATES: Final = ("up to 30", "30 to 60", "60 to 120", "120")


# --- rules --------------------------------------------------------------------------------------------------------


class Flat(Struct, frozen=True, forbid_unknown_fields=True, tag_field="unit", tag="task"):
    """The same for every task, however much it makes."""

    credits: Credits


class Tier(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """Images `below` so many megapixels, or `up_to` and including so many; neither: any that are larger."""

    credits: Credits
    below: Megapixels | None = None
    up_to: Megapixels | None = None

    def __post_init__(self) -> None:
        if self.below is not None and self.up_to is not None:
            raise ValueError("`below` and `up_to` exclude each other")

    @property
    def end(self) -> float:
        """The megapixels at which it ends."""
        return next((end for end in (self.below, self.up_to) if end is not None), math.inf)

    def takes(self, pixels: int) -> bool:
        """Whether an image that is too large for the tiers before belongs here."""
        if math.isinf(self.end):
            return True
        end = round(self.end * _MEGA)
        return pixels < end if self.up_to is None else pixels <= end


class ByMegapixels(Struct, frozen=True, forbid_unknown_fields=True, tag_field="unit", tag="image"):
    """By the megapixels of each image that is made. What is larger than the last tier has no price."""

    tiers: Annotated[tuple[Tier, ...], Meta(min_length=1)]

    def __post_init__(self) -> None:
        if any(tier.end >= larger.end for tier, larger in pairwise(self.tiers)):
            raise ValueError(
                "each of `tiers` must end above the one before, and only the last may have no end"
            )


#: Credits for one second, for each of `FRAME_RATES`.
Row = tuple[Credits, Credits, Credits, Credits]


class Resolutions(
    Struct,
    frozen=True,
    forbid_unknown_fields=True,
    omit_defaults=True,
    rename={"hd": "HD", "fhd": "FHD", "two_k": "2K", "four_k": "4K", "eight_k": "8K"},
):
    """A row for each of `RESOLUTIONS`, smallest first. Those left out, at the end only, have no price."""

    hd: Row
    fhd: Row | None = None
    two_k: Row | None = None
    four_k: Row | None = None
    eight_k: Row | None = None

    def __post_init__(self) -> None:
        if any(row is None and larger is not None for row, larger in pairwise(astuple(self))):
            raise ValueError("a resolution is left out below one that has a price")

    def rows(self) -> dict[str, Row]:
        """Those that have a price, by resolution."""
        rows = zip(RESOLUTIONS, astuple(self), strict=True)
        return {name: row for name, row in rows if row is not None}


class BySecond(Struct, frozen=True, forbid_unknown_fields=True, tag_field="unit", tag="second"):
    """By the second of video that is made, its resolution and its frame rate."""

    table: Resolutions


Rule = Flat | ByMegapixels | BySecond


# --- what it comes to ---------------------------------------------------------------------------------------------


class Measure(Struct, frozen=True):
    """What is known of that which is made; None: not yet.

    `width`, `height`: of each image, or of the video. `seconds`: of all video together. `count`: how many images.
    """

    width: int | None = None
    height: int | None = None
    seconds: float | None = None
    frames_per_second: float | None = None
    count: int | None = 1


class Line(Struct, frozen=True):
    """One line of a bill: `quantity` of `what`, for `each` credits."""

    what: str
    quantity: int
    each: int
    credits: int


class Priced(Struct, frozen=True):
    """What something costs; `credits` is the sum of `breakdown`."""

    credits: int
    unit: Unit
    quantity: int
    breakdown: tuple[Line, ...]


def measured(rule: Rule, measure: Measure) -> bool:
    """Whether enough is known for `price`."""
    size = measure.width, measure.height
    match rule:
        case Flat():
            return True
        case ByMegapixels():
            return None not in (*size, measure.count)
        case BySecond():
            return None not in (*size, measure.seconds, measure.frames_per_second)


def price(rule: Rule, measure: Measure) -> Priced:
    """What it costs, once `measured`.

    Raises:
        Failed: output_too_large, where the rule has no price for the size; the message says the size and the limit.
    """
    match rule:
        case Flat(credits=each):
            return _priced("task", "task", 1, each)
        case ByMegapixels(tiers=tiers):
            assert measure.count is not None
            tier = _tier(tiers, measure)
            return _priced("image", span(tiers, tier), measure.count, tier.credits)
        case BySecond(table=table):
            assert measure.seconds is not None
            rows = table.rows()
            resolution, band = _resolution(rows, measure), _band(measure)
            # To the millisecond: a sum of frames that is longer by a rounding error starts no second.
            seconds = max(1, math.ceil(round(measure.seconds, 3)))
            what = f"{resolution}, {FRAME_RATES[band]} frames a second"
            return _priced("second", what, seconds, rows[resolution][band])


def bounds(rule: Rule, count: int = 1) -> tuple[int, int | None]:
    """The lowest and the highest that `price` can say before the bytes have been seen; None: there is no highest.

    `count`: how many images were asked for.
    """
    match rule:
        case Flat(credits=each):
            return each, each
        case ByMegapixels(tiers=tiers):
            each_ = [tier.credits for tier in tiers]
            return min(each_) * count, max(each_) * count
        case BySecond(table=table):
            cells = [cell for row in table.rows().values() for cell in row]
            return min(cells), None if any(cells) else 0


def _priced(unit: Unit, what: str, quantity: int, each: int) -> Priced:
    credits_ = quantity * each
    return Priced(credits_, unit, quantity, (Line(what, quantity, each, credits_),))


def _tier(tiers: tuple[Tier, ...], measure: Measure) -> Tier:
    pixels = _pixels(measure)
    for tier in tiers:
        if tier.takes(pixels):
            return tier
    last = tiers[-1]
    most = f"at most {last.end:,g}" if last.below is None else f"less than {last.end:,g}"
    raise Failed("output_too_large", f"{_size(measure)}; {most} megapixels are made by this model.")


def span(tiers: tuple[Tier, ...], tier: Tier) -> str:
    """In words: "below 8 megapixels", "8 to 12 megapixels", "above 216 megapixels"."""
    before = next((smaller for smaller, larger in pairwise(tiers) if larger is tier), None)
    if before is None:
        words = "below" if tier.up_to is None else "up to"
        return "any size" if math.isinf(tier.end) else f"{words} {tier.end:,g} megapixels"
    if math.isinf(tier.end):
        words = "from" if before.up_to is None else "above"
        return f"{words} {before.end:,g} megapixels"
    return f"{before.end:,g} to {tier.end:,g} megapixels"


def _resolution(rows: dict[str, Row], measure: Measure) -> str:
    """The smallest class that the video fits into."""
    name = next(name for name, most in RESOLUTIONS.items() if _pixels(measure) <= most)
    if name not in rows:
        last = list(rows)[-1]
        raise Failed(
            "output_too_large",
            f"{_size(measure)}; at most {RESOLUTIONS[last] / _MEGA:.1f} megapixels ({last}) are made by this model.",
        )
    return name


def _band(measure: Measure) -> int:
    """The place of the frame rate in `FRAME_RATES`."""
    assert measure.frames_per_second is not None
    # To the hundredth: rates are measured as averages, and 30 comes as 30.0003.
    rate = round(measure.frames_per_second, 2)
    if rate > 120:
        raise Failed(
            "output_too_large",
            f"The result would have {rate:,g} frames a second; at most 120 are made by this model.",
        )
    return (rate > 30) + (rate > 60) + (rate >= 120)


def _pixels(measure: Measure) -> int:
    assert measure.width is not None
    assert measure.height is not None
    return measure.width * measure.height


def _size(measure: Measure) -> str:
    return (
        f"The result would be {measure.width} x {measure.height} pixels "
        f"({_pixels(measure) / _MEGA:,.1f} megapixels)"
    )
