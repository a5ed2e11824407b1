"""What things cost: every figure of the shipped table, both sides of every boundary, and what always holds."""

from typing import Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from burnish.credits.price import (
    Flat,
    Line,
    Measure,
    Rule,
    bounds,
    measured,
    price,
)
from burnish.credits.prices import load_prices
from burnish.errors import Failed

PRICES: Final = load_prices()

#: Rule -> megapixels that the tiers end at, and the credits of each, as HitPaw's table has them.
TIERS: Final = {
    "photo-standard": ((8, 12, 24, 48, 108, 216), (10, 20, 30, 70, 140, 240, 480)),
    "photo-generative-portrait": ((8, 12, 24, 34), (20, 30, 40, 60)),
    "photo-generative-enhance": ((8, 12, 24, 34), (50, 60, 80, 150)),
}
#: Rule -> resolution -> credits a second: up to 30, 60, below 120, and 120 frames a second.
TABLES: Final = {
    "video-standard": {
        "HD": (10, 20, 40, 60),
        "FHD": (15, 30, 60, 90),
        "2K": (20, 39, 78, 117),
        "4K": (25, 51, 101, 152),
        "8K": (33, 66, 132, 198),
    },
    "video-ultra-hd": {
        "HD": (15, 31, 62, 92),
        "FHD": (20, 40, 80, 120),
        "2K": (26, 52, 104, 156),
        "4K": (34, 68, 135, 203),
        "8K": (44, 88, 176, 264),
    },
    "video-generative": {
        "HD": (15, 30, 60, 90),
        "FHD": (25, 50, 100, 150),
        "2K": (38, 75, 150, 225),
        "4K": (56, 113, 225, 338),
    },
    "video-frame-interpolation": {
        "HD": (15, 30, 60, 90),
        "FHD": (20, 39, 78, 117),
        "2K": (25, 51, 101, 152),
        "4K": (33, 66, 132, 198),
        "8K": (33, 66, 132, 198),
    },
}
LARGEST: Final = {"HD": (1280, 720), "FHD": (1920, 1080), "2K": (2560, 1440), "4K": (3840, 2160)}
#: Both ends of every band of frame rates.
RATES: Final = ((1.0, 30.0), (30.01, 60.0), (60.01, 119.99), (120.0, 120.0))


def cost(name: str, pixels: int) -> int:
    """Of one image with so many pixels."""
    return price(PRICES.rules[name], Measure(width=pixels, height=1)).credits


def per_second(name: str, size: tuple[int, int], rate: float) -> int:
    """Of one second of video."""
    width, height = size
    measure = Measure(width=width, height=height, seconds=1, frames_per_second=rate)
    return price(PRICES.rules[name], measure).credits


def tiers_of_the_table() -> list[tuple[str, int, int]]:
    """Rule, pixels, credits: the smallest and the largest image of every tier; the last figure belongs to its tier."""
    cells = []
    for name, (ends, all_due) in TIERS.items():
        starts = [1, *(end * 1_000_000 for end in ends[:-1])]
        stops = [*(start - 1 for start in starts[1:]), ends[-1] * 1_000_000]
        if len(all_due) > len(ends):
            starts, stops = [*starts, stops[-1] + 1], [*stops, 432_000_000]
        for start, stop, due in zip(starts, stops, all_due, strict=True):
            cells += [(name, start, due), (name, stop, due)]
    return cells


@pytest.mark.parametrize(("name", "pixels", "due"), tiers_of_the_table())
def test_every_tier_costs_what_the_table_says(name: str, pixels: int, due: int) -> None:
    """From its first pixel to its last: exactly 8 megapixels lie in the second tier, 216 still below the last."""
    assert cost(name, pixels) == due


@pytest.mark.parametrize(
    ("name", "due"), [("segmentation", 20), ("moderation", 5), ("rendering", 0), ("grouping", 0), ("noop", 1)]
)
def test_a_flat_price_is_one_task(name: str, due: int) -> None:
    """The same whether anything is known of the output or not."""
    rule = PRICES.rules[name]
    seen = Measure(width=20_000, height=20_000, count=4)
    assert rule == Flat(due)
    for measure in (Measure(), seen):
        priced = price(rule, measure)
        assert (priced.credits, priced.unit, priced.quantity) == (due, "task", 1)


