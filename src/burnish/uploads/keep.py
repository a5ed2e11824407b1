"""Keep bytes: name the object, durably, then write it. Used for uploads, fetched inputs and outputs alike."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import timedelta
from typing import Final
from uuid import UUID

from burnish.storage.blobs import Blobs
from burnish.storage.postgres import LOST, Database, away
from burnish.uploads import store
from burnish.uploads.blob import new_object_key

#: Bytes that no blob has taken by then are deleted.
_UNTAKEN: Final = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Kept:
    """An object in storage that no blob has taken yet."""

    key: str
    size_bytes: int
    sha256: bytes


async def keep_object(
    db: Database, blobs: Blobs, chunks: AsyncIterator[bytes], *owner: UUID, max_bytes: int
) -> Kept:
    """Write `chunks` under a fresh key made of the owner's ids.

    Raises:
        TooLarge: more than `max_bytes`; nothing is kept.
        Unavailable: the database or the storage does not answer, or the storage is full; nothing is kept.
    """
    key = new_object_key(*owner)
    try:
        async with db.transaction() as tx:
            await store.name_objects(tx, [key], db.clock.now() + _UNTAKEN)
    except (*LOST, TimeoutError) as error:
        raise away(error) from error
    stored = await blobs.put(key, chunks, max_bytes=max_bytes)
    return Kept(key, stored.size_bytes, stored.sha256)
