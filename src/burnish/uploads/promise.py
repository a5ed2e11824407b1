"""Promise a place: an upload is announced with its name, type and size, and waits for its bytes."""

import unicodedata
from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

from burnish.errors import Invalid, TooLarge
from burnish.ids import new_id
from burnish.settings import Uploads
from burnish.storage.postgres import LOST, Connection, Database, away
from burnish.uploads import store
from burnish.uploads.blob import Blob, new_upload

_LONGEST_NAME: Final = 255


async def promise(
    db: Database,
    settings: Uploads,
    *,
    account_id: UUID,
    environment: str,
    filename: str,
    content_type: str | None,
    size_bytes: int | None,
    sha256: bytes | None,
    now: datetime,
    arrival_seconds: int | None = None,
    upload_id: UUID | None = None,
    guard: Callable[[Connection, str], Awaitable[None]] | None = None,
) -> Blob:
    """A new upload. Its bytes are awaited until `expires_at`. `content_type`, `size_bytes`: None where nobody says what will
    come; then anything may, up to `uploads.max_bytes`. `arrival_seconds`: less than the setting. `upload_id`: made before, by whom it is
    to be named in the same transaction. `guard`: told its name
    within the transaction; what it raises undoes it.

    Raises:
        Invalid: a filename of nothing that can be shown.
        TooLarge: more than `uploads.max_bytes`.
        Unavailable: the database did not answer.
    """
    if size_bytes is not None and size_bytes > settings.max_bytes:
        raise TooLarge(
            f"Uploads may hold at most {settings.max_bytes} bytes.",
            code="upload_too_large",
            param="size_bytes",
            details={"max_bytes": settings.max_bytes},
        )
    blob = new_upload(
        upload_id or new_id(),
        account_id,
        environment,
        filename=shown(filename),
        declared_type=content_type,
        declared_size=size_bytes,
        declared_hash=sha256,
        created_at=now,
        expires_at=now + timedelta(seconds=arrival_seconds or settings.arrival_seconds),
    )
    try:
        async with db.transaction() as tx:
            if guard is not None:
                await guard(tx, filename)
            await store.insert_upload(tx, blob)
    except (*LOST, TimeoutError) as error:
        raise away(error) from error
    return blob


def shown(filename: str) -> str:
    """The last part of a path, without what cannot be seen."""
    last = filename.replace("\\", "/").rpartition("/")[2]
    shown = "".join(letter for letter in last if unicodedata.category(letter)[0] != "C").strip()
    if not shown:
        raise Invalid("Give the file a name.", param="filename")
    return shown[:_LONGEST_NAME]
