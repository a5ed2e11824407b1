"""Random sequences of everything that may happen to tasks: every invariant holds after each of them."""

import hashlib
import random
from collections.abc import Callable
from datetime import timedelta
from typing import Any, Final
from uuid import UUID

import msgspec
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from burnish.credits.grant import grant
from burnish.errors import Expired, Failed, InsufficientCredits, Limited
from burnish.ids import new_id
from burnish.keys.plan import OWNER, Plans
from burnish.keys.store import ensure_account, set_terms
from burnish.settings import Settings
from burnish.storage.postgres import Database
from burnish.tasks import lease
from burnish.tasks.arrive import Seen
from burnish.tasks.audit import audit
from burnish.tasks.cancel import cancel
from burnish.tasks.submit import Once, Submission
from burnish.tasks.task import FINAL, MOVES, Claimed, Task
from burnish.workers.sweep import _expired_credits, _late_uploads, _lost_leases, _old_counts, _raised_ceilings
from tasks.story import Story, a_reading, a_submission, an_upscale, tell
from terms import queueing

_STEPS = st.lists(
    st.sampled_from(
        ["submit", "submit", "submit_url", "submit_several", "submit_several", "receive", "receive", "claim", "end", "fail",
         "end_late", "fetch", "arrive", "arrive", "refuse", "cancel", "release", "lose", "renew", "promote"]
    ),
    min_size=5,
    max_size=40,
)  # fmt: skip


