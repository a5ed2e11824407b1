"""A service as its client sees it: where it is, the key, and one request repeated until it is answered.

Used by the resources. `ask` speaks to the API with the key; `repeat` sends anything at all, such as bytes to a
signed URL, which must never see the key.
"""

import json
import random
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from importlib.metadata import version
from typing import Any, Final, TypeVar

import httpx

from burnish.client._errors import NotBurnish, Problem, Unreachable, refusal
from burnish.client._flow import Flow, Pause, Send
from burnish.client._repeat import asked_pause, pause_before_retry

T = TypeVar("T")

AGENT: Final = f"burnish-python/{version('burnish')}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Remote:
    """`url` has no closing slash; `timeout_seconds` is the longest silence; `clock` is monotonic, in seconds."""

    url: str
    key: str = field(repr=False)
    timeout_seconds: float
    max_retries: int
    clock: Callable[[], float]

    def get(
        self,
        path: str,
        query: Mapping[str, Any] | None = None,
        *,
        held_seconds: float = 0,
        until: float | None = None,
    ) -> Flow[httpx.Response]:
        """The reply to a GET that the service may hold for `held_seconds`; no new try begins after `until`."""
        params = {name: str(value) for name, value in (query or {}).items() if value is not None}
        request = self.request("GET", self.url + path, headers=self._key(), params=params, held=held_seconds)
        return (yield from self.repeat(lambda: Send(request), until))

    def post(self, path: str, body: Mapping[str, Any], idempotency_key: str | None) -> Flow[httpx.Response]:
        """The reply to a POST: the same bytes and the same idempotency key on every try, so it takes effect once."""
        headers = self._key() | {
            "Content-Type": "application/json",
            "Idempotency-Key": idempotency_key or str(uuid.uuid4()),
        }
        content = json.dumps(body, ensure_ascii=False, allow_nan=False).encode()
        request = self.request("POST", self.url + path, headers=headers, content=content)
        return (yield from self.repeat(lambda: Send(request)))

    def request(
        self,
        method: str,
        url: str,
        *,
        headers: Mapping[str, str],
        held: float = 0,
        **rest: Any,
    ) -> httpx.Request:
        """A request with this client's name and timeouts; connecting takes 10 s at most."""
        timeout = httpx.Timeout(
            self.timeout_seconds,
            connect=min(10.0, self.timeout_seconds),
            read=self.timeout_seconds + held,
            pool=None,  # a busy client waits for its own connections as long as it takes
        )
        return httpx.Request(
            method,
            url,
            # Host is httpx's to add, but it leaves that out where a body is streamed.
            headers={
                "Host": httpx.URL(url).netloc.decode(),
                "User-Agent": AGENT,
                "Accept": "application/json",
                **headers,
            },
            extensions={"timeout": timeout.as_dict()},
            **rest,
        )

    def repeat(self, send: Callable[[], Send], until: float | None = None) -> Flow[httpx.Response]:
        """The first reply that is no error, after at most `max_retries` more tries; `send` makes each one afresh.

        No try begins after `until`, on the service's `clock`.

        Raises:
            Unreachable, Refused: as the last try ended.
        """
        tried = 0
        while True:
            outcome = yield from attempt(send())
            if isinstance(outcome, httpx.Response) and not outcome.is_error:
                return outcome
            tried += 1
            yield from self.before_next(outcome, tried, until)

    def before_next(
        self, outcome: httpx.Response | httpx.RequestError, tried: int, until: float | None = None
    ) -> Flow[None]:
        """Pause before the next try; or raise what came of the last, when there is none."""
        pause = pause_before_retry(outcome, tried, random.random())
        late = pause is not None and until is not None and self.clock() + pause > until
        if pause is None or late or tried > self.max_retries:
            raise _problem(outcome, tried) from (None if isinstance(outcome, httpx.Response) else outcome)
        yield Pause(pause)

    def _key(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.key}"}


def attempt(send: Send) -> Flow[httpx.Response | httpx.RequestError]:
    """What came of one try, an error as a value."""
    try:
        response: httpx.Response = yield send
    except httpx.RequestError as error:
        return error
    return response


def read(response: httpx.Response, shape: Callable[[Any], T]) -> T:
    """The reply's JSON as `shape` makes it. Raises NotBurnish where it is something else."""
    try:
        return shape(response.json())
    except (AssertionError, AttributeError, KeyError, TypeError, ValueError) as error:
        where = response.headers.get("location")
        raise NotBurnish(
            f"{_origin(response.request.url)} answered {response.status_code} with something that is no reply of "
            "Burnish"
            + (f" and points to {_origin(httpx.URL(where))}" if where else "")
            + ". Is the address the service's own?"
        ) from error


def _problem(outcome: httpx.Response | httpx.RequestError, tried: int) -> Problem:
    if isinstance(outcome, httpx.Response):
        return refusal(outcome, asked_pause(outcome.headers))
    times = "" if tried == 1 else f" (tried {tried} times)"
    said = str(outcome) or type(outcome).__name__
    return Unreachable(f"{_origin(outcome.request.url)} does not answer: {said}{times}.")


def _origin(url: httpx.URL) -> str:
    """Where a URL points, without its path and query, which may hold a signature."""
    return f"{url.scheme}://{url.netloc.decode()}" if url.host else str(url)
