"""What the service answers with about an account, as frozen values: quotes, limits, credits, entries, usage.

Read from the replies' JSON by `_account.py`; what this version does not know is in `raw`. Credits are whole.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import Self

from burnish.client._shapes import Json


@dataclass(frozen=True, slots=True)
class Quote:
    """What a task would cost, `lowest` to `highest` credits (the same where that is known; None: there is no highest),
    and what would happen: `outcome` is accepted, queued, error_state or refused, `reason` and `message` say why.
    """

    model: str
    lowest: int
    highest: int | None
    unit: str
    quantity: int | None
    breakdown: Sequence[Json]
    outcome: str
    reason: str | None
    message: str | None
    limits: Sequence[Json]
    raw: Json = field(default_factory=dict, repr=False, compare=False)

    @classmethod
    def from_json(cls, data: Json) -> Self:
        """As the service tells it. Raises KeyError, TypeError or ValueError where it is something else."""
        return cls(
            model=data["model"],
            lowest=data["credits"]["min"],
            highest=data["credits"]["max"],
            unit=data["unit"],
            quantity=data.get("quantity"),
            breakdown=tuple(data.get("breakdown") or ()),
            outcome=data["outcome"],
            reason=data.get("reason"),
            message=data.get("message"),
            limits=tuple(data.get("limits") or ()),
            raw=data,
        )


@dataclass(frozen=True, slots=True)
class Limit:
    """One limit and how much of it is used. `kind` is rate, tasks_at_once, window or credits; `on_limit` what happens
    over it: queue, error_state or reject.
    """

    name: str
    kind: str
    scope: str
    limit: int
    used: int
    remaining: int
    seconds: int | None
    burst: int | None
    on_limit: str
    resets_at: datetime | None
    raw: Json = field(default_factory=dict, repr=False, compare=False)

    @classmethod
    def from_json(cls, data: Json) -> Self:
        """As the service tells it. Raises KeyError, TypeError or ValueError where it is something else."""
        return cls(
            name=data["name"],
            kind=data["kind"],
            scope=data["scope"],
            limit=data["limit"],
            used=data["used"],
            remaining=data["remaining"],
            seconds=data.get("seconds"),
            burst=data.get("burst"),
            on_limit=data.get("on_limit") or "reject",
            resets_at=_time(data.get("resets_at")),
            raw=data,
        )


@dataclass(frozen=True, slots=True)
class Credits:
    """How the account's credits stand: `granted` is the sum of the four that follow it. `grants` is what may be spent."""

    metered: bool
    granted: int
    available: int
    held: int
    charged: int
    expired: int
    grants: Sequence[Json]
    raw: Json = field(default_factory=dict, repr=False, compare=False)

    @classmethod
    def from_json(cls, data: Json) -> Self:
        """As the service tells it. Raises KeyError, TypeError or ValueError where it is something else."""
        return cls(
            metered=data["metered"],
            granted=data["granted"],
            available=data["available"],
            held=data["held"],
            charged=data["charged"],
            expired=data["expired"],
            grants=tuple(data.get("grants") or ()),
            raw=data,
        )


@dataclass(frozen=True, slots=True)
class Entry:
    """One movement of credits: what each of the five gained by it. `subject` is the task, output or grant."""

    id: str
    kind: str
    granted: int
    available: int
    held: int
    charged: int
    expired: int
    subject: str
    key: str | None
    at: datetime
    raw: Json = field(default_factory=dict, repr=False, compare=False)

    @classmethod
    def from_json(cls, data: Json) -> Self:
        """As the service tells it. Raises KeyError, TypeError or ValueError where it is something else."""
        return cls(
            id=data["id"],
            kind=data["kind"],
            granted=data["granted"],
            available=data["available"],
            held=data["held"],
            charged=data["charged"],
            expired=data["expired"],
            subject=data["subject"],
            key=data.get("key"),
            at=datetime.fromisoformat(data["at"]),
            raw=data,
        )


@dataclass(frozen=True, slots=True)
class Usage:
    """Tasks that ended, and what they were charged. What was not told apart is None."""

    day: date | None
    model: str | None
    key: str | None
    succeeded: int
    failed: int
    cancelled: int
    credits: int
    raw: Json = field(default_factory=dict, repr=False, compare=False)

    @classmethod
    def from_json(cls, data: Json) -> Self:
        """As the service tells it. Raises KeyError, TypeError or ValueError where it is something else."""
        return cls(
            day=None if data.get("day") is None else date.fromisoformat(data["day"]),
            model=data.get("model"),
            key=data.get("key"),
            succeeded=data["succeeded"],
            failed=data["failed"],
            cancelled=data["cancelled"],
            credits=data["credits"],
            raw=data,
        )


def _time(text: str | None) -> datetime | None:
    return None if text is None else datetime.fromisoformat(text)
