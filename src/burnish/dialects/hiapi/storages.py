"""`POST /v1/storages/promote`: outputs are kept for as long as the plan lets anything be kept.

The vendor keeps what is promoted for good, and bills it. Here a plan says how long: twice what it keeps a task for.
"""

from uuid import UUID

from burnish.dialects.hiapi import wire
from burnish.errors import Expired
from burnish.keys.key import Key
from burnish.tasks.keep import keep
from burnish.tasks.task import SUCCEEDED
from burnish.uploads.blob import OUTPUT
from burnish.uploads.find import find_blobs
from burnish.web import bodies
from burnish.web.caller import caller, retention_of
from burnish.web.replies import Reply, json
from burnish.web.request import Request


async def promote(request: Request) -> Reply:
    """Outputs by their ids, or all of a task by its own; each that is not kept for longer has its reason."""
    key = await caller(request, "tasks:write", together=True)
    ids = bodies.decode(await bodies.read(request), wire.PROMOTED)
    task_ids = await _task_ids(request, key, ids)
    named = {id_ for id_ in task_ids.values() if id_ is not None}
    reasons = {id_: await _promote(request, key, id_) for id_ in named}
    told = {text: wire.NOT_OWNED if id_ is None else reasons[id_] for text, id_ in task_ids.items()}
    return json(wire.Envelope(data=wire.promoted(told)))


async def _task_ids(request: Request, key: Key, ids: list[str]) -> dict[str, UUID | None]:
    """The task that each is of; None for what is nothing, or not the account's."""
    named = {text: wire.promoted_id(text) for text in ids}
    outputs = {id_ for kind, id_ in named.values() if kind == OUTPUT and id_ is not None}
    found = await find_blobs(request.resources.db, outputs) if outputs else {}
    owner = (key.account_id, key.environment)
    made = {
        id_: blob.task_id
        for id_, blob in found.items()
        if blob.kind == OUTPUT and (blob.account_id, blob.environment) == owner
    }
    return {text: made.get(id_) if kind == OUTPUT and id_ else id_ for text, (kind, id_) in named.items()}


async def _promote(request: Request, key: Key, task_id: UUID) -> str | None:
    """Why it is not kept; None where it is, from now on or since an earlier call."""
    task = await request.resources.reads.find_task(task_id)
    if task is None or (task.account_id, task.environment) != (key.account_id, key.environment):
        return wire.NOT_OWNED
    if task.status != SUCCEEDED:
        return wire.NOT_PROMOTABLE
    if task.expires_at <= request.now:
        return wire.ALREADY_DELETED
    longest = retention_of(request, key)
    try:
        await keep(request.resources.db, task, 2 * longest, longest, request.now)
    except Expired:
        return wire.ALREADY_DELETED
    return None
