"""What happens to a task that asks to go on: it gets a slot and a start tag, is parked, stored as failed, or refused. Pure.

Called inside the transaction that holds the account's lock, with what that transaction read; the answer is written by
the same transaction. Every quota is looked at before any is spent, and a refusal spends nothing. Where several are
over, credits speak first (waiting does not help there), then what is the strictest, then the longest wait.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import lru_cache
from math import ceil
from typing import Any, Final, Literal, NamedTuple
from uuid import UUID

from msgspec import Struct

from burnish.clock import seconds_until
from burnish.credits import ledger
from burnish.credits.grant import in_credits, short
from burnish.credits.ledger import Entry, Grant
from burnish.errors import InsufficientCredits, Limited, Refused
from burnish.keys.plan import Plan
from burnish.limits.limit import STRICTNESS, Ceiling, OnLimit, stricter
from burnish.limits.window import Span, Used
from burnish.tasks.queue import Group, Queue
from burnish.tasks.task import FAILED, HEAVY, QUEUED, WAITING
from burnish.webhooks.event import CREDITS_LOW, LIMITS_THRESHOLD

#: When to ask again for a slot: nobody knows when a task ends, and this is soon for a short one.
_SLOT_SECONDS: Final = 2
_PROMOTED: Final = 1_000  #: in one transaction

DAY: Final = "day"
KEY_CREDITS: Final = "key-credits"
#: Tasks that came through a dialect and have not been forgotten; `made_through` says of which.
MADE: Final = "made"
_BEGINNING: Final = datetime(1970, 1, 1, tzinfo=UTC)
#: What a key spends is counted for as long as it lives.
FOR_EVER: Final = Span(_BEGINNING, _BEGINNING, datetime(9999, 1, 1, tzinfo=UTC))
#: A ceiling's place in a plan -> its name on the wire.
CEILINGS: Final = {
    "account": "tasks-at-once",
    "key": "key-tasks-at-once",
    "heavy": "heavy-tasks-at-once",
    "model": "model-tasks-at-once",
}


def made_through(environment: str, dialect: str) -> str:
    """The subject of `MADE`."""
    return f"{environment} {dialect}"


@dataclass(slots=True)
class State:
    """One account under its lock, and what this transaction makes of it. `windows`: by (name, subject), where to count
    and how much is used.
    """

    id: UUID
    plan: Plan
    created_at: datetime
    queue: Queue
    grants: list[Grant] = field(default_factory=list)
    windows: dict[tuple[str, str], tuple[Span, Used]] = field(default_factory=dict)
    entries: list[Entry] = field(default_factory=list)
    #: (name, subject, starts_at, ends_at) -> how many more; and how many less.
    uses: dict[tuple[str, str, datetime, datetime], int] = field(default_factory=dict)
    returns: dict[tuple[str, str, datetime], int] = field(default_factory=dict)
    changed: bool = False
    #: Whether the account has an endpoint; and what the account is told of itself: (event, facts).
    listens: bool = False
    told: list[tuple[str, dict[str, object]]] = field(default_factory=list)
    #: (lane, model, key) -> the ceilings over such a task, once they were asked for.
    known: dict[tuple[int, str, str], tuple[tuple[str, Ceiling, str], ...]] = field(default_factory=dict)

    def ceilings(self, lane: int, model: str, key: str) -> tuple[tuple[str, Ceiling, str], ...]:
        """Those over such a task: (place in the plan, the ceiling, the name that counts)."""
        place = lane, model, key
        if (found := self.known.get(place)) is None:
            found = self.known[place] = tuple(ceilings(self.plan, lane, model, key))
        return found

    def use(self, name: str, subject: str, count: int) -> datetime:
        """Count so many more in a window; returns where its row starts."""
        where, used = self.windows[name, subject]
        used.used += count
        self.count(name, subject, where, count)
        return where.starts_at

    def count(self, name: str, subject: str, where: Span, count: int) -> None:
        place = name, subject, where.starts_at, where.ends_at
        self.uses[place] = self.uses.get(place, 0) + count

    def give_back(self, name: str, subject: str, starts_at: datetime, count: int) -> None:
        """Count so many less in the row that begins there."""
        place = name, subject, starts_at
        self.returns[place] = self.returns.get(place, 0) + count


class Ask(Struct, frozen=True, kw_only=True):
    """A task that asks. `cost`: its price in credits, None while its bytes have not been seen; `lowest`: what it costs at
    least. `arrived`: it was admitted before, as waiting: its windows are spent, and a ceiling can only park it. `unasked`: no
    client asks, but somebody with a link: it spends no window, and a ceiling can only park it. `parks`: a ceiling
    parks it, whatever the plan says.
    """

    task_id: UUID
    lane: int
    model: str
    key: str
    cost: int | None
    lowest: int
    on_limit: OnLimit | None = None
    max_credits: int | None = None
    credit_cap: int | None = None
    arrived: bool = False
    unasked: bool = False
    parks: bool = False


class Over(NamedTuple):
    """A quota that would be overrun: what happens, and how it is told."""

    name: str
    on_limit: OnLimit
    refusal: Refused


class Verdict(Struct, frozen=True):
    """What becomes of it. `shadow`: limits that are counted, not enforced, and would have refused it."""

    status: Literal["waiting", "queued", "failed"] | None
    parked: bool = False
    refusal: Refused | None = None
    shadow: tuple[str, ...] = ()

    @property
    def reason(self) -> str:
        """The status reason of a task that is stored as failed."""
        if isinstance(self.refusal, InsufficientCredits):
            return "insufficient_credits"
        assert self.refusal is not None
        return "daily_limit_reached" if self.refusal.code == "daily_limit_reached" else "rate_limited"


def decide(state: State, ask: Ask, now: datetime) -> Verdict:
    """The verdict; nothing is changed by it."""
    if (credits_ := _credits_over(state, ask, now)) is not None:
        return Verdict(FAILED if ask.arrived else None, refusal=credits_)
    over: list[Over] = []
    shadow: list[str] = []
    if not ask.arrived and not ask.unasked:
        over += _day_over(state, ask, shadow, now)
    over += _ceilings_over(state, ask, shadow)
    seen = ask.cost is not None
    if not over:
        return Verdict(QUEUED if seen else WAITING, shadow=tuple(shadow))
    worst = max(over, key=lambda one: (STRICTNESS[one.on_limit], one.refusal.retry_after or 0))
    if worst.on_limit == "queue" or ask.arrived or ask.unasked:
        return Verdict(QUEUED if seen else WAITING, parked=seen, shadow=tuple(shadow))
    return Verdict(FAILED if worst.on_limit == "error_state" else None, False, worst.refusal, tuple(shadow))


def apply(state: State, ask: Ask, verdict: Verdict, virtual_time: int, now: datetime) -> int | None:
    """Spend what an admitted task spends; its start tag, where it has a slot now."""
    state.changed = True
    group = state.queue.group(ask.lane, ask.model, ask.key)
    if ask.arrived:
        state.queue.count(group, "waiting", -1)
    for name in verdict.shadow:
        if (f"shadow {name}", "") in state.windows:
            state.use(f"shadow {name}", "", 1)
    if verdict.status == FAILED:
        return None
    if not ask.arrived and not ask.unasked and (DAY, "") in state.windows:
        state.use(DAY, "", 1)
        _tell_of_day(state)
    if ask.cost and state.plan.metered:
        draws = ledger.draw(state.grants, ask.cost, now)
        _tell_of_credits(state, ask.cost, now)
        state.entries.append(ledger.hold(state.id, ask.task_id, draws, _key_id(ask.key) if ask.key else None))
        if ask.key:
            _spend_of_key(state, ask.key, ask.cost)
    if verdict.status == WAITING:
        state.queue.count(group, "waiting", 1)
        return None
    if verdict.parked:
        state.queue.count(group, "parked", 1)
        return None
    state.queue.count(group, "slots", 1)
    return state.queue.tag(ask.lane, ask.key, virtual_time, state.plan.weight)


@lru_cache(maxsize=4096)
def _key_id(digits: str) -> UUID:
    return UUID(digits)


def _tell_of_day(state: State) -> None:
    """When four fifths of it, and all of it, are used."""
    window = state.plan.windows.day
    if window is None:
        return
    where, used = state.windows[DAY, ""]
    for percent in (80, 100):
        if used.used == ceil(window.limit * percent / 100):
            facts = {"policy": DAY, "percent": percent, "limit": window.limit, "used": used.used}
            state.told.append((LIMITS_THRESHOLD, facts | {"resets_at": where.ends_at}))


def _tell_of_credits(state: State, spent: int, now: datetime) -> None:
    """When they fall below what the plan calls low."""
    low = state.plan.credits_low
    if low is not None:
        left = ledger.spendable(state.grants, now)
        if left < low <= left + spent:
            state.told.append((CREDITS_LOW, {"available": left, "low": low}))


def _spend_of_key(state: State, key: str, credits_: int) -> None:
    """Counted for every key, so that a cap may be set at any time."""
    if (KEY_CREDITS, key) in state.windows:
        state.use(KEY_CREDITS, key, credits_)
    else:
        state.count(KEY_CREDITS, key, FOR_EVER, credits_)


# --- the quotas ---------------------------------------------------------------------------------------------------


def _credits_over(state: State, ask: Ask, now: datetime) -> Refused | None:
    if not state.plan.metered:
        return None
    cost = ask.lowest if ask.cost is None else ask.cost
    if ask.max_credits is not None and cost > ask.max_credits:
        return InsufficientCredits(
            f"This costs {in_credits(cost)}, and the request allows {ask.max_credits}. Raise `max_credits`, or ask for less.",
            code="max_credits_exceeded",
            param="max_credits",
            details={"required": cost, "max_credits": ask.max_credits},
        )
    if cost and (there := ledger.spendable(state.grants, now)) < cost:
        return short(cost, there)
    if cost and ask.credit_cap is not None:
        used = state.windows[KEY_CREDITS, ask.key][1].used
        if used + cost > ask.credit_cap:
            return InsufficientCredits(
                f"This costs {in_credits(cost)}; this key may spend {ask.credit_cap} and has spent {used}. Raise its cap, "
                "or use another key.",
                code="key_credits_spent",
                details={
                    "policy": KEY_CREDITS, "scope": "key", "required": cost, "limit": ask.credit_cap, "used": used,
                    "remaining": max(0, ask.credit_cap - used), "advice": "raise_cap",
                },
            )  # fmt: skip
    return None


def _day_over(state: State, ask: Ask, shadow: list[str], now: datetime) -> Iterator[Over]:
    window = state.plan.windows.day
    if window is None:
        return
    used = state.windows[DAY, ""][1]
    if used.used < window.limit:
        return
    if not window.enforced(state.created_at):
        shadow.append(DAY)
        return
    wait = max(1, seconds_until(used.frees_at, now))
    yield Over(
        DAY,
        stricter(window.on_limit, ask.on_limit),
        Limited(
            f"Your plan allows {window.limit} tasks in {_length(window.seconds)}, and {used.used} were made. "
            f"The next may be made at {used.frees_at:%Y-%m-%d %H:%M} UTC; a larger plan takes effect at once.",
            code="daily_limit_reached",
            retry_after=wait,
            details={
                "policy": DAY, "scope": "account", "limit": window.limit, "used": used.used, "remaining": 0,
                "reset": wait, "advice": "upgrade_plan",
            },
        ),
    )  # fmt: skip


def _ceilings_over(state: State, ask: Ask, shadow: list[str]) -> Iterator[Over]:
    slots, present = state.queue.counts()
    counts = slots if ask.arrived or ask.unasked else present
    for kind, ceiling, counted in state.ceilings(ask.lane, ask.model, ask.key):
        used = counts[counted]
        if used < ceiling.limit:
            continue
        name = CEILINGS[kind]
        behaviour = "queue" if ask.parks else stricter(ceiling.on_limit, ask.on_limit)
        if behaviour == "queue":
            used = slots[counted]  # what waits for its bytes will be parked when they are here
            if used < ceiling.limit:
                continue
        if not ceiling.enforced(state.created_at):
            shadow.append(name)
            continue
        yield Over(name, behaviour, _too_many(kind, name, ceiling, used, ask))


def _too_many(kind: str, name: str, ceiling: Ceiling, used: int, ask: Ask) -> Limited:
    whose, scope = {
        "account": ("Your plan allows", "account"),
        "key": ("Each key may have", "key"),
        "heavy": ("Of heavy models your plan allows", "account"),
        "model": (f"Of {ask.model} your plan allows", "account"),
    }[kind]
    return Limited(
        f"{whose} {ceiling.limit} tasks at once, and {used} have not ended. Submit the next when one has ended; "
        "a callback or `?wait=` tells when.",
        code="too_many_heavy_tasks"
        if kind == "heavy" or (kind == "model" and ask.lane == HEAVY)
        else "too_many_tasks",
        retry_after=_SLOT_SECONDS,
        details={
            "policy": name, "scope": scope, "limit": ceiling.limit, "used": used, "remaining": 0,
            "reset": _SLOT_SECONDS, "advice": "lower_concurrency",
        },
    )  # fmt: skip


def ceilings(plan: Plan, lane: int, model: str, key: str) -> Iterator[tuple[str, Ceiling, str]]:
    """Those over a task: (place in the plan, the ceiling, the name that counts)."""
    at_once = plan.at_once
    if at_once.account is not None:
        yield "account", at_once.account, "account"
    if at_once.key is not None:
        yield "key", at_once.key, f"key {key}"
    if lane == HEAVY and at_once.heavy is not None:
        yield "heavy", at_once.heavy, "heavy"
    if (of_model := at_once.models.get(model)) is not None:
        yield "model", of_model, f"model {model}"


def _length(seconds: int) -> str:
    return {86_400: "a day", 3_600: "an hour"}.get(seconds, f"{seconds} seconds")


# --- who is next --------------------------------------------------------------------------------------------------


def promotions(state: State, times: Sequence[int]) -> list[tuple[Group, int]]:
    """Which groups' next parked tasks become ready now, with their tags, in that order; the state has them as ready.

    Of all groups that have room under every ceiling, the one whose key is served least so far is next. A ceiling that was
    raised by more than a transaction should write is filled by the next ones.
    """
    made: list[tuple[Group, int]] = []
    slots, _ = state.queue.counts()
    while len(made) < _PROMOTED:
        able = [g for g in state.queue.groups.values() if g.parked and _room(state, g, slots)]
        if not able:
            break
        group = min(able, key=lambda g: (state.queue.next_tag(g.lane, g.key, times[g.lane]), g.key, g.model))
        state.queue.count(group, "parked", -1)
        state.queue.count(group, "slots", 1)
        made.append((group, state.queue.tag(group.lane, group.key, times[group.lane], state.plan.weight)))
        state.changed = True
    return made


def _room(state: State, group: Group, slots: Mapping[str, Any]) -> bool:
    return all(
        slots[counted] < ceiling.limit or not ceiling.enforced(state.created_at)
        for _, ceiling, counted in state.ceilings(group.lane, group.model, group.key)
    )
