"""`enhance` on 12 megapixels, beside the same steps as bare OpenCV calls on the whole picture, with all cores; and its memory.

The bare calls are given what `plan` found out, and do to the picture what `apply` does to its tiles: samples looked up,
brightness, the guided filter's base, the factor looked up between a table's entries, colours multiplied and brought within
bounds, samples made whole. Planning is counted for Burnish and not for them.
"""

import os
import statistics
import time
from collections.abc import Callable
from typing import Any

import cv2
import harness
import msgspec
import numpy as np
from numpy.typing import NDArray
from section import Section
from skimage import data

from burnish.engines.catalogue.photo import Enhance, Steps
from burnish.engines.photos.enhance import Plan, apply, plan
from burnish.engines.photos.reduced import LUMA
from burnish.engines.runners.photo import Photographer
from burnish.engines.wire import Picture

ROUNDS = int(os.environ.get("BENCH_ROUNDS", "7"))
WIDTH, HEIGHT = 4000, 3000
GOAL = 1.3

Pixels = NDArray[Any]


def bare(pixels: Pixels, wanted: Plan) -> Any:
    """The steps, as one would write them with OpenCV."""
    full = float(np.iinfo(pixels.dtype).max)
    colours: Any = cv2.LUT(pixels, np.ascontiguousarray(wanted.levels.T[None]))
    light: Any = cv2.transform(colours, LUMA)
    size = pixels.shape[1::-1]
    base: Any = cv2.multiply(cv2.resize(wanted.slope, size), light)
    base = cv2.add(base, cv2.resize(wanted.offset, size))
    bases, lumas = wanted.factors.shape
    columns: Any = cv2.multiply(light, np.array([lumas - 1.0]))
    rows: Any = cv2.multiply(base, np.array([bases - 1.0]))
    factor: Any = cv2.remap(wanted.factors, columns, rows, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    colours = cv2.multiply(colours, cv2.merge([factor] * 3))
    light = cv2.multiply(light, factor)
    red, green, blue = cv2.split(colours)
    above: Any = cv2.subtract(cv2.max(cv2.max(red, green), blue), light)
    keep: Any = cv2.divide(
        cv2.subtract(np.ones_like(light), light), cv2.max(above, np.full_like(above, 1e-4))
    )
    keep = cv2.min(keep, np.full_like(keep, wanted.colour))
    if wanted.colour > 1:
        below: Any = cv2.subtract(light, cv2.min(cv2.min(red, green), blue))
        keep = cv2.min(keep, cv2.divide(light, cv2.max(below, np.full_like(below, 1e-4))))
    gray: Any = cv2.merge([light] * 3)
    made: Any = cv2.add(gray, cv2.multiply(cv2.subtract(colours, gray), cv2.merge([keep] * 3)))
    depth = cv2.CV_8U if full == 255 else cv2.CV_16U
    return cv2.multiply(made, np.array([full] * 4), dtype=depth)


def seconds(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def enhance_() -> Section:
    """Medians of rounds, one after the other, for 8 and 16 bits."""
    threads = len(os.sched_getaffinity(0))
    cv2.setNumThreads(threads)
    rows: list[list[object]] = []
    ratios = []
    for bits in (8, 16):
        photo = cv2.resize(data.coffee(), (WIDTH, HEIGHT), interpolation=cv2.INTER_CUBIC)
        pixels = photo // 2 if bits == 8 else (photo // 2).astype(np.uint16) * 257
        made = np.empty_like(pixels)
        made[...] = 0

        def ours(pixels: Pixels = pixels, made: Pixels = made) -> None:
            for _ in apply(pixels, plan(pixels, "property", 1.0), made, threads=threads):
                pass

        wanted = plan(pixels, "property", 1.0)
        pairs = [(seconds(ours), seconds(lambda: bare(pixels, wanted))) for _ in range(ROUNDS)]  # noqa: B023
        mine, theirs = (statistics.median(times) for times in zip(*pairs, strict=True))
        assert np.abs(made.astype(int) - bare(pixels, wanted)).mean() < np.iinfo(pixels.dtype).max / 100
        ratios.append(mine / theirs)
        picture = Picture(width=WIDTH, height=HEIGHT, channels=3, bits=bits)
        need = Photographer(threads).memory_bytes(msgspec.msgpack.encode(Steps(enhance=Enhance())), [picture])
        rows.append(
            [
                f"{bits} bits",
                round(mine, 3),
                round(theirs, 3),
                round(mine / theirs, 2),
                round(12 / mine),
                need >> 20,
            ]
        )
    head = [
        "12 megapixels",
        "enhance, s",
        "bare OpenCV, s",
        "ratio",
        "megapixels/s",
        "memory beside the pixels, MiB",
    ]
    return Section(
        harness.table(head, rows),
        figures={"ratio": round(max(ratios), 2)},
        goal={"ratio": GOAL},
        holds=max(ratios) < GOAL,
    )
