"""The whole service over HTTP without a worker, for the tests of `web` and of the native API.

`Visitor` is a client with a key. Every reply that it gets is held to the OpenAPI document: the status is one that is
written down, a refusal's code too, and a body has the members of its type, no more and no fewer.
"""

import asyncio
import contextlib
import dataclasses
import re
import socket
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from datetime import timedelta
from hashlib import sha256
from typing import Any
from uuid import UUID

import httpx
import msgspec
import uvicorn

from burnish.dialects.native import errors
from burnish.dialects.native.table import OPERATIONS
from burnish.ids import from_wire, new_id
from burnish.keys.issue import issue_key
from burnish.keys.store import ensure_account
from burnish.resources import Resources, open_resources
from burnish.server import PAGES, build_app, document
from burnish.settings import Settings
from burnish.tasks import lease
from burnish.tasks.arrive import Seen
from burnish.tasks.finish import Ending
from burnish.tasks.task import LIGHT, Claimed, OutputRecord
from burnish.uploads.blob import OUTPUT, Blob
from burnish.uploads.keep import keep_object
from burnish.web.operation import Operation
from burnish.web.protocol import BoundedProtocol
from burnish.web.surface import App

DOCUMENT = document("http://127.0.0.1")
_PATTERNS = [
    (re.compile(re.sub(r"\{\w+\}", "[^/]+", operation.path) + r"\Z"), operation)
    for operation in (*OPERATIONS, *PAGES)
]


@dataclass
class Visitor:
    """A service, and a client of it with a key that may do everything."""

    resources: Resources
    app: App
    http: httpx.AsyncClient
    secret: str
    account_id: UUID

    async def new_key(self, **options: Any) -> str:
        """The secret of another key; of the same account unless `account` says otherwise, which is made as the owner's."""
        if "account" in options:
            async with self.resources.db.transaction() as tx:
                await ensure_account(tx, new_id(), options["account"], self.resources.clock.now())
        _, secret = await issue_key(self.resources.db, now=self.resources.clock.now(), **options)
        return secret

    def using(self, secret: str) -> dict[str, str]:
        return {"Authorization": f"Bearer {secret}"}

    # --- what clients do --------------------------------------------------------------------------------------

    async def submit(self, **body: Any) -> dict[str, Any]:
        """A task as it was admitted; a no-op unless the body says otherwise."""
        reply = await self.http.post("/v1/tasks", json={"model": "noop", "input": {}} | body)
        assert reply.status_code == 202, reply.text
        task: dict[str, Any] = reply.json()
        return task

    async def read(self, task_id: str) -> dict[str, Any]:
        reply = await self.http.get(f"/v1/tasks/{task_id}")
        assert reply.status_code == 200, reply.text
        task: dict[str, Any] = reply.json()
        return task

    async def promise(self, content: bytes, **body: Any) -> dict[str, Any]:
        """A promised upload for these bytes."""
        asked = {"filename": "photo.png", "content_type": "image/png", "size_bytes": len(content)} | body
        reply = await self.http.post("/v1/uploads", json=asked)
        assert reply.status_code == 201, reply.text
        upload: dict[str, Any] = reply.json()
        return upload

    async def upload(self, content: bytes, **body: Any) -> dict[str, Any]:
        """The same, with the bytes sent."""
        upload = await self.promise(content, **body)
        reply = await self.http.put(upload["url"], content=content, headers=upload["headers"])
        assert reply.status_code == 200, reply.text
        return upload

    # --- what workers do --------------------------------------------------------------------------------------

    async def claim(self) -> Claimed:
        seconds = self.resources.settings.tasks.lease_seconds
        (claimed,) = await lease.claim(self.resources.db, LIGHT, 1, seconds)
        return claimed

    async def arrive(self, **seen: Any) -> bool:
        """Claim the waiting task whose bytes can be had, and say what they are."""
        seconds = self.resources.settings.tasks.lease_seconds
        (claimed,) = await lease.claim_fetches(self.resources.db, 1, seconds, by_url=False)
        facts: dict[str, Any] = {"type": "image/png", "width": 3, "height": 2, "frames": 1} | seen
        return await self.resources.arrivals.arrive(Seen(claimed, **facts))

    async def end(self, reason: str | None = None, message: str | None = None) -> None:
        assert await self.resources.endings.end(Ending(await self.claim(), reason, message))

    async def succeed(self, content: bytes, filename: str = "photo-2x.png", **record: Any) -> None:
        """Claim a task and end it with one output."""
        await self.succeed_with((content, {"filename": filename} | record))

    async def succeed_with(self, *outputs: tuple[bytes, dict[str, Any]]) -> None:
        """Claim a task and end it with these: bytes, and what is told of them, a picture's facts unless it says otherwise."""
        task = await self.claim()
        made = []
        for content, told in outputs:
            picture = {"filename": "photo-2x.png", "type": "image/png", "width": 6, "height": 4}
            facts: dict[str, Any] = picture | {"size_bytes": len(content)} | told
            blob = await self._output(task, content, facts)
            made.append((OutputRecord(id=blob.id, **facts), blob))
        assert await self.resources.endings.end(Ending(task, outputs=made))

    async def _output(self, task: Claimed, content: bytes, facts: dict[str, Any]) -> Blob:
        async def chunks() -> AsyncIterator[bytes]:
            yield content

        resources = self.resources
        kept = await keep_object(resources.db, resources.blobs, chunks(), task.id, max_bytes=len(content))
        now = resources.clock.now()
        return Blob(
            new_id(), task.account_id, task.environment, OUTPUT, task.id, facts["filename"], None, None, None,
            kept.key, len(content), sha256(content).digest(), now, facts["type"], facts["width"], facts["height"], 1,
            None, now, now + timedelta(hours=1),
        )  # fmt: skip


