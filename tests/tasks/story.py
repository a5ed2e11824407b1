"""What the tests of the story share: a submission of the no-op model, and the verbs on one database."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from uuid import UUID

import msgspec

from burnish.credits.prices import load_prices
from burnish.engines import catalogue
from burnish.ids import new_id
from burnish.keys.plan import Plans, load_plans
from burnish.settings import Settings
from burnish.storage.postgres import Database
from burnish.tasks import lease, store
from burnish.tasks.arrive import Arrivals
from burnish.tasks.find import Reads
from burnish.tasks.finish import Ending, Endings
from burnish.tasks.submit import Submission, Submissions, parameters_of
from burnish.tasks.task import LIGHT, Claimed, Task
from burnish.uploads import store as blobs


def a_submission(account_id: UUID, **changes: Any) -> Submission:
    """A no-op of this account."""
    model, parameters = parameters_of("noop", b"{}", hidden=True)
    values: dict[str, Any] = {
        "id": new_id(),
        "account_id": account_id,
        "environment": "live",
        "key_id": None,
        "request_id": "req_test",
        "model": model,
        "parameters": parameters,
        "input": b"{}",
        "metadata": None,
        "max_attempts": 3,
        "deadline_seconds": 60,
        "retention_seconds": 3600,
    }
    return Submission(**(values | changes))


def an_upscale(account_id: UUID, source: UUID | str, **changes: Any) -> Submission:
    """An enlargement of that upload or URL."""
    model = catalogue.find_model("upscale")
    assert model is not None
    _, parameters = parameters_of("upscale", b'{"image": "x"}')
    return a_submission(
        account_id, model=model, parameters=parameters, input=b'{"image": "x"}', sources=(source,), **changes
    )


def a_reading(account_id: UUID, *sources: UUID | str, **changes: Any) -> Submission:
    """A no-op that reads these."""
    input_ = msgspec.json.encode({"images": ["x"] * len(sources)})
    model, parameters = parameters_of("noop-sources", input_, hidden=True)
    values = {"model": model, "parameters": parameters, "input": input_, "sources": sources}
    return a_submission(account_id, **values | changes)


@dataclass
class Story:
    """One process's verbs."""

    db: Database
    settings: Settings
    submissions: Submissions
    arrivals: Arrivals
    endings: Endings
    reads: Reads
    plans: Plans

    async def submit(self, submission: Submission) -> Task:
        return (await self.submissions.submit(submission)).task

    async def claim(self, rows: int = 10, lane: int = LIGHT) -> list[Claimed]:
        return await lease.claim(self.db, lane, rows, self.settings.tasks.lease_seconds)

    async def end(self, task: Claimed, reason: str | None = None) -> bool:
        return await self.endings.end(Ending(task, reason, reason and "As the test wanted."))

    async def promise(self, account_id: UUID, seconds: float = 3600) -> UUID:
        """An upload whose bytes are awaited for so long."""
        upload, now = new_id(), self.db.clock.now()
        async with self.db.transaction() as tx:
            await tx.execute(
                "INSERT INTO blobs (id, account_id, environment, kind, created_at, expires_at) "
                "VALUES ($1, $2, 'live', 'upload', $3, $4)",
                upload,
                account_id,
                now,
                now + timedelta(seconds=seconds),
            )
        return upload

    async def receive(self, upload: UUID) -> bool:
        """Its bytes are here; False where the promise is over, or they were here before."""
        key, now = f"aa/{upload}", self.db.clock.now()
        until = now + timedelta(days=7)
        async with self.db.transaction() as tx:
            arrived = await blobs.set_arrived(tx, upload, key, 9, b"", now, until)
            if arrived:
                await blobs.name_objects(tx, [key], until)
                await blobs.let_fetch(tx, upload)
        return arrived

    async def read(self, ids: Sequence[UUID]) -> dict[UUID, Task]:
        async with self.db.reading() as connection:
            return await store.read_tasks(connection, ids)


def tell(db: Database, settings: Settings, plans: Plans | None = None) -> Story:
    plans = plans or load_plans()
    prices = load_prices()
    return Story(
        db,
        settings,
        Submissions(db, settings.tasks, plans, prices),
        Arrivals(db, settings.tasks, plans, prices),
        Endings(db, settings.tasks, plans),
        Reads(db),
        plans,
    )
