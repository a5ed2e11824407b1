"""Rates: what may come through, in any stretch of time, and what a refusal says."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from burnish.limits.counters.memory import MemoryCounters
from burnish.limits.rate import Rate, ask, slowest, spend

SECOND = 1_000_000_000  #: in nanoseconds

rates = st.builds(
    Rate,
    name=st.just("key-rate"),
    limit=st.integers(1, 1_000),
    window_seconds=st.sampled_from([0.5, 1.0, 7.0, 60.0, 86_400.0]),
    burst=st.integers(1, 50),
)
moments = st.integers(0, 2_000_000).map(lambda micros: micros * 1_000)
pauses = st.lists(moments, max_size=120)


class Subject:
    """One subject and its rates, on a clock that the test moves."""

    def __init__(self, *rates: Rate) -> None:
        self.rates = rates
        self.now = 1_000
        self.full_at = [0] * len(rates)

    def request(self) -> bool:
        verdicts = [ask(rate, at, self.now) for rate, at in zip(self.rates, self.full_at, strict=True)]
        if done := spend(verdicts):
            self.full_at = [self.now + verdict.behind for verdict in verdicts]
        return done


@given(rates, pauses)
def test_no_stretch_of_time_holds_more_than_burst_and_rate(rate: Rate, pauses: list[int]) -> None:
    """Between any two requests that came through: the burst, and one more for each interval of the time between."""
    subject = Subject(rate)
    through = []
    for pause in pauses:
        subject.now += pause
        if subject.request():
            through.append(subject.now)
    for first, begun in enumerate(through):
        for last in range(first, len(through)):
            seconds = (through[last] - begun) / SECOND
            assert last - first + 1 <= rate.burst + seconds * rate.limit / rate.window_seconds + 1e-9


@given(st.lists(rates, min_size=1, max_size=4), pauses)
def test_all_rates_are_spent_or_none(asked: list[Rate], pauses: list[int]) -> None:
    """A request that one rate refuses leaves every rate as it was."""
    subject = Subject(*asked)
    for pause in pauses:
        subject.now += pause
        before = list(subject.full_at)
        each = [ask(r, at, subject.now).allowed for r, at in zip(asked, before, strict=True)]
        assert subject.request() == all(each)
        if all(each):
            assert all(new > old for new, old in zip(subject.full_at, before, strict=True))
        else:
            assert subject.full_at == before


@given(rates, pauses)
def test_waiting_for_as_long_as_told_is_enough_and_less_is_not(rate: Rate, pauses: list[int]) -> None:
    """`retry_after_seconds` is the very moment; `reset_seconds` that of the whole burst; `remaining` comes through."""
    subject = Subject(rate)
    for pause in pauses:
        subject.now += pause
        verdict = ask(rate, subject.full_at[0], subject.now)
        assert verdict.allowed == (verdict.retry_after_seconds == 0) == (verdict.remaining > 0)
        assert verdict.used + verdict.remaining == rate.burst
        if not subject.request():
            wait = round(verdict.retry_after_seconds * 1_000_000) * 1_000
            assert not ask(rate, subject.full_at[0], subject.now + wait - 1).allowed
            assert ask(rate, subject.full_at[0], subject.now + wait).allowed
            assert verdict.reset_seconds >= verdict.retry_after_seconds
    verdict = ask(rate, subject.full_at[0], subject.now)
    assert [subject.request() for _ in range(verdict.remaining + 1)] == [True] * verdict.remaining + [False]
    rested = ask(rate, subject.full_at[0], subject.now + round(subject.full_at[0] - subject.now))
    assert (rested.remaining, rested.reset_seconds) == (rate.burst, 0)


@given(st.lists(rates, min_size=1, max_size=3), st.lists(st.tuples(st.integers(0, 2), moments)))
def test_the_way_for_one_rate_decides_as_the_way_for_many(
    asked: list[Rate], requests: list[tuple[int, int]]
) -> None:
    """In memory a single rate has a path of its own: it answers what the definition answers."""
    now = 1_000
    counters = MemoryCounters(now=lambda: now)
    model = {name: Subject(rate) for name, rate in enumerate(asked)}
    for which, pause in requests:
        rate, now = asked[which % len(asked)], now + pause
        subject = model[which % len(asked)]
        subject.now = now
        (verdict,) = counters.spend("account", [(str(which % len(asked)), rate)])
        assert verdict.allowed == subject.request()
        assert verdict.behind == max(0, subject.full_at[0] - now)


def test_a_clock_that_is_put_back_locks_nobody_out() -> None:
    """What is kept may lie no further ahead than the burst: a day's step back costs at most one burst."""
    rate = Rate("key-rate", 60, 60.0, 10)
    verdict = ask(rate, 86_400 * SECOND, now=1)
    assert (verdict.allowed, verdict.remaining, verdict.reset_seconds) == (False, 0, 10.0)


@pytest.mark.parametrize("processes", [2, 3, 7, 100])
def test_the_shares_of_all_processes_are_no_more_than_the_whole(processes: int) -> None:
    """Each counts alone: together they let through the rate, and the burst, or one each where it is smaller."""
    rate = Rate("ip-rate", 300, 1.0, 50)
    share = rate.share(processes)
    assert processes * SECOND / share.interval <= SECOND / rate.interval
    assert share.room // share.interval == max(1, 50 // processes)
    assert (share.name, share.limit, share.burst) == (rate.name, 300, 50)


def test_the_refusal_that_lasts_longest_is_told() -> None:
    """Of several refusals the last to end counts; where all are allowed there is none."""
    quick, slow = Rate("quick", 60, 60.0, 1), Rate("slow", 6, 60.0, 1)
    refused = [ask(quick, 5 * SECOND, 1), ask(slow, 9 * SECOND, 1)]
    assert slowest(refused) is refused[1]
    assert slowest([ask(quick, 0, 1)]) is None


@pytest.mark.parametrize(
    "wrong",
    [
        ("Key Rate", 1, 1.0, 1), ('a"b', 1, 1.0, 1), ("", 1, 1.0, 1), ("a", 0, 1.0, 1), ("a", 1, 0.0, 1),
        ("a", 1, float("inf"), 1), ("a", 1, float("nan"), 1), ("a", 1, 1.0, 0), ("a", 1, 1.0, 1, "shut"),
    ],
)  # fmt: skip
def test_what_is_no_rate_is_refused(wrong: tuple[str, int, float, int]) -> None:
    """A name that no header takes, and numbers that mean nothing."""
    with pytest.raises(ValueError, match=r"is no(ne| rate| name)"):
        Rate(*wrong)
