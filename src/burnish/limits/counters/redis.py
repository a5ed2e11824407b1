"""Counters in Redis or Valkey, which all API processes share.

One script decides all rates of a request under one hash tag, on the server's own clock: whatever the clocks of the
processes say, and however many of them ask, nothing passes that the rates forbid. Keys are
`burnish:{<tag>}:<subject>:<rate>`, and each expires when there is nothing left to remember.

While the server does not answer, each rate does as it says: `local` counts in this process, at its share; `open` lets
pass; `closed` is a 503. Nobody waits for that but those who had asked already, and they for 20 ms.
"""

import asyncio
from collections.abc import Coroutine, Sequence
from hashlib import sha1
from typing import Any, Final

import hiredis

from burnish.limits.counters.connection import Answer, Connection, Lost, Place, packed
from burnish.limits.counters.counters import Asked, Counters, unavailable
from burnish.limits.counters.memory import MemoryCounters
from burnish.limits.counters.nodes import Nodes
from burnish.limits.rate import Verdict, Verdicts

_START_SECONDS: Final = 1.0
_MICRO: Final = 1_000  #: the script counts in microseconds
#: What `ask` and `spend` of `limits/rate.py` do, on the server. Answers whether all allow it, then `behind` of each.
_SCRIPT: Final = """
local call = redis.call
local time = call('TIME')
local now = time[1] * 1000000 + time[2]
local answer = {1}
for i = 1, #KEYS do
  local interval, room = ARGV[2 * i] + 0, ARGV[2 * i + 1] + 0
  local behind = (call('GET', KEYS[i]) or now) - now
  if behind < 0 then behind = 0 elseif behind > room then behind = room end
  if behind + interval > room then answer[1] = 0 end
  answer[i + 1] = behind
end
if ARGV[1] == '1' and answer[1] == 1 then
  for i = 1, #KEYS do
    local behind = answer[i + 1] + ARGV[2 * i]
    answer[i + 1] = behind
    call('SET', KEYS[i], string.format('%.0f', now + behind), 'PX', math.ceil(behind / 1000))
  end
end
return answer
"""
_SHA: Final = sha1(_SCRIPT.encode()).hexdigest()  # noqa: S324 - the name that the server gives it


class RedisCounters(Counters):
    """On the servers of `nodes`; `processes` share a limit where each counts alone."""

    def __init__(self, nodes: Nodes, processes: int = 1) -> None:
        self._nodes = nodes
        self._local = MemoryCounters(processes)

    async def start(self) -> None:
        """Returns when the servers answer, or after a second: then it begins without them."""
        starting = asyncio.ensure_future(self._nodes.start())
        await asyncio.wait([starting], timeout=_START_SECONDS)
        starting.cancel()

    def spend(self, tag: str, asked: Sequence[Asked]) -> Verdicts | Coroutine[Any, Any, Verdicts]:
        connection = self._nodes.connection(tag)
        if connection is None:
            return self._without(tag, asked, spends=True)
        return self._decided(connection, tag, asked, spends=True)

    def peek(self, tag: str, asked: Sequence[Asked]) -> Verdicts | Coroutine[Any, Any, Verdicts]:
        connection = self._nodes.connection(tag)
        if connection is None:
            return self._without(tag, asked, spends=False)
        return self._decided(connection, tag, asked, spends=False)

    def away(self) -> bool:
        return self._nodes.connection("") is None

    async def close(self) -> None:
        await self._nodes.close()
        await self._local.close()

    async def _decided(
        self, connection: Connection, tag: str, asked: Sequence[Asked], *, spends: bool
    ) -> Verdicts:
        arguments: list[str | int] = [len(asked)]
        arguments += [f"burnish:{{{tag}}}:{subject}:{rate.name}" for subject, rate in asked]
        arguments.append(int(spends))
        for _, rate in asked:
            arguments += (rate.interval // _MICRO, rate.room // _MICRO)
        until = asyncio.get_running_loop().time() + connection.patience
        try:
            answer = await connection.ask_packed(packed("EVALSHA", _SHA, *arguments))
            if isinstance(answer, hiredis.ReplyError):
                async with asyncio.timeout_at(until):
                    answer = await self._again(connection, str(answer), packed("EVAL", _SCRIPT, *arguments))
        except OSError:
            return self._without(tag, asked, spends=spends)
        spent = spends and answer[0] == 1
        found = ((rate, micros * _MICRO) for (_, rate), micros in zip(asked, answer[1:], strict=True))
        return [Verdict(rate, spent or behind + rate.interval <= rate.room, behind) for rate, behind in found]

    async def _again(self, connection: Connection, refusal: str, command: bytes) -> Answer:
        """The answer after a refusal that says what else to do.

        Raises:
            Lost: there is nothing else to do.
        """
        match refusal.split(" "):
            case ["NOSCRIPT", *_]:
                answer = await connection.ask_packed(command)
            case ["MOVED", _, where]:
                answer = await self._sent_to(where).ask_packed(command)
            case ["ASK", _, where]:
                there = self._sent_to(where)
                answer = (await asyncio.gather(there.ask("ASKING"), there.ask_packed(command)))[1]
            case _:
                answer = hiredis.ReplyError(refusal)
        if not isinstance(answer, hiredis.ReplyError):
            return answer
        if not str(answer).startswith("TRYAGAIN"):  # some of the keys are on their way to another server
            connection.lose(str(answer))
        raise Lost(str(answer))

    def _sent_to(self, where: str) -> Connection:
        """To the server that another named, as `10.0.0.7:6379`."""
        host, _, port = where.rpartition(":")
        connection = self._nodes.at(Place(host, int(port)))
        if connection is None:
            raise Lost(f"not connected to {where}")
        return connection

    def _without(self, tag: str, asked: Sequence[Asked], *, spends: bool) -> Verdicts:
        """What each rate says for the time without a server."""
        if any(rate.when_down == "closed" for _, rate in asked):
            raise unavailable()
        local = [(subject, rate) for subject, rate in asked if rate.when_down == "local"]
        counted = iter((self._local.spend if spends else self._local.peek)(tag, local))
        return [
            next(counted) if rate.when_down == "local" else Verdict(rate, allowed=True, behind=0)
            for _, rate in asked
        ]
