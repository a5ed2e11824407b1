"""What one submission, one claim, one ending and one read cost as tables grow: in rows, in accounts, in parked tasks.

Four databases of one server: a small one (1,000 tasks, 10 accounts), one with BENCH_ROWS ended tasks and their entries
(1,000,000 unless said otherwise), one with 100,000 accounts, one with 100,000 parked tasks. In each, in turn, tasks of
accounts drawn at random are submitted in groups of 32, claimed, read and ended. Cost is CPU: of the database's backends and of
this process, so that neither the disk nor the neighbours decide.
"""

import asyncio
import dataclasses
import os
import random
import shutil
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from statistics import median
from typing import Any
from urllib.parse import urlsplit, urlunsplit
from uuid import UUID

import asyncpg
import uvloop
from harness import machine, table, verdict

from burnish import log
from burnish.ids import new_id
from burnish.resources import Resources, open_resources
from burnish.settings import read
from burnish.storage import directory
from burnish.storage.embedded import open_embedded
from burnish.tasks import lease
from burnish.tasks.finish import Ending
from burnish.tasks.submit import Submission, parameters_of
from burnish.tasks.task import LIGHT, Claimed

NAME = "growth"
PEERS = ()
GOAL = {"times": 1.2, "claim_past_parked_times": 1.5}
ROWS = int(os.environ.get("BENCH_ROWS", "1000000"))
ROUNDS = int(os.environ.get("BENCH_ROUNDS", "15"))
GROUP = 32
OWNERS = 8  #: accounts in a group, drawn at random
GROUPS = 8  #: of each kind in one round
STEPS = ("submit", "claim", "read", "end")
PLANS = """
[owner]
metered = true
at_once = { account = { limit = 1000000 }, key = { limit = 1000000 } }
windows = { day = { limit = 1000000000 } }
"""


@dataclasses.dataclass(frozen=True)
class Size:
    """How a database is filled."""

    name: str
    tasks: int = 1_000
    accounts: int = 10
    parked: int = 0


SMALL = Size("1,000 tasks, 10 accounts")
SIZES = (
    SMALL,
    Size(f"{ROWS:,} tasks", tasks=ROWS),
    Size("100,000 accounts", accounts=100_000),
    Size("100,000 parked", parked=100_000),
)


def main() -> None:
    folder = Path(tempfile.mkdtemp(prefix="burnish-bench-", dir=os.environ.get("BENCH_FOLDER")))
    folder.chmod(0o755)
    (folder / "plans.toml").write_text(PLANS)
    log.start(level="error", format="json")
    try:
        found = uvloop.run(_bench(folder))
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    _report(found)


async def _bench(folder: Path) -> dict[Size, dict[str, list[float]]]:
    directory.prepare(folder / "server")
    embedded = await open_embedded(folder / "server")
    found: dict[Size, dict[str, list[float]]] = {size: {step: [] for step in STEPS} for size in SIZES}
    try:
        async with AsyncExitStack() as stack:
            worlds = {}
            for number, size in enumerate(SIZES):
                opened = _world(folder, embedded.dsn, number, size)
                worlds[size] = await stack.enter_async_context(opened)
            for round_ in range(ROUNDS + 1):
                turn = round_ % len(SIZES)  # nobody is always the first, or after the same one
                for size in (*SIZES[turn:], *SIZES[:turn]):
                    costs = await worlds[size].round()
                    for step, cost in costs.items() if round_ else ():  # the first warms
                        found[size][step].append(cost)
    finally:
        await embedded.close()
    return found


@asynccontextmanager
async def _admin(dsn: str) -> AsyncIterator[Any]:
    connection = await asyncpg.connect(dsn)
    try:
        yield connection
    finally:
        await connection.close()


# --- a database of some size --------------------------------------------------------------------------------------

