"""Who is refused by what, and what the reply alone tells: every limit in turn, credits, idempotency, quotes, retries."""

import asyncio
import dataclasses
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest

from burnish.credits.grant import grant
from burnish.keys.open import set_terms
from burnish.settings import Settings
from burnish.tasks.audit import audit
from native.surface import Visitor, visit

Pass = Callable[[float], Awaitable[None]]
Open = Callable[[str], Awaitable[Visitor]]
NOOP = {"model": "noop", "input": {}}


@pytest.fixture
async def under(settings: Settings, tmp_path: Path) -> AsyncIterator[Open]:
    """A service whose one plan is this TOML; the doctor finds nothing when the test is over."""
    entered = []

    async def enter(plan: str) -> Visitor:
        file = tmp_path / "plans.toml"
        file.write_text(f"[owner]\nmetered = false\n{plan}")
        visiting = visit(dataclasses.replace(settings, plans=str(file)))
        visitor = await visiting.__aenter__()
        entered.append((visiting, visitor))
        return visitor

    yield enter
    for visiting, visitor in entered:
        assert await audit(visitor.resources.db, visitor.resources.plans) == []
        await visiting.__aexit__(None, None, None)


async def pass_time(visitor: Visitor, seconds: float) -> None:
    """Move the service's time ahead."""
    db = visitor.resources.db
    async with db.transaction() as tx:
        await tx.execute("UPDATE clock SET ahead = ahead + make_interval(secs => $1)", float(seconds))
    await db._hear_time()


async def give(visitor: Visitor, credits_: int, **options: Any) -> None:
    now = visitor.resources.clock.now()
    await grant(
        visitor.resources.db,
        visitor.account_id,
        credits_,
        kind="paid",
        idempotency_key=f"top-up {credits_} {sorted(options.items())}",
        now=now,
        **options,
    )


def limits_of(reply: httpx.Response) -> dict[str, dict[str, int]]:
    """The RateLimit header: name -> {r, t}."""
    found = {}
    for item in reply.headers["ratelimit"].split(", "):
        name, *members = item.split(";")
        found[name.strip('"')] = {key: int(value) for key, value in (m.split("=") for m in members)}
    return found


# --- tasks at once ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("plan", "body", "code", "policy", "scope"),
    [
        ("at_once.account.limit = 2", NOOP, "too_many_tasks", "tasks-at-once", "account"),
        ("at_once.key.limit = 2", NOOP, "too_many_tasks", "key-tasks-at-once", "key"),
        ("at_once.heavy.limit = 2", NOOP | {"model": "noop-heavy"}, "too_many_heavy_tasks", "heavy-tasks-at-once", "account"),
        ("at_once.models.noop.limit = 2", NOOP, "too_many_tasks", "model-tasks-at-once", "account"),
    ],
)  # fmt: skip
async def test_429_at_each_ceiling_tells_all_of_it(
    under: Open, plan: str, body: dict[str, Any], code: str, policy: str, scope: str
) -> None:
    """Which limit, whose, how much, how long to wait and what to do; and when one has ended the next is admitted."""
    visitor = await under(plan)
    first, second = [await visitor.http.post("/v1/tasks", json=body) for _ in range(2)]
    refused = await visitor.http.post("/v1/tasks", json=body)
    error = refused.json()["error"]

    assert (limits_of(first)[policy], limits_of(second)[policy]) == ({"r": 1}, {"r": 0})
    assert (refused.status_code, error["code"], error["retryable"]) == (429, code, True)
    assert limits_of(refused)[policy] == {"r": 0}
    assert f'"{policy}";q=2;qu="concurrent-requests"' in refused.headers["ratelimit-policy"]
    assert int(refused.headers["retry-after"]) >= 1
    assert int(refused.headers["retry-after-ms"]) >= 1000
    assert error["details"] | {"reset": 0} == {
        "policy": policy, "scope": scope, "limit": 2, "used": 2, "remaining": 0, "reset": 0,
        "advice": "lower_concurrency",
    }  # fmt: skip
    await visitor.http.post(first.json()["urls"]["cancel"])
    assert (await visitor.http.post("/v1/tasks", json=body)).status_code == 202


