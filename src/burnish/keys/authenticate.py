"""Who is calling: the key behind a secret, from a short memory or the database.

Called by `web/caller.py` for every request. A known key is remembered for `_KNOWN_SECONDS`, an unknown one for a
second; a revocation is announced and empties the memory of every process, so the short life stands only behind
a lost announcement. A secret whose checksum is wrong never reaches the database.

When a key was last used is gathered in memory and written beside the requests, every half minute at most.
"""

import asyncio
import time
from datetime import datetime
from typing import Final
from uuid import UUID

import asyncpg

from burnish import log
from burnish.errors import Forbidden, Unauthenticated
from burnish.keys import store
from burnish.keys.allowlist import Address, allows
from burnish.keys.key import Key, secret_hash, well_formed
from burnish.storage.postgres import LOST, Database, away

_log = log.get("keys")
_KNOWN_SECONDS: Final = 1.0
_UNKNOWN_SECONDS: Final = 1.0
_REMEMBERED: Final = 10_000
_NOTED_SECONDS: Final = 30.0
_PATIENCE_SECONDS: Final = 2.0  #: at the end, for a database that may have gone before us


class Authenticator:
    """One a process; `close` ends its subscription and writes what was gathered."""

    def __init__(self, db: Database, *, noted_seconds: float = _NOTED_SECONDS) -> None:
        self._db = db
        self._memory: dict[bytes, tuple[float, Key | None]] = {}
        self._subscription = db.news.subscribed("keys", self._memory.clear)
        self._subscription.__enter__()
        self._looking: dict[bytes, asyncio.Task[Key | None]] = {}
        self._used: dict[UUID, datetime] = {}
        self._noted_seconds = noted_seconds
        self._noting: asyncio.Task[None] | None = None

    async def close(self) -> None:
        self._subscription.__exit__(None, None, None)
        if self._noting is not None:
            self._noting.cancel()
            await asyncio.gather(self._noting, return_exceptions=True)
            await self._note()

    async def authenticate(self, secret: str, now: datetime, address: Address | None = None) -> Key:
        """The key of this secret, for a caller at that address.

        Raises:
            Unauthenticated: `malformed_key` (a typo), `unknown_key`, `revoked_key` or `expired_key`.
            Forbidden: `address_not_allowed`.
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
        if key.allowlist and not allows(key.allowlist, address):
            raise Forbidden(
                f"This key may not be used from {address or 'an unknown address'}.",
                code="address_not_allowed",
            )
        self._used[key.id] = now
        if self._noting is None:
            self._noting = asyncio.create_task(self._note_later())
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
        # However many requests of the key come while it is being looked up, it is looked up once.
        looking = self._looking.get(digest)
        if looking is None:
            looking = self._looking[digest] = asyncio.create_task(self._look_up(digest))
            looking.add_done_callback(lambda _: self._looking.pop(digest, None))
        return await asyncio.shield(looking)

    async def _look_up(self, digest: bytes) -> Key | None:
        try:
            async with self._db.reading() as connection:
                key = await store.find_key_by_hash(connection, digest)
        except (*LOST, TimeoutError) as error:
            raise away(error) from error
        if len(self._memory) >= _REMEMBERED:
            self._memory.clear()
        self._memory[digest] = (time.monotonic() + (_KNOWN_SECONDS if key else _UNKNOWN_SECONDS), key)
        return key

    async def _note_later(self) -> None:
        await asyncio.sleep(self._noted_seconds)
        await self._note()
        self._noting = None

    async def _note(self) -> None:
        """Write what was gathered; where that fails it is forgotten, for nothing depends on it."""
        used, self._used = self._used, {}
        if not used:
            return
        try:
            async with asyncio.timeout(_PATIENCE_SECONDS), self._db.relaxed() as connection:
                await store.note_used(connection, used)
        except (*LOST, asyncpg.PostgresError, TimeoutError) as error:
            _log.warning("last_use_not_noted", keys=len(used), error=str(error) or type(error).__name__)
