"""Test keys over HTTP: words in place of pictures, nothing fetched, kept for a day; and no environment meets another."""

import dataclasses
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import datetime
from typing import Any
from uuid import UUID

import pytest

from burnish.keys.plan import Plans
from burnish.settings import Settings
from burnish.tasks import lease, magic
from burnish.tasks.submit import Once
from native.surface import Visitor, task_uuid, visit
from tasks.story import a_submission

PassTime = Callable[[float], Awaitable[None]]
DAY_SECONDS = 86_400


@pytest.fixture
async def tester(visitor: Visitor) -> dict[str, str]:
    """The headers of a test key of the visitor's account."""
    return visitor.using(await visitor.new_key(environment="test"))


@pytest.fixture
async def developer(visitor: Visitor) -> dict[str, str]:
    """The same of a dev key."""
    return visitor.using(await visitor.new_key(environment="dev"))


async def submit(visitor: Visitor, headers: dict[str, str], image: str, **body: Any) -> Any:
    asked = {"model": "upscale", "input": {"image": image}} | body
    return await visitor.http.post("/v1/tasks", json=asked, headers=headers)


# --- inputs -------------------------------------------------------------------------------------------------------


async def test_a_word_is_admitted_and_kept_as_it_was_given(visitor: Visitor, tester: dict[str, str]) -> None:
    """Every word that is not refused makes a task that waits for nothing and costs nothing."""
    for word in magic.WORDS.values():
        if not word.refused:
            reply = await submit(visitor, tester, word.given)
            task = reply.json()
            assert (reply.status_code, task["status"], task["cost"]["held"]) == (202, "queued", 0)
            async with visitor.resources.db.reading() as connection:
                row = await connection.fetchrow(
                    "SELECT input, source_id, source_url FROM tasks WHERE id = $1", task_uuid(task)
                )
            assert word.given.encode() in row["input"]
            assert (row["source_id"], row["source_url"]) == (None, None)


async def test_an_address_is_judged_and_not_fetched(visitor: Visitor, tester: dict[str, str]) -> None:
    """What is refused for its text is refused; anything else waits for no fetch."""
    reply = await submit(visitor, tester, "https://example.com/a.jpg")
    assert (reply.status_code, reply.json()["status"]) == (202, "queued")
    assert await lease.claim_fetches(visitor.resources.db, 1, 15, by_url=True) == []
    reply = await submit(visitor, tester, "http://169.254.169.254/a.jpg")
    assert (reply.status_code, reply.json()["error"]["code"]) == (422, "input_blocked")


async def test_429_and_402_when_they_are_asked_for(visitor: Visitor, tester: dict[str, str]) -> None:
    """As the limits' own: Retry-After and details with the one, nothing to wait for with the other; no task is made."""
    reply = await submit(visitor, tester, "test:rate_limited")
    error = reply.json()["error"]
    assert (reply.status_code, error["code"], error["type"]) == (429, "rate_limited", "rate_limit")
    assert int(reply.headers["retry-after"]) == error["retry_after"] == error["details"]["reset"] >= 1
    assert (error["retryable"], error["details"]["advice"]) == (True, "wait")
    reply = await submit(visitor, tester, "test:insufficient_credits")
    error = reply.json()["error"]
    assert (reply.status_code, error["code"], error["retryable"]) == (402, "insufficient_credits", False)
    assert "retry-after" not in reply.headers
    listed = (await visitor.http.get("/v1/tasks", headers=tester)).json()
    assert listed["data"] == []


async def test_a_wrong_field_is_told_before_a_word_is_heeded(
    visitor: Visitor, tester: dict[str, str]
) -> None:
    """A request that could not be taken is 422, whatever its input asks for."""
    reply = await submit(visitor, tester, "test:rate_limited", retention_seconds=10**9)
    assert (reply.status_code, reply.json()["error"]["param"]) == (422, "retention_seconds")


