"""When a delivery is tried again: pure."""

from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from burnish.webhooks.ladder import PAUSES, TRIES, Answer, next_try, shut_for

NOW = datetime(2026, 5, 4, 12, tzinfo=UTC)


def wait(answer: Answer, tries: int = 1, chance: float = 0.0) -> float | None:
    again = next_try(answer, tries, NOW, chance)
    return None if again is None else (again - NOW).total_seconds()


def test_the_ladder_is_the_one_that_is_promised() -> None:
    """At once, 5 s, 5 min, 30 min, 2 h, 5 h, 10 h, 14 h, 20 h, 24 h; then it is given up."""
    waits = [wait(Answer(500), tries) for tries in range(1, TRIES + 1)]

    assert waits == [5, 300, 1800, 7200, 18000, 36000, 50400, 72000, 86400, None]


@given(tries=st.integers(1, len(PAUSES)), chance=st.floats(0, 1))
def test_chance_only_ever_makes_it_later(tries: int, chance: float) -> None:
    """At most a tenth."""
    found = wait(Answer(None, "It hangs."), tries, chance)

    assert found is not None
    assert PAUSES[tries - 1] <= found <= PAUSES[tries - 1] * 1.1


@pytest.mark.parametrize("status", [200, 201, 204, 299])
def test_any_2xx_accepts(status: int) -> None:
    """And nothing is tried again."""
    assert Answer(status).accepted
    assert wait(Answer(status)) is None


@pytest.mark.parametrize("status", [100, 301, 302, 400, 404, 410, 429, 500, 503, None])
def test_nothing_else_accepts(status: int | None) -> None:
    """A redirect is a failure; 410 asks for no more at all."""
    assert not Answer(status).accepted
    assert (wait(Answer(status)) is None) == (status == 410)


@pytest.mark.parametrize(
    ("status", "retry_after", "seconds"),
    [
        (429, "60", 60),
        (503, "60", 60),
        (500, "60", 5),
        (429, "1", 5),
        (429, "999999999", 86_400),
        (429, "soon", 5),
        (429, "-5", 5),
        (503, "Mon, 01 Jan 99999999999999999999 00:00:00 GMT", 5),
        (429, "1 Jan 2024 00:00:00 +9999999999999999999", 5),
        (429, format_datetime(NOW + timedelta(seconds=90), usegmt=True), 90),
        (429, format_datetime(NOW - timedelta(seconds=90), usegmt=True), 5),
    ],
)
def test_retry_after_is_honoured_where_it_means_something(
    status: int, retry_after: str, seconds: int
) -> None:
    """Of 429 and 503, in seconds or as a date, a day at most, never sooner than the ladder."""
    assert wait(Answer(status, retry_after=retry_after)) == seconds


def test_a_receiver_that_fails_is_left_alone_for_longer_and_longer() -> None:
    """Up to five minutes."""
    shut = [shut_for(failures, 0).total_seconds() for failures in range(1, 10)]

    assert shut == sorted(shut)
    assert (shut[0], shut[-1]) == (1, 300)
