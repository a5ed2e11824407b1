"""`lens` on pixels: lenses that are known are corrected as Lensfun says, and others left."""

from typing import Any

import cv2
import lensfunpy
import numpy as np
import pytest
from numpy.typing import NDArray

from burnish.engines.photos.lens import Correction, by_hand, by_profile, corrected, database
from burnish.engines.photos.warp import NO_MAP
from burnish.engines.wire import Shot

Pixels = NDArray[Any]

ZOOM = Shot(
    make="Canon", model="Canon EOS 5D Mark III", lens="EF24-105mm f/4L IS USM", focal_mm=24, aperture=4
)
WIDTH, HEIGHT = 480, 320


@pytest.fixture(scope="module")
def lenses() -> Any:
    return database()


def made(picture: Pixels, correction: Correction) -> Pixels:
    out = np.empty_like(picture)
    assert list(corrected(picture, correction, out))[-1] == pytest.approx(1)
    return out


def the_lens(width: int, height: int, flags: int) -> Any:
    """Lensfun's own way from the world to what that zoom makes of it."""
    known = lensfunpy.Database()
    camera = known.find_cameras(ZOOM.make, ZOOM.model)[0]
    lens = known.find_lenses(camera, None, ZOOM.lens)[0]
    modifier = lensfunpy.Modifier(lens, camera.crop_factor, width, height)
    modifier.initialize(24, 4, 1000.0, 1.0, pixel_format=np.float32, flags=flags, reverse=True)
    return modifier


def test_dark_corners_are_as_bright_as_the_middle(lenses: Any) -> None:
    """A gray wall through the lens is a gray wall again, within 2 levels; it differed by over 60."""
    light = np.full((HEIGHT, WIDTH, 3), 0.4**2.2, np.float32)
    assert the_lens(WIDTH, HEIGHT, lensfunpy.ModifyFlags.VIGNETTING).apply_color_modification(light)
    taken = (light ** (1 / 2.2) * 255 + 0.5).astype(np.uint8)
    correction = by_profile(lenses, ZOOM, WIDTH, HEIGHT)
    flat = made(taken, correction).astype(int)
    assert np.ptp(taken.astype(int)) > 40
    assert np.abs(flat - 102).max() <= 2
    assert "24-105mm" in correction.said
    assert "distortion and dark corners" in correction.said


def test_distortion_is_undone(lenses: Any) -> None:
    """Where each pixel is taken from, seen back through the lens, lies on one scale with where it goes to: to a fifth of a pixel."""
    correction = by_profile(lenses, ZOOM, WIDTH, HEIGHT)
    assert correction.places
    taken_from = correction.places(0, HEIGHT)[:, :, 1]
    back = the_lens(WIDTH, HEIGHT, lensfunpy.ModifyFlags.DISTORTION).apply_geometry_distortion()
    world: Any = cv2.remap(back, taken_from, NO_MAP, cv2.INTER_LINEAR)
    middle = np.array([(WIDTH - 1) / 2, (HEIGHT - 1) / 2])
    down, across = np.mgrid[0:HEIGHT, 0:WIDTH]
    goes_to = np.stack([across, down], -1) - middle
    seen = world - middle
    scale = (seen * goes_to).sum() / (goes_to * goes_to).sum()
    assert np.abs(seen - goes_to * scale)[4:-4, 4:-4].max() < 0.2
    assert np.abs(taken_from - middle - goes_to * scale).max() > 3


def test_a_lens_of_other_focal_lengths_is_no_match(lenses: Any) -> None:
    """Lensfun offers an 18-200 mm for this 18-105 mm first; the right one is taken, or none."""
    shot = Shot(
        make="NIKON CORPORATION", model="NIKON D90", lens="18.0-105.0 mm f/3.5-5.6", focal_mm=18, aperture=4
    )
    assert "18-105mm" in by_profile(lenses, shot, WIDTH, HEIGHT).said
    other = Shot(
        make="NIKON CORPORATION", model="NIKON D90", lens="17.0-99.0 mm f/3.5-5.6", focal_mm=18, aperture=4
    )
    assert "No profile" in by_profile(lenses, other, WIDTH, HEIGHT).said


