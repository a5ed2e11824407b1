"""One request, repeated until it is answered: what both clients promise about trying again, and about errors."""

import subprocess
import sys
from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from burnish import client as burnish
from burnish.client._repeat import (
    LONGEST_ASKED_SECONDS,
    LONGEST_PAUSE_SECONDS,
    asked_pause,
    pause_before_retry,
)
from client.played import KEY, PlayedService
from client.talk import Talk

CREATE = "POST /v1/tasks"
LATER = {"X-Should-Retry": "true"}
NEVER = {"X-Should-Retry": "false"}


def create(client: Any) -> Any:
    return client.tasks.create("upscale", {"image": "upload_9", "scale": 2})


@pytest.mark.parametrize(
    ("status", "code"),
    [
        (408, "timeout"),
        (409, "idempotency_in_progress"),
        (429, "rate_limited"),
        (500, "x"),
        (502, "x"),
        (503, "x"),
    ],
)
def test_what_may_pass_is_tried_again_as_the_same_request(
    talk: Talk, service: PlayedService, status: int, code: str
) -> None:
    """Refused twice, then admitted: three times the same bytes and the same idempotency key, one task."""
    service.plays(CREATE, *[service.refuses(status, code)] * 2)

    task = talk(create)

    assert (task.id, task.status) == ("task_1", "queued")
    assert len(service.asked) == 3
    assert len({asked.headers["idempotency-key"] for asked in service.asked}) == 1
    assert len({asked.body for asked in service.asked}) == 1


@pytest.mark.parametrize(
    ("status", "headers", "kind"),
    [
        (400, {}, burnish.Malformed),
        (401, {}, burnish.Unauthenticated),
        (402, {}, burnish.InsufficientCredits),
        (402, LATER, burnish.InsufficientCredits),
        (403, {}, burnish.Forbidden),
        (404, {}, burnish.NotFound),
        (409, {}, burnish.Conflict),
        (410, {}, burnish.Expired),
        (413, {}, burnish.TooLarge),
        (415, {}, burnish.UnsupportedMedia),
        (418, {}, burnish.Refused),
        (422, {}, burnish.Invalid),
        (422, LATER, burnish.Invalid),
        (429, NEVER, burnish.Limited),
        (503, NEVER, burnish.Unavailable),
        (429, {"Retry-After": "121"}, burnish.Limited),
    ],
)
def test_what_will_not_pass_is_raised_at_once(
    talk: Talk, service: PlayedService, status: int, headers: dict[str, str], kind: type[burnish.Refused]
) -> None:
    """One request, no pause, and the error of that status."""
    service.plays(CREATE, service.refuses(status, "refused", headers=headers))

    with pytest.raises(burnish.Refused) as caught:
        talk(create)

    assert type(caught.value) is kind
    assert (len(service.asked), talk.pauses) == (1, [])


def test_the_service_can_ask_to_be_tried_again(talk: Talk, service: PlayedService) -> None:
    """`X-Should-Retry: true` has another try follow where the status alone would not."""
    service.plays(CREATE, service.refuses(400, headers=LATER))

    assert talk(create).id == "task_1"


@pytest.mark.parametrize("route", [CREATE, "GET /v1/models"])
def test_a_connection_lost_before_the_request_was_read_is_made_again(
    talk: Talk, service: PlayedService, route: str
) -> None:
    """The service closed the connection without a word: the request is sent again."""
    service.plays(route, service.hangs_up, service.hangs_up)

    talk(create if route == CREATE else lambda client: client.models.list())

    assert len(service.of(route)) == 3


def test_a_reply_that_was_lost_makes_no_second_task(talk: Talk, service: PlayedService) -> None:
    """The service admitted the task and its reply never came: the next try gets that very task."""
    service.plays(CREATE, service.acts_and_hangs_up)

    assert talk(create).id == "task_1"
    assert list(service.tasks) == ["task_1"]


def test_each_creation_is_its_own(talk: Talk, service: PlayedService) -> None:
    """Two calls are two tasks; two calls with one key of the caller's are one."""

    def keyed(client: Any) -> Any:
        return client.tasks.create("upscale", {"image": "upload_9"}, idempotency_key="order 17")

    assert [talk(do).id for do in (create, create, keyed, keyed)] == ["task_1", "task_2", "task_3", "task_3"]


