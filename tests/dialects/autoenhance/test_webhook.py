"""The account's webhook: what is sent, with which token, and when it is set on the command line."""

import asyncio
import json
import os
from collections.abc import AsyncIterator
from typing import Any
from uuid import UUID

import pytest
from aiohttp import web

from burnish.dialects.autoenhance import webhook
from burnish.dialects.autoenhance.image import NAME
from burnish.dialects.autoenhance.webhook import AutoenhanceWords
from burnish.dialects.native.deliveries import NativeWords
from burnish.errors import Invalid
from burnish.settings import Settings
from burnish.storage.postgres import Database
from burnish.uploads.sign import Links
from burnish.webhooks.deliver import Deliverer, Words
from burnish.webhooks.event import NATIVE
from burnish.webhooks.store import list_endpoints
from burnish.workers.deliver import Delivering
from cli.typed import burnish
from dialects.autoenhance.conftest import Studio
from waiting import until
from webhooks.conftest import Receiver, receiving, status
from webhooks.test_receivers import nothing_due


@pytest.fixture
def environ(settings: Settings) -> dict[str, str]:
    """Of a machine whose database is this test's."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith("BURNISH_")}
    return clean | {
        "BURNISH_DATABASE_URL": settings.database.url,
        "BURNISH_SECRET_KEYS": settings.secret_keys[0],
        "BURNISH_DATA": str(settings.data),
        "BURNISH_LOG_FORMAT": "json",
    }


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    async with receiving() as one:
        yield one


@pytest.fixture
async def told(studio: Studio, receiver: Receiver) -> AsyncIterator[Studio]:
    """A studio whose webhook is set, and a worker that delivers."""
    resources = studio.visitor.resources
    links = Links(resources.secret_keys, resources.settings.public_url)
    words: dict[str, Words] = {
        NATIVE: NativeWords(resources.reads, links, resources.settings.public_url),
        NAME: AutoenhanceWords(resources.db, resources.reads, resources.clock),
    }
    lanes = Delivering(resources, Deliverer(resources.outbound, resources.seal, resources.clock, words))
    running = [asyncio.create_task(lanes.run(sound=sound)) for sound in (True, False)]
    await set_(studio, url=receiver.url, token="t0ken")
    await receiver.wait_for(1)
    yield studio
    for lane in running:
        lane.cancel()
    await asyncio.gather(*running, return_exceptions=True)


async def set_(studio: Studio, **options: Any) -> None:
    resources = studio.visitor.resources
    await webhook.set_webhook(
        resources.db,
        resources.seal,
        resources.outbound,
        studio.account_id,
        now=resources.clock.now(),
        **options,
    )


async def test_saving_it_is_told_to_it(told: Studio, receiver: Receiver) -> None:
    """`webhook_updated`, with the token as it is in Authorization."""
    headers, body = receiver.got[0]
    assert json.loads(body) == {"event": "webhook_updated"}
    assert (headers["authorization"], headers["content-type"]) == ("t0ken", "application/json")
    await set_(told, token="another")
    await receiver.wait_for(2)
    assert receiver.got[1][0]["authorization"] == "another"
    await set_(told, token="")
    await receiver.wait_for(3)
    assert "authorization" not in receiver.got[2][0]


async def test_saving_it_while_it_is_told_tells_nothing_twice(told: Studio, receiver: Receiver) -> None:
    """What a receiver has been sent and has not answered yet stays with the worker that sent it."""
    answered = asyncio.Event()

    async def late(_request: web.Request) -> web.Response:
        await answered.wait()
        return web.Response(status=204)

    receiver.answer = late
    await set_(told, token="another")
    await receiver.wait_for(2)
    await set_(told, token="a third")
    answered.set()
    await until(lambda: nothing_due(told.visitor))
    assert [headers["authorization"] for headers, _ in receiver.got] == ["t0ken", "another", "a third"]


async def test_every_image_is_told_of(told: Studio, receiver: Receiver) -> None:
    """Processed or in error, with whether its order is still under way; nothing else is sent."""
    first = await told.upload()
    second = await told.upload(order_id=first["order_id"])
    await told.visitor.succeed(b"made")
    await receiver.wait_for(2)
    await told.visitor.end("decode_failed", "broken")
    await receiver.wait_for(3)
    assert [json.loads(body) for _, body in receiver.got[1:]] == [
        {"event": "image_processed", "image_id": first["image_id"], "error": False, "order_id": first["order_id"],
         "order_is_processing": True},
        {"event": "image_processed", "image_id": second["image_id"], "error": True, "order_id": first["order_id"],
         "order_is_processing": False},
    ]  # fmt: skip
    assert {headers["authorization"] for headers, _ in receiver.got} == {"t0ken"}


async def test_an_image_over_the_days_limit_is_told_of(told: Studio, receiver: Receiver) -> None:
    """It is in error the moment that it is registered."""
    from burnish.keys.open import set_terms

    resources = told.visitor.resources
    await set_terms(
        resources.db, resources.plans, "studio",
        overrides={"windows": {"day": {"limit": 0, "on_limit": "error_state"}}},
    )  # fmt: skip
    image = await told.register()
    await receiver.wait_for(2)
    said = json.loads(receiver.got[1][1])
    assert (said["image_id"], said["error"], said["order_is_processing"]) == (image["image_id"], True, False)


async def test_a_receiver_that_fails_is_tried_again(told: Studio, receiver: Receiver) -> None:
    """With the same bytes."""
    receiver.answer = status(500)
    await told.enhanced()
    await receiver.wait_for(2)
    receiver.answer = status(200)
    await told.pass_time(60)
    told.visitor.resources.db.news.announce(["deliver"])
    await receiver.wait_for(3)
    assert receiver.got[1][1] == receiver.got[2][1]


async def test_native_endpoints_hear_in_their_own_words(told: Studio, receiver: Receiver) -> None:
    """And the vendor's webhook hears nothing of tasks that came another way."""
    async with receiving() as native:
        reply = await told.http.post(
            "/v1/webhooks", json={"url": native.url, "events": ["task.succeeded"]},
            headers={"Authorization": f"Bearer {told.secret}"},
        )  # fmt: skip
        assert reply.status_code == 201, reply.text
        await told.enhanced()
        await native.wait_for(1)
        await receiver.wait_for(2)
        assert json.loads(native.got[0][1])["type"] == "task.succeeded"
        assert [json.loads(body)["event"] for _, body in receiver.got] == [
            "webhook_updated",
            "image_processed",
        ]


