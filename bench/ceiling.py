"""The best rate at which this processor is seen to do 3x3 convolutions, and how graphs are timed on a network's threads."""

import os
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import openvino as ov
from numpy.typing import NDArray
from openvino import opset13 as ops

from burnish.engines.networks.streams import Streams

#: channels, side, padding: several, because the best of them is meant
SHAPES = ((64, 288, 0), (128, 128, 1), (256, 64, 1), (512, 32, 1))
LAYERS = 16
OPERATIONS = 10**11  # of a stream, so that it takes as long as what stands beside it


def ceiling(
    streams: Streams, channels: int, side: int, padding: int, precision: str
) -> tuple[Callable[[], float], int]:
    """3x3 convolutions in a row, of `channels` into as many, on a picture of `side` by `side`; and their operations."""
    rng = np.random.default_rng(channels)
    source = ops.parameter([1, channels, side, side], np.float32)
    value, pads, done = source, [padding, padding], 0
    for _ in range(LAYERS):
        weight = (rng.standard_normal((channels, channels, 3, 3)) / channels).astype(np.float32)
        value = ops.convolution(value, ops.constant(weight), [1, 1], pads, pads, [1, 1])
        done += 2 * weight.size * value.shape[2] * value.shape[3]
    given = rng.standard_normal((1, channels, side, side)).astype(np.float32)
    graphs = streams.compile(ov.Core(), ov.Model([value], [source]), precision)
    often = -(-OPERATIONS // done)
    shares = [[inferred(graph, given)] * often for graph in graphs]
    return lambda: timed(streams, shares), done * often * streams.count


def inferred(graph: Any, given: NDArray[Any]) -> Callable[[], Any]:
    """What runs a graph on this input again and again, and copies nothing."""
    request = graph.create_infer_request()
    return partial(request.infer, [given], share_inputs=True, share_outputs=True)


def timed(streams: Streams, shares: list[list[Callable[[], Any]]]) -> float:
    """Seconds; every stream does its share."""
    started = time.perf_counter()
    streams.each([partial(_all, share) for share in shares])
    return time.perf_counter() - started


def cores() -> int:
    """Those that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _all(works: list[Callable[[], Any]]) -> None:
    for work in works:
        work()
