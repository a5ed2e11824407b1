"""The bundled sample photo as an upload of the default account, so that a first `curl` has something to send."""

from collections.abc import AsyncIterator
from datetime import timedelta
from importlib import resources
from typing import Final
from uuid import UUID

from burnish.ids import new_id
from burnish.keys.store import ensure_account
from burnish.storage.blobs import Blobs
from burnish.storage.postgres import Database
from burnish.uploads import store
from burnish.uploads.blob import new_upload
from burnish.uploads.keep import keep_object

_NAME: Final = "photo.jpg"


async def keep_sample(db: Database, blobs: Blobs, retention_seconds: int) -> UUID:
    """A fresh upload of the sample, in the `live` environment; it goes like any other."""
    picture = resources.files("burnish.samples").joinpath(_NAME).read_bytes()

    async def chunks() -> AsyncIterator[bytes]:
        yield picture

    upload_id = new_id()
    kept = await keep_object(db, blobs, chunks(), upload_id, max_bytes=len(picture))
    now = db.clock.now()
    expires_at = now + timedelta(seconds=retention_seconds)
    async with db.transaction() as tx:
        account_id = await ensure_account(tx, new_id(), "default", now)
        blob = new_upload(
            upload_id, account_id, "live", filename=_NAME, declared_type="image/jpeg", declared_size=len(picture),
            created_at=now, expires_at=expires_at,
        )  # fmt: skip
        await store.insert_upload(tx, blob)
        await store.set_arrived(tx, upload_id, kept.key, kept.size_bytes, kept.sha256, now, expires_at)
        await store.keep_objects(tx, [kept.key], [expires_at])
    return upload_id
