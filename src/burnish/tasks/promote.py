"""A slot is free: the account's next parked task takes it, in the transaction that freed it."""

from collections import Counter
from collections.abc import Iterable, Mapping
from uuid import UUID

from burnish.storage.postgres import Connection
from burnish.tasks import store
from burnish.tasks.decide import decide
from burnish.tasks.task import lane_topic


async def free_slots(tx: Connection, queues: store.Queues, ended: Iterable[tuple[UUID, int]]) -> set[str]:
    """One slot for each (account, lane) of `ended` is free, and its row says so already; who is next?

    Returns the topics to announce after the commit. An account has parked tasks only while its ceiling is reached, so only then are they looked for.
    """
    topics: set[str] = set()
    for place, slots in Counter(ended).items():
        before = queues.freed(place, slots)
        if before.slots >= before.ceiling:
            topics |= await promote(tx, queues, place)
    return topics


async def promote(tx: Connection, queues: store.Queues, place: tuple[UUID, int]) -> set[str]:
    """Make as many of the account's parked tasks ready as it has free slots."""
    queue = queues.queues[place]
    account_id, lane = place
    if queue.slots >= queue.ceiling:
        return set()
    tags: dict[UUID, int] = {}
    for task_id in await store.parked(tx, account_id, lane, min(queue.ceiling - queue.slots, 1_000)):
        verdict = decide(queues.queues[place], queues.times[lane])
        assert verdict.tag is not None
        queues.queues[place] = verdict.queue
        tags[task_id] = verdict.tag
    if tags:
        await store.make_ready(tx, tags)
    return {lane_topic(lane)} if tags else set()


def slots_of(moved: Mapping[UUID, bool], places: Mapping[UUID, tuple[UUID, int]]) -> list[tuple[UUID, int]]:
    """The (account, lane) of every moved task that held a slot."""
    return [places[task_id] for task_id, held_slot in moved.items() if held_slot]
