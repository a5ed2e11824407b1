"""Tiles of several jobs in one batch: who computes what, and whose fault is whose. No network is needed for that."""

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from burnish.engines.networks import tiles
from burnish.engines.networks.backend import Part
from burnish.engines.networks.gather import Gather

Pixels = NDArray[Any]


class Network:
    """Doubles its windows; remembers its batches, and fails on those that hold what it cannot stand."""

    def __init__(self, fails: Callable[[list[int]], Exception | None] = lambda _: None) -> None:
        self.batches: list[list[int]] = []
        self._fails = fails

    def run(self, windows: Sequence[Pixels]) -> list[Pixels]:
        values = [int(window[0, 0, 0]) for window in windows]
        self.batches.append(values)
        if fault := self._fails(values):
            raise fault
        return [window * 2 for window in windows]


class Jobs:
    """Jobs that post tiles, by number, and take turns as the inference child has them."""

    def __init__(self, most: int = 4, network: Network | None = None) -> None:
        self.gather = Gather(most)
        self.told: list[tuple[int, ...]] = []
        self.gather.tell = self.told.append
        self.network = network or Network()
        self.put: list[int] = []

    def start(
        self, job: int, *values: int | None, alone: bool = False, network: object = "same"
    ) -> Iterator[None]:
        def cut(value: int | None) -> Pixels | None:
            return None if value is None else np.full((1, 1, 1), value)

        def put(blocks: Pixels) -> None:
            self.put.append(int(blocks[0, 0, 0]))

        self.gather.turn(job, alone=alone)
        steps = self.gather.compute(
            network, [Part(partial(cut, value), put) for value in values], self.network.run
        )
        next(steps)
        return steps

    def finish(self, job: int, steps: Iterator[None]) -> None:
        self.gather.turn(job, alone=False)
        assert next(steps, "over") == "over"


def test_the_first_to_come_back_computes_for_all() -> None:
    """One batch for three jobs; each puts its own in place, in its own turn."""
    jobs = Jobs()
    first, second, third = (jobs.start(number, number * 10) for number in (1, 2, 3))
    jobs.finish(1, first)
    assert jobs.network.batches == [[10, 20, 30]]
    assert jobs.put == [20]
    jobs.finish(2, second)
    jobs.finish(3, third)
    assert jobs.network.batches == [[10, 20, 30]]
    assert jobs.put == [20, 40, 60]
    assert jobs.told == [(1, 2, 3), (1,)]
    assert not jobs.gather._posted


def test_only_tiles_of_the_same_network_meet() -> None:
    """Another network, or another shape of tile, is another batch."""
    jobs = Jobs()
    first, second = jobs.start(1, 10), jobs.start(2, 20, network="other")
    jobs.finish(1, first)
    jobs.finish(2, second)
    assert jobs.network.batches == [[10], [20]]
    assert jobs.told == []


def test_a_batch_has_room_for_so_many() -> None:
    """Whoever comes back is served whole first; those for whom no room was left compute theirs when they come."""
    jobs = Jobs(most=3)
    first, second = jobs.start(1, 10, 11), jobs.start(2, 20, 21)
    jobs.finish(1, first)
    jobs.finish(2, second)
    assert jobs.network.batches == [[10, 11, 20], [21]]
    assert jobs.put == [20, 22, 40, 42]


def test_more_tiles_than_a_batch_holds_are_several() -> None:
    """All of a job's are done when its step is over."""
    jobs = Jobs(most=2)
    jobs.finish(1, jobs.start(1, 1, 2, 3, 4, 5))
    assert jobs.network.batches == [[1, 2], [3, 4], [5]]


def test_what_needs_no_network_is_left_out() -> None:
    """A place that was filled when it was cut."""
    jobs = Jobs()
    jobs.finish(1, jobs.start(1, None, 4, None))
    assert jobs.network.batches == [[4]]


def test_a_batch_that_fails_is_done_again_one_by_one_each_in_its_jobs_turn() -> None:
    """The job whose tile it was meets the fault; the others' tiles are computed."""
    jobs = Jobs(network=Network(lambda values: ValueError("no 20") if 20 in values else None))
    first, second, third = (jobs.start(number, number * 10) for number in (1, 2, 3))
    jobs.finish(1, first)
    with pytest.raises(ValueError, match="no 20"):
        jobs.finish(2, second)
    jobs.finish(3, third)
    assert jobs.network.batches == [[10, 20, 30], [10], [20], [30]]
    assert jobs.put == [20, 60]
    assert jobs.told == [(1, 2, 3), (1,)]
    assert jobs.gather.most == 4
    assert not jobs.gather._posted


def test_batches_are_halved_where_memory_falls_short() -> None:
    """Not tried again at a size that the device cannot hold; a tile that is too large by itself is its job's fault."""
    jobs = Jobs(most=4, network=Network(lambda values: MemoryError() if len(values) > 2 else None))
    jobs.finish(1, jobs.start(1, 1, 2, 3, 4))
    assert jobs.gather.most == 2
    jobs.finish(1, jobs.start(1, 5, 6, 7))
    assert jobs.network.batches == [[1, 2, 3, 4], [1], [2], [3], [4], [5, 6], [7]]
    small = Jobs(network=Network(lambda _: MemoryError()))
    with pytest.raises(MemoryError):
        small.finish(1, small.start(1, 9))
    assert small.gather.most == 4


def test_a_job_that_leaves_takes_its_tiles_along() -> None:
    """Nobody computes for who was cancelled, and nothing of it is kept."""
    jobs = Jobs()
    first, second = jobs.start(1, 10), jobs.start(2, 20)
    first.close()  # type: ignore[attr-defined]
    jobs.finish(2, second)
    assert jobs.network.batches == [[20]]
    assert jobs.put == [40]
    assert not jobs.gather._posted


def test_a_job_that_is_to_be_alone_is() -> None:
    """After a crash that may have been its doing: neither its own batch nor others' hold its tiles."""
    jobs = Jobs()
    first, second, third = jobs.start(1, 10, 11, alone=True), jobs.start(2, 20), jobs.start(3, 30)
    jobs.finish(2, second)
    jobs.finish(1, first)
    jobs.finish(3, third)
    assert jobs.network.batches == [[20, 30], [10], [11]]


def test_tiles_of_few_sizes_cover_every_picture() -> None:
    """Each measures one of the sides; little more is computed than by tiles of any size; small ones where they must be."""
    sides = (48, 64, 96, 128, 192, 256, 320, 384, 512, 640, 768, 1024)
    rng = np.random.default_rng(5)
    for _ in range(100):
        height, width = (int(side) for side in rng.integers(1, 3000, 2))
        plan = tiles.plan(height, width, margin=18, most_pixels=1 << 20, sides=sides)
        assert {plan.height, plan.width} <= set(sides)
        assert plan.height * plan.width <= 1 << 20
        covered = np.zeros((height, width), bool)
        for top, left in plan.tiles:
            covered[top : top + plan.height, left : left + plan.width] = True
        assert covered.all()
        if min(height, width) > 200:
            assert len(plan.tiles) * plan.height * plan.width <= height * width * 1.6
    assert tiles.plan(500, 500, margin=7, most_pixels=700, sides=sides).height == 48
