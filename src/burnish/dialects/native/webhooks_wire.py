"""The native API's words for endpoints and deliveries."""

from datetime import datetime
from typing import Annotated, Any, Final, Literal

import msgspec
from msgspec import Meta, Struct

from burnish.dialects.native.wire import literal, says
from burnish.ids import to_wire
from burnish.webhooks.deliver import PREFIX as MESSAGE
from burnish.webhooks.endpoint import Endpoint
from burnish.webhooks.open import GRACE_SECONDS
from burnish.webhooks.open import PREFIX as ENDPOINT
from burnish.webhooks.sign import shown

Moment = Annotated[datetime, Meta(tz=True)]
EventName = Literal[
    "task.started", "task.succeeded", "task.failed", "task.cancelled", "task.expiring", "credits.low",
    "limits.threshold", "webhook.disabled",
]  # fmt: skip
_Events = Annotated[list[EventName], says("Which events; none means all.", max_length=20)]
_Url = Annotated[str, says("A public http(s) address.", min_length=1, max_length=8192)]
_Description = Annotated[str, says("To know it by.", max_length=500)]


class EndpointRequest(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An address that events shall be sent to."""

    url: _Url
    events: _Events = []
    description: _Description = ""


class EndpointChange(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What shall be different."""

    url: _Url | None = None
    events: _Events | None = None
    description: _Description | None = None
    disabled: Annotated[bool, says("False enables it again, as if nothing had happened.")] | None = None


class SecretRotation(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How long the old secret signs beside the new one."""

    grace_seconds: Annotated[int, says("0 is not at all.", ge=0, le=2_592_000)] = GRACE_SECONDS


class ReplayRequest(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which deliveries to send again."""

    since: Annotated[datetime, says("Those made from then on (RFC 3339).", tz=True)]
    until: Annotated[datetime, says("And before then.", tz=True)] | None = None
    accepted: Annotated[bool, says("Those that were accepted too, not only dead letters.")] = False


class EndpointReply(Struct, frozen=True, kw_only=True):
    """An endpoint."""

    id: str
    url: str
    events: list[str]
    description: str
    created_at: Moment
    disabled_at: Moment | None
    disabled_why: str | None


class NewEndpoint(EndpointReply, frozen=True, kw_only=True):
    """An endpoint with its secret, which is shown once."""

    secret: Annotated[str, says("Deliveries are signed with it (Standard Webhooks). Shown once.")]


class EndpointPage(Struct, frozen=True, kw_only=True):
    """All endpoints of this key's account and environment."""

    data: list[EndpointReply]


class SecretReply(Struct, frozen=True, kw_only=True):
    """What the callbacks of tasks are signed with."""

    secret: str


class DeliveryQuery(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which deliveries, and how many."""

    limit: Annotated[int, says("At most so many.", ge=1, le=100)] = 20
    after: Annotated[str, says("Those made before this one: the `next` of the page before.")] | None = None
    state: Annotated[Literal["due", "accepted", "dead"], says("Only these.")] | None = None


class AttemptReply(Struct, frozen=True, kw_only=True):
    """One try."""

    number: int
    at: Moment
    milliseconds: int
    status: Annotated[int, says("What the receiver answered.")] | None
    error: Annotated[str, says("Why it counts as failed.")] | None
    reply: Annotated[str, says("The beginning of what it answered, without secrets.")] | None


class DeliveryReply(Struct, frozen=True, kw_only=True):
    """An event that was owed to an endpoint."""

    id: Annotated[str, says("The `webhook-id` header, the same on every try.")]
    event: str
    task: str | None
    state: Annotated[
        Literal["due", "accepted", "dead"], says("`dead`: given up; it may be sent again with replay.")
    ]
    tries: int
    due_at: Annotated[datetime, says("When it is tried next.", tz=True)] | None
    created_at: Moment
    ended_at: Moment | None


class DeliveryDetail(DeliveryReply, frozen=True, kw_only=True):
    """The same, with what was sent and answered."""

    body: Annotated[dict[str, Any], says("As it is sent; null before the first try.")] | None
    attempts: list[AttemptReply]


class DeliveryPage(Struct, frozen=True, kw_only=True):
    """Deliveries, newest first."""

    data: list[DeliveryReply]
    has_more: bool
    next: str | None


class Replayed(Struct, frozen=True, kw_only=True):
    """How many are owed again."""

    deliveries: int


ENDPOINT_REQUEST: Final = msgspec.json.Decoder(EndpointRequest)
ENDPOINT_CHANGE: Final = msgspec.json.Decoder(EndpointChange)
SECRET_ROTATION: Final = msgspec.json.Decoder(SecretRotation)
REPLAY_REQUEST: Final = msgspec.json.Decoder(ReplayRequest)


def endpoint_reply(endpoint: Endpoint) -> EndpointReply:
    return EndpointReply(**_members(endpoint))


def new_endpoint(endpoint: Endpoint, secret: bytes) -> NewEndpoint:
    return NewEndpoint(**_members(endpoint), secret=shown(secret))


def _members(endpoint: Endpoint) -> dict[str, Any]:
    return {
        "id": to_wire(ENDPOINT, endpoint.id),
        "url": endpoint.url,
        "events": list(endpoint.events),
        "description": endpoint.description,
        "created_at": endpoint.created_at,
        "disabled_at": endpoint.disabled_at,
        "disabled_why": endpoint.disabled_why,
    }


def delivery_reply(row: Any) -> DeliveryReply:
    return DeliveryReply(**_delivery(row))


def delivery_detail(row: Any, attempts: list[Any]) -> DeliveryDetail:
    return DeliveryDetail(
        **_delivery(row),
        body=msgspec.Raw(row["body"]) if row["body"] is not None else None,  # type: ignore[arg-type]
        attempts=[AttemptReply(**dict(attempt)) for attempt in attempts],
    )


def _delivery(row: Any) -> dict[str, Any]:
    return {
        "id": to_wire(MESSAGE, row["id"]),
        "event": row["event"],
        "task": to_wire("task", row["task_id"]) if row["task_id"] else None,
        "state": literal(row["state"]),
        "tries": row["tries"],
        "due_at": row["due_at"],
        "created_at": row["created_at"],
        "ended_at": row["ended_at"],
    }