def test_pauses_grow_from_one_second_to_thirty(talk: Talk, service: PlayedService) -> None:
    """1, 2, 4, 8, 16, 30 s, each less at most a quarter; then the last error is raised."""
    service.plays(CREATE, *[service.refuses(503)] * 7)

    with pytest.raises(burnish.Unavailable):
        talk(create)

    assert len(talk.pauses) == 6
    assert all(
        0.75 * full <= pause <= full for pause, full in zip(talk.pauses, [1, 2, 4, 8, 16, 30], strict=True)
    )


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"Retry-After": "7"}, 7.0),
        ({"Retry-After": "7", "retry-after-ms": "2500"}, 2.5),
        ({"Retry-After": "Thu, 01 Jan 2026 00:00:40 GMT"}, 40.0),  # the played service's own date is 00:00:00
    ],
)
def test_the_pause_is_the_one_asked_for(
    talk: Talk, service: PlayedService, headers: dict[str, str], seconds: float
) -> None:
    """`retry-after-ms`, else `Retry-After` in seconds or as a date of the service's clock; never earlier."""
    service.plays(CREATE, service.refuses(429, headers=headers))

    talk(create)

    assert len(talk.pauses) == 1
    assert seconds <= talk.pauses[0] <= seconds * 1.1


def test_no_retry_is_immediate(talk: Talk, service: PlayedService) -> None:
    """A service that asks for no pause is given the first one all the same."""
    service.plays(CREATE, service.refuses(429, headers={"Retry-After": "0"}))

    talk(create)

    assert len(talk.pauses) == 1
    assert 0.75 <= talk.pauses[0] <= 1


def test_no_answer_at_all_is_unreachable(talk: Talk, service: PlayedService) -> None:
    """After the last try the caller hears where nobody answered, and why; httpx's exception is the cause."""
    service.plays("GET /v1/models", *[service.hangs_up] * 3)

    with pytest.raises(
        burnish.Unreachable, match=r"127\.0\.0\.1:[0-9]+ does not answer.*tried 3 times"
    ) as caught:
        talk(lambda client: client.models.list(), max_retries=2)

    assert isinstance(caught.value.__cause__, httpx.TransportError)


def test_a_refusal_tells_everything(talk: Talk, service: PlayedService) -> None:
    """Code, message, field, request, details and when to come again, as the service said them."""
    service.plays(
        CREATE,
        service.refuses(
            429, "daily_limit_reached", param="model", retryable=True, details={"used": 500},
            headers={"Retry-After": "3600"},
        ),
    )  # fmt: skip

    with pytest.raises(burnish.Limited, match=r"^Refused with 429\.$") as caught:
        talk(create)

    told = caught.value
    assert (told.status, told.code, told.param, told.request_id) == (
        429,
        "daily_limit_reached",
        "model",
        "req_1",
    )
    assert (told.retryable, told.retry_after, told.details) == (True, 3600.0, {"used": 500})


@pytest.mark.parametrize("body", [b"<html>Bad gateway</html>", b"[]", b'{"error": "no"}', b"\xff", b""])
def test_an_error_in_other_words_is_known_by_its_status(
    talk: Talk, service: PlayedService, body: bytes
) -> None:
    """A proxy's own error page is a refusal of that status."""
    service.plays("GET /v1/models", service.says(404, body))

    with pytest.raises(burnish.NotFound, match="404 Not Found"):
        talk(lambda client: client.models.list())


@pytest.mark.parametrize(
    ("status", "body", "headers"),
    [
        (200, b"<html>Welcome</html>", {}),
        (200, b'{"models": []}', {}),
        (200, b"[1]", {}),
        (302, b"", {"Location": "https://example.com/login?next=/v1/models"}),
    ],
)
def test_a_reply_of_something_else_is_named_so(
    talk: Talk, service: PlayedService, status: int, body: bytes, headers: dict[str, str]
) -> None:
    """Another server at that address, or a redirect, is NotBurnish; a redirect's target is named, not followed."""
    service.plays("GET /v1/models", service.says(status, body, headers))

    with pytest.raises(burnish.NotBurnish, match="example.com" if headers else "no reply of Burnish"):
        talk(lambda client: client.models.list())


