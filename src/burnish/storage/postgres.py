"""PostgreSQL: connections, transactions, the database's time, and news between processes.

Opened once a process by `resources`. Three pools: `durable`, whose commits are on disk before they return; `brief`,
the same with little patience for locks; and `relaxed` (`synchronous_commit=off`), for what a crash may undo without
harm: claims, renewals, progress.

News are topics, short words that say "read again" (`t:<task id>`, `lane:0`). They are announced after the
commit they tell of, gathered, one NOTIFY in flight a process, over a connection of their own: inside the
transaction NOTIFY takes a lock that serialises every commit of the server. News may be lost (a slow poll stands
behind every listener) but not for long: after a reconnect every subscriber is told to read again.
"""

import asyncio
import contextlib
from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator
from typing import Any, Final

import asyncpg

from burnish import log
from burnish.clock import Clock
from burnish.errors import Unavailable, Unusable
from burnish.settings import Database as DatabaseSettings

Connection = Any  #: asyncpg's connection or its stand-in from the pool; asyncpg ships no types
_log = log.get("postgres")

_CHANNEL: Final = "burnish"
_TIME_SECONDS: Final = 1.0
_BRIEF: Final = "25ms"  #: several endings of another process fit in, and no caller feels it
#: For the same few statements with arrays of every length: planning them anew took longer than running them. A plan that
#: is kept must be one for full tables, whatever the tables were when it was made: by indexes only.
_KEPT_PLANS: Final = {
    "plan_cache_mode": "force_generic_plan",
    "enable_seqscan": "off",
    "enable_bitmapscan": "off",
}
_RELAXED: Final = {"synchronous_commit": "off", "enable_hashjoin": "off", "enable_mergejoin": "off"}
_ANSWER_SECONDS: Final = 10  #: a server that has not answered by then is away
_PAYLOAD_BYTES: Final = 7900  #: PostgreSQL takes less than 8000
#: What asyncpg raises when the server is away, stopping, starting, full or cut the connection.
LOST: Final = (
    OSError,
    asyncpg.InterfaceError,
    asyncpg.PostgresConnectionError,
    asyncpg.OperatorInterventionError,
    asyncpg.InsufficientResourcesError,
    asyncpg.PostgresSystemError,
    asyncpg.DeadlockDetectedError,
    asyncpg.SerializationError,
    asyncpg.LockNotAvailableError,
    asyncpg.ReadOnlySQLTransactionError,  # a standby that is not yet the primary
    asyncpg.InternalClientError,  # seen when the server is killed while it is being connected to
)


class Database:
    """One process's way to the database; see the module. `clock` is corrected by every batch."""

    def __init__(
        self, durable: asyncpg.Pool, brief: asyncpg.Pool, relaxed: asyncpg.Pool, news: "News", clock: Clock
    ) -> None:
        self._durable = durable
        self._brief = brief
        self._relaxed = relaxed
        self.news = news
        self.clock = clock
        self._now_query = _NOW
        self._ask_time = asyncio.Event()
        self._timekeeper: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Hear the time, begin to listen for news, and go on hearing the time."""
        await self._hear_time()
        await self.news.start()
        self._timekeeper = asyncio.create_task(self._keep_time())

    async def heed_offset(self) -> None:
        """Tests only: from now on the one offset in the database moves the time. Its table must be there."""
        self._now_query = _NOW_MOVED
        await self._hear_time()

    async def _hear_time(self) -> None:
        async with self.relaxed() as connection:
            self.clock.heard(await connection.fetchval(self._now_query))

    async def _keep_time(self) -> None:
        """Every second, and at once when a test has moved the offset."""
        with self.news.subscribed("clock", self._ask_time.set):
            while True:
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(_TIME_SECONDS):
                        await self._ask_time.wait()
                self._ask_time.clear()
                with contextlib.suppress(TimeoutError, asyncpg.PostgresError, *LOST):
                    await self._hear_time()

    @contextlib.asynccontextmanager
    async def transaction(self) -> AsyncIterator[Connection]:
        """A durable transaction: on disk when the block ends, undone when it raises."""
        async with self._durable.acquire() as connection, connection.transaction():
            yield connection

    @contextlib.asynccontextmanager
    async def brief_transaction(self) -> AsyncIterator[Connection]:
        """The same, but it waits for no lock longer than `_BRIEF`: then asyncpg.LockNotAvailableError."""
        async with self._brief.acquire() as connection, connection.transaction():
            yield connection

    @contextlib.asynccontextmanager
    async def reading(self) -> AsyncIterator[Connection]:
        """A connection for single statements that change nothing."""
        async with self._durable.acquire() as connection:
            yield connection

    @contextlib.asynccontextmanager
    async def relaxed(self) -> AsyncIterator[Connection]:
        """A connection for single statements that a crash may undo."""
        async with self._relaxed.acquire() as connection:
            yield connection

    async def close(self) -> None:
        if self._timekeeper is not None:
            self._timekeeper.cancel()
            await asyncio.gather(self._timekeeper, return_exceptions=True)
        await self.news.close()
        for pool in (self._durable, self._brief, self._relaxed):
            try:
                async with asyncio.timeout(2):
                    await pool.close()
            except (TimeoutError, *LOST):
                pool.terminate()


_NOW: Final = "SELECT clock_timestamp()"
_NOW_MOVED: Final = "SELECT clock_timestamp() + (SELECT ahead FROM clock)"


class _Plain(asyncpg.Connection):  # type: ignore[misc]
    """Without asyncpg's reset on release, which would be a round trip: no statement of ours leaves a state."""

    def get_reset_query(self) -> str:
        return ""


