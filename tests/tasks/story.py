"""What the tests of the story share: a submission of the no-op model, and the verbs on one database."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

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
        "source": None,
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
        account_id, model=model, parameters=parameters, input=b'{"image": "x"}', source=source, **changes
    )


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
