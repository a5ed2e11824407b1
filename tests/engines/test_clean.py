"""`denoise` and `sharpen`: less noise, clearer edges, and nothing else."""

from typing import Any, Protocol

import msgspec
import numpy as np
import pytest
from numpy.typing import NDArray
from skimage import data
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from burnish.engines.networks.device import Device
from burnish.engines.photos import noise, sharpen
from burnish.engines.runners import denoise as denoise_runner
from burnish.engines.runners import sharpen as sharpen_runner
from burnish.engines.wire import Picture, Shot
from burnish.engines.work import Runner, Work

Pixels = NDArray[Any]


class Run(Protocol):
    def __call__(self, pixels: Pixels, **wanted: object) -> tuple[Pixels, dict[str, str]]: ...


def runs(runner: Runner) -> Run:
    def run(pixels: Pixels, **wanted: object) -> tuple[Pixels, dict[str, str]]:
        made = np.zeros_like(pixels)
        params = msgspec.msgpack.encode({"image": "upload", **wanted})
        work = Work(params, (pixels,), (Shot(),), (made,))
        done = list(runner.run(work))
        assert done == sorted(done)
        assert done[-1] == 1.0
        height, width, channels = pixels.shape
        picture = Picture(width, height, channels, pixels.dtype.itemsize * 8)  # type: ignore[arg-type]
        assert runner.memory_bytes(params, [picture]) > 0
        return made, work.notes

    return run


@pytest.fixture(scope="module")
def denoised() -> Run:
    return runs(denoise_runner.load(Device(2, "auto")))


@pytest.fixture(scope="module")
def sharpened() -> Run:
    return runs(sharpen_runner.load(Device(2, "auto")))


def noisy(pixels: Pixels, sigma: float) -> Pixels:
    rng = np.random.default_rng(11)
    values = np.rint(pixels + rng.normal(0, sigma, pixels.shape))
    return np.clip(values, 0, 255).astype(np.uint8)


def likeness(one: Pixels, other: Pixels) -> tuple[float, float]:
    """PSNR in dB, and SSIM."""
    ssim = structural_similarity(one, other, channel_axis=2)
    return float(peak_signal_noise_ratio(one, other)), float(ssim)


@pytest.fixture(scope="module")
def coffee() -> Pixels:
    photo: Pixels = data.coffee()
    return photo[120:300, 200:420]


@pytest.mark.parametrize("sigma", [5, 10, 20])
@pytest.mark.parametrize("name", ["astronaut", "coffee", "chelsea", "camera", "gravel", "moon"])
def test_noise_is_measured(name: str, sigma: int) -> None:
    """Within a third, or where texture hides it less."""
    picture = np.asarray(getattr(data, name)()).reshape(*getattr(data, name)().shape[:2], -1)
    found = noise.estimated(noisy(picture, sigma))
    assert found < 1.33 * sigma
    assert found > 0.67 * sigma or name == "gravel"
    assert noise.estimated(noisy(picture, sigma).astype(np.uint16) * 257) == pytest.approx(found, rel=0.01)


@pytest.mark.parametrize(
    "name",
    [
        "astronaut",
        "camera",
        "chelsea",
        "coffee",
        "rocket",
        "brick",
        "grass",
        "gravel",
        "cell",
        "coins",
        "moon",
        "page",
        "retina",
        "text",
    ],
)
def test_clean_photos_are_found_clean(name: str) -> None:
    """Texture is not taken for noise: not grass, nor gravel, nor letters."""
    picture = np.asarray(getattr(data, name)())
    assert noise.estimated(picture.reshape(*picture.shape[:2], -1)) < denoise_runner.CLEAN


def test_a_clean_picture_stays_as_it_is(denoised: Run, coffee: Pixels) -> None:
    """Every pixel, and the notes say so; with a strength it is cleaned all the same."""
    made, notes = denoised(coffee)
    assert (made == coffee).all()
    assert "clean" in notes["noise"]
    made, notes = denoised(coffee, strength="low")
    assert (made != coffee).any()
    assert notes == {}


@pytest.mark.parametrize(("sigma", "gained"), [(5, 2.5), (10, 4.5), (20, 6.0), (30, 6.5)])
def test_noise_is_taken_out(denoised: Run, coffee: Pixels, sigma: int, gained: float) -> None:
    """So many dB nearer to what was there, by as much as the picture is noisy."""
    before, after = noisy(coffee, sigma), denoised(noisy(coffee, sigma))[0]
    was, became = likeness(coffee, before), likeness(coffee, after)
    assert became[0] > was[0] + gained
    assert became[1] > was[1] + 0.05


