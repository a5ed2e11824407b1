"""What is told of quotas on replies that read none."""

from dataclasses import replace
from datetime import UTC, datetime

from burnish.ids import new_id
from burnish.keys.key import Key
from burnish.limits.standing import Policy, Standing
from burnish.web.standings import Standings

SLOTS = Standing(Policy("tasks-at-once", 5, unit="concurrent-requests"), 2)


def day(reset_seconds: int) -> Standing:
    return Standing(Policy("day", 500, window_seconds=86_400), 441, reset_seconds)


def a_key() -> Key:
    return Key(new_id(), new_id(), "studio", "live", "", "abcd", frozenset(), datetime.now(UTC), None, None)


def test_windows_count_down_and_are_dropped_at_their_reset() -> None:
    """What is left after the reset nobody has read; the other quotas stay."""
    standings, key = Standings(), a_key()
    standings.keep(key, (SLOTS, day(30)), 100.0)

    assert standings.of(key, 100.9) == (SLOTS, day(30))
    assert standings.of(key, 112.5) == (SLOTS, day(18))
    assert standings.of(key, 129.9) == (SLOTS, day(1))
    assert standings.of(key, 130.0) == (SLOTS,)


def test_nothing_is_told_after_a_minute() -> None:
    """Others spend from the same quotas."""
    standings, key = Standings(), a_key()
    standings.keep(key, (SLOTS,), 100.0)

    assert standings.of(key, 159.9) == (SLOTS,)
    assert standings.of(key, 160.0) == ()
    assert standings.of(key, 100.0) == ()


def test_nothing_is_told_of_other_terms_or_another_key() -> None:
    """Another plan, other overrides, another key of the account."""
    standings, key = Standings(), a_key()
    for other in (
        replace(key, plan="trial"),
        replace(key, overrides='{"weight":1}'),
        replace(key, id=new_id()),
    ):
        standings.keep(key, (SLOTS,), 0.0)
        assert standings.of(key, 1.0) == (SLOTS,)
        assert standings.of(other, 1.0) == ()


def test_what_is_remembered_is_bounded() -> None:
    """Ten thousand keys; then it begins anew."""
    standings, first = Standings(), a_key()
    standings.keep(first, (SLOTS,), 0.0)
    for _ in range(10_000):
        standings.keep(last := a_key(), (SLOTS,), 0.0)

    assert (standings.of(first, 0.0), standings.of(last, 0.0)) == ((), (SLOTS,))
