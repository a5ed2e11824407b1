"""Random sequences of everything that moves credits, windows and ceilings: not one credit is lost, no quota is overrun."""

import random
from collections.abc import Callable, Coroutine
from datetime import datetime, timedelta
from types import SimpleNamespace
from typing import Any, Final
from uuid import UUID

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from burnish.credits.grant import grant, purchase
from burnish.errors import Expired, InsufficientCredits, Invalid, Limited
from burnish.ids import new_id
from burnish.keys.issue import issue_key, revoke_key
from burnish.keys.open import open_account, set_terms
from burnish.keys.plan import Plan, Plans
from burnish.limits.window import Span, span
from burnish.settings import Settings
from burnish.storage.postgres import Database
from burnish.tasks import lease
from burnish.tasks.arrive import Seen
from burnish.tasks.audit import audit
from burnish.tasks.cancel import cancel
from burnish.tasks.decide import DAY, FOR_EVER, KEY_CREDITS
from burnish.tasks.finish import Ending
from burnish.tasks.submit import Once
from burnish.tasks.task import FINAL, MOVES, Claimed, Task, key_digits
from burnish.workers.sweep import _expired_credits, _lost_leases, _old_counts, _raised_ceilings
from tasks.story import Story, a_submission, an_upscale, tell

_PLANS: Final = Plans(
    {
        "queueing": {"at_once": {"account": {"limit": 2, "on_limit": "queue"}}},
        "rejecting": {"at_once": {"account": {"limit": 3}, "key": {"limit": 2}}, "windows": {"day": {"limit": 6}}},
        "narrow": {"at_once": {"key": {"limit": 1, "on_limit": "queue"}, "models": {"noop": {"limit": 2}}}},
        "hourly": {"windows": {"day": {"limit": 3, "seconds": 3600, "kind": "rolling", "on_limit": "error_state"}}},
        "shadowing": {"at_once": {"account": {"limit": 1, "enforce": "shadow"}}},
        "unmetered": {"metered": False, "at_once": {"account": {"limit": 4, "on_limit": "queue"}}},
    }
)  # fmt: skip
_CAP: Final = 9
_STEPS: Final = (
    "submit", "submit", "submit", "submit_once", "submit_once", "submit_url", "claim", "claim", "fetch", "arrive",
    "end", "end_cheap", "fail", "end_late", "cancel", "lose", "pass_time", "expire", "grant", "grant", "purchase",
    "change_plan", "revoke", "sweep",
)  # fmt: skip