def test_strengths_take_more_and_more(denoised: Run, coffee: Pixels) -> None:
    """Each leaves less grain than the one before."""
    grain = [noise.estimated(denoised(noisy(coffee, 20), strength=s)[0]) for s in ("low", "medium", "high")]
    assert grain == sorted(grain, reverse=True)
    assert grain[-1] < 2


@pytest.mark.parametrize("kind", ["gray", "alpha", "16"])
@pytest.mark.parametrize("sigma", [5, 15])
def test_gray_alpha_and_16_bits_come_out_as_they_went_in(
    denoised: Run, sharpened: Run, coffee: Pixels, kind: str, sigma: int
) -> None:
    """Transparency is not touched; 16 bits have more than 256 levels."""
    noised = noisy(coffee, sigma)
    ramp = np.arange(coffee.shape[0] * coffee.shape[1]).reshape(*coffee.shape[:2], 1)
    pixels = {
        "gray": noised[..., :1],
        "alpha": np.dstack([noised, (ramp % 251).astype(np.uint8)]),
        "16": noised.astype(np.uint16) * 257 + (ramp % 200).astype(np.uint16),
    }[kind]
    for run in (denoised, sharpened):
        made, _ = run(pixels)
        assert made.shape == pixels.shape
        unit = 257 if kind == "16" else 1
        assert np.abs(made.astype(float) - pixels).mean() < 1.3 * max(sigma, 8) * unit
        if kind == "alpha":
            assert (made[..., 3] == pixels[..., 3]).all()
        if kind == "16":
            assert len(np.unique(made[..., 0])) > 500


def test_strips_leave_no_seam(coffee: Pixels, monkeypatch: pytest.MonkeyPatch) -> None:
    """In strips or whole, the filter and the mask make the same."""
    pixels = noisy(coffee, 10)

    def both() -> list[Pixels]:
        filtered, masked = np.zeros_like(pixels), np.zeros_like(pixels)
        assert list(noise.smoothed(pixels, 10, filtered))[-1] == 1
        assert list(sharpen.sharpened(pixels, 1, 1.5, masked))[-1] == 1
        return [filtered, masked]

    whole = both()
    monkeypatch.setattr(noise, "_STRIP", 13)
    monkeypatch.setattr(sharpen, "_STRIP", 13)
    for one, other in zip(whole, both(), strict=True):
        assert np.abs(one.astype(int) - other).max() <= 1


@pytest.mark.parametrize("size", [(1, 1), (1, 40), (3, 2), (33, 900)])
def test_any_size(denoised: Run, sharpened: Run, size: tuple[int, int]) -> None:
    """Down to a single pixel, which stays what it was."""
    flat = np.full((*size, 3), 130, np.uint8)
    for made, _ in (denoised(flat, strength="high"), sharpened(flat), denoised(flat)):
        assert np.abs(made.astype(int) - 130).max() <= 1


def test_sharpening_brings_back_what_a_blur_took(sharpened: Run, coffee: Pixels) -> None:
    """Nearer to the sharp picture than the blurred one is."""
    import cv2

    blurred = cv2.GaussianBlur(coffee, (0, 0), 1.0)
    was, became = likeness(coffee, blurred), likeness(coffee, sharpened(blurred)[0])
    assert became[0] > was[0] + 0.8
    assert became[1] > was[1] + 0.01


@pytest.mark.parametrize("amount", [1.0, 3.0])
def test_no_halo_is_higher_than_its_limit(sharpened: Run, amount: float) -> None:
    """Beside an edge a pixel goes over its surroundings by the limit at most."""
    step = np.full((40, 60, 3), 60, np.uint8)
    step[:, 25:] = 180
    made, _ = sharpened(step, amount=amount, radius=2.0)
    assert made.max() <= 180 + sharpen.HALO
    assert made.min() >= 60 - sharpen.HALO


def test_no_amount_changes_nothing_and_colours_stay(sharpened: Run, coffee: Pixels) -> None:
    """All channels move alike."""
    assert (sharpened(coffee, amount=0)[0] == coffee).all()
    made = sharpened(coffee, amount=1)[0]
    inside = ((made > 0) & (made < 255)).all(2)
    assert inside.mean() > 0.9
    assert np.ptp(made.astype(int)[inside] - coffee[inside], axis=1).max() <= 1
