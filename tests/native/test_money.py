"""Credits, entries and usage over HTTP, as the account's own keys read them."""

from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest

from burnish.credits.grant import grant, purchase
from burnish.ids import from_wire, new_id, to_wire
from burnish.keys.open import get_account, open_account
from native.surface import Visitor


@pytest.fixture
async def customer(visitor: Visitor) -> Visitor:
    """A visitor whose tasks cost credits, of which it has 10 that expire and 100 that do not."""
    resources = visitor.resources
    now = resources.clock.now()
    account = await open_account(resources.db, resources.plans, "studio", plan="standard", now=now)
    visitor.secret = await visitor.new_key(account="studio")
    visitor.http.headers["Authorization"] = f"Bearer {visitor.secret}"
    visitor.account_id = account.id
    for amount, ends in ((100, None), (10, now + timedelta(days=1))):
        await grant(
            resources.db,
            account.id,
            amount,
            kind="given",
            idempotency_key=str(amount),
            expires_at=ends,
            now=now,
        )
    return visitor


async def read(visitor: Visitor, path: str, **headers: str) -> Any:
    reply = await visitor.http.get(path, headers=headers)
    assert reply.status_code == 200, reply.text
    return reply.json()


# --- credits ------------------------------------------------------------------------------------------------------


async def test_credits_say_where_they_are(customer: Visitor) -> None:
    """Granted is the four others; grants stand in the order in which they are spent."""
    await customer.submit()
    held = await read(customer, "/v1/credits")
    assert [held[name] for name in ("granted", "available", "held", "charged", "expired")] == [
        110,
        109,
        1,
        0,
        0,
    ]
    assert [(one["granted"], one["available"], one["held"]) for one in held["grants"]] == [
        (10, 9, 1),
        (100, 100, 0),
    ]
    assert held["metered"]
    await customer.end()
    spent = await read(customer, "/v1/credits")
    assert (spent["available"], spent["held"], spent["charged"]) == (109, 0, 1)


async def test_whoever_pays_nothing_has_no_credits(customer: Visitor) -> None:
    """Test keys, and plans that are not metered."""
    for secret in (await customer.new_key(account="studio", environment="test"), await customer.new_key()):
        found = await read(customer, "/v1/credits", **customer.using(secret))
        assert (found["metered"], found["granted"], found["grants"]) == (False, 0, [])


# --- entries ------------------------------------------------------------------------------------------------------


async def test_entries_name_what_moved_the_credits(customer: Visitor) -> None:
    """Each with what the five gained, its subject and its key, newest first."""
    task = await customer.submit()
    await customer.end()
    output = new_id()
    now = customer.resources.clock.now()
    await purchase(customer.resources.db, customer.account_id, output, 3, key_id=None, now=now)
    entries = (await read(customer, "/v1/credits/entries"))["data"]
    (key,) = {one["key"] for one in entries} - {None}
    told = [
        (one["kind"], one["available"], one["held"], one["charged"], one["subject"], one["key"])
        for one in entries
    ]
    assert told[:3] == [
        ("purchase", -3, 0, 3, to_wire("output", output), None),
        ("charge", 0, -1, 1, task["id"], key),
        ("hold", -1, 1, 0, task["id"], key),
    ]
    assert [(one["kind"], one["granted"]) for one in entries[3:]] == [("grant", 10), ("grant", 100)]
    assert all(one["subject"].startswith("grant_") for one in entries[3:])
    assert from_wire("key", key)


async def test_entries_come_by_page(customer: Visitor) -> None:
    """`next` and the Link header lead through all of them, each once; `kind` keeps to one."""
    for _ in range(3):
        await customer.submit()
    whole = (await read(customer, "/v1/credits/entries"))["data"]
    assert len(whole) == 5
    seen: list[Any] = []
    url = "/v1/credits/entries?limit=2"
    while url:
        reply = await customer.http.get(url)
        seen += reply.json()["data"]
        url = reply.links.get("next", {}).get("url", "")
        assert reply.json()["has_more"] == bool(url) == (reply.json()["next"] is not None)
    assert seen == whole
    holds = await read(customer, "/v1/credits/entries?kind=hold&limit=3")
    assert ([one["kind"] for one in holds["data"]], holds["has_more"]) == (["hold"] * 3, False)


