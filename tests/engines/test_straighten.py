"""`straighten` on pixels: what is askew comes out upright, what is straight or says nothing is left."""

from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from skimage import data

from burnish.engines.photos.straighten import Tilt, straighten, tilt_of, turned
from burnish.engines.photos.straighten import seen as seen_through
from burnish.engines.photos.warp import inside
from engines.facade import FOCAL_35MM, facade, seen

Pixels = NDArray[Any]


@pytest.fixture(scope="module")
def house() -> Pixels:
    return facade()


def tilt(picture: Pixels, most: float = 12.0) -> Tilt:
    return tilt_of(picture, max_degrees=most, focal_35mm=FOCAL_35MM)


@pytest.mark.parametrize("roll", [-8, -2.5, 0, 1, 8])
@pytest.mark.parametrize("pitch", [-10, -4, 0, 1, 10])
def test_roll_and_tilt_are_found(house: Pixels, roll: float, pitch: float) -> None:
    """Within a tenth of a degree, of a camera whose focal length is known."""
    found = tilt(seen(house, roll, pitch))
    assert found.roll == pytest.approx(roll, abs=0.1)
    assert found.pitch == pytest.approx(pitch, abs=0.1)


@pytest.mark.parametrize(("roll", "pitch"), [(-8, 10), (5, -8), (3, 0), (0, 6)])
def test_what_was_askew_is_upright(house: Pixels, roll: float, pitch: float) -> None:
    """Less than 0.3 degrees are left in the result, whoever knows the focal length."""
    askew = seen(house, roll, pitch)
    for focal in (FOCAL_35MM, None):
        left = tilt(straighten(askew, focal_35mm=focal))
        assert max(abs(left.roll), abs(left.pitch)) < 0.3


def test_what_is_straight_is_not_touched(house: Pixels) -> None:
    """Not one pixel, and it says so."""
    straight = seen(house, 0, 0)
    assert np.array_equal(straighten(straight), straight)
    assert "straight" in tilt(straight).said


@pytest.mark.parametrize("name", ["astronaut", "coffee", "chelsea", "rocket", "camera", "moon"])
def test_what_says_nothing_is_not_touched(name: str) -> None:
    """People, animals, things and towers without enough that is upright stay as they are."""
    picture = np.ascontiguousarray(getattr(data, name)())
    picture = picture.reshape(*picture.shape[:2], -1)
    assert np.array_equal(straighten(picture), picture)


def test_noise_says_nothing() -> None:
    """Lines that noise and textures happen to have are no evidence."""
    rng = np.random.default_rng(2)
    for scale in (0, 1.5, 4):
        noise = rng.normal(128, 60, (500, 700)).astype(np.float32)
        smooth: Any = cv2.GaussianBlur(noise, (0, 0), scale) if scale else noise
        assert tilt(np.clip(smooth, 0, 255).astype(np.uint8)[..., None]).by == "nothing"


@pytest.mark.parametrize("roll", [-6.0, -1.0, 4.0])
def test_a_horizon_is_levelled(roll: float) -> None:
    """The sea has no verticals."""
    sea: Any = np.full((480, 720, 3), (110, 120, 135), np.float32)
    sea[:240] = (200, 190, 170)
    sea += np.random.default_rng(1).normal(0, 4, sea.shape)
    turned_: Any = cv2.warpAffine(
        sea, cv2.getRotationMatrix2D((359.5, 239.5), roll, 1), (720, 480), borderMode=cv2.BORDER_REPLICATE
    )
    found = tilt(np.clip(turned_, 0, 255).astype(np.uint8))
    assert found.by == "horizon"
    assert found.roll == pytest.approx(roll, abs=0.1)


def test_beyond_the_most_nothing_is_done(house: Pixels) -> None:
    """A camera that was held on purpose like that."""
    askew = seen(house, 0, 9)
    assert np.array_equal(straighten(askew, max_degrees=5), askew)
    assert "max_degrees" in tilt(askew, 5).said


def test_crop_has_the_pictures_shape_and_nothing_from_outside(house: Pixels) -> None:
    """The same proportions, no larger than it was; seen back in the picture it lies within."""
    for held in (Tilt(7, 9, "verticals"), Tilt(-3, 0, "horizon"), Tilt(0, -10, "verticals")):
        homography, width, height = turned(900, 640, held, "crop", FOCAL_35MM)
        assert width / height == pytest.approx(900 / 640, rel=0.01)
        assert 400 < width <= 900
        corners = np.array([[[0, 0], [width - 1, 0], [width - 1, height - 1], [0, height - 1.0]]])
        back = cv2.perspectiveTransform(corners, np.linalg.inv(homography))[0]
        assert back.min() >= -0.6
        assert (back <= [899.6, 639.6]).all()


def test_extend_keeps_the_size(house: Pixels) -> None:
    """What is missing is mirrored, not black."""
    made = straighten(seen(house, 6, 0), fill="extend")
    assert made.shape == (640, 900, 3)
    assert made.min(axis=2)[:5, :5].min() > 20


def test_the_largest_rectangle_inside() -> None:
    """Against a search, on quadrangles of all kinds."""
    rng = np.random.default_rng(4)
    for _ in range(20):
        corners = np.array([[0, 0], [100, 0], [100, 60], [0, 60]]) + rng.uniform(-12, 12, (4, 2))
        x, y, part = inside(corners, 100, 60)
        outline = corners.astype(np.float32)

        def fits(at: tuple[float, float], part: float, outline: Any = outline) -> bool:
            points = [(at[0] + dx * 50 * part, at[1] + dy * 30 * part) for dx in (-1, 1) for dy in (-1, 1)]
            return all(cv2.pointPolygonTest(outline, point, True) >= -1e-3 for point in points)

        assert fits((x, y), part)
        tries = [(x + dx, y + dy) for dx in np.linspace(-8, 8, 9) for dy in np.linspace(-8, 8, 9)]
        assert not any(fits(at, part + 0.01) for at in tries)


@pytest.mark.parametrize("channels", [1, 2, 4])
def test_16_bits_gray_and_alpha_go_the_same_way(house: Pixels, channels: int) -> None:
    """The same turn as in colour of 8 bits; clear parts give no colour to their edges."""
    askew = seen(house, 4, 3).astype(np.uint16) * 257
    picture = askew[..., :1] if channels <= 2 else askew
    if channels == 1:
        made = straighten(picture, focal_35mm=FOCAL_35MM)
        assert tilt(made).roll == pytest.approx(0, abs=0.2)
        return
    alpha = np.full((*askew.shape[:2], 1), 65_535, np.uint16)
    alpha[:, :300] = 0
    held = Tilt(4, 3, "verticals")
    homography, width, height = turned(900, 640, held, "crop")
    light, dark = (np.empty((height, width, channels), np.uint16) for _ in range(2))
    for made, hidden in ((light, 65_535), (dark, 0)):
        whole = np.concatenate([np.where(alpha > 0, picture, hidden).astype(np.uint16), alpha], axis=2)
        assert list(seen_through(whole, homography, made))[-1] == 1
    assert set(np.unique(light[..., -1])) >= {0, 65_535}
    shown = light[..., -1] > 0
    assert np.array_equal(light[shown], dark[shown])


@pytest.mark.parametrize("shape", [(1, 1, 3), (10, 600, 3), (1, 40_000, 1), (40_000, 1, 4)])
def test_every_shape_goes_through(shape: tuple[int, int, int]) -> None:
    """Too small or too long to tell anything: left."""
    picture = np.zeros(shape, np.uint8)
    assert straighten(picture).shape == shape
