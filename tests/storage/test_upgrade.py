"""A database that was made by an earlier Burnish, with everything in it that may be there, is brought up to date."""

from uuid import uuid4

import asyncpg

from burnish.clock import Clock
from burnish.ids import new_id
from burnish.keys.plan import load_plans
from burnish.settings import Settings
from burnish.storage.embedded import Embedded
from burnish.storage.migrate import migrate, migrations
from burnish.storage.postgres import open_database
from burnish.tasks.audit import audit
from databases import database_url


async def test_tasks_and_keys_of_the_first_schema_live_on(server: Embedded, settings: Settings) -> None:
    """Slots, parked and waiting tasks are counted anew; test keys get an account of their own; the doctor finds nothing."""
    name = f"test_{uuid4().hex}"
    admin = await asyncpg.connect(server.dsn)
    await admin.execute(f"CREATE DATABASE {name}")
    old = await asyncpg.connect(database_url(server.dsn, name))
    first = migrations()[0]
    await old.execute(first.sql)
    await old.execute(
        "CREATE TABLE migrations (number integer PRIMARY KEY, name text NOT NULL, checksum text NOT NULL, "
        "applied_at timestamptz NOT NULL DEFAULT clock_timestamp())"
    )
    await old.execute(
        "INSERT INTO migrations (number, name, checksum) VALUES ($1, $2, $3)",
        first.number,
        first.name,
        first.checksum,
    )
    account, live, test = new_id(), new_id(), new_id()
    await old.execute(
        "INSERT INTO accounts (id, name, light_slots, created_at) VALUES ($1, 'studio', 2, now())", account
    )
    for key, environment in ((live, "live"), (test, "test")):
        await old.execute(
            "INSERT INTO keys (id, account_id, environment, name, secret_hash, last_four, scopes, created_at) "
            "VALUES ($1, $2, $3, '', sha256($4), 'abcd', '{}', now())",
            key, account, environment, key.bytes,
        )  # fmt: skip
    for status, ready, ended, by, environment in (
        ("queued", True, False, live, "live"),
        ("running", False, False, live, "live"),
        ("queued", False, False, live, "live"),
        ("waiting", False, False, None, "live"),
        ("succeeded", False, True, live, "live"),
        ("succeeded", False, True, test, "test"),
    ):
        await old.execute(
            """
            INSERT INTO tasks (id, account_id, environment, key_id, request_id, model, lane, status, ready, fetchable, tag, input,
                               source_id, lease_id, leased_until, max_attempts, deadline_seconds, created_at, queued_at,
                               ended_at, retention_seconds, expires_at)
            VALUES ($1, $2, $3, $4, 'req', 'noop', 0, $5::text, $6, $5::text = 'waiting', CASE WHEN $6 THEN 1 END, '{}', $1,
                    CASE WHEN $5 = 'running' THEN $1::uuid END, CASE WHEN $5 = 'running' THEN now() + interval '1 minute' END,
                    3, 60, now(), CASE WHEN $5 <> 'waiting' THEN now() END, CASE WHEN $7 THEN now() END, 3600,
                    now() + interval '1 hour')
            """,
            new_id(), account, environment, by, status, ready, ended,
        )  # fmt: skip
    await old.close()

    db = await open_database(database_url(server.dsn, name), settings.database, Clock())
    try:
        assert [one.number for one in await migrate(db)] == [one.number for one in migrations()[1:]]
        # The parked one had no slot although there is no ceiling any more: the sweep's next round would see to that.
        findings = await audit(db, load_plans())
        assert [finding for finding in findings if "room for them" not in finding] == []
        async with db.reading() as connection:
            rows = await connection.fetch("SELECT name, plan, test_of FROM accounts ORDER BY name")
            moved = await connection.fetchval(
                "SELECT account_id <> $1 FROM keys WHERE id = $2", account, test
            )
        assert [tuple(row) for row in rows] == [
            ("studio", "owner", None),
            ("studio (test)", "owner", account),
        ]
        assert moved
    finally:
        await db.close()
        await admin.execute(f"DROP DATABASE {name} WITH (FORCE)")
        await admin.close()