async def test_ceilings_of_a_key_are_its_own(under: Open) -> None:
    """Another key of the account is not held back by them, and the account's ceiling counts both."""
    visitor = await under("at_once.key.limit = 1\nat_once.account.limit = 2")
    other = visitor.using(await visitor.new_key())
    assert (await visitor.http.post("/v1/tasks", json=NOOP)).status_code == 202
    assert (await visitor.http.post("/v1/tasks", json=NOOP)).json()["error"]["details"][
        "policy"
    ] == "key-tasks-at-once"
    assert (await visitor.http.post("/v1/tasks", json=NOOP, headers=other)).status_code == 202
    third = visitor.using(await visitor.new_key())
    refused = (await visitor.http.post("/v1/tasks", json=NOOP, headers=third)).json()["error"]

    assert refused["details"]["policy"] == "tasks-at-once"


async def test_over_a_ceiling_that_queues_a_task_waits_for_a_slot(under: Open) -> None:
    """Admitted without one, started when one is free; a request may ask to be refused instead."""
    visitor = await under('at_once.account = { limit = 1, on_limit = "queue" }')
    first, second = await visitor.submit(), await visitor.submit()
    asked = NOOP | {"on_limit": "reject"}
    assert (await visitor.http.post("/v1/tasks", json=asked)).status_code == 429
    stored = (await visitor.http.post("/v1/tasks", json=NOOP | {"on_limit": "error_state"})).json()
    assert (stored["status"], stored["status_reason"]) == ("failed", "rate_limited")

    await visitor.claim()
    await visitor.http.post(first["urls"]["cancel"])
    await visitor.claim()
    assert (await visitor.read(second["id"]))["status"] == "running"


async def test_the_most_urgent_parked_task_is_next(under: Open) -> None:
    """`priority` orders what an account has parked; equals go by age."""
    visitor = await under('at_once.account = { limit = 1, on_limit = "queue" }')
    await visitor.submit()
    low, high = await visitor.submit(priority=-5), await visitor.submit(priority=5)
    await visitor.end()
    await visitor.end()

    assert (await visitor.read(high["id"]))["status"] == "succeeded"
    assert (await visitor.read(low["id"]))["status"] == "queued"


# --- windows ------------------------------------------------------------------------------------------------------


async def test_429_when_the_day_is_over_says_when_the_next_begins(under: Open) -> None:
    """Far away: `X-Should-Retry: false`; what the plan says of the window is told; and the next day it goes on."""
    visitor = await under("windows.day.limit = 2")
    replies = [await visitor.http.post("/v1/tasks", json=NOOP) for _ in range(3)]
    error = replies[2].json()["error"]
    wait = int(replies[2].headers["retry-after"])

    assert [reply.status_code for reply in replies] == [202, 202, 429]
    assert (error["code"], error["details"]["advice"]) == ("daily_limit_reached", "upgrade_plan")
    assert [limits_of(reply)["day"]["r"] for reply in replies] == [1, 0, 0]
    assert (replies[2].headers.get("x-should-retry") == "false") == (wait > 120)
    await pass_time(visitor, wait - 2)
    assert (await visitor.http.post("/v1/tasks", json=NOOP)).status_code == 429
    await pass_time(visitor, 3)
    assert (await visitor.http.post("/v1/tasks", json=NOOP)).status_code == 202


async def test_an_error_state_is_made_again_after_the_reset(under: Open) -> None:
    """Stored as failed with its reason, at no cost; retry is refused like any task, and taken the next day."""
    visitor = await under('windows.day = { limit = 1, on_limit = "error_state" }')
    await visitor.submit()
    reply = await visitor.http.post("/v1/tasks", json=NOOP)
    failed = reply.json()
    assert reply.status_code == 200
    assert (failed["status"], failed["status_reason"], failed["retryable"]) == (
        "failed",
        "daily_limit_reached",
        True,
    )
    assert "UTC" in failed["status_message"]
    again = (await visitor.http.post(failed["urls"]["retry"])).json()
    assert (again["status"], again["retry_of"]) == ("failed", failed["id"])

    await pass_time(visitor, 86_400)
    again = await visitor.http.post(failed["urls"]["retry"], headers={"Idempotency-Key": "again"})
    assert (again.status_code, again.json()["status"], again.json()["retry_of"]) == (
        202,
        "queued",
        failed["id"],
    )
    replayed = await visitor.http.post(failed["urls"]["retry"], headers={"Idempotency-Key": "again"})
    assert (replayed.json()["id"], replayed.headers["idempotent-replayed"]) == (again.json()["id"], "true")


