"""Every request: who may, what every reply carries, what happens when a part is away, the client goes, or we stop."""

import asyncio
import contextlib
import dataclasses
import json
import sys
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit, urlunsplit

import pytest
from starlette.types import Message

from burnish.keys.issue import revoke_key
from burnish.keys.key import new_secret
from burnish.settings import Settings
from burnish.web.protocol import BoundedProtocol
from burnish.web.replies import Stream
from burnish.web.request import Request
from native.surface import DOCUMENT, Visitor, visit, visit_over_sockets
from waiting import until


async def told(visitor: Visitor, method: str, path: str, **options: Any) -> tuple[int, str]:
    """Status and code of a refusal."""
    reply = await visitor.http.request(method, path, **options)
    return reply.status_code, reply.json()["error"]["code"]


async def counted(visitor: Visitor, **labels: str) -> float:
    """How many requests with these labels the metrics have seen."""
    text = (await visitor.http.get("/metrics")).text
    wanted = {f'{name}="{value}"' for name, value in labels.items()}
    lines = [line for line in text.splitlines() if line.startswith("burnish_requests_total{")]
    return sum(float(line.rpartition(" ")[2]) for line in lines if all(label in line for label in wanted))


# --- who may ------------------------------------------------------------------------------------------------------


async def test_401_tells_what_is_wrong_with_the_key(visitor: Visitor) -> None:
    """No key, a typo, an unknown, a revoked, an expired one, two at once: each its code, and WWW-Authenticate says what is wanted."""
    resources = visitor.resources
    expired = await visitor.new_key(expires_at=resources.clock.now())
    typo = visitor.secret[:-1] + ("a" if visitor.secret[-1] != "a" else "b")
    for authorization, code in (
        ("", "missing_key"),
        ("Bearer", "missing_key"),
        (f"Basic {visitor.secret}", "missing_key"),
        (f"Bearer {typo}", "malformed_key"),
        ("Bearer bk_live_é", "malformed_key"),
        (f"Bearer {new_secret('live')}", "unknown_key"),
        (f"Bearer {expired}", "expired_key"),
    ):
        reply = await visitor.http.get(
            "/v1/tasks", headers={b"Authorization": authorization.encode("latin-1")}
        )
        assert (reply.status_code, reply.json()["error"]["code"]) == (401, code), authorization
        assert reply.headers["www-authenticate"] == "Bearer"

    for good in (f"bearer  {visitor.secret}", f" Bearer {visitor.secret}\t "):
        assert (await visitor.http.get("/v1/tasks", headers={"Authorization": good})).is_success
    del visitor.http.headers["Authorization"]
    twice = [("Authorization", f"Bearer {visitor.secret}")] * 2
    reply = await visitor.http.get("/v1/tasks", headers=twice)
    assert (reply.status_code, reply.json()["error"]["code"]) == (401, "malformed_key")
    assert reply.json()["error"]["message"] == "Send one Authorization header."
    visitor.http.headers.update(visitor.using(visitor.secret))
    async with resources.db.reading() as connection:
        (key_id,) = await connection.fetchrow("SELECT id FROM keys WHERE name = '' AND expires_at IS NULL")
    await revoke_key(resources.db, key_id, now=resources.clock.now())

    async def revoked() -> bool:
        return (await visitor.http.get("/v1/tasks")).status_code == 401

    await until(revoked)
    assert await told(visitor, "GET", "/v1/tasks") == (401, "revoked_key")


async def test_403_names_the_scope_that_is_missing(visitor: Visitor) -> None:
    """A key does what its scopes say, on every operation, and nothing else."""
    reader = visitor.using(await visitor.new_key(scopes=["tasks:read"]))
    writer = visitor.using(await visitor.new_key(scopes=["tasks:write"]))
    task = await visitor.submit()
    for headers, method, path, scope in (
        (reader, "POST", "/v1/tasks", "tasks:write"),
        (reader, "POST", f"/v1/tasks/{task['id']}/cancel", "tasks:write"),
        (writer, "GET", f"/v1/tasks/{task['id']}", "tasks:read"),
        (writer, "GET", "/v1/tasks", "tasks:read"),
        (writer, "POST", "/v1/uploads", "uploads:write"),
        (writer, "GET", "/v1/uploads/upload_1", "uploads:write"),
    ):
        reply = await visitor.http.request(method, path, headers=headers)
        error = reply.json()["error"]
        assert (reply.status_code, error["code"], error["details"]) == (
            403,
            "scope_missing",
            {"scope": scope},
        )
    assert (await visitor.http.get("/v1/models", headers=reader)).is_success


