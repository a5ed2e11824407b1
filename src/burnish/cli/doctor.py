"""`burnish doctor`: what this machine and its settings are, and whether every invariant of the database holds."""

import argparse
import asyncio
import hashlib
import json
import os
import shutil
from collections.abc import AsyncIterator
from datetime import timedelta

from burnish import log
from burnish import settings as settings_
from burnish.cli import add_common, must_hold_data
from burnish.errors import Burnish
from burnish.resources import Resources, open_resources
from burnish.settings import Settings
from burnish.storage.migrate import migrations
from burnish.storage.postgres import LOST
from burnish.tasks.audit import audit

_LOW_DISK_BYTES = 1 << 30
_SEEN = timedelta(seconds=30)

#: (name, whether it is well, what there is to say)
Finding = tuple[str, bool, str]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_common(parser)


def run(options: argparse.Namespace) -> int:
    settings = settings_.read(os.environ, {"data": options.data})
    must_hold_data(settings.data, settings.database.url)
    findings = asyncio.run(_examine(settings))
    if options.json:
        print(json.dumps([{"check": name, "well": well, "says": says} for name, well, says in findings]))
    else:
        for name, well, says in findings:
            print(f"  {'ok' if well else 'NO':3} {name:12} {says}")
    return 0 if all(well for _, well, _ in findings) else 1


async def _examine(settings: Settings) -> list[Finding]:
    findings: list[Finding] = []
    try:
        async with open_resources(settings) as resources:
            async for finding in _findings(resources):
                findings.append(finding)  # noqa: PERF401 -- those before a failure are told too
    except Burnish as error:
        findings.append(("database" if findings else "start", False, str(error)))
    except (*LOST, TimeoutError) as error:
        why = log.redact_text(str(error)) or type(error).__name__
        findings.append(("database", False, f"it does not answer: {why}"))
    return findings


async def _findings(resources: Resources) -> AsyncIterator[Finding]:
    settings = resources.settings
    free = shutil.disk_usage(settings.data).free
    yield "data", free > _LOW_DISK_BYTES, f"{settings.data}, {free / 1e9:.1f} GB free"
    prints = ", ".join(hashlib.sha256(key.encode()).hexdigest()[:12] for key in resources.secret_keys)
    yield "secret keys", True, f"fingerprint {prints}"
    yield await _database(resources)
    yield await _storage(resources)
    yield _counters(resources)
    yield await _workers(resources)
    broken = await audit(resources.db, resources.plans)
    yield "invariants", not broken, " ".join(broken) or "every one holds"


async def _database(resources: Resources) -> Finding:
    async with resources.db.reading() as connection:
        row = await connection.fetchrow(
            "SELECT current_setting('server_version') AS version, current_setting('fsync') AS fsync, "
            "current_setting('full_page_writes') AS pages, pg_database_size(current_database()) AS size_bytes"
        )
    kind = "yours" if resources.settings.database.url else "embedded"
    durable = row["fsync"] == "on" and row["pages"] == "on"
    says = f"PostgreSQL {row['version']} ({kind}), {len(migrations())} migrations, {row['size_bytes'] / 1e6:.0f} MB"
    return (
        "database",
        durable,
        says if durable else f"{says}; fsync or full_page_writes is off: commits may be lost",
    )


async def _storage(resources: Resources) -> Finding:
    try:
        await resources.blobs.check()
    except Burnish as error:
        return "storage", False, str(error)
    return "storage", True, "writes, reads and deletes"


def _counters(resources: Resources) -> Finding:
    """Where rates are counted: alone by each process, or together."""
    settings = resources.settings.counters
    if settings.url:
        away = resources.counters.away()
        return (
            "counters",
            not away,
            f"{log.redact_text(settings.url)} {'does not answer' if away else 'answers'}",
        )
    share = "1" if settings.processes == 1 else f"1/{settings.processes}"
    return (
        "counters",
        True,
        f"in memory: {share} of each rate a process (counters.processes = {settings.processes})",
    )


async def _workers(resources: Resources) -> Finding:
    async with resources.db.reading() as connection:
        count = await connection.fetchval(
            "SELECT count(*) FROM workers WHERE seen_at > $1", resources.clock.now() - _SEEN
        )
    unless = "none is running: tasks wait (burnish serve, or burnish worker)"
    return "workers", True, f"{count} seen in the last 30 s" if count else unless
