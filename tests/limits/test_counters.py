"""One suite for every place where requests are counted: memory, Redis alone, behind a sentinel, in a cluster.

What only one of them can do or suffer follows; then what happens while the store is away.
"""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Awaitable, Coroutine, Iterator
from pathlib import Path
from uuid import uuid4

import pytest
import trustme

from burnish.errors import Unavailable, Unusable
from burnish.limits.counters import Counters, open_counters
from burnish.limits.counters.memory import MemoryCounters
from burnish.limits.rate import Rate, Verdicts
from redis_servers import Server, cluster, free_port, one, watched
from waiting import until

HOUR = 3_600.0
PATIENT = 5.0  #: where the machine may be slow, and exactness counts


@pytest.fixture(scope="module")
def redis_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with one(tmp_path_factory.mktemp("redis")) as server:
        yield f"redis://127.0.0.1:{server.port}/3"


@pytest.fixture(scope="module")
def sentinel_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with watched(tmp_path_factory.mktemp("watched")) as (_master, _replica, sentinel):
        yield f"redis+sentinel://127.0.0.1:1,127.0.0.1:{sentinel.port}/main/2"


@pytest.fixture(scope="module")
def cluster_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with cluster(tmp_path_factory.mktemp("cluster")) as servers:
        yield f"valkey+cluster://127.0.0.1:1,127.0.0.1:{servers[1].port}"


@pytest.fixture(params=["memory", "redis", "sentinel", "cluster"])
def url(request: pytest.FixtureRequest) -> str:
    if request.param == "memory":
        return "memory://"
    found: str = request.getfixturevalue(f"{request.param}_url")
    return found


@pytest.fixture
async def counters(url: str) -> AsyncIterator[Counters]:
    opened = await open_counters(url, patience_seconds=PATIENT)
    yield opened
    await opened.close()


@pytest.fixture
def account() -> str:
    """A tag that no other test has."""
    return uuid4().hex


async def spend(counters: Counters, tag: str, *rates: Rate, subject: str = "key") -> Verdicts:
    found = counters.spend(tag, [(subject, rate) for rate in rates])
    return found if isinstance(found, list) else await found


async def peek(counters: Counters, tag: str, *rates: Rate, subject: str = "key") -> Verdicts:
    found = counters.peek(tag, [(subject, rate) for rate in rates])
    return found if isinstance(found, list) else await found


def slow(name: str = "key-rate", burst: int = 5, when_down: str = "local") -> Rate:
    """Nothing of it comes back while a test runs."""
    return Rate(name, 1, HOUR, burst, when_down)  # type: ignore[arg-type]


# --- everywhere ---------------------------------------------------------------------------------------------------


async def test_the_burst_passes_and_not_one_more(counters: Counters, account: str) -> None:
    """Each request leaves one less; the refusal says when, and spends nothing."""
    rate = slow(burst=3)
    verdicts = [(await spend(counters, account, rate))[0] for _ in range(5)]
    assert [verdict.allowed for verdict in verdicts] == [True, True, True, False, False]
    assert [verdict.remaining for verdict in verdicts] == [2, 1, 0, 0, 0]
    assert [verdict.used for verdict in verdicts] == [1, 2, 3, 3, 3]
    assert verdicts[2].reset_seconds == pytest.approx(3 * HOUR, abs=60)
    assert verdicts[4].retry_after_seconds == pytest.approx(HOUR, abs=60)


async def test_what_was_spent_comes_back(counters: Counters, account: str) -> None:
    """At the moment that the refusal told, and not before."""
    rate = Rate("key-rate", 10, 2.0, 1)
    began = time.monotonic()
    assert (await spend(counters, account, rate))[0].allowed
    refusal = (await spend(counters, account, rate))[0]
    assert 0 < refusal.retry_after_seconds <= 0.2

    async def allowed() -> bool:
        return (await spend(counters, account, rate))[0].allowed

    await until(allowed)
    assert time.monotonic() - began >= 0.2