async def test_409_for_the_retry_of_a_task_that_goes_on_or_went_well(under: Open) -> None:
    """Only what failed or was cancelled is made again."""
    visitor = await under("")
    task = await visitor.submit()
    for _ in range(2):
        refused = await visitor.http.post(task["urls"]["retry"])
        assert (refused.status_code, refused.json()["error"]["code"]) == (409, "task_not_retryable")
        if task["status"] == "queued":
            await visitor.end()
            task = await visitor.read(task["id"])


async def test_failures_of_ours_give_the_day_back(under: Open) -> None:
    """A task that failed by our fault does not count; one that failed by its input does."""
    visitor = await under("windows.day.limit = 1")
    await visitor.submit()
    await visitor.end("internal", "It was us.")
    await visitor.submit()
    await visitor.end("decode_failed", "It was the file.")

    assert (await visitor.http.post("/v1/tasks", json=NOOP)).status_code == 429


async def test_429_for_the_same_file_name_again_and_again(under: Open) -> None:
    """Thirty in an hour; another name is free, and so is this one in the next hour."""
    visitor = await under("windows.same_name = { limit = 3, seconds = 3600 }")
    for _ in range(3):
        await visitor.promise(b"x", filename="IMG_0001.jpg")
    body = {"filename": "IMG_0001.jpg", "content_type": "image/jpeg", "size_bytes": 1}
    refused = await visitor.http.post("/v1/uploads", json=body)
    error = refused.json()["error"]

    assert (refused.status_code, error["code"], error["param"]) == (429, "duplicate_name", "filename")
    assert (error["details"]["advice"], error["details"]["used"]) == ("rename_file", 3)
    await visitor.promise(b"x", filename="IMG_0002.jpg")
    await pass_time(visitor, int(refused.headers["retry-after"]) + 1)
    await visitor.promise(b"x", filename="IMG_0001.jpg")


async def test_of_many_that_register_one_name_exactly_the_limit_is_admitted(under: Open) -> None:
    """However many come at the same time."""
    visitor = await under("windows.same_name = { limit = 5, seconds = 3600 }")
    body = {"filename": "IMG_0001.jpg", "content_type": "image/jpeg", "size_bytes": 1}
    replies = await asyncio.gather(*(visitor.http.post("/v1/uploads", json=body) for _ in range(20)))

    assert sorted(reply.status_code for reply in replies) == [201] * 5 + [429] * 15


# --- rates --------------------------------------------------------------------------------------------------------


async def test_creating_and_reading_have_rates_of_their_own(under: Open) -> None:
    """A polling loop does not use up what creating needs; each refusal says which it was."""
    visitor = await under("rates.create = { limit = 1, burst = 2 }\nrates.read = { limit = 1, burst = 2 }")
    task = await visitor.submit()
    reads = [await visitor.http.get(task["urls"]["self"]) for _ in range(3)]
    refused = reads[2].json()["error"]
    assert (reads[2].status_code, refused["code"]) == (429, "polling_rate_limited")
    assert (refused["details"]["policy"], refused["details"]["advice"]) == ("read-rate", "slow_polling")

    await visitor.submit()
    refused = (await visitor.http.post("/v1/tasks", json=NOOP)).json()["error"]
    assert (refused["code"], refused["details"]["policy"]) == ("rate_limited", "create-rate")


async def test_a_shared_rate_counts_creating_and_reading_together(under: Open) -> None:
    """As the plan says."""
    visitor = await under("rates.shared = { limit = 1, burst = 2 }")
    task = await visitor.submit()
    assert (await visitor.http.get(task["urls"]["self"])).status_code == 200
    refused = (await visitor.http.post("/v1/tasks", json=NOOP)).json()["error"]

    assert refused["details"]["policy"] == "key-rate"