async def test_a_caller_is_refused_before_the_body_is_read(visitor: Visitor) -> None:
    """Without a key not a byte of the body is asked for."""
    asked = False

    async def body() -> AsyncIterator[bytes]:
        nonlocal asked
        asked = True
        yield b"{}"

    assert await told(visitor, "POST", "/v1/tasks", content=body(), headers={"Authorization": ""}) == (
        401,
        "missing_key",
    )
    assert not asked


# --- what every reply carries -------------------------------------------------------------------------------------


async def test_paths_and_methods_that_there_are_not(visitor: Visitor) -> None:
    """404 and 405 in the words of the API; 405 says what is allowed."""
    for path in (
        "/v1",
        "/v1/",
        "/v1/tasks/",
        "/v2/tasks",
        "/v1/tasks/a/b/c",
        "//v1/tasks",
    ):
        reply = await visitor.http.get(path)

        assert await told(visitor, "GET", path) == (404, "not_found"), path
    for method, path, allow in (
        ("DELETE", "/v1/tasks", "GET, HEAD, POST"),
        ("PATCH", "/v1/files/x", "GET, HEAD, PUT"),
        ("OPTIONS", "/health", "GET, HEAD"),
        ("BREW", "/v1/uploads", "POST"),
    ):
        reply = await visitor.http.request(method, path)
        assert (reply.status_code, reply.headers["allow"]) == (405, allow)
        assert reply.json()["error"]["code"] == "method_not_allowed"


async def test_head_works_wherever_get_does(visitor: Visitor) -> None:
    """The same status and length, and no body."""
    task = await visitor.submit()
    for path in (
        "/health",
        "/docs",
        "/openapi.json",
        "/v1/models",
        "/v1/tasks",
        f"/v1/tasks/{task['id']}",
        "/v1/tasks/x",
    ):
        get, head = await visitor.http.get(path), await visitor.http.head(path)
        assert (head.status_code, head.content) == (get.status_code, b"")
        assert head.headers["content-length"] == get.headers["content-length"]


async def test_errors_have_every_member(visitor: Visitor) -> None:
    """A refusal says its kind, code, field, where it is explained, and whether and when to try again."""
    reply = await visitor.http.post("/v1/tasks", json={"model": "noop", "input": {"seconds": "x"}})
    error = reply.json()["error"]
    assert error == {
        "type": "invalid_request",
        "code": "invalid",
        "message": "Expected `float`, got `str`.",
        "param": "input.seconds",
        "request_id": reply.headers["request-id"],
        "doc_url": f"{visitor.resources.settings.public_url}/docs#invalid",
        "retryable": False,
        "retry_after": None,
        "details": {},
    }
    page = (await visitor.http.get(error["doc_url"])).text
    assert 'id="invalid"' in page


async def test_problems_where_they_are_asked_for(visitor: Visitor) -> None:
    """With `Accept: application/problem+json` a refusal is RFC 9457's, with the same members."""
    reply = await visitor.http.get("/v1/tasks/x", headers={"Accept": "application/problem+json, */*;q=0.1"})
    problem = reply.json()
    assert reply.headers["content-type"] == "application/problem+json"
    assert (problem["status"], problem["title"], problem["detail"]) == (
        404,
        "not found",
        "There is no task 'x'.",
    )
    assert problem["type"].endswith("/docs#not_found")
    assert (problem["code"], problem["request_id"]) == ("not_found", reply.headers["request-id"])
    assert {"param", "retryable", "retry_after", "details"} <= problem.keys()


async def test_500_says_nothing_but_the_request(visitor: Visitor) -> None:
    """What we did not foresee is told by its id alone."""
    async with visitor.resources.db.transaction() as tx:
        await tx.execute("DROP TABLE tasks")
    reply = await visitor.http.get("/v1/tasks")
    assert (reply.status_code, reply.json()["error"]["code"]) == (500, "internal")
    assert "relation" not in reply.text


