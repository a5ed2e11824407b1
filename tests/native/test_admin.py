"""The operator's routes: accounts, terms, grants, keys and plans; with a key of the scope `admin`, and no other."""

import asyncio
from datetime import timedelta
from typing import Any

import httpx
import pytest

from burnish.dialects.native.admin import OPERATIONS
from burnish.keys.key import ADMIN, SCOPES, well_formed
from native.surface import Visitor


@pytest.fixture
async def operator(visitor: Visitor) -> Visitor:
    """A visitor with an operator's key."""
    visitor.secret = await visitor.new_key(scopes=[ADMIN])
    visitor.http.headers["Authorization"] = f"Bearer {visitor.secret}"
    return visitor


async def post(visitor: Visitor, path: str, status: int = 201, **body: Any) -> Any:
    headers = {"Idempotency-Key": body.pop("once")} if "once" in body else {}
    reply = await visitor.http.post(f"/v1/admin/{path}", json=body, headers=headers)
    assert reply.status_code == status, reply.text
    return reply.json() if status < 300 else reply.json()["error"]


async def get(visitor: Visitor, path: str) -> Any:
    reply = await visitor.http.get(f"/v1/admin/{path}")
    assert reply.status_code == 200, reply.text
    return reply.json()


@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda operation: operation.id)
async def test_only_an_operators_key_may(operation: Any, visitor: Visitor) -> None:
    """403 for a key that may do everything else, before anything of the request is looked at; 401 without one."""
    path = operation.path.replace("{name}", "default").replace("{id}", "key_" + "0" * 26)
    reply = await visitor.http.request(operation.method, path)
    assert (reply.status_code, reply.json()["error"]["code"]) == (403, "scope_missing")
    assert reply.json()["error"]["details"] == {"scope": ADMIN}
    reply = await visitor.http.request(operation.method, path, headers={"Authorization": ""})
    assert reply.status_code == 401


# --- accounts -----------------------------------------------------------------------------------------------------


async def test_an_account_is_made_read_and_listed(operator: Visitor) -> None:
    """201 with its place; by name, in pages; a name with a space or an @ is found by its path."""
    made = await operator.http.post("/v1/admin/accounts", json={"name": "ann@example.com"})
    assert (made.status_code, made.json()["plan"], made.json()["overrides"]) == (201, "trial", {})
    assert (await operator.http.get(made.headers["location"])).json() == made.json()
    assert made.json()["terms"]["at_once"]["account"]["limit"] == 5
    await post(operator, "accounts", name="the studio", plan="standard", overrides={"weight": 7})
    assert (await get(operator, "accounts/the%20studio"))["terms"]["weight"] == 7
    names: list[str] = []
    url = "/v1/admin/accounts?limit=2"
    while url:
        reply = await operator.http.get(url)
        names += [one["name"] for one in reply.json()["data"]]
        url = reply.links.get("next", {}).get("url", "")
    assert names == ["ann@example.com", "default", "the studio"]


@pytest.mark.parametrize(
    ("body", "status", "code", "param"),
    [
        ({"name": "default"}, 409, "account_exists", None),
        ({"name": "a/b"}, 422, "invalid", "name"),
        ({"name": "studio (test)"}, 422, "invalid", "name"),
        ({}, 422, "missing_field", "name"),
        ({"name": "a", "plan": "gold"}, 422, "invalid", "plan"),
        ({"name": "a", "overrides": {"windows": {"day": {"limit": "x"}}}}, 422, "invalid", "overrides.windows.day.limit"),
        ({"name": "a", "overrides": {"windows": {"dya": None}}}, 422, "unknown_field", "overrides.windows.dya"),
        ({"name": "a", "overrides": []}, 422, "invalid", "overrides"),
        ({"name": "a", "note": "x"}, 422, "unknown_field", "note"),
    ],
)  # fmt: skip
async def test_an_account_that_cannot_be_is_refused(
    body: dict[str, Any], status: int, code: str, param: str | None, operator: Visitor
) -> None:
    """By its field, and by its place in the plan."""
    error = await post(operator, "accounts", status, **body)
    assert (error["code"], error["param"]) == (code, param)
    assert [one["name"] for one in (await get(operator, "accounts"))["data"]] == ["default"]