async def test_a_refused_task_spends_request_rate_and_nothing_else(under: Open) -> None:
    """Neither the day nor a slot."""
    visitor = await under(
        "windows.day.limit = 5\nat_once.account.limit = 0\nrates.create = { limit = 60, burst = 9 }"
    )
    reply = await visitor.http.post("/v1/tasks", json=NOOP)

    assert reply.status_code == 429
    assert limits_of(reply)["day"]["r"] == 5
    assert limits_of(reply)["create-rate"]["r"] == 8


# --- rollout ------------------------------------------------------------------------------------------------------


async def test_a_shadow_limit_refuses_nobody_and_is_counted(under: Open) -> None:
    """What it would have refused today stands in GET /v1/limits."""
    visitor = await under(
        'at_once.account = { limit = 1, enforce = "shadow" }\nwindows.day = { limit = 2, enforce = "2999-01-01" }\n'
        'windows.same_name = { limit = 1, seconds = 3600, enforce = "shadow" }'
    )
    for _ in range(4):
        await visitor.submit()
    for _ in range(3):
        await visitor.promise(b"x", filename="IMG_0001.jpg")
    page = (await visitor.http.get("/v1/limits")).json()
    found = {limit["name"]: limit for limit in page["data"]}

    assert found["same-name"]["would_have_refused"] == 2
    metrics = (await visitor.http.get("/metrics")).text
    assert 'burnish_shadow_refusals_total{policy="tasks-at-once"} 3.0' in metrics
    assert (found["tasks-at-once"]["enforce"], found["tasks-at-once"]["would_have_refused"]) == ("shadow", 3)
    assert (found["day"]["enforce"], found["day"]["used"], found["day"]["would_have_refused"]) == (
        "2999-01-01",
        4,
        2,
    )


# --- credits ------------------------------------------------------------------------------------------------------


async def test_credits_are_held_charged_and_released(settings: Settings, tmp_path: Path) -> None:
    """Held when admitted, charged when it went well, returned when not; at zero 402, which is not to be tried again."""
    file = tmp_path / "plans.toml"
    file.write_text("[owner]\nmetered = true\nat_once.account.limit = 2\n")
    async with visit(dataclasses.replace(settings, plans=str(file))) as visitor:
        await give(visitor, 2)
        task = await visitor.submit()
        assert task["cost"] == {"held": 1, "charged": 0, "unit": "task", "quantity": 1, "price_version": 1}
        await visitor.submit()
        refused = await visitor.http.post("/v1/tasks", json=NOOP)
        error = refused.json()["error"]
        assert (refused.status_code, error["code"], error["retryable"]) == (
            402,
            "insufficient_credits",
            False,
        )
        assert "retry-after" not in refused.headers
        assert (error["details"]["required"], error["details"]["remaining"]) == (1, 0)

        await visitor.end()
        assert (await visitor.read(task["id"]))["cost"]["charged"] == 1
        await visitor.end("decode_failed", "It was the file.")
        assert (await visitor.http.post("/v1/tasks", json=NOOP)).status_code == 202
        async with visitor.resources.db.reading() as connection:
            kinds = await connection.fetch("SELECT kind, available, held, charged FROM entries ORDER BY id")
        assert [tuple(row) for row in kinds] == [
            ("grant", 2, 0, 0),
            ("hold", -1, 1, 0),
            ("hold", -1, 1, 0),
            ("charge", 0, -1, 1),
            ("release", 1, -1, 0),
            ("hold", -1, 1, 0),
        ]
        assert await audit(visitor.resources.db, visitor.resources.plans) == []