async def test_one_line_is_logged_for_each_request(settings: Settings) -> None:
    """With method, route, status, time, request and account, and what went wrong; never a key or a signature."""
    program = """
import asyncio, json, sys
from burnish import log
from burnish.settings import read
from native.surface import visit
async def main():
    async with visit(read({}, json.loads(sys.argv[1]))) as visitor:
        upload = await visitor.upload(b"abc")
        await visitor.http.get(upload["access_url"])
        await visitor.http.get("/v1/tasks/x", headers={"X-Api-Key": visitor.secret})
        async with visitor.resources.db.transaction() as tx:
            await tx.execute("DROP TABLE tasks")
        await visitor.http.get("/v1/tasks")
        print(visitor.secret, upload["access_url"], visitor.account_id)
log.start(level="info", format="json")
asyncio.run(main())
"""
    options = {
        "data": str(settings.data),
        "database.url": settings.database.url,
        "secret_keys": settings.secret_keys,
    }
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", program, json.dumps(options),
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
        env={"PYTHONPATH": str(Path(__file__).parents[1])},
    )  # fmt: skip
    out, err = await process.communicate()
    secret, url, account = out.decode().split()
    lines = [json.loads(line) for line in err.decode().splitlines()]
    requests = [line for line in lines if line["event"] == "request"]
    assert [(line["method"], line["route"], line["status"]) for line in requests] == [
        ("POST", "/v1/uploads", 201),
        ("PUT", "/v1/files/{name}", 200),
        ("GET", "/v1/files/{name}", 200),
        ("GET", "/v1/tasks/{id}", 404),
        ("GET", "/v1/tasks", 500),
    ]
    assert all(line["request_id"].startswith("req_") and line["ms"] > 0 for line in requests)
    assert [line.get("account") for line in requests] == [account, None, None, account, account]
    assert [line.get("code") for line in requests] == [None, None, None, "not_found", "internal"]
    (failure,) = [line for line in lines if line["event"] == "request_failed"]
    assert failure["request_id"] == requests[-1]["request_id"]
    assert "UndefinedTable" in failure["exception"]
    assert secret not in err.decode()
    assert parse_qs(urlsplit(url).query)["signature"][0] not in err.decode()


# --- bad days -----------------------------------------------------------------------------------------------------


