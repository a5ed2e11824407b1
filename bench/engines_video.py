"""`video`: whole films through all children, beside the network alone in a loop; and what the children take meanwhile."""

import asyncio
import io
import os
import tempfile
import threading
import time
from fractions import Fraction
from typing import Any
from uuid import UUID

import av
import msgspec
import numpy as np
import psutil
from section import Section
from skimage import data

from burnish import settings
from burnish.engines.catalogue import find_model
from burnish.engines.engine import Engines, Job
from burnish.engines.networks.device import Device
from burnish.engines.networks.tiled import Tiled
from burnish.engines.runners.upscale import WAYS

#: model, parameters, width, height, frames
RUNS: tuple[tuple[str, dict[str, Any], int, int, int], ...] = (
    ("video-upscale", {"scale": 2}, 320, 180, 96),
    ("video-upscale", {"scale": 4, "mode": "restore"}, 320, 180, 96),
    ("video-upscale", {"scale": 2}, 640, 360, 48),
)
SHARE = 0.85
LONG = (64, 36, 6_000, 1_000)  #: width, height, and frames of a long film and of a short one
FLAT = 1.25


def video_() -> Section:
    """The table, and whether both goals hold."""
    table = ["| film | network alone, frames a second | whole task | share |", "| --- | --- | --- | --- |"]
    shares = []
    for model, params, width, height, frames in RUNS:
        film = _film(width, height, frames)
        before = _alone(params, width, height)
        whole, _ = asyncio.run(_whole(model, params, film, watched=False))
        alone = (before + _alone(params, width, height)) / 2  # other work on the machine comes and goes
        shares.append(frames / whole / alone)
        said = ", ".join(f"`{name}: {value}`" for name, value in params.items())
        table.append(
            f"| {width} x {height}, {said} | {alone:.1f} | {frames / whole:.1f} | {shares[-1]:.2f} |"
        )
    table += ["", "| `video-denoise` of 64 x 36 | peak of all children, MB |", "| --- | --- |"]
    width, height, long, short = LONG
    peaks = {}
    for frames in (short, long):
        _, peaks[frames] = asyncio.run(
            _whole("video-denoise", {}, _film(width, height, frames), watched=True)
        )
        table.append(f"| {frames:,} frames | {peaks[frames] / 1e6:.0f} |")
    return Section(
        table="\n".join(table),
        figures={
            "share, least": round(min(shares), 2),
            "long / short, memory": round(peaks[long] / peaks[short], 2),
        },
        goal={"share, least": SHARE, "long / short, memory": FLAT},
        holds=min(shares) >= SHARE and peaks[long] <= FLAT * peaks[short],
    )


def _alone(params: dict[str, Any], width: int, height: int) -> float:
    """Frames a second of the network, with nothing round it."""
    networks = Tiled(Device(len(os.sched_getaffinity(0)), "auto"))
    way = WAYS[params.get("mode", "faithful")][params["scale"]]
    frame = np.ascontiguousarray(np.resize(data.astronaut(), (height, width, 3)))
    made = np.empty((height * params["scale"], width * params["scale"], 3), np.uint8)
    for _ in networks.paint(way, frame, made):
        pass
    began, count = time.perf_counter(), 0
    while time.perf_counter() - began < 5:
        for _ in networks.paint(way, frame, made):
            pass
        count += 1
    return count / (time.perf_counter() - began)


def _film(width: int, height: int, frames: int) -> bytes:
    buffer = io.BytesIO()
    photo = np.resize(data.astronaut(), (height, width + 64, 3))
    with av.open(buffer, "w", format="mp4") as container:
        stream: Any = container.add_stream("libx264", rate=30, options={"preset": "veryfast"})
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        for number in range(frames):
            left = number % 64
            frame = av.VideoFrame.from_ndarray(
                np.ascontiguousarray(photo[:, left : left + width]), format="rgb24"
            )
            frame.pts, frame.time_base = number, Fraction(1, 30)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return buffer.getvalue()


async def _whole(model_name: str, params: dict[str, Any], film: bytes, *, watched: bool) -> tuple[float, int]:
    """Seconds of a whole task on loaded engines, and the most that all its children took, in bytes."""
    engines = Engines(settings.Engines())
    model = find_model(model_name)
    assert model
    wanted = msgspec.convert({"video": "x", **params}, model.parameters)
    try:
        with tempfile.TemporaryFile() as file:
            file.write(film)
            file.flush()
            job = Job(UUID(int=1), model, wanted, [file.fileno()], 3600.0)
            await _warm(engines, job)
            peak = _Peak() if watched else None
            began = time.perf_counter()
            (output,) = await engines.run(job, _quiet)
            seconds = time.perf_counter() - began
            os.close(output.fd)
            return seconds, peak.stop() if peak else 0
    finally:
        await engines.close()


async def _warm(engines: Engines, job: Job) -> None:
    """Graphs are compiled for the film's size by its first frames."""
    work = asyncio.create_task(engines.run(job, _quiet))
    await asyncio.sleep(3)
    work.cancel()
    for output in await asyncio.gather(work, return_exceptions=True):
        if isinstance(output, list):
            os.close(output[0].fd)


def _quiet(_stage: str, _part: float) -> None:
    pass


class _Peak:
    """The most that all children of this process take together, without what they share, looked at twice a second."""

    def __init__(self) -> None:
        self._most = 0
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._look)
        self._thread.start()

    def _look(self) -> None:
        while not self._over.wait(0.5):
            total = 0
            for child in psutil.Process().children(recursive=True):
                try:
                    total += child.memory_full_info().uss
                except psutil.Error:
                    continue
            self._most = max(self._most, total)

    def stop(self) -> int:
        self._over.set()
        self._thread.join()
        return self._most
