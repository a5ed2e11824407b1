"""Everything the client raises on its own account: one tree.

    Problem
    ├── Unreachable             no reply came, after all tries
    ├── NotBurnish              what answered does not speak this API: a proxy's page, another service
    ├── Refused                 the service said no; `status`, `code`, `message`, `param`, `request_id` …
    │   ├── Malformed           400
    │   ├── Unauthenticated     401   no key, an unknown one, a revoked one
    │   ├── InsufficientCredits 402
    │   ├── Forbidden           403   a known key that may not do this
    │   ├── NotFound            404
    │   ├── Conflict            409
    │   ├── Expired             410   it was there, and its time is over
    │   ├── TooLarge            413
    │   ├── UnsupportedMedia    415
    │   ├── Invalid             422   a field is wrong; `param` names it
    │   ├── Limited             429   over a limit, after all tries; `retry_after` says when again
    │   └── Unavailable         5xx   the service's own fault, after all tries
    ├── TaskFailed              a task that was run failed or was cancelled; `task.status_reason` says why
    ├── StillRunning            the time given for waiting is over; the task goes on
    ├── Damaged                 bytes are not what was announced
    └── NotGenuine              a delivery of a webhook that the service did not sign, or not now

A wrong argument is a ValueError or TypeError; a file that cannot be read or written is an OSError.
"""

from typing import Any, Final

import httpx

from burnish.client._shapes import Task


class Problem(Exception):
    """Anything that keeps the client from doing what it was asked.

    `task` is the task that was being waited for, where there is one: it goes on, and `tasks.wait` takes it again.
    """

    task: Task | None = None


class Unreachable(Problem):
    """No reply came; the cause is the exception of httpx."""


class NotBurnish(Problem):
    """A reply came that this client cannot read."""


class Refused(Problem):
    """The service said no.

    `code` is stable (`unknown_model`), `param` the path of the field at fault (`input.scale`), `retry_after` in
    seconds, `retryable` whether the same request may succeed later; `details` is the rest, as JSON.
    """

    def __init__(
        self,
        message: str,
        *,
        status: int,
        code: str,
        param: str | None = None,
        request_id: str | None = None,
        retryable: bool = False,
        retry_after: float | None = None,
        details: dict[str, Any] | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.status = status
        self.code = code
        self.param = param
        self.request_id = request_id
        self.retryable = retryable
        self.retry_after = retry_after
        self.details = details or {}


class Malformed(Refused):
    """The request could not be read."""


class Unauthenticated(Refused):
    """No key, or one that is unknown, expired or revoked."""


class InsufficientCredits(Refused):
    """The account cannot pay for it."""


class Forbidden(Refused):
    """The key is known and may not do this."""


class NotFound(Refused):
    """There is nothing of that name for this account."""


class Conflict(Refused):
    """It does not fit the present state."""


class Expired(Refused):
    """It was there, and its time is over."""


class TooLarge(Refused):
    """More bytes than the place takes."""


class UnsupportedMedia(Refused):
    """The service does not read this content type."""


class Invalid(Refused):
    """Readable, but a field is wrong; `param` names it."""


class Limited(Refused):
    """Over a limit, after all tries; `retry_after` says when again."""


class Unavailable(Refused):
    """The service's own fault, after all tries."""


class TaskFailed(Problem):
    """A task that was run ended without a result."""

    def __init__(self, task: Task) -> None:
        why = task.status_message or task.status_reason or "no reason was given"
        super().__init__(f"Task {task.id} {task.status}: {why}")
        self.task: Task = task


class StillRunning(Problem):
    """The time given for waiting is over before the task's end."""

    def __init__(self, task: Task) -> None:
        super().__init__(f"Task {task.id} is still {task.status}; it goes on.")
        self.task: Task = task


class Damaged(Problem):
    """Bytes are fewer, more or others than was announced."""


class NotGenuine(Problem):
    """A delivery that the service did not sign with this secret, or not now."""


_KINDS: Final[dict[int, type[Refused]]] = {
    400: Malformed,
    401: Unauthenticated,
    402: InsufficientCredits,
    403: Forbidden,
    404: NotFound,
    409: Conflict,
    410: Expired,
    413: TooLarge,
    415: UnsupportedMedia,
    422: Invalid,
    429: Limited,
}


def refusal(response: httpx.Response, retry_after: float | None) -> Refused:
    """The error that a 4xx or 5xx reply tells of. A body that is not the service's own leaves the status to speak."""
    body = error_body(response)
    kind = _KINDS.get(response.status_code, Unavailable if response.is_server_error else Refused)
    return kind(
        str(body.get("message") or f"{response.status_code} {response.reason_phrase}".strip()),
        status=response.status_code,
        code=str(body.get("code") or response.status_code),
        param=body.get("param"),
        request_id=body.get("request_id") or response.headers.get("request-id"),
        retryable=bool(body.get("retryable")),
        retry_after=retry_after,
        details=body.get("details"),
    )


def error_body(response: httpx.Response) -> dict[str, Any]:
    """The `error` member of a refusal's body; empty where there is none."""
    try:
        body = response.json()
    except ValueError:
        return {}
    error = body.get("error") if isinstance(body, dict) else None
    return error if isinstance(error, dict) else {}
