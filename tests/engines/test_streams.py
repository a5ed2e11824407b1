"""Threads for tiles: each does its own, and nobody goes on while one of them still works."""

import os
import threading

import pytest

from burnish.engines.networks.streams import Streams


def test_each_stream_does_one_and_all_at_once() -> None:
    """Results come in the order of the works."""
    streams = Streams(threads=2, most=2)
    met = threading.Barrier(2)

    def work(number: int) -> int:
        met.wait(10)  # breaks unless both are at work
        return number

    assert streams.each([lambda: work(0), lambda: work(1)]) == [0, 1]
    assert streams.each([lambda: 5]) == [5]


def test_what_one_raises_is_heard_when_all_have_ended() -> None:
    """A tile that fails leaves no other behind that writes into a result that is gone."""
    streams = Streams(threads=2, most=2)
    failed, ended = threading.Event(), threading.Event()

    def fail() -> None:
        failed.set()
        raise MemoryError

    def finish() -> None:
        failed.wait(10)
        ended.set()

    with pytest.raises(MemoryError):
        streams.each([fail, finish])
    assert ended.is_set()


@pytest.mark.skipif(not hasattr(os, "sched_getaffinity"), reason="threads cannot be kept on a core here")
def test_streams_that_have_all_cores_stay_on_their_own() -> None:
    """Elsewhere they go where there is room; the thread that starts them always does."""
    cores = os.sched_getaffinity(0)
    whole = Streams(threads=len(cores), most=len(cores))
    assert whole.each([lambda: os.sched_getaffinity(0)] * whole.count) == [{core} for core in sorted(cores)]
    part = Streams(threads=len(cores), most=max(1, len(cores) - 1))
    assert part.each([lambda: os.sched_getaffinity(0)] * part.count) == [cores] * part.count
    assert os.sched_getaffinity(0) == cores
