"""`memory`: what each model takes beside the pixels that come and go, as its runner states it and as it is seen.

A child may let its address space grow by what is stated and a little over (`sandbox.limit_memory`), so that is what is
looked at: the peak of a process that has loaded one runner and does one picture, in the environment that children have. The
picture has a sky and faces, so that everything there is to do is done. Run by itself with a case and a folder of pictures, it is that
process.
"""

import importlib
import json
import mmap
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import cv2
import harness
import msgspec
import numpy as np
from numpy.typing import NDArray
from section import Section
from skimage import data

from burnish.engines import catalogue
from burnish.engines.catalogue import find_model
from burnish.engines.child import ENVIRONMENT
from burnish.engines.networks.device import Device
from burnish.engines.sandbox import SLACK_BYTES
from burnish.engines.wire import Picture, Shot
from burnish.engines.work import Work, view

#: model, its parameters, bits and channels of the pictures, how many there are, and the sizes in megapixels
CASES: tuple[tuple[str, dict[str, Any], int, int, int, tuple[float, ...]], ...] = (
    ("upscale", {"scale": 2}, 8, 3, 1, (1, 4, 12)),
    ("upscale", {"scale": 4}, 8, 3, 1, (1, 2)),
    ("upscale", {"scale": 2}, 16, 4, 1, (1, 2)),
    ("upscale", {"scale": 4, "mode": "restore"}, 8, 3, 1, (1, 4, 12)),
    ("upscale", {"scale": 8, "mode": "restore"}, 8, 3, 1, (0.3,)),
    ("denoise", {"strength": "high"}, 8, 3, 1, (1, 4, 12)),
    ("sharpen", {}, 8, 3, 1, (1, 4, 12)),
    ("sharpen", {}, 16, 4, 1, (12,)),
    ("enhance", {}, 8, 3, 1, (1, 4, 12)),
    ("straighten", {}, 8, 3, 1, (1, 4, 12)),
    ("lens", {"distortion": 0.05}, 8, 3, 1, (1, 4, 12)),
    ("sky", {"kind": "low_cloud"}, 8, 3, 1, (1, 4, 12)),
    ("privacy", {}, 8, 3, 1, (1, 4, 12)),
    ("privacy", {}, 16, 4, 1, (12,)),
    ("cutout", {}, 8, 3, 1, (1, 4, 12)),
    ("merge", {}, 8, 3, 3, (1, 4, 12)),
)
_MIB = 1 << 20

Pixels = NDArray[Any]


def memory_() -> Section:
    """A row for each size; every peak must be within what is stated and what every child has over."""
    rows: list[list[object]] = []
    within = True
    for model, params, bits, channels, count, sizes in CASES:
        for megapixels in sizes:
            stated, seen = _asked(model, params, picture(megapixels, bits, channels), count)
            within = within and seen <= stated + SLACK_BYTES
            said = " ".join([model, *(f"{name}={value}" for name, value in params.items())])
            kind = f"{bits} bits, {channels} channels" + (f", {count} pictures" if count > 1 else "")
            rows.append(
                [said, kind, megapixels, stated // _MIB, seen // _MIB, round(seen / _MIB / megapixels)]
            )
    head = ["model", "pictures", "megapixels", "stated, MiB", "seen, MiB", "seen, MiB a megapixel"]
    return Section(
        harness.table(head, rows),
        figures={"within what is stated": within},
        goal={"within what is stated": True},
        holds=within,
    )


def _asked(model: str, params: dict[str, Any], pixels: Pixels, count: int) -> tuple[int, int]:
    """What is stated and what is seen, in bytes, by a process of its own. Several pictures are exposures."""
    with tempfile.TemporaryDirectory(prefix="burnish-bench-") as folder:
        for number in range(count):
            exposed = cv2.LUT(pixels[..., :3], _exposed(0.5 + 0.4 * number)) if count > 1 else pixels
            np.save(Path(folder) / f"{number}.npy", exposed)
        asked = subprocess.run(
            [sys.executable, __file__, json.dumps([model, params]), folder],
            check=True,
            stdout=subprocess.PIPE,
            env={**os.environ, **ENVIRONMENT["inference"]},
        )
        stated, seen = json.loads(asked.stdout.splitlines()[-1])
        return stated, seen


def _exposed(times: float) -> Pixels:
    curve: Pixels = np.clip(np.arange(256) * times, 0, 255).astype(np.uint8)
    return curve


def picture(megapixels: float, bits: int, channels: int) -> Pixels:
    """A sky over many faces, [H, W, C], four to three; a small one is a portrait."""
    height = round((megapixels * 1e6 * 3 / 4) ** 0.5)
    width = round(height * 4 / 3)
    rng = np.random.default_rng(1)
    faces = np.tile(data.astronaut(), (-(-height // 512), -(-width // 512), 1))[:height, :width]
    whole = np.ascontiguousarray(faces)
    if megapixels < 0.5:
        return np.asarray(cv2.resize(data.astronaut(), (width, height)))
    top = height * 2 // 5
    slope = np.linspace(0, 1, top)[:, None, None]
    sky = (1 - slope) * np.array([90.0, 140, 220]) + slope * np.array([190.0, 215, 240])
    whole[:top] = np.clip(sky + rng.normal(0, 1, (top, width, 1)), 0, 255)
    if channels == 4:
        alpha = cv2.resize(np.linspace(0, 255, 64).reshape(8, 8).astype(np.uint8), (width, height))
        whole = np.dstack([whole, alpha])
    return whole if bits == 8 else whole.astype(np.uint16) * 257


def main(case: str, folder: str) -> None:
    """What is stated, and what is seen beyond what was there before, in bytes."""
    name, given = json.loads(case)
    model = find_model(name)
    assert model
    sources = tuple(np.load(file, mmap_mode="r") for file in sorted(Path(folder).iterdir()))
    params = msgspec.convert(
        {model.sources[0]: ["x"] * len(sources) if len(sources) > 1 else "x", **given}, model.parameters
    )
    height, width, channels = sources[0].shape
    first = Picture(width=width, height=height, channels=channels, bits=8 * sources[0].itemsize)
    promised = [
        Picture(
            width=shape.width,
            height=shape.height,
            channels=shape.channels or channels,
            bits=shape.bits or first.bits,
        )
        for shape in catalogue.shapes_of(model, params, width, height)
    ]
    results = tuple(view(memoryview(mmap.mmap(-1, made.size_bytes)), made) for made in promised)
    (stage,) = catalogue.stages_of(model, params)
    device = Device(len(os.sched_getaffinity(0)), "auto")
    runner = importlib.import_module(stage.runner).load(device)
    packed = msgspec.msgpack.encode(stage.params)
    before = _status("VmSize")
    for _ in runner.run(Work(packed, sources, (Shot(),) * len(sources), results)):
        pass
    print(json.dumps([runner.memory_bytes(packed, [first] * len(sources)), _status("VmPeak") - before]))


def _status(name: str) -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(name + ":"))


if __name__ == "__main__":
    main(*sys.argv[1:])
