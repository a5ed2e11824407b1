"""A task ends: moved, settled, its slot freed, its outputs named, in one transaction with others that end now.

Called by the worker for every run, and by the sweep for tasks whose workers were lost too often. An ending names
its lease: a worker that was believed dead, and ends a task that somebody else has by now, ends nothing.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Final

import msgspec

from burnish.keys.plan import Plans
from burnish.settings import Tasks as TaskSettings
from burnish.storage.group import LATER, Group, Later
from burnish.storage.postgres import Database
from burnish.tasks import store
from burnish.tasks.accounts import lock_accounts
from burnish.tasks.close import close
from burnish.tasks.task import FAILED, SUCCEEDED, Claimed, OutputRecord, topic
from burnish.uploads import store as blobs
from burnish.uploads.blob import Blob

_ENCODE: Final = msgspec.json.Encoder().encode


@dataclass(frozen=True, slots=True)
class Ending:
    """How a run ended. `outputs` pairs what is told of each output with its blob, whose object is stored. `charge`:
    credits to take of the hold, where that is less than all of it.
    """

    task: Claimed
    reason: str | None = None
    message: str | None = None
    outputs: Sequence[tuple[OutputRecord, Blob]] = field(default=())
    charge: int | None = None

    @property
    def status(self) -> str:
        return FAILED if self.reason else SUCCEEDED

    def row(self) -> tuple[object, ...]:
        records = [record for record, _ in self.outputs]
        outputs = _ENCODE(records) if records else None
        return self.task.id, self.task.lease_id, self.status, self.reason, self.message, outputs, self.charge


class Endings:
    """One a process: the group that endings join."""

    def __init__(self, db: Database, tasks: TaskSettings, plans: Plans) -> None:
        self._db = db
        self._plans = plans
        self.group: Group[Ending, bool] = Group(self._end, rows=tasks.batch_rows, recover=self._look_up)

    async def end(self, ending: Ending) -> bool:
        """True when the task has ended by this; False when its lease was lost and nothing was changed.

        Raises:
            Unavailable: the database did not answer; the lease decides what becomes of the task.
        """
        return await self.group.add(ending)

    async def _end(self, endings: Sequence[Ending]) -> Sequence[bool | Exception | Later]:
        now = self._db.clock.now()
        async with self._db.transaction() as tx:
            accounts = await lock_accounts(
                tx, {ending.task.account_id for ending in endings}, self._plans, now
            )
            rows = await store.end(tx, [ending.row() for ending in endings], now)
            ended = {row["id"] for row in rows}
            made = [
                replace(blob, expires_at=now + timedelta(seconds=ending.task.retention_seconds))
                for ending in endings
                if ending.task.id in ended
                for _, blob in ending.outputs
            ]
            if made:
                await blobs.insert_outputs(tx, made)
                await blobs.keep_objects(tx, [str(b.object_key) for b in made], [b.expires_at for b in made])
            topics = await close(tx, accounts, rows, now)
            await accounts.write()
        self._db.news.announce(topics)
        return [ending.task.id in ended for ending in endings]

    async def _look_up(self, endings: Sequence[Ending]) -> Sequence[bool | Exception | Later]:
        """After a connection lost at COMMIT: what has ended under our lease was ended by us."""
        async with self._db.reading() as connection:
            ended = await store.ended_under(connection, [(e.task.id, e.task.lease_id) for e in endings])
        self._db.news.announce({topic(task_id) for task_id in ended})
        return [True if ending.task.id in ended else LATER for ending in endings]