def cells_of_the_tables() -> list[tuple[str, str, int, int]]:
    """Rule, resolution, place of the frame rate, credits."""
    return [
        (name, resolution, band, due)
        for name, rows in TABLES.items()
        for resolution, row in rows.items()
        for band, due in enumerate(row)
    ]


@pytest.mark.parametrize(("name", "resolution", "band", "due"), cells_of_the_tables())
def test_every_cell_of_video_costs_what_the_table_says(
    name: str, resolution: str, band: int, due: int
) -> None:
    """At both ends of the frame rates, for the largest video of the class and the smallest, lying and standing."""
    resolutions = [*LARGEST, "8K"]
    place = resolutions.index(resolution)
    width, height = LARGEST.get(resolution, (7680, 4320))
    smallest = (1, 1)
    if place:
        before = LARGEST[resolutions[place - 1]]
        smallest = (before[0] * before[1] + 1, 1)
    for rate in RATES[band]:
        for size in ((width, height), (height, width), smallest):
            assert per_second(name, size, rate) == due


def test_the_shipped_table_has_these_rules_and_no_others() -> None:
    """Whatever is sold stands in the tests too."""
    assert set(PRICES.rules) == {
        *TIERS, *TABLES, "segmentation", "moderation", "rendering", "grouping", "noop",
    }  # fmt: skip
    assert PRICES.version == 1


@pytest.mark.parametrize(
    ("rate", "due"),
    [
        *((23.976, 10), (29.97, 10), (30.0003, 10), (30.01, 20), (59.94, 20), (60.004, 20)),
        *((60.01, 40), (119.88, 40), (119.997, 60), (120.0, 60), (120.004, 60)),
    ],
)
def test_a_measured_frame_rate_is_taken_to_the_hundredth(rate: float, due: int) -> None:
    """An average that is off by a rounding error does not change the band."""
    assert per_second("video-standard", (1280, 720), rate) == due


@pytest.mark.parametrize(
    ("seconds", "quantity"),
    [(0.0, 1), (0.5, 1), (1.0, 1), (1.0001, 1), (1.01, 2), (59.5, 60), (3600.0, 3600), (0.1 + 0.2 + 0.7, 1)],
)
def test_every_second_that_was_begun_counts(seconds: float, quantity: int) -> None:
    """At least one; an error in the last digits of a sum begins none."""
    measure = Measure(width=1920, height=1080, seconds=seconds, frames_per_second=30)
    priced = price(PRICES.rules["video-standard"], measure)
    assert (priced.credits, priced.unit, priced.quantity) == (15 * quantity, "second", quantity)


def test_the_breakdown_says_what_was_counted() -> None:
    """In words that a bill can show."""
    video = Measure(width=1080, height=1920, seconds=9.2, frames_per_second=59.94)
    image = Measure(width=4000, height=2000)
    assert price(PRICES.rules["video-standard"], video).breakdown == (
        Line("FHD, 30 to 60 frames a second", quantity=10, each=30, credits=300),
    )
    assert price(PRICES.rules["photo-standard"], image).breakdown == (
        Line("8 to 12 megapixels", quantity=1, each=20, credits=20),
    )
    assert price(PRICES.rules["segmentation"], image).breakdown == (
        Line("task", quantity=1, each=20, credits=20),
    )
    for pixels, words in ((1, "below 8 megapixels"), (300_000_000, "above 216 megapixels")):
        (line,) = price(PRICES.rules["photo-standard"], Measure(width=pixels, height=1)).breakdown
        assert line.what == words


def test_images_are_counted() -> None:
    """Three of a size cost three times as much as one."""
    priced = price(PRICES.rules["photo-standard"], Measure(width=4000, height=2000, count=3))
    assert (priced.credits, priced.unit, priced.quantity) == (60, "image", 3)
    assert bounds(PRICES.rules["photo-standard"], count=3) == (30, 1440)


