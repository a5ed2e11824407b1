"""HitPaw's words for a refusal: the HTTP status and the nine digits of every code of the house, with the vendor's sentence.

Both documented shapes at once: some clients read `error_code`, others `code`. The sentence is the vendor's, so that programs
which compare it go on to work; what is ours to add stands behind it.
"""

from typing import Final, NamedTuple

from msgspec import Struct

from burnish.errors import Limited, Refused
from burnish.web.replies import Reply, json
from burnish.web.request import Request


class Answer(NamedTuple):
    """What a code of the house is answered with. The status is digits four to six of the code, as documented."""

    status: int
    code: int
    words: str


_TOKEN_EXPIRED: Final = Answer(401, 100401000, "Token is expired")
_NO_ACCESS: Final = Answer(400, 100400000, "No access")
_URL: Final = Answer(400, 100400001, "Invalid URL")
_BAD_REQUEST: Final = Answer(400, 100400002, "Bad Request")
_PARAMETERS: Final = Answer(403, 100403000, "Invalid request parameters")
_DENIED: Final = Answer(403, 100403001, "Access denied")
_NOT_ALLOWED: Final = Answer(403, 100403002, "You don't have permission to access this resource")
_TOO_MANY: Final = Answer(429, 100429000, "Too many requests, please try again later")
_INTERNAL: Final = Answer(500, 100500000, "Internal error")
_DATABASE: Final = Answer(500, 100500001, "Database error")
_CACHE: Final = Answer(500, 100500002, "Cache error")
_FILE: Final = Answer(500, 100500003, "Failed to create file")
_NOT_SET_UP: Final = Answer(500, 100500005, "Configuration error")
_UNKNOWN: Final = Answer(500, 100500006, "Unknown error")
_TIMEOUT: Final = Answer(500, 100500007, "Operation timeout")

_KEY: Final = Answer(400, 110400000, "api_key is not valid")
_NO_TASK: Final = Answer(400, 110400002, "The task does not exist")
_FAILED: Final = Answer(400, 110400003, "The task failed, please try again")
_MODEL: Final = Answer(400, 110400005, "The model is not supported, please try again")
_EXTENSION: Final = Answer(400, 110400007, "The extension is not valid")
_VIDEO_URL: Final = Answer(400, 110400008, "The video URL is not valid")
_INPUT_SIZE: Final = Answer(400, 110400009, "The input resolution is over limit")
_OUTPUT_SIZE: Final = Answer(400, 110400010, "The target resolution is over limit")
_DURATION: Final = Answer(400, 110400011, "The video duration is over limit")
_UNREADABLE: Final = Answer(400, 110400012, "Get The image resolution is failed,please try a new image")
_COINS: Final = Answer(402, 110402000, "The coins is not enough")
_COINS_OF_MODERATION: Final = Answer(402, 110402001, "The coins is not enough")
_DEMO: Final = Answer(402, 110402004, "The Demo try times exceeded")


