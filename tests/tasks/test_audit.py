"""The audit names what differs: whatever row is tampered with, a sentence says what was counted and what is there."""

from uuid import UUID

import pytest

from burnish.credits.grant import grant
from burnish.keys.issue import issue_key
from burnish.settings import Settings
from burnish.storage.postgres import Database
from burnish.tasks.audit import audit
from tasks.story import Story, a_submission, tell
from terms import narrowed

_PLANS = narrowed(metered=True, windows={"day": {"limit": 9}})
_AT = "WHERE name = 'default'"


async def _lived_in(db: Database, story: Story) -> UUID:
    """An account with ten credits, of whose three tasks one has ended; returns what is held for the second."""
    key, _ = await issue_key(db, now=db.clock.now())
    await grant(db, key.account_id, 10, kind="paid", idempotency_key="1", now=db.clock.now())
    first, second, _ = [await story.submit(a_submission(key.account_id, key_id=key.id)) for _ in range(3)]
    (claimed,) = await story.claim(rows=1)
    assert claimed.id == first.id
    assert await story.end(claimed)
    return second.id


@pytest.mark.parametrize(
    ("tampering", "says"),
    [
        (
            f"UPDATE accounts SET available = available + 1, granted = granted + 1 {_AT}",
            ["row says 11 credits granted; its entries say 10", "row says 8 credits available; its grants say 7"],
        ),
        (
            f"UPDATE accounts SET available = available - 1, charged = charged + 1 {_AT}",
            ["row says 2 credits charged; its entries say 1", "row says 6 credits available; its grants say 7"],
        ),
        (
            "UPDATE grants SET held = held + 1, available = available - 1",
            ["row says 2 credits held; its grants say 3"],
        ),
        ("UPDATE windows SET used = used - 1 WHERE name = 'day'", ["says 2 of day", "3 are there"]),
        ("UPDATE windows SET used = used + 4 WHERE name = 'key-credits'", ["says 7 of key-credits", "3 are there"]),
        (
            f"""UPDATE accounts SET queue = jsonb_set(queue, '{{groups,0,3}}', '7') {_AT}""",
            ["says (7, 0, 0) slots, parked and waiting", "(2, 0, 0) are there"],
        ),
        ("DELETE FROM entries WHERE kind = 'grant'", ["10 credits granted; its entries say 0"]),
        (
            "DELETE FROM entries WHERE kind = 'charge'",
            ["1 credits charged; its entries say 0", "has ended, and its hold has not"],
        ),
        ("DELETE FROM entries WHERE subject_id = $1", ["task {} holds credits, and no entry says so"]),
        ("DELETE FROM tasks WHERE id = $1", ["2 credits are held; its tasks hold 1", "(1, 0, 0) are there"]),
        (
            "UPDATE tasks SET ended_at = now(), status = 'succeeded', ready = false WHERE id = $1",
            ["task {} has ended, and its hold has not", "2 credits are held; its tasks hold 1"],
        ),
        (
            "UPDATE tasks SET ready = false WHERE id = $1",
            ["says (2, 0, 0) slots, parked and waiting", "(1, 1, 0) are there"],
        ),
        ("UPDATE tasks SET cost_charged = 2 WHERE cost_charged = 1", ["whose columns contradict their status"]),
    ],
)  # fmt: skip
async def test_what_was_tampered_with_is_named(
    db: Database, settings: Settings, tampering: str, says: list[str]
) -> None:
    """Balances, grants, counts, the queue, entries that are gone, tasks that are: none of it goes unseen."""
    held = await _lived_in(db, tell(db, settings, _PLANS))
    assert await audit(db, _PLANS) == []
    async with db.transaction() as tx:
        await tx.execute(tampering, *[held] * tampering.count("$1"))

    found = " ".join(await audit(db, _PLANS))
    for words in says:
        assert words.format(held) in found, found
