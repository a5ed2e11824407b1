"""Questions that anybody may ask: however many do, each is under way once, and its answer serves all for a second.

Used by the service's own pages, which answer without a key: whoever calls them often must not take the connections
that tasks need.
"""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, Final, TypeVar

T = TypeVar("T")

_PATIENCE_SECONDS: Final = 2.0
_KEPT_SECONDS: Final = 1.0


class Once:
    """One a process."""

    def __init__(self) -> None:
        self._asked: dict[str, asyncio.Task[Any]] = {}

    async def ask(self, name: str, ask: Callable[[], Coroutine[Any, Any, T]]) -> T | None:
        """The answer; None where there is none within two seconds.

        What is late is not cancelled: asyncpg's cancellation waits for the very server that does not answer. It stays
        the one question of its name until it ends.
        """
        asking: asyncio.Task[T] | None = self._asked.get(name)
        if asking is None:
            asking = self._asked[name] = asyncio.create_task(ask())
            asking.add_done_callback(lambda _: self._forget_later(name))
        answered, _ = await asyncio.wait([asking], timeout=_PATIENCE_SECONDS)
        return asking.result() if answered else None

    def _forget_later(self, name: str) -> None:
        asyncio.get_running_loop().call_later(_KEPT_SECONDS, self._asked.pop, name, None)