class _World:
    """An account, its two keys, of which the second has a cap, and what a bookkeeper beside it believes."""

    def __init__(self, story: Story, account_id: UUID, seed: int) -> None:
        self.story = story
        self.account_id = account_id
        self.random = random.Random(seed)
        self.plan = "queueing"
        self.keys: list[tuple[UUID, int | None]] = []
        self.seen: dict[UUID, Task] = {}
        self.once: dict[str, tuple[bytes, UUID, datetime]] = {}
        self.running: list[Claimed] = []
        self.fetching: list[Claimed] = []
        self.late: list[Claimed] = []
        self.granted = self.purchased = 0
        self.counted: dict[str, int] | None = None
        self.resources: Any = SimpleNamespace(
            db=story.db, clock=story.db.clock, settings=story.settings, plans=story.plans
        )

    @property
    def now(self) -> datetime:
        return self.story.db.clock.now()

    @property
    def terms(self) -> Plan:
        return self.story.plans.terms(self.plan)

    async def new_key(self, cap: int | None) -> None:
        key, _ = await issue_key(self.story.db, account="studio", credit_cap=cap, now=self.now)
        self.keys.append((key.id, cap))

    async def step(self, name: str) -> None:
        act: Callable[[], Coroutine[Any, Any, None]] = getattr(self, name)
        await act()

    # --- clients ----------------------------------------------------------------------------------------------

    def _of_a_key(self) -> dict[str, Any]:
        key_id, cap = self.random.choice(self.keys)
        return {"key_id": key_id, "credit_cap": cap, "max_attempts": 2}

    async def _submit(self, submission: Any) -> Task | None:
        try:
            task = await self.story.submit(submission)
        except (Limited, InsufficientCredits):
            return None
        self.seen.setdefault(task.id, task)
        return task

    async def submit(self) -> None:
        await self._submit(a_submission(self.account_id, **self._of_a_key()))

    async def submit_url(self) -> None:
        await self._submit(an_upscale(self.account_id, "https://example.com/a.png", **self._of_a_key()))

    async def submit_once(self) -> None:
        """One of three idempotency keys, with one of two bodies: the first task, a refusal, or after a day a new task."""
        key, fingerprint = self.random.choice("abc"), self.random.choice((b"1", b"1", b"1", b"2"))
        submission = a_submission(
            self.account_id, once=Once("live POST /v1/tasks", key, fingerprint), **self._of_a_key()
        )
        before = self.once.get(key)
        if before is not None and self.now >= before[2]:
            before = None
        task, refusal = None, ""
        try:
            task = await self._submit(submission)
        except (Invalid, Expired) as error:
            refusal = error.code
        if before is not None and before[0] != fingerprint:
            assert refusal == "idempotency_key_reused"
        elif refusal == "expired":
            assert before is not None
            gone = (await self.story.read([before[1]]))[before[1]]
            assert gone.status in FINAL
            assert gone.expires_at <= self.now
        elif before is not None:
            assert task is not None, "what was admitted is told again, whatever the limits"
            assert task.id == before[1]
        elif task is not None:
            assert task.id == submission.id
            self.once[key] = fingerprint, task.id, self.now + timedelta(hours=24)

    async def cancel(self) -> None:
        if self.seen:
            task = self.random.choice(list(self.seen.values()))
            await cancel(self.story.db, task, self.story.plans)

    async def purchase(self) -> None:
        price = self.random.randint(1, 4)
        try:
            await purchase(self.story.db, self.account_id, new_id(), price, key_id=None, now=self.now)
        except InsufficientCredits:
            return
        self.purchased += price

    # --- workers ----------------------------------------------------------------------------------------------

    async def claim(self) -> None:
        self.running += await self.story.claim(rows=2)

    async def fetch(self) -> None:
        seconds = self.story.settings.tasks.lease_seconds
        self.fetching += await lease.claim_fetches(self.story.db, 2, seconds, by_url=True)

    async def arrive(self) -> None:
        if self.fetching:
            task = self.fetching.pop()
            size = self.random.choice((10, 1500))
            await self.story.arrivals.arrive(Seen(task, type="image/png", width=size, height=size, frames=1))
            self.late.append(task)

    async def _end(self, reason: str | None = None, charge: int | None = None) -> None:
        if self.running:
            task = self.running.pop(self.random.randrange(len(self.running)))
            await self.story.endings.end(Ending(task, reason, reason and "As it came.", charge=charge))
            self.late.append(task)

    async def end(self) -> None:
        await self._end()

    async def end_cheap(self) -> None:
        await self._end(charge=self.random.randint(0, 3))

    async def fail(self) -> None:
        await self._end(self.random.choice(("internal", "decode_failed")))

    async def end_late(self) -> None:
        if self.late:
            assert not await self.story.end(self.random.choice(self.late))

    # --- time, and whoever runs it ----------------------------------------------------------------------------

    async def pass_time(self) -> None:
        """Renewed leases; now and then a step back."""
        held = [(task.id, task.lease_id, "working", 0.3) for task in self.running + self.fetching]
        seconds = self.random.choice((60.0, 3_600.0, 3_600.0, 86_400.0, -3_600.0))
        async with self.story.db.transaction() as tx:
            await tx.execute("UPDATE clock SET ahead = ahead + make_interval(secs => $1)", seconds)
        await self.story.db._hear_time()
        self.counted = None
        if held:
            await lease.renew(self.story.db, held, self.story.settings.tasks.lease_seconds)

    async def lose(self) -> None:
        """Every worker dies, and their leases run out."""
        async with self.story.db.transaction() as tx:
            await tx.execute("UPDATE tasks SET leased_until = $1 WHERE leased_until > $1", self.now)
        await _lost_leases(self.resources)
        self.late += self.running + self.fetching
        self.running, self.fetching = [], []

    async def expire(self) -> None:
        await _expired_credits(self.resources)

    async def sweep(self) -> None:
        await _old_counts(self.resources)
        await _raised_ceilings(self.resources)

    async def grant(self) -> None:
        credits_ = self.random.choice((1, 7, 25))
        lasts = self.random.choice((None, 1_800, 7_200))
        await grant(
            self.story.db, self.account_id, credits_, kind="paid", idempotency_key=str(new_id()), now=self.now,
            expires_at=self.now + timedelta(seconds=lasts) if lasts else None,
        )  # fmt: skip
        self.granted += credits_

    async def change_plan(self) -> None:
        self.plan = self.random.choice(self.story.plans.names())
        await set_terms(self.story.db, self.story.plans, "studio", plan=self.plan)
        await _raised_ceilings(self.resources)
        self.counted = None

    async def revoke(self) -> None:
        """A key goes, its tasks go on; another one takes its place."""
        key_id, cap = self.keys.pop(self.random.randrange(2))
        await revoke_key(self.story.db, key_id, now=self.now)
        await self.new_key(cap)

    # --- what must hold ---------------------------------------------------------------------------------------

    async def check(self) -> None:
        assert await audit(self.story.db, self.story.plans) == []
        await self._moved_along_the_table()
        await self._not_a_credit_is_lost()
        await self._nothing_is_overrun()

    async def _moved_along_the_table(self) -> None:
        found = await self.story.read(list(self.seen))
        assert set(found) == set(self.seen), "an admitted task is never lost"
        for task_id, now in found.items():
            before = self.seen[task_id]
            if before.status in FINAL:
                assert now == before, "a final status never changes"
            elif now.status != before.status:
                one = MOVES[before.status]
                assert now.status in one.union(*(MOVES[status] for status in one))
        self.seen = found

    async def _not_a_credit_is_lost(self) -> None:
        """By the bookkeeper's own sums, which know of no entries."""
        async with self.story.db.reading() as connection:
            row = await connection.fetchrow("SELECT * FROM accounts WHERE id = $1", self.account_id)
        tasks = self.seen.values()
        assert row["granted"] == self.granted
        assert row["charged"] == self.purchased + sum(task.cost_charged for task in tasks)
        assert row["held"] == sum(task.cost_held for task in tasks if task.status not in FINAL)
        assert row["available"] == self.granted - row["charged"] - row["held"] - row["expired"] >= 0
        assert all(task.cost_charged == 0 for task in tasks if task.status != "succeeded")

    async def _nothing_is_overrun(self) -> None:
        """Where another plan, or an hour back, has left more than there may be, it becomes no more."""
        counts = await self._counts()
        for name, (used, limit) in counts.items():
            before = used if self.counted is None else self.counted.get(name, 0)
            assert used <= max(limit, before), (name, used, limit)
        self.counted = {name: used for name, (used, _) in counts.items()}

    async def _counts(self) -> dict[str, tuple[int, int]]:
        """Of everything that has a limit: (used, limit)."""
        slots = [task for task in self.seen.values() if task.ready or task.status == "running"]
        at_once, day, found = self.terms.at_once, self.terms.windows.day, dict[str, tuple[int, int]]()
        if at_once.account is not None and at_once.account.enforce == "always":
            found["account"] = len(slots), at_once.account.limit
        for model, ceiling in at_once.models.items():
            found[model] = len([task for task in slots if task.model == model]), ceiling.limit
        for key_id, cap in self.keys:
            if at_once.key is not None:
                of_key = [task for task in slots if task.key_id == key_id]
                found[f"key {key_id}"] = len(of_key), at_once.key.limit
            if cap is not None:
                found[f"cap {key_id}"] = await self._used(KEY_CREDITS, key_digits(key_id), FOR_EVER), cap
        if day is not None:
            found["day"] = await self._used(DAY, "", span(day, self.now)), day.limit
        return found

    async def _used(self, name: str, subject: str, where: Span) -> int:
        async with self.story.db.reading() as connection:
            used: int = await connection.fetchval(
                """
                SELECT coalesce(sum(used), 0)::int FROM windows
                WHERE name = $1 AND subject = $2 AND starts_at >= $3 AND starts_at < $4
                """,
                name,
                subject,
                where.since,
                where.ends_at,
            )
        return used


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    steps=st.lists(st.sampled_from(_STEPS), min_size=10, max_size=60),
    seed=st.integers(0, 1_000_000),
)
async def test_not_one_credit_is_lost_whatever_happens(
    steps: list[str], seed: int, db: Database, settings: Settings
) -> None:
    """Holds, charges, releases, lapses, crashes, other plans, revoked keys, hours back and forth: every sum is right."""
    async with db.transaction() as tx:
        await tx.execute(
            "TRUNCATE tasks, task_sources, blobs, windows, entries, grants, usage, idempotency, accounts CASCADE"
        )
        await tx.execute("UPDATE clock SET ahead = '0'")
    await db._hear_time()
    account = await open_account(db, _PLANS, "studio", plan="queueing", now=db.clock.now())
    world = _World(tell(db, settings, _PLANS), account.id, seed)
    await world.new_key(None)
    await world.new_key(_CAP)
    await world.grant()
    for name in steps:
        await world.step(name)
        await world.check()
