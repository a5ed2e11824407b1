"""`cutout`: the astronaut against an outline that was traced by hand, small and large, filling the picture and in a corner of it."""

import runpy
from pathlib import Path
from typing import Any

import cv2
import harness
import msgspec
import numpy as np
from numpy.typing import NDArray
from section import Section
from skimage import data

from burnish.engines.catalogue.cutout import Cutout
from burnish.engines.networks.device import Device
from burnish.engines.runners import cutout
from burnish.engines.runners.cutout import Cutter
from burnish.engines.wire import Shot
from burnish.engines.work import Work

#: The tests' own outline, which says how it was made.
_truth = runpy.run_path(str(Path(__file__).parents[1] / "tests" / "astronaut.py"))
outline, overlap = _truth["mask"], _truth["overlap"]

Pixels = NDArray[Any]

SIZES = (128, 256, 512, 1024, 2048)
#: Wall to the left, above, to the right, in pixels beside the photo's 512.
WALLS = ((0, 0, 0), (200, 100, 200), (0, 300, 600), (900, 200, 900))
WALL = 190
GOAL = 0.85


def masked(cutter: Cutter, pixels: Pixels) -> Pixels:
    """Where the cut-out is more than half opaque."""
    params = msgspec.msgpack.encode(msgspec.convert({"image": "photo", "return": "mask"}, Cutout))
    made = np.zeros((*pixels.shape[:2], 1), pixels.dtype)
    for _ in cutter.run(Work(params, (pixels,), (Shot(),), (made,))):
        pass
    inside: Pixels = made[..., 0] >= 128
    return inside


def cutout_() -> Section:
    """Intersection over union, each by each."""
    cutter = cutout.load(Device(2, "auto"))
    photo = data.astronaut()
    rows: list[list[object]] = []
    for side in SIZES:
        how = cv2.INTER_AREA if side < 512 else cv2.INTER_CUBIC
        pixels = cv2.resize(photo, (side, side), interpolation=how)
        truth = cv2.resize(outline().astype(np.uint8) * 255, (side, side), interpolation=how) >= 128
        rows.append([f"{side} x {side} pixels", round(overlap(masked(cutter, pixels), truth), 3)])
    for left, above, right in WALLS[1:]:
        pixels = np.pad(photo, ((above, 0), (left, right), (0, 0)), constant_values=WALL)
        seen = masked(cutter, pixels)
        truth = np.pad(outline(), ((above, 0), (left, right)))
        rows.append(
            [f"in {pixels.shape[1]} x {pixels.shape[0]} pixels of wall", round(overlap(seen, truth), 3)]
        )
    photo_itself = next(row[1] for row in rows if row[0] == "512 x 512 pixels")
    assert isinstance(photo_itself, float)
    return Section(
        harness.table(["the astronaut", "intersection over union"], rows),
        figures={"overlap": photo_itself},
        goal={"overlap": GOAL},
        holds=photo_itself >= GOAL,
    )
