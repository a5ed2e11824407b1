"""One task from submission to its end, and everything that may come between."""

import asyncio
import random
from collections.abc import Awaitable, Callable
from datetime import timedelta
from uuid import UUID

import pytest

from burnish.errors import Expired, Failed, Invalid, NotFound, Unavailable
from burnish.ids import new_id
from burnish.keys.store import ensure_account
from burnish.storage.postgres import Database
from burnish.tasks import lease
from burnish.tasks.arrive import Seen
from burnish.tasks.audit import audit
from burnish.tasks.cancel import cancel
from burnish.tasks.find import list_tasks
from burnish.tasks.submit import parameters_of
from burnish.tasks.task import FINAL, MOVES, STATUSES
from tasks.story import Story, a_submission, an_upscale, tell
from terms import queueing

Later = Callable[[float], Awaitable[None]]


async def test_a_task_is_submitted_claimed_and_ended(story: Story, account: UUID) -> None:
    """The row tells the story at every step, and the slot comes and goes with it."""
    submitted = await story.submit(a_submission(account))
    assert (submitted.status, submitted.ready) == ("queued", True)

    (claimed,) = await story.claim()
    running = await story.reads.get_task(account, "live", submitted.id, story.db.clock.now())
    assert (running.status, running.attempts, running.started_at is not None) == ("running", 1, True)

    assert await story.end(claimed)
    ended = await story.reads.get_task(account, "live", submitted.id, story.db.clock.now())
    assert (ended.status, ended.progress, ended.status_reason) == ("succeeded", 1.0, None)
    assert await audit(story.db, story.plans) == []


async def test_what_submit_answers_is_what_the_row_says(story: Story, account: UUID) -> None:
    """The answer is made without reading back; it must not differ."""
    answers = [
        await story.submit(a_submission(account, metadata=b'{"a": 1}')),
        await story.submit(an_upscale(account, "https://example.com/a.jpg")),
    ]

    found = await story.read([answer.id for answer in answers])
    assert [found[answer.id] for answer in answers] == answers


async def test_an_ending_is_final_and_happens_once(story: Story, account: UUID) -> None:
    """A second ending, and a cancellation after it, change nothing."""
    task = await story.submit(a_submission(account))
    (claimed,) = await story.claim()
    assert await story.end(claimed)

    assert not await story.end(claimed, "internal")
    await cancel(story.db, task, story.plans)  # a reader's stale view of it
    found = (await story.read([task.id]))[task.id]
    assert (found.status, found.status_reason) == ("succeeded", None)
    assert await audit(story.db, story.plans) == []


async def test_a_lost_lease_cannot_end_a_task(story: Story, account: UUID, later: Later) -> None:
    """A worker believed dead ends its task after another has it: nothing changes; the other's ending stands."""
    from burnish.workers.sweep import _lost_leases

    task = await story.submit(a_submission(account))
    (dead,) = await story.claim()
    await later(story.settings.tasks.lease_seconds + 1)
    await _lost_leases(_resources_of(story))
    (alive,) = await story.claim()
    assert alive.id == dead.id
    assert alive.lease_id != dead.lease_id

    assert not await story.end(dead)
    assert (await story.read([task.id]))[task.id].status == "running"
    assert await story.end(alive)
    assert await audit(story.db, story.plans) == []


async def test_worker_lost_after_the_last_attempt(story: Story, account: UUID, later: Later) -> None:
    """A task that kills every worker fails after `max_attempts`, with the reason, and its slot is free."""
    from burnish.workers.sweep import _lost_leases

    task = await story.submit(a_submission(account, max_attempts=2))
    for _ in range(2):
        (_,) = await story.claim()
        await later(story.settings.tasks.lease_seconds + 1)
        await _lost_leases(_resources_of(story))

    found = (await story.read([task.id]))[task.id]
    assert (found.status, found.status_reason, found.attempts) == ("failed", "worker_lost", 2)
    assert await audit(story.db, story.plans) == []


