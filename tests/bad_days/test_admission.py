"""Killed in the very moment of a commit: a submission and an ending are done whole, once, or not at all."""

import asyncio
import contextlib
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, Literal
from uuid import uuid4

import asyncpg
import httpx
import pytest

from burnish.resources import open_database_of
from burnish.settings import read
from burnish.storage.postgres import LOST, Connection, Database
from real_service import Service, serving
from waiting import until

_PLANS = """
[owner]
metered = true
at_once = { account = { limit = 1000 }, key = { limit = 1000 } }
windows = { day = { limit = 100_000 } }
"""
_CREDITS = 100_000
_HELD = 7_771
#: Transactions that have done this to a task wait at their COMMIT for whoever holds the lock.
_HOLD = """
CREATE FUNCTION held() RETURNS trigger LANGUAGE plpgsql SET lock_timeout = 0 AS
$$ BEGIN PERFORM pg_advisory_xact_lock({lock}); RETURN NULL; END $$;
CREATE CONSTRAINT TRIGGER held AFTER {what} ON tasks DEFERRABLE INITIALLY DEFERRED
FOR EACH ROW WHEN ({when}) EXECUTE FUNCTION held();
"""
_SUBMITTED = _HOLD.format(lock=_HELD, what="INSERT", when="true")
_ENDED = _HOLD.format(lock=_HELD, what="UPDATE", when="NEW.ended_at IS NOT NULL")

Outcome = Literal["committed", "undone"]


@contextlib.asynccontextmanager
async def _metered(data: Path, *options: str, **environ: str) -> AsyncIterator[Service]:
    """A service whose owner pays for tasks, with credits."""
    plans = data.parent / "plans.toml"
    plans.write_text(_PLANS)
    async with serving(data, *options, BURNISH_PLANS=str(plans), **environ) as service:
        granted = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "burnish", "credits", "grant", "default", str(_CREDITS), "--idempotency-key", "once",
            "--json", "--data", str(data), env=service.environ, stdout=subprocess.DEVNULL,
        )  # fmt: skip
        assert await granted.wait() == 0
        yield service


@contextlib.asynccontextmanager
async def _beside(service: Service) -> AsyncIterator[Database]:
    """The service's database, from beside it."""
    async with open_database_of(read(service.environ, {"data": str(service.data)})) as db:
        yield db


@contextlib.asynccontextmanager
async def _held(db: Database, what: str) -> AsyncIterator[Connection]:
    """Until the block ends, such transactions wait at their COMMIT."""
    async with db.reading() as connection:
        await connection.execute(what)
        await connection.execute("SELECT pg_advisory_lock($1)", _HELD)
        try:
            yield connection
        finally:
            with contextlib.suppress(*LOST):
                await connection.execute("SELECT pg_advisory_unlock($1)", _HELD)


async def _waiting(connection: Connection) -> list[int]:
    """Processes of the database that wait at their COMMIT."""
    rows = await connection.fetch(
        "SELECT pid FROM pg_locks WHERE locktype = 'advisory' AND objid = $1 AND NOT granted", _HELD
    )
    return [row["pid"] for row in rows]


async def _post(service: Service, key: str, idempotency_key: str, seconds: float = 0) -> httpx.Response:
    return await service.http.post(
        "/v1/tasks",
        json={"model": "noop", "input": {"seconds": seconds}},
        headers={"Authorization": f"Bearer {key}", "Idempotency-Key": idempotency_key},
    )


async def _facts(db: Database) -> dict[str, Any]:
    """What submissions and endings have left: whole ones leave the same number everywhere."""
    async with db.reading() as connection:
        row = await connection.fetchrow(
            """
            SELECT (SELECT count(*) FROM tasks) AS tasks,
                   (SELECT count(*) FROM entries WHERE kind = 'hold') AS holds,
                   (SELECT count(*) FROM entries WHERE kind = 'charge') AS charges,
                   (SELECT coalesce(sum(used), 0)::int FROM windows WHERE name = 'day') AS uses,
                   (SELECT count(*) FROM idempotency) AS remembered,
                   (SELECT (granted - available)::int FROM accounts WHERE name = 'default') AS spent
            """
        )
    return dict(row)


@pytest.mark.parametrize("outcome", ["committed", "undone"])
async def test_an_api_killed_before_it_replies_leaves_one_task_or_none(
    tmp_path: Path, db_url: str, outcome: Outcome
) -> None:
    """Kill -9 while its COMMIT is under way. The client that got no answer asks again: the same key, one task."""
    environ = {"BURNISH_DATABASE_URL": db_url, "BURNISH_SECRET_KEYS": "the-same-on-every-machine-0123456789"}
    async with _metered(tmp_path / "one", "--workers", "0", **environ) as first, _beside(first) as db:
        async with _held(db, _SUBMITTED) as connection:
            asking = asyncio.create_task(_post(first, first.key, "order-1"))
            (waiting,) = await until(lambda: _waiting(connection))
            first.process.kill()
            with pytest.raises(httpx.TransportError):
                await asking
            if outcome == "undone":
                await connection.execute("SELECT pg_terminate_backend($1)", waiting)
            else:
                await connection.execute("SELECT pg_advisory_unlock($1)", _HELD)
            await until(lambda: _gone(connection, waiting))
        assert (await _facts(db))["tasks"] == (1 if outcome == "committed" else 0)

        async with _metered(tmp_path / "two", "--workers", "0", **environ) as second:
            replies = [await _post(second, first.key, "order-1") for _ in range(3)]
            assert [reply.status_code for reply in replies] == [202] * 3
            assert len({reply.json()["id"] for reply in replies}) == 1
            replayed = [reply.headers.get("Idempotent-Replayed") for reply in replies]
            assert replayed == ["true" if outcome == "committed" else None, "true", "true"]
            assert await _facts(db) == {
                "tasks": 1, "holds": 1, "charges": 0, "uses": 1, "remembered": 1, "spent": 1
            }  # fmt: skip
            await second.well()


