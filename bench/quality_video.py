"""`video`: frames that were left out, made again; and how much a film flickers before and after.

Films are made here from scikit-image's photos, so that the truth is known. Interpolation is told beside blending, which is
what there is without following motion: PSNR in dB of the frames that were left out. Flicker is the standard deviation of
each pixel over time, in levels, along the motion (which is known): what stands still in the scene should stand still in
the film.
"""

from collections.abc import Iterator
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from section import Section
from skimage import data
from skimage.metrics import peak_signal_noise_ratio

from burnish.engines.motion.between import Between
from burnish.engines.motion.quiet import quiet
from burnish.engines.networks.device import Device
from burnish.engines.networks.tiled import Tiled
from burnish.engines.runners.upscale import WAYS

Frames = list[NDArray[np.uint8]]
WIDTH, HEIGHT = 320, 180
SEED = 11
SCENES = ("astronaut", "chelsea", "coffee", "motorcycle", "rocket")


def video_() -> Section:
    """Both tables, and whether both goals hold."""
    better, between = _interpolation()
    flicker, rows = _flicker()
    return Section(
        table="\n".join([*between, "", *rows]),
        figures={"dB above blending, least": round(better, 2), "flicker": flicker},
        goal={"dB above blending, least": 3, "denoise medium, alone and before 2x": "half the flicker"},
        holds=better >= 3
        and flicker["denoise medium"] <= 0.5 * flicker["noisy"]
        and flicker["denoise medium, faithful 2x"] <= 0.5 * flicker["faithful 2x"],
    )


# --- interpolation ----------------------------------------------------------------------------------------------------


