"""The words of events, timelines and keeping."""

from datetime import UTC, datetime, timedelta
from typing import Annotated, Final, Literal

import msgspec
from msgspec import Struct

from burnish.dialects.native.wire import Moment, literal, says
from burnish.errors import Invalid
from burnish.ids import to_wire
from burnish.tasks.keep import Receipt
from burnish.tasks.task import Task
from burnish.tasks.timeline import Happening

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND: Final = timedelta(microseconds=1)
_DIGITS: Final = 16  #: of a moment in microseconds, until the year 2286


class TimelineEntry(Struct, frozen=True, kw_only=True):
    """One thing that happened."""

    at: Moment
    event: Annotated[
        Literal["submitted", "queued", "started", "worker_lost", "succeeded", "failed", "cancelled"],
        says(
            "`queued`: its bytes were seen and its price was held; `worker_lost`: it was queued again, or given up."
        ),
    ]
    attempt: Annotated[int, says("Which run, from 1.")] | None
    reason: Annotated[str, says("The `status_reason` that it ended with.")] | None


class TimelineReply(Struct, frozen=True, kw_only=True):
    """What happened to a task, oldest first."""

    id: str
    request_id: Annotated[str, says("Of the request that made it, as in the operator's log.")]
    attempts: Annotated[int, says("Runs so far.")]
    data: list[TimelineEntry]


class EventsQuery(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How to be told."""

    wait: (
        Annotated[
            int,
            says(
                "Answer as soon as there is something to tell, or after so many seconds at the latest, with the same events; "
                "for those to whom a stream does not come through.",
                ge=0,
                le=60,
            ),
        ]
        | None
    ) = None


class KeepRequest(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """For how long."""

    retention_seconds: Annotated[int, says("From now on.", ge=60)]


class ReceiptReply(Struct, frozen=True, kw_only=True):
    """What was deleted."""

    id: str
    deleted_at: Moment
    outputs: Annotated[int, says("How many outputs it had.")]
    bytes: Annotated[int, says("Of its outputs, and of its input where it was fetched for this task.")]


KEEP_REQUEST: Final = msgspec.json.Decoder(KeepRequest)


def timeline_reply(task: Task, happened: list[Happening]) -> TimelineReply:
    return TimelineReply(
        id=to_wire("task", task.id),
        request_id=task.request_id,
        attempts=task.attempts,
        data=[
            TimelineEntry(at=one.at, event=literal(one.what), attempt=one.attempt, reason=one.reason)
            for one in happened
        ],
    )


def receipt_reply(task: Task, receipt: Receipt) -> ReceiptReply:
    return ReceiptReply(
        id=to_wire("task", task.id),
        deleted_at=receipt.deleted_at,
        outputs=receipt.outputs,
        bytes=receipt.size_bytes,
    )


def mark(at: datetime, subject: str = "") -> str:
    """An event's id in an account's stream: the moment that it is about, and whose or which."""
    return f"{(at - _EPOCH) // _MICROSECOND}-{subject}"


def marked(text: str) -> datetime:
    """The moment of an event's id. Raises Invalid for what is none."""
    digits = text.partition("-")[0]
    if not (digits.isascii() and digits.isdecimal() and len(digits) <= _DIGITS):
        raise Invalid(
            "This is no id of an event; give the last one that came, as it came.", param="Last-Event-ID"
        )
    return _EPOCH + int(digits) * _MICROSECOND
