"""ONNX files for tests, written by hand: a network of a single 1x1 convolution and a sigmoid.

The numbers of fields are those of ONNX's `onnx.proto`; a field is a key (its number and how it is written) and a value.
"""

import struct
from collections.abc import Sequence


def network(
    side: int = 320,
    weights: Sequence[float] = (4.0, 0.0, 0.0),
    bias: float = 0.0,
    channels: int = 3,
    outputs: int = 1,
) -> bytes:
    """`[1, channels, side, side]` in, `[1, outputs, side, side]` out: the sigmoid of the channels' weighted sum."""
    graph = (
        _node("Conv", ("picture", "weight", "bias"), "sum")
        + _node("Sigmoid", ("sum",), "mask")
        + _text(2, "net")
        + _bytes(5, _tensor("weight", (outputs, channels, 1, 1), list(weights) * outputs))
        + _bytes(5, _tensor("bias", (outputs,), [bias] * outputs))
        + _bytes(11, _value("picture", (1, channels, side, side)))
        + _bytes(12, _value("mask", (1, outputs, side, side)))
    )
    return _number(1, 8) + _bytes(7, graph) + _bytes(8, _number(2, 13))


def _node(kind: str, inputs: Sequence[str], output: str) -> bytes:
    return _bytes(1, b"".join(_text(1, name) for name in inputs) + _text(2, output) + _text(4, kind))


def _tensor(name: str, shape: Sequence[int], values: Sequence[float]) -> bytes:
    sizes = b"".join(_number(1, size) for size in shape)
    return sizes + _number(2, 1) + _text(8, name) + _bytes(9, struct.pack(f"<{len(values)}f", *values))


def _value(name: str, shape: Sequence[int]) -> bytes:
    sizes = b"".join(_bytes(1, _number(1, size)) for size in shape)
    return _text(1, name) + _bytes(2, _bytes(1, _number(1, 1) + _bytes(2, sizes)))


def _number(field: int, value: int) -> bytes:
    return _varint(field << 3) + _varint(value)


def _text(field: int, value: str) -> bytes:
    return _bytes(field, value.encode())


def _bytes(field: int, value: bytes) -> bytes:
    return _varint(field << 3 | 2) + _varint(len(value)) + value


def _varint(value: int) -> bytes:
    made = b""
    while value > 127:
        made += bytes([value & 127 | 128])
        value >>= 7
    return made + bytes([value])
