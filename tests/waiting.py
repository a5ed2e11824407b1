"""Wait for a condition with a deadline: what the tests do instead of sleeping."""

import asyncio
import contextlib
from collections.abc import Callable
from typing import Any


async def until(condition: Callable[[], Any], seconds: float = 20.0) -> Any:
    """What `condition` answers once it is true; it may be a coroutine function. Fails after `seconds`."""
    async with asyncio.timeout(seconds):
        while True:
            answer = condition()
            if asyncio.iscoroutine(answer):
                answer = await answer
            if answer:
                return answer
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(asyncio.Event().wait(), 0.01)
