"""How likely each pixel belongs to what a picture shows: an ONNX network that the operator has installed.

Called by runners. The conventions are those that rembg (2.0, `sessions/u2net.py` and `sessions/dis_general_use.py`) calls
its networks by: one picture in, `[1, 3, side, side]`, its samples divided by the largest, less a mean and by a deviation;
the first output is the mask, `[1, 1, side, side]`, stretched between its own least and most.

- `u2net` (u2net, u2netp, silueta and their like): the means and deviations of ImageNet; 320 pixels a side.
- `isnet` (isnet-general-use, isnet-anime): mean 0.5, deviation 1; 1024 pixels a side.
"""

from hashlib import sha256
from pathlib import Path
from typing import Any, Final

import cv2
import numpy as np
import openvino as ov
from numpy.typing import NDArray

from burnish.engines import installed
from burnish.engines.networks.device import Device
from burnish.errors import Unusable

Pixels = NDArray[Any]
Likelihood = NDArray[Any]  #: of float32

#: Convention -> mean and deviation of red, green and blue, and the side where the network takes any.
_CONVENTIONS: Final = {
    "u2net": ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225), 320),
    "isnet": ((0.5, 0.5, 0.5), (1.0, 1.0, 1.0), 1024),
}
_SIDES: Final = range(64, 2049)
#: Where the network is nowhere surer than this, nothing is there.
_LEAST: Final = 0.5
#: Memory of a network at work: its weights twice, and for each pixel that it sees.
_BYTES_AT_LEAST: Final = 256 * 1024 * 1024
_BYTES_PER_PIXEL: Final = 2600


def load(device: Device) -> "Objects | None":
    """The network that was installed last for cut-outs; None where there is none.

    Raises:
        Unusable: it is not what its manifest says, or not such a network.
    """
    network = installed.for_cutout(device.models) if device.models else None
    if network is None or device.models is None:
        return None
    return Objects(device, device.models / network.name, network)


def convention_of(shape: Any) -> str:
    """By the side of what the network takes, where it says one.

    Raises:
        Unusable: it says none, or another.
    """
    for name, (*_, side) in _CONVENTIONS.items():
        if shape[2].is_static and shape[2].get_length() == side:
            return name
    raise Unusable(
        "The network does not take pictures of 320 or of 1024 pixels a side, so how it wants them is not known: say it with "
        f"--convention {' or '.join(_CONVENTIONS)}."
    )


def check(model: ov.Model) -> None:
    """Raises Unusable where it does not take a picture and give a mask of it."""
    shape = model.input(0).partial_shape if len(model.inputs) == 1 else None
    if shape is None or shape.rank.is_dynamic or len(shape) != 4 or not shape[1].compatible(ov.Dimension(3)):
        raise Unusable("The network takes something else than one picture, [1, 3, height, width].")
    answer = model.output(0).partial_shape
    if answer.rank.is_static and (len(answer) != 4 or not answer[1].compatible(ov.Dimension(1))):
        raise Unusable("The network's first output is no mask, [1, 1, height, width].")


class Objects:
    """The loaded network; compiled at first use."""

    """`folder`: the network's own. Raises Unusable, or RuntimeError where OpenVINO cannot read the file."""

    def __init__(self, device: Device, folder: Path, network: installed.Network) -> None:
        (file,) = network.files
        path = folder / file.name
        data = path.read_bytes()
        if len(data) != file.size_bytes or sha256(data).hexdigest() != file.sha256:
            raise Unusable(f"{path} has changed since it was installed. Remove it and add it again.")
        self._device = device
        self._size_bytes = len(data)
        self._model = device.core.read_model(data, b"")
        check(self._model)
        shape = self._model.input(0).partial_shape
        self.convention = convention_of(shape) if network.convention == "none" else network.convention
        mean, deviation, side = _CONVENTIONS[self.convention]
        self._mean, self._deviation = np.array(mean, np.float32), np.array(deviation, np.float32)
        self.side: int = shape[2].get_length() if shape[2].is_static else side
        if self.side not in _SIDES:
            raise Unusable(
                f"The network takes pictures of {self.side} pixels a side; it may be {_SIDES.stop - 1}."
            )
        self._compiled: list[Any] = []

    @property
    def memory_bytes(self) -> int:
        """What `look` needs beside the picture, at most."""
        return _BYTES_AT_LEAST + 2 * self._size_bytes + self.side**2 * _BYTES_PER_PIXEL

    def look(self, pixels: Pixels) -> Likelihood:
        """For 8-bit RGB `[H, W, 3]`: 0 to 1 for every pixel, `[H, W]`; all 0 where nothing is.

        Raises:
            ValueError: the network answers with something else than a mask.
        """
        height, width = pixels.shape[:2]
        if not self._compiled:
            self._model.reshape([1, 3, self.side, self.side])
            self._compiled = self._device.streams.compile(self._device.core, self._model, "f32")
        how = cv2.INTER_AREA if min(height, width) > self.side else cv2.INTER_LINEAR
        shown = cv2.resize(pixels, (self.side, self.side), interpolation=how).astype(np.float32)
        shown = (shown / max(float(shown.max()), 1e-6) - self._mean) / self._deviation
        said = self._compiled[0](np.ascontiguousarray(shown.transpose(2, 0, 1)[None]))[0]
        if said.ndim != 4 or said.shape[:2] != (1, 1) or not np.isfinite(said).all():
            raise ValueError(f"the network answered with {said.shape}, or with no numbers")
        mask = said[0, 0].astype(np.float32)
        least, most = float(mask.min()), float(mask.max())
        if most < _LEAST or most == least:
            return np.zeros((height, width), np.float32)
        made: Likelihood = cv2.resize(
            (mask - least) / (most - least), (width, height), interpolation=cv2.INTER_LINEAR
        )
        return np.clip(made, 0, 1)

    def rest(self) -> None:
        """Give back what the network worked with; it stays compiled."""
        for compiled in self._compiled:
            compiled.release_memory()