#: Ended tasks as endings leave them, over the last weeks.
_TASKS = """
INSERT INTO tasks (id, account_id, environment, key_id, request_id, model, lane, status, ready, fetchable, tag, input,
                   lease_id, attempts, max_attempts, deadline_seconds, progress, cost_held, cost_charged, created_at, queued_at,
                   started_at, ended_at, retention_seconds, expires_at, price, day_starts_at)
SELECT (lpad(to_hex(floor(extract(epoch FROM at) * 1000)::bigint), 12, '0') || substr(md5(n::text), 1, 20))::uuid,
       ids[1 + n % cardinality(ids)], 'live', NULL, 'req_' || md5(n::text), 'noop', 0, 'succeeded', false, false,
       floor(extract(epoch FROM at) * 1000000)::bigint, '{"seconds": 0.5}', gen_random_uuid(), 1, 3, 60, 1, 1, 1,
       at, at, at, at, 604800, at + interval '7 days', '{"unit":"task","quantity":1,"version":1}', date_trunc('day', at)
FROM (SELECT array_agg(id ORDER BY id) AS ids FROM accounts) AS a,
     (SELECT n, now() - (($2 - n) * 6.0 / $3) * interval '1 day' - interval '1 hour' AS at
      FROM generate_series($1::bigint, $2::bigint) AS n) AS s
"""
_ENTRIES = """
INSERT INTO entries (account_id, at, kind, available, held, charged, subject_id, draws)
SELECT t.account_id, t.created_at, k.kind, CASE k.kind WHEN 'hold' THEN -1 ELSE 0 END,
       CASE k.kind WHEN 'hold' THEN 1 ELSE -1 END, CASE k.kind WHEN 'hold' THEN 0 ELSE 1 END, t.id,
       jsonb_build_object(g.id, 1)
FROM tasks t JOIN grants g ON g.account_id = t.account_id, (VALUES ('hold'), ('charge')) AS k (kind)
WHERE t.created_at > $1 AND t.created_at <= $2
"""
_PARKED = """
INSERT INTO tasks (id, account_id, environment, request_id, model, lane, status, ready, fetchable, input, max_attempts,
                   deadline_seconds, created_at, queued_at, retention_seconds, expires_at)
SELECT gen_random_uuid(), (SELECT id FROM accounts WHERE name = 'parked'), 'live', 'req', 'noop', 0, 'queued', false, false,
       '{}', 3, 60, now(), now(), 604800, now() + interval '7 days'
FROM generate_series(1, $1)
"""
#: Every account has made tasks today: what is measured is not its first.
_TODAY = """
INSERT INTO windows (account_id, name, subject, starts_at, used, ends_at)
SELECT id, 'day', '', date_trunc('day', now(), 'UTC'), 1, date_trunc('day', now(), 'UTC') + interval '1 day' FROM accounts;
INSERT INTO usage (account_id, hour, model, key_id, succeeded, failed, cancelled, credits)
SELECT id, date_trunc('hour', now()), 'noop', '00000000-0000-0000-0000-000000000000', 1, 0, 0, 1 FROM accounts
"""
_CHUNK = 250_000


@asynccontextmanager
async def _world(folder: Path, dsn: str, number: int, size: Size) -> AsyncIterator["World"]:
    name = f"growth_{number}"
    async with _admin(dsn) as admin:
        await admin.execute(f"CREATE DATABASE {name}")
    settings = read(
        {},
        {
            "data": str(folder / name),
            "database.url": urlunsplit(urlsplit(dsn)._replace(path=f"/{name}")),
            "secret_keys": ("only-for-this-bench",),
            "plans": str(folder / "plans.toml"),
        },
    )
    async with open_resources(settings) as resources:
        started = time.monotonic()
        accounts = await _fill(resources, size)
        print(f"{size.name}: filled in {time.monotonic() - started:.0f} s", file=sys.stderr, flush=True)
        yield World(resources, accounts)