async def open_database(url: str, settings: DatabaseSettings, clock: Clock) -> Database:
    """Connect, and begin to listen.

    Raises:
        Unusable: the server is not there or does not let us in; the message names the cause, never the password.
    """
    options = {"application_name": "burnish", "timezone": "UTC", "statement_timeout": "10000"}
    kept = {
        "max_inactive_connection_lifetime": 0,
        "connection_class": _Plain,
        "timeout": 5,
        "command_timeout": _ANSWER_SECONDS,
    }
    try:
        durable = await asyncpg.create_pool(
            url, min_size=1, max_size=settings.connections, server_settings=options, **kept
        )
        brief = await asyncpg.create_pool(
            url,
            min_size=1,
            max_size=2,
            server_settings=options | _KEPT_PLANS | {"lock_timeout": _BRIEF},
            **kept,
        )
        relaxed = await asyncpg.create_pool(
            url,
            min_size=1,
            max_size=2,
            server_settings=options | _KEPT_PLANS | _RELAXED,
            **kept,
        )
    except (*LOST, asyncpg.PostgresError, ValueError, TimeoutError) as error:
        raise Unusable(
            f"The database cannot be reached: {log.redact_text(str(error)) or type(error).__name__}"
        ) from error
    news = News(settings.listen_url or url)
    database = Database(durable, brief, relaxed, news, clock)
    try:
        await database.start()
    except (*LOST, asyncpg.PostgresError, TimeoutError) as error:
        await database.close()
        raise Unusable(
            f"The database cannot be listened to: {log.redact_text(str(error)) or type(error).__name__}. "
            "Through a pooler, `database.listen_url` must go direct."
        ) from error
    return database


class News:
    """Topics announced to every process, and heard from every process; see the module."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._subscribers: defaultdict[str, set[Callable[[], None]]] = defaultdict(set)
        self._unsent: dict[str, None] = {}
        self._wake = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []
        self._listening = asyncio.Event()
        self._all_sent = asyncio.Event()
        self._all_sent.set()

    async def start(self) -> None:
        """Returns when the first LISTEN stands, so that nothing announced later is missed."""
        self._tasks = [
            asyncio.create_task(self._stay(self._listen)),
            asyncio.create_task(self._stay(self._send)),
        ]
        async with asyncio.timeout(10):
            await self._listening.wait()

    async def close(self) -> None:
        """What was announced is still sent, when the server is there."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(1):
                await self._all_sent.wait()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def announce(self, topics: Iterable[str]) -> None:
        """Tell every process, soon and without waiting. Call it after the commit."""
        for topic in topics:
            self._unsent[topic] = None
        if self._unsent:
            self._all_sent.clear()
            self._wake.set()

    @contextlib.contextmanager
    def subscribed(self, topic: str, told: Callable[[], None]) -> Iterator[None]:
        """Call `told` whenever somebody announces `topic`, and after every reconnect."""
        self._subscribers[topic].add(told)
        try:
            yield
        finally:
            self._subscribers[topic].discard(told)
            if not self._subscribers[topic]:
                del self._subscribers[topic]

    async def _stay(self, work: Callable[[Connection], Awaitable[None]]) -> None:
        """`work` on a connection of its own, again and again for as long as the process lives."""
        pause = 0.05
        while True:
            connection = None
            try:
                connection = await asyncpg.connect(
                    self._url,
                    timeout=5,
                    server_settings={"application_name": "burnish-news", "synchronous_commit": "off"},
                )
                pause = 0.05
                await work(connection)
            except (*LOST, asyncpg.PostgresError, TimeoutError) as error:
                _log.warning("news_lost", error=str(error) or type(error).__name__)
            finally:
                if connection is not None:
                    connection.terminate()
            await asyncio.sleep(pause)
            pause = min(pause * 2, 1.0)

    async def _listen(self, connection: Connection) -> None:
        gone = asyncio.Event()
        connection.add_termination_listener(lambda _connection: gone.set())
        await connection.add_listener(
            _CHANNEL, lambda _c, _pid, _channel, payload: self._heard(payload.split(" "))
        )
        self._listening.set()
        self._heard(list(self._subscribers))
        await gone.wait()

    def _heard(self, topics: list[str]) -> None:
        for topic in topics:
            for told in tuple(self._subscribers.get(topic, ())):
                told()

    async def _send(self, connection: Connection) -> None:
        while True:
            await self._wake.wait()
            self._wake.clear()
            while self._unsent:
                payload = self._take()
                try:
                    await connection.execute("SELECT pg_notify($1, $2)", _CHANNEL, payload)
                except BaseException:
                    self.announce(payload.split(" "))
                    raise
            self._all_sent.set()

    def _take(self) -> str:
        """As many topics as one payload holds, taken out of the unsent."""
        taken: list[str] = []
        room = _PAYLOAD_BYTES
        for topic in self._unsent:
            room -= len(topic) + 1
            if room < 0:
                break
            taken.append(topic)
        for topic in taken:
            del self._unsent[topic]
        return " ".join(taken)


def away(error: BaseException) -> Unavailable:
    """What a caller is told when the database did not answer."""
    _log.warning("database_away", error=log.redact_text(str(error)) or type(error).__name__)
    return Unavailable(
        "The database does not answer; what was asked may not have been done. Try again.",
        code="database_unavailable",
        retry_after=1,
    )


@contextlib.contextmanager
def answering() -> Iterator[None]:
    """Around work in the database: what a caller is told when it does not answer is raised in place of what happened."""
    try:
        yield
    except (*LOST, TimeoutError) as error:
        raise away(error) from error
