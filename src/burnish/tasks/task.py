"""What a task is: its states, the one table of moves, and the row as the rest of the house sees it.

    waiting ──▶ queued ──▶ running ──▶ succeeded
       │          │  ▲        │
       │          │  └────────┤ its lease was lost
       └──────────┴───────────┴──▶ failed | cancelled

A `queued` task that is `ready` holds a slot and may be claimed; one that is not is parked until a slot is free.
"""

from datetime import datetime
from functools import lru_cache
from typing import Final
from uuid import UUID

import msgspec

WAITING: Final = "waiting"  #: Its bytes have not been seen: an upload not arrived, a URL not fetched.
QUEUED: Final = "queued"  #: Its bytes are here and its price is set.
RUNNING: Final = "running"  #: A worker holds its lease.
SUCCEEDED: Final = "succeeded"
FAILED: Final = "failed"
CANCELLED: Final = "cancelled"

FINAL: Final = frozenset({SUCCEEDED, FAILED, CANCELLED})
STATUSES: Final = (WAITING, QUEUED, RUNNING, SUCCEEDED, FAILED, CANCELLED)

#: The only moves there are; a final status has none.
MOVES: Final[dict[str, frozenset[str]]] = {
    WAITING: frozenset({QUEUED, FAILED, CANCELLED}),
    QUEUED: frozenset({RUNNING, FAILED, CANCELLED}),
    RUNNING: frozenset({SUCCEEDED, FAILED, CANCELLED, QUEUED}),
    SUCCEEDED: frozenset(),
    FAILED: frozenset(),
    CANCELLED: frozenset(),
}

#: Tasks of this model were made by no client: a link asked for a result in another form. None is told of them.
UNTOLD: Final = "rendition"

#: The environment of tasks that no engine runs.
TEST: Final = "test"

LIGHT: Final = 0
HEAVY: Final = 1
LANES: Final = {"light": LIGHT, "heavy": HEAVY}


class Task(msgspec.Struct, frozen=True):
    """A task as its owner may see it. Times are aware; `input`, `metadata` and `outputs` are JSON as stored."""

    id: UUID
    account_id: UUID
    environment: str
    key_id: UUID | None
    request_id: str
    model: str
    lane: int
    priority: int
    status: str
    ready: bool
    input: bytes
    metadata: bytes | None
    source_id: UUID | None
    source_url: str | None
    retry_of: UUID | None
    attempts: int
    stage: str | None
    progress: float
    status_reason: str | None
    status_message: str | None
    outputs: bytes | None
    max_credits: int | None
    price: bytes | None
    callback_url: str | None
    callback_all: bool | None  #: its start too, not only its end
    dialect: str  #: in whose words that is told
    cost_held: int
    cost_charged: int
    max_attempts: int
    deadline_seconds: int
    retention_seconds: int
    created_at: datetime
    queued_at: datetime | None
    started_at: datetime | None
    ended_at: datetime | None
    expires_at: datetime
    tag: int | None = None
    paid_at_download: bool = (
        False  #: its end costs nothing: its dialect takes the price when a result is fetched
    )


class Claimed(msgspec.Struct, frozen=True):
    """A task as a worker holds it. `lease_id` goes with every later write of this run."""

    id: UUID
    lease_id: UUID
    account_id: UUID
    environment: str
    request_id: str
    model: str
    lane: int
    input: bytes
    attempts: int
    max_attempts: int
    deadline_seconds: int
    retention_seconds: int
    source_id: UUID | None
    source_url: str | None
    key_id: UUID | None
    priority: int
    max_credits: int | None
    cost_held: int
    day_starts_at: datetime | None
    callback_url: str | None
    callback_all: bool | None
    dialect: str
    listens: bool  #: whether its account has an endpoint, or is followed
    object_key: str | None  #: where the source's bytes lie
    filename: str | None
    paid_at_download: bool = False


class Price(msgspec.Struct, frozen=True):
    """How a task's cost came about, as kept in its row. `version`: of the price list."""

    unit: str
    quantity: int
    version: int


class OutputRecord(msgspec.Struct, frozen=True, omit_defaults=True):
    """One thing a task made, as kept in its row; the bytes are the blob of that id. `width`, `height`: of pictures and
    films; `seconds`, `frame_rate`: of films; `role`: a mask's is "mask", the result itself has none; `data`: those bytes,
    where they are JSON, to be read at once.
    """

    id: UUID
    type: str
    filename: str
    width: int | None
    height: int | None
    size_bytes: int
    notes: dict[str, object] = {}
    role: str | None = None
    seconds: float | None = None
    frame_rate: float | None = None
    data: dict[str, object] | None = None


def outputs_of(task: Task) -> list[OutputRecord]:
    return msgspec.json.decode(task.outputs, type=list[OutputRecord]) if task.outputs else []


def price_of(task: Task) -> Price | None:
    """None while its bytes have not been seen, and for what costs nothing."""
    return _read_price(task.price) if task.price else None


@lru_cache(maxsize=4096)
def _read_price(price: bytes) -> Price:
    return msgspec.json.decode(price, type=Price)


@lru_cache(maxsize=4096)
def key_digits(key_id: UUID | None) -> str:
    """A key as its account's queue names it."""
    return key_id.hex if key_id else ""


def topic(task_id: UUID) -> str:
    """What is announced when a task has moved."""
    return f"t:{task_id}"


def progress_topic(task_id: UUID) -> str:
    """What is announced when a worker has written how far a task is."""
    return f"p:{task_id}"


def lane_topic(lane: int) -> str:
    """What is announced when a task of the lane became ready."""
    return f"lane:{lane}"
