"""`first`: for every model of pictures, how long engines that have just started take for it, beside the next times.

Each model has children of its own. Starting them (weights are read there) and what the first picture takes more than the next
(graphs are compiled then) make the goal together. Models whose network is not installed are left out.
"""

import asyncio
import contextlib
import io
import os
import tempfile
import time
from typing import Any
from uuid import UUID

import harness
import msgspec
from PIL import Image
from section import Section
from skimage import data

from burnish import settings
from burnish.engines import catalogue
from burnish.engines.engine import Engines, Job
from burnish.errors import Failed

GOAL = 1.5
SIZE = (640, 480)
#: What is said beside the model's name; a model that is not here is asked as it is.
WAYS: dict[str, tuple[dict[str, Any], ...]] = {
    "upscale": (
        {"scale": 2},
        {"scale": 4},
        {"scale": 1, "mode": "restore"},
        {"scale": 4, "mode": "restore"},
        {"scale": 2, "mode": "art"},
    ),
    "denoise": ({"strength": "high"},),
}
MANY = ("merge", "group")


def first_() -> Section:
    """A row for each way that a model can be asked in."""
    photo = io.BytesIO()
    Image.fromarray(data.astronaut()).resize(SIZE).save(photo, "JPEG", quality=92)
    rows: list[list[object]] = []
    worst = 0.0
    for model in catalogue.models():
        if model.film or model.canned or model.runner == catalogue.IN_THE_WORKER:
            continue
        for params in WAYS.get(model.name, ({},)):
            try:
                first, next_ = asyncio.run(_times(model, params, photo.getvalue()))
            except Failed:
                continue
            worst = max(worst, first - next_)
            said = " ".join([model.name, *(f"{name}={value}" for name, value in params.items())])
            rows.append([said, *(round(value, 2) for value in (first, next_, first - next_))])
    head = ["640 x 480", "first picture, start included, s", "next, s", "start and first use, s"]
    return Section(
        harness.table(head, rows),
        figures={"start and first use, s": round(worst, 2)},
        goal={"start and first use, s": GOAL},
        holds=worst <= GOAL,
    )


async def _times(model: catalogue.Model, params: dict[str, Any], photo: bytes) -> tuple[float, float]:
    """Seconds of the first task, for which the children are started, and of the shorter of the next two."""
    count = 3 if model.name in MANY else 1
    given = ["x"] * count if model.name in MANY else "x"
    wanted = msgspec.convert({model.sources[0]: given, **params}, model.parameters)
    engines = Engines(settings.Engines())
    times = []
    try:
        for _ in range(3):
            with contextlib.ExitStack() as stack:
                files = [stack.enter_context(tempfile.TemporaryFile()) for _ in range(count)]
                for file in files:
                    file.write(photo)
                    file.flush()
                job = Job(UUID(int=1), model, wanted, [file.fileno() for file in files], 300.0)
                began = time.perf_counter()
                outputs = await engines.run(job, lambda _stage, _part: None)
                times.append(time.perf_counter() - began)
                for output in outputs:
                    os.close(output.fd)
        return times[0], min(times[1:])
    finally:
        await engines.close()
