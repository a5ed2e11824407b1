"""What accounts have set for themselves (`keys/own.py`), remembered for a few seconds: some of it is asked for by every request."""

import time
from typing import Final
from uuid import UUID

from burnish.keys.own import get_settings
from burnish.resources import Resources

_KEPT_SECONDS: Final = 5.0
_MOST: Final = 10_000


class OwnSettings:
    """One a process."""

    def __init__(self, resources: Resources) -> None:
        self._resources = resources
        self._known: dict[UUID, tuple[float, dict[str, str]]] = {}

    async def of(self, account_id: UUID) -> dict[str, str]:
        """By name. Raises Unavailable; Unreadable where they were sealed under a secret key that is gone."""
        until, known = self._known.get(account_id, (0.0, {}))
        now = time.monotonic()
        if now < until:
            return known
        known = await get_settings(self._resources.db, self._resources.seal, account_id)
        if len(self._known) >= _MOST:
            self.forget()
        self._known[account_id] = now + _KEPT_SECONDS, known
        return known

    def forget(self) -> None:
        """Ask again, of all of them."""
        self._known.clear()
