"""A network that is to be installed, tried: it is read, and looks at a picture twice. Loaded in a child of `install` alone.

Its directory of networks is the network's own folder.
"""

import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from burnish.engines import installed
from burnish.engines.networks import ncnn, objects
from burnish.engines.networks.device import Device
from burnish.engines.wire import Picture
from burnish.engines.work import Work
from burnish.errors import Failed, Unusable

#: What a refusal may say; OpenVINO says a lot.
_LETTERS = 300
#: Nothing is known of the network yet, and a large one on a large picture is slow but no fault.
_MEMORY_BYTES = 6 << 30


def load(device: Device) -> "Trial":
    """Read it; what is wrong with it is said by `run`."""
    assert device.models
    return Trial(device, device.models)


class Trial:
    """The network, or what is wrong with it."""

    def __init__(self, device: Device, folder: Path) -> None:
        self._objects: objects.Objects | None = None
        self._why = ""
        network = installed.read(folder)
        if network is None:
            self._why = "Its manifest cannot be read."
            return
        try:
            if network.format == "onnx":
                self._objects = objects.Objects(device, folder, network)
            else:
                ncnn.read(folder / network.files[0].name)
        except (Unusable, OSError, RuntimeError, ValueError, LookupError) as error:
            self._why = f"It is no network that can be read here: {str(error)[-_LETTERS:]}"

    def memory_bytes(self, params: bytes, pictures: Sequence[Picture]) -> int:
        """What a network may want."""
        del params, pictures
        return _MEMORY_BYTES

    def run(self, work: Work) -> Iterator[float]:
        """Its convention, and how long the first look and another took, in seconds, as data.

        Raises:
            Failed: engine_refused, with what is wrong.
        """
        if self._why:
            raise Failed("engine_refused", self._why)
        work.data = {"convention": "none", "side": 0, "first_seconds": 0.0, "seconds": 0.0}
        if self._objects is None:
            return
        (pixels,) = work.sources
        took = []
        for part in (0.5, 1.0):
            start = time.perf_counter()
            try:
                self._objects.look(np.ascontiguousarray(pixels))
            except (ValueError, RuntimeError) as error:
                raise Failed(
                    "engine_refused", f"It does not do what it should: {str(error)[-_LETTERS:]}"
                ) from error
            took.append(time.perf_counter() - start)
            yield part
        work.data = {
            "convention": self._objects.convention,
            "side": self._objects.side,
            "first_seconds": round(took[0], 3),
            "seconds": round(took[1], 3),
        }

    def rest(self) -> None:
        """Nothing is kept for another job."""