async def _fill(resources: Resources, size: Size) -> list[UUID]:
    async with _admin(resources.settings.database.url) as connection:
        await connection.execute("SET synchronous_commit = off")
        await connection.execute(
            "INSERT INTO accounts (id, name, plan, created_at, granted, available) "
            "SELECT gen_random_uuid(), 'a' || n, 'owner', now(), 1000000000, 1000000000 FROM generate_series(1, $1) AS n",
            size.accounts,
        )
        await connection.execute(
            "INSERT INTO grants (id, account_id, kind, granted, available, note, idempotency_key, created_at) "
            "SELECT gen_random_uuid(), id, 'given', granted, available, '', '', created_at FROM accounts"
        )
        for first in range(1, size.tasks + 1, _CHUNK):
            last = min(first + _CHUNK - 1, size.tasks)
            await connection.execute(_TASKS, first, last, size.tasks, timeout=None)
        began = await connection.fetchval("SELECT min(created_at) - interval '1 second' FROM tasks")
        ended = await connection.fetchval("SELECT max(created_at) FROM tasks")
        steps = max(1, size.tasks // _CHUNK)
        for step in range(steps):
            after, until = (began + (ended - began) * part / steps for part in (step, step + 1))
            await connection.execute(_ENTRIES, after, until, timeout=None)
        if size.parked:
            await connection.execute(
                "INSERT INTO accounts (id, name, plan, created_at) VALUES ($1, 'parked', 'owner', now())",
                new_id(),
            )
            await connection.execute(_PARKED, size.parked, timeout=None)
        await connection.execute(_TODAY)
        await connection.execute("VACUUM (ANALYZE)", timeout=None)
        rows = await connection.fetch("SELECT id FROM accounts WHERE name <> 'parked'")
    return [row["id"] for row in rows]


# --- a round ------------------------------------------------------------------------------------------------------


class World:
    """One process on one database."""

    def __init__(self, resources: Resources, accounts: list[UUID]) -> None:
        self._resources = resources
        self._accounts = accounts
        self._random = random.Random(7)

    async def round(self) -> dict[str, float]:
        """Microseconds of CPU a task, by step."""
        submitted: list[UUID] = []
        claimed: list[Claimed] = []
        costs = {"submit": await self._cost(lambda: self._submit(submitted))}
        costs["claim"] = await self._cost(lambda: self._claim(claimed))
        ids = list(submitted)
        costs["read"] = await self._cost(lambda: self._read(ids))
        costs["end"] = await self._cost(lambda: self._end(claimed))
        assert not claimed
        return costs

    async def _cost(self, group: Callable[[], Awaitable[None]]) -> float:
        async with self._resources.db.reading() as connection:
            pids = [
                row["pid"]
                for row in await connection.fetch(
                    "SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND backend_type = 'client backend'"
                )
            ]
        before = time.process_time() + sum(map(_seconds, pids))
        for _ in range(GROUPS):
            await group()
        return (time.process_time() + sum(map(_seconds, pids)) - before) / GROUPS / GROUP * 1e6

    async def _submit(self, submitted: list[UUID]) -> None:
        model, parameters = parameters_of("noop", b"{}", hidden=True)
        accounts = self._random.sample(self._accounts, OWNERS)
        admissions = await asyncio.gather(
            *(
                self._resources.submissions.submit(
                    Submission(
                        id=new_id(),
                        account_id=accounts[number % OWNERS],
                        environment="live",
                        key_id=None,
                        request_id="req_bench",
                        model=model,
                        parameters=parameters,
                        input=b"{}",
                        metadata=None,
                        max_attempts=3,
                        deadline_seconds=60,
                        retention_seconds=604_800,
                    )
                )
                for number in range(GROUP)
            )
        )
        submitted += [admission.task.id for admission in admissions]

    async def _claim(self, claimed: list[Claimed]) -> None:
        claimed += await lease.claim(self._resources.db, LIGHT, GROUP, 60)

    async def _read(self, ids: list[UUID]) -> None:
        resources, now = self._resources, self._resources.clock.now()
        async with resources.db.reading() as connection:
            owners = dict(
                await connection.fetch("SELECT id, account_id FROM tasks WHERE id = ANY($1)", ids[:GROUP])
            )
        await asyncio.gather(
            *(resources.reads.get_task(owners[id_], "live", id_, now) for id_ in ids[:GROUP])
        )
        del ids[:GROUP]

    async def _end(self, claimed: list[Claimed]) -> None:
        await asyncio.gather(*(self._resources.endings.end(Ending(task)) for task in claimed[:GROUP]))
        del claimed[:GROUP]


def _seconds(pid: int) -> float:
    """CPU of a process, to the nanosecond."""
    try:
        return int(Path(f"/proc/{pid}/schedstat").read_text().split()[0]) / 1e9
    except FileNotFoundError:
        return 0.0


def _report(found: dict[Size, dict[str, list[float]]]) -> None:
    medians = {size: {step: median(costs[step]) for step in STEPS} for size, costs in found.items()}
    print(machine())
    print(
        f"\nMicroseconds of CPU a task, groups of {GROUP}, medians of {ROUNDS} rounds; times the first row\n"
    )
    rows = [
        (
            size.name,
            *(
                f"{medians[size][step]:.0f} ({medians[size][step] / medians[SMALL][step]:.2f})"
                for step in STEPS
            ),
        )
        for size in SIZES
    ]
    print(table(("", *STEPS), rows))
    times = {
        size.name: {
            step: round(
                median(one / small for one, small in zip(found[size][step], found[SMALL][step], strict=True)),
                2,
            )
            for step in STEPS
        }
        for size in SIZES
        if size is not SMALL
    }
    parked = SIZES[-1]
    grown = [times[size.name][step] for size in SIZES[1:-1] for step in ("submit", "claim", "read")]
    holds = max(grown) <= GOAL["times"] and times[parked.name]["claim"] <= GOAL["claim_past_parked_times"]
    verdict(NAME, figures=times, ratio=max(grown), goal=GOAL, holds=holds)


if __name__ == "__main__":
    main()
