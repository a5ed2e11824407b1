"""The codec, from the worker's side: every file to a child of its own.

A template process, which loads the decoders and never sees a client's byte, forks a child for each question. So a
child serves one file of one account and is gone: nothing is left for the next, and after a crash the next child is
a fork away (milliseconds). When the template itself is lost it is started again at once.
"""

import asyncio
import contextlib
import os
import signal
import socket
from collections import deque
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Final, TypeVar

import msgspec

from burnish import log
from burnish.engines import wire
from burnish.engines.child import Child, Connection
from burnish.errors import Failed, Unusable

_log = log.get("engines")

_ready: Final = msgspec.msgpack.Decoder(wire.Ready)
_from_template: Final = msgspec.msgpack.Decoder(wire.FromTemplate)
_from_codec: Final = msgspec.msgpack.Decoder(wire.FromCodec)

#: The reasons that a codec child may give; anything else it says is `internal`.
_ITS_REASONS: Final = {
    *("unsupported_format", "decode_failed", "input_too_large", "duration_out_of_range", "output_too_large"),
}
_MESSAGE_CHARACTERS: Final = 600
_DETAIL_CHARACTERS: Final = 2000
#: A template that has not forked for this long is hung.
_ANSWER_SECONDS: Final = 5.0
_OURS: Final = "Reading or writing the file failed on our side. It may be tried again."
#: Questions without a byte of a client's in them.
_OF_OURS: Final = (wire.Encode, wire.Canned, wire.CannedFilm, wire.EncodeFilm, wire.Frames)
#: Signals that a process brings on itself by what it does with its input.
_CRASHES: Final = {
    signal.SIGSEGV,
    signal.SIGBUS,
    signal.SIGABRT,
    signal.SIGILL,
    signal.SIGFPE,
    signal.SIGSYS,
    signal.SIGTRAP,
}

Reply = TypeVar("Reply", wire.Probed, wire.Decoded, wire.Encoded, wire.Opened, wire.Filled, wire.Taken)


class _Fork:
    """One child of the template; `ended` holds the signal that ended it, 0 for none."""

    def __init__(self) -> None:
        loop = asyncio.get_running_loop()
        self.pid: asyncio.Future[int] = loop.create_future()
        self.ended: asyncio.Future[int] = loop.create_future()


class _Template:
    """A running template and the children that it has."""

    def __init__(self, child: Child, when_lost: Callable[[], None]) -> None:
        self.child = child
        self.lost = False
        self._when_lost = when_lost
        self._asked: deque[_Fork] = deque()
        self._forks: dict[int, _Fork] = {}
        self._dismissals: set[asyncio.Task[None]] = set()
        self._listening = asyncio.create_task(self._listen())

    async def fork(self, sock: socket.socket) -> _Fork:
        fork = _Fork()
        self._asked.append(fork)
        hung = asyncio.get_running_loop().call_later(_ANSWER_SECONDS, self.child.kill)
        fork.pid.add_done_callback(lambda _: hung.cancel())
        await self.child.connection.send(wire.Fork(), [sock.fileno()])
        return fork

    def dismiss(self, fork: _Fork) -> None:
        """See to it that a child ends, whatever it does; returns at once."""
        task = asyncio.create_task(self._kill(fork))
        self._dismissals.add(task)
        task.add_done_callback(self._dismissals.discard)

    async def _kill(self, fork: _Fork) -> None:
        await asyncio.wait([fork.pid])
        if not self.lost and not fork.ended.done():
            with contextlib.suppress(wire.Gone):
                await self.child.connection.send(wire.Kill(fork.pid.result()))

    async def end(self) -> None:
        tasks = (self._listening, *self._dismissals)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self.child.end()

    async def _listen(self) -> None:
        try:
            while True:
                match await self.child.connection.receive(_from_template):
                    case wire.Forked(pid):
                        fork = self._asked.popleft()
                        self._forks[pid] = fork
                        fork.pid.set_result(pid)
                    case wire.Ended(pid, how):
                        self._forks.pop(pid).ended.set_result(how)
        except (wire.Gone, IndexError, KeyError):
            self.lost = True
            self._when_lost()
        finally:
            for fork in (*self._asked, *self._forks.values()):
                fork.pid.cancel()
                fork.ended.cancel()


class Conversation:
    """A child that stays for several questions, one at a time."""

    def __init__(self, connection: Connection, fork: _Fork) -> None:
        self._connection = connection
        self._fork = fork

    async def ask(self, message: wire.Message, descriptors: Sequence[int], kind: type[Reply]) -> Reply:
        """Its answer. Raises Failed, as `Codec.ask`."""
        try:
            await self._connection.send(message, descriptors)
            reply = await self._connection.receive(_from_codec)
        except wire.Gone:
            await asyncio.wait([self._fork.ended])
            raise _lost(
                message, None if self._fork.ended.cancelled() else self._fork.ended.result()
            ) from None
        if isinstance(reply, kind):
            return reply
        if isinstance(reply, wire.Failure):
            raise _failed(reply)
        _log.warning("codec child lied", said=type(reply).__name__, asked=type(message).__name__)
        raise Failed("internal", _OURS)