def task_uuid(task: dict[str, Any]) -> UUID:
    found = from_wire("task", task["id"])
    assert found is not None
    return found


@contextlib.asynccontextmanager
async def visit(settings: Settings) -> AsyncIterator[Visitor]:
    """The app, called in this process."""
    async with open_resources(settings) as resources:
        app = build_app(resources)
        transport = httpx.ASGITransport(app, raise_app_exceptions=False)
        async with _visitor(
            resources, app, httpx.AsyncClient(transport=transport, base_url=settings.public_url)
        ) as visitor:
            yield visitor


@contextlib.asynccontextmanager
async def visit_over_sockets(settings: Settings) -> AsyncIterator[Visitor]:
    """The app behind the real server, on a port of its own."""
    with contextlib.closing(socket.create_server(("127.0.0.1", 0))) as sock:
        http = dataclasses.replace(settings.http, port=sock.getsockname()[1])
        settings = dataclasses.replace(settings, http=http)
        async with open_resources(settings) as resources:
            app = build_app(resources)
            server = _Server(
                uvicorn.Config(
                    app, lifespan="off", log_config=None, access_log=False, ws="none", http=BoundedProtocol
                )
            )
            serving = asyncio.create_task(server.serve(sockets=[sock]))
            async with _visitor(resources, app, httpx.AsyncClient(base_url=settings.public_url)) as visitor:
                yield visitor
            server.should_exit = True
            await serving


class _Server(uvicorn.Server):
    """Leaves signals to the tests."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


@contextlib.asynccontextmanager
async def _visitor(resources: Resources, app: App, http: httpx.AsyncClient) -> AsyncIterator[Visitor]:
    key, secret = await issue_key(resources.db, now=resources.clock.now())
    async with http:
        http.headers["Authorization"] = f"Bearer {secret}"
        http.event_hooks["response"].append(hold_to_the_document)
        yield Visitor(resources, app, http, secret, key.account_id)


# --- every reply is one that is written down ----------------------------------------------------------------------


async def hold_to_the_document(response: httpx.Response) -> None:
    """Fails on a status, a code or a member that the document does not know."""
    assert re.fullmatch("req_[0-9a-z]{26}", response.headers["request-id"])
    await response.aread()
    operation = _operation(response)
    documented = operation.answers if operation else {}
    if response.status_code not in documented and (response.status_code >= 400 or operation):
        _is_a_known_refusal(operation, response)
    type_ = documented.get(response.status_code)
    if isinstance(type_, type) and response.request.method != "HEAD":
        assert response.headers["content-type"] == "application/json"
        _has_the_members_of(type_, response.content)


def _operation(response: httpx.Response) -> Operation | None:
    method = "GET" if response.request.method == "HEAD" else response.request.method
    found = (
        operation
        for pattern, operation in _PATTERNS
        if operation.method == method and pattern.match(response.request.url.path)
    )
    return next(found, None)


def _is_a_known_refusal(operation: Operation | None, response: httpx.Response) -> None:
    assert response.status_code >= 400
    if response.request.method == "HEAD" or response.headers["content-type"] == "application/problem+json":
        return
    _has_the_members_of(errors.ErrorReply, response.content)
    error = response.json()["error"]
    assert error["request_id"] == response.headers["request-id"]
    assert errors.CODES[error["code"]].status == response.status_code
    assert response.headers.get("retry-after") == (
        str(error["retry_after"]) if error["retry_after"] else None
    )
    if operation is not None:
        assert error["code"] in codes_of(operation)


def _has_the_members_of(type_: type[Any], body: bytes) -> None:
    assert msgspec.json.decode(
        msgspec.json.encode(msgspec.json.decode(body, type=type_))
    ) == msgspec.json.decode(body)


def codes_of(operation: Operation) -> set[str]:
    """The codes that the document gives for this operation."""
    path = DOCUMENT["paths"][operation.path][operation.method.lower()]
    return {code for response in path["responses"].values() for code in response.get("x-codes", ())}
