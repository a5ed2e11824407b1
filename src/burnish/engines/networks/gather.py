"""Tiles of several jobs, gathered into batches: plain bookkeeping; the network is whoever computes them.

A job posts its tiles, lets the others have their turn, and comes back for them. Whoever comes back first computes all
that was posted for the same network until then; the others find theirs done. Cutting, and putting results in place, is
done by each job in its own turn, so the network alone is shared, and the blame is never: a batch that fails is done again
tile by tile, each in its job's turn, and whoever watches is told whose tiles are computed together.
"""

from collections.abc import Callable, Hashable, Iterator, Sequence
from dataclasses import dataclass

from burnish.engines.networks.backend import Part
from burnish.engines.work import Pixels

Run = Callable[[Sequence[Pixels]], Sequence[Pixels]]


@dataclass(eq=False)
class _Posted:
    """A tile that waits to be computed. `alone`: with no other."""

    job: int
    alone: bool
    window: Pixels
    put: Callable[[Pixels], None]
    blocks: Pixels | None = None


class Gather:
    """`most` tiles in a batch; it is halved where memory falls short. `tell` hears whose tiles are computed from now on:
    several jobs for as long as a batch takes, then the one whose turn it is.
    """

    def __init__(self, most: int) -> None:
        self.most = most
        self.tell: Callable[[tuple[int, ...]], None] = lambda _jobs: None
        self._job = 0
        self._alone = False
        self._posted: dict[Hashable, list[_Posted]] = {}

    def turn(self, job: int, *, alone: bool) -> None:
        """What is posted from now on is this job's."""
        self._job, self._alone = job, alone

    def compute(self, network: Hashable, parts: Sequence[Part], run: Run) -> Iterator[None]:
        """Do these; yields once, for others to post theirs. `run` computes a batch for `network`: windows in, blocks out.

        A job that leaves in between takes its tiles with it.
        """
        mine = [
            _Posted(self._job, self._alone, window, part.put)
            for part in parts
            if (window := part.cut()) is not None
        ]
        queue = self._posted.setdefault(network, [])
        queue += mine
        try:
            yield
            while left := [tile for tile in mine if tile.blocks is None]:
                self._batch(left, queue, run)
        finally:
            queue[:] = [tile for tile in queue if tile not in mine]
            if not queue:
                self._posted.pop(network, None)
        for tile in mine:
            assert tile.blocks is not None
            tile.put(tile.blocks)

    def _batch(self, mine: list[_Posted], queue: list[_Posted], run: Run) -> None:
        """Compute some of mine, and with them what there is of others'."""
        first = mine[0]
        beside = [tile for tile in queue if tile.blocks is None and not tile.alone and tile not in mine]
        together = [tile for tile in mine if not tile.alone] + beside
        taken = [first] if first.alone else together[: self.most]
        jobs = tuple(dict.fromkeys(tile.job for tile in taken))
        if len(jobs) > 1:
            self.tell(jobs)
        try:
            made = run([tile.window for tile in taken])
        except Exception as error:
            if len(taken) == 1:
                raise
            if isinstance(error, MemoryError):
                self.most = max(1, len(taken) // 2)
            for tile in taken:
                tile.alone = True
        else:
            for tile, blocks in zip(taken, made, strict=True):
                tile.blocks = blocks
        if len(jobs) > 1:
            self.tell((first.job,))
