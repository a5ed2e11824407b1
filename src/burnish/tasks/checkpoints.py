"""What is finished of a task's film, kept with its task: a run that was lost is followed by one that goes on.

Made by `run`, called by the engine. A segment's object is named before its first byte, as every object is; its row comes
when it is whole, and only from the run that still has the lease. Rows and objects go when the task has ended
(`workers/sweep.py`).
"""

from datetime import timedelta
from typing import Final

from burnish.errors import Failed, NotFound, Unavailable
from burnish.storage.blobs import Blobs
from burnish.storage.postgres import LOST, Database, away
from burnish.tasks import store
from burnish.tasks.task import Claimed
from burnish.uploads import store as objects
from burnish.uploads.chunks import chunks_of
from burnish.uploads.keep import keep_object

#: Segments are kept for as long as a run may take and a day, from the last one on.
_SPARE: Final = timedelta(days=1)


class TaskCheckpoints:
    """Of one run of one task; keeps the promise of `engines.checkpoints.Checkpoints`."""

    def __init__(self, task: Claimed, db: Database, blobs: Blobs) -> None:
        self._task, self._db, self._blobs = task, db, blobs
        self._keys: list[str] = []

    async def find(self, recipe: str) -> list[bytes]:
        """What was said of the segments that are there."""
        try:
            async with self._db.reading() as connection:
                found = await store.read_segments(connection, self._task.id)
        except (*LOST, TimeoutError) as error:
            raise away(error) from error
        whole = []
        for number, segment in enumerate(found):
            if segment.number != number or segment.recipe != recipe:
                break
            whole.append(segment)
        self._keys = [segment.object_key for segment in whole]
        return [segment.said for segment in whole]

    async def keep(self, recipe: str, number: int, said: bytes, fd: int) -> None:
        """Raises Unavailable: the storage is, or the lease is another's."""
        assert number == len(self._keys)
        task = self._task
        kept = await keep_object(
            self._db, self._blobs, chunks_of(fd), task.id, task.lease_id, max_bytes=1 << 40
        )
        until = self._db.clock.now() + timedelta(seconds=task.deadline_seconds) + _SPARE
        segment = store.Segment(number, recipe, said, kept.key)
        try:
            async with self._db.transaction() as tx:
                replaced = await store.insert_segment(tx, task.id, task.lease_id, segment)
                if replaced is not None:
                    await objects.keep_objects(tx, [*self._keys, kept.key], [until] * (number + 1))
                    await objects.keep_objects(tx, replaced, [self._db.clock.now()] * len(replaced))
        except (*LOST, TimeoutError) as error:
            raise away(error) from error
        if replaced is None:
            raise Unavailable("The task is another worker's now.")
        self._keys.append(kept.key)

    async def load(self, number: int, fd: int) -> None:
        """The bytes of a segment, into the file `fd`."""
        try:
            await self._blobs.copy_to(self._keys[number], fd)
        except NotFound as error:
            raise Failed("internal", "A part of the film is gone. The task may be tried again.") from error
