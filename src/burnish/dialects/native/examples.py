"""Examples for the documentation, made of the very types that replies are made of, so that they cannot go stale."""

from datetime import UTC, datetime, timedelta
from typing import Final
from uuid import UUID

import msgspec

from burnish.credits.prices import load_prices
from burnish.dialects.native import limits_wire, wire
from burnish.engines import catalogue
from burnish.ids import to_wire
from burnish.uploads.blob import OUTPUT, UPLOAD

_URL: Final = "https://burnish.example.com"
_AT: Final = datetime(2026, 1, 15, 9, 30, tzinfo=UTC)
_WEEK: Final = timedelta(days=7)
_NUMBER: Final = UUID("019bc0de-0000-7000-8000-000000000000")
_TASK: Final = to_wire("task", _NUMBER)
_UPLOAD: Final = to_wire(UPLOAD, _NUMBER)
_HASH: Final = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"


def _link(kind: str) -> str:
    return f"{_URL}/v1/files/{to_wire(kind, _NUMBER)}?expires=1769074200&signature=W2hhcmQgdG8gZ3Vlc3Nd"


TASK_REQUEST: Final = wire.TaskRequest(
    model="upscale",
    input=msgspec.Raw(b'{"image":"%s","scale":2,"mode":"faithful"}' % _UPLOAD.encode()),
    metadata={"order": "1042"},
)
TASK: Final = wire.TaskReply(
    id=_TASK,
    model="upscale",
    status="queued",
    stage=None,
    progress=0.0,
    status_reason=None,
    status_message=None,
    retryable=False,
    queue_position=3,
    eta_seconds=12,
    cost=wire.Cost(held=10, charged=0, unit="image", quantity=1, price_version=1),
    outputs=[],
    metadata={"order": "1042"},
    retry_of=None,
    created_at=_AT,
    started_at=None,
    ended_at=None,
    expires_at=_AT + _WEEK,
    urls=wire.TaskUrls(
        self=f"{_URL}/v1/tasks/{_TASK}",
        cancel=f"{_URL}/v1/tasks/{_TASK}/cancel",
        retry=f"{_URL}/v1/tasks/{_TASK}/retry",
        events=f"{_URL}/v1/tasks/{_TASK}/events",
    ),
)
_ENDED_AT: Final = _AT + timedelta(seconds=4)
ENDED_TASK: Final = msgspec.structs.replace(
    TASK,
    status="succeeded",
    queue_position=None,
    eta_seconds=None,
    cost=wire.Cost(held=10, charged=10, unit="image", quantity=1, price_version=1),
    progress=1.0,
    outputs=[
        wire.OutputReply(
            id=to_wire(OUTPUT, _NUMBER),
            url=_link(OUTPUT),
            type="image/jpeg",
            filename="photo-2x.jpg",
            role=None,
            width=2048,
            height=1536,
            seconds=None,
            frame_rate=None,
            size_bytes=734_003,
            expires_at=_ENDED_AT + _WEEK,
        )
    ],
    started_at=_AT,
    ended_at=_ENDED_AT,
    expires_at=_ENDED_AT + _WEEK,
)
CANCELLED_TASK: Final = msgspec.structs.replace(
    TASK,
    status="cancelled",
    queue_position=None,
    eta_seconds=None,
    status_reason="cancelled_by_user",
    ended_at=_ENDED_AT,
    expires_at=_ENDED_AT + _WEEK,
)
TASK_PAGE: Final = wire.TaskPage(data=[ENDED_TASK], has_more=True, next=_TASK)

UPLOAD_REQUEST: Final = wire.UploadRequest(
    filename="photo.jpg", content_type="image/jpeg", size_bytes=248_113, sha256=_HASH
)
PROMISED_UPLOAD: Final = wire.PromisedUpload(
    id=_UPLOAD,
    url=_link(UPLOAD),
    method="PUT",
    headers={"Content-Type": "image/jpeg"},
    access_url=_link(UPLOAD),
    expires_at=_AT + timedelta(hours=1),
    max_bytes=536_870_912,
)
UPLOAD_ARRIVED: Final = wire.UploadReply(
    id=_UPLOAD,
    status="arrived",
    filename="photo.jpg",
    content_type="image/jpeg",
    size_bytes=248_113,
    sha256=_HASH,
    type="image/jpeg",
    width=1024,
    height=768,
    seconds=None,
    frame_rate=None,
    fault=None,
    access_url=_link(UPLOAD),
    created_at=_AT,
    arrived_at=_AT + timedelta(seconds=1),
    expires_at=_AT + _WEEK,
)

MODEL_PAGE: Final = wire.ModelPage(
    data=[wire.model_reply(model, load_prices()) for model in catalogue.models()]
)
MODEL: Final = MODEL_PAGE.data[0]

QUOTE_REQUEST: Final = limits_wire.QuoteRequest(
    model="upscale", input=msgspec.Raw(b'{"scale":4}'), width=2048, height=1536
)
QUOTE: Final = limits_wire.QuoteReply(
    model="upscale",
    credits=limits_wire.CreditsRange(min=140, max=140),
    unit="image",
    quantity=1,
    price_version=1,
    breakdown=[limits_wire.BillLine(what="48 to 108 megapixels", quantity=1, each=140, credits=140)],
    outcome="accepted",
    reason=None,
    message=None,
    limits=[
        limits_wire.LimitLeft(name="tasks-at-once", limit=5, remaining=3, reset=None),
        limits_wire.LimitLeft(name="day", limit=500, remaining=441, reset=50_211),
    ],
)
LIMITS: Final = limits_wire.LimitPage(
    plan="trial",
    data=[
        limits_wire.LimitReply(
            name="create-rate", kind="rate", scope="key", limit=60, used=3, remaining=17, seconds=60, burst=20
        ),
        limits_wire.LimitReply(
            name="tasks-at-once", kind="tasks_at_once", scope="account", limit=5, used=2, remaining=3
        ),
        limits_wire.LimitReply(
            name="day",
            kind="window",
            scope="account",
            limit=500,
            used=59,
            remaining=441,
            seconds=86_400,
            window="calendar",
            time_zone="UTC",
            frees_at=_AT + timedelta(hours=14, minutes=30),
            resets_at=_AT + timedelta(hours=14, minutes=30),
            on_limit="error_state",
        ),
        limits_wire.LimitReply(
            name="credits", kind="credits", scope="account", limit=940, used=0, remaining=940
        ),
    ],
)
