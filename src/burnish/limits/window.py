"""Where a window begins and ends, and how much of it is used. Pure; its rows are in `store.py`.

A calendar window begins at midnight of its time zone (or at a whole multiple of its length after it, and ends with
the day at the latest), so that everybody's day is the day on their wall. A rolling window is made of slices: a use
counts until its slice is `seconds` in the past, so that no stretch of that length ever holds more than the limit.
"""

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Final, NamedTuple
from zoneinfo import ZoneInfo

from msgspec import Struct

from burnish.limits.limit import Window

_SLICES: Final = 60
_DAY: Final = timedelta(days=1)
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


class Span(NamedTuple):
    """Where a use of this moment is counted: `starts_at` names the row, which means nothing from `ends_at` on.

    `since`: the oldest row that still counts.
    """

    since: datetime
    starts_at: datetime
    ends_at: datetime


class Used(Struct):
    """How much of a window is used; `frees_at` is when some of it comes back, `resets_at` when all of it has."""

    used: int
    frees_at: datetime
    resets_at: datetime


@lru_cache(maxsize=4096)
def _calendar(seconds: int, time_zone: str, hour: int) -> tuple[datetime, datetime]:
    """The window that a moment in that hour (counted since 1970) lies in, for lengths of an hour and more."""
    return _around(_EPOCH + timedelta(hours=hour), timedelta(seconds=seconds), ZoneInfo(time_zone))


def _around(moment: datetime, length: timedelta, zone: ZoneInfo) -> tuple[datetime, datetime]:
    local = moment.astimezone(zone)
    midnight = local.replace(hour=0, minute=0, second=0, microsecond=0, fold=0)
    if length > _DAY:
        days = length.days
        first = midnight.date().toordinal() // days * days
        begins = midnight.fromordinal(max(1, first)).replace(tzinfo=zone)
        return begins.astimezone(UTC), (begins + timedelta(days=days)).astimezone(UTC)
    # Wall-clock arithmetic for the day's ends, absolute time within it: a day that is put forward has 23 hours.
    tomorrow = (midnight + _DAY).astimezone(UTC)
    today = midnight.astimezone(UTC)
    begins_at = today + (moment.astimezone(UTC) - today) // length * length
    return begins_at, min(begins_at + length, tomorrow)


def span(window: Window, now: datetime) -> Span:
    """Where a use at `now` is counted."""
    length = timedelta(seconds=window.seconds)
    if window.kind == "rolling":
        slice_ = length / _SLICES
        starts_at = _EPOCH + (now - _EPOCH) // slice_ * slice_
        return Span(starts_at - length, starts_at, starts_at + slice_ + length)
    if window.seconds % 3600 == 0 and window.time_zone == "UTC":
        starts_at, ends_at = _calendar(window.seconds, "UTC", int(now.timestamp()) // 3600)
    else:  # some zones are half an hour off
        starts_at, ends_at = _around(now, length, ZoneInfo(window.time_zone))
    return Span(starts_at, starts_at, ends_at)


def used(window: Window, span: Span, rows: Iterable[tuple[datetime, int]]) -> Used:
    """What its rows (starts_at, used) come to. A clock that was put back leaves rows that are still to come."""
    counted = [
        (starts_at, count) for starts_at, count in rows if count and span.since <= starts_at < span.ends_at
    ]
    total = sum(count for _, count in counted)
    if window.kind == "calendar" or not counted:
        return Used(total, span.ends_at, span.ends_at)
    # A slice is forgotten when the next one begins that lies `seconds` after it.
    lasts = span.ends_at - span.starts_at
    return Used(total, min(counted)[0] + lasts, max(counted)[0] + lasts)
