"""`enhance` on pixels: what is dull is mended, what is good is left, and nothing is clipped, tinted or haloed."""

from itertools import combinations
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from skimage import data
from skimage.color import deltaE_ciede2000, rgb2lab

from burnish.engines.photos import balance, tone
from burnish.engines.photos.enhance import enhance, plan
from burnish.engines.photos.look import LOOKS, look_of
from burnish.engines.photos.reduced import reduced

Pixels = NDArray[Any]

STYLES = sorted(LOOKS)
#: Photos that are well exposed.
GOOD = ("astronaut", "coffee", "chelsea")


@pytest.fixture(scope="module")
def photos() -> dict[str, Pixels]:
    return {name: np.ascontiguousarray(getattr(data, name)()) for name in GOOD}


def difference(one: Pixels, other: Pixels) -> float:
    """Mean CIEDE2000."""
    return float(deltaE_ciede2000(rgb2lab(one[::2, ::2]), rgb2lab(other[::2, ::2])).mean())


def in_light(picture: Pixels, factor: float) -> Pixels:
    """As if exposed `factor` times as long."""
    unit: Pixels = picture / 255
    light = np.where(unit <= 0.04045, unit / 12.92, ((unit + 0.055) / 1.055) ** 2.4) * factor
    light = np.clip(light, 0, 1)
    encoded: Pixels = np.where(light <= 0.0031308, light * 12.92, 1.055 * light ** (1 / 2.4) - 0.055)
    whole: Pixels = (encoded * 255 + 0.5).astype(np.uint8)
    return whole


@pytest.mark.parametrize("style", ["neutral", "authentic"])
@pytest.mark.parametrize("name", GOOD)
def test_a_good_photo_is_left_alone(photos: dict[str, Pixels], name: str, style: Any) -> None:
    """Well exposed pictures change by less than 3, as CIEDE2000 on average."""
    assert difference(photos[name], enhance(photos[name], style)) < 3


@pytest.mark.parametrize("style", STYLES)
def test_nothing_is_clipped_that_was_not(photos: dict[str, Pixels], style: Any) -> None:
    """A sample is 0 or full only where it was before, in every style, at twice its strength, of 8 and of 16 bits."""
    for picture in (
        photos["coffee"],
        in_light(photos["astronaut"], 0.2),
        photos["chelsea"].astype(np.uint16) * 257,
    ):
        made, full = enhance(picture, style, 2.0), np.iinfo(picture.dtype).max
        assert not np.any((made == 0) & (picture != 0))
        assert not np.any((made == full) & (picture != full))


@pytest.mark.parametrize("name", ["astronaut", "coffee"])
@pytest.mark.parametrize(
    "spoil",
    [lambda p: in_light(p, 0.25), lambda p: in_light(p, 0.125), lambda p: (p * 0.55 + 55).astype(np.uint8)],
    ids=["two stops under", "three stops under", "dull"],
)
def test_what_is_dull_comes_nearer_to_the_original(photos: dict[str, Pixels], name: str, spoil: Any) -> None:
    """Underexposed and hazy photos come back by more than half the way."""
    spoilt = spoil(photos[name])
    assert difference(photos[name], enhance(spoilt)) < difference(photos[name], spoilt) / 2


def test_a_cast_is_taken_out(photos: dict[str, Pixels]) -> None:
    """A photo in lamplight comes nearer to the original by more than half."""
    spoilt = np.clip(photos["astronaut"] * np.array([1.12, 1, 0.85]), 0, 255).astype(np.uint8)
    assert difference(photos["astronaut"], enhance(spoilt)) < difference(photos["astronaut"], spoilt) / 2


def test_an_orange_cat_is_no_cast(photos: dict[str, Pixels]) -> None:
    """What happens to be coloured stays coloured."""
    assert np.abs(balance.cast(reduced(photos["chelsea"], 1 << 16))).max() < 0.02


@pytest.mark.parametrize("style", STYLES)
def test_gray_stays_gray(style: Any) -> None:
    """A gray picture, dull and dark, in three colours, gets no colour in any style, and the same grays as with one channel."""
    ramp = np.linspace(20, 120, 160)[None] + np.linspace(0, 30, 120)[:, None]
    gray = np.repeat(ramp.astype(np.uint8)[..., None], 3, axis=2)
    made = enhance(gray, style)
    assert np.abs(np.ptp(made.astype(int), axis=2)).max() <= 1
    assert np.abs(made[..., :1].astype(int) - enhance(gray[..., :1].copy(), style)).max() <= 1
    assert made.max() > gray.max() + 40


@pytest.mark.parametrize("style", STYLES)
def test_edges_have_no_halo(style: Any) -> None:
    """Along a line over a sharp edge, brightness goes one way, but for 2 levels."""
    step = np.full((160, 240, 3), 70, np.uint8)
    step[:, 120:] = 185
    made = enhance(step, style)[80, :, 1].astype(int)
    assert np.diff(made).min() >= -2
    assert made[121:].max() - made[-1] <= 2
    assert made[0] - made[:119].min() <= 2


