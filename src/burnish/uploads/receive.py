"""Receive: the bytes of a promised upload come in, are counted and hashed, and the tasks that waited for them may go on.

Called by the PUT on a signed link. What does not become the upload's is deleted at once, or, where even that fails,
by the sweep a day later.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta
from typing import Final

from burnish.errors import Conflict, Expired, Invalid, TooLarge, Unavailable
from burnish.settings import Uploads
from burnish.storage.blobs import Blobs
from burnish.storage.postgres import LOST, Database, away
from burnish.uploads import store
from burnish.uploads.blob import Blob, kept_seconds
from burnish.uploads.keep import Kept, keep_object

#: Announced when the bytes of a waiting task can be had; the fetch lane listens.
FETCH_TOPIC: Final = "fetch"


async def receive(
    db: Database,
    blobs: Blobs,
    settings: Uploads,
    upload: Blob,
    chunks: AsyncIterator[bytes],
    *,
    content_type: str,
    length: int | None,
) -> Blob:
    """The upload with its bytes, which must all be here before the promise ends. `length` is what was announced.
    What was promised without a type or a size may have any, up to `uploads.max_bytes`.

    Raises:
        Conflict: `upload_arrived`: it has its bytes already.
        Invalid: type, size or hash are not those that were promised; nothing is kept.
        TooLarge: more than `uploads.max_bytes`.
        Expired: the promise ended while they came.
        Unavailable: the database or the storage did not answer. Whatever `chunks` raises comes through.
    """
    if upload.object_key is not None:
        raise _arrived_before()
    if upload.declared_type not in {None, content_type}:
        raise Invalid(
            f"This upload was promised as {upload.declared_type}; send it with that Content-Type.",
            code="upload_type_differs",
        )
    if length is not None and upload.declared_size not in {None, length}:
        raise _size_differs(upload)
    kept = await _keep(db, blobs, upload, chunks, upload.declared_size or settings.max_bytes)
    if differs := _difference(upload, kept):
        await _drop(db, blobs, kept)
        raise differs
    arrived = await _arrive(db, settings, upload, kept)
    if arrived is None:
        await _drop(db, blobs, kept)
        raise _arrived_before() if db.clock.now() < upload.expires_at else _too_late()
    return arrived


async def _keep(
    db: Database, blobs: Blobs, upload: Blob, chunks: AsyncIterator[bytes], max_bytes: int
) -> Kept:
    left = (upload.expires_at - db.clock.now()).total_seconds()
    try:
        async with asyncio.timeout(left):
            return await keep_object(db, blobs, chunks, upload.account_id, upload.id, max_bytes=max_bytes)
    except TooLarge as error:
        raise (
            _size_differs(upload) if upload.declared_size is not None else _too_large(max_bytes)
        ) from error
    except TimeoutError as error:
        raise _too_late() from error


def _difference(upload: Blob, kept: Kept) -> Invalid | None:
    if upload.declared_size not in {None, kept.size_bytes}:
        return _size_differs(upload)
    if upload.declared_hash not in {None, kept.sha256}:
        return Invalid("The bytes have another SHA-256 than was promised.", code="upload_hash_differs")
    return None


async def _arrive(db: Database, settings: Uploads, upload: Blob, kept: Kept) -> Blob | None:
    """The upload takes the object, and the tasks that waited may be fetched. None when others were there first, or the promise is over.

    A connection lost at COMMIT leaves open who has the object: then the row decides, or the sweep.
    """
    now = db.clock.now()
    expires_at = now + timedelta(seconds=kept_seconds(upload.environment, settings.retention_seconds))
    try:
        async with db.transaction() as tx:
            if not await store.set_arrived(
                tx, upload.id, kept.key, kept.size_bytes, kept.sha256, now, expires_at
            ):
                return None
            await store.keep_objects(tx, [kept.key], [expires_at])
            wanted = await store.let_fetch(tx, upload.id)
    except (*LOST, TimeoutError) as error:
        raise away(error) from error
    if wanted:
        db.news.announce([FETCH_TOPIC])
    return replace(
        upload,
        object_key=kept.key,
        size_bytes=kept.size_bytes,
        sha256=kept.sha256,
        arrived_at=now,
        expires_at=expires_at,
    )


async def _drop(db: Database, blobs: Blobs, kept: Kept) -> None:
    with contextlib.suppress(Unavailable, TimeoutError, *LOST):
        await blobs.delete([kept.key])
        async with db.transaction() as tx:
            await store.unname_objects(tx, [kept.key])


def _too_late() -> Expired:
    return Expired("The bytes did not come in time. Make a new upload.", code="file_expired")


def _arrived_before() -> Conflict:
    return Conflict("This upload has its bytes already.", code="upload_arrived")


def _too_large(max_bytes: int) -> TooLarge:
    return TooLarge(
        f"Uploads may hold at most {max_bytes} bytes.",
        code="upload_too_large",
        details={"max_bytes": max_bytes},
    )


def _size_differs(upload: Blob) -> Invalid:
    return Invalid(
        f"This upload was promised with {upload.declared_size} bytes; another number came.",
        code="upload_size_differs",
    )