class Line:
    """The way to the database: a relay that can be cut."""

    def __init__(self, url: str, folder: Path) -> None:
        parts = urlsplit(url)
        self._query = {name: values[0] for name, values in parse_qs(parts.query).items()}
        self._folder = folder
        self.url = urlunsplit(parts._replace(query=urlencode(self._query | {"host": str(folder)})))
        self._pipes: set[asyncio.StreamWriter] = set()
        self._server: asyncio.Server | None = None

    async def mend(self) -> None:
        self._server = await asyncio.start_unix_server(self._relay, self._folder / ".s.PGSQL.5432")

    async def cut(self) -> None:
        assert self._server is not None
        self._server.close()
        for writer in tuple(self._pipes):
            writer.transport.abort()
        await self._server.wait_closed()

    async def _relay(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there = await asyncio.open_unix_connection(f"{self._query['host']}/.s.PGSQL.5432")
        self._pipes |= {writer, there[1]}
        with contextlib.suppress(OSError):
            await asyncio.gather(self._pump(reader, there[1]), self._pump(there[0], writer))
        self._pipes -= {writer, there[1]}

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while chunk := await reader.read(65_536):
            writer.write(chunk)
            await writer.drain()
        writer.close()


async def test_503_while_the_database_is_away(settings: Settings, tmp_path: Path) -> None:
    """Every operation that needs it says so and when to try again; the process lives, and goes on when it is back."""
    line = Line(settings.database.url, tmp_path)
    await line.mend()
    settings = dataclasses.replace(settings, database=dataclasses.replace(settings.database, url=line.url))
    async with visit(settings) as visitor:
        task, upload = await visitor.submit(), await visitor.promise(b"abc")
        await line.cut()
        for method, path, body in (
            ("POST", "/v1/tasks", {"model": "noop", "input": {}}),
            ("GET", f"/v1/tasks/{task['id']}", None),
            ("GET", "/v1/tasks", None),
            ("POST", f"/v1/tasks/{task['id']}/cancel", None),
            ("POST", "/v1/uploads", {"filename": "a", "content_type": "image/png", "size_bytes": 3}),
            ("GET", f"/v1/uploads/{upload['id']}", None),
            ("PUT", upload["url"], None),
            ("GET", upload["access_url"], None),
        ):
            reply = await visitor.http.request(method, path, json=body)
            error = reply.json()["error"]
            assert (reply.status_code, error["code"], error["retryable"]) == (
                503,
                "database_unavailable",
                True,
            ), path
            assert int(reply.headers["retry-after"]) >= 1
        assert (await visitor.http.get("/health")).json() == {"status": "alive"}
        assert "database" in (await visitor.http.get("/ready")).json()["error"]["details"]["missing"]
        assert (await visitor.http.get("/metrics")).status_code == 200
        await line.mend()
        assert (await visitor.read(task["id"]))["id"] == task["id"]
        await visitor.submit()
        await until(visitor.resources.db.news._listening.is_set)
    await line.cut()


async def test_ready_names_what_is_missing(visitor: Visitor) -> None:
    """Ready when the database and the storage answer and a worker was seen in the last half minute."""

    async def missing() -> list[str]:
        reply = await visitor.http.get("/ready")
        assert reply.status_code == 503
        assert int(reply.headers["retry-after"]) >= 1
        names: list[str] = reply.json()["error"]["details"]["missing"]
        return names

    async def worker_seen(seconds_ago: float) -> None:
        seen_at = visitor.resources.clock.now() - timedelta(seconds=seconds_ago)
        async with visitor.resources.db.transaction() as tx:
            await tx.execute("DELETE FROM workers")
            await tx.execute("INSERT INTO workers VALUES (gen_random_uuid(), 'here', 1, $1)", seen_at)

    async def is_ready() -> bool:
        return (await visitor.http.get("/ready")).status_code == 200

    assert await missing() == ["worker"]
    await worker_seen(31)
    assert await missing() == ["worker"]
    await worker_seen(1)
    await until(is_ready)  # an answer serves for a second
    reply = await visitor.http.get("/ready")
    assert (reply.status_code, reply.json()) == (200, {"status": "ready"})
    folder = visitor.resources.settings.data / "blobs"
    folder.rename(folder.with_name("elsewhere"))
    folder.write_text("in the way")

    async def is_missed() -> bool:
        return not await is_ready()

    await until(is_missed)
    assert await missing() == ["storage"]


async def test_anonymous_questions_take_no_connections_from_tasks(visitor: Visitor) -> None:
    """However many ask, and though the database hangs: each question is under way once, all are answered, work goes on."""
    async with visitor.resources.db.transaction() as tx:
        await tx.execute("LOCK TABLE workers IN ACCESS EXCLUSIVE MODE")
        asked = [visitor.http.get("/ready") for _ in range(60)]
        replies = await asyncio.gather(*asked, *(visitor.http.get("/metrics") for _ in range(60)))
        assert [reply.status_code for reply in replies] == [503] * 60 + [200] * 60
        assert replies[0].json()["error"]["details"]["missing"] == ["worker"]
        waiting = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
        assert await tx.fetchval(waiting) == 1
        await visitor.submit()


async def test_the_front_leads_to_the_reference(visitor: Visitor) -> None:
    """Who opens the address in a browser is sent to /docs."""
    for method in ("GET", "HEAD"):
        reply = await visitor.http.request(method, "/")
        assert (reply.status_code, reply.headers["location"], reply.content) == (303, "/docs", b"")


async def test_a_method_is_called_by_its_name(visitor: Visitor) -> None:
    """TRACE is told as TRACE; what nobody has specified is OTHER."""
    for method, told_ in (("TRACE", "not TRACE"), ("BREW", "not OTHER")):
        reply = await visitor.http.request(method, "/v1/tasks")
        assert reply.status_code == 405
        assert told_ in reply.json()["error"]["message"]


# --- the head of a request ----------------------------------------------------------------------------------------


async def spoken(visitor: Visitor, *said: bytes) -> bytes:
    """What a connection answers until it is closed, when it is told this."""
    url = urlsplit(visitor.resources.settings.public_url)
    reader, writer = await asyncio.open_connection(url.hostname, url.port)
    try:
        with contextlib.suppress(ConnectionError):
            for part in said:
                writer.write(part)
                await writer.drain()
        async with asyncio.timeout(20):
            return await reader.read()
    except ConnectionError:
        return b"cut"
    finally:
        writer.transport.abort()


async def test_400_for_a_head_that_is_too_large(guest: Visitor) -> None:
    """64 KiB and 100 headers are enough for everybody, in one piece or in many; nothing is gathered beyond."""
    start, end = b"GET /health HTTP/1.1\r\nHost: x\r\nConnection: close\r\n", b"\r\n"
    assert (await spoken(guest, start, b"a: b\r\n" * 90, end)).startswith(b"HTTP/1.1 200")
    assert (await spoken(guest, start, b"a: " + b"b" * 60_000 + b"\r\n", end)).startswith(b"HTTP/1.1 200")
    for parts in (
        (b"a: b\r\n" * 101,),
        (b"a: " + b"b" * 66_000 + b"\r\n", end),
        (b"a: ", *[b"b" * 10_000] * 40),
        (b"a: b\r\n", b"b: " + b"b" * 40_000 + b"\r\n", b"c: " + b"c" * 40_000 + b"\r\n", end),
    ):
        answer = await spoken(guest, start, *parts)
        assert answer.startswith(b"HTTP/1.1 400") or answer == b"cut"  # it was still sending
    assert (await spoken(guest, b"GET /" + b"x" * 70_000 + b" HTTP/1.1\r\n\r\n"))[:12] in {
        b"HTTP/1.1 400",
        b"cut",
    }


async def test_a_connection_that_never_asks_is_closed(
    guest: Visitor, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A head that does not come to its end in time, or does not begin, ends the connection; a body has its own time."""
    monkeypatch.setattr(BoundedProtocol, "head_seconds", 0.3)
    assert await spoken(guest) == b""
    assert await spoken(guest, b"GET /health HTTP/1.1\r\nHost: x\r\n") == b""
    whole = b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n"
    assert (await spoken(guest, whole + b"GET /hea")).startswith(b"HTTP/1.1 200")
    assert (await spoken(guest, whole, b"\r\n")).startswith(b"HTTP/1.1 200")
    task = await guest.submit()
    reading = await guest.http.get(f"/v1/tasks/{task['id']}?wait=1")
    assert reading.json()["status"] == "queued"


async def test_metrics_count_requests_groups_and_tasks(visitor: Visitor) -> None:
    """By route and status; how many submissions shared a transaction; how many tasks there are in each state."""
    await asyncio.gather(*(visitor.submit() for _ in range(5)))
    await visitor.submit(model="upscale", input={"image": "https://example.com/a.png"})
    await visitor.claim()
    await visitor.http.get("/v1/tasks/x")
    assert await counted(visitor, method="POST", route="/v1/tasks", status="202") == 6
    assert await counted(visitor, method="GET", route="/v1/tasks/{id}", status="404") == 1
    text = (await visitor.http.get("/metrics")).text
    assert 'burnish_group_rows_sum{group="submissions"} 6.0' in text
    for state, model, count in (
        ("queued", "noop", 4.0),
        ("running", "noop", 1.0),
        ("waiting", "upscale", 1.0),
    ):
        labels = f'{{lane="light",model="{model}",state="{state}"}}'
        assert f"burnish_tasks{labels} {count}" in text
        assert f"burnish_oldest_task_seconds{labels} " in text
    assert 'burnish_admissions_total{model="noop",outcome="queued"} 5.0' in text
    assert 'burnish_refusals_total{code="not_found",policy=""} 1.0' in text
    assert "burnish_ledger_imbalance_credits 0.0" in text
    assert "burnish_leases_lost 0.0" in text
    assert "burnish_counters_away 0.0" in text


# --- the client goes, or we do ------------------------------------------------------------------------------------


async def test_a_reader_that_hangs_up_is_waited_for_no_more(guest: Visitor) -> None:
    """When the client of a long poll goes, its wait ends at once and leaves nothing behind."""
    task = await guest.submit()
    news = guest.resources.db.news
    before = set(news._subscribers)
    reading = asyncio.create_task(guest.http.get(f"/v1/tasks/{task['id']}?wait=60"))
    await until(lambda: set(news._subscribers) != before)
    reading.cancel()
    await until(lambda: set(news._subscribers) == before)
    assert await counted(guest, route="/v1/tasks/{id}", status="499") == 1


async def raw(guest: Visitor, head: str, *body: bytes) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """A connection on which this much has been sent."""
    port = guest.resources.settings.http.port
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(f"{head}\r\nHost: burnish\r\n\r\n".encode() + b"".join(body))
    await writer.drain()
    return reader, writer


def put_head(upload: dict[str, Any], *lines: str) -> str:
    parts = urlsplit(upload["url"])
    return "\r\n".join([f"PUT {parts.path}?{parts.query} HTTP/1.1", "Content-Type: image/png", *lines])


async def test_nothing_is_kept_of_an_upload_that_broke_off(guest: Visitor) -> None:
    """A client that goes in the middle of its PUT leaves no bytes, and may try again."""
    content = bytes(4_000_000)
    upload = await guest.promise(content)
    folder = guest.resources.settings.data / "blobs"
    _, writer = await raw(guest, put_head(upload, f"Content-Length: {len(content)}"), content[:3_000_000])
    await until(lambda: any(path.is_file() for path in folder.rglob("*")))
    writer.transport.abort()

    async def cut() -> bool:
        return await counted(guest, route="/v1/files/{name}", status="499") == 1

    await until(cut)
    assert [path for path in folder.rglob("*") if path.is_file()] == []
    assert (
        await guest.http.put(upload["url"], content=content, headers=upload["headers"])
    ).status_code == 200


async def test_408_for_a_body_that_stalls(settings: Settings) -> None:
    """An upload, or a JSON body, of which nothing more comes is cut after the idle time."""
    settings = dataclasses.replace(settings, http=dataclasses.replace(settings.http, idle_seconds=1))
    async with visit_over_sockets(settings) as guest:
        upload = await guest.promise(b"abcdef")
        json_head = "POST /v1/tasks HTTP/1.1\r\nContent-Type: application/json\r\nContent-Length: 9\r\n"
        heads = (put_head(upload, "Content-Length: 6"), f"{json_head}Authorization: Bearer {guest.secret}")
        for head in heads:
            reader, writer = await raw(guest, head, b"abc")
            assert (await reader.readline()).startswith(b"HTTP/1.1 408 ")
            assert b"body_stalled" in await reader.read(4096)
            writer.transport.abort()


async def test_a_refused_upload_is_not_asked_for_its_bytes(guest: Visitor) -> None:
    """With `Expect: 100-continue` a PUT that breaks its promise is refused before a byte is sent."""
    upload = await guest.promise(b"abc")
    reader, writer = await raw(guest, put_head(upload, "Content-Length: 4", "Expect: 100-continue"))
    assert (await reader.readline()).startswith(b"HTTP/1.1 422 ")
    writer.transport.abort()


async def test_a_download_that_nobody_takes_is_cut(settings: Settings) -> None:
    """A client that stops reading holds its download for the idle time and no longer."""
    settings = dataclasses.replace(settings, http=dataclasses.replace(settings.http, idle_seconds=1))
    async with visit_over_sockets(settings) as guest:
        upload = await guest.upload(bytes(30_000_000))
        parts = urlsplit(upload["access_url"])
        _, writer = await raw(guest, f"GET {parts.path}?{parts.query} HTTP/1.1")

        async def cut() -> bool:
            return await counted(guest, route="/v1/files/{name}", status="499") == 1

        await until(cut)
        writer.transport.abort()


async def test_a_download_that_ends_before_it_begins_is_closed(visitor: Visitor) -> None:
    """Where the reply cannot even be started, what was opened in the storage is closed."""
    closed = False

    async def chunks() -> AsyncIterator[bytes]:
        nonlocal closed
        try:
            yield b"a"
            yield b"b"
        finally:
            closed = True

    async def gone(_message: Message) -> None:
        raise asyncio.CancelledError

    async def receive() -> Message:
        return {"type": "http.disconnect"}

    opened = chunks()
    reply = Stream(200, await anext(opened), opened, 2, 1.0, ())
    with pytest.raises(asyncio.CancelledError):
        await reply.send(Request(visitor.app.state, {"type": "http", "method": "GET"}, receive), gone)
    assert closed


async def test_draining_refuses_and_lets_waiters_answer(guest: Visitor) -> None:
    """Once the service stops, new work gets 503 with Retry-After, long polls answer with the task as it stands."""
    task = await guest.submit()
    news = guest.resources.db.news
    reading = asyncio.create_task(guest.http.get(f"/v1/tasks/{task['id']}?wait=60"))
    await until(lambda: any(name.startswith("t:") for name in news._subscribers))
    guest.app.state.draining = True
    assert (await reading).json()["status"] == "queued"
    reply = await guest.http.post("/v1/tasks", json={"model": "noop", "input": {}})
    assert (reply.status_code, reply.json()["error"]["code"]) == (503, "draining")
    assert int(reply.headers["retry-after"]) >= 1
    assert (await guest.http.get("/health")).status_code == 200
    assert (await guest.http.get("/ready")).status_code == 503
    assert not any(name.startswith("t:") for name in news._subscribers)


def test_every_operation_tells_its_codes() -> None:
    """An operation with a key says what a wrong key is told; one with a scope, that it may be missing."""
    for path, operations in DOCUMENT["paths"].items():
        for operation in operations.values():
            codes = {
                code for response in operation["responses"].values() for code in response.get("x-codes", ())
            }
            assert "internal" in codes, path
            assert ("unknown_key" in codes) is bool(operation["security"]), path
            assert ("scope_missing" in codes) is ("x-scope" in operation), path
