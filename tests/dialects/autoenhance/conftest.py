"""A service without a worker, and a studio that is a customer of its Autoenhance API."""

import dataclasses
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from uuid import UUID

import httpx
import pytest

from burnish.credits.find import get_credits
from burnish.credits.grant import grant
from burnish.keys.issue import issue_key
from burnish.keys.open import open_account
from burnish.settings import Settings
from burnish.tasks.audit import audit
from native.surface import Visitor, visit

Open = Callable[..., Awaitable["Studio"]]


@dataclass
class Studio:
    """A customer: a metered account with a key."""

    visitor: Visitor
    http: httpx.AsyncClient
    account_id: UUID
    secret: str

    async def call(self, method: str, path: str, *, key: str | None = "", **options: Any) -> httpx.Response:
        """`key`: another than its own, or None for none."""
        headers = dict(options.pop("headers", {}))
        if key is not None:
            headers["x-api-key"] = key or self.secret
        return await self.http.request(method, f"/autoenhance{path}", headers=headers, **options)

    async def ok(self, method: str, path: str, **options: Any) -> dict[str, Any]:
        reply = await self.call(method, path, **options)
        assert reply.status_code == 200, reply.text
        found: dict[str, Any] = reply.json()
        return found

    async def register(self, headers: dict[str, str] | None = None, **asked: Any) -> dict[str, Any]:
        body = {"image_name": "a.jpg"} | asked
        return await self.ok("POST", "/v3/images/", json=body, headers=headers or {})

    async def put(self, url: str, content: bytes = b"123456", **headers: str) -> httpx.Response:
        parts = urlsplit(url)
        return await self.http.put(f"{parts.path}?{parts.query}", content=content, headers=headers)

    async def upload(self, **asked: Any) -> dict[str, Any]:
        """An image whose bytes are here and were looked at: 1200 x 800 pixels."""
        image = await self.register(**asked)
        assert (await self.put(image["upload_url"])).status_code == 200
        await self.visitor.arrive(type="image/jpeg", width=1200, height=800)
        return image

    async def enhanced(self, content: bytes = b"enhanced", **asked: Any) -> dict[str, Any]:
        """An image that was processed."""
        image = await self.upload(**asked)
        await self.visitor.succeed(content, "a-enhance.jpg", type="image/jpeg", width=1200, height=800)
        return image

    async def image(self, image_id: str, **options: Any) -> dict[str, Any]:
        return await self.ok("GET", f"/v3/images/{image_id}", **options)

    async def download(self, image_id: str, **options: Any) -> httpx.Response:
        return await self.call("GET", f"/v3/images/{image_id}/enhanced?preview=false", **options)

    async def credits(self) -> dict[str, int]:
        resources = self.visitor.resources
        found = await get_credits(resources.db, self.account_id, resources.clock.now())
        return {"available": found.available, "held": found.held, "charged": found.charged}

    async def give(self, credits_: int) -> None:
        resources = self.visitor.resources
        await grant(
            resources.db, self.account_id, credits_, kind="paid", idempotency_key=f"{credits_}",
            now=resources.clock.now(),
        )  # fmt: skip

    async def pass_time(self, seconds: float) -> None:
        db = self.visitor.resources.db
        async with db.transaction() as tx:
            await tx.execute("UPDATE clock SET ahead = ahead + make_interval(secs => $1)", float(seconds))
        await db._hear_time()


@pytest.fixture
async def opened(settings: Settings, tmp_path: Path) -> AsyncIterator[Open]:
    """A service whose studio is under a plan in TOML; the doctor finds nothing in the end."""
    entered: list[Any] = []

    async def enter(plan: str = "", **http: Any) -> Studio:
        file = tmp_path / "plans.toml"
        file.write_text(f"[owner]\nmetered = false\n[studio]\n{plan}")
        changed = dataclasses.replace(
            settings, plans=str(file), http=dataclasses.replace(settings.http, wait_seconds=1),
            **{name: dataclasses.replace(getattr(settings, name), **value) for name, value in http.items()},
        )  # fmt: skip
        visiting = visit(changed)
        visitor = await visiting.__aenter__()
        resources = visitor.resources
        account = await open_account(
            resources.db, resources.plans, "studio", plan="studio", now=resources.clock.now()
        )
        _, secret = await issue_key(resources.db, account="studio", now=resources.clock.now())
        client = httpx.AsyncClient(transport=httpx.ASGITransport(visitor.app), base_url="http://studio")
        entered.append((visiting, visitor, client))
        return Studio(visitor, client, account.id, secret)

    yield enter
    for visiting, visitor, client in entered:
        assert await audit(visitor.resources.db, visitor.resources.plans) == []
        await client.aclose()
        await visiting.__aexit__(None, None, None)


@pytest.fixture
async def studio(opened: Open) -> Studio:
    return await opened()
