"""How HiAPI's surface says no: both documented envelopes, every code, and when to come back."""

import re
from typing import Any

import httpx
import msgspec
import pytest

from burnish import errors
from burnish.dialects.hiapi.errors import ANSWERS, answer_to, failure_code, say_no
from burnish.dialects.native.errors import CODES
from burnish.errors import STATUS_REASONS, Refused
from burnish.keys.issue import list_keys, revoke_key
from burnish.keys.open import set_terms
from native.surface import Visitor
from waiting import until

#: What the vendor's pages list, and what HTTP has a word of its own for.
STATUSES = {400, 401, 402, 403, 404, 405, 409, 413, 416, 422, 429, 500, 503}
DOCUMENTED = {
    "INVALID_REQUEST", "MODEL_UNAVAILABLE", "STORAGE_UNAVAILABLE", "IDEMPOTENCY_KEY_PROCESSING",
    "IDEMPOTENCY_KEY_MISMATCH",
}  # fmt: skip


async def under(visitor: Visitor, **limits: Any) -> None:
    """The account's limits from now on, once this process has heard of them."""
    resources = visitor.resources
    await set_terms(resources.db, resources.plans, "default", overrides=limits)

    async def heard() -> bool:
        key = await resources.authenticator.authenticate(visitor.secret, resources.clock.now(), None)
        return bool(msgspec.json.decode(key.overrides) == limits)

    await until(heard)


def kinds(above: type[Refused] = Refused) -> list[type[Refused]]:
    return [kind for below in above.__subclasses__() for kind in (below, *kinds(below))]


def test_every_code_has_an_answer() -> None:
    """Each code of the house, and none that there is not; each kind of refusal has one."""
    assert ANSWERS.keys() == CODES.keys()
    assert {kind.code for kind in kinds()} <= ANSWERS.keys()
    assert {answer.status for answer in ANSWERS.values()} == STATUSES
    assert {answer.code for answer in ANSWERS.values()} >= DOCUMENTED


def test_only_401_403_and_429_have_the_gateways_envelope() -> None:
    """As documented; its code is one of the two that the vendor shows."""
    for answer in ANSWERS.values():
        expected = {401: "permission_denied", 403: "permission_denied", 429: "rate_limit_exceeded"}
        assert answer.gateway == expected.get(answer.status, "")


def test_every_reason_of_a_failure_has_a_code() -> None:
    """One of the vendor's two."""
    assert {failure_code(reason) for reason in STATUS_REASONS} == {"TASK_FAILED", "TASK_TIMEOUT"}


@pytest.mark.parametrize("code", sorted(ANSWERS))
def test_the_body_of_every_refusal(code: str) -> None:
    """The task API's envelope around each; Retry-After wherever the same may be sent again."""

    class Asked:
        id = "req_1"

    kind = errors.Limited if ANSWERS[code].status == 429 else errors.Invalid
    reply = say_no(Asked(), kind("Why.", code=code, param="input.scale"))  # type: ignore[arg-type]
    body: Any = httpx.Response(200, content=reply.body).json()
    answer = ANSWERS[code]
    assert reply.status == answer.status == body["code"]
    assert (body["error_code"], body["data"], body["message"]) == (answer.code, None, "input.scale: Why.")
    assert "status" not in body
    headers = dict(reply.headers)
    assert (b"retry-after" in headers) == (reply.status in {409, 429, 503})
    if answer.gateway:
        assert body["error"] == {
            "type": "hiapi_error", "code": answer.gateway, "message": "input.scale: Why.", "request_id": "req_1",
        }  # fmt: skip
    else:
        assert "error" not in body


def test_a_code_without_an_answer_is_answered_as_its_kind() -> None:
    """So that a new code is never a crash."""
    assert answer_to(errors.NotFound("No.", code="new")).status == 404