async def test_the_price_is_set_when_the_bytes_are_here(settings: Settings, tmp_path: Path) -> None:
    """Unseen bytes hold nothing; at arrival the price is held, or the task fails and its day is given back."""
    file = tmp_path / "plans.toml"
    file.write_text("[owner]\nmetered = true\nwindows.day.limit = 2\n")
    async with visit(dataclasses.replace(settings, plans=str(file))) as visitor:
        await give(visitor, 25)
        for size, status, held in (((10, 10), "queued", 10), ((2000, 1500), "failed", 0)):
            upload = await visitor.upload(b"12345")
            task = await visitor.submit(model="upscale", input={"image": upload["id"]})
            assert (task["status"], task["cost"]["held"]) == ("waiting", 0)
            await visitor.arrive(width=size[0], height=size[1])
            task = await visitor.read(task["id"])
            assert (task["status"], task["cost"]["held"]) == (status, held)
        assert task["status_reason"] == "insufficient_credits"
        assert (await visitor.http.get("/v1/limits")).json()["data"][-2]["used"] == 1
        assert await audit(visitor.resources.db, visitor.resources.plans) == []


async def test_max_credits_is_a_promise(settings: Settings, tmp_path: Path) -> None:
    """422 where it is known at once that it costs more; a failed task where only the bytes told."""
    file = tmp_path / "plans.toml"
    file.write_text("[owner]\nmetered = true\n")
    async with visit(dataclasses.replace(settings, plans=str(file))) as visitor:
        await give(visitor, 100)
        refused = await visitor.http.post("/v1/tasks", json=NOOP | {"max_credits": 0})
        assert (refused.status_code, refused.json()["error"]["code"]) == (422, "max_credits_exceeded")
        upload = await visitor.upload(b"12345")
        body = {"model": "upscale", "input": {"image": upload["id"]}, "max_credits": 15}
        task = (await visitor.http.post("/v1/tasks", json=body)).json()
        await visitor.arrive(width=2000, height=1500)
        task = await visitor.read(task["id"])
        assert (task["status"], task["status_reason"]) == ("failed", "insufficient_credits")
        assert "max_credits" in task["status_message"]


# --- idempotency --------------------------------------------------------------------------------------------------


async def test_the_same_request_again_answers_the_same_task(under: Open) -> None:
    """Replayed, and said so; with another body 422; after a day the key is new."""
    visitor = await under("windows.day.limit = 9")
    key = {"Idempotency-Key": "order-1042"}
    first = await visitor.http.post("/v1/tasks", json=NOOP, headers=key)
    again = await visitor.http.post("/v1/tasks", json=NOOP, headers=key)
    other = await visitor.http.post("/v1/tasks", json=NOOP | {"priority": 1}, headers=key)

    assert "idempotent-replayed" not in first.headers
    assert (again.status_code, again.json()["id"], again.headers["idempotent-replayed"]) == (
        202,
        first.json()["id"],
        "true",
    )
    assert (other.status_code, other.json()["error"]["code"]) == (422, "idempotency_key_reused")
    blanks = {"Idempotency-Key": " \torder-1042 "}
    assert (await visitor.http.post("/v1/tasks", json=NOOP, headers=blanks)).json()["id"] == first.json()[
        "id"
    ]
    await visitor.end()
    again = await visitor.http.post("/v1/tasks", json=NOOP, headers=key)
    assert (again.status_code, again.json()["status"]) == (200, "succeeded")
    await pass_time(visitor, 86_401)
    assert (await visitor.http.post("/v1/tasks", json=NOOP, headers=key)).json()["id"] != first.json()["id"]


@pytest.mark.parametrize("deleted", [True, False])
async def test_410_for_the_same_request_when_its_task_is_gone(under: Open, deleted: bool) -> None:
    """Deleted, or expired and not swept yet: a read says no more of it."""
    visitor = await under("")
    key, body = {"Idempotency-Key": "k"}, NOOP | {"retention_seconds": 60}
    task = (await visitor.http.post("/v1/tasks", json=body, headers=key)).json()
    await visitor.end()
    if deleted:
        await visitor.http.delete(task["urls"]["self"])
    else:
        await pass_time(visitor, 61)
    again = await visitor.http.post("/v1/tasks", json=body, headers=key)
    error = again.json()["error"]

    assert (await visitor.http.get(task["urls"]["self"])).status_code == 410
    assert (again.status_code, error["code"]) == (410, "expired")
    assert error["message"] == "The task that this idempotency key made is gone. Use a new key."


