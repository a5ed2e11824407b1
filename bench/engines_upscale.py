"""`upscale`: what `upscale`, `denoise` and `sharpen` take of the ceiling and beside the nearest library alone; two at once.

The nearest library, for networks: OpenVINO with the same weights as a plain graph (every layer padded, the whole picture at
once, its own threads, the same precision), which neither cuts tiles nor keeps levels nor settles the result with its source. For
`denoise` also OpenCV's non-local means; for `sharpen` an unsharp mask by OpenCV, and scikit-image's. The ceiling is that of
`ceiling.py`; counted for it are the pixels that are wanted. Two at once: two tasks through the children, JPEG in and out, beside
one after the other.
"""

import asyncio
import importlib
import io
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from typing import Any
from uuid import UUID

import ceiling
import cv2
import harness
import msgspec
import numpy as np
import openvino as ov
from numpy.typing import NDArray
from openvino import opset13 as ops
from PIL import Image
from section import Section
from skimage import data, filters

from burnish import settings
from burnish.engines import catalogue
from burnish.engines.catalogue import find_model
from burnish.engines.engine import Engines, Job
from burnish.engines.networks import chain, ncnn, tiled
from burnish.engines.networks.device import Device
from burnish.engines.wire import Shot
from burnish.engines.work import Work

ROUNDS = int(os.environ.get("BENCH_ROUNDS", "3"))
WIDTH, HEIGHT = 1072, 932  # a megapixel
TOGETHER = 1.05
SHARE = 0.75  #: of the ceiling, for `restore`, as `scripts/bench upscale`

Pixels = NDArray[Any]
#: model, parameters, how often each pixel of the input goes through the network, and the network
NETWORKS: tuple[tuple[str, dict[str, Any], tuple[int, ...], str], ...] = (
    ("upscale", {"scale": 2}, (1,), "photo"),
    ("upscale", {"scale": 4}, (1, 4), "photo"),
    ("upscale", {"scale": 2, "mode": "art"}, (1,), "art"),
    ("upscale", {"scale": 4, "mode": "restore", "faces": "restore"}, (1,), "video"),
    ("upscale", {"scale": 4, "mode": "restore"}, (1,), "video"),
    ("denoise", {"strength": "high"}, (1,), "denoising"),
)
TASKS: tuple[tuple[str, dict[str, Any]], ...] = (
    ("upscale", {"scale": 2}),
    ("upscale", {"scale": 4, "mode": "restore"}),
    ("denoise", {"strength": "high"}),
    ("sharpen", {}),
)
FILES = {
    "photo": tiled.PHOTO,
    "art": tiled.ART,
    "denoising": tiled.DENOISING,
    "video": tiled.VIDEO,
}


def upscale_() -> Section:
    """Two tables: operations, and two tasks at once."""
    device = Device(ceiling.cores(), "auto")
    photo = _photo()
    table, shares = _operations(device, photo)
    rows, ratios = asyncio.run(_together(photo))
    head = ["1 megapixel, JPEG in and out", "one after the other, s", "two at once, s", "ratio"]
    share = shares["upscale scale=4 mode=restore faces=restore"]
    return Section(
        f"{table}\n\n{harness.table(head, rows)}",
        figures={"restore, of the ceiling": round(share, 3), "two at once": round(max(ratios), 3)},
        goal={"restore, of the ceiling": SHARE, "two at once": TOGETHER},
        holds=share >= SHARE and max(ratios) <= TOGETHER,
    )


def _photo() -> Pixels:
    """scikit-image's Hubble deep field, which is full of detail, with some noise."""
    photo = cv2.resize(data.hubble_deep_field(), (WIDTH, HEIGHT), interpolation=cv2.INTER_AREA)
    noise = np.random.default_rng(1).normal(0, 8, photo.shape)
    noisy: Pixels = np.clip(photo + noise, 0, 255).astype(np.uint8)
    return noisy


# --- operations ---------------------------------------------------------------------------------------------------------


def _operations(device: Device, photo: Pixels) -> tuple[str, dict[str, float]]:
    runs: dict[str, Callable[[], object]] = {}
    wanted: dict[str, int] = {}
    beside: dict[str, list[str]] = {}
    for model, params, zooms, weights in NETWORKS:
        name = " ".join([model, *(f"{key}={value}" for key, value in params.items())])
        network = _network(weights)
        plain = f"OpenVINO alone, {weights}, {len(zooms)}"
        runs[name] = _ours(device, model, params, photo)
        runs.setdefault(plain, _plain(device, network, photo, len(zooms)))
        each = sum(2 * layer.weight.size for layer in network.layers)
        wanted[name] = each * sum(zooms) * photo.shape[0] * photo.shape[1]
        beside[name] = [plain]
    runs["non-local means"] = lambda: cv2.fastNlMeansDenoisingColored(photo, None, 14, 14)
    beside["denoise strength=high"].append("non-local means")
    runs["sharpen"] = _ours(device, "sharpen", {}, photo)
    runs["OpenCV's unsharp mask"] = lambda: _unsharp(photo)
    runs["scikit-image's unsharp mask"] = lambda: filters.unsharp_mask(photo, 1.0, 0.5, channel_axis=2)
    beside["sharpen"] = ["OpenCV's unsharp mask", "scikit-image's unsharp mask"]
    ceilings = {
        f"ceiling {shape[0]}": ceiling.ceiling(device.streams, *shape, device.precision)
        for shape in ceiling.SHAPES
    }
    times: dict[str, list[float]] = {}
    for round_ in range(ROUNDS + 1):
        for name, run in [*runs.items(), *((name, run) for name, (run, _) in ceilings.items())]:
            began = time.perf_counter()
            run()
            if round_:
                times.setdefault(name, []).append(time.perf_counter() - began)
    seconds = {name: statistics.median(took) for name, took in times.items()}
    best = max(done / seconds[name] for name, (_, done) in ceilings.items())
    shares = {name: operations / seconds[name] / best for name, operations in wanted.items()}
    megapixels = photo.shape[0] * photo.shape[1] / 1e6
    rows: list[list[object]] = []
    for name, others in beside.items():
        share = f"{shares[name]:.2f}" if name in shares else ""
        for number, other in enumerate(others):
            mine = [name, round(seconds[name], 3), round(megapixels / seconds[name], 2), share]
            ratio = round(seconds[name] / seconds[other], 2)
            rows.append([*(mine if not number else [""] * 4), other, round(seconds[other], 3), ratio])
    head = [
        "1 megapixel",
        "seconds",
        "megapixels/s",
        "of the ceiling",
        "library alone",
        "its seconds",
        "ratio",
    ]
    said = f"The ceiling: {best / 1e9:.0f} Gflop/s, {device.precision}."
    return f"{harness.table(head, rows)}\n\n{said}", shares