_SWEPT: Final = {"promote": _raised_ceilings, "late": _late_uploads}


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
        self.promised: list[tuple[UUID, UUID]] = []  # uploads and whose they are; some have come

    async def step(self, name: str) -> None:
        story, pick = self.story, self.random.choice
        if name in ("submit", "submit_url", "submit_several"):
            make, sources = await self._asked_for(name, account := pick(self.accounts))
            submission = make(account, *sources, max_attempts=2)
            self.seen[submission.id] = await story.submit(submission)
        elif name == "receive" and self.promised:
            await story.receive(pick(self.promised)[0])
        elif name == "claim":
            self.running += await story.claim(rows=2)
        elif name == "fetch":
            self.fetching += await lease.claim_fetches(
                story.db, 2, story.settings.tasks.lease_seconds, by_url=pick([True, False])
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
        elif name in _SWEPT:
            await _SWEPT[name](_resources(story))

    async def _asked_for(
        self, name: str, account: UUID
    ) -> tuple[Callable[..., Submission], list[UUID | str]]:
        if name == "submit":
            return a_submission, []
        if name == "submit_url":
            return an_upscale, ["https://example.com/a.png"]
        return a_reading, await self._sources(account)

    async def _sources(self, account: UUID) -> list[UUID | str]:
        """Two to four: uploads of before or new ones, addresses, the same one more than once."""
        found: list[UUID | str] = []
        for _ in range(self.random.randint(2, 4)):
            own = [upload for upload, owner in self.promised if owner == account]
            match self.random.choice(["new", "old", "url", "again"]):
                case "old" if own:
                    found.append(self.random.choice(own))
                case "url":
                    found.append(f"https://example.com/{self.random.choice('ab')}.png")
                case "again" if found:
                    found.append(self.random.choice(found))
                case _:
                    new = await self.story.promise(account, self.random.choice([3600, 90_000]))
                    found.append(new)
                    self.promised.append((new, account))
        return found

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
        await tx.execute("TRUNCATE tasks, task_sources, blobs, windows, entries, usage, accounts CASCADE")
        accounts = [await ensure_account(tx, new_id(), name, db.clock.now()) for name in ("a", "b")]
    world = _World(tell(db, settings, queueing(ceiling)), accounts, seed)
    for name in steps:
        await world.step(name)
        await world.check()


# --- with everything that limits and costs ------------------------------------------------------------------------

_METERED: Final = st.lists(
    st.sampled_from(
        ["submit", "submit", "submit", "submit_url", "submit_several", "submit_several", "receive", "receive", "again", "claim",
         "end", "fail", "end_late", "fetch", "fetch", "arrive", "arrive", "refuse", "cancel", "release", "lose", "renew",
         "grant", "terms", "hours", "sweep"]
    ),
    min_size=5,
    max_size=50,
)  # fmt: skip
_LIMITS: Final = st.fixed_dictionaries(
    {
        "at_once": st.fixed_dictionaries(
            {},
            optional={
                place: st.fixed_dictionaries(
                    {
                        "limit": st.integers(0, 4),
                        "on_limit": st.sampled_from(["reject", "queue", "error_state"]),
                    }
                )
                for place in ("account", "key")
            },
        ),
        "windows": st.fixed_dictionaries(
            {},
            optional={
                "day": st.fixed_dictionaries(
                    {
                        "limit": st.integers(1, 12),
                        "kind": st.sampled_from(["calendar", "rolling"]),
                        "on_limit": st.sampled_from(["reject", "error_state"]),
                        "enforce": st.sampled_from(["always", "shadow"]),
                    }
                )
            },
        ),
    }
)


class _MeteredWorld(_World):
    """The same under two plans, with keys, credits that expire, and requests that come again."""

    def __init__(self, story: Story, accounts: list[UUID], seed: int) -> None:
        super().__init__(story, accounts, seed)
        self.keys = {account: [new_id(), new_id()] for account in accounts}
        self.asked: list[tuple[Submission, UUID]] = []
        self.granted = 0

    async def step(self, name: str) -> None:
        pick = self.random.choice
        if name in ("submit", "submit_url", "submit_several"):
            make, sources = await self._asked_for(name, account := pick(self.accounts))
            await self._ask(
                make(
                    account, *sources, key_id=pick([*self.keys[account], None]), max_attempts=2,
                    credit_cap=pick([None, 3]), max_credits=pick([None, None, 5]),
                    on_limit=pick([None, "reject"]), once=self._once(),
                )
            )  # fmt: skip
        elif name == "again" and self.asked:
            first, task_id = pick(self.asked)
            await self._ask(msgspec.structs.replace(first, id=new_id()), task_id)
        elif name == "grant":
            now = self.story.db.clock.now()
            ends = pick([None, now + timedelta(hours=5), now + timedelta(days=2)])
            self.granted += 1
            await grant(
                self.story.db, pick(self.accounts), self.random.randint(1, 12), kind=pick(["paid", "given"]),
                idempotency_key=str(self.granted), expires_at=ends, now=now,
            )  # fmt: skip
        elif name == "terms":
            async with self.story.db.transaction() as tx:
                await set_terms(tx, pick(self.accounts), pick([OWNER, "other"]), "{}")
            await _raised_ceilings(_resources(self.story))
        elif name == "hours":
            async with self.story.db.transaction() as tx:
                await tx.execute(
                    "UPDATE clock SET ahead = ahead + make_interval(hours => $1)", pick([-1, 1, 7, 25])
                )
            await self.story.db._hear_time()
            await super().step("lose")  # no lease lasts for so long
        elif name == "sweep":
            await _expired_credits(_resources(self.story))
            await _old_counts(_resources(self.story))
            await super().step("late")
        else:
            await super().step(name)

    def _once(self) -> Once | None:
        key = self.random.choice(["", "", *"abcdefgh"])
        return Once("live POST /v1/tasks", key, hashlib.sha256(b"").digest()) if key else None

    async def _ask(self, submission: Submission, made: UUID | None = None) -> None:
        """Admitted, or found to be admitted already, or refused; `made`: by the same request, before."""
        try:
            admission = await self.story.submissions.submit(submission)
        except (Limited, InsufficientCredits):
            return
        except Expired as expired:
            if expired.code == "upload_expired":
                return
            assert await self._gone(submission), "only a task whose time is over is not told again"
            return
        if admission.replayed:
            assert admission.task.id in self.seen, "a replay is of a task that was admitted"
            assert submission.id not in await self.story.read([submission.id])
        else:
            self.seen[admission.task.id] = admission.task
            assert made is None or submission.once is None or self._forgotten(made)
        if submission.once is not None:
            self.asked.append((submission, admission.task.id))

    async def _gone(self, submission: Submission) -> bool:
        """Whether the task that the same idempotency key made has ended, and its time is over."""
        made = [
            task_id
            for before, task_id in self.asked
            if (before.account_id, before.once) == (submission.account_id, submission.once)
        ]
        found, now = await self.story.read(made), self.story.db.clock.now()
        return any(task.status in FINAL and task.expires_at <= now for task in found.values())

    def _forgotten(self, task_id: UUID) -> bool:
        """Whether a day has passed since its request."""
        return self.story.db.clock.now() - self.seen[task_id].created_at > timedelta(hours=24)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    steps=_METERED,
    seed=st.integers(0, 1_000_000),
    limits=_LIMITS,
    others=_LIMITS,
    weight=st.integers(1, 1000),
)
async def test_every_invariant_holds_whatever_limits_and_costs(
    steps: list[str],
    seed: int,
    limits: dict[str, Any],
    others: dict[str, Any],
    weight: int,
    db: Database,
    settings: Settings,
) -> None:
    """Ceilings, days, credits, caps, keys that come again, plans that change and hours that pass: nothing is lost, nothing
    is spent twice, nothing is given away.
    """
    async with db.transaction() as tx:
        await tx.execute(
            "TRUNCATE tasks, task_sources, blobs, windows, entries, usage, idempotency, accounts CASCADE"
        )
        await tx.execute("UPDATE clock SET ahead = '0'")
        accounts = [await ensure_account(tx, new_id(), name, db.clock.now()) for name in ("a", "b")]
    await db._hear_time()
    plans = Plans({OWNER: limits | {"weight": weight}, "other": others | {"metered": False}})
    world = _MeteredWorld(tell(db, settings, plans), accounts, seed)
    for name in ["grant", "grant", *steps]:
        await world.step(name)
        await world.check()
