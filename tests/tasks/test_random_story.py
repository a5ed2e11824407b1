"""Random sequences of everything that may happen to tasks: every invariant holds after each of them."""

import random
from typing import Any
from uuid import UUID

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from burnish.errors import Failed
from burnish.ids import new_id
from burnish.keys.store import ensure_account
from burnish.settings import Settings
from burnish.storage.postgres import Database
from burnish.tasks import lease
from burnish.tasks.arrive import Seen
from burnish.tasks.audit import audit
from burnish.tasks.cancel import cancel
from burnish.tasks.task import FINAL, MOVES, Claimed, Task
from burnish.workers.sweep import _lost_leases, _raised_ceilings
from tasks.story import Story, a_submission, an_upscale, tell
from terms import queueing

_STEPS = st.lists(
    st.sampled_from(
        ["submit", "submit", "submit_url", "claim", "end", "fail", "end_late", "fetch", "arrive", "refuse", "cancel",
         "release", "lose", "renew", "promote"]
    ),
    min_size=5,
    max_size=40,
)  # fmt: skip


class _World:
    """A few accounts with narrow ceilings, and what workers believe they hold."""

    def __init__(self, story: Story, accounts: list[UUID], seed: int) -> None:
        self.story = story
        self.accounts = accounts
        self.random = random.Random(seed)
        self.seen: dict[UUID, Task] = {}
        self.running: list[Claimed] = []
        self.fetching: list[Claimed] = []
        self.late: list[Claimed] = []  # leases that are no longer ours

    async def step(self, name: str) -> None:
        story, pick = self.story, self.random.choice
        if name == "submit":
            submission = a_submission(pick(self.accounts), max_attempts=2)
            self.seen[submission.id] = await story.submit(submission)
        elif name == "submit_url":
            submission = an_upscale(pick(self.accounts), "https://example.com/a.png")
            self.seen[submission.id] = await story.submit(submission)
        elif name == "claim":
            self.running += await story.claim(rows=2)
        elif name == "fetch":
            self.fetching += await lease.claim_fetches(
                story.db, 2, story.settings.tasks.lease_seconds, by_url=True
            )
        elif name in ("end", "fail") and self.running:
            task = self.running.pop(self.random.randrange(len(self.running)))
            await story.end(task, "internal" if name == "fail" else None)
            self.late.append(task)
        elif name == "end_late" and self.late:
            assert not await story.end(pick(self.late))
        elif name in ("arrive", "refuse") and self.fetching:
            task = self.fetching.pop()
            failed = Failed("input_unreachable", "It is not there.") if name == "refuse" else None
            await story.arrivals.arrive(
                Seen(task, type="image/png", width=10, height=10, frames=1, failed=failed)
            )
            self.late.append(task)
        elif name == "cancel" and self.seen:
            await cancel(story.db, pick(list(self.seen.values())), story.plans)
        elif name == "release" and self.running:
            given_back, self.running = self.running, []
            await lease.release(story.db, given_back)
            self.late += given_back
        elif name == "renew" and self.running:
            held = [(task.id, task.lease_id, "working", 0.3) for task in self.running]
            await lease.renew(story.db, held, story.settings.tasks.lease_seconds)
        elif name == "lose":
            async with story.db.transaction() as tx:
                await tx.execute("UPDATE tasks SET leased_until = leased_until - interval '1 hour'")
            await _lost_leases(_resources(story))
            self.late += self.running + self.fetching
            self.running, self.fetching = [], []
        elif name == "promote":
            await _raised_ceilings(_resources(story))

    async def check(self) -> None:
        """The invariants of the database, and that no status moved but along the table."""
        assert await audit(self.story.db, self.story.plans) == []
        found = await self.story.read(list(self.seen))
        assert set(found) == set(self.seen), "an admitted task is never lost"
        for task_id, now in found.items():
            before = self.seen[task_id]
            if before.status in FINAL:
                assert now == before, "a final status never changes"
            elif now.status != before.status:
                assert _reachable(before.status, now.status), (before.status, now.status)
        self.seen = found


def _reachable(start: str, end: str) -> bool:
    """Whether one step of a test, which may hold two moves, can lead there."""
    return any(end == to or end in MOVES[to] for to in MOVES[start])


def _resources(story: Story) -> Any:
    from types import SimpleNamespace

    return SimpleNamespace(db=story.db, clock=story.db.clock, settings=story.settings, plans=story.plans)


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=_STEPS, seed=st.integers(0, 1_000_000), ceiling=st.integers(1, 3))
async def test_every_invariant_holds_after_every_step(
    steps: list[str], seed: int, ceiling: int, db: Database, settings: Settings
) -> None:
    """Submissions, claims, endings in time and late, cancellations, lost leases: nothing is lost, nothing doubled."""
    async with db.transaction() as tx:
        await tx.execute("TRUNCATE tasks, blobs, windows, entries, usage, accounts CASCADE")
        accounts = [await ensure_account(tx, new_id(), name, db.clock.now()) for name in ("a", "b")]
    world = _World(tell(db, settings, queueing(ceiling)), accounts, seed)
    for name in steps:
        await world.step(name)
        await world.check()