async def test_422_for_words_of_other_keys_and_other_words(
    visitor: Visitor, tester: dict[str, str], developer: dict[str, str]
) -> None:
    """Live and dev keys are told that words are for test keys; a test key that errs is told all of them."""
    for headers in ({}, developer):
        for image in ("test:ok", "test:nothing"):
            error = (reply := await submit(visitor, headers, image)).json()["error"]
            assert (reply.status_code, error["code"], error["param"]) == (422, "test_input", "input.image")
            assert "work with test keys only" in error["message"]
    for image in ("test:nothing", "test:", "test://ok", "test:OK"):
        error = (reply := await submit(visitor, tester, image)).json()["error"]
        assert (reply.status_code, error["code"], error["param"]) == (422, "test_input", "input.image")
        assert error["details"]["words"] == [word.given for word in magic.WORDS.values()]


# --- kept for a day -----------------------------------------------------------------------------------------------


def seconds_between(begin: str, end: str) -> float:
    return (datetime.fromisoformat(end) - datetime.fromisoformat(begin)).total_seconds()


async def test_a_test_is_kept_for_a_day_at_most(visitor: Visitor, tester: dict[str, str]) -> None:
    """Tasks that ask for more, for less and for nothing; live ones are kept as ever."""
    for asked, kept in (({}, DAY_SECONDS), ({"retention_seconds": 604_800}, DAY_SECONDS), ({"retention_seconds": 90}, 90)):  # fmt: skip
        task = (await submit(visitor, tester, "test:ok", **asked)).json()
        assert seconds_between(task["created_at"], task["expires_at"]) == kept
    live = await visitor.submit()
    assert seconds_between(live["created_at"], live["expires_at"]) == 604_800


async def test_an_upload_of_a_test_key_is_kept_for_a_day(
    visitor: Visitor, tester: dict[str, str], pass_time: PassTime
) -> None:
    """Its bytes and its link end together."""
    content = b"no matter"
    asked = {"filename": "a.png", "content_type": "image/png", "size_bytes": len(content)}
    promised = (await visitor.http.post("/v1/uploads", json=asked, headers=tester)).json()
    reply = await visitor.http.put(promised["url"], content=content, headers=promised["headers"])
    upload = reply.json()
    assert seconds_between(upload["arrived_at"], upload["expires_at"]) == DAY_SECONDS
    assert (await visitor.http.get(promised["access_url"])).status_code == 200
    await pass_time(DAY_SECONDS + 1)
    assert (await visitor.http.get(promised["access_url"])).status_code == 410


# --- no environment meets another ---------------------------------------------------------------------------------


async def test_tasks_and_uploads_are_seen_in_their_own_environment_only(
    visitor: Visitor, tester: dict[str, str], developer: dict[str, str]
) -> None:
    """Read, cancelled, used as an input and listed: what live, test and dev keys made is 404 or absent to the others."""
    everyone = {"live": {}, "test": tester, "dev": developer}
    asked = {"filename": "a.png", "content_type": "image/png", "size_bytes": 3}
    tasks, uploads, links = {}, {}, {}
    for name, headers in everyone.items():
        body = {"model": "noop", "input": {}}
        tasks[name] = (await visitor.http.post("/v1/tasks", json=body, headers=headers)).json()["id"]
        upload = (await visitor.http.post("/v1/uploads", json=asked, headers=headers)).json()
        uploads[name], links[name] = upload["id"], upload["access_url"]

    for name, headers in everyone.items():
        listed = (await visitor.http.get("/v1/tasks", headers=headers)).json()
        assert [task["id"] for task in listed["data"]] == [tasks[name]]
        for other in everyone.keys() - {name}:
            answers = [
                await visitor.http.get(f"/v1/tasks/{tasks[other]}", headers=headers),
                await visitor.http.post(f"/v1/tasks/{tasks[other]}/cancel", headers=headers),
                await visitor.http.get(f"/v1/uploads/{uploads[other]}", headers=headers),
            ]
            assert [answer.status_code for answer in answers] == [404] * 3
            for image in (uploads[other], links[other]):
                reply = await submit(visitor, headers, image)
                assert (reply.status_code, reply.json()["error"]["code"]) == (422, "upload_not_found")


