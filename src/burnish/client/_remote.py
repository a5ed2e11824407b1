"""A service as its client sees it: where it is, the key, and one request repeated until it is answered.

Used by the resources. `get` and `post` speak to the API with the key, at the pace that it allows (`_pace.py`);
`repeat` sends anything at all, such as bytes to a signed URL, which must never see the key.
"""

import json
import random
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from importlib.metadata import version
from typing import Any, Final, TypeAlias, TypeVar

import httpx

from burnish.client._errors import NotBurnish, Problem, Unreachable, refusal
from burnish.client._flow import Enter, Flow, Page, Pause, Send
from burnish.client._pace import Kind, Pace
from burnish.client._repeat import asked_pause, pause_before_retry

T = TypeVar("T")
#: What came of one try, an error as a value.
Attempt: TypeAlias = Flow[httpx.Response | httpx.RequestError]

AGENT: Final = f"burnish-python/{version('burnish')}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Remote:
    """`url` has no closing slash; `timeout_seconds` is the longest silence; `clock` is monotonic, in seconds."""

    url: str
    key: str = field(repr=False)
    timeout_seconds: float
    max_retries: int
    clock: Callable[[], float]
    pace: Pace = field(default_factory=Pace)

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
        return (
            yield from self.repeat(lambda: self._paced("read", request, until, held=held_seconds > 0), until)
        )

    def post(
        self,
        path: str,
        body: Mapping[str, Any] | None,
        idempotency_key: str | None,
        refused: Callable[[httpx.Response], object] | None = None,
    ) -> Flow[httpx.Response]:
        """The reply to a POST: the same bytes and the same idempotency key on every try, so it takes effect once.

        `refused` is called with each reply that is an error, before the next try.
        """
        headers = self._key() | {
            "Content-Type": "application/json",
            "Idempotency-Key": idempotency_key or str(uuid.uuid4()),
        }
        content = json.dumps(body or {}, ensure_ascii=False, allow_nan=False).encode()
        request = self.request("POST", self.url + path, headers=headers, content=content)
        return (yield from self.repeat(lambda: self._paced("create", request, refused=refused)))

    def delete(self, path: str) -> Flow[httpx.Response]:
        """The reply to a DELETE."""
        request = self.request("DELETE", self.url + path, headers=self._key())
        return (yield from self.repeat(lambda: self._paced("create", request)))

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

    def repeat(self, try_: Callable[[], Attempt], until: float | None = None) -> Flow[httpx.Response]:
        """The first reply that is no error, after at most `max_retries` more tries; `try_` makes each one afresh.

        No try begins after `until`, on the service's `clock`.

        Raises:
            Unreachable, Refused: as the last try ended.
        """
        tried = 0
        while True:
            outcome = yield from try_()
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

    def _paced(
        self,
        kind: Kind,
        request: httpx.Request,
        until: float | None = None,
        *,
        held: bool = False,
        refused: Callable[[httpx.Response], object] | None = None,
    ) -> Attempt:
        """One try, when its rate allows it; at `until` in any case."""
        scout = self.pace.scout(kind)
        place = None
        try:
            if scout is not None:
                yield Enter(scout)
            place = self.pace.take(kind, self.clock(), held=held)
            while pause := self.pace.pause(place, self.clock()):
                left = pause if until is None else until - self.clock()
                if left <= 0:
                    break
                yield Pause(min(pause, left))
            outcome = yield from attempt(Send(request))
            if isinstance(outcome, httpx.Response):
                self.pace.told(kind, place, outcome, asked_pause(outcome.headers), self.clock())
                if outcome.is_error and refused is not None:
                    refused(outcome)
            return outcome
        finally:
            if place is not None:
                self.pace.left(place)
            if scout is not None:
                scout.leave()

    def _key(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.key}"}


def attempt(send: Send) -> Attempt:
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


def page(remote: Remote, path: str, query: Mapping[str, Any], shape: Callable[[Any], T]) -> Flow[Page[T]]:
    """One page of a list, and the flow that fetches what follows it."""
    reply = yield from remote.get(path, query)
    items, following = read(
        reply,
        lambda body: (
            [shape(item) for item in body["data"]],
            body.get("next") if body.get("has_more") else None,
        ),
    )
    return Page(items, page(remote, path, {**query, "after": following}, shape) if following else None)


def _problem(outcome: httpx.Response | httpx.RequestError, tried: int) -> Problem:
    if isinstance(outcome, httpx.Response):
        return refusal(outcome, asked_pause(outcome.headers))
    times = "" if tried == 1 else f" (tried {tried} times)"
    said = str(outcome) or type(outcome).__name__
    return Unreachable(f"{_origin(outcome.request.url)} does not answer: {said}{times}.")


def _origin(url: httpx.URL) -> str:
    """Where a URL points, without its path and query, which may hold a signature."""
    return f"{url.scheme}://{url.netloc.decode()}" if url.host else str(url)