def test_skin_keeps_its_hue(photos: dict[str, Pixels]) -> None:
    """A face, underexposed, is brighter after, and its hue within 4 degrees of the original in every style but the tinted."""
    face = (slice(80, 180), slice(180, 270))
    original = rgb2lab(photos["astronaut"][face]).mean((0, 1))
    for style in ("neutral", "authentic", "property"):
        made = rgb2lab(enhance(in_light(photos["astronaut"], 0.25), style)[face]).mean((0, 1))
        hues = [np.degrees(np.arctan2(colour[2], colour[1])) for colour in (made, original)]
        assert abs(hues[0] - hues[1]) < 4


def test_alpha_is_kept_and_what_is_hidden_does_not_count(photos: dict[str, Pixels]) -> None:
    """A clear part, whatever colour it hides, changes nothing of the rest."""
    picture = in_light(photos["coffee"], 0.25)
    alpha = np.full((*picture.shape[:2], 1), 255, np.uint8)
    alpha[:, :200] = 0
    hidden = picture.copy()
    hidden[:, :200] = 255
    one, other = (enhance(np.concatenate([colours, alpha], 2)) for colours in (picture, hidden))
    assert np.array_equal(one[..., 3:], alpha)
    assert np.abs(one[:, 250:].astype(int) - other[:, 250:]).max() <= 3


def test_16_bits_are_as_8_but_finer(photos: dict[str, Pixels]) -> None:
    """The same picture of both depths comes out alike, and the deeper one with more levels."""
    picture = in_light(photos["coffee"], 0.25)
    deep = enhance(picture.astype(np.uint16) * 257)
    assert np.abs(deep / 257 - enhance(picture)).max() <= 1.01
    smooth = np.linspace(4_000, 24_000, 512).astype(np.uint16)[None, :, None].repeat(64, 0)
    assert len(np.unique(enhance(smooth))) > 500
    assert np.diff(enhance(smooth)[32, :, 0].astype(int)).min() > 0


def test_a_panorama_has_no_seam(photos: dict[str, Pixels]) -> None:
    """Turned by a third and enhanced, it is what it is when enhanced and then turned; without being told it is not."""
    picture = in_light(photos["astronaut"][100:356], 0.25)
    turn = 171
    made = enhance(picture, "property_usa", 2.0, panorama=True).astype(int)
    turned = enhance(np.roll(picture, turn, 1), "property_usa", 2.0, panorama=True).astype(int)
    assert np.abs(np.roll(made, turn, 1) - turned).max() <= 1
    plain = enhance(np.roll(picture, turn, 1), "property_usa", 2.0).astype(int)
    assert np.abs(np.roll(enhance(picture, "property_usa", 2.0).astype(int), turn, 1) - plain).max() > 3


def test_strength_0_changes_nothing_and_more_changes_more(photos: dict[str, Pixels]) -> None:
    """How far it goes rises with what is asked for."""
    picture = in_light(photos["coffee"], 0.3)
    assert np.array_equal(enhance(picture, "property", 0.0), picture)
    steps = [difference(picture, enhance(picture, "property", strength)) for strength in (0.25, 0.5, 1.0)]
    assert steps == sorted(steps)
    assert steps[0] > 0.5


def test_styles_differ(photos: dict[str, Pixels]) -> None:
    """Each style is another picture, and warm and modern differ in what they are named for."""
    made = {style: enhance(photos["coffee"], style) for style in LOOKS}
    for one, other in combinations(set(made) - {"authentic"}, 2):
        assert difference(made[one], made[other]) > 1
    warm, cool = (made[style].astype(float).mean((0, 1)) for style in ("warm", "modern"))
    assert warm[0] / warm[2] > 1.1 * cool[0] / cool[2]


@pytest.mark.parametrize("shape", [(1, 1), (1, 3000), (2500, 1), (3, 2), (17, 40)])
@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_every_shape_goes_through(shape: tuple[int, int], channels: int) -> None:
    """However small or narrow, with and without colour and alpha, as a panorama too."""
    picture = np.random.default_rng(3).integers(0, 90, (*shape, channels)).astype(np.uint8)
    for panorama in (False, True):
        assert enhance(picture, "property", panorama=panorama).shape == picture.shape


def test_a_plain_surface_is_left() -> None:
    """Where there is nothing to be told from, nothing is done."""
    for level in (0, 20, 128, 240, 255):
        picture = np.full((50, 60, 3), level, np.uint8)
        assert np.array_equal(enhance(picture), picture)


def test_every_curve_rises_and_keeps_its_ends() -> None:
    """Whatever is needed, brighter stays brighter, black stays black and white white."""
    values = np.linspace(0, 1, 2000)
    rng = np.random.default_rng(5)
    for _ in range(60):
        luma = np.clip(rng.normal(rng.uniform(0.1, 0.9), rng.uniform(0.02, 0.3), (40, 40)), 0, 1).astype(
            np.float32
        )
        for style in LOOKS:
            needed = tone.tone_of(luma, np.ones_like(luma), look_of(style, 2.0))
            bent = tone.curve(needed, tone.without_haze(values, needed.haze))
            assert np.diff(bent).min() >= 0
            assert (bent[0], round(bent[-1], 9)) == (0, 1)


def test_it_says_what_it_did(photos: dict[str, Pixels]) -> None:
    """In words, also when that is nothing."""
    assert "Exposure" in plan(in_light(photos["coffee"], 0.2), "neutral", 1.0).said
    assert "as it was" in plan(photos["coffee"], "neutral", 1.0).said
