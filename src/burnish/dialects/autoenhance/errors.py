"""Autoenhance's words for a refusal: `{"message", "detail"}`, and of a wrong field where it stands and what it wants.

The vendor documents 401, 404, 422 and 429; 402 is what its pages say without the number. Its clients know no other
status that is theirs to mend, so that what is over is told as not there, and what cannot be done as a wrong field.
"""

from typing import Any, Final

from msgspec import Struct

from burnish.errors import Refused
from burnish.web.replies import Reply, json
from burnish.web.request import Request

#: Every code of the house -> the status that it is answered with here.
CODES: Final[dict[str, int]] = {
    "malformed": 422,
    "body_stalled": 408,
    "unauthenticated": 401,
    "missing_key": 401,
    "malformed_key": 401,
    "unknown_key": 401,
    "revoked_key": 401,
    "expired_key": 401,
    "insufficient_credits": 402,
    "key_credits_spent": 402,
    "max_credits_exceeded": 402,
    "forbidden": 403,
    "scope_missing": 403,
    "address_not_allowed": 403,
    "bad_signature": 403,
    "not_found": 404,
    "not_arrived": 404,
    "expired": 404,
    "file_expired": 404,
    "method_not_allowed": 405,
    "conflict": 409,
    "account_exists": 409,
    "task_not_retryable": 409,
    "task_not_ended": 409,
    "idempotency_in_progress": 409,
    "too_many_endpoints": 409,
    "too_many_renditions": 409,
    "endpoint_disabled": 409,
    "upload_arrived": 409,
    "too_large": 413,
    "upload_too_large": 413,
    "unsupported_media": 415,
    "no_such_bytes": 416,
    "invalid": 422,
    "unknown_field": 422,
    "missing_field": 422,
    "unknown_model": 422,
    "model_not_installed": 422,
    "idempotency_key_missing": 422,
    "idempotency_key_reused": 422,
    "upload_not_found": 422,
    "upload_expired": 422,
    "bad_link": 422,
    "test_input": 422,
    "link_expired": 422,
    "upload_type_differs": 422,
    "upload_size_differs": 422,
    "upload_hash_differs": 422,
    "input_blocked": 422,
    "unsupported_format": 422,
    "decode_failed": 422,
    "input_too_large": 422,
    "duration_out_of_range": 422,
    "output_too_large": 422,
    "engine_refused": 422,
    "ip_rate_limited": 429,
    "rate_limited": 429,
    "polling_rate_limited": 429,
    "too_many_tasks": 429,
    "too_many_heavy_tasks": 429,
    "daily_limit_reached": 429,
    "duplicate_name": 429,
    "internal": 500,
    "unavailable": 503,
    "database_unavailable": 503,
    "storage_unavailable": 503,
    "storage_full": 503,
    "limits_unavailable": 503,
    "account_busy": 503,
    "rendition_pending": 503,
    "not_ready": 503,
    "draining": 503,
}

#: Where a field stands that no part of the request's own is said of.
_LOCATIONS: Final = {"GET": "query", "HEAD": "query"}


class ErrorReply(Struct, frozen=True, kw_only=True):
    """Every reply of 400 and above. `detail`: of a wrong field `{location: {field: [what it wants]}}`."""

    message: str
    detail: dict[str, Any]


def say_no(request: Request, refused: Refused) -> Reply:
    status = CODES.get(refused.code) or CODES[type(refused).code]
    later = refused.retry_after or (1 if status in {429, 503} else None)
    if status == 422:
        location = str(refused.details.get("location") or _LOCATIONS.get(request.method, "json"))
        body = ErrorReply(
            message="Validation error", detail={location: {refused.param or "_schema": [refused.message]}}
        )
    else:
        detail: dict[str, Any] = {"code": refused.code, "request_id": request.id}
        if later is not None:
            detail["retry_after"] = later
        body = ErrorReply(message=refused.message, detail=detail)
    return json(body, status=status, headers=_headers(status, refused, later))


def _headers(status: int, refused: Refused, later: int | None) -> list[tuple[bytes, bytes]]:
    headers = []
    if later is not None:
        headers.append((b"retry-after", b"%d" % later))
    if isinstance(allowed := refused.details.get("allow"), list):
        headers.append((b"allow", ", ".join(allowed).encode()))
    if status == 416:
        headers.append((b"content-range", f"bytes */{refused.details['size_bytes']}".encode()))
    return headers
