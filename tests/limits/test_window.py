"""Windows while the clock goes back and forth: each use is counted where it was made, and no stretch holds too many."""

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from burnish.limits.limit import Window
from burnish.limits.window import span, used

EVENING = datetime(2026, 5, 4, 23, 30, tzinfo=UTC)
_MOMENTS = st.lists(st.integers(0, 3 * 3_600), min_size=1, max_size=40)


def _uses(window: Window, moments: list[datetime]) -> list[datetime]:
    """Those of these moments, in this order, at which the window let one more use in."""
    rows: dict[datetime, int] = {}
    made = []
    for now in moments:
        where = span(window, now)
        if used(window, where, rows.items()).used < window.limit:
            rows[where.starts_at] = rows.get(where.starts_at, 0) + 1
            made.append(now)
    return made


def test_a_day_that_has_not_come_yet_counts_for_itself() -> None:
    """An hour forth over midnight, and back: today is as it was."""
    day = Window(limit=3)
    tonight = span(day, EVENING + timedelta(hours=1))
    rows = [(span(day, EVENING).starts_at, 1), (tonight.starts_at, 3)]

    assert used(day, span(day, EVENING), rows).used == 1
    assert used(day, tonight, rows).used == 3


@given(seconds=_MOMENTS)
def test_a_calendar_window_never_holds_more_than_its_limit_wherever_the_clock_goes(
    seconds: list[int],
) -> None:
    """And exactly so many, where so many were wanted."""
    window = Window(limit=3, seconds=3_600)
    moments = [EVENING + timedelta(seconds=second) for second in seconds]
    made, wanted = (
        [span(window, now).starts_at for now in all_] for all_ in (_uses(window, moments), moments)
    )
    for hour in set(wanted):
        assert made.count(hour) == min(3, wanted.count(hour))


@given(seconds=_MOMENTS)
def test_no_stretch_of_a_rolling_window_holds_more_than_its_limit_wherever_the_clock_goes(
    seconds: list[int],
) -> None:
    """Uses that were made in what is the future now are counted too, where they lie within its length."""
    window = Window(limit=3, seconds=3_600, kind="rolling")
    made = sorted(_uses(window, [EVENING + timedelta(seconds=second) for second in seconds]))
    for fourth in range(3, len(made)):
        assert made[fourth] - made[fourth - 3] >= timedelta(hours=1)