async def test_where_it_may_not_be(studio: Studio) -> None:
    """An address that the guard refuses, or a token alone."""
    with pytest.raises(Invalid):
        await set_(studio, url="http://169.254.169.254/hook")
    with pytest.raises(Invalid):
        await set_(studio, token="t")


async def test_it_is_set_on_the_command_line(environ: dict[str, str], db: Database) -> None:
    """With its token and the version; kept sealed; taken away by `none`."""
    assert burnish(environ, "accounts", "create", "studio").returncode == 0
    hook = (
        "--autoenhance-webhook",
        "https://example.com/hook",
        "--autoenhance-webhook-token",
        "s3cret-token",
    )
    made = burnish(environ, "accounts", "set", "studio", *hook, "--autoenhance-api-version", "2025-05-05")
    assert (made.returncode, made.stderr) == (0, "")
    assert "s3cret-token" not in made.stdout
    async with db.reading() as connection:
        accounts = await connection.fetch("SELECT id, test_of FROM accounts ORDER BY test_of NULLS FIRST")
        kept = [await _endpoints(connection, row["id"]) for row in accounts]
        values = await connection.fetch("SELECT name, value FROM account_settings")
    assert sorted(environment for found in kept for environment, _, _ in found) == ["dev", "live", "test"]
    assert {url for found in kept for _, url, _ in found} == {"https://example.com/hook"}
    assert all(b"s3cret" not in secret for found in kept for _, _, secret in found)
    assert [(row["name"], b"2025" in row["value"]) for row in values] == [
        ("autoenhance.api_version", False)
    ] * 2

    for arguments in (
        ("--autoenhance-webhook", "http://127.0.0.1/hook"),
        ("--autoenhance-api-version", "newest"),
        ("--autoenhance-webhook", "none", "--autoenhance-webhook-token", "x"),
    ):
        refused = burnish(environ, "accounts", "set", "studio", *arguments)
        assert refused.returncode != 0
        assert "Traceback" not in refused.stderr
    gone = burnish(
        environ,
        "accounts",
        "set",
        "studio",
        "--autoenhance-webhook",
        "none",
        "--autoenhance-api-version",
        "none",
    )
    assert gone.returncode == 0, gone.stderr
    async with db.reading() as connection:
        assert await connection.fetchval("SELECT count(*) FROM endpoints") == 0
        assert await connection.fetchval("SELECT count(*) FROM account_settings") == 0


async def _endpoints(connection: Any, account_id: UUID) -> list[tuple[str, str, bytes]]:
    return [
        (environment, one.url, one.secret)
        for environment in ("live", "test", "dev")
        for one in await list_endpoints(connection, account_id, environment, NAME)
    ]
