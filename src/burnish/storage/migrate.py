"""Numbered SQL migrations, each applied once, in order, under one lock; what was applied is never edited.

Called by everything that opens a database for serving. All of a start's migrations are one transaction, under a
transaction advisory lock: two processes that start at once do not meet, and a killed one leaves nothing half done.
"""

import hashlib
import re
from importlib import resources
from typing import Final, NamedTuple

from burnish.errors import Unusable
from burnish.storage.postgres import Connection, Database

_LOCK: Final = 0x6275726E  #: "burn": ours among the server's advisory locks
_SECONDS: Final = 3600  #: a migration of a large table takes its time
_NAME: Final = re.compile(r"^(\d{4})_(\w+)\.sql$")


class Migration(NamedTuple):
    number: int
    name: str
    sql: str
    checksum: str


def migrations() -> list[Migration]:
    """Every migration that this version ships, by number."""
    found = []
    for file in resources.files("burnish.storage").joinpath("migrations").iterdir():
        if match := _NAME.match(file.name):
            sql = file.read_text("utf-8")
            found.append(Migration(int(match[1]), match[2], sql, hashlib.sha256(sql.encode()).hexdigest()))
    return sorted(found)


async def migrate(db: Database) -> list[Migration]:
    """Bring the schema to this version's; returns what was applied now.

    Raises:
        Unusable: the database knows a migration that this version does not (it is of a newer Burnish), or one
            with another checksum.
    """
    async with db.transaction() as tx:
        await tx.execute("SET LOCAL statement_timeout = 0")
        await tx.execute("SELECT pg_advisory_xact_lock($1)", _LOCK, timeout=_SECONDS)
        await tx.execute(
            "CREATE TABLE IF NOT EXISTS migrations (number integer PRIMARY KEY, name text NOT NULL, "
            "checksum text NOT NULL, applied_at timestamptz NOT NULL DEFAULT clock_timestamp())"
        )
        return await _apply_missing(tx)


async def _apply_missing(tx: Connection) -> list[Migration]:
    shipped = {migration.number: migration for migration in migrations()}
    applied = {row["number"]: row for row in await tx.fetch("SELECT number, name, checksum FROM migrations")}
    for number, row in applied.items():
        if number not in shipped:
            raise Unusable(
                f"The database has migration {number} ({row['name']}), which this version of Burnish does not know. "
                "It was last used by a newer version: start that one."
            )
        if shipped[number].checksum != row["checksum"]:
            raise Unusable(
                f"Migration {number} ({row['name']}) is not the one that was applied to this database."
            )
    missing = [migration for number, migration in shipped.items() if number not in applied]
    for migration in missing:
        await tx.execute(migration.sql, timeout=_SECONDS)
        await tx.execute(
            "INSERT INTO migrations (number, name, checksum) VALUES ($1, $2, $3)",
            migration.number,
            migration.name,
            migration.checksum,
        )
    return missing