@pytest.mark.parametrize(
    ("name", "measure", "words"),
    [
        (
            "photo-generative-portrait",
            Measure(width=34_000_001, height=1),
            "34000001 x 1 pixels (34.0 megapixels); at most 34 megapixels",
        ),
        (
            "photo-generative-enhance",
            Measure(width=8000, height=6000),
            "8000 x 6000 pixels (48.0 megapixels); at most 34 megapixels",
        ),
        (
            "video-generative",
            Measure(width=7680, height=4320, seconds=1, frames_per_second=30),
            "7680 x 4320 pixels (33.2 megapixels); at most 8.3 megapixels (4K)",
        ),
        (
            "video-standard",
            Measure(width=1280, height=720, seconds=1, frames_per_second=120.01),
            "120.01 frames a second; at most 120",
        ),
    ],
)
def test_what_has_no_price_is_too_large(name: str, measure: Measure, words: str) -> None:
    """The task fails for its size, and the message says the size and the limit."""
    with pytest.raises(Failed) as failed:
        price(PRICES.rules[name], measure)
    assert failed.value.reason == "output_too_large"
    assert words in failed.value.message


@pytest.mark.parametrize(
    ("name", "lowest", "highest"),
    [
        *(("noop", 1, 1), ("segmentation", 20, 20), ("photo-standard", 10, 480)),
        *(
            ("photo-generative-enhance", 50, 150),
            ("video-standard", 10, None),
            ("video-generative", 15, None),
        ),
    ],
)
def test_unseen_bytes_cost_between_bounds(name: str, lowest: int, highest: int | None) -> None:
    """A quote on bytes that nobody has seen has a lowest and, but for video, a highest price."""
    assert bounds(PRICES.rules[name]) == (lowest, highest)


def test_a_price_is_known_when_what_it_counts_is() -> None:
    """Flat prices at once, images with their size, video with its size, length and frame rate."""
    unseen, sized = Measure(), Measure(width=10, height=10)
    video = Measure(width=10, height=10, seconds=1, frames_per_second=30)
    for name, known in (("noop", 3), ("photo-standard", 2), ("video-standard", 1)):
        rule = PRICES.rules[name]
        assert [measured(rule, measure) for measure in (unseen, sized, video)] == [known > 2, known > 1, True]
    assert not measured(PRICES.rules["photo-standard"], Measure(width=10, height=10, count=None))


rules = st.sampled_from(list(PRICES.rules.values()))
sides = st.integers(1, 30_000)
measures = st.builds(
    Measure,
    width=sides,
    height=sides,
    seconds=st.floats(0, 3600),
    frames_per_second=st.floats(0.1, 120),
    count=st.just(1),
)


def credits_or_none(rule: Rule, measure: Measure) -> int | None:
    try:
        return price(rule, measure).credits
    except Failed as failed:
        if failed.reason != "output_too_large":
            raise
        return None


@given(rule=rules, measure=measures)
def test_a_price_is_whole_positive_and_inside_the_bounds(rule: Rule, measure: Measure) -> None:
    """Whatever is made: whole credits, the sum of the breakdown, and what the quote promised."""
    if credits_or_none(rule, measure) is None:
        return
    priced = price(rule, measure)
    lowest, highest = bounds(rule)
    assert type(priced.credits) is int
    assert priced.credits == sum(line.credits for line in priced.breakdown)
    assert priced.credits > 0 or rule == Flat(credits=0)  # what is free says so
    assert all(line.quantity * line.each == line.credits for line in priced.breakdown)
    assert lowest <= priced.credits
    assert highest is None or priced.credits <= highest


@given(
    rule=rules,
    smaller=measures,
    wider=st.integers(0, 30_000),
    longer=st.floats(0, 3600),
    faster=st.floats(0, 60),
)
def test_more_never_costs_less(
    rule: Rule, smaller: Measure, wider: int, longer: float, faster: float
) -> None:
    """Prices rise with megapixels, seconds and frame rate; above what has a price, nothing has one."""
    assert smaller.width is not None
    assert smaller.seconds is not None
    assert smaller.frames_per_second is not None
    larger = Measure(
        width=smaller.width + wider,
        height=smaller.height,
        seconds=smaller.seconds + longer,
        frames_per_second=min(120, smaller.frames_per_second + faster),
    )
    less, more = credits_or_none(rule, smaller), credits_or_none(rule, larger)
    if less is None:
        assert more is None
    elif more is not None:
        assert less <= more


@given(rule=rules, measure=measures)
def test_turning_it_changes_nothing(rule: Rule, measure: Measure) -> None:
    """Standing costs what lying does."""
    turned = Measure(measure.height, measure.width, measure.seconds, measure.frames_per_second)
    assert credits_or_none(rule, measure) == credits_or_none(rule, turned)
