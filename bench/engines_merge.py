"""`merge` of three brackets of 12 megapixels, beside OpenCV's AlignMTB and MergeMertens alone; and its memory as stated."""

import os
import statistics
import time
from collections.abc import Callable
from typing import Any

import cv2
import harness
import numpy as np
from numpy.typing import NDArray
from section import Section
from skimage import data

from burnish.engines.photos import merge

Pixels = NDArray[Any]

ROUNDS = int(os.environ.get("BENCH_ROUNDS", "5"))
GOAL = 1.3
WIDTH, HEIGHT = 4000, 3000


def brackets() -> list[Pixels]:
    """Three exposures 2 EV apart, each moved by some pixels."""
    light = cv2.resize(data.coffee(), (WIDTH, HEIGHT), interpolation=cv2.INTER_CUBIC).astype(np.float32) / 255
    rng = np.random.default_rng(1)
    made = []
    for number, ev in enumerate((-2, 0, 2)):
        shown = np.clip(light**2.2 * 2.0**ev, 0, 1) ** (1 / 2.2) * 255 + rng.normal(0, 1, light.shape)
        made.append(
            np.roll(np.clip(np.round(shown), 0, 255).astype(np.uint8), (7 * number, -5 * number), (0, 1))
        )
    return made


def ours(pictures: list[Pixels]) -> None:
    """All that `merge` does by default."""
    plan = merge.prepare(pictures, deghost=True, windows=False)
    result = np.empty_like(pictures[0])
    for _ in merge.fuse(plan, result):
        pass


def bare(pictures: list[Pixels]) -> None:
    """What one would write with OpenCV: no turn, no parts of pixels, no ghosts, no tones."""
    aligned = [picture.copy() for picture in pictures]
    cv2.createAlignMTB().process(pictures, aligned)
    made: Any = cv2.createMergeMertens().process(aligned)
    np.clip(made * 255, 0, 255).astype(np.uint8)


def seconds(work: Callable[[list[Pixels]], None], pictures: list[Pixels]) -> float:
    """Of one run."""
    began = time.perf_counter()
    work(pictures)
    return time.perf_counter() - began


def merge_() -> Section:
    """Medians, one of each in turn."""
    cv2.setNumThreads(os.cpu_count() or 1)
    pictures = brackets()
    for warm in (ours, bare):
        warm(pictures)
    times = [(seconds(ours, pictures), seconds(bare, pictures)) for _ in range(ROUNDS)]
    mine, theirs = (statistics.median(column) for column in zip(*times, strict=True))
    ratio = statistics.median(mine / theirs for mine, theirs in times)
    pixels = WIDTH * HEIGHT
    rows: list[list[object]] = [
        ["burnish merge", round(mine, 2), round(ratio, 2), round(merge.memory_bytes(pixels, 3) / 1e6)],
        ["AlignMTB and MergeMertens", round(theirs, 2), 1, round(3 * pixels * 12 * 4 / 1e6)],
    ]
    table = harness.table(
        [
            "three of 12 megapixels",
            "seconds",
            "ratio",
            "memory beside the pixels, MB (stated; of Mertens: about)",
        ],
        rows,
    )
    return Section(table, figures={"ratio": round(ratio, 2)}, goal={"ratio": GOAL}, holds=ratio <= GOAL)
