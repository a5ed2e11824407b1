"""Where requests are counted: in this process, or in a store that all API processes share.

Opened by `resources` with `counters.url`; asked by `web/caller.py`. Every backend keeps the promises of `Counters`, and
one suite of tests holds them to it. They stand with the limits and not in `storage`, which knows no rates.
"""

from burnish.errors import Unusable
from burnish.limits.counters.counters import Asked, Counters
from burnish.limits.counters.memory import MemoryCounters

__all__ = ["Asked", "Counters", "open_counters"]


async def open_counters(url: str = "", processes: int = 1) -> Counters:
    """Counters at `url`; nothing or `memory://` is the process itself.

    `processes`: how many API processes there are. Where they count apart, each lets its share of a limit pass.

    Raises:
        Unusable: any other URL, or no number of processes.
    """
    if processes < 1:
        raise Unusable(f"counters.processes is {processes}; there is at least one.")
    if url in {"", "memory://"}:
        return MemoryCounters(processes)
    raise Unusable(f"counters.url is {url!r}; it must be memory://.")