@pytest.mark.parametrize(
    ("url", "key"),
    [("127.0.0.1:8000", KEY), ("ftp://example.com", KEY), ("", KEY), ("http://example.com", "bk_live_\n")],
)
@pytest.mark.parametrize("kind", [burnish.Client, burnish.AsyncClient])
def test_what_cannot_be_a_client_is_refused_when_made(
    kind: type[burnish.Client | burnish.AsyncClient], url: str, key: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No key, a key that no header can hold, or an address that is no http URL: a ValueError that says so."""
    monkeypatch.delenv("BURNISH_API_KEY", raising=False)
    with pytest.raises(ValueError, match=r"address|key"):
        kind(url or "http://example.com", key if url else None)


def test_the_environment_names_the_service(monkeypatch: pytest.MonkeyPatch, service: PlayedService) -> None:
    """BURNISH_URL and BURNISH_API_KEY stand in for the arguments."""
    monkeypatch.setenv("BURNISH_URL", service.url + "/")
    monkeypatch.setenv("BURNISH_API_KEY", KEY)
    with burnish.Client() as client:
        assert client.url == service.url
        assert [model.name for model in client.models.list()] == ["upscale"]


def test_a_clients_own_httpx_is_used_and_left_open(service: PlayedService) -> None:
    """The caller's `httpx.Client` sends the requests, and is the caller's to close."""
    with httpx.Client(headers={"X-Seen": "1"}) as http:
        with burnish.Client(service.url, KEY, http=http) as client:
            client.models.list()
        assert not http.is_closed


def test_the_client_stands_alone() -> None:
    """Importing it brings in nothing of the server, and none of the server's dependencies."""
    code = (
        "import sys, burnish.client\n"
        "print([m for m in sys.modules if m.startswith('burnish.') and not m.startswith('burnish.client')])\n"
        "print([m for m in ('msgspec', 'asyncpg', 'starlette', 'uvicorn', 'numpy', 'PIL') if m in sys.modules])"
    )
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert said.stdout.split("\n")[:2] == ["[]", "[]"]


@given(
    status=st.integers(200, 599),
    tried=st.integers(1, 50),
    chance=st.floats(0, 1),
    headers=st.dictionaries(
        st.sampled_from(["Retry-After", "retry-after-ms", "X-Should-Retry", "Date"]),
        st.one_of(
            st.integers(-5, 10**6).map(str),
            st.sampled_from(
                ["true", "false", "nan", "inf", "1e400", "Thu, 01 Jan 2026 00:00:40 GMT", "soon", ""]
            ),
        ),
    ),
)
def test_no_pause_is_too_short_or_too_long(
    status: int, tried: int, chance: float, headers: dict[str, str]
) -> None:
    """Whatever a service says: no pause, or one that is at least as long as asked, and never beyond reason."""
    response = httpx.Response(status, headers=headers)
    pause = pause_before_retry(response, tried, chance)
    asked = asked_pause(response.headers)

    if status < 400 or status in (402, 422) or headers.get("X-Should-Retry") == "false":
        assert pause is None
    if pause is not None:
        assert pause >= (asked or 0.75)
        assert pause <= (LONGEST_ASKED_SECONDS * 1.1 if asked else LONGEST_PAUSE_SECONDS)


def test_a_request_that_cannot_be_sent_is_not_tried_again() -> None:
    """No network mends a header that is none, or a scheme that is not spoken."""
    request = httpx.Request("GET", "http://example.com")
    for error in (
        httpx.LocalProtocolError("no"),
        httpx.UnsupportedProtocol("no"),
        httpx.TooManyRedirects("no"),
    ):
        error.request = request
        assert pause_before_retry(error, 1, 0.5) is None
    assert pause_before_retry(httpx.ReadTimeout("", request=request), 1, 0.5) is not None
