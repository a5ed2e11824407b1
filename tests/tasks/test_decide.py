"""The pure decision: quotas, slots and fair order."""

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from burnish.credits.ledger import Grant, spendable
from burnish.errors import InsufficientCredits, Limited
from burnish.keys.plan import OWNER
from burnish.limits.window import span, used
from burnish.tasks.accounts import counted
from burnish.tasks.decide import Ask, State, apply, decide, promotions
from burnish.tasks.queue import STEP, Queue
from burnish.tasks.task import HEAVY, LIGHT
from terms import narrowed

NOW = datetime(2026, 5, 4, 12, tzinfo=UTC)
KEY = "0" * 31 + "1"


def a_state(*, grants: list[Grant] | None = None, day_used: int = 0, **plan: Any) -> State:
    """An account under a plan of this table."""
    terms = narrowed(**plan).terms(OWNER)
    state = State(UUID(int=7), terms, NOW - timedelta(days=9), Queue(), grants or [])
    for name, window in counted(terms, state.created_at):
        where = span(window, NOW)
        state.windows[name, ""] = (
            where,
            used(window, where, [(where.starts_at, day_used)] if name == "day" else []),
        )
    return state


def an_ask(**changes: Any) -> Ask:
    facts: dict[str, Any] = {
        "task_id": UUID(int=1),
        "lane": LIGHT,
        "model": "noop",
        "key": KEY,
        "cost": 0,
        "lowest": 0,
    }
    return Ask(**(facts | changes))


def submit(state: State, time: int = 0, **changes: Any) -> int | None:
    """Decide and apply one that must not be refused; its tag."""
    ask = an_ask(**changes)
    verdict = decide(state, ask, NOW)
    assert verdict.status is not None, verdict.refusal
    return apply(state, ask, verdict, time, NOW)


def end(state: State, lane: int = LIGHT, model: str = "noop", key: str = KEY) -> None:
    state.queue.count(state.queue.group(lane, model, key), "slots", -1)


# --- what no client asks for --------------------------------------------------------------------------------------


@pytest.mark.parametrize("on_limit", ["reject", "error_state", "queue"])
def test_what_a_link_asks_for_is_never_refused_and_counts_in_no_day(on_limit: str) -> None:
    """With its day used up and every slot taken it waits for a slot, whatever the plan does to a client's own."""
    state = a_state(
        day_used=1,
        windows={"day": {"limit": 1, "on_limit": on_limit if on_limit != "queue" else "reject"}},
        at_once={"account": {"limit": 1, "on_limit": on_limit}},
    )
    assert submit(state, unasked=True, key="") is not None
    parked = decide(state, an_ask(unasked=True, key=""), NOW)
    assert (parked.status, parked.parked, parked.refusal) == ("queued", True, None)
    assert apply(state, an_ask(unasked=True, key=""), parked, 0, NOW) is None
    assert state.windows["day", ""][1].used == 1
    assert not state.uses


# --- slots --------------------------------------------------------------------------------------------------------


@given(
    ceiling=st.integers(0, 20),
    moves=st.lists(st.tuples(st.booleans(), st.integers(0, 3)), max_size=80),
    weight=st.integers(1, 1000),
    time=st.integers(0, 2**50),
)
def test_slots_never_exceed_the_ceiling(
    ceiling: int, moves: list[tuple[bool, int]], weight: int, time: int
) -> None:
    """Whatever comes and goes, by whichever key: ready at most `ceiling`, parked only when the ceiling is reached."""
    state = a_state(weight=weight, at_once={"account": {"limit": ceiling, "on_limit": "queue"}})
    for comes, number in moves:
        key = f"{number:032x}"
        slots = sum(group.slots for group in state.queue.groups.values())
        if comes:
            tag = submit(state, time, key=key)
            assert (tag is not None) == (slots < ceiling)
            assert tag is None or tag >= time
        elif state.queue.group(LIGHT, "noop", key).slots:
            end(state, key=key)
            promotions(state, [time, time])
        slots = sum(group.slots for group in state.queue.groups.values())
        assert slots <= ceiling
        assert slots == ceiling or not state.queue.parked
        assert Queue(state.queue.document([0, 0])).groups == {
            place: group for place, group in state.queue.groups.items() if not group.empty
        }


