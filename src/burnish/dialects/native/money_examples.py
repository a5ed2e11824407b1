"""Examples of credits and usage for the documentation, made of the types that replies are made of."""

from datetime import UTC, date, datetime, timedelta
from typing import Final
from uuid import UUID

from burnish.dialects.native import money_wire
from burnish.ids import to_wire

_AT: Final = datetime(2026, 1, 15, 9, 30, tzinfo=UTC)
_NUMBER: Final = UUID("019bc0de-0000-7000-8000-000000000000")
_GRANT: Final = to_wire("grant", _NUMBER)
_TASK: Final = to_wire("task", _NUMBER)
_KEY: Final = to_wire("key", _NUMBER)


def _entry(number: int) -> str:
    return to_wire("entry", UUID(int=number))


CREDITS: Final = money_wire.CreditsReply(
    metered=True,
    granted=1_000,
    available=840,
    held=20,
    charged=140,
    expired=0,
    grants=[
        money_wire.GrantLeft(
            id=_GRANT,
            kind="paid",
            granted=1_000,
            available=840,
            held=20,
            expires_at=_AT + timedelta(days=365),
            created_at=_AT,
        )
    ],
)
ENTRIES: Final = money_wire.EntryPage(
    data=[
        money_wire.EntryReply(
            id=_entry(1043), kind="charge", granted=0, available=0, held=-20, charged=20, expired=0,
            subject=_TASK, key=_KEY, at=_AT + timedelta(seconds=4),
        ),
        money_wire.EntryReply(
            id=_entry(1042), kind="hold", granted=0, available=-20, held=20, charged=0, expired=0,
            subject=_TASK, key=_KEY, at=_AT,
        ),
    ],
    has_more=True,
    next=_entry(1042),
)  # fmt: skip
USAGE: Final = money_wire.UsageReply(
    from_=date(2026, 1, 1),
    to=date(2026, 1, 30),
    data=[
        money_wire.UsageLine(
            day=date(2026, 1, 15), model=None, key=None, succeeded=118, failed=2, cancelled=1, credits=2_360
        )
    ],
)
