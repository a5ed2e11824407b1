"""The side of the package `limits` in the bench of rates; run by the peers' own Python."""
# The peers are installed in an environment of their own, where no type checker looks.
# mypy: disable-error-code="import-not-found,attr-defined"

import json
import sys
from collections.abc import Callable

import uvloop
from limits.aio import storage as async_storage
from limits.aio import strategies as async_strategies
from rates import KEYS, PER_MINUTE, Figures, awaited, called

from limits import RateLimitItemPerMinute, storage, strategies

STRATEGIES = {
    "fixed window": "FixedWindowRateLimiter",
    "moving window": "MovingWindowRateLimiter",
    "sliding window": "SlidingWindowCounterRateLimiter",
}


async def _measure(url: str) -> Figures:
    figures = {}
    for name, strategy in STRATEGIES.items():
        item = RateLimitItemPerMinute(PER_MINUTE, namespace=name)
        for home, where in (("memory", storage.MemoryStorage()), ("redis", storage.RedisStorage(url))):
            figures[f"{home}: limits, sync, {name}"] = called(
                _all(getattr(strategies, strategy)(where), item)
            )
        for home, there in (
            ("memory", async_storage.MemoryStorage()),
            ("redis", async_storage.RedisStorage(f"async+{url}", implementation="redispy")),
        ):
            limiter = getattr(async_strategies, strategy)(there)
            figures[f"{home}: limits, async, {name}"] = await awaited(lambda key: limiter.hit(item, key))  # noqa: B023
    return figures


def _all(limiter: strategies.RateLimiter, item: RateLimitItemPerMinute) -> Callable[[], None]:
    def decide_all() -> None:
        for key in KEYS:
            limiter.hit(item, key)

    return decide_all


if __name__ == "__main__":
    print(json.dumps(uvloop.run(_measure(sys.argv[2]))))