async def test_a_renewed_lease_is_not_lost(story: Story, account: UUID, later: Later) -> None:
    """Renewing holds; what is not renewed is told from what is."""
    from burnish.workers.sweep import _lost_leases

    await story.submit(a_submission(account))
    (claimed,) = await story.claim()
    await later(story.settings.tasks.lease_seconds - 1)
    held = [(claimed.id, claimed.lease_id, "working", 0.5), (new_id(), new_id(), "working", 0.5)]
    assert await lease.renew(story.db, held, story.settings.tasks.lease_seconds) == {claimed.lease_id}
    await later(story.settings.tasks.lease_seconds - 1)
    await _lost_leases(_resources_of(story))

    assert await story.end(claimed)


async def test_a_released_task_is_claimed_again_at_once_and_costs_no_attempt(
    story: Story, account: UUID
) -> None:
    """A worker that stops gives back what it has."""
    await story.submit(a_submission(account))
    (first,) = await story.claim()
    await lease.release(story.db, [first])
    (again,) = await story.claim()

    assert (again.id, again.attempts) == (first.id, 1)
    assert not await story.end(first)
    assert await audit(story.db, story.plans) == []


@pytest.mark.parametrize("when", ["waiting", "queued", "parked", "running"])
async def test_cancel_frees_the_slot_at_once(story: Story, account: UUID, when: str, db: Database) -> None:
    """From any state before its end; again is the same; the worker's ending comes too late."""
    story = tell(db, story.settings, queueing(1))
    blocker = await story.submit(a_submission(account)) if when == "parked" else None
    submission = (
        an_upscale(account, "https://example.com/a.jpg") if when == "waiting" else a_submission(account)
    )
    task = await story.submit(submission)
    claimed = await story.claim() if when == "running" else []

    await cancel(db, task, story.plans)
    await cancel(db, task, story.plans)

    found = (await story.read([task.id]))[task.id]
    assert (found.status, found.status_reason) == ("cancelled", "cancelled_by_user")
    assert [await story.end(c) for c in claimed] == [False] * len(claimed)
    assert await audit(db, story.plans) == []
    assert [c.id for c in await story.claim()] == ([blocker.id] if blocker else [])


async def test_over_a_ceiling_tasks_are_parked_and_promoted_one_by_one(
    story: Story, account: UUID, db: Database
) -> None:
    """Two slots, five tasks: never more than two are ready or running, each ending lets the next in, in order."""
    story = tell(db, story.settings, queueing(2))
    ids = [(await story.submit(a_submission(account))).id for _ in range(5)]
    order = []
    while claimed := await story.claim():
        assert len(claimed) <= 2
        for task in claimed:
            order.append(task.id)
            assert await story.end(task)
            assert await audit(db, story.plans) == []

    # The oldest first; ids tell the millisecond in which they were made, and nothing within it.
    assert [one.int >> 80 for one in order] == sorted(one.int >> 80 for one in ids)
    assert set(order) == set(ids)


async def test_a_raised_ceiling_lets_parked_tasks_in(story: Story, account: UUID, db: Database) -> None:
    """The sweep promotes after the settings changed."""
    from burnish.workers.sweep import _raised_ceilings

    narrow = tell(db, story.settings, queueing(1))
    for _ in range(4):
        await narrow.submit(a_submission(account))
    assert len(await narrow.claim()) == 1
    await _raised_ceilings(_resources_of(tell(db, story.settings, queueing(3))))

    assert len(await narrow.claim()) == 2


async def test_one_bad_submission_in_a_batch_fails_alone(story: Story, account: UUID) -> None:
    """A NUL byte, a lone surrogate, a number out of range: their callers are told, the others are admitted."""
    good = [a_submission(account) for _ in range(20)]
    bad = [
        a_submission(account, request_id="req_\x00"),
        a_submission(account, request_id="req_\ud800"),
        a_submission(account, max_attempts=1 << 40),
        a_submission(account, deadline_seconds=1 << 70),
    ]
    answers = await asyncio.gather(
        *(story.submit(s) for s in [*good[:10], *bad, *good[10:]]), return_exceptions=True
    )

    failed = [n for n, answer in enumerate(answers) if isinstance(answer, BaseException)]
    assert failed == [10, 11, 12, 13]
    assert set(await story.read([s.id for s in good])) == {s.id for s in good}
    assert await story.read([s.id for s in bad]) == {}
    assert await audit(story.db, story.plans) == []


