"""The database's time, without asking the database.

A process keeps `database's now - monotonic`, refreshed with every answer that carries a time; between two
answers its monotonic clock goes on. A wall clock that jumps moves nothing. Only routes and the worker's
loops ask `now()`; everything below is told.
"""

import time
from datetime import UTC, datetime, timedelta


class Clock:
    """Tells the database's time; `heard` corrects it."""

    def __init__(self) -> None:
        self._epoch_minus_monotonic = time.time() - time.monotonic()

    def now(self) -> datetime:
        return datetime.fromtimestamp(time.monotonic() + self._epoch_minus_monotonic, UTC)

    def heard(self, database_now: datetime) -> None:
        """The database said it is `database_now`; the answer's way here makes us late by at most a round trip."""
        self._epoch_minus_monotonic = database_now.timestamp() - time.monotonic()


def seconds_until(moment: datetime, now: datetime) -> int:
    """Whole seconds from `now` until `moment`, rounded up, never negative."""
    return max(0, -((now - moment) // timedelta(seconds=1)))
