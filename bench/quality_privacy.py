"""`privacy`: how many number plates are found, by how wide they are, and what is taken for one on photos without."""

import runpy
from pathlib import Path

import cv2
import harness
import numpy as np
from section import Section
from skimage import data

from burnish.engines.photos.plates import find_plates

_tests = Path(__file__).parents[1] / "tests"
_scenes = runpy.run_path(str(_tests / "scenes.py"))
_facade = runpy.run_path(str(_tests / "engines" / "facade.py"))
WIDTHS = (50, 70, 100, 140, 200, 300)
EACH = 60
FRONTS = 24
GOAL = {"recall_from_140": 0.9, "taken_for_plates": 2}
WITHOUT = (
    *(
        "astronaut",
        "coffee",
        "chelsea",
        "rocket",
        "camera",
        "retina",
        "page",
        "text",
        "logo",
        "brick",
        "grass",
    ),
    *("gravel", "coins", "clock", "hubble_deep_field", "immunohistochemistry", "colorwheel", "moon"),
)


def privacy_() -> Section:
    """Found where four fifths of a plate lie in what was found."""
    photos = [
        cv2.resize(photo, (900, 675))
        for photo in (data.coffee(), data.astronaut(), data.chelsea(), data.rocket())
    ]
    rows: list[list[object]] = []
    wide: list[bool] = []
    for width in WIDTHS:
        hits, false = [], 0
        for seed in range(EACH):
            picture, corners = _scenes["with_plate"](
                photos[seed % 4], np.random.default_rng(1000 * width + seed), width
            )
            plate, found = np.zeros(picture.shape[:2], np.uint8), np.zeros(picture.shape[:2], np.uint8)
            cv2.fillConvexPoly(plate, corners.astype(np.int32), 1)
            for one in find_plates(cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY)):
                alone = cv2.fillConvexPoly(
                    np.zeros_like(plate), np.round(np.array(one.corners)).astype(np.int32), 1
                )
                false += not (alone & plate).any()
                found |= alone
            hits.append(bool((plate & found).sum() > 0.8 * plate.sum()))
        wide += hits if width >= 140 else []
        rows.append([width, len(hits), round(float(np.mean(hits)), 2), false])
    taken = {name: len(find_plates(_gray(name))) for name in WITHOUT}
    wrong = ", ".join(f"{count} on {name}" for name, count in taken.items() if count)
    table = harness.table(
        ["width of the plate, pixels", "pictures", "recall", "taken for one beside it"], rows
    )
    table += f"\n\nOn {len(WITHOUT)} photos without a plate: {wrong or 'none'}."
    table += f" On {FRONTS} drawn house fronts of white-framed windows: {_on_fronts()}."
    recall = float(np.mean(wide))
    return Section(
        table,
        figures={"recall_from_140": round(recall, 3), "taken_for_plates": sum(taken.values())},
        goal=GOAL,
        holds=recall >= GOAL["recall_from_140"] and sum(taken.values()) <= GOAL["taken_for_plates"],
    )


def _on_fronts() -> int:
    """Places taken for plates on house fronts, seen askew and from near and far."""
    rng, taken = np.random.default_rng(5), 0
    for seed in range(FRONTS):
        roll, pitch = rng.uniform(-6, 6, 2)
        width = (450, 900, 1400)[seed % 3]
        front = _facade["seen"](_facade["facade"](seed=100 + seed), roll, pitch, width, width * 5 // 7)
        taken += len(find_plates(cv2.cvtColor(front, cv2.COLOR_RGB2GRAY)))
    return taken


def _gray(name: str) -> np.ndarray:
    photo = getattr(data, name)()
    return (
        photo if photo.ndim == 2 else cv2.cvtColor(np.ascontiguousarray(photo[..., :3]), cv2.COLOR_RGB2GRAY)
    )
