"""Networks of the TensorFlow Lite kind (`.tflite`) as plain operators and arrays, for those that OpenVINO cannot read.

Used as data: the packages that carry the files are found, never imported. A file is a FlatBuffer: tables that say by a
small directory of their own where each field lies, and a field that is not there has its default. The numbers of tables
and fields are those of TensorFlow Lite's schema, version 3 (`tensorflow/compiler/mlir/lite/schema/schema.fbs`).
"""

import struct
from pathlib import Path
from typing import Any, Final

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from burnish.errors import Unusable

_IDENTIFIER: Final = b"TFL3"
#: Operators by the number that a file gives them.
_OPERATORS: Final = {
    0: "add",
    1: "average_pool",
    3: "convolution",
    4: "depthwise_convolution",
    6: "dequantize",
    14: "logistic",
    18: "multiply",
    19: "relu",
    23: "resize_bilinear",
    32: "custom",
    117: "hard_swish",
}
_CUSTOM: Final = 32
_KINDS: Final = {0: "<f4", 1: "<f2", 2: "<i4"}
#: Fields of an operator's options that say what it computes: operator -> name -> (field, format, default).
_OPTIONS: Final[dict[str, dict[str, tuple[int, str, int]]]] = {
    "convolution": {
        "padding": (0, "<b", 0),
        "stride_x": (1, "<i", 0),
        "stride_y": (2, "<i", 0),
        "activation": (3, "<b", 0),
        "dilation_x": (4, "<i", 1),
        "dilation_y": (5, "<i", 1),
    },
    "depthwise_convolution": {
        "padding": (0, "<b", 0),
        "stride_x": (1, "<i", 0),
        "stride_y": (2, "<i", 0),
        "multiplier": (3, "<i", 0),
        "activation": (4, "<b", 0),
        "dilation_x": (5, "<i", 1),
        "dilation_y": (6, "<i", 1),
    },
    "average_pool": {
        "padding": (0, "<b", 0),
        "stride_x": (1, "<i", 0),
        "stride_y": (2, "<i", 0),
        "width": (3, "<i", 0),
        "height": (4, "<i", 0),
        "activation": (5, "<b", 0),
    },
    "add": {"activation": (0, "<b", 0)},
    "multiply": {"activation": (0, "<b", 0)},
    "resize_bilinear": {"align_corners": (2, "<b", 0), "half_pixel_centers": (3, "<b", 0)},
}


class Tensor(Struct, frozen=True):
    """A value of the network: its shape, and what it holds where the file says so."""

    shape: tuple[int, ...]
    data: NDArray[Any] | None


class Operator(Struct, frozen=True):
    """`inputs`, `outputs`: places among the tensors, -1 for none. `custom`: the bytes that a custom operator is told by."""

    kind: str
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    options: dict[str, int]
    custom: bytes = b""


class Network(Struct, frozen=True):
    """Operators in the order in which they are computed."""

    tensors: tuple[Tensor, ...]
    operators: tuple[Operator, ...]
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]


def read(path: Path) -> Network:
    """The one graph of a file.

    Raises:
        Unusable: it is not of this kind, is damaged, or holds an operator that is not known here.
    """
    data = path.read_bytes()
    try:
        return _network(_Table(data, _Table.root(data)))
    except (struct.error, ValueError, KeyError) as error:
        raise Unusable(f"{path} is not a TensorFlow Lite network that can be read here: {error}") from error


def _network(model: "_Table") -> Network:
    codes = [_operator_name(code) for code in model.tables(1)]
    buffers = model.tables(4)
    (graph,) = model.tables(2)
    return Network(
        tensors=tuple(_tensor(tensor, buffers) for tensor in graph.tables(0)),
        operators=tuple(_operator(operator, codes) for operator in graph.tables(3)),
        inputs=graph.integers(1),
        outputs=graph.integers(2),
    )


def _operator_name(code: "_Table") -> str:
    number = max(code.number(0, "<b", 0), code.number(3, "<i", 0))  # files before 2020 have only the first
    name = _OPERATORS[number]
    return code.data(1).decode("ascii") if number == _CUSTOM else name


def _tensor(tensor: "_Table", buffers: list["_Table"]) -> Tensor:
    shape = tensor.integers(0)
    kind = np.dtype(_KINDS[tensor.number(1, "<b", 0)])
    raw = buffers[tensor.number(2, "<I", 0)].data(0)
    return Tensor(shape, np.frombuffer(raw, kind).reshape(shape) if raw else None)


def _operator(operator: "_Table", codes: list[str]) -> Operator:
    kind = codes[operator.number(0, "<I", 0)]
    options = operator.table(4)
    return Operator(
        kind=kind,
        inputs=operator.integers(1),
        outputs=operator.integers(2),
        options={
            name: options.number(*place) if options else place[2]
            for name, place in _OPTIONS.get(kind, {}).items()
        },
        custom=operator.data(5),
    )


class _Table:
    """A table of a FlatBuffer; fields by their number."""

    def __init__(self, data: bytes, at: int) -> None:
        self._data = data
        self._at = at
        (back,) = struct.unpack_from("<i", data, at)
        self._directory = at - back
        (self._directory_bytes,) = struct.unpack_from("<H", data, self._directory)

    @staticmethod
    def root(data: bytes) -> int:
        """Where the outermost table lies."""
        if data[4:8] != _IDENTIFIER:
            raise ValueError("it does not begin as one")
        (at,) = struct.unpack_from("<I", data)
        return int(at)

    def number(self, field: int, format_: str, default: int) -> int:
        at = self._place(field)
        return int(struct.unpack_from(format_, self._data, at)[0]) if at else default

    def table(self, field: int) -> "_Table | None":
        at = self._place(field)
        return _Table(self._data, self._there(at)) if at else None

    def tables(self, field: int) -> "list[_Table]":
        at, count = self._vector(field)
        return [_Table(self._data, self._there(at + 4 * number)) for number in range(count)]

    def integers(self, field: int) -> tuple[int, ...]:
        at, count = self._vector(field)
        return struct.unpack_from(f"<{count}i", self._data, at)

    def data(self, field: int) -> bytes:
        at, count = self._vector(field)
        if at + count > len(self._data):
            raise ValueError("it ends too soon")
        return self._data[at : at + count]

    def _vector(self, field: int) -> tuple[int, int]:
        """Where its elements begin, and how many there are."""
        at = self._place(field)
        if not at:
            return 0, 0
        start = self._there(at)
        (count,) = struct.unpack_from("<I", self._data, start)
        return start + 4, int(count)

    def _place(self, field: int) -> int:
        """Where a field's value or reference lies; 0: it is not there."""
        entry = 4 + 2 * field
        if entry >= self._directory_bytes:
            return 0
        (offset,) = struct.unpack_from("<H", self._data, self._directory + entry)
        return self._at + offset if offset else 0

    def _there(self, at: int) -> int:
        (offset,) = struct.unpack_from("<I", self._data, at)
        return at + int(offset)
