"""How an account's quotas stand after a decision, for the caller to see coming what would refuse it. Pure."""

from collections.abc import Iterable
from datetime import datetime
from functools import lru_cache

from burnish.clock import seconds_until
from burnish.limits.standing import CONCURRENT, Policy, Standing
from burnish.tasks.decide import CEILINGS, DAY, State


def standings(state: State, lane: int, model: str, key: str, now: datetime) -> tuple[Standing, ...]:
    """Of the quotas over a task of this lane, model and key."""
    _, present = state.queue.counts()
    told = [
        Standing(_ceiling(CEILINGS[place], ceiling.limit), max(0, ceiling.limit - present[counted]))
        for place, ceiling, counted in state.ceilings(lane, model, key)
    ]
    return (*told, *day(state, now))


def day(state: State, now: datetime) -> Iterable[Standing]:
    """Of the day's window."""
    window = state.plan.windows.day
    if window is not None:
        used = state.windows[DAY, ""][1]
        policy = _window(DAY, window.limit, window.seconds)
        yield Standing(policy, max(0, window.limit - used.used), seconds_until(used.resets_at, now))


@lru_cache(maxsize=4096)
def _ceiling(name: str, limit: int) -> Policy:
    return Policy(name, limit, unit=CONCURRENT)


@lru_cache(maxsize=4096)
def _window(name: str, limit: int, seconds: int) -> Policy:
    return Policy(name, limit, window_seconds=seconds)
