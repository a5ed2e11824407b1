"""What was done: tasks that ended, and what they were charged, by day, by model and by key. Told from sums, never from tasks."""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import date, datetime
from typing import Final
from uuid import UUID

from burnish.errors import Invalid
from burnish.storage.postgres import Database, answering
from burnish.tasks import store

_MOST: Final = 10_000


@dataclass(frozen=True, slots=True)
class Used:
    """`day` (in UTC), `model` and `key_id` are None where sums do not tell them apart; `key_id` also where there was none."""

    day: date | None
    model: str | None
    key_id: UUID | None
    succeeded: int
    failed: int
    cancelled: int
    credits: int


async def read_usage(
    db: Database, account_id: UUID, since: datetime, until: datetime, by: Collection[str]
) -> list[Used]:
    """Of tasks that ended from `since` to before `until`. `by`: any of day, model and key.

    Raises:
        Invalid: that would be too many sums.
        Unavailable: the database does not answer.
    """
    with answering():
        async with db.reading() as connection:
            rows = await store.read_usage(connection, account_id, since, until, by, _MOST + 1)
    if len(rows) > _MOST:
        raise Invalid(
            f"These are more than {_MOST} lines. Ask for fewer days, or tell less apart.", param="by"
        )
    return [Used(**row) for row in rows]
