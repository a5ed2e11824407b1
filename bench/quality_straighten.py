"""`straighten`: house fronts seen askew by a known camera, what is left of it in the result, and what must not be touched."""

import runpy
from pathlib import Path
from typing import Any

import harness
import numpy as np
from numpy.typing import NDArray
from section import Section
from skimage import data

from burnish.engines.photos.straighten import straighten, tilt_of

#: The tests' own house front. By its path, because `engines` is a bench here and a folder of tests there.
_front = runpy.run_path(str(Path(__file__).parents[1] / "tests" / "engines" / "facade.py"))
FOCAL_35MM, facade, seen = _front["FOCAL_35MM"], _front["facade"], _front["seen"]

Pixels = NDArray[Any]

ROLLS = (-8, -5, -2, -0.5, 0, 0.5, 2, 5, 8)
PITCHES = (-10, -6, -2, 0, 2, 6, 10)
SEEDS = (0, 1, 2)
NATURAL = (
    "astronaut",
    "coffee",
    "chelsea",
    "rocket",
    "camera",
    "moon",
    "gravel",
    "grass",
    "coins",
    "hubble_deep_field",
)
GOAL_DEGREES = 0.3


def error(picture: Pixels) -> float:
    """How far from upright it is, in degrees, in roll or tilt."""
    left = tilt_of(picture, max_degrees=20, focal_35mm=FOCAL_35MM, least_degrees=0)
    return max(abs(left.roll), abs(left.pitch))


def straighten_() -> Section:
    """Errors with the focal length known and not, and pixels changed of pictures that are straight or say nothing."""
    found: list[float] = []
    left: dict[str, list[float]] = {"known": [], "not known": []}
    for seed in SEEDS:
        house = facade(seed=seed)
        for roll in ROLLS:
            for pitch in PITCHES:
                askew = seen(house, roll, pitch)
                told = tilt_of(askew, max_degrees=12, focal_35mm=FOCAL_35MM)
                found.append(max(abs(told.roll - roll), abs(told.pitch - pitch)))
                for name, focal in (("known", FOCAL_35MM), ("not known", None)):
                    left[name].append(error(straighten(askew, focal_35mm=focal)))
    straight = seen(facade(), 0, 0)
    untouched = {"a straight front": straight}
    for name in NATURAL:
        picture = np.ascontiguousarray(getattr(data, name)())
        untouched[name] = picture.reshape(*picture.shape[:2], -1)
    changed = [
        name for name, picture in untouched.items() if not np.array_equal(straighten(picture), picture)
    ]
    rows: list[list[object]] = [
        ["found, focal length known", len(found), round(float(np.mean(found)), 3), round(max(found), 3)]
    ]
    rows += [
        [
            f"left in the result, focal length {name}",
            len(errors),
            round(float(np.mean(errors)), 3),
            round(max(errors), 3),
        ]
        for name, errors in left.items()
    ]
    worst = max(max(errors) for errors in (found, *left.values()))
    table = harness.table(
        ["error in degrees, the larger of roll and tilt", "pictures", "mean", "worst"], rows
    )
    table += f"\n\nNot to be touched: {', '.join(untouched)}; changed: {', '.join(changed) or 'none'}."
    return Section(
        table,
        figures={"worst_degrees": round(worst, 3), "changed": changed},
        goal={"worst_degrees": GOAL_DEGREES, "changed": []},
        holds=worst < GOAL_DEGREES and not changed,
    )