async def test_all_rates_of_a_request_or_none(counters: Counters, account: str) -> None:
    """Where one refuses, the others keep what they had; the verdicts come in the order of the question."""
    wide, narrow = slow("wide", 10), slow("narrow", 2)
    for _ in range(2):
        assert all(verdict.allowed for verdict in await spend(counters, account, wide, narrow))
    for _ in range(3):
        refused = await spend(counters, account, wide, narrow)
        assert [(v.rate.name, v.allowed, v.remaining) for v in refused] == [
            ("wide", True, 8),
            ("narrow", False, 0),
        ]
    assert [v.remaining for v in await spend(counters, account, wide)] == [7]


async def test_peeking_spends_nothing(counters: Counters, account: str) -> None:
    """However often; it tells what a request would be told."""
    rate = slow(burst=2)
    await spend(counters, account, rate)
    for _ in range(5):
        assert [(v.allowed, v.remaining) for v in await peek(counters, account, rate)] == [(True, 1)]
    await spend(counters, account, rate)
    assert [(v.allowed, v.remaining) for v in await peek(counters, account, rate)] == [(False, 0)]


async def test_tags_subjects_and_rates_never_meet(counters: Counters, account: str) -> None:
    """What one spends, no other lacks."""
    rate = slow(burst=1)
    assert (await spend(counters, account, rate))[0].allowed
    assert not (await spend(counters, account, rate))[0].allowed
    assert (await spend(counters, account, slow("read-rate", 1)))[0].allowed
    assert (await spend(counters, account, rate, subject="other"))[0].allowed
    assert (await spend(counters, account + "2", rate))[0].allowed


async def test_a_burst_is_shared_by_all_who_ask_at_once(url: str, account: str) -> None:
    """Two hundred at the same time, from two processes where they share a store: fifty pass."""
    first = await open_counters(url, patience_seconds=PATIENT)
    second = first if url == "memory://" else await open_counters(url, patience_seconds=PATIENT)
    rate = slow(burst=50)
    asked = (spend((first, second)[number % 2], account, rate) for number in range(200))
    passed = [verdict for (verdict,) in await asyncio.gather(*asked) if verdict.allowed]
    assert sorted(verdict.remaining for verdict in passed) == list(range(50))
    await first.close()
    await second.close()


async def test_a_rate_that_is_made_slower_locks_nobody_out(counters: Counters, account: str) -> None:
    """What was spent under a generous plan counts for at most the new burst."""
    generous, narrow = Rate("key-rate", 1, HOUR, 1_000), Rate("key-rate", 10, 2.0, 2)
    for _ in range(20):
        await spend(counters, account, generous)
    verdict = (await spend(counters, account, narrow))[0]
    assert not verdict.allowed
    assert verdict.reset_seconds <= 0.4


# --- in memory ----------------------------------------------------------------------------------------------------


def test_memory_forgets_whom_it_need_not_remember() -> None:
    """A million addresses take no more room than those of the last moment; those that still count are remembered."""
    now = 1_000_000_000
    counters = MemoryCounters(now=lambda: now)
    held = slow()
    counters.spend("held", [("key", held)])
    quick = Rate("ip-rate", 300, 1.0, 300)
    for number in range(1_000_000):
        now += 1_000
        counters.spend(str(number), [("ip", quick)])
    assert len(counters) < 20_000
    assert counters.peek("held", [("key", held)])[0].remaining == 4


def test_memory_has_an_end() -> None:
    """Even of those that still count there are only so many."""
    counters = MemoryCounters()
    rate = slow()
    for number in range(300_000):
        counters.spend(str(number), [("ip", rate)])
    assert len(counters) < 270_000


def test_each_of_several_processes_lets_its_share_pass() -> None:
    """With counters in memory a limit is divided by their number, and still called by its whole."""
    counters = MemoryCounters(processes=4)
    rate = slow(burst=20)
    verdicts = [counters.spend("account", [("key", rate)])[0] for _ in range(6)]
    assert [verdict.allowed for verdict in verdicts] == [True] * 5 + [False]
    assert [verdict.used + verdict.remaining for verdict in verdicts] == [5] * 6
    assert verdicts[0].rate.limit == rate.limit
    assert verdicts[-1].retry_after_seconds == pytest.approx(4 * HOUR, abs=60)


