"""What computes the tiles of pictures: the promise that OpenVINO's graphs (here) and torch's (`torch_backend`) keep.

`Tiled` plans and cuts; a backend has a route ready for tiles of one shape, and takes them from the hand that cuts to the
hand that puts.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Final, Protocol

import openvino as ov

from burnish.engines.networks import chain
from burnish.engines.networks.chain import Route
from burnish.engines.networks.streams import Streams
from burnish.engines.work import Pixels

#: Pixels of a tile that goes through a network once: two such take three seconds on two cores, then others have a turn.
TILE_PIXELS: Final = 3 << 17


@dataclass(frozen=True, slots=True)
class Part:
    """A tile on its way. `cut` gives its window, `[H + 2m, W + 2m, C]`, or None where its place was filled without a
    network; `put` takes what the network made of it, `[H', W', k * k * C]`.
    """

    cut: Callable[[], Pixels | None]
    put: Callable[[Pixels], None]


class Network(Protocol):
    """A route, ready for tiles of one shape."""

    def compute(self, parts: Sequence[Part]) -> Iterator[None]:
        """Do these, at most `Backend.at_once`. Each step that it yields is one in which other jobs may add theirs."""

    def computed(self, window: Pixels) -> Pixels:
        """A window through the network, now and by itself."""

    def release(self) -> None:
        """Give back what was worked with."""


class Backend(Protocol):
    """`at_once`: tiles of a picture that are computed together. `at_one_price`: of these, how many take no longer than
    one, so that a cut is planned for full rounds. `tile_pixels`: of a tile that goes through a network once.
    `bytes_per_pixel`: memory of a network at work, for a pixel of an 8-bit tile and a pass.
    `sides`: what tiles may measure, where those of several jobs shall fit together; empty: anything.
    """

    at_once: int
    at_one_price: int
    tile_pixels: int
    bytes_per_pixel: int
    sides: tuple[int, ...]
    facts: dict[str, str]

    def check(self) -> None:
        """Compute a little, when all fences stand.

        Raises:
            Unusable: that does not work.
        """

    def meet(self, tell: Callable[[tuple[int, ...]], None]) -> None:
        """`tell` is to hear whose tiles are computed together, and then whose turn it is again."""

    def compile(self, route: Route, height: int, width: int, *, bits: int, bound: bool = False) -> Network:
        """Have a route ready for tiles of this shape; `bound`: see `chain.graph`."""

    def rest(self) -> None:
        """Give back memory that is kept for all networks together."""

    def turn(self, job: int, *, alone: bool) -> None:
        """The steps that follow are this job's. `alone`: its tiles are not to be computed with those of others."""


class OpenVino:
    """The processor: each of some tiles on a stream of its own."""

    at_once: int
    tile_pixels = TILE_PIXELS
    bytes_per_pixel = 1100  # 690 and 830 measured, and some more
    sides: tuple[int, ...] = ()

    def __init__(self, core: ov.Core, streams: Streams, precision: str) -> None:
        self._core = core
        self._streams = streams
        self._precision = precision
        self.at_once = self.at_one_price = streams.count
        self.facts: dict[str, str] = {}

    def check(self) -> None:
        """The first graph is compiled when it is wanted."""

    def meet(self, tell: Callable[[tuple[int, ...]], None]) -> None:
        """Jobs never do here."""

    def compile(self, route: Route, height: int, width: int, *, bits: int, bound: bool = False) -> Network:
        graph = chain.graph(route, height, width, bits=bits, bound=bound)
        # 16 bits are kept only by single precision, which has 24 to bf16's 8.
        precision = self._precision if bits == 8 else "f32"
        return _Graphs(self._streams, self._streams.compile(self._core, graph, precision))

    def rest(self) -> None:
        """Each graph has its own."""

    def turn(self, job: int, *, alone: bool) -> None:
        """Jobs never meet here."""


class _Graphs:
    """A graph for each stream."""

    def __init__(self, streams: Streams, graphs: list[Any]) -> None:
        self._streams = streams
        self._graphs = graphs

    def compute(self, parts: Sequence[Part]) -> Iterator[None]:
        self._streams.each(
            partial(_through, graph, part) for graph, part in zip(self._graphs, parts, strict=False)
        )
        return iter(())

    def computed(self, window: Pixels) -> Pixels:
        return _computed(self._graphs[0], window)

    def release(self) -> None:
        for graph in self._graphs:
            graph.release_memory()


def _through(graph: Any, part: Part) -> None:
    window = part.cut()
    if window is not None:
        part.put(_computed(graph, window))


def _computed(graph: Any, window: Pixels) -> Pixels:
    """[H + 2m, W + 2m, C] through a graph: [H', W', k * k * C]."""
    answer = graph.create_infer_request().infer([window[None]], share_inputs=True, share_outputs=True)
    blocks: Pixels = answer[0][0]
    return blocks