async def _gone(connection: Connection, pid: int) -> bool:
    found = await connection.fetchval("SELECT EXISTS (SELECT FROM pg_stat_activity WHERE pid = $1)", pid)
    return not found


async def test_the_database_killed_in_the_middle_of_a_group_leaves_whole_submissions(tmp_path: Path) -> None:
    """Kill -9 of the server while a group's COMMIT waits, and again and again under load: every key has one task, hold
    and use, and every answer is one of a task that is there.
    """
    async with _metered(tmp_path / "data", "--workers", "0") as service:
        keys = [uuid4().hex for _ in range(40)]
        with contextlib.suppress(*LOST, asyncpg.PostgresError, TimeoutError):  # the way to it is cut as well
            async with _beside(service) as db, _held(db, _SUBMITTED) as connection:
                crowd = [asyncio.create_task(_until_admitted(service, key)) for key in keys]
                await until(lambda: _waiting(connection))
                service.postmaster().kill()
        admitted = dict(await asyncio.gather(*crowd))
        for _ in range(3):
            more = [uuid4().hex for _ in range(60)]
            crowd = [asyncio.create_task(_until_admitted(service, key)) for key in more]
            await until(lambda crowd=crowd: any(one.done() for one in crowd))  # type: ignore[misc]
            service.postmaster().kill()
            admitted |= dict(await asyncio.gather(*crowd))

        async with _beside(service) as db:
            for key in list(admitted)[:40]:
                assert (await _post(service, service.key, key)).json()["id"] == admitted[key]
            many = len(admitted)
            assert len(set(admitted.values())) == many == 220
            assert await _facts(db) == {
                "tasks": many, "holds": many, "charges": 0, "uses": many, "remembered": many, "spent": many
            }  # fmt: skip
        await service.well()


async def _until_admitted(service: Service, key: str) -> tuple[str, str]:
    """The key, and the task that it made: asked for again until there is an answer, as clients do."""

    async def ask() -> str | None:
        reply = await _post(service, service.key, key)
        assert reply.status_code in (202, 409, 503), reply.text
        task: str = reply.json().get("id", "")
        return task if reply.status_code == 202 else None

    return key, await until(ask, 60)


@pytest.mark.parametrize("outcome", ["committed", "undone"])
async def test_a_worker_killed_while_it_ends_a_task_charges_once(tmp_path: Path, outcome: Outcome) -> None:
    """Kill -9 while the ending's COMMIT is under way: it ends then, or another worker runs it; one charge either way."""
    async with _metered(tmp_path / "data") as service, _beside(service) as db:
        async with _held(db, _ENDED) as connection:
            task = (await _post(service, service.key, "order-1")).json()
            (waiting,) = await until(lambda: _waiting(connection))
            killed = service.worker()
            killed.kill()
            if outcome == "undone":
                await connection.execute("SELECT pg_terminate_backend($1)", waiting)
        ended = await service.ended(task["id"])
        assert (ended["status"], ended["cost"]["charged"]) == ("succeeded", 1)
        again = await service.submit(seconds=0)
        assert (await service.ended(again["id"]))["status"] == "succeeded"
        assert await _facts(db) == {
            "tasks": 2, "holds": 2, "charges": 2, "uses": 2, "remembered": 1, "spent": 2
        }  # fmt: skip
        await service.well()


async def test_a_clock_that_jumps_an_hour_mints_and_burns_nothing(tmp_path: Path) -> None:
    """Forth and back while tasks are submitted, run, cancelled and charged: every credit and every use is accounted for."""
    async with _metered(tmp_path / "data") as service, _beside(service) as db:
        made, cancelled = 0, 0
        for step in (3_600, -3_600, -3_600, 7_200, -3_600):
            await _step(db, step)
            quick = [await service.submit(seconds=0) for _ in range(3)]
            slow = await service.submit(seconds=600)
            await _step(db, -step // 2)
            reply = await service.http.post(f"/v1/tasks/{slow['id']}/cancel")
            assert reply.json()["status"] == "cancelled"
            for task in quick:
                assert (await service.ended(task["id"]))["status"] == "succeeded"
            made, cancelled = made + 4, cancelled + 1
        facts = await _facts(db)
        done = made - cancelled
        assert (facts["tasks"], facts["holds"], facts["charges"], facts["spent"]) == (made, made, done, done)
        assert facts["uses"] == made
        await service.well()


async def _step(db: Database, seconds: int) -> None:
    """Move every process's time by so much."""
    before = db.clock.now()
    async with db.transaction() as tx:
        await tx.execute("UPDATE clock SET ahead = ahead + make_interval(secs => $1)", float(seconds))
    db.news.announce(["clock"])
    await until(lambda: abs((db.clock.now() - before).total_seconds() - seconds) < 60)