@pytest.mark.parametrize(
    ("at_once", "code", "policy"),
    [
        ({"account": {"limit": 2}}, "too_many_tasks", "tasks-at-once"),
        ({"key": {"limit": 2}}, "too_many_tasks", "key-tasks-at-once"),
        ({"heavy": {"limit": 2}, "account": {"limit": 9}}, "too_many_heavy_tasks", "heavy-tasks-at-once"),
        ({"models": {"big": {"limit": 2}}}, "too_many_heavy_tasks", "model-tasks-at-once"),
    ],
)
def test_each_ceiling_refuses_in_its_own_words(at_once: dict[str, Any], code: str, policy: str) -> None:
    """429 with what is limited, how much is used, and what to do."""
    state = a_state(at_once=at_once)
    ask = an_ask(lane=HEAVY, model="big")
    for _ in range(2):
        apply(state, ask, decide(state, ask, NOW), 0, NOW)
    refusal = decide(state, ask, NOW).refusal

    assert isinstance(refusal, Limited)
    assert refusal.code == code
    assert refusal.retry_after
    assert refusal.details | {"scope": ""} == {
        "policy": policy, "scope": "", "limit": 2, "used": 2, "remaining": 0, "reset": refusal.retry_after,
        "advice": "lower_concurrency",
    }  # fmt: skip


def test_the_ceiling_of_a_light_model_is_none_of_heavy_models() -> None:
    """A client lowers what it has of that lane."""
    state = a_state(at_once={"models": {"noop": {"limit": 0}}})
    refusal = decide(state, an_ask(), NOW).refusal
    assert refusal is not None
    assert refusal.code == "too_many_tasks"


def test_what_waits_for_its_bytes_counts_where_a_plan_rejects() -> None:
    """Else uploads by the thousand would come in under a ceiling of two."""
    state = a_state(at_once={"account": {"limit": 2}})
    for _ in range(2):
        assert submit(state, cost=None) is None

    assert decide(state, an_ask(cost=None), NOW).refusal is not None
    assert decide(state, an_ask(arrived=True), NOW).refusal is None


def test_a_request_may_only_be_stricter_than_its_plan() -> None:
    """`queue` may become `error_state` or `reject`; `reject` stays."""
    for plan, asked, status in (
        ("queue", None, "queued"),
        ("queue", "error_state", "failed"),
        ("queue", "reject", None),
        ("error_state", "queue", "failed"),
        ("reject", "queue", None),
    ):
        state = a_state(at_once={"account": {"limit": 0, "on_limit": plan}})
        assert decide(state, an_ask(on_limit=asked), NOW).status == status


# --- windows, shadows, dates --------------------------------------------------------------------------------------


def test_the_day_is_spent_once_a_task_and_told_when_it_is_over() -> None:
    """The refusal names the moment when the next may be made."""
    state = a_state(day_used=4, windows={"day": {"limit": 5}})
    submit(state)
    refusal = decide(state, an_ask(), NOW).refusal

    assert refusal is not None
    assert (refusal.code, refusal.retry_after) == ("daily_limit_reached", 12 * 3600)
    assert sum(state.uses.values()) == 1


def test_an_error_state_costs_nothing() -> None:
    """No use of the day, no slot, no credits."""
    state = a_state(day_used=5, windows={"day": {"limit": 5, "on_limit": "error_state"}})
    verdict = decide(state, an_ask(), NOW)
    assert (verdict.status, verdict.reason) == ("failed", "daily_limit_reached")
    apply(state, an_ask(), verdict, 0, NOW)

    assert not state.uses
    assert all(group.empty for group in state.queue.groups.values())


@pytest.mark.parametrize(
    ("enforce", "refuses"),
    [("always", True), ("shadow", False), ("2026-04-25", True), ("2026-04-26", False)],
)
def test_a_limit_is_enforced_or_only_counted(enforce: str, refuses: bool) -> None:
    """Shadow, or for accounts made from a day on; this one was made on 2026-04-25."""
    state = a_state(
        day_used=5,
        windows={"day": {"limit": 5, "enforce": enforce}},
        at_once={"account": {"limit": 0, "enforce": enforce}},
    )
    verdict = decide(state, an_ask(), NOW)

    assert (verdict.refusal is not None) == refuses
    if not refuses:
        assert set(verdict.shadow) == {"day", "tasks-at-once"}
        apply(state, an_ask(), verdict, 0, NOW)
        assert {name for name, _, _, _ in state.uses} == {"day", "shadow day", "shadow tasks-at-once"}


# --- credits ------------------------------------------------------------------------------------------------------


def test_402_comes_before_429() -> None:
    """Where credits are short, waiting does not help, so nobody is told to wait."""
    state = a_state(metered=True, at_once={"account": {"limit": 0}}, grants=[Grant(UUID(int=3), 4, None)])
    refusal = decide(state, an_ask(cost=5), NOW).refusal

    assert isinstance(refusal, InsufficientCredits)
    assert (refusal.details["required"], refusal.details["remaining"]) == (5, 4)


def test_402_at_once_when_not_even_the_lowest_price_can_be_paid() -> None:
    """Bytes that have not been seen cost at least the lowest tier."""
    state = a_state(metered=True, grants=[Grant(UUID(int=3), 4, None)])

    assert decide(state, an_ask(cost=None, lowest=5), NOW).refusal is not None
    assert decide(state, an_ask(cost=None, lowest=4), NOW).status == "waiting"