async def test_503_when_the_account_stays_locked(story: Story, account: UUID, db: Database) -> None:
    """A submission goes to the next group while its account is locked elsewhere, others do not wait for it."""
    async with db.transaction() as tx:
        other = new_id()
        await tx.execute(
            "INSERT INTO accounts (id, name, plan, created_at) VALUES ($1, 'other', 'owner', $2)",
            other,
            db.clock.now(),
        )
    async with db.transaction() as tx:
        await tx.execute("SELECT 1 FROM accounts WHERE id = $1 FOR UPDATE", account)
        held = asyncio.create_task(story.submit(a_submission(account)))
        free = await story.submit(a_submission(other))
        assert free.status == "queued"
        with pytest.raises(Unavailable) as refused:
            await held

    assert (refused.value.code, refused.value.retry_after) == ("account_busy", 1)


async def test_claims_of_many_workers_never_give_a_task_twice(story: Story, account: UUID) -> None:
    """Ten claim at once; every task goes to one of them, in the order of the tags within each."""
    ids = {(await story.submit(a_submission(account))).id for _ in range(60)}
    claims = await asyncio.gather(*(story.claim(rows=7) for _ in range(10)))
    given = [task.id for claim in claims for task in claim]

    assert len(given) == len(set(given)) == 60
    assert set(given) == ids


async def test_410_when_a_task_has_expired_and_404_when_it_is_anothers(
    story: Story, account: UUID, later: Later
) -> None:
    """Its tombstone answers; strangers and other environments see nothing."""
    task = await story.submit(a_submission(account))
    (claimed,) = await story.claim()
    await story.end(claimed)
    now = story.db.clock.now()
    with pytest.raises(NotFound):
        await story.reads.get_task(new_id(), "live", task.id, now)
    with pytest.raises(NotFound):
        await story.reads.get_task(account, "test", task.id, now)

    await later(3601)
    with pytest.raises(Expired):
        await story.reads.get_task(account, "live", task.id, story.db.clock.now())
    assert await list_tasks(story.db, account, "live", rows=10, now=story.db.clock.now()) == []


async def test_waiting_returns_when_the_task_ends(story: Story, account: UUID) -> None:
    """By notification, not by polling: the wait is longer than the test may take."""
    task = await story.submit(a_submission(account))
    waiter = asyncio.create_task(story.reads.wait_for(task, 60))
    (claimed,) = await story.claim()
    await story.end(claimed)

    assert (await waiter).status == "succeeded"


async def test_waiting_returns_what_there_is_when_the_time_is_over(story: Story, account: UUID) -> None:
    """A task that goes on is answered as it stands."""
    task = await story.submit(a_submission(account))

    assert (await story.reads.wait_for(task, 0.01)).status == "queued"


def test_422_names_the_parameter_that_is_wrong() -> None:
    """The model, a value, an unknown field, and a body that is no object."""
    for name, body, param, code in [
        ("no-such-model", b"{}", "model", "unknown_model"),
        ("upscale", b'{"image": "x", "scale": 3}', "input.scale", "invalid"),
        ("upscale", b'{"image": "x", "colour": 3}', "input.colour", "unknown_field"),
        ("upscale", b"{}", "input.image", "missing_field"),
        ("upscale", b"[]", "input", "invalid"),
    ]:
        with pytest.raises(Invalid) as refused:
            parameters_of(name, body)
        assert (refused.value.param, refused.value.code) == (param, code)


def test_the_table_of_moves_is_whole() -> None:
    """Every status has its moves, final ones have none, and every status can be reached."""
    assert set(MOVES) == set(STATUSES)
    assert {status for status, moves in MOVES.items() if not moves} == FINAL
    assert {to for moves in MOVES.values() for to in moves} == set(STATUSES) - {"waiting"}


def _resources_of(story: Story):  # type: ignore[no-untyped-def]
    """What the sweep's steps ask of the resources."""
    from types import SimpleNamespace

    return SimpleNamespace(db=story.db, clock=story.db.clock, settings=story.settings, plans=story.plans)


async def test_a_short_retention_does_not_take_the_input_from_under_a_task(
    story: Story, account: UUID
) -> None:
    """A URL's bytes stay for a day at least, however soon the client wants everything gone."""
    task = await story.submit(an_upscale(account, "https://example.com/a.jpg", retention_seconds=60))
    async with story.db.reading() as connection:
        kept = await connection.fetchval("SELECT expires_at FROM blobs WHERE task_id = $1", task.id)
    assert kept - task.created_at >= timedelta(days=1)


