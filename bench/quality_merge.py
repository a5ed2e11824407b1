"""`merge`: scenes whose light is known. Halos beside a bright window, ghosts of a moving ball, and moves of the camera."""

import runpy
from pathlib import Path
from typing import Any

import cv2
import harness
import numpy as np
from numpy.typing import NDArray
from section import Section
from skimage import data

from burnish.engines.photos import align, merge

_scenes = runpy.run_path(str(Path(__file__).parents[1] / "tests" / "scenes.py"))
exposed = _scenes["exposed"]

Pixels = NDArray[Any]

GOAL = {"halo_levels": 3.0, "ghost_levels": 20.0, "move_pixels": 0.25}


def merged(brackets: list[Pixels], *, deghost: bool = True) -> Pixels:
    """The merged picture."""
    plan = merge.prepare(brackets, deghost=deghost, windows=False)
    result = np.zeros_like(brackets[0])
    for _ in merge.fuse(plan, result):
        pass
    return result


def mertens(brackets: list[Pixels]) -> Pixels:
    """OpenCV's own fusion, for comparison."""
    made: Any = cv2.createMergeMertens().process(brackets)
    levels: Pixels = np.clip(np.round(made * 255), 0, 255).astype(np.uint8)
    return levels


def halo(picture: Pixels) -> float:
    """By how many levels flat wall and flat window vary up to their edge; the larger."""
    rows = picture[280:320].mean((0, 2))
    return float(max(np.ptp(np.concatenate([rows[16:297], rows[603:-16]])), np.ptp(rows[303:597])))


def halos() -> dict[str, dict[str, float]]:
    """Over steps of 3 to 8 EV, the worst of Burnish and of OpenCV."""
    worst: dict[str, float] = {"Burnish": 0.0, "OpenCV's MergeMertens": 0.0}
    for stops in (3, 4.5, 6, 8):
        light = np.full((600, 900, 3), 0.04, np.float32)
        light[150:450, 300:600] = 0.04 * 2.0**stops
        for evs in ((-2, 0, 2), (-4, -2, 0, 2), (-4, -2, 0, 2, 4)):
            brackets = [exposed(light, ev) for ev in evs]
            worst["Burnish"] = max(worst["Burnish"], halo(merged(brackets)))
            worst["OpenCV's MergeMertens"] = max(worst["OpenCV's MergeMertens"], halo(mertens(brackets)))
    return {"largest halo, levels": worst}


def ghosts() -> dict[str, dict[str, float]]:
    """95th percentile of the error against a scene in which nothing moved, of the places that the ball was at in other brackets
    than the reference.
    """
    photo = cv2.resize(data.coffee(), (900, 600)).astype(np.float32) / 255
    still: Any = 0.3 * photo**2.2 + 0.003
    errors: dict[str, list[float]] = {"Burnish": [], "without deghost": []}
    for seed in range(4):
        rng = np.random.default_rng(seed)
        places = [
            (int(150 + 250 * number + rng.integers(0, 60)), int(rng.integers(120, 480)))
            for number in range(3)
        ]
        colour = tuple(float(part) for part in rng.uniform(0.03, 0.6, 3))

        def scene(place: tuple[int, int], colour: tuple[float, ...] = colour) -> Pixels:
            shown: Pixels = cv2.circle(still.copy(), place, 45, colour, -1)
            return shown

        evs = (-3, 0, 3)
        moving = [exposed(scene(place), ev) for place, ev in zip(places, evs, strict=True)]
        reference = merge.prepare(moving, deghost=True, windows=False).reference
        truth = merged([exposed(scene(places[reference]), ev) for ev in evs]).astype(int)
        where = np.zeros(still.shape[:2], np.uint8)
        for number, place in enumerate(places):
            if number != reference:
                cv2.circle(where, place, 55, 1, -1)
        for name, deghost in (("Burnish", True), ("without deghost", False)):
            wrong = np.abs(merged(moving, deghost=deghost) - truth).max(2)[where > 0]
            errors[name].append(float(np.percentile(wrong, 95)))
    return {
        "ghosts, levels (95th percentile where the ball was in other brackets)": {
            name: max(found) for name, found in errors.items()
        }
    }


def moves() -> dict[str, dict[str, float]]:
    """The worst error of a corner, in pixels, over shifts up to 20 pixels, turns of half a degree, 3 EV apart."""
    photo = cv2.resize(data.coffee(), (900, 600)).astype(np.float32) / 255
    light: Any = 0.3 * photo**2.2 + 0.003
    corners = np.array([[0, 0, 1], [900, 0, 1], [0, 600, 1], [900, 600, 1]], np.float64)
    worst = 0.0
    for across, down, turn in (
        (20, -13, 0),
        (4.5, 3.25, 0.5),
        (-13.3, 7.6, -0.5),
        (-2.4, 1.2, 0.5),
        (17, 17, 0.25),
    ):
        there: Any = cv2.getRotationMatrix2D((450, 300), turn, 1)
        there[:, 2] += np.array([across, down], np.float64)
        seen = np.clip(
            cv2.warpAffine(light, there, (900, 600), flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REFLECT),
            0,
            None,
        )
        for ev in (-3, 3):
            lumas = [cv2.cvtColor(exposed(one, e), cv2.COLOR_RGB2GRAY) for one, e in ((light, 0), (seen, ev))]
            move, _ = align.found(lumas[0], lumas[1])
            found = corners @ (np.eye(2, 3) if move is None else move).T
            worst = max(worst, float(np.abs(found - corners @ there.T).max()))
    return {"moves, pixels at the corners": {"Burnish": worst}}


def merge_() -> Section:
    """All three."""
    found = halos() | ghosts() | moves()
    rows = [[what, who, round(worst, 2)] for what, by in found.items() for who, worst in by.items()]
    figures = dict(zip(GOAL, (by["Burnish"] for by in found.values()), strict=True))
    return Section(
        harness.table(["", "", "worst"], rows),
        figures={name: round(value, 2) for name, value in figures.items()},
        goal=GOAL,
        holds=all(figures[name] <= GOAL[name] for name in GOAL),
    )