async def test_new_terms_are_in_force_for_the_next_request(operator: Visitor) -> None:
    """A smaller plan refuses at once, a larger one takes again; overrides replace overrides, and go with `{}`."""
    await post(operator, "accounts", name="studio")
    await post(operator, "accounts/studio/grants", once="1", credits=100)
    secret = (await post(operator, "accounts/studio/keys"))["secret"]

    async def change(**body: Any) -> Any:
        reply = await operator.http.patch("/v1/admin/accounts/studio", json=body)
        assert reply.status_code == 200, reply.text
        return reply.json()

    async def submitted() -> int:
        task = {"model": "noop", "input": {}}
        return (await operator.http.post("/v1/tasks", json=task, headers=operator.using(secret))).status_code

    assert await submitted() == 202
    changed = await change(overrides={"at_once": {"account": {"limit": 1}}})
    assert (changed["terms"]["at_once"]["account"]["limit"], changed["plan"]) == (1, "trial")
    assert await submitted() == 429
    assert (await change(plan="standard"))["overrides"] == {"at_once": {"account": {"limit": 1}}}
    assert (await change(overrides={}))["terms"]["at_once"]["account"]["limit"] == 50
    assert await submitted() == 202
    assert (await change())["plan"] == "standard"
    refused = await operator.http.patch("/v1/admin/accounts/studio", json={"plan": "gold"})
    assert (refused.status_code, refused.json()["error"]["param"]) == (422, "plan")


@pytest.mark.parametrize("name", ["nobody", "%00", "a%2Fb"])
async def test_404_for_an_account_that_is_not_there(name: str, operator: Visitor) -> None:
    """Whatever is asked of it."""
    for path in (name, f"{name}/grants", f"{name}/keys"):
        reply = await operator.http.get(f"/v1/admin/accounts/{path}")
        assert (reply.status_code, reply.json()["error"]["code"]) == (404, "not_found")
    assert (await operator.http.patch(f"/v1/admin/accounts/{name}", json={})).status_code == 404
    if name == "nobody":
        await post(operator, "accounts/nobody/keys", 404)
        await post(operator, "accounts/nobody/grants", 404, once="1", credits=1)


async def test_plans_are_listed_with_their_terms(operator: Visitor) -> None:
    """All that an account may be put under."""
    plans = {one["name"]: one["terms"] for one in (await get(operator, "plans"))["data"]}
    assert list(plans) == ["owner", "trial", "essential", "standard", "enterprise"]
    assert (plans["owner"]["metered"], plans["trial"]["windows"]["day"]["limit"]) == (False, 500)


# --- grants -------------------------------------------------------------------------------------------------------


async def test_a_grant_is_made_once(operator: Visitor) -> None:
    """Ten at once with one key are one grant; each gets the same reply, replays say so."""
    await post(operator, "accounts", name="studio")

    async def grant() -> httpx.Response:
        body = {"credits": 500, "kind": "paid", "note": "invoice 1042"}
        headers = {"Idempotency-Key": "invoice 1042"}
        return await operator.http.post("/v1/admin/accounts/studio/grants", json=body, headers=headers)

    replies = await asyncio.gather(*(grant() for _ in range(10)))
    assert {reply.status_code for reply in replies} == {201}
    assert len({reply.text for reply in replies}) == 1
    assert sorted(reply.headers.get("idempotent-replayed", "") for reply in replies) == ["", *["true"] * 9]
    (standing,) = (await get(operator, "accounts/studio/grants"))["data"]
    assert (standing["credits"], standing["available"], standing["kind"], standing["note"]) == (
        500, 500, "paid", "invoice 1042",
    )  # fmt: skip
    assert (await get(operator, "accounts/studio"))["credits"]["available"] == 500
    error = await post(operator, "accounts/studio/grants", 422, once="invoice 1042", credits=501)
    assert error["code"] == "idempotency_key_reused"


async def test_grants_come_by_page(operator: Visitor) -> None:
    """Newest first."""
    for number in range(3):
        await post(operator, "accounts/default/grants", once=str(number), credits=number + 1)
    page = await get(operator, "accounts/default/grants?limit=2")
    assert [one["credits"] for one in page["data"]] == [3, 2]
    rest = await get(operator, f"accounts/default/grants?after={page['next']}")
    assert ([one["credits"] for one in rest["data"]], rest["has_more"]) == ([1], False)
    reply = await operator.http.get("/v1/admin/accounts/default/grants?after=x")
    assert (reply.status_code, reply.json()["error"]["param"]) == (422, "after")


@pytest.mark.parametrize(
    ("body", "code", "param"),
    [
        ({"credits": 5}, "idempotency_key_missing", "Idempotency-Key"),
        ({"credits": 5, "once": "x" * 256}, "invalid", "Idempotency-Key"),
        ({"credits": 0, "once": "1"}, "invalid", "credits"),
        ({"credits": 1.5, "once": "1"}, "invalid", "credits"),
        ({"credits": 1, "kind": "found", "once": "1"}, "invalid", "kind"),
        ({"credits": 1, "expires_at": "2020-01-01T00:00:00Z", "once": "1"}, "invalid", "expires_at"),
        ({"credits": 1, "expires_at": "9999-12-31T23:59:59-12:00", "once": "1"}, "invalid", "expires_at"),
        ({"credits": 1, "expires_at": "2030-01-01T00:00:00", "once": "1"}, "invalid", "expires_at"),
        ({"once": "1"}, "missing_field", "credits"),
    ],
)
async def test_a_grant_that_cannot_be_is_refused(
    body: dict[str, Any], code: str, param: str, operator: Visitor
) -> None:
    """422; a refusal does not use up the idempotency key."""
    error = await post(operator, "accounts/default/grants", 422, **body)
    assert (error["code"], error["param"]) == (code, param)
    await post(operator, "accounts/default/grants", once="1", credits=1)


