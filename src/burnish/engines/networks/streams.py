"""Threads on which a network's tiles are computed, each tile on one of them, with a compiled graph of its own.

Called by runners. A thread waits for no other: where it has one core, OpenVINO computes in the very thread that calls
it, and nobody is met at the end of each layer. Where these threads are to have all the cores, each stays on its own.
With OpenVINO's threads in their place, a virtual machine was seen to keep both on one core for whole tiles, the other
core idle: twice the time.
"""

import os
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor, wait
from functools import partial
from typing import Any, TypeVar

import openvino as ov

_Made = TypeVar("_Made")


class Streams:
    """At most `most` of them, which share `threads` threads."""

    def __init__(self, threads: int, most: int) -> None:
        self.count = max(1, min(most, threads))
        self._threads_each = max(1, threads // self.count)
        cores = _cores()
        self._threads = [ThreadPoolExecutor(1, "stream") for _ in range(self.count)]
        if self._threads_each == 1 and self.count == len(cores) > 1:
            self.each([partial(os.sched_setaffinity, 0, {core}) for core in cores])

    def each(self, works: Iterable[Callable[[], _Made]]) -> list[_Made]:
        """Do all of these at once, at most one on each stream; returns, or raises what one raised, when all have ended."""
        running = [thread.submit(work) for thread, work in zip(self._threads, works, strict=False)]
        wait(running)
        return [work.result() for work in running]

    def compile(self, core: ov.Core, graph: ov.Model, precision: str) -> list[Any]:
        """The graph, compiled once for each stream."""
        hints = {
            "INFERENCE_PRECISION_HINT": precision,
            "NUM_STREAMS": 1,
            "INFERENCE_NUM_THREADS": self._threads_each,
            "ENABLE_CPU_PINNING": False,  # OpenVINO's own, which would be the same cores in every worker
        }
        return self.each([lambda: core.compile_model(graph, "CPU", hints)] * self.count)


def _cores() -> list[int]:
    """Those that this process may use; empty where it cannot choose among them."""
    return sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_setaffinity") else []
