"""Where requests are counted: in this process, or in a store that all API processes share.

Opened by `resources` with `counters.url`; asked by `web/caller.py`. Every backend keeps the promises of `Counters`, and
one suite of tests holds them to it. They stand with the limits and not in `storage`, which knows no rates.
"""

from dataclasses import replace

from burnish.errors import Unusable
from burnish.limits.counters.connection import PATIENCE_SECONDS
from burnish.limits.counters.counters import Asked, Counters
from burnish.limits.counters.memory import MemoryCounters
from burnish.limits.counters.nodes import Alone, Cluster, Nodes, Sentinels, alone
from burnish.limits.counters.redis import RedisCounters
from burnish.limits.counters.url import Store, parsed

__all__ = ["Asked", "Counters", "open_counters"]


async def open_counters(
    url: str = "", processes: int = 1, *, patience_seconds: float = PATIENCE_SECONDS
) -> Counters:
    """Counters at `url`; nothing or `memory://` is the process itself.

    A store that is away does not keep anything from starting: it is looked for in the background. `processes`: how many
    API processes there are. Where they count apart, each lets its share of a limit pass. `patience_seconds`: how long a
    question may wait for the store.

    Raises:
        Unusable: any other URL, or no number of processes.
    """
    if processes < 1:
        raise Unusable(f"counters.processes is {processes}; there is at least one.")
    if url in {"", "memory://"}:
        return MemoryCounters(processes)
    counters = RedisCounters(_nodes(parsed(url, patience_seconds)), processes)
    await counters.start()
    return counters


def _nodes(store: Store) -> Nodes:
    if store.kind == "cluster":
        return Cluster(store.places, store.access)
    if store.kind == "sentinel":
        sentinels = Sentinels(store.places, store.service, replace(store.access, database=0))
        return Alone(sentinels.master, store.access)
    return alone(store.places[0], store.access)