async def test_many_at_once_with_one_idempotency_key_make_one_task(under: Open) -> None:
    """Those that come while the first is being decided wait for it, and get its task."""
    visitor = await under("at_once.account.limit = 1")
    key = {"Idempotency-Key": "only-once"}
    replies = await asyncio.gather(
        *(visitor.http.post("/v1/tasks", json=NOOP, headers=key) for _ in range(20))
    )

    assert {reply.status_code for reply in replies} == {202}
    assert len({reply.json()["id"] for reply in replies}) == 1
    assert sum("idempotent-replayed" not in reply.headers for reply in replies) == 1


async def test_a_refusal_leaves_the_idempotency_key_unused(under: Open) -> None:
    """A 429, a 422: the same key is good for the request that is taken."""
    visitor = await under("at_once.account.limit = 1")
    blocker = await visitor.submit()
    key = {"Idempotency-Key": "k"}
    assert (await visitor.http.post("/v1/tasks", json=NOOP, headers=key)).status_code == 429
    assert (
        await visitor.http.post("/v1/tasks", json={"model": "none", "input": {}}, headers=key)
    ).status_code == 422
    await visitor.http.post(blocker["urls"]["cancel"])

    assert (await visitor.http.post("/v1/tasks", json=NOOP, headers=key)).status_code == 202


@pytest.mark.parametrize("key", ["", " \t ", "x" * 256])
async def test_422_for_an_idempotency_key_that_is_none(under: Open, key: str) -> None:
    """1 to 255 bytes."""
    visitor = await under("")
    refused = await visitor.http.post("/v1/tasks", json=NOOP, headers={"Idempotency-Key": key})

    assert (refused.status_code, refused.json()["error"]["param"]) == (422, "Idempotency-Key")


async def test_test_keys_have_idempotency_of_their_own(under: Open) -> None:
    """The same key in two environments makes two tasks."""
    visitor = await under("")
    test = visitor.using(await visitor.new_key(environment="test"))
    key = {"Idempotency-Key": "same"}
    live = await visitor.http.post("/v1/tasks", json=NOOP, headers=key)
    other = await visitor.http.post("/v1/tasks", json=NOOP, headers=key | test)

    assert live.json()["id"] != other.json()["id"]
    assert (await visitor.http.get(live.json()["urls"]["self"], headers=test)).status_code == 404


# --- quotes and limits --------------------------------------------------------------------------------------------


async def test_a_quote_tells_price_and_outcome_and_changes_nothing(
    settings: Settings, tmp_path: Path
) -> None:
    """A range for unseen bytes, the price for declared ones, and what would happen; nothing is spent."""
    file = tmp_path / "plans.toml"
    file.write_text("[owner]\nmetered = true\nat_once.account = { limit = 1, on_limit = 'queue' }\n")
    async with visit(dataclasses.replace(settings, plans=str(file))) as visitor:

        async def quote(**body: Any) -> dict[str, Any]:
            reply = await visitor.http.post(
                "/v1/quotes", json={"model": "upscale", "input": {"scale": 4}} | body
            )
            assert reply.status_code == 200, reply.text
            found: dict[str, Any] = reply.json()
            return found

        short = await quote()
        assert (short["credits"], short["outcome"], short["reason"]) == (
            {"min": 10, "max": 480}, "refused", "insufficient_credits",
        )  # fmt: skip
        await give(visitor, 141)
        declared = await quote(width=2048, height=1536)
        assert (declared["credits"], declared["outcome"]) == ({"min": 140, "max": 140}, "accepted")
        assert declared["breakdown"][0]["credits"] == 140
        film = await quote(width=2048, height=1536, seconds=2.5, frame_rate=29.97)
        assert film["credits"] == declared["credits"], "a picture costs the same however long it lasts"
        await visitor.submit()
        assert (await quote(width=2048, height=1536))["outcome"] == "queued"
        assert (await quote(width=2048, height=1536, on_limit="reject"))["reason"] == "too_many_tasks"
        assert (
            await visitor.http.post("/v1/quotes", json={"model": "upscale", "input": {}, "width": 3})
        ).status_code == 422
        big = await visitor.http.post(
            "/v1/quotes", json={"model": "upscale", "input": {}, "width": 50000, "height": 50000}
        )
        assert (big.status_code, big.json()["error"]["code"]) == (422, "input_too_large")
        async with visitor.resources.db.reading() as connection:
            assert await connection.fetchval("SELECT count(*) FROM tasks") == 1