def _interpolation() -> tuple[float, list[str]]:
    table = [
        "| scene, every other frame left out | blending | `video-interpolate` | |",
        "| --- | --- | --- | --- |",
    ]
    gains = []
    for name in SCENES:
        for motion, film in _films(name):
            blended, followed = [], []
            for at in range(0, len(film) - 2, 2):
                first, truth, second = film[at : at + 3]
                blend = ((first.astype(int) + second + 1) // 2).astype(np.uint8)
                blended.append(peak_signal_noise_ratio(truth, blend))
                followed.append(peak_signal_noise_ratio(truth, Between(first, second).at(0.5)))
            gains.append(np.mean(followed) - np.mean(blended))
            table.append(
                f"| {name}, {motion} | {np.mean(blended):.1f} | {np.mean(followed):.1f} | +{gains[-1]:.1f} dB |"
            )
    table.append(f"| **mean** | | | **+{np.mean(gains):.1f} dB** |")
    return float(min(gains)), table


def _photo(name: str) -> NDArray[np.uint8]:
    loaded: Any = getattr(data, "stereo_motorcycle" if name == "motorcycle" else name)()
    photo = loaded[0] if isinstance(loaded, tuple) else loaded
    scale = max(1.5 * WIDTH / photo.shape[1], 1.7 * HEIGHT / photo.shape[0])
    size = round(photo.shape[1] * scale), round(photo.shape[0] * scale)
    return np.asarray(cv2.resize(photo[..., :3], size, interpolation=cv2.INTER_AREA), np.uint8)


def _films(name: str) -> Iterator[tuple[str, Frames]]:
    """A pan, a zoom with a turn, and a pan behind a thing that goes the other way; 3 to 5 pixels a frame."""
    photo = _photo(name)
    ball = _photo("coffee" if name != "coffee" else "chelsea")[40:100, 60:120]
    round_ = cv2.circle(np.zeros((60, 60), np.uint8), (30, 30), 28, 255, -1)[..., None] > 0

    def view(dx: float, dy: float, zoom: float = 1.0, degrees: float = 0.0) -> NDArray[np.uint8]:
        middle = photo.shape[1] / 2, photo.shape[0] / 2
        turn = cv2.getRotationMatrix2D(middle, degrees, zoom)
        turn[:, 2] += (WIDTH / 2 - middle[0] - dx, HEIGHT / 2 - middle[1] - dy)
        return np.asarray(cv2.warpAffine(photo, turn, (WIDTH, HEIGHT), flags=cv2.INTER_CUBIC), np.uint8)

    yield "pan", [view(3 * n - 30, n - 10) for n in range(21)]
    yield "zoom and turn", [view(0, 0, 1 + 0.012 * n, 0.4 * n) for n in range(21)]
    crossing = []
    for n in range(21):
        frame = view(2 * n - 20, 0).copy()
        place = frame[60:120, 210 - 5 * n : 270 - 5 * n]
        place[...] = np.where(round_, ball, place)
        crossing.append(frame)
    yield "a thing crossing", crossing


# --- flicker ----------------------------------------------------------------------------------------------------------


def _flicker() -> tuple[dict[str, float], list[str]]:
    """Of a pan by whole pixels with noise of 6 levels, over all scenes; and how far each is from the truth."""
    networks = Tiled(Device(2, "auto"))
    found: dict[str, list[float]] = {}
    rng = np.random.default_rng(SEED)
    far: dict[str, list[float]] = {}
    for name in SCENES:
        photo = _photo(name)
        clean = [photo[20 + n : 20 + n + HEIGHT, 2 * n : 2 * n + WIDTH] for n in range(9)]
        noisy = [np.clip(f + rng.normal(0, 6, f.shape), 0, 255).astype(np.uint8) for f in clean]
        quieter = {
            word: [quiet(np.stack(noisy[max(0, n - 2) : n + 3]), min(n, 2), strength) for n in range(9)]
            for strength, word in enumerate(("light", "medium", "strong"), 1)
        }
        ways: dict[str, tuple[int, Frames]] = {
            "noisy": (1, noisy),
            **{f"denoise {word}": (1, film) for word, film in quieter.items()},
            "Lanczos 2x": (2, [_lanczos(f) for f in noisy]),
            "faithful 2x": (2, [_painted(networks, "faithful", f) for f in noisy]),
            "denoise medium, faithful 2x": (
                2,
                [_painted(networks, "faithful", f) for f in quieter["medium"]],
            ),
            "restore 2x": (2, [_painted(networks, "restore", f) for f in noisy]),
        }
        for way, (scale, frames) in ways.items():
            found.setdefault(way, []).append(_along(frames, scale))
            if scale == 1:
                psnr = [peak_signal_noise_ratio(c, f) for c, f in zip(clean[2:7], frames[2:7], strict=True)]
                far.setdefault(way, []).append(float(np.mean(psnr)))
    means = {way: round(float(np.mean(values)), 2) for way, values in found.items()}
    rows = ["| noise of 6 levels, a pan | flicker, levels | PSNR to the clean film |", "| --- | --- | --- |"]
    rows += [
        f"| {w} | {v:.2f} | {np.mean(far[w]):.1f} |" if w in far else f"| {w} | {v:.2f} | |"
        for w, v in means.items()
    ]
    return means, rows


def _along(frames: Frames, scale: int) -> float:
    """The part of the scene that all frames show, laid over itself."""
    high, wide = (HEIGHT - 8) * scale, (WIDTH - 16) * scale
    laid = [
        cv2.cvtColor(f, cv2.COLOR_RGB2GRAY)[
            (8 - n) * scale : (8 - n) * scale + high, (16 - 2 * n) * scale : (16 - 2 * n) * scale + wide
        ]
        for n, f in enumerate(frames)
    ][2:7]
    return float(np.std(np.stack(laid).astype(np.float32), axis=0).mean())


def _lanczos(frame: NDArray[np.uint8]) -> NDArray[np.uint8]:
    return np.asarray(cv2.resize(frame, None, fx=2, fy=2, interpolation=cv2.INTER_LANCZOS4), np.uint8)


def _painted(networks: Tiled, mode: str, frame: NDArray[np.uint8]) -> NDArray[np.uint8]:
    made = np.empty((frame.shape[0] * 2, frame.shape[1] * 2, 3), np.uint8)
    for _ in networks.paint(WAYS[mode][2], np.ascontiguousarray(frame), made):
        pass
    return made