async def test_an_idempotency_key_means_a_task_of_its_own_environment(
    visitor: Visitor, tester: dict[str, str], developer: dict[str, str]
) -> None:
    """The same key and body from a live, a test and a dev key make three tasks; each is found again by its own."""
    resources = visitor.resources
    made: dict[str, UUID] = {}
    for environment in ("live", "test", "dev"):
        headers = {"live": {}, "test": tester, "dev": developer}[environment]
        secret = headers.get("Authorization", f"Bearer {visitor.secret}").removeprefix("Bearer ")
        key = await resources.authenticator.authenticate(secret, resources.clock.now())
        once = Once(f"{environment} POST /v1/tasks", "order-1", b"fingerprint")
        for replayed in (False, True):
            submission = a_submission(key.account_id, environment=environment, key_id=key.id, once=once)
            admission = await resources.submissions.submit(submission)
            assert admission.replayed == replayed
            made.setdefault(environment, admission.task.id)
            assert admission.task.id == made[environment]
    assert len(set(made.values())) == 3


@pytest.fixture
async def narrow(settings: Settings) -> AsyncIterator[Visitor]:
    """A service whose accounts may have one task at once and two a day."""
    settings.data.mkdir(parents=True, exist_ok=True)
    file = settings.data / "plans.toml"
    file.write_text(
        "[owner]\nmetered = false\n[owner.at_once]\naccount = { limit = 1 }\n[owner.windows]\nday = { limit = 2 }\n"
    )
    async with visit(dataclasses.replace(settings, plans=str(file))) as visitor:
        yield visitor


async def test_slots_and_windows_of_test_keys_are_their_own(narrow: Visitor) -> None:
    """A live key's task takes no slot from a test key's, nor the reverse; the day of tests is a thousand tasks long."""
    tester = narrow.using(await narrow.new_key(environment="test"))
    developer = narrow.using(await narrow.new_key(environment="dev"))
    body = {"model": "noop", "input": {}}

    async def answer(headers: dict[str, str]) -> Any:
        return await narrow.http.post("/v1/tasks", json=body, headers=headers)

    live, test = await answer({}), await answer(tester)
    assert (live.status_code, test.status_code) == (202, 202)
    for headers in ({}, tester, developer):  # a dev key has the slots of the live ones
        reply = await answer(headers)
        assert (reply.status_code, reply.json()["error"]["code"]) == (429, "too_many_tasks")

    for number in range(3):
        own = (test if number == 0 else await answer(tester)).json()
        assert (await narrow.http.post(f"/v1/tasks/{own['id']}/cancel", headers=tester)).status_code == 200
    await narrow.http.post(f"/v1/tasks/{live.json()['id']}/cancel")
    dev = await answer(developer)
    assert dev.status_code == 202
    await narrow.http.post(f"/v1/tasks/{dev.json()['id']}/cancel", headers=developer)
    for headers in ({}, developer):  # and their day
        reply = await answer(headers)
        assert (reply.status_code, reply.json()["error"]["code"]) == (429, "daily_limit_reached")


async def test_a_dev_key_has_rates_of_its_own(settings: Settings) -> None:
    """What a live key has sent is not counted against a dev key of the same account."""
    settings.data.mkdir(parents=True, exist_ok=True)
    file = settings.data / "plans.toml"
    file.write_text(
        "[owner]\nmetered = false\n[owner.rates]\ncreate = { limit = 1, seconds = 3600, burst = 1 }\n"
    )
    async with visit(dataclasses.replace(settings, plans=str(file))) as visitor:
        developer = visitor.using(await visitor.new_key(environment="dev"))
        body = {"model": "noop", "input": {}}
        for headers in ({}, developer):
            answers = [await visitor.http.post("/v1/tasks", json=body, headers=headers) for _ in range(2)]
            assert [answer.status_code for answer in answers] == [202, 429]


def test_a_test_key_is_never_metered() -> None:
    """Whatever the plan: no credits, and a thousand tasks a day."""
    plan = Plans({"owner": {"metered": True, "windows": {"day": {"limit": 3}}}}).terms("owner", test=True)
    assert not plan.metered
    assert plan.windows.day is not None
    assert plan.windows.day.limit == 1_000