# --- keys ---------------------------------------------------------------------------------------------------------


async def test_a_key_is_issued_rotated_and_revoked(operator: Visitor) -> None:
    """The secret is in the first reply and in no other; each step is felt by the next request."""
    await post(operator, "accounts", name="studio")
    soon = (operator.resources.clock.now() + timedelta(days=9)).isoformat()
    issued = await post(
        operator, "accounts/studio/keys", name="shop", scopes=["tasks:read"], expires_at=soon, credit_cap=7,
        allowlist=["127.0.0.0/8", "::1"],
    )  # fmt: skip
    assert well_formed(issued["secret"])
    assert (issued["scopes"], issued["allowlist"]) == (["tasks:read"], ["127.0.0.0/8", "::1/128"])

    async def status(secret: str) -> int:
        return (await operator.http.get("/v1/tasks", headers=operator.using(secret))).status_code

    assert await status(issued["secret"]) == 200
    rotated = await post(operator, f"keys/{issued['id']}/rotate", grace_seconds=0)
    assert (rotated["rotates"], rotated["credit_cap"], rotated["name"]) == (issued["id"], 7, "shop")
    assert await refused(operator, issued["secret"])
    assert await status(rotated["secret"]) == 200
    listed = await operator.http.get("/v1/admin/accounts/studio/keys")
    assert [one["id"] for one in listed.json()["data"]] == [issued["id"], rotated["id"]]
    assert issued["secret"] not in listed.text
    assert listed.json()["data"][0]["revoked_at"] is not None
    assert (await post(operator, f"keys/{issued['id']}/rotate", 409))["code"] == "conflict"
    for _ in range(2):
        reply = await operator.http.delete(f"/v1/admin/keys/{rotated['id']}")
        assert (reply.status_code, reply.json()["id"]) == (200, rotated["id"])
    assert await refused(operator, rotated["secret"])


async def refused(visitor: Visitor, secret: str) -> bool:
    """Whether it comes to be refused within a second."""
    async with asyncio.timeout(1):
        while (await visitor.http.get("/v1/models", headers=visitor.using(secret))).status_code != 401:
            await asyncio.sleep(0.01)
    return True


async def test_a_key_may_do_everything_but_manage_unless_it_is_told(operator: Visitor) -> None:
    """An operator's key comes from the command line alone."""
    issued = await post(operator, "accounts/default/keys", environment="test")
    assert (issued["scopes"], issued["environment"], issued["account"]) == (sorted(SCOPES), "test", "default")
    error = await post(operator, "accounts/default/keys", 422, scopes=[ADMIN])
    assert error["code"] == "invalid"
    assert (
        "it must be tasks:write, tasks:read, uploads:write, usage:read or webhooks:write" in error["message"]
    )


async def test_a_key_is_refused_from_elsewhere(operator: Visitor) -> None:
    """403 `address_not_allowed`, and the address is told."""
    secret = (await post(operator, "accounts/default/keys", allowlist=["192.0.2.0/24"]))["secret"]
    reply = await operator.http.get("/v1/models", headers=operator.using(secret))
    assert (reply.status_code, reply.json()["error"]["code"]) == (403, "address_not_allowed")
    assert "127.0.0.1" in reply.json()["error"]["message"]


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({"environment": "production"}, "environment"),
        ({"allowlist": ["10.0.0.1/8"]}, "allowlist.0"),
        ({"credit_cap": -1}, "credit_cap"),
        ({"expires_at": "2020-01-01T00:00:00Z"}, "expires_at"),
        ({"name": "x" * 101}, "name"),
        ({"secret": "mine"}, "secret"),
    ],
)
async def test_a_key_that_cannot_be_is_refused(body: dict[str, Any], param: str, operator: Visitor) -> None:
    """422, and the field is named."""
    assert (await post(operator, "accounts/default/keys", 422, **body))["param"] == param


@pytest.mark.parametrize("id_", ["key_" + "0" * 26, "x"])
async def test_404_for_a_key_that_is_not_there(id_: str, operator: Visitor) -> None:
    """Unknown, or no id at all."""
    await post(operator, f"keys/{id_}/rotate", 404)
    assert (await operator.http.delete(f"/v1/admin/keys/{id_}")).status_code == 404