# --- in Redis -----------------------------------------------------------------------------------------------------


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    """A server of this test's own."""
    with one(tmp_path) as server:
        yield server


async def test_keys_name_account_subject_and_rate_and_expire(server: Server) -> None:
    """One hash tag for all that is decided together; nothing is kept for longer than it counts."""
    counters = await open_counters(f"redis://127.0.0.1:{server.port}", patience_seconds=PATIENT)
    await spend(counters, "acc", slow(), slow("read-rate"), subject="k1")
    await spend(counters, "2001:db8::/64", slow("ip-rate"), subject="ip")
    keys = [
        b"burnish:{2001:db8::/64}:ip:ip-rate",
        b"burnish:{acc}:k1:key-rate",
        b"burnish:{acc}:k1:read-rate",
    ]
    assert sorted(server.ask("KEYS", "*")) == keys
    assert all(0 < server.ask("PTTL", key) <= 3_600_000 for key in keys)
    await counters.close()


async def test_a_clock_put_back_on_the_server_locks_nobody_out(server: Server) -> None:
    """A moment that lies a year ahead counts as one burst spent."""
    counters = await open_counters(f"redis://127.0.0.1:{server.port}", patience_seconds=PATIENT)
    server.ask("SET", "burnish:{acc}:key:key-rate", (int(time.time()) + 31_536_000) * 1_000_000)
    verdict = (await spend(counters, "acc", Rate("key-rate", 60, 60.0, 10)))[0]
    assert (verdict.allowed, verdict.remaining, verdict.reset_seconds) == (False, 0, 10.0)
    await counters.close()


async def test_a_server_that_forgot_the_script_is_told_again(server: Server, account: str) -> None:
    """After SCRIPT FLUSH, as after a restart, the same request is decided."""
    counters = await open_counters(f"redis://127.0.0.1:{server.port}", patience_seconds=PATIENT)
    rate = slow(burst=4)
    await spend(counters, account, rate)
    server.ask("SCRIPT", "FLUSH")
    found = await asyncio.gather(*(spend(counters, account, rate) for _ in range(3)))
    assert sorted(verdict.remaining for (verdict,) in found) == [0, 1, 2]
    assert [v.remaining for v in await peek(counters, account, rate)] == [0]
    await counters.close()


async def test_a_password_a_user_and_tls(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, account: str
) -> None:
    """All three of them; a wrong password counts locally, and a certificate that nobody signed is not trusted."""
    authority = trustme.CA()
    certificate = authority.issue_cert("127.0.0.1")
    certificate.private_key_pem.write_to_path(tmp_path / "key.pem")
    certificate.cert_chain_pems[0].write_to_path(tmp_path / "cert.pem")
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    tls_port = free_port()
    with one(
        tmp_path,
        f"tls-port {tls_port}", f"tls-cert-file {tmp_path}/cert.pem", f"tls-key-file {tmp_path}/key.pem",
        f"tls-ca-cert-file {tmp_path}/ca.pem", "tls-auth-clients no", "user studio on >p@ss/word ~* +@all",
    ):  # fmt: skip
        monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "ca.pem"))
        assert await counts_there(f"rediss://studio:p%40ss%2Fword@127.0.0.1:{tls_port}/1", account)
        assert not await counts_there(f"rediss://studio:wrong@127.0.0.1:{tls_port}/1", account)
        monkeypatch.delenv("SSL_CERT_FILE")
        assert not await counts_there(f"rediss://studio:p%40ss%2Fword@127.0.0.1:{tls_port}/1", account)


