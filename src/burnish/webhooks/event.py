"""What is told: the events, and an event that is owed."""

from dataclasses import dataclass
from datetime import datetime
from typing import Final
from uuid import UUID

TASK_STARTED: Final = "task.started"
TASK_SUCCEEDED: Final = "task.succeeded"
TASK_FAILED: Final = "task.failed"
TASK_CANCELLED: Final = "task.cancelled"
TASK_EXPIRING: Final = "task.expiring"
CREDITS_LOW: Final = "credits.low"
LIMITS_THRESHOLD: Final = "limits.threshold"
WEBHOOK_DISABLED: Final = "webhook.disabled"
#: Sent when somebody asks for it, to see that an endpoint works; nobody subscribes to it.
WEBHOOK_TEST: Final = "webhook.test"

#: What an endpoint may ask for.
EVENTS: Final = (
    TASK_STARTED,
    TASK_SUCCEEDED,
    TASK_FAILED,
    TASK_CANCELLED,
    TASK_EXPIRING,
    CREDITS_LOW,
    LIMITS_THRESHOLD,
    WEBHOOK_DISABLED,
)
#: A final status -> what is told of it.
OF_STATUS: Final = {"succeeded": TASK_SUCCEEDED, "failed": TASK_FAILED, "cancelled": TASK_CANCELLED}

#: The dialect in whose words an event is told, where nothing else was asked for.
NATIVE: Final = "native"


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """Something to tell to whoever asked for it: of a task, or (`facts`, JSON) of an account."""

    account_id: UUID
    environment: str
    name: str
    task_id: UUID | None = None
    facts: bytes | None = None
    #: Where the task's own callback goes, if it has one that wants this event.
    callback_url: str | None = None
    #: Of the task: whose words its callback is told in, and whose endpoints hear of it beside the native ones.
    dialect: str = NATIVE


@dataclass(frozen=True, slots=True)
class Delivery:
    """An event that is owed to one receiver, as a worker holds it. `id` is the event's, the same on every try."""

    id: UUID
    account_id: UUID
    environment: str
    receiver: str
    endpoint_id: UUID | None
    url: str
    event: str
    dialect: str
    task_id: UUID | None
    facts: bytes | None
    body: bytes | None
    tries: int
    created_at: datetime
    signer_id: UUID | None  #: whose secret signs it; None: it is gone
    secret: bytes | None
    former_secret: bytes | None
    former_until: datetime | None