class Codec:
    """Questions about files, any number at once."""

    def __init__(self) -> None:
        self._template: _Template | None = None
        self._starting = asyncio.Lock()
        self._reviving: asyncio.Task[None] | None = None
        self._closed = False

    async def start(self) -> None:
        """Have a template ready.

        Raises:
            Unusable: it does not start.
        """
        await self._ready()

    async def close(self) -> None:
        """End the template, and with it every child."""
        self._closed = True
        if self._reviving:
            self._reviving.cancel()
            await asyncio.gather(self._reviving, return_exceptions=True)
        template, self._template = self._template, None
        if template:
            await template.end()

    async def ask(self, question: wire.Message, descriptors: Sequence[int], kind: type[Reply]) -> Reply:
        """The answer of a fresh child. Cancelling ends the child.

        Raises:
            Failed: with the child's own reason, or, for a child that is lost: decode_failed where it crashed on a
                client's bytes, deadline_exceeded where its processor time was over, internal otherwise.
        """
        for attempt in (1, 2):
            template = await self._ready()
            try:
                reply, how = await self._ask(template, question, descriptors)
            except wire.Gone:
                how, reply = None, None
            if isinstance(reply, kind):
                return reply
            if isinstance(reply, wire.Failure):
                raise _failed(reply)
            if how is not None or attempt == 2:
                raise _lost(question, how)
            # The template went down with a child in it that may be innocent: once more, on a new one.
        raise AssertionError

    @contextlib.asynccontextmanager
    async def conversation(self) -> AsyncIterator["Conversation"]:
        """A child that is asked one thing after another about one film; it ends with the conversation."""
        template = await self._ready()
        ours, theirs = socket.socketpair()
        connection = Connection(ours)
        try:
            with theirs:
                fork = await template.fork(theirs)
            try:
                yield Conversation(connection, fork)
            finally:
                template.dismiss(fork)
        except wire.Gone as error:
            raise Failed("internal", _OURS) from error
        finally:
            connection.close()

    async def _ask(
        self, template: _Template, question: wire.Message, descriptors: Sequence[int]
    ) -> tuple[wire.FromCodec | None, int | None]:
        """The child's answer, or None and the signal that ended it; the signal is None where the template is lost."""
        ours, theirs = socket.socketpair()
        connection = Connection(ours)
        try:
            with theirs:
                fork = await template.fork(theirs)
            try:
                await connection.send(question, descriptors)
                return await connection.receive(_from_codec), None
            except wire.Gone:
                await asyncio.wait([fork.ended])
                return None, None if fork.ended.cancelled() else fork.ended.result()
            finally:
                template.dismiss(fork)
        finally:
            connection.close()

    def _revive(self) -> None:
        """Start a new template before anyone asks for it."""
        _log.warning("codec lost")
        if not self._closed:
            self._reviving = asyncio.create_task(self._try_start())

    async def _try_start(self) -> None:
        try:
            await self._ready()
        except Unusable as error:  # the next question tries again, and answers with it
            _log.error("codec does not start", error=str(error))

    async def _ready(self) -> _Template:
        async with self._starting:
            if self._closed:
                raise Unusable("The codec is closed.")
            if self._template is None or self._template.lost:
                if self._template:
                    await self._template.end()
                    self._template = None
                child, ready = await Child.start("codec", wire.Start(os.getpid()), _ready)
                _log.debug("codec ready", pid=child.pid, confined=ready.confined)
                self._template = _Template(child, self._revive)
            return self._template


def _failed(reply: wire.Failure) -> Failed:
    """What a child said about its file, as far as it may be believed."""
    _log.info("codec refused", reason=reply.reason, detail=reply.detail[-_DETAIL_CHARACTERS:])
    if reply.reason in _ITS_REASONS:
        return Failed(reply.reason, reply.message[:_MESSAGE_CHARACTERS])
    return Failed("internal", _OURS)


def _lost(question: wire.Message, how: int | None) -> Failed:
    """The failure for a child that ended without an answer."""
    name = signal.Signals(how).name if how else None
    _log.warning("codec child lost", question=type(question).__name__, signal=name)
    if how == signal.SIGXCPU:
        return Failed("deadline_exceeded", "Reading or writing the file took longer than the task may take.")
    if how in _CRASHES and not isinstance(question, _OF_OURS):
        return Failed(
            "decode_failed",
            "The file brought its decoder down; it is damaged, or made to do harm. Save it anew and send that.",
        )
    return Failed("internal", _OURS)