async def counts_there(url: str, account: str) -> bool:
    """Whether the store itself answers, and not this process in its place."""
    counters = await open_counters(url, patience_seconds=PATIENT)
    found = counters.spend(account, [("key", slow())])
    there = isinstance(found, Awaitable)
    if isinstance(found, Awaitable):
        await found
    await counters.close()
    return there


async def test_counts_follow_a_slot_to_another_server(tmp_path: Path) -> None:
    """While it moves (ASK) and when it has moved (MOVED), with nothing forgotten and nothing minted."""
    with cluster(tmp_path) as servers:
        url = "redis+cluster://" + ",".join(f"127.0.0.1:{server.port}" for server in servers)
        counters = await open_counters(url, patience_seconds=PATIENT)
        rate, key = slow(burst=6), "burnish:{acc}:key:key-rate"
        await spend(counters, "acc", rate)
        (old,) = [server for server in servers if server.ask("EXISTS", key) == 1]
        new = next(server for server in servers if server is not old)
        slot = old.ask("CLUSTER", "KEYSLOT", key)
        names = {server.port: server.ask("CLUSTER", "MYID") for server in servers}
        new.ask("CLUSTER", "SETSLOT", slot, "IMPORTING", names[old.port])
        old.ask("CLUSTER", "SETSLOT", slot, "MIGRATING", names[new.port])
        assert [v.remaining for v in await spend(counters, "acc", rate)] == [4]
        assert old.ask("MIGRATE", "127.0.0.1", new.port, key, 0, 1_000) == b"OK"
        assert [v.remaining for v in await spend(counters, "acc", rate)] == [3]  # ASK
        for server in (new, old):
            server.ask("CLUSTER", "SETSLOT", slot, "NODE", names[new.port])
        assert [v.remaining for v in await spend(counters, "acc", rate)] == [2]  # MOVED
        assert new.ask("EXISTS", key) == 1
        await counters.close()


# --- while the store is away --------------------------------------------------------------------------------------


async def waited(counters: Counters, many: int = 50) -> float:
    """The longest that one of many requests at once waited, in seconds."""

    async def one_request() -> float:
        began = time.perf_counter()
        await spend(counters, uuid4().hex, slow())
        return time.perf_counter() - began

    return max(await asyncio.gather(*(one_request() for _ in range(many))))


async def test_no_request_waits_for_a_server_that_hangs(server: Server) -> None:
    """Those that had asked wait less than 50 ms, those that come later do not wait; it comes back by itself."""
    counters = await open_counters(f"redis://127.0.0.1:{server.port}")
    waits = []
    for _ in range(3):  # the machine may be busy: the best of three counts
        await until(lambda: answers(counters))
        server.freeze()
        waits.append((await waited(counters), await waited(counters)))
        server.thaw()
    assert min(first for first, _ in waits) < 0.05
    assert min(later for _, later in waits) < 0.01
    await until(lambda: answers(counters))
    await counters.close()


async def answers(counters: Counters) -> bool:
    """Whether the store itself is asked, and answers."""
    found = counters.peek(uuid4().hex, [("key", slow(when_down="closed"))]) if not _away(counters) else None
    if isinstance(found, Awaitable):
        with contextlib.suppress(Unavailable):
            await found
            return True
    return False


def _away(counters: Counters) -> bool:
    try:
        found = counters.peek("probe", [("key", slow(when_down="closed"))])
    except Unavailable:
        return True
    if isinstance(found, Coroutine):
        found.close()
    return False