async def test_wrong_missing_and_revoked_keys(visitor: Visitor, hiapi: httpx.AsyncClient) -> None:
    """401 in both envelopes, whatever the key looks like."""
    secret = await visitor.new_key(name="leaked")
    leaked = next(key for key in await list_keys(visitor.resources.db) if key.name == "leaked")
    await revoke_key(visitor.resources.db, leaked.id, now=visitor.resources.clock.now())
    for header in ("Bearer sk-something", "Bearer hi-sk-something", f"Bearer {secret}", "Basic x", ""):
        reply = await hiapi.post(
            "/v1/tasks", json={"model": "noop", "input": {}}, headers={"Authorization": header}
        )
        body = reply.json()
        assert (reply.status_code, body["code"], body["error_code"]) == (401, 401, "PERMISSION_DENIED")
        assert body["error"]["type"] == "hiapi_error"
        assert re.fullmatch("req_[0-9a-z]{26}", body["error"]["request_id"])
        assert body["error"]["request_id"] == reply.headers["request-id"]


async def test_a_key_that_may_only_read_is_403(visitor: Visitor, hiapi: httpx.AsyncClient) -> None:
    """permission_denied."""
    reading = visitor.using(await visitor.new_key(scopes=["tasks:read"]))
    reply = await hiapi.post("/v1/tasks", json={"model": "noop", "input": {}}, headers=reading)
    assert (reply.status_code, reply.json()["error"]["code"]) == (403, "permission_denied")
    assert (await hiapi.get("/v1/tasks", headers=reading)).status_code == 200


async def test_create_and_poll_share_one_budget(visitor: Visitor, hiapi: httpx.AsyncClient) -> None:
    """Polls use up what creating needs; the 429 has both envelopes, and says when."""
    await under(visitor, rates={"read": {"limit": 60, "burst": 3}})
    for _ in range(3):
        assert (await hiapi.get("/v1/tasks?size=1")).status_code == 200
    for reply in (
        await hiapi.post("/v1/tasks", json={"model": "noop", "input": {}}),
        await hiapi.get("/v1/tasks?size=1"),
    ):
        body = reply.json()
        assert (reply.status_code, body["error_code"]) == (429, "RATE_LIMIT_EXCEEDED")
        assert body["error"]["code"] == "rate_limit_exceeded"
        assert int(reply.headers["retry-after"]) >= 1
    assert (await visitor.http.post("/v1/tasks", json={"model": "noop", "input": {}})).status_code == 202


async def test_the_plans_own_shared_budget_holds(visitor: Visitor, hiapi: httpx.AsyncClient) -> None:
    """It stands in place of the default."""
    await under(visitor, rates={"shared": {"limit": 60, "burst": 1}})
    assert (await hiapi.get("/v1/tasks?size=1")).status_code == 200
    assert (await hiapi.get("/v1/tasks?size=1")).status_code == 429


async def test_too_many_at_once_and_too_few_credits(visitor: Visitor, hiapi: httpx.AsyncClient) -> None:
    """429 with Retry-After over the ceiling; 402 without one where credits are short."""
    await under(visitor, at_once={"account": {"limit": 1}})
    asked = {"model": "noop", "input": {}}
    assert (await hiapi.post("/v1/tasks", json=asked)).status_code == 200
    over = await hiapi.post("/v1/tasks", json=asked)
    assert (over.status_code, over.json()["error_code"]) == (429, "RATE_LIMIT_EXCEEDED")
    assert int(over.headers["retry-after"]) >= 1
    await under(visitor, metered=True)
    short = await hiapi.post("/v1/tasks", json=asked)
    assert (short.status_code, short.json()["error_code"]) == (402, "INSUFFICIENT_BALANCE")
    assert "retry-after" not in short.headers


async def test_unknown_paths_and_methods(hiapi: httpx.AsyncClient) -> None:
    """404 and 405 in the vendor's envelope."""
    unknown = await hiapi.get("/v1/nothing")
    assert (unknown.status_code, unknown.json()["error_code"]) == (404, "NOT_FOUND")
    method = await hiapi.delete("/v1/tasks")
    assert (method.status_code, method.json()["code"], method.headers["allow"]) == (
        405,
        405,
        "GET, HEAD, POST",
    )