def _ours(device: Device, name: str, params: dict[str, Any], photo: Pixels) -> Callable[[], object]:
    """A runner on raw pixels, as the child runs it."""
    model = find_model(name)
    assert model
    wanted = msgspec.convert({model.sources[0]: "x", **params}, model.parameters)
    (stage,) = catalogue.stages_of(model, wanted)
    (shape,) = catalogue.shapes_of(model, wanted, photo.shape[1], photo.shape[0])
    made = np.ones((shape.height, shape.width, 3), np.uint8)
    runner = importlib.import_module(stage.runner).load(device)
    packed = msgspec.msgpack.encode(stage.params)

    def run() -> None:
        for _ in runner.run(Work(packed, (photo,), (Shot(),), (made,))):
            pass

    return run


def _network(weights: str) -> chain.Chain:
    layers = ncnn.read(ncnn.find(*FILES[weights]))
    return chain.from_pixel_shuffle(layers) if weights == "video" else chain.from_deconvolution(layers)


def _plain(device: Device, network: chain.Chain, photo: Pixels, passes: int) -> Callable[[], object]:
    """A compiled model, called with the whole picture as often as there are passes; each makes bytes of what came out."""
    graphs: dict[tuple[int, int], Any] = {}

    def passed(pixels: Pixels) -> Pixels:
        size = pixels.shape[:2]
        if size not in graphs:
            hints = {"INFERENCE_PRECISION_HINT": device.precision, "PERFORMANCE_HINT": "LATENCY"}
            graphs[size] = device.core.compile_model(_padded(network, *size), "CPU", hints)
        (made,) = graphs[size]([pixels.transpose(2, 0, 1)[None].astype(np.float32)]).values()
        whole: Pixels = np.clip(made[0] + 0.5, 0, 255).astype(np.uint8).transpose(1, 2, 0)
        return whole

    def run() -> None:
        pixels = photo
        for _ in range(passes):
            pixels = passed(pixels)

    return run


def _padded(network: chain.Chain, height: int, width: int) -> ov.Model:
    source = ops.parameter([1, 3, height, width], np.float32)
    value = source
    for layer in network.layers:
        value = ops.convolution(value, ops.constant(layer.weight), [1, 1], [1, 1], [1, 1], [1, 1])
        value = ops.add(value, ops.constant(layer.bias.reshape(1, -1, 1, 1)))
        if layer.slope is not None:
            value = ops.prelu(value, ops.constant(np.asarray(layer.slope, np.float32)))
    if network.shortcut:
        times = ops.constant(np.array([1, network.k**2, 1, 1], np.int64))
        value = ops.add(value, ops.tile(source, times))
    return ov.Model([ops.depth_to_space(value, "blocks_first", network.k)], [source])


def _unsharp(photo: Pixels) -> object:
    return cv2.addWeighted(photo, 1.5, cv2.GaussianBlur(photo, (0, 0), 1.0), -0.5, 0)


# --- two at once --------------------------------------------------------------------------------------------------------


async def _together(photo: Pixels) -> tuple[list[list[object]], list[float]]:
    file = io.BytesIO()
    Image.fromarray(photo).save(file, "JPEG", quality=92)
    engines = Engines(settings.Engines())
    rows: list[list[object]] = []
    ratios = []
    try:
        for name, params in TASKS:
            model = find_model(name)
            assert model
            wanted = msgspec.convert({model.sources[0]: "x", **params}, model.parameters)

            async def task(model: catalogue.Model = model, wanted: msgspec.Struct = wanted) -> None:
                with tempfile.TemporaryFile() as source:
                    source.write(file.getvalue())
                    source.flush()
                    job = Job(UUID(int=1), model, wanted, [source.fileno()], 300.0)
                    for output in await engines.run(job, lambda _stage, _part: None):
                        os.close(output.fd)

            await task()
            pairs = []
            for _ in range(ROUNDS):
                began = time.perf_counter()
                await task()
                await task()
                between = time.perf_counter()
                await asyncio.gather(task(), task())
                pairs.append((between - began, time.perf_counter() - between))
            alone, both = (statistics.median(times) for times in zip(*pairs, strict=True))
            ratios.append(statistics.median(two / one for one, two in pairs))
            said = " ".join([name, *(f"{key}={value}" for key, value in params.items())])
            rows.append([said, round(alone, 3), round(both, 3), round(ratios[-1], 2)])
    finally:
        await engines.close()
    return rows, ratios
