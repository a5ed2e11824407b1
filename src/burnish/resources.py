"""Everything a process opens at start and closes at stop, in that order and its reverse.

`open_resources` is called by the command line's verbs; the server and the workers are handed the result and open
nothing themselves.
"""

import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Final

import asyncpg

from burnish import log
from burnish.clock import Clock
from burnish.credits.prices import Prices, load_prices
from burnish.engines import catalogue
from burnish.errors import Unusable
from burnish.keys.authenticate import Authenticator
from burnish.keys.plan import Plans, load_plans
from burnish.limits.counters import Counters, open_counters
from burnish.outbound import Outbound
from burnish.settings import Settings
from burnish.storage import directory
from burnish.storage.blobs import Blobs, open_blobs
from burnish.storage.embedded import open_embedded
from burnish.storage.migrate import migrate
from burnish.storage.postgres import Database, open_database
from burnish.storage.seal import Seal
from burnish.tasks.arrive import Arrivals
from burnish.tasks.find import Reads
from burnish.tasks.finish import Endings
from burnish.tasks.follow import Follower
from burnish.tasks.outlook import Outlooks
from burnish.tasks.submit import Submissions

#: The database was lost under a verb of the command line; requests and tasks know better what to do, and do it.
_AWAY: Final = (ConnectionError, asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError)


@dataclass(frozen=True, slots=True)
class Resources:
    """What a process works with. `secret_keys` is never empty; newest first."""

    settings: Settings
    secret_keys: tuple[str, ...]
    plans: Plans
    prices: Prices
    seal: Seal
    clock: Clock
    db: Database
    blobs: Blobs
    outbound: Outbound
    counters: Counters
    authenticator: Authenticator
    submissions: Submissions
    reads: Reads
    follower: Follower
    outlooks: Outlooks
    arrivals: Arrivals
    endings: Endings


@contextlib.asynccontextmanager
async def open_database_of(settings: Settings) -> AsyncIterator[Database]:
    """The database alone, its schema brought up to date; the embedded one is started if it must be."""
    async with contextlib.AsyncExitStack() as stack:
        url = settings.database.url
        if not url:
            directory.prepare(settings.data)
            embedded = await open_embedded(settings.data, settings.database.os_user)
            stack.push_async_callback(embedded.close)
            url = embedded.dsn
        db = await open_database(url, settings.database, Clock())
        stack.push_async_callback(db.close)
        try:
            await migrate(db)
            if settings.testing:
                await db.heed_offset()
            yield db
        except _AWAY as error:
            raise Unusable(f"The database went away: {log.redact_text(str(error))}") from error


@contextlib.asynccontextmanager
async def open_resources(settings: Settings) -> AsyncIterator[Resources]:
    """All of it.

    Raises:
        Unusable: the directory, the database, the storage or a setting; the message says what to do.
    """
    plans = load_plans(settings.plans, catalogue.names())
    prices = load_prices(settings.prices, catalogue.price_rules())
    directory.prepare(settings.data)
    async with contextlib.AsyncExitStack() as stack:
        db = await stack.enter_async_context(open_database_of(settings))
        blobs = await open_blobs(settings.blobs_url or (settings.data / "blobs").as_uri())
        stack.push_async_callback(blobs.close)
        outbound = Outbound(settings.outbound)
        stack.push_async_callback(outbound.close)
        counters = await open_counters(settings.counters.url, settings.counters.processes)
        stack.push_async_callback(counters.close)
        authenticator = Authenticator(db)
        stack.push_async_callback(authenticator.close)
        reads, outlooks = Reads(db), Outlooks(db)
        stack.push_async_callback(outlooks.close)
        secret_keys = secret_keys_of(settings)
        resources = Resources(
            settings=settings,
            secret_keys=secret_keys,
            seal=Seal(secret_keys),
            plans=plans,
            prices=prices,
            clock=db.clock,
            db=db,
            blobs=blobs,
            outbound=outbound,
            counters=counters,
            authenticator=authenticator,
            submissions=Submissions(db, settings.tasks, plans, prices),
            reads=reads,
            follower=Follower(db, reads),
            outlooks=outlooks,
            arrivals=Arrivals(db, settings.tasks, plans, prices),
            endings=Endings(db, settings.tasks, plans),
        )
        for group in (resources.submissions.group, resources.arrivals.group, resources.endings.group):
            stack.push_async_callback(group.close)
        yield resources


def secret_keys_of(settings: Settings) -> tuple[str, ...]:
    """The fleet's, or this machine's own beside the embedded database."""
    if settings.secret_keys:
        return settings.secret_keys
    if settings.database.url:
        raise Unusable(
            "With a database of your own, set `secret_keys` as well, to the same on every machine: links that one "
            "makes must open on the others. A good one: openssl rand -base64 32"
        )
    return directory.secret_keys(settings.data)
