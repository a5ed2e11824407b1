"""The native API's words for credits and usage, and the way from the house's to them."""

import re
from collections.abc import Sequence
from datetime import UTC, date, datetime, time, timedelta
from typing import Annotated, Any, Final, Literal
from uuid import UUID

from msgspec import Meta, Struct

from burnish.credits.find import FIVE, Credits, EntryKind, EntryRow, GrantRow
from burnish.dialects.native import wire
from burnish.errors import Invalid
from burnish.ids import from_wire, to_wire
from burnish.tasks.usage import Used
from burnish.uploads.blob import OUTPUT

_DAY: Final = timedelta(days=1)
_DAYS: Final = 30  #: unless the query says otherwise
_MOST_DAYS: Final = 366
_BY: Final = r"^(day|model|key)(,(day|model|key)){0,2}$(?!\n)"
_LARGEST_ID: Final = (1 << 63) - 1
#: What an entry's subject is, where it is no task.
_SUBJECTS: Final = {"purchase": OUTPUT, "grant": "grant", "expire": "grant"}


# --- what a request may say ---------------------------------------------------------------------------------------


class EntriesQuery(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which entries, and how many."""

    limit: Annotated[int, wire.says("At most so many.", ge=1, le=100)] = 20
    after: (
        Annotated[str, wire.says("Those posted before this entry: the `next` of the page before.")] | None
    ) = None
    kind: Annotated[EntryKind, wire.says("Only entries of this kind.")] | None = None


class UsageQuery(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, rename={"from_": "from"}):
    """Which days, and what is told apart."""

    from_: Annotated[date, wire.says("The first day, in UTC; 30 days with the last unless given.")] | None = (
        None
    )
    to: Annotated[date, wire.says("The last day; today unless given.")] | None = None
    by: Annotated[
        str,
        wire.says(
            "What has a line of its own: `day`, `model`, `key`, or several of them with commas.",
            extra_json_schema={"pattern": _BY},
        ),
    ] = "day"

    def __post_init__(self) -> None:
        if not re.fullmatch(_BY, self.by):
            raise ValueError("by: It must be day, model or key, or several of them with commas")


# --- what a reply says --------------------------------------------------------------------------------------------


class GrantLeft(Struct, frozen=True, kw_only=True):
    """A grant of which something may be spent."""

    id: str
    kind: Annotated[Literal["paid", "given"], wire.says("Whether it was paid for.")]
    granted: int
    available: int
    held: Annotated[int, wire.says("Set aside for tasks that have not ended.")]
    expires_at: Annotated[datetime, Meta(tz=True)] | None
    created_at: wire.Moment


class CreditsReply(Struct, frozen=True, kw_only=True):
    """How the account's credits stand: `granted` is always the sum of the four others."""

    metered: Annotated[bool, wire.says("Whether tasks cost credits under the account's plan.")]
    granted: Annotated[int, wire.says("All that it was ever given or has paid for.")]
    available: Annotated[int, wire.says("May be spent now.")]
    held: Annotated[int, wire.says("Set aside for tasks that have not ended.")]
    charged: Annotated[int, wire.says("Spent.")]
    expired: Annotated[int, wire.says("Nobody spent it in time.")]
    grants: Annotated[
        list[GrantLeft], wire.says("What may be spent, in the order in which it is: the next 100.")
    ]


class EntryReply(Struct, frozen=True, kw_only=True):
    """One movement of credits: what each of the five gained by it. `granted` is always the sum of the four others."""

    id: str
    kind: Annotated[
        EntryKind,
        wire.says(
            "`grant`: new credits; `hold`: set aside for a task; `charge`: a task's end, what is left over returned; "
            "`release`: a task's end, all returned; `purchase`: paid at a download; `expire`: not spent in time."
        ),
    ]
    granted: int
    available: int
    held: int
    charged: int
    expired: int
    subject: Annotated[str, wire.says("The task, the output of a purchase, or the grant.")]
    key: Annotated[str, wire.says("The key that spent it.")] | None
    at: wire.Moment


class EntryPage(Struct, frozen=True, kw_only=True):
    """Entries, newest first."""

    data: list[EntryReply]
    has_more: bool
    next: (
        Annotated[str, wire.says("Give it as `after` for the next page; the Link header has the whole URL.")]
        | None
    )


class UsageLine(Struct, frozen=True, kw_only=True):
    """Tasks that ended. What `by` does not name is null."""

    day: date | None
    model: str | None
    key: Annotated[str, wire.says("The key that made them.")] | None
    succeeded: int
    failed: int
    cancelled: int
    credits: Annotated[int, wire.says("What they were charged.")]


class UsageReply(Struct, frozen=True, kw_only=True, rename={"from_": "from"}):
    """What was done, from the first day to the last."""

    from_: date
    to: date
    data: Annotated[list[UsageLine], wire.says("Oldest day first; lines without any task are left out.")]


# --- from their words to the house's ------------------------------------------------------------------------------


def entry_number(after: str | None) -> int | None:
    """Raises Invalid for what is no entry's id."""
    if after is None:
        return None
    found = from_wire("entry", after)
    if found is None or found.int > _LARGEST_ID:
        raise Invalid("`after` is an entry's id, as in `next` of the page before.", param="after")
    return found.int


def stretch(asked: UsageQuery, now: datetime) -> tuple[date, date, datetime, datetime]:
    """The first day and the last, and the moments that they begin and end at.

    Raises:
        Invalid: they lie the wrong way round, too far apart, or outside the calendar.
    """
    last = asked.to or now.astimezone(UTC).date()
    try:
        first = asked.from_ or last - (_DAYS - 1) * _DAY
        since, until = (datetime.combine(day, time(), UTC) for day in (first, last + _DAY))
    except OverflowError as error:
        raise Invalid("These days lie outside the calendar.", param="to") from error
    if first > last:
        raise Invalid("The first day lies after the last.", param="from")
    if last - first >= _MOST_DAYS * _DAY:
        raise Invalid(f"At most {_MOST_DAYS} days are told at once.", param="from")
    return first, last, since, until


# --- and back -----------------------------------------------------------------------------------------------------


def credits_reply(standing: Credits, *, metered: bool) -> CreditsReply:
    return CreditsReply(
        metered=metered, grants=[_grant_left(one) for one in standing.grants], **five(standing)
    )


def five(of: Any) -> dict[str, int]:
    """What was granted, and the four parts that it is in."""
    return {name: getattr(of, name) for name in FIVE}


def _grant_left(one: GrantRow) -> GrantLeft:
    return GrantLeft(
        id=to_wire("grant", one.id),
        kind=wire.literal(one.kind),
        granted=one.granted,
        available=one.available,
        held=one.held,
        expires_at=one.expires_at,
        created_at=one.created_at,
    )


def entry_reply(entry: EntryRow) -> EntryReply:
    return EntryReply(
        id=to_wire("entry", UUID(int=entry.id)),
        kind=wire.literal(entry.kind),
        subject=to_wire(_SUBJECTS.get(entry.kind, "task"), entry.subject_id),
        key=to_wire("key", entry.key_id) if entry.key_id else None,
        at=entry.at,
        **five(entry),
    )


def usage_reply(first: date, last: date, used: Sequence[Used]) -> UsageReply:
    lines = [
        UsageLine(
            day=one.day,
            model=one.model,
            key=to_wire("key", one.key_id) if one.key_id else None,
            succeeded=one.succeeded,
            failed=one.failed,
            cancelled=one.cancelled,
            credits=one.credits,
        )
        for one in used
    ]
    return UsageReply(from_=first, to=last, data=lines)