def test_a_key_cannot_spend_more_than_its_cap() -> None:
    """Though its account could."""
    from burnish.tasks.decide import FOR_EVER, KEY_CREDITS

    state = a_state(metered=True, grants=[Grant(UUID(int=3), 100, None)])
    window = narrowed(windows={"day": {"limit": 1}}).terms(OWNER).windows.day
    assert window is not None
    state.windows[KEY_CREDITS, KEY] = FOR_EVER, used(window, FOR_EVER, [(FOR_EVER.starts_at, 8)])
    assert decide(state, an_ask(cost=2, credit_cap=10), NOW).refusal is None
    refusal = decide(state, an_ask(cost=3, credit_cap=10), NOW).refusal

    assert refusal is not None
    assert (refusal.code, refusal.details["remaining"]) == ("key_credits_spent", 2)


@given(
    grants=st.lists(st.tuples(st.integers(0, 50), st.one_of(st.none(), st.integers(-5, 5))), max_size=6),
    costs=st.lists(st.integers(0, 40), max_size=30),
)
def test_no_credit_is_spent_twice(grants: list[tuple[int, int | None]], costs: list[int]) -> None:
    """Admitted holds never exceed what was there and had not expired; what is refused spends nothing."""
    there = [
        Grant(UUID(int=n), amount, None if days is None else NOW + timedelta(days=days))
        for n, (amount, days) in enumerate(grants)
    ]
    state = a_state(metered=True, grants=there)
    budget, held = spendable(there, NOW), 0
    for cost in costs:
        if decide(state, an_ask(cost=cost), NOW).refusal is None:
            submit(state, cost=cost)
            held += cost
        else:
            assert held + cost > budget
        assert spendable(there, NOW) == budget - held
    assert sum(entry.held for entry in state.entries) == held


# --- fair order ---------------------------------------------------------------------------------------------------


@given(weights=st.lists(st.integers(1, 100), min_size=2, max_size=5), backlog=st.integers(50, 300))
def test_busy_accounts_share_a_lane_by_their_weight(weights: list[int], backlog: int) -> None:
    """All submit a backlog at once; in any prefix of the order, each has had its share to within one task each."""
    tags = sorted(
        (submit(state, 1_000_000) or 0, account)
        for account, state in enumerate(a_state(weight=weight) for weight in weights)
        for _ in range(backlog)
    )
    served = [0] * len(weights)
    for number, (tag, account) in enumerate(tags):
        served[account] += 1
        if max(served) >= backlog:
            break
        if number + 1 < len(tags) and tags[number + 1][0] == tag:
            continue  # others are served at this very moment
        for other, weight in enumerate(weights):
            due = (tag - 1_000_000) // max(1, STEP // weight) + 1
            assert abs(served[other] - due) <= 1


@given(backlogs=st.lists(st.integers(100, 200), min_size=2, max_size=4))
def test_keys_of_an_account_share_what_it_gets(backlogs: list[int]) -> None:
    """One key's backlog does not keep another key of the account waiting."""
    many = a_state(at_once={"account": {"limit": 4, "on_limit": "queue"}})
    for number, backlog in enumerate(backlogs):
        for _ in range(backlog):
            submit(many, 0, key=f"{number:032x}")
    served = dict.fromkeys(range(len(backlogs)), 0)
    last = 0
    for key in [f"{n:032x}" for n in range(len(backlogs))] * 80:
        if many.queue.group(LIGHT, "noop", key).slots:
            end(many, key=key)
            for group, tag in promotions(many, [last, last]):
                served[int(group.key, 16)] += 1
                last = max(last, tag)
    assert max(served.values()) - min(served.values()) <= 4 + 1


def test_an_account_gains_nothing_by_many_keys() -> None:
    """Ten busy keys get together what one gets alone."""
    many, alone = a_state(), a_state()
    for number in range(10):
        submit(many, 0, key=f"{number:032x}")
    tags = [submit(many, 0, key=f"{number:032x}") or 0 for _ in range(50) for number in range(10)]
    single = [submit(alone, 0) or 0 for _ in range(500)]

    assert abs(max(tags) - max(single)) <= 10 * STEP // 100


def test_a_new_account_does_not_wait_behind_an_old_backlog() -> None:
    """Whoever comes first is served next, not after the ten thousand tasks of another."""
    busy = a_state()
    tags = [submit(busy, 5_000) or 0 for _ in range(10_000)]
    smallest_ready = tags[3_000]  # three thousand have been claimed

    assert submit(a_state(), smallest_ready) == smallest_ready


def test_an_account_that_was_idle_has_saved_nothing_up() -> None:
    """Its next tag lies behind virtual time, so it begins where everybody is, and is forgotten."""
    state = a_state()
    state.queue.tags[f"{LIGHT}{KEY}"] = 10
    assert submit(state, 9_999) == 9_999
    assert Queue(state.queue.document([10**9, 10**9])).tags == {}
