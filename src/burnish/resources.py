"""Everything a process opens at start and closes at stop, in that order and its reverse.

`open_resources` is called by the command line's verbs; the server and the workers are handed the result and open
nothing themselves.
"""

import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass

from burnish.clock import Clock
from burnish.keys.authenticate import Authenticator
from burnish.outbound import Outbound
from burnish.settings import Settings
from burnish.storage import directory
from burnish.storage.blobs import Blobs, open_blobs
from burnish.storage.embedded import open_embedded
from burnish.storage.migrate import migrate
from burnish.storage.postgres import Database, open_database
from burnish.tasks.arrive import Arrivals
from burnish.tasks.find import Reads
from burnish.tasks.finish import Endings
from burnish.tasks.submit import Submissions


@dataclass(frozen=True, slots=True)
class Resources:
    """What a process works with. `secret_keys` is never empty; newest first."""

    settings: Settings
    secret_keys: tuple[str, ...]
    clock: Clock
    db: Database
    blobs: Blobs
    outbound: Outbound
    authenticator: Authenticator
    submissions: Submissions
    reads: Reads
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
        await migrate(db)
        if settings.testing:
            await db.heed_offset()
        yield db


@contextlib.asynccontextmanager
async def open_resources(settings: Settings) -> AsyncIterator[Resources]:
    """All of it.

    Raises:
        Unusable: the directory, the database, the storage or a setting; the message says what to do.
    """
    directory.prepare(settings.data)
    async with contextlib.AsyncExitStack() as stack:
        db = await stack.enter_async_context(open_database_of(settings))
        blobs = await open_blobs(settings.blobs_url or (settings.data / "blobs").as_uri())
        stack.push_async_callback(blobs.close)
        outbound = Outbound(settings.outbound)
        stack.push_async_callback(outbound.close)
        authenticator = Authenticator(db)
        stack.callback(authenticator.close)
        resources = Resources(
            settings=settings,
            secret_keys=settings.secret_keys or directory.secret_keys(settings.data),
            clock=db.clock,
            db=db,
            blobs=blobs,
            outbound=outbound,
            authenticator=authenticator,
            submissions=Submissions(db, settings.tasks, settings.uploads),
            reads=Reads(db),
            arrivals=Arrivals(db, settings.tasks),
            endings=Endings(db, settings.tasks),
        )
        for group in (resources.submissions.group, resources.arrivals.group, resources.endings.group):
            stack.push_async_callback(group.close)
        yield resources