ANSWERS: Final[dict[str, Answer]] = {
    "malformed": _BAD_REQUEST,
    "body_stalled": _BAD_REQUEST,
    "unauthenticated": _KEY,
    "missing_key": _KEY,
    "malformed_key": _KEY,
    "unknown_key": _KEY,
    "revoked_key": _KEY,
    "expired_key": _TOKEN_EXPIRED,
    "insufficient_credits": _COINS,
    "key_credits_spent": _COINS,
    "forbidden": _NOT_ALLOWED,
    "scope_missing": _NOT_ALLOWED,
    "address_not_allowed": _NO_ACCESS,
    "bad_signature": _DENIED,
    "not_found": _NO_TASK,
    "not_arrived": _NO_TASK,
    "method_not_allowed": _BAD_REQUEST,
    "conflict": _BAD_REQUEST,
    "account_exists": _BAD_REQUEST,
    "task_not_retryable": _BAD_REQUEST,
    "task_not_ended": _BAD_REQUEST,
    "idempotency_in_progress": _TOO_MANY,
    "too_many_endpoints": _BAD_REQUEST,
    "endpoint_disabled": _BAD_REQUEST,
    "upload_arrived": _DENIED,
    "expired": _NO_TASK,
    "file_expired": _DENIED,
    "too_large": _BAD_REQUEST,
    "upload_too_large": _BAD_REQUEST,
    "unsupported_media": _BAD_REQUEST,
    "no_such_bytes": _BAD_REQUEST,
    "invalid": _PARAMETERS,
    "unknown_field": _PARAMETERS,
    "missing_field": _PARAMETERS,
    "unknown_model": _MODEL,
    "model_not_installed": _MODEL,
    "max_credits_exceeded": _PARAMETERS,
    "idempotency_key_missing": _PARAMETERS,
    "idempotency_key_reused": _PARAMETERS,
    "upload_not_found": _URL,
    "upload_expired": _URL,
    "bad_link": _URL,
    "test_input": _URL,
    "link_expired": _URL,
    "upload_type_differs": _DENIED,
    "upload_size_differs": _DENIED,
    "upload_hash_differs": _DENIED,
    "input_blocked": _URL,
    "input_unreachable": _URL,
    "input_forbidden": _URL,
    "input_timeout": _URL,
    "unsupported_format": _EXTENSION,
    "decode_failed": _UNREADABLE,
    "input_too_large": _INPUT_SIZE,
    "duration_out_of_range": _DURATION,
    "output_too_large": _OUTPUT_SIZE,
    "engine_refused": _FAILED,
    "ip_rate_limited": _TOO_MANY,
    "rate_limited": _TOO_MANY,
    "polling_rate_limited": _TOO_MANY,
    "too_many_tasks": _TOO_MANY,
    "too_many_heavy_tasks": _TOO_MANY,
    "daily_limit_reached": _TOO_MANY,
    "duplicate_name": _TOO_MANY,
    "too_many_renditions": _TOO_MANY,
    "rendition_pending": _TIMEOUT,
    "internal": _INTERNAL,
    "unavailable": _UNKNOWN,
    "database_unavailable": _DATABASE,
    "storage_unavailable": _FILE,
    "storage_full": _FILE,
    "limits_unavailable": _CACHE,
    "account_busy": _TIMEOUT,
    "not_ready": _NOT_SET_UP,
    "draining": _TIMEOUT,
    # Of tasks that ended while their submission was still being answered.
    "upstream_timeout": _TIMEOUT,
    "upstream_error": _FAILED,
    "deadline_exceeded": _FAILED,
    "worker_lost": _FAILED,
    "cancelled_by_user": _FAILED,
}

#: By the end of the path: what is said there in place of an answer, where the vendor has a number of its own.
_AT: Final[dict[str, dict[Answer, Answer]]] = {
    "video-enhancer": {_URL: _VIDEO_URL, _UNREADABLE: _VIDEO_URL},
    "image-nsfw": {_COINS: _COINS_OF_MODERATION},
}


class DemoOver(Limited):
    """A test key has made as many tasks as it may in a day."""


class ErrorReply(Struct, frozen=True, kw_only=True):
    """What is said no with: one number under both names, and a sentence."""

    code: int
    error_code: int
    message: str


def answer_to(refused: Refused, path: str = "") -> Answer:
    """The answer to a code, to its kind's where the code has none of its own; `path`: of the request."""
    if isinstance(refused, DemoOver):
        return _DEMO
    answer = ANSWERS.get(refused.code) or ANSWERS[type(refused).code]
    return _AT.get(path.rpartition("/")[2], {}).get(answer, answer)


def say_no(request: Request, refused: Refused) -> Reply:
    """A refusal in HitPaw's words. What may be tried again later says when, which the vendor leaves out."""
    answer = answer_to(refused, request.scope["path"].rstrip("/"))
    message = f"{answer.words} ({refused.message})"
    later = refused.retry_after or (1 if isinstance(refused, Limited) or answer.status >= 500 else None)
    headers = [] if later is None else [(b"retry-after", b"%d" % later)]
    if isinstance(allowed := refused.details.get("allow"), list):
        headers.append((b"allow", ", ".join(allowed).encode()))
    body = ErrorReply(code=answer.code, error_code=answer.code, message=message)
    return json(body, status=answer.status, headers=headers)