async def test_limits_are_read_without_spending_any(under: Open) -> None:
    """Every policy with its use; only the reading itself is counted."""
    visitor = await under(
        "rates.read = { limit = 60, burst = 9 }\nat_once.account.limit = 3\nat_once.models.noop.limit = 2\n"
        "windows.day = { limit = 5, time_zone = 'Europe/Berlin' }\nwindows.same_name = { limit = 30, seconds = 3600 }"
    )
    await visitor.submit()
    pages = [(await visitor.http.get("/v1/limits")).json() for _ in range(2)]
    found = [{limit["name"]: limit for limit in page["data"]} for page in pages]

    assert set(found[0]) == {
        "ip-rate", "read-rate", "tasks-at-once", "model-tasks-at-once:noop", "day", "same-name",
    }  # fmt: skip
    assert (found[0]["tasks-at-once"]["used"], found[0]["tasks-at-once"]["remaining"]) == (1, 2)
    assert (found[1]["day"]["used"], found[1]["day"]["time_zone"]) == (1, "Europe/Berlin")
    assert (found[0]["read-rate"]["remaining"], found[1]["read-rate"]["remaining"]) == (8, 7)


async def test_reads_tell_how_the_quotas_stood_last(under: Open) -> None:
    """Exact where they are decided or read: a submission, a refusal, a quote, `/v1/limits`; last known on a GET."""
    visitor = await under("windows.day.limit = 5\nat_once.account.limit = 3")
    other = visitor.using(await visitor.new_key())

    async def told(**options: Any) -> tuple[int, int]:
        limits = limits_of(await visitor.http.get("/v1/models", **options))
        return limits["tasks-at-once"]["r"], limits["day"]["r"]

    assert "ratelimit" not in (await visitor.http.get("/v1/models")).headers
    task = await visitor.submit()
    assert await told() == (2, 4)
    assert timedelta(0) < timedelta(seconds=limits_of(await visitor.http.get("/v1/models"))["day"]["t"])
    assert "ratelimit" not in (await visitor.http.get("/v1/models", headers=other)).headers
    await visitor.http.post(task["urls"]["cancel"])
    assert await told() == (2, 4)
    page = await visitor.http.get("/v1/limits")
    body = {limit["name"]: limit["remaining"] for limit in page.json()["data"]}
    header = {name: standing["r"] for name, standing in limits_of(page).items()}
    assert header == {name: body[name] for name in header} == {"tasks-at-once": 3, "day": 4}
    assert await told() == (3, 4)
    for _ in range(3):
        await visitor.http.post("/v1/tasks", json=NOOP, headers=other)
    assert await told() == (3, 4)
    quoted = await visitor.http.post("/v1/quotes", json=NOOP)
    assert limits_of(quoted)["day"]["r"] == 1
    assert await told() == (0, 1)
    assert (await visitor.http.post("/v1/tasks", json=NOOP)).status_code == 429
    assert await told() == (0, 1)


async def test_under_other_terms_nothing_is_told_of_the_old_ones(under: Open) -> None:
    """Until something reads the quotas that there are now."""
    visitor = await under("windows.day.limit = 5")
    await visitor.submit()
    assert "ratelimit" in (await visitor.http.get("/v1/models")).headers
    resources = visitor.resources
    await set_terms(resources.db, resources.plans, "default", overrides={"windows": {"day": {"limit": 9}}})
    async with asyncio.timeout(2):
        while "ratelimit" in (await visitor.http.get("/v1/models")).headers:
            await asyncio.sleep(0)

    assert limits_of(await visitor.http.get("/v1/limits"))["day"]["r"] == 8
    assert limits_of(await visitor.http.get("/v1/models"))["day"]["r"] == 8
