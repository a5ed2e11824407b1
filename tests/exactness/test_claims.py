"""What a claim looks at does not depend on how many tasks are parked, or have ended."""

import json
from typing import Any
from uuid import UUID

from burnish.storage.postgres import Database
from burnish.tasks import store
from tasks.story import Story, a_submission

PARKED = 100_000
_LIKE = """
INSERT INTO tasks (id, account_id, environment, request_id, model, lane, status, ready, fetchable, tag, input,
                   max_attempts, deadline_seconds, created_at, queued_at, ended_at, retention_seconds, expires_at)
SELECT gen_random_uuid(), $1, 'live', 'req', 'noop', 0, $2, false, false, NULL, '{}', 3, 60, now(), now(),
       CASE $2 WHEN 'succeeded' THEN now() END, 3600, now() + interval '1 hour'
FROM generate_series(1, $3)
"""


async def _explained(db: Database) -> dict[str, Any]:
    """How one claim of ten was planned and done."""
    now = db.clock.now()
    async with db.transaction() as tx:
        said = await tx.fetchval(f"EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) {store._CLAIM}", 10, now, now, 0)
    plan: dict[str, Any] = json.loads(said)[0]["Plan"]
    return plan


def _nodes(plan: dict[str, Any]) -> list[dict[str, Any]]:
    return [plan, *(node for inner in plan.get("Plans", []) for node in _nodes(inner))]


async def test_a_claim_passes_by_a_hundred_thousand_parked_tasks(
    story: Story, account: UUID, db: Database
) -> None:
    """It walks the index of what is ready, and touches hardly more pages than with none parked."""
    for _ in range(20):
        await story.submit(a_submission(account))
    without = await _explained(db)
    async with db.transaction() as tx:
        await tx.execute(_LIKE, account, "queued", PARKED)
        await tx.execute(_LIKE, account, "succeeded", PARKED)
    async with db.reading() as connection:
        await connection.execute("ANALYZE tasks")
    among = await _explained(db)

    assert among["Actual Rows"] == without["Actual Rows"] == 10
    used = [node["Index Name"] for node in _nodes(among) if "Index Name" in node]
    assert "tasks_to_claim" in used
    assert not [
        node for node in _nodes(among) if node["Node Type"] == "Seq Scan" and node["Relation Name"] == "tasks"
    ]
    pages = [plan["Shared Hit Blocks"] + plan["Shared Read Blocks"] for plan in (without, among)]
    assert pages[1] <= 1.5 * pages[0] + 30, pages
