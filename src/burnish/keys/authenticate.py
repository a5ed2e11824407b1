"""Who is calling: the key behind a secret, from a short memory or the database.

Called by `web/caller.py` for every request. A known key is remembered for `_KNOWN_SECONDS`, an unknown one for a
second; a revocation is announced and empties the memory of every process, so the short life stands only behind
a lost announcement. A secret whose checksum is wrong never reaches the database.
"""

import time
from datetime import datetime
from typing import Final

from burnish.errors import Unauthenticated
from burnish.keys import store
from burnish.keys.key import Key, secret_hash, well_formed
from burnish.storage.postgres import LOST, Database, away

_KNOWN_SECONDS: Final = 1.0
_UNKNOWN_SECONDS: Final = 1.0
_REMEMBERED: Final = 10_000


class Authenticator:
    """One a process; `close` ends its subscription."""

    def __init__(self, db: Database) -> None:
        self._db = db
        self._memory: dict[bytes, tuple[float, Key | None]] = {}
        self._subscription = db.news.subscribed("keys", self._memory.clear)
        self._subscription.__enter__()

    def close(self) -> None:
        self._subscription.__exit__(None, None, None)

    async def authenticate(self, secret: str, now: datetime) -> Key:
        """The key of this secret.

        Raises:
            Unauthenticated: `malformed_key` (a typo), `unknown_key`, `revoked_key` or `expired_key`.
            Unavailable: the database does not answer.
        """
        key = await self._find(secret)
        if key is None:
            raise Unauthenticated("This key is not known here.", code="unknown_key")
        if key.revoked_at is not None and key.revoked_at <= now:
            raise Unauthenticated("This key has been revoked.", code="revoked_key")
        if key.expires_at is not None and key.expires_at <= now:
            raise Unauthenticated(
                f"This key expired at {key.expires_at:%Y-%m-%d %H:%M} UTC.", code="expired_key"
            )
        return key

    async def _find(self, secret: str) -> Key | None:
        digest = secret_hash(secret)
        until, key = self._memory.get(digest, (0.0, None))
        if time.monotonic() < until:
            return key
        if not well_formed(secret):
            raise Unauthenticated(
                "This is not a Burnish key: its checksum is wrong. Look for a missing or changed letter.",
                code="malformed_key",
            )
        try:
            async with self._db.reading() as connection:
                key = await store.find_key_by_hash(connection, digest)
        except (*LOST, TimeoutError) as error:
            raise away(error) from error
        if len(self._memory) >= _REMEMBERED:
            self._memory.clear()
        self._memory[digest] = (time.monotonic() + (_KNOWN_SECONDS if key else _UNKNOWN_SECONDS), key)
        return key
