"""Which server counts what: one alone, the master that sentinels name, or the one of a cluster that has the slot.

Each server is kept connected in the background, with pauses that grow to a second; a request never waits for that.
It is given the connection that stands, or None.
"""

import asyncio
import binascii
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Sequence
from typing import Final

import hiredis

from burnish import log
from burnish.limits.counters.connection import Access, Answer, Connection, Lost, Place, connect

_log = log.get("counters")
_FIRST_PAUSE_SECONDS: Final = 0.05
_LAST_PAUSE_SECONDS: Final = 1.0
_LEARN_PAUSE_SECONDS: Final = 0.1
_SLOTS: Final = 16_384


class Node:
    """One server, kept connected for as long as it is wanted. `connection` is None while it is away."""

    def __init__(self, find: Callable[[], Awaitable[Place]], access: Access) -> None:
        self.connection: Connection | None = None
        self.changed = asyncio.Event()  #: set whenever it comes or goes
        self._find = find
        self._access = access
        self._keeping = asyncio.create_task(self._keep())

    async def close(self) -> None:
        self._keeping.cancel()
        await asyncio.gather(self._keeping, return_exceptions=True)

    async def _keep(self) -> None:
        loop = asyncio.get_running_loop()
        pause, told = _FIRST_PAUSE_SECONDS, False
        while True:
            began = loop.time()
            try:
                place = await self._find()
                connection = await connect(place, self._access)
            except (OSError, UnicodeError) as error:
                why = str(error) or type(error).__name__
            else:
                if told:
                    _log.warning("counters_back", server=str(place))
                    told = False
                why = await self._stand(connection)
            if not told:
                _log.warning("counters_lost", error=why)
                told = True
            if loop.time() - began > _LAST_PAUSE_SECONDS:
                pause = _FIRST_PAUSE_SECONDS
            await asyncio.sleep(pause)
            pause = min(pause * 2, _LAST_PAUSE_SECONDS)

    async def _stand(self, connection: Connection) -> str:
        """Have it used until it is lost. Returns why."""
        self.connection = connection
        self.changed.set()
        try:
            return str(await asyncio.shield(connection.gone))
        finally:
            connection.lose("the counters are closed")
            self.connection = None
            self.changed.set()


class Nodes(ABC):
    """All servers of one store."""

    @abstractmethod
    def connection(self, tag: str) -> Connection | None:
        """To the server that counts what has this tag; None while it is away."""

    @abstractmethod
    def at(self, place: Place) -> Connection | None:
        """To the server at `place`, where another one has sent us; None where there is none yet."""

    @abstractmethod
    async def start(self) -> None:
        """Returns when all of it stands. Cancelled, it goes on in the background."""

    @abstractmethod
    async def close(self) -> None:
        """End every connection."""


class Alone(Nodes):
    """One server, which `find` finds."""

    def __init__(self, find: Callable[[], Awaitable[Place]], access: Access) -> None:
        self._node = Node(find, access)
        self._told = False

    def connection(self, tag: str) -> Connection | None:  # noqa: ARG002 - it counts everything
        return self._node.connection

    def at(self, place: Place) -> Connection | None:
        if not self._told:
            _log.error("counters_are_a_cluster", sent_to=str(place), hint="counters.url: redis+cluster://…")
            self._told = True
        return None

    async def start(self) -> None:
        while self._node.connection is None:
            self._node.changed.clear()
            await self._node.changed.wait()

    async def close(self) -> None:
        await self._node.close()


class Sentinels:
    """Those that know which server is the master; `master` asks them, the one first that answered last."""

    def __init__(self, places: Sequence[Place], service: str, access: Access) -> None:
        self._places = list(places)
        self._service = service
        self._access = access

    async def master(self) -> Place:
        for place in tuple(self._places):
            try:
                answer = await _asked(
                    place, self._access, "SENTINEL", "GET-MASTER-ADDR-BY-NAME", self._service
                )
            except OSError:
                continue
            if isinstance(answer, list):
                self._places.remove(place)
                self._places.insert(0, place)
                return Place(answer[0].decode(), int(answer[1]))
        raise Lost(f"no sentinel knows the master of {self._service}")


class Cluster(Nodes):
    """The masters of a cluster, each with its slots; the map is learnt again when it proves wrong."""

    def __init__(self, seeds: Sequence[Place], access: Access) -> None:
        self._seeds = seeds
        self._access = access
        self._slots: list[Place | None] = [None] * _SLOTS
        self._nodes: dict[Place, Node] = {}
        self._doubted = asyncio.Event()
        self._whole = asyncio.Event()
        self._keeping = asyncio.create_task(self._keep())

    def connection(self, tag: str) -> Connection | None:
        place = self._slots[binascii.crc_hqx(tag.encode(), 0) % _SLOTS]
        connection = self._nodes[place].connection if place is not None else None
        if connection is None:
            self._doubted.set()
        return connection

    def at(self, place: Place) -> Connection | None:
        self._doubted.set()
        node = self._nodes.get(place)
        return node.connection if node is not None else None

    async def start(self) -> None:
        await self._whole.wait()

    async def close(self) -> None:
        self._keeping.cancel()
        await asyncio.gather(self._keeping, return_exceptions=True)
        await asyncio.gather(*(node.close() for node in self._nodes.values()))

    async def _keep(self) -> None:
        """Learn the map when there is doubt of it; while a server of it is away there always is."""
        while True:
            self._doubted.clear()
            await self._learn()
            await asyncio.sleep(_LEARN_PAUSE_SECONDS)
            if all(place is not None and self._nodes[place].connection for place in self._slots):
                self._whole.set()
                await self._doubted.wait()

    async def _learn(self) -> None:
        for place in dict.fromkeys((*self._nodes, *self._seeds)):
            try:
                answer = await _asked(place, self._access, "CLUSTER", "SLOTS")
            except OSError:
                continue
            if isinstance(answer, list) and answer:
                await self._take(place, answer)
                return

    async def _take(self, asked: Place, ranges: list[Answer]) -> None:
        """The map as `asked` tells it; a server that it leaves without a host is itself."""
        slots: list[Place | None] = [None] * _SLOTS
        for first, last, (host, port, *_), *_replicas in ranges:
            place = Place(host.decode() if host else asked.host, port)
            slots[first : last + 1] = [place] * (last + 1 - first)
        wanted = {place for place in slots if place is not None}
        for place in wanted - self._nodes.keys():
            self._nodes[place] = Node(_finding(place), self._access)
        self._slots = slots
        for place in self._nodes.keys() - wanted:
            await self._nodes.pop(place).close()


def alone(place: Place, access: Access) -> Alone:
    """The server at `place`."""
    return Alone(_finding(place), access)


def _finding(place: Place) -> Callable[[], Awaitable[Place]]:
    async def find() -> Place:
        return place

    return find


async def _asked(place: Place, access: Access, *command: str) -> Answer:
    """One question on a connection of its own. Raises OSError."""
    connection = await connect(place, access, counts=False)
    try:
        answer = await connection.ask(*command)
    finally:
        connection.lose("it was for one question")
    if isinstance(answer, hiredis.ReplyError):
        raise Lost(str(answer))
    return answer
