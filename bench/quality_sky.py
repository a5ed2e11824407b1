"""`sky`: the mask on scenes whose truth is known and on a photo, and what is left of the old sky at edges."""

import runpy
from pathlib import Path
from typing import Any

import cv2
import harness
import numpy as np
from section import Section
from skimage import data

from burnish.engines.photos import sky

_scenes = runpy.run_path(str(Path(__file__).parents[1] / "tests" / "scenes.py"))
GOAL = {"mean_overlap": 0.85, "wrongly_replaced": 0}
KINDS = ("overcast", "clear", "high_cloud", "low_cloud")
WITHOUT = (
    *(
        "astronaut",
        "coffee",
        "chelsea",
        "retina",
        "hubble_deep_field",
        "immunohistochemistry",
        "colorwheel",
        "logo",
    ),
    *("page", "text", "clock", "coins", "brick", "grass", "gravel", "moon", "rocket"),
)


def sky_() -> Section:
    """Overlap (IoU) by kind of sky; photos without a sky in which one was seen."""
    rows: list[list[object]] = []
    overlaps: list[float] = []
    for kind in KINDS:
        found = []
        for seed in range(8):
            picture, truth, _ = _scenes["under_the_sky"](kind, seed, 600, 900)
            seen = sky.find(picture)
            share: Any = np.zeros_like(truth) if seen is None else cv2.resize(seen.share, truth.shape[::-1])
            found.append(_scenes["overlap"](share > 0.5, truth > 0.5))
        overlaps += found
        rows.append([f"self-made, {kind}", len(found), round(float(np.mean(found)), 3), round(min(found), 3)])
    photo, truth = _scenes["cameraman_sky"]()
    seen = sky.find(photo)
    assert seen
    overlaps.append(_scenes["overlap"](seen.share > 0.5, truth))
    rows.append(["scikit-image's camera", 1, round(overlaps[-1], 3), round(overlaps[-1], 3)])
    wrong = [name for name in WITHOUT if sky.find(_rgb(name)) is not None]
    table = harness.table(["", "pictures", "mean IoU", "worst"], rows)
    table += f"\n\nWithout a sky (or at night): {', '.join(WITHOUT)}; replaced all the same: {', '.join(wrong) or 'none'}."
    mean = float(np.mean(overlaps))
    return Section(
        table,
        figures={"mean_overlap": round(mean, 3), "wrongly_replaced": len(wrong)},
        goal=GOAL,
        holds=mean >= GOAL["mean_overlap"] and not wrong,
    )


def _rgb(name: str) -> Any:
    photo = getattr(data, name)()
    colours = np.repeat(photo[..., None], 3, 2) if photo.ndim == 2 else photo[..., :3]
    return colours.astype(np.float32) / 255
