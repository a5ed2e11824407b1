"""HiAPI's words for a refusal: the status and the `error_code` of every code of the house.

The vendor documents two envelopes, one of the task API and one of its gateway for 401, 403 and 429. Those three carry both,
so that whichever a client reads is there.
"""

from typing import Final, NamedTuple

from msgspec import UNSET, Struct, UnsetType

from burnish.errors import Refused
from burnish.web.replies import Reply, json
from burnish.web.request import Request


class Answer(NamedTuple):
    """What a code of the house is answered with. `gateway`: the code in the gateway's envelope, where it has one."""

    status: int
    code: str
    gateway: str = ""


_INVALID: Final = Answer(400, "INVALID_REQUEST")
_MODEL: Final = Answer(400, "MODEL_UNAVAILABLE")
_KEY: Final = Answer(401, "PERMISSION_DENIED", "permission_denied")
_FORBIDDEN: Final = Answer(403, "PERMISSION_DENIED", "permission_denied")
_BALANCE: Final = Answer(402, "INSUFFICIENT_BALANCE")
_NOT_FOUND: Final = Answer(404, "NOT_FOUND")
_PROCESSING: Final = Answer(409, "IDEMPOTENCY_KEY_PROCESSING")
_MISMATCH: Final = Answer(422, "IDEMPOTENCY_KEY_MISMATCH")
_RATE: Final = Answer(429, "RATE_LIMIT_EXCEEDED", "rate_limit_exceeded")
_AWAY: Final = Answer(503, "SERVICE_UNAVAILABLE")
_STORAGE: Final = Answer(503, "STORAGE_UNAVAILABLE")

ANSWERS: Final[dict[str, Answer]] = {
    "malformed": _INVALID,
    "body_stalled": _INVALID,
    "unauthenticated": _KEY,
    "missing_key": _KEY,
    "malformed_key": _KEY,
    "unknown_key": _KEY,
    "revoked_key": _KEY,
    "expired_key": _KEY,
    "insufficient_credits": _BALANCE,
    "key_credits_spent": _BALANCE,
    "forbidden": _FORBIDDEN,
    "scope_missing": _FORBIDDEN,
    "address_not_allowed": _FORBIDDEN,
    "bad_signature": _FORBIDDEN,
    "not_found": _NOT_FOUND,
    "not_arrived": _NOT_FOUND,
    "method_not_allowed": Answer(405, "INVALID_REQUEST"),
    "conflict": _INVALID,
    "account_exists": _INVALID,
    "task_not_retryable": _INVALID,
    "task_not_ended": _INVALID,
    "idempotency_in_progress": _PROCESSING,
    "too_many_endpoints": _INVALID,
    "endpoint_disabled": _INVALID,
    "too_many_renditions": _INVALID,
    "upload_arrived": _INVALID,
    "expired": _NOT_FOUND,
    "file_expired": _NOT_FOUND,
    "too_large": Answer(413, "INVALID_REQUEST"),
    "upload_too_large": Answer(413, "INVALID_REQUEST"),
    "unsupported_media": _INVALID,
    "no_such_bytes": Answer(416, "INVALID_REQUEST"),
    "invalid": _INVALID,
    "unknown_field": _INVALID,
    "missing_field": _INVALID,
    "unknown_model": _MODEL,
    "model_not_installed": _MODEL,
    "max_credits_exceeded": _INVALID,
    "idempotency_key_missing": _INVALID,
    "idempotency_key_reused": _MISMATCH,
    "upload_not_found": _INVALID,
    "upload_expired": _INVALID,
    "bad_link": _INVALID,
    "test_input": _INVALID,
    "link_expired": _INVALID,
    "upload_type_differs": _INVALID,
    "upload_size_differs": _INVALID,
    "upload_hash_differs": _INVALID,
    "input_blocked": _INVALID,
    "unsupported_format": _INVALID,
    "decode_failed": _INVALID,
    "input_too_large": _INVALID,
    "duration_out_of_range": _INVALID,
    "output_too_large": _INVALID,
    "engine_refused": _INVALID,
    "ip_rate_limited": _RATE,
    "rate_limited": _RATE,
    "polling_rate_limited": _RATE,
    "too_many_tasks": _RATE,
    "too_many_heavy_tasks": _RATE,
    "daily_limit_reached": _RATE,
    "duplicate_name": _RATE,
    "internal": Answer(500, "INTERNAL_ERROR"),
    "unavailable": _AWAY,
    "database_unavailable": _AWAY,
    "storage_unavailable": _STORAGE,
    "storage_full": _STORAGE,
    "limits_unavailable": _AWAY,
    "account_busy": _AWAY,
    "rendition_pending": _AWAY,
    "not_ready": _AWAY,
    "draining": _AWAY,
}

#: Of a failed task: the code of its error. Whatever is not here is a plain failure.
_FAILURES: Final = {
    "deadline_exceeded": "TASK_TIMEOUT",
    "upstream_timeout": "TASK_TIMEOUT",
    "input_timeout": "TASK_TIMEOUT",
}
_AGAIN: Final = frozenset({409, 429, 503})


class GatewayError(Struct, frozen=True, kw_only=True):
    """The gateway's envelope, around 401, 403 and 429."""

    type: str = "hiapi_error"
    code: str
    message: str
    request_id: str


class ErrorReply(Struct, frozen=True, kw_only=True):
    """The task API's envelope."""

    code: int
    message: str
    data: None = None
    error_code: str
    error: GatewayError | UnsetType = UNSET


def answer_to(refused: Refused) -> Answer:
    """The answer to a code; to its kind's where the code has none of its own."""
    return ANSWERS.get(refused.code) or ANSWERS[type(refused).code]


def failure_code(reason: str | None) -> str:
    return _FAILURES.get(reason or "", "TASK_FAILED")


def say_no(request: Request, refused: Refused) -> Reply:
    """A refusal in HiAPI's words. What may be tried again says when."""
    status, code, gateway = answer_to(refused)
    message = f"{refused.param}: {refused.message}" if refused.param else refused.message
    headers: list[tuple[bytes, bytes]] = []
    if status == 401:
        headers.append((b"www-authenticate", b"Bearer"))
    if status in _AGAIN:
        headers.append((b"retry-after", b"%d" % (refused.retry_after or 1)))
    if isinstance(allowed := refused.details.get("allow"), list):
        headers.append((b"allow", ", ".join(allowed).encode()))
    error = GatewayError(code=gateway, message=message, request_id=request.id) if gateway else UNSET
    return json(
        ErrorReply(code=status, message=message, error_code=code, error=error), status=status, headers=headers
    )