@pytest.mark.parametrize(
    ("query", "param"),
    [
        ("limit=0", "limit"), ("limit=101", "limit"), ("kind=refund", "kind"), ("after=x", "after"),
        (f"after=entry_{'z' * 26}", "after"), (f"after={to_wire('entry', UUID(int=1 << 63))}", "after"), ("page=2", "page"),
    ],
)  # fmt: skip
async def test_a_wrong_question_about_entries_is_refused(query: str, param: str, visitor: Visitor) -> None:
    """422, and the parameter is named."""
    reply = await visitor.http.get(f"/v1/credits/entries?{query}")
    assert (reply.status_code, reply.json()["error"]["param"]) == (422, param)


# --- usage --------------------------------------------------------------------------------------------------------


async def test_usage_counts_what_ended(customer: Visitor) -> None:
    """By day unless asked otherwise; by model and key where it is; what was charged with it."""
    for reason in (None, None, "internal"):
        await customer.submit()
        await customer.end(reason, reason and "As the test wanted.")
    cancelled = await customer.submit()
    await customer.http.post(cancelled["urls"]["cancel"])
    today = customer.resources.clock.now().date().isoformat()
    counts = {"succeeded": 2, "failed": 1, "cancelled": 1, "credits": 2}
    usage = await read(customer, "/v1/usage")
    assert (usage["to"], usage["data"]) == (today, [{"day": today, "model": None, "key": None, **counts}])
    (line,) = (await read(customer, "/v1/usage?by=model,key"))["data"]
    assert (line["day"], line["model"]) == (None, "noop")
    assert from_wire("key", line["key"])
    assert {name: line[name] for name in counts} == counts
    (other,) = (await read(customer, f"/v1/usage?from={today}&to={today}&by=key"))["data"]
    assert other["key"] == line["key"]


async def test_usage_is_told_for_the_days_that_are_asked_for(customer: Visitor) -> None:
    """The last 30 with today; from midnight to midnight in UTC; another account's is not among it."""
    async with customer.resources.db.transaction() as tx:
        for hour, account in (
            ("2026-03-01 00:00Z", customer.account_id),
            ("2026-03-01 23:00Z", customer.account_id),
            ("2026-03-02 00:00Z", customer.account_id),
            ("2026-03-01 12:00Z", new_id()),
        ):
            await tx.execute(
                "INSERT INTO usage VALUES ($1, $2::text::timestamptz, 'noop', "
                "'00000000-0000-0000-0000-000000000000', 1, 0, 0, 5)",
                account,
                hour,
            )
    one = await read(customer, "/v1/usage?from=2026-03-01&to=2026-03-01&by=day,key")
    assert [(line["day"], line["key"], line["succeeded"], line["credits"]) for line in one["data"]] == [
        ("2026-03-01", None, 2, 10)
    ]
    two = await read(customer, "/v1/usage?to=2026-03-02")
    assert (two["from"], [line["day"] for line in two["data"]]) == (
        "2026-02-01",
        ["2026-03-01", "2026-03-02"],
    )


@pytest.mark.parametrize(
    ("query", "param"),
    [
        ("from=2026-03-02&to=2026-03-01", "from"), ("from=2024-01-01&to=2026-03-01", "from"), ("to=0001-01-02", "to"),
        ("to=9999-12-31&from=9999-12-31", "to"), ("from=yesterday", "from"), ("by=hour", "by"), ("by=", "by"),
        ("since=2026-03-02", "since"),
    ],
)  # fmt: skip
async def test_a_wrong_question_about_usage_is_refused(query: str, param: str, visitor: Visitor) -> None:
    """422, and the parameter is named."""
    reply = await visitor.http.get(f"/v1/usage?{query}")
    assert (reply.status_code, reply.json()["error"]["param"]) == (422, param)
    if param == "by":
        assert "must be day, model or key, or several" in reply.json()["error"]["message"]


@pytest.mark.parametrize("path", ["/v1/credits", "/v1/credits/entries", "/v1/usage"])
async def test_a_key_needs_the_scope_to_see_money(path: str, visitor: Visitor) -> None:
    """403 without `usage:read`."""
    headers = visitor.using(await visitor.new_key(scopes=["tasks:read"]))
    reply = await visitor.http.get(path, headers=headers)
    assert (reply.status_code, reply.json()["error"]["code"]) == (403, "scope_missing")


async def test_the_account_that_reads_is_the_keys(customer: Visitor) -> None:
    """What one account has, another does not see."""
    account = await get_account(customer.resources.db, "default")
    assert account.id != customer.account_id
    stranger = customer.using(await customer.new_key())
    assert (await read(customer, "/v1/credits/entries", **stranger))["data"] == []
