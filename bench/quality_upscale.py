"""`upscale`, `denoise` and `sharpen`: scikit-image's photos made smaller, noisy or blurred, and brought back.

Distances to the photo as it was: PSNR in dB and SSIM. What is beside ours is Pillow's Lanczos and bicubic, and OpenCV's
non-local means and bilateral filter, each with the best of the strengths that were tried.
"""

import io
from collections.abc import Callable, Iterable
from functools import cache
from pathlib import Path
from typing import Any

import cv2
import harness
import msgspec
import numpy as np
from numpy.typing import NDArray
from PIL import Image
from section import Section
from skimage import data
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from burnish.engines.networks.device import Device
from burnish.engines.networks.tiled import Tiled
from burnish.engines.runners import denoise, sharpen, upscale
from burnish.engines.runners.upscale import Upscaler
from burnish.engines.wire import Shot
from burnish.engines.work import Runner, Work

Pixels = NDArray[Any]

PHOTOS = (
    *(
        "astronaut",
        "camera",
        "chelsea",
        "coffee",
        "rocket",
        "motorcycle",
        "hubble_deep_field",
        "coins",
        "moon",
    ),
    *("immunohistochemistry", "retina", "brick", "gravel", "grass"),
)
COLOUR = ("astronaut", "chelsea", "coffee", "rocket", "motorcycle", "immunohistochemistry")
SHEETS = Path(__file__).parents[1] / "docs" / "pictures"
LANCZOS, BICUBIC = Image.Resampling.LANCZOS, Image.Resampling.BICUBIC


# --- upscale ----------------------------------------------------------------------------------------------------------


def upscale_() -> Section:
    """Photos reduced to a half and to a quarter; the same noisy and saved as JPEG; and tiles beside one piece."""
    rows: list[list[object]] = []
    gains: dict[int, list[tuple[float, float]]] = {2: [], 4: []}
    for name in PHOTOS:
        row: list[object] = [name]
        for scale in (2, 4):
            small, large = reduced(photo(name), scale)
            plain, ours = (
                likeness(large, resized(small, scale, LANCZOS)),
                likeness(large, enlarged(small, scale)),
            )
            gains[scale].append((ours[0] - plain[0], ours[1] - plain[1]))
            row += [said(plain), said(ours), f"{ours[0] - plain[0]:+.2f}"]
        rows.append(row)
    head = ["photo", "2x Lanczos", "faithful", "dB", "4x Lanczos", "faithful", "dB"]
    degraded = [_degraded(name) for name in COLOUR]
    bicubic, faithful, restored = (np.mean([one[k] for one in degraded], 0) for k in range(3))
    seam = max(
        _seam(mode, scale) for mode, scale in (("faithful", 2), ("faithful", 8), ("restore", 4), ("art", 2))
    )
    table = (
        harness.table(head, rows)
        + "\n\nNoise of 8 levels and JPEG at quality 60, 2x, six photos in colour:\n\n"
    )
    table += harness.table(
        ["", "PSNR / SSIM"],
        [["bicubic", said(bicubic)], ["faithful", said(faithful)], ["restore", said(restored)]],
    )
    _sheet()
    figures = {
        "gain_2x": round(float(np.mean([gain for gain, _ in gains[2]])), 2),
        "gain_4x": round(float(np.mean([gain for gain, _ in gains[4]])), 2),
        "least_gain": round(min(gain for both in gains.values() for gain, _ in both), 2),
        "least_ssim_gain": round(min(gain for both in gains.values() for _, gain in both), 3),
        "restore_ssim_gain": round(float(restored[1] - bicubic[1]), 3),
        "seam_levels": seam,
    }
    goal = {
        "gain_2x": 1.5,
        "gain_4x": 1.0,
        "least_gain": 0.0,
        "least_ssim_gain": 0.0,
        "restore_ssim_gain": 0.0,
    }
    holds = all(figures[name] > least for name, least in goal.items()) and seam <= 1
    return Section(table, figures, goal | {"seam_levels": 1}, holds)


