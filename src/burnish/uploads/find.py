"""Find a blob: its owner's upload, or what a signed link opens."""

from collections.abc import Collection
from datetime import datetime, timedelta
from uuid import UUID

from burnish.errors import Expired, NotFound
from burnish.ids import to_wire
from burnish.settings import Uploads
from burnish.storage.postgres import LOST, Database, answering, away
from burnish.uploads import store
from burnish.uploads.blob import UPLOAD, Blob


async def get_upload(
    db: Database, settings: Uploads, account_id: UUID, environment: str, upload_id: UUID, now: datetime
) -> Blob:
    """The account's upload of that id. Raises NotFound, Expired, Unavailable."""
    blob = await _find(db, upload_id)
    if blob is None or (blob.kind, blob.account_id, blob.environment) != (UPLOAD, account_id, environment):
        raise NotFound(f"There is no upload {to_wire(UPLOAD, upload_id)}.")
    _refuse_past(blob.expires_at, settings, now)
    return blob


async def get_linked(db: Database, settings: Uploads, opened: tuple[UUID, datetime], now: datetime) -> Blob:
    """The blob that a link opens. Raises NotFound, Expired, Unavailable."""
    blob_id, link_ends_at = opened
    blob = await _find(db, blob_id)
    if blob is None:
        raise NotFound("This file is no longer here.")
    _refuse_past(min(blob.expires_at, link_ends_at), settings, now)
    return blob


async def find_blobs(db: Database, ids: Collection[UUID]) -> dict[UUID, Blob]:
    """Whosever they are, and whether or not their time is over. Raises Unavailable."""
    with answering():
        async with db.reading() as connection:
            return await store.read_blobs(connection, ids)


async def _find(db: Database, blob_id: UUID) -> Blob | None:
    try:
        async with db.reading() as connection:
            return (await store.read_blobs(connection, [blob_id])).get(blob_id)
    except (*LOST, TimeoutError) as error:
        raise away(error) from error


def _refuse_past(ended_at: datetime, settings: Uploads, now: datetime) -> None:
    """What is over is said to be over for as long as a tombstone stands, and is unknown after that."""
    if ended_at > now:
        return
    if ended_at + timedelta(seconds=settings.tombstone_seconds) <= now:
        raise NotFound("This file is no longer here.")
    raise Expired(f"This file expired at {ended_at:%Y-%m-%d %H:%M} UTC.", code="file_expired")
