"""What frames tell of one another: those between, and which of what changes is noise."""

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from burnish.credits.price import Measure
from burnish.engines import catalogue
from burnish.engines.catalogue.video import VideoInterpolate, VideoUpscale
from burnish.engines.motion.between import Between
from burnish.engines.motion.quiet import quiet


def scene(number: float, seed: int = 5) -> NDArray[np.uint8]:
    """A texture that moves 4 pixels a frame to the left."""
    rng = np.random.default_rng(seed)
    wide = cv2.GaussianBlur(rng.uniform(0, 255, (72, 200, 3)), (0, 0), 2.0)
    wide = (wide - wide.min()) / (wide.max() - wide.min()) * 255
    shift = np.array([[1, 0, -4 * number], [0, 1, 0]], np.float32)
    return np.asarray(cv2.warpAffine(wide, shift, (120, 72), flags=cv2.INTER_CUBIC).clip(0, 255), np.uint8)


def psnr(one: NDArray[np.uint8], other: NDArray[np.uint8]) -> float:
    inner = np.s_[8:-8, 12:-12]
    return float(10 * np.log10(255**2 / (np.square(one[inner].astype(float) - other[inner]).mean() + 1e-3)))


def test_a_frame_between_is_nearer_than_a_mixture() -> None:
    """By far more than the 3 dB that are promised."""
    first, truth, second = scene(0), scene(0.5), scene(1)
    mixed = ((first.astype(int) + second) // 2).astype(np.uint8)
    assert psnr(Between(first, second).at(0.5), truth) > psnr(mixed, truth) + 6


def test_the_way_begins_and_ends_at_the_frames() -> None:
    """A part of nothing is the first frame; near the whole way it is nearly the second."""
    between = Between(scene(0), scene(1))
    assert np.array_equal(between.at(0.0), scene(0))
    assert psnr(between.at(0.98), scene(1)) > 30


def test_nothing_is_mixed_across_a_cut() -> None:
    """Before the middle the one scene is shown, after it the other."""
    first, second = scene(0), 255 - scene(0, seed=6)
    between = Between(first, second)
    assert between.is_cut
    assert np.array_equal(between.at(0.4), first)
    assert np.array_equal(between.at(0.6), second)


@pytest.mark.parametrize("kind", ["uint8", "uint16"])
def test_noise_goes_and_what_moves_stays(kind: str) -> None:
    """Half the noise at least, in a scene that moves; 16 bits as well as 8."""
    unit = 1 if kind == "uint8" else 257
    rng = np.random.default_rng(1)
    clean = [scene(n) for n in range(5)]
    noisy = np.stack([np.clip(f + rng.normal(0, 6, f.shape), 0, 255) * unit for f in clean]).astype(kind)
    made = quiet(noisy, 2, 2)
    assert made.dtype == kind
    before = psnr(np.asarray(noisy[2] / unit, np.uint8), clean[2])
    assert psnr(np.asarray(made / unit, np.uint8), clean[2]) > before + 6


def test_a_film_is_priced_by_what_is_made() -> None:
    """The result's size, and the rate that was asked for."""
    upscale, interpolate = (catalogue.find_model(name) for name in ("video-upscale", "video-interpolate"))
    assert upscale
    assert interpolate
    made = catalogue.output_measure(upscale, VideoUpscale(video="u", scale=4), 101, 50, 2.5, 30.0)
    assert made == Measure(404, 200, 2.5, 30.0)
    made = catalogue.output_measure(
        interpolate, VideoInterpolate(video="u", frame_rate=120), 100, 50, 2.5, 30.0
    )
    assert made == Measure(100, 50, 2.5, 120.0)
    refused = catalogue.output_refusal(upscale, VideoUpscale(video="u", scale=4), 2000, 1200)
    assert refused is not None
    assert refused[0] == "output_too_large"
