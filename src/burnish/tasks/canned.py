"""What becomes of a test key's task: no engine runs, no address is asked; it gets a picture that shows nothing, or fails.

Called by `run`. The picture has the type and the size that the model would have made: of an upload by what its header
says, of several that of the first; of an address or a word of `magic.py` as if that were a JPEG of 1024 x 768.
"""

import asyncio
from collections.abc import Callable
from typing import Final

from msgspec import Struct

from burnish.engines import catalogue
from burnish.engines.engine import Engines, Output
from burnish.errors import Failed
from burnish.storage.postgres import Database
from burnish.tasks import magic
from burnish.tasks.sources import places_of, sources_of
from burnish.tasks.task import TEST, Claimed
from burnish.uploads import store as blobs

#: What no bytes were given for.
_PRETENDED: Final = ("image/jpeg", 1024, 768)


def is_canned(task: Claimed, model: catalogue.Model) -> bool:
    """Whether the task is one of a test key's, and has an engine that must not run; or its model has none."""
    return model.canned or (task.environment == TEST and model.runner != catalogue.IN_THE_WORKER)


async def canned(
    task: Claimed,
    model: catalogue.Model,
    parameters: Struct,
    *,
    db: Database,
    engines: Engines,
    progress: Callable[[str, float], None],
) -> list[Output]:
    """What the engine would have made, as far as type and size go.

    Raises:
        Failed: as the input asked, or as the engine would have.
    """
    progress("working", 0.0)
    for given, place in zip(sources_of(model, parameters), places_of(model, parameters), strict=True):
        if magic.is_magic(given):
            await _play(magic.read(given, place, test=True), progress)
    seen = await _seen(task, db)
    return await engines.canned(model, parameters, *seen, deadline_seconds=task.deadline_seconds)


async def _play(word: magic.Word, progress: Callable[[str, float], None]) -> None:
    if word.reason is not None:
        raise Failed(word.reason, f"Failed, as {word.given} asks.")
    for second in range(word.seconds):
        await asyncio.sleep(1)
        progress("working", (second + 1) / word.seconds)


async def _seen(task: Claimed, db: Database) -> tuple[str, int, int]:
    """Type, width and height of the first that the task works on."""
    if task.source_id is None:
        return _PRETENDED
    async with db.reading() as connection:
        blob = (await blobs.read_blobs(connection, [task.source_id])).get(task.source_id)
    if blob is None or blob.type is None or blob.width is None or blob.height is None:
        raise Failed("input_unreachable", "The input has expired. Upload it again and make a new task.")
    return blob.type, blob.width, blob.height
