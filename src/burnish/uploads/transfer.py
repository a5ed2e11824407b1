"""Transfer: bytes that are here or at an address become an upload that has arrived, without a promise before.

The bytes go through a file without a name, so that an address which breaks off leaves nothing in storage.
"""

import asyncio
import tempfile
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import datetime, timedelta
from typing import BinaryIO, Final
from uuid import UUID

from burnish.ids import new_id
from burnish.outbound import Outbound
from burnish.settings import Uploads
from burnish.storage.blobs import Blobs
from burnish.storage.postgres import LOST, Database, away
from burnish.uploads import store
from burnish.uploads.blob import Blob, kept_seconds, new_upload
from burnish.uploads.keep import keep_object
from burnish.uploads.promise import shown

_CHUNK_BYTES: Final = 1 << 18


async def transfer(
    db: Database,
    blobs: Blobs,
    settings: Uploads,
    outbound: Outbound,
    url: str,
    *,
    account_id: UUID,
    environment: str,
    filename: str | None,
    now: datetime,
) -> Blob:
    """What lies at `url`, as an upload of the account.

    Raises:
        Failed: as `Outbound.fetch`.
        Unavailable: the database or the storage does not answer.
    """
    with tempfile.TemporaryFile() as file:

        async def write(chunk: bytes) -> None:
            await asyncio.to_thread(file.write, chunk)

        fetched = await outbound.fetch(url, write, max_bytes=settings.max_bytes)
        file.flush()
        return await keep(
            db, blobs, settings, _chunks(file),
            account_id=account_id, environment=environment, filename=filename or fetched.filename or "file",
            content_type=fetched.content_type or None, now=now,
        )  # fmt: skip


async def keep(
    db: Database,
    blobs: Blobs,
    settings: Uploads,
    chunks: AsyncIterator[bytes],
    *,
    account_id: UUID,
    environment: str,
    filename: str,
    content_type: str | None,
    now: datetime,
) -> Blob:
    """These bytes, as an upload that has arrived.

    Raises:
        Invalid: a filename of nothing that can be shown.
        TooLarge: more than `uploads.max_bytes`; nothing is kept.
        Unavailable: the database or the storage does not answer. Whatever `chunks` raises comes through.
    """
    name, id_ = shown(filename), new_id()
    kept = await keep_object(db, blobs, chunks, account_id, id_, max_bytes=settings.max_bytes)
    expires_at = now + timedelta(seconds=kept_seconds(environment, settings.retention_seconds))
    blob = new_upload(
        id_,
        account_id,
        environment,
        filename=name,
        declared_type=content_type,
        declared_size=kept.size_bytes,
        created_at=now,
        expires_at=expires_at,
    )
    try:
        async with db.transaction() as tx:
            await store.insert_upload(tx, blob)
            await store.set_arrived(tx, id_, kept.key, kept.size_bytes, kept.sha256, now, expires_at)
            await store.keep_objects(tx, [kept.key], [expires_at])
    except (*LOST, TimeoutError) as error:
        raise away(error) from error
    return replace(blob, object_key=kept.key, size_bytes=kept.size_bytes, sha256=kept.sha256, arrived_at=now)


async def _chunks(file: BinaryIO) -> AsyncIterator[bytes]:
    file.seek(0)
    while chunk := await asyncio.to_thread(file.read, _CHUNK_BYTES):
        yield chunk
