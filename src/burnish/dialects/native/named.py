"""What a path names, for the caller whose it is."""

from uuid import UUID

from burnish.errors import NotFound
from burnish.ids import from_wire
from burnish.keys.key import Key
from burnish.tasks.task import Task
from burnish.web.request import Request


def id_of(request: Request, prefix: str) -> UUID:
    """The id in the path. Raises NotFound for what cannot be one."""
    text = request.path_value("id")
    if (found := from_wire(prefix, text)) is None:
        raise NotFound(f"There is no {prefix} {text[:60]!r}.")
    return found


async def task_of(request: Request, key: Key) -> Task:
    """The task in the path. Raises NotFound, also for another's, Expired, Unavailable."""
    task_id = id_of(request, "task")
    return await request.resources.reads.get_task(key.account_id, key.environment, task_id, request.now)