async def test_a_task_that_has_not_ended_is_listed_however_old(
    story: Story, account: UUID, later: Later
) -> None:
    """Its retention begins when it ends."""
    task = await story.submit(a_submission(account, retention_seconds=60))
    await later(3600)

    listed = await list_tasks(story.db, account, "live", rows=10, now=story.db.clock.now())
    assert [found.id for found in listed] == [task.id]


async def test_a_task_given_back_does_not_turn_virtual_time_back(
    story: Story, account: UUID, db: Database, later: Later
) -> None:
    """After a restart, an account that was idle shares the lane; it is not served before everybody else."""
    async with db.transaction() as tx:
        active = await ensure_account(tx, new_id(), "active", db.clock.now())
        idle = await ensure_account(tx, new_id(), "idle", db.clock.now())
    old = await story.submit(a_submission(account))
    (held,) = await story.claim()
    await later(600)
    for _ in range(5):
        await story.submit(a_submission(active))
    await lease.release(db, [held])
    for _ in range(5):
        await story.submit(a_submission(idle))

    order = [task.account_id for task in await story.claim(rows=20)]
    assert set(order[:3]) == {old.account_id, active, idle}


async def test_a_failed_probe_erases_nothing_that_another_found(story: Story, account: UUID) -> None:
    """Two tasks of one upload: the header that one probe read stays read."""
    upload = await _an_upload(story, account)
    for _ in range(2):
        await story.submit(an_upscale(account, upload))
    first, second = await lease.claim_fetches(story.db, 2, 15, by_url=False)
    await story.arrivals.arrive(Seen(first, type="image/png", width=10, height=20, frames=1))
    await story.arrivals.arrive(Seen(second, failed=Failed("deadline_exceeded", "It took too long.")))

    async with story.db.reading() as connection:
        row = await connection.fetchrow("SELECT type, width, height, fault FROM blobs WHERE id = $1", upload)
    assert tuple(row) == ("image/png", 10, 20, None)
    assert await audit(story.db, story.plans) == []


async def test_words_of_strangers_that_the_database_cannot_hold_end_a_task_all_the_same(
    story: Story, account: UUID
) -> None:
    """A lone surrogate, a NUL and a novel in what another server said."""
    task = await story.submit(an_upscale(account, "https://example.com/a.jpg"))
    (claimed,) = await lease.claim_fetches(story.db, 1, 15, by_url=True)
    await story.arrivals.arrive(Seen(claimed, failed=Failed("input_unreachable", "\udcff\0" + "x" * 10_000)))

    found = (await story.read([task.id]))[task.id]
    assert (found.status, found.status_reason) == ("failed", "input_unreachable")


async def test_renewals_and_endings_never_wait_for_each_other_in_a_circle(
    story: Story, account: UUID
) -> None:
    """A worker that renews all the time while it ends hundreds: every ending is written."""
    await asyncio.gather(*(story.submit(a_submission(account)) for _ in range(300)))
    held = await story.claim(rows=300)
    leases = [(task.id, task.lease_id, "working", 0.5) for task in held]
    done = asyncio.Event()

    async def renew() -> None:
        while not done.is_set():
            await lease.renew(story.db, leases, 15)

    renewing = asyncio.create_task(renew())
    ended = await asyncio.gather(*(story.end(task) for task in random.sample(held, len(held))))
    done.set()
    await renewing
    assert ended == [True] * 300
    assert await audit(story.db, story.plans) == []


async def _an_upload(story: Story, account: UUID) -> UUID:
    """An upload whose bytes have arrived and have not been looked at."""
    upload, now = new_id(), story.db.clock.now()
    async with story.db.transaction() as tx:
        await tx.execute("INSERT INTO objects (key, delete_at) VALUES ('aa/x', $1)", now + timedelta(days=7))
        await tx.execute(
            "INSERT INTO blobs (id, account_id, environment, kind, object_key, size_bytes, arrived_at, created_at, "
            "expires_at) VALUES ($1, $2, 'live', 'upload', 'aa/x', 9, $3, $3, $4)",
            upload,
            account,
            now,
            now + timedelta(days=7),
        )
    return upload