def _degraded(name: str) -> list[tuple[float, float]]:
    """Likeness of bicubic, `faithful` and `restore`."""
    small, large = reduced(photo(name), 2)
    spoilt = saved(noisy(small, 8), 60)
    made = (resized(spoilt, 2, BICUBIC), enlarged(spoilt, 2), enlarged(spoilt, 2, mode="restore"))
    return [likeness(large, picture) for picture in made]


def _seam(mode: str, scale: int) -> int:
    """The greatest difference between tiles and one piece, in levels."""
    part = np.ascontiguousarray(photo("coffee")[100:190, 200:320])
    cut = Upscaler(Tiled(Device(2, "auto"), tile_pixels=3000 * max(1, scale // 2) ** 2), None)
    tiles = run(cut, part, scale, mode=mode, faces="restore", scale=scale)
    return int(np.abs(tiles.astype(int) - enlarged(part, scale, mode=mode, faces="restore")).max())


def _sheet() -> None:
    """Parts of photos reduced to a quarter: Lanczos, faithful, restore, and the photo."""
    rows = []
    for name, top, left in (("astronaut", 30, 130), ("coffee", 160, 250), ("motorcycle", 150, 250)):
        small, large = reduced(photo(name), 4)
        made = (resized(small, 4, LANCZOS), enlarged(small, 4), enlarged(small, 4, mode="restore"), large)
        rows.append(np.hstack([picture[top : top + 160, left : left + 200] for picture in made]))
    Image.fromarray(np.vstack(rows)).save(SHEETS / "quality-upscale.jpg", quality=85)


# --- denoise and sharpen ----------------------------------------------------------------------------------------------


def denoise_() -> Section:
    """Normal noise of three strengths in photos in colour, and how much of a clean photo is changed."""
    rows: list[list[object]] = []
    least = np.inf
    for sigma in (10, 20, 30):
        found = np.array([_denoised(photo(name), sigma) for name in COLOUR])
        mean = found.mean(0)
        rows.append([sigma, *(said(pair) for pair in mean)])
        least = min(least, float((mean[3] - mean[:3].max(0)).min()))
    changed = max(int(np.abs(cleaned(photo(name)).astype(int) - photo(name)).max()) for name in PHOTOS)
    head = ["noise", "noisy", "non-local means", "bilateral", "denoise"]
    figures = {"least_gain_over_the_best": round(least, 3), "clean_photos_changed_by": changed}
    goal = {"least_gain_over_the_best": 0, "clean_photos_changed_by": 0}
    return Section(harness.table(head, rows), figures, goal, holds=least > 0 and changed == 0)


def _denoised(clean: Pixels, sigma: int) -> list[tuple[float, float]]:
    spoilt = noisy(clean, sigma)
    means = (
        cv2.fastNlMeansDenoisingColored(spoilt, None, k * sigma, k * sigma, 5, 21) for k in (0.5, 0.7, 0.9)
    )
    bilateral = (cv2.bilateralFilter(spoilt, 9, k * sigma, 2.0) for k in (2.5, 4.0, 5.0))
    best = [
        max((likeness(clean, picture) for picture in tried), key=lambda pair: pair[0])
        for tried in (means, bilateral)
    ]
    return [likeness(clean, spoilt), *best, likeness(clean, cleaned(spoilt))]


def sharpen_() -> Section:
    """Photos blurred by a Gaussian of one pixel; and the highest halo beside a step."""
    rows: list[list[object]] = []
    gains = []
    for name in COLOUR:
        blurred = cv2.GaussianBlur(photo(name), (0, 0), 1.0)
        was, mask, ours = (
            likeness(photo(name), picture)
            for picture in (
                blurred,
                cv2.addWeighted(blurred, 2, cv2.GaussianBlur(blurred, (0, 0), 1.0), -1, 0),
                sharper(blurred),
            )
        )
        gains.append((ours[0] - was[0], ours[1] - was[1]))
        rows.append([name, said(was), said(mask), said(ours)])
    step = np.full((60, 80, 3), 60, np.uint8)
    step[:, 40:] = 180
    halos = []
    for amount in (1.0, 3.0):
        edge = sharper(step, amount=amount).astype(int)
        plain = cv2.addWeighted(step, 1 + amount, cv2.GaussianBlur(step, (0, 0), 1.0), -amount, 0).astype(int)
        halos.append((amount, int(plain.max() - 180), int(edge.max() - 180)))
    table = (
        harness.table(["photo", "blurred", "unsharp mask", "sharpen"], rows)
        + "\n\nHalo beside a step of 120 levels:\n\n"
    )
    table += harness.table(["amount", "unsharp mask", "sharpen"], halos)
    figures = {
        "least_gain": round(min(gain for gain, _ in gains), 2),
        "least_ssim_gain": round(min(gain for _, gain in gains), 3),
        "halo_levels": max(halo for *_, halo in halos),
    }
    goal = {"least_gain": 0, "least_ssim_gain": 0, "halo_levels": 4}
    return Section(
        table, figures, goal, holds=min(min(pair) for pair in gains) > 0 and figures["halo_levels"] <= 4
    )


# --- the pictures, and what is done to them ------------------------------------------------------------------------------


@cache
def photo(name: str) -> Pixels:
    """At most 512 pixels a side, from the middle, a multiple of four; gray has one channel."""
    picture = data.stereo_motorcycle()[0] if name == "motorcycle" else getattr(data, name)()
    height, width = picture.shape[:2]
    rows, columns = (min(size, 512) // 4 * 4 for size in (height, width))
    top, left = (height - rows) // 2, (width - columns) // 2
    return np.ascontiguousarray(picture[top : top + rows, left : left + columns].reshape(rows, columns, -1))


def reduced(picture: Pixels, scale: int) -> tuple[Pixels, Pixels]:
    """The small one, by a bicubic filter as wide as it must be; and the picture."""
    height, width = picture.shape[:2]
    small = _image(picture).resize((width // scale, height // scale), BICUBIC)
    return np.asarray(small).reshape(height // scale, width // scale, -1), picture


def resized(picture: Pixels, scale: int, how: Image.Resampling) -> Pixels:
    height, width = (size * scale for size in picture.shape[:2])
    return np.asarray(_image(picture).resize((width, height), how)).reshape(height, width, -1)


def noisy(picture: Pixels, sigma: float) -> Pixels:
    values = np.rint(picture + np.random.default_rng(5).normal(0, sigma, picture.shape))
    return np.clip(values, 0, 255).astype(np.uint8)


def saved(picture: Pixels, quality: int) -> Pixels:
    """As a JPEG has it."""
    file = io.BytesIO()
    _image(picture).save(file, "JPEG", quality=quality)
    return np.asarray(Image.open(file)).reshape(picture.shape)


def _image(picture: Pixels) -> Image.Image:
    return Image.fromarray(picture[..., 0] if picture.shape[2] == 1 else picture)


def likeness(one: Pixels, other: Pixels) -> tuple[float, float]:
    return (
        float(peak_signal_noise_ratio(one, other)),
        float(structural_similarity(one, other, channel_axis=2)),
    )


def said(pair: Iterable[float]) -> str:
    psnr, ssim = pair
    return f"{psnr:.2f} / {ssim:.3f}"


@cache
def _runner(load: Callable[[Device], Runner]) -> Runner:
    return load(_device())


@cache
def _device() -> Device:
    return Device(2, "auto")


def run(runner: Runner, picture: Pixels, times: int, **wanted: object) -> Pixels:
    """What a runner makes, as large as `times` the picture."""
    made = np.zeros((picture.shape[0] * times, picture.shape[1] * times, picture.shape[2]), picture.dtype)
    params = msgspec.msgpack.encode({"image": "bench", **wanted})
    for _ in runner.run(Work(params, (picture,), (Shot(),), (made,))):
        pass
    return made


def enlarged(picture: Pixels, times: int, **wanted: object) -> Pixels:
    return run(_runner(upscale.load), picture, times, **({"scale": times} | wanted))


def cleaned(picture: Pixels) -> Pixels:
    return run(_runner(denoise.load), picture, 1)


def sharper(picture: Pixels, **wanted: object) -> Pixels:
    return run(_runner(sharpen.load), picture, 1, **wanted)
