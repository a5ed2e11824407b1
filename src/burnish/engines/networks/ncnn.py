"""Weight files of the ncnn kind (`.param` and `.bin`) as plain arrays.

Used as data: the packages that carry the files are found, never imported. Reads the layers that the catalogue's
networks are made of, and checks that every byte of the weights was understood.
"""

import importlib.util
import struct
from pathlib import Path
from typing import Any, Final

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from burnish.errors import Unusable

Array = NDArray[np.float32]

_MAGIC: Final = "7767517"
_HALF: Final = 0x0130_6B47
_SINGLE: Final = 0
#: Numbers of parameters in the text form; from `_ARRAYS` downwards they name arrays.
_OUTPUTS, _SIZE, _HAS_BIAS, _WEIGHTS, _ACTIVATION = 0, 1, 5, 6, 9
_ACTIVATION_VALUES: Final = 10
_ARRAYS: Final = -23300
_LEAKY: Final = 2


class Layer(Struct):
    """A layer in the order of the file. `weight`: out, in, height, width; `slope`: of the activation that it holds."""

    type: str
    weight: Array | None = None
    bias: Array | None = None
    slope: Array | None = None


def find(package: str, *parts: str) -> Path:
    """A file inside an installed package, without importing it.

    Raises:
        Unusable: the package is not installed, or has no such file.
    """
    spec = importlib.util.find_spec(package)
    for place in (spec.submodule_search_locations or ()) if spec else ():
        path = Path(place, *parts)
        if path.is_file():
            return path
    raise Unusable(f"The weights {'/'.join(parts)} of the package {package} are not installed.")


def read(param: Path) -> list[Layer]:
    """The layers of `param`, with the weights of the `.bin` beside it.

    Raises:
        Unusable: the files are not of this kind, or do not belong together.
    """
    lines = param.read_text("ascii").splitlines()
    if not lines or lines[0].strip() != _MAGIC:
        raise Unusable(f"{param} is not an ncnn network.")
    weights = _Weights(param.with_suffix(".bin").read_bytes())
    layers = [_layer(line.split(), weights) for line in lines[2:] if line.strip()]
    if weights.left:
        raise Unusable(
            f"{param.with_suffix('.bin')} holds {weights.left} bytes that {param.name} does not name."
        )
    return layers


def _layer(words: list[str], weights: "_Weights") -> Layer:
    kind, inputs, outputs = words[0], int(words[2]), int(words[3])
    parameters = _parameters(words[4 + inputs + outputs :])
    layer = Layer(kind)
    if kind in ("Convolution", "Deconvolution"):
        count, size = int(parameters[_OUTPUTS]), int(parameters[_SIZE])
        layer.weight = weights.tagged(int(parameters[_WEIGHTS])).reshape(count, -1, size, size)
        layer.bias = weights.plain(count) if parameters.get(_HAS_BIAS) else np.zeros(count, np.float32)
        if parameters.get(_ACTIVATION) == _LEAKY:
            layer.slope = np.full(count, parameters[_ACTIVATION_VALUES][0], np.float32)
    elif kind == "PReLU":
        layer.slope = weights.plain(int(parameters[_OUTPUTS]))
    return layer


def _parameters(words: list[str]) -> dict[int, Any]:
    found: dict[int, Any] = {}
    for word in words:
        name, _, value = word.partition("=")
        number = int(name)
        if number <= _ARRAYS:
            found[_ARRAYS - number] = [float(part) for part in value.split(",")[1:]]
        else:
            found[number] = float(value)
    return found


class _Weights:
    """The `.bin`, read from front to back."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    @property
    def left(self) -> int:
        return len(self._data) - self._at

    def plain(self, count: int) -> Array:
        return self._take("<f4", count)

    def tagged(self, count: int) -> Array:
        """Half or single precision, as the four bytes before them say; halves are padded to four bytes."""
        (tag,) = struct.unpack_from("<I", self._data, self._at)
        self._at += 4
        if tag == _HALF:
            values = self._take("<f2", count)
            self._at += -self._at % 4
            return values
        if tag == _SINGLE:
            return self._take("<f4", count)
        raise Unusable(f"Weights are stored in a way that is not known (0x{tag:08x}).")

    def _take(self, kind: str, count: int) -> Array:
        size = np.dtype(kind).itemsize * count
        if size > self.left:
            raise Unusable("A weight file ends too soon.")
        values = np.frombuffer(self._data, kind, count, self._at).astype(np.float32)
        self._at += size
        return values
