"""What has to go on when nobody is asking: brackets that were put together become images, and images get their tasks.

Called by the worker when a task of this dialect ends, and every few seconds besides. Everything that is to be done stands
in a row first, and each step is done under ids that the row names: whoever is killed in the middle, the next one goes on.
"""

from collections.abc import Sequence
from datetime import timedelta
from typing import Final

import msgspec

from burnish.dialects.autoenhance import store
from burnish.dialects.autoenhance.image import MOST_BRACKETS, Bracket, Order, Wanted
from burnish.dialects.autoenhance.register import make_images, submit_grouping, submit_images
from burnish.resources import Resources
from burnish.tasks.store import read_tasks
from burnish.tasks.task import FINAL, SUCCEEDED, Task, outputs_of

_BATCH: Final = 200
#: What a request is submitting just now is left to it for so long.
_GRACE: Final = timedelta(seconds=5)


async def go_on(resources: Resources) -> None:
    """One look at all that is due."""
    db, now = resources.db, resources.clock.now()
    async with db.reading() as connection:
        orders = await store.list_grouping(connection, _BATCH)
        tasks = (
            await read_tasks(connection, [order.grouping for order in orders if order.grouping])
            if orders
            else {}
        )
        pending = await store.list_pending(connection, _BATCH, now - _GRACE)
    for order in orders:
        task = tasks.get(order.grouping) if order.grouping else None
        if task is None:
            if order.updated_at < now - _GRACE:
                await submit_grouping(resources, order, await _brackets_of(resources, order))
        elif task.status in FINAL:
            await _grouped(resources, order, task)
    await submit_images(resources, pending)


async def _grouped(resources: Resources, order: Order, task: Task) -> None:
    """The order's brackets have been put together, or cannot be."""
    now = resources.clock.now()
    async with resources.db.transaction() as tx:
        locked = await store.lock_order(tx, order.id)
        if locked is None or locked.grouping != task.id or locked.wanted is None:
            return  # another worker was here first
        wanted = msgspec.json.decode(locked.wanted, type=Wanted)
        asked = set(wanted.brackets)
        brackets = [
            b for b in await store.list_brackets(tx, order.id) if b.id in asked and b.image_id is None
        ]
        images = []
        fault = None
        if task.status == SUCCEEDED:
            images = await make_images(tx, locked, wanted, _sets(task, wanted, brackets), now)
        else:
            fault = task.status_message or task.status_reason or task.status
        await store.set_grouping(tx, order.id, None, None, fault, now)
    await submit_images(resources, images)


def _sets(task: Task, wanted: Wanted, brackets: Sequence[Bracket]) -> list[list[Bracket]]:
    """What the engine found: places in the list that it was given. A bracket that was deleted meanwhile is left out; one
    that it did not speak of stands alone.
    """
    found = outputs_of(task)[0]
    there = {bracket.id: bracket for bracket in brackets}
    sets = []
    for places in msgspec.convert((found.data or {}).get("sets", []), list[list[int]]):
        ids = [wanted.brackets[place] for place in places if 0 <= place < len(wanted.brackets)]
        mine = [there.pop(id_) for id_ in ids if id_ in there]
        sets += [mine[start : start + MOST_BRACKETS] for start in range(0, len(mine), MOST_BRACKETS)]
    return sets + [[bracket] for bracket in there.values()]


async def _brackets_of(resources: Resources, order: Order) -> list[Bracket]:
    async with resources.db.reading() as connection:
        return [b for b in await store.list_brackets(connection, order.id) if b.image_id is None]


async def forget(resources: Resources) -> None:
    """Rows of which neither a task nor a file is left."""
    uploads = resources.settings.uploads
    before = resources.clock.now() - timedelta(seconds=uploads.tombstone_seconds)
    async with resources.db.transaction() as tx:
        await store.forget(tx, before, _BATCH)
