"""Examples of webhooks for the documentation, made of the types that replies are made of."""

from datetime import UTC, datetime, timedelta
from typing import Final
from uuid import UUID

from burnish.dialects.native import webhooks_wire as wire
from burnish.ids import to_wire

_AT: Final = datetime(2026, 1, 15, 9, 30, tzinfo=UTC)
_NUMBER: Final = UUID("019bc0de-0000-7000-8000-000000000000")
_URL: Final = "https://shop.example.com/hooks/burnish"
_SECRET: Final = "whsec_" + "A" * 32
_MESSAGE: Final = to_wire("msg", _NUMBER)

ENDPOINT_REQUEST: Final = wire.EndpointRequest(url=_URL, events=["task.succeeded", "task.failed"])
ENDPOINT_CHANGE: Final = wire.EndpointChange(disabled=False)
SECRET_ROTATION: Final = wire.SecretRotation(grace_seconds=3600)
REPLAY_REQUEST: Final = wire.ReplayRequest(since=_AT)
REPLAYED: Final = wire.Replayed(deliveries=42)
ENDPOINT: Final = wire.EndpointReply(
    id=to_wire("endpoint", _NUMBER),
    url=_URL,
    events=["task.succeeded", "task.failed"],
    description="the shop",
    created_at=_AT,
    disabled_at=None,
    disabled_why=None,
)
NEW_ENDPOINT: Final = wire.NewEndpoint(
    id=ENDPOINT.id,
    url=_URL,
    events=ENDPOINT.events,
    description="the shop",
    created_at=_AT,
    disabled_at=None,
    disabled_why=None,
    secret=_SECRET,
)
ENDPOINT_PAGE: Final = wire.EndpointPage(data=[ENDPOINT])
SECRET: Final = wire.SecretReply(secret=_SECRET)
DELIVERY: Final = wire.DeliveryDetail(
    id=_MESSAGE,
    event="task.succeeded",
    task=to_wire("task", _NUMBER),
    state="due",
    tries=1,
    due_at=_AT + timedelta(seconds=5),
    created_at=_AT,
    ended_at=None,
    body={"type": "task.succeeded", "timestamp": "2026-01-15T09:30:00Z", "data": {}},
    attempts=[
        wire.AttemptReply(
            number=1, at=_AT, milliseconds=212, status=500, error="It answered 500.", reply="try again"
        )
    ],
)
DELIVERY_PAGE: Final = wire.DeliveryPage(
    data=[
        wire.DeliveryReply(
            id=_MESSAGE,
            event="task.succeeded",
            task=to_wire("task", _NUMBER),
            state="accepted",
            tries=1,
            due_at=None,
            created_at=_AT,
            ended_at=_AT,
        )
    ],
    has_more=True,
    next=_MESSAGE,
)
