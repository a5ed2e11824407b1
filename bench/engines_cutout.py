"""`cutout`: seconds for pictures of several sizes, of which how many are the network's and the matte's; and its memory.

No library does the same: what stands beside it is a mask by OpenCV's own segmentation (GrabCut, from the picture's border,
five rounds), on the small copy alone.
"""

import os
import resource
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

from burnish.engines.catalogue.cutout import Cutout
from burnish.engines.networks import people
from burnish.engines.networks.device import Device
from burnish.engines.photos import matting
from burnish.engines.runners import cutout
from burnish.engines.wire import Picture, Shot
from burnish.engines.work import Work

ROUNDS = int(os.environ.get("BENCH_ROUNDS", "5"))
SIDES = (512, 1024, 2048, 3464)  # the last: 12 megapixels

Pixels = NDArray[Any]


def seconds(work: Callable[[], object]) -> float:
    """The median of some rounds."""
    times = []
    for _ in range(ROUNDS):
        start = time.perf_counter()
        work()
        times.append(time.perf_counter() - start)
    return statistics.median(times)


def bare(small: Pixels) -> None:
    """A mask, as OpenCV makes one."""
    mask = np.zeros(small.shape[:2], np.uint8)
    box = (2, 2, small.shape[1] - 4, small.shape[0] - 4)
    cv2.grabCut(small, mask, box, np.zeros((1, 65)), np.zeros((1, 65)), 5, cv2.GC_INIT_WITH_RECT)


def cutout_() -> Section:
    """Medians; the peak is what the process grew by over all, beside pictures that are there already."""
    device = Device(len(os.sched_getaffinity(0)), "auto")
    cutter, network = cutout.load(device), people.load(device)
    params = msgspec.msgpack.encode(Cutout(image="photo"))
    rows: list[list[object]] = []
    within = True
    for side in SIDES:
        pixels = cv2.resize(data.astronaut(), (side, side), interpolation=cv2.INTER_CUBIC)
        made = np.full((side, side, 4), 1, np.uint8)
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss

        def whole(pixels: Pixels = pixels, made: Pixels = made) -> None:
            for _ in cutter.run(Work(params, (pixels,), (Shot(),), (made,))):
                pass

        took = seconds(whole)
        grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024
        small = matting.reduced(pixels)
        shown = (small * 255).astype(np.uint8)
        seen = network.look(shown)
        need = cutter.memory_bytes(params, [Picture(width=side, height=side, channels=3, bits=8)])
        within = within and grown <= need
        rows.append(
            [
                f"{side * side / 1e6:.1f}",
                round(took, 2),
                round(seconds(lambda: network.look(shown)), 3),  # noqa: B023
                round(seconds(lambda: matting.matte(small, seen)), 2),  # noqa: B023
                round(seconds(lambda: bare(shown)), 2),  # noqa: B023
                need >> 20,
                grown >> 20,
            ]
        )
    head = [
        "megapixels",
        "cutout, s",
        "of which network",
        "of which matte",
        "GrabCut alone, s",
        "memory stated, MiB",
    ]
    return Section(
        harness.table([*head, "seen beyond what was taken before"], rows),
        figures={"within_stated_memory": within},
        goal={"within_stated_memory": True},
        holds=within,
    )