async def test_each_rate_does_what_it_says_while_the_server_is_gone(server: Server, account: str) -> None:
    """local: its share is counted here; open: it passes; closed: 503, whatever else is asked; then as before."""
    counters = await open_counters(f"redis://127.0.0.1:{server.port}", processes=2, patience_seconds=PATIENT)
    local, opened, closed = (
        slow("local-rate", 6),
        slow("open-rate", 1, "open"),
        slow("closed-rate", 6, "closed"),
    )
    await spend(counters, account, local, opened)
    server.kill()
    await until(lambda: _away(counters))

    assert counters.away()
    verdicts = [await spend(counters, account, opened, local) for _ in range(4)]
    assert [[v.allowed for v in both] for both in verdicts] == [[True, True]] * 3 + [[True, False]]
    assert [(v.rate.name, v.remaining) for v in verdicts[0]] == [("open-rate", 1), ("local-rate", 2)]
    with pytest.raises(Unavailable) as raised:
        await spend(counters, account, local, closed)
    assert (raised.value.code, raised.value.retry_after) == ("limits_unavailable", 1)
    with pytest.raises(Unavailable):
        await peek(counters, account, closed)
    assert [v.remaining for v in await peek(counters, account, local)] == [0]

    server.start()
    await until(lambda: answers(counters))
    assert not counters.away()
    assert [v.remaining for v in await spend(counters, account, closed)] == [5]
    await counters.close()


async def test_it_starts_without_the_server_and_finds_it_later(tmp_path: Path) -> None:
    """A store that is away stops nothing from starting."""
    port = free_port()
    counters = await open_counters(f"redis://127.0.0.1:{port}", patience_seconds=PATIENT)
    assert isinstance(counters.spend("account", [("key", slow())]), list)
    server = Server(tmp_path, port=port)
    await until(lambda: answers(counters))
    server.kill()
    await counters.close()


async def test_a_new_master_is_found(tmp_path: Path) -> None:
    """The master dies; the sentinel makes another, and it is asked."""
    with watched(tmp_path) as (master, replica, sentinel):
        url = f"redis+sentinel://:unused@127.0.0.1:{sentinel.port}/main"
        counters = await open_counters(url.replace(":unused@", ""), patience_seconds=PATIENT)
        await spend(counters, "acc", slow())
        assert master.ask("EXISTS", "burnish:{acc}:key:key-rate") == 1
        master.kill()
        await until(lambda: answers(counters), 60)
        await spend(counters, "acc", slow("other-rate"))
        assert replica.ask("EXISTS", "burnish:{acc}:key:other-rate") == 1
        await counters.close()


async def test_the_rest_of_a_cluster_counts_on(tmp_path: Path) -> None:
    """One server dies: its tags are counted here, all others there; started again, it has its tags back."""
    with cluster(tmp_path) as servers:
        counters = await open_counters(
            f"redis+cluster://127.0.0.1:{servers[0].port}", patience_seconds=PATIENT
        )
        tags = [uuid4().hex for _ in range(40)]
        asked = [("key", slow())]

        async def there() -> set[str]:
            """The tags that the store itself decides."""
            found = {tag: counters.peek(tag, asked) for tag in tags}
            waiting = {tag: verdicts for tag, verdicts in found.items() if not isinstance(verdicts, list)}
            await asyncio.gather(*waiting.values())
            return set(waiting)

        assert await there() == set(tags)
        gone = {tag for tag in tags if servers[1].ask("CLUSTER", "KEYSLOT", tag) in range(5_461, 10_922)}
        assert 0 < len(gone) < len(tags)
        servers[1].kill()

        async def are(expected: set[str]) -> bool:
            return await there() == expected

        await until(lambda: are(set(tags) - gone))
        servers[1].start()
        await until(lambda: are(set(tags)))
        await counters.close()


# --- the URL ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "url",
    [
        "redis", "redis://", "http://localhost", "redis://a:b:c", "redis://a,b", "redis://a/x", "redis://a/1/2",
        "redis+cluster://a,b/1", "redis+sentinel://a", "redis+sentinel://a/main/x", "redis+sentinel://a/main/1/2",
        "memory:///x", "unix:///run/redis.sock", "redis://user:secret@",
    ],
)  # fmt: skip
async def test_a_url_that_means_nothing_stops_the_start(url: str) -> None:
    """The message shows what may be set, and no password."""
    with pytest.raises(Unusable, match="it must be empty, memory://, redis://") as raised:
        await open_counters(url)
    assert "secret" not in str(raised.value)
    with pytest.raises(Unusable, match="at least one"):
        await open_counters("", processes=0)