@pytest.mark.parametrize(
    ("shot", "words"),
    [
        (Shot(), "does not say"),
        (Shot(make="Canon", model="Canon EOS 5D Mark III", lens="EF24-105mm f/4L IS USM"), "does not say"),
        (
            Shot(make="Nobody", model="Nothing 1", lens="Glass 50mm", focal_mm=50),
            "No profile is known for Glass 50mm",
        ),
        (Shot(make="Canon", model="Canon EOS 5D Mark III", focal_mm=24), "No profile"),
        (Shot(make="Canon", model="Canon EOS 5D Mark III", lens="\x00\n" * 5_000, focal_mm=24), "No profile"),
        (Shot(make="x" * 9_000, model="%s", lens="f/.. mm", focal_mm=1e9), "No profile"),
    ],
)
def test_what_is_not_known_changes_nothing(lenses: Any, shot: Shot, words: str) -> None:
    """Whatever the file says of itself; and the reason is told."""
    picture = np.random.default_rng(1).integers(0, 256, (HEIGHT, WIDTH, 3)).astype(np.uint8)
    correction = by_profile(lenses, shot, WIDTH, HEIGHT)
    assert words in correction.said
    assert len(correction.said) < 300
    assert np.array_equal(made(picture, correction), picture)


def test_a_camera_with_its_own_lens_needs_no_name(lenses: Any) -> None:
    """Compact cameras say no lens."""
    shot = Shot(make="Canon", model="Canon PowerShot G7 X", focal_mm=8.8, aperture=4)
    assert "G7 X" in by_profile(lenses, shot, WIDTH, HEIGHT).said


def test_given_coefficients_stand_in(lenses: Any) -> None:
    """A barrel by Lensfun's formula becomes straight; corners become as bright as the middle; nothing comes from outside."""
    k1 = -0.08
    correction = by_hand(k1, 0.0, WIDTH, HEIGHT)
    assert correction.places
    places = correction.places(0, HEIGHT)
    assert places.min() >= -0.6
    assert places[..., 0].max() <= WIDTH - 0.4
    middle, half = np.array([(WIDTH - 1) / 2, (HEIGHT - 1) / 2]), HEIGHT / 2
    one, two = (np.hypot(*((places[row, column] - middle) / half)) for row, column in ((160, 440), (10, 20)))
    wanted = [
        np.hypot(*((np.array([column, row]) - middle) / half)) for row, column in ((160, 440), (10, 20))
    ]
    scale = [radius / np.real(min(np.roots([k1, 0, 1 - k1, -radius]), key=abs)) for radius in (one, two)]
    undone = [np.real(min(np.roots([k1, 0, 1 - k1, -radius]), key=abs)) for radius in (one, two)]
    assert undone[0] / wanted[0] == pytest.approx(undone[1] / wanted[1], rel=1e-3)
    assert scale[0] != scale[1]
    down, across = np.mgrid[0:HEIGHT, 0:WIDTH]
    far = ((across - middle[0]) ** 2 + (down - middle[1]) ** 2) / (middle**2).sum()
    dark = (((1 - 0.5 * far) ** (1 / 2.2) * 160)[..., None] + 0.5).astype(np.uint8).repeat(3, 2)
    flat = made(dark, by_hand(0.0, -0.5, WIDTH, HEIGHT))
    assert np.ptp(dark) > 40
    assert np.ptp(flat.astype(int)) <= 3


@pytest.mark.parametrize("channels", [1, 2, 4])
@pytest.mark.parametrize("bits", [8, 16])
def test_gray_alpha_and_16_bits_go_the_same_way(lenses: Any, channels: int, bits: int) -> None:
    """Depth and channels are kept; alpha is moved, not brightened."""
    kind: Any = np.uint8 if bits == 8 else np.uint16
    full = np.iinfo(kind).max
    picture = np.full((HEIGHT, WIDTH, channels), full // 3, kind)
    if channels != 1:
        picture[..., -1] = full
    out = made(picture, by_profile(lenses, ZOOM, WIDTH, HEIGHT))
    assert (out.shape, out.dtype) == (picture.shape, picture.dtype)
    assert out[5, 5, 0] > 1.3 * out[160, 240, 0]
    if channels != 1:
        assert out[..., -1].min() == full
