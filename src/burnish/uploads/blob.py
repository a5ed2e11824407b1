"""What a blob is, and where its bytes lie."""

import secrets
from dataclasses import dataclass
from datetime import datetime
from typing import Final
from uuid import UUID

UPLOAD = "upload"
FETCHED = "fetched"
OUTPUT = "output"


#: Media of test keys is kept for a day at most.
_TEST_SECONDS: Final = 86_400


@dataclass(frozen=True, slots=True)
class Blob:
    """A row of `blobs`. `object_key` is None until the bytes are whole; `type` until a probe has read the header;
    `fault` is why they are no media (`reason: message`). `seconds`, `frame_rate`: of films.
    """

    id: UUID
    account_id: UUID
    environment: str
    kind: str
    task_id: UUID | None
    filename: str | None
    declared_type: str | None
    declared_size: int | None
    declared_hash: bytes | None
    object_key: str | None
    size_bytes: int | None
    sha256: bytes | None
    arrived_at: datetime | None
    type: str | None
    width: int | None
    height: int | None
    frames: int | None
    fault: str | None
    created_at: datetime
    expires_at: datetime
    seconds: float | None = None
    frame_rate: float | None = None


def new_upload(
    id_: UUID,
    account_id: UUID,
    environment: str,
    *,
    filename: str,
    declared_type: str | None,
    declared_size: int | None,
    declared_hash: bytes | None = None,
    created_at: datetime,
    expires_at: datetime,
) -> Blob:
    """An upload whose bytes have not come."""
    return Blob(
        id=id_,
        account_id=account_id,
        environment=environment,
        kind=UPLOAD,
        task_id=None,
        filename=filename,
        declared_type=declared_type,
        declared_size=declared_size,
        declared_hash=declared_hash,
        object_key=None,
        size_bytes=None,
        sha256=None,
        arrived_at=None,
        type=None,
        width=None,
        height=None,
        frames=None,
        fault=None,
        created_at=created_at,
        expires_at=expires_at,
    )


def kept_seconds(environment: str, seconds: int) -> int:
    """How long media of this environment is kept, where others are kept for so long."""
    return min(seconds, _TEST_SECONDS) if environment == "test" else seconds


def new_object_key(*owner: UUID) -> str:
    """A key no client can guess or choose: two letters to spread folders, the owners, 96 random bits."""
    tail = secrets.token_hex(12)
    return f"{tail[:2]}/" + "-".join([*(id_.hex for id_ in owner), tail])
