"""What networks are computed on: one OpenVINO, the threads of all runners together, and the precision that pays here.

Detectors and masks run on OpenVINO everywhere; the networks that make pictures run on `backend`, which is OpenVINO too
where no GPU takes its place.
"""

from pathlib import Path
from typing import Final

import cv2
import openvino as ov

from burnish.engines.networks.backend import Backend, OpenVino
from burnish.engines.networks.streams import Streams

#: Tiles computed at the same time, each on its share of the threads. Threads of one tile wait for each other at every
#: layer, by which they lose 20 % where other work wants a core too; more tiles at once would each take their memory.
STREAMS: Final = 2


class Device:
    """`threads`: of everything that is computed at one time. `precision`: bf16 or f32, of 8-bit pictures. `models`:
    the directory of installed networks.
    """

    def __init__(self, threads: int, precision: str, models: Path | None = None) -> None:
        cv2.setNumThreads(threads)  # OpenCV's pool is one for the whole process
        self.core = ov.Core()
        self.threads = threads
        self.models = models
        self.streams = Streams(threads, STREAMS)
        if precision == "auto":
            able = self.core.get_property("CPU", "OPTIMIZATION_CAPABILITIES")
            precision = "bf16" if "BF16" in able else "f32"
        self.precision = precision
        self.backend: Backend = OpenVino(self.core, self.streams, precision)
        self.gpu = False
        self.facts = {
            "precision": precision,
            "device": str(self.core.get_property("CPU", "FULL_DEVICE_NAME")),
        }

    def compute_on(self, backend: Backend, *, gpu: bool) -> None:
        """Have pictures made by another backend from now on."""
        self.backend, self.gpu = backend, gpu
        self.facts |= backend.facts
