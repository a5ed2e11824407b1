"""The native API's words for a refusal: the status, the sentence and the remedy of every code.

`CODES` is read by the reply, by the documentation and by a test, which fails where a code of the house is missing.
"""

from typing import Annotated, Any, Final

import msgspec
from msgspec import Meta, Struct

from burnish.errors import Refused
from burnish.web.operation import Code
from burnish.web.replies import Reply, json
from burnish.web.request import Request

CODES: Final[dict[str, Code]] = {
    # 400: the request cannot be read
    "malformed": Code(400, "The body cannot be read.", "Send JSON in UTF-8; the message says where it breaks off."),
    "body_stalled": Code(408, "The body stopped coming.", "Send it again, without pauses."),
    # 401, 402, 403: who is calling
    "unauthenticated": Code(401, "The key is not accepted.", "Check the key."),
    "missing_key": Code(401, "There is no key.", "Send `Authorization: Bearer bk_…`."),
    "malformed_key": Code(401, "The key has a wrong checksum, or two came.", "Look for a missing or changed letter; send one header."),
    "unknown_key": Code(401, "The key is not known here.", "Check that it belongs to this service."),
    "revoked_key": Code(401, "The key was revoked.", "Use another key."),
    "expired_key": Code(401, "The key's time is over.", "Use another key."),
    "insufficient_credits": Code(402, "There are too few credits.", "Buy credits; waiting does not help."),
    "key_credits_spent": Code(402, "The key has spent what it may.", "Raise the key's cap, or use another key."),
    "forbidden": Code(403, "This is not allowed to the key.", "Use a key that may do it."),
    "scope_missing": Code(403, "The key lacks a scope, named in `details`.", "Use a key that has it."),
    "address_not_allowed": Code(
        403, "The key may not be used from this address.", "Call from one of its networks, or use another key."
    ),
    "bad_signature": Code(
        403, "A link is cut, changed, or none of this service.", "Use the link exactly as it was given."
    ),
    # 404, 405, 409, 410: what it is about
    "not_found": Code(404, "There is nothing of that name for this account.", "Check the id and the key's environment."),
    "not_arrived": Code(404, "The upload has no bytes yet.", "Send them to the upload's `url` first."),
    "method_not_allowed": Code(405, "The path does not take this method.", "The `Allow` header says which it takes."),
    "conflict": Code(409, "This cannot be done any more.", "Read the present state first."),
    "account_exists": Code(409, "There is an account of that name already.", "Choose another name, or use that one."),
    "task_not_retryable": Code(409, "The task has neither failed nor been cancelled.", "Submit a new task."),
    "task_not_ended": Code(409, "The task has not ended.", "Wait for its end, or cancel it first."),
    "idempotency_in_progress": Code(
        409, "A request with this idempotency key is still being decided.", "Send it again after `Retry-After`."
    ),
    "too_many_endpoints": Code(409, "The account has as many webhook endpoints as it may.", "Delete one first."),
    "too_many_renditions": Code(409, "The file was asked for in too many forms.", "Ask for one that was made."),
    "endpoint_disabled": Code(409, "The webhook endpoint is disabled.", "Enable it first: PATCH `disabled` to false."),
    "upload_arrived": Code(409, "The upload has its bytes already.", "Make a new upload for other bytes."),
    "expired": Code(410, "It was here, and its time is over.", "Submit the task again, with another idempotency key."),
    "file_expired": Code(410, "The file was here, and its time is over.", "Make it, or upload it, again."),
    # 413, 415, 416, 422: the request is readable, and cannot be taken
    "too_large": Code(413, "The body is too large.", "`details.max_bytes` says how large it may be."),
    "upload_too_large": Code(413, "The file is too large.", "`details.max_bytes` says how large it may be."),
    "unsupported_media": Code(415, "The body has another content type.", "Send `application/json`."),
    "no_such_bytes": Code(416, "The range lies outside the file.", "`details.size_bytes` says how many bytes there are."),
    "invalid": Code(422, "A field is wrong; `param` names it.", "The message says what it wants."),
    "unknown_field": Code(422, "There is no such field; `param` names it.", "Look for a typing error."),
    "missing_field": Code(422, "A field is missing; `param` names it.", "Add it."),
    "unknown_model": Code(422, "There is no such model.", "Choose one of `GET /v1/models`."),
    "model_not_installed": Code(422, "The model, or a part of it, is not installed here.", "The message says how the operator installs it."),
    "max_credits_exceeded": Code(422, "It costs more than `max_credits` allows.", "Raise it, or ask for less."),
    "idempotency_key_missing": Code(
        422, "What moves money needs the header `Idempotency-Key`.", "Send one, and the same again with every retry."
    ),
    "idempotency_key_reused": Code(
        422, "The idempotency key came with another body.", "Use a new key for a new request."
    ),
    "upload_not_found": Code(422, "The input names no upload of this account.", "Give an upload's id, or a URL."),
    "upload_expired": Code(422, "The input's upload is gone.", "Upload the file again."),
    "bad_link": Code(
        422, "The input is a link of ours that was cut or changed.", "Use the link exactly as it was given."
    ),
    "test_input": Code(422, "The input is one for tests, and not for this key or unknown.", "Use a test key, and a word that there is."),
    "link_expired": Code(422, "The input is a link of ours whose time is over.", "Read the task or upload again."),
    "upload_type_differs": Code(422, "The bytes came with another content type.", "Send the promised `headers`."),
    "upload_size_differs": Code(422, "Another number of bytes came.", "Promise the size that the file has."),
    "upload_hash_differs": Code(422, "The bytes have another SHA-256.", "Send the file that was promised."),
    "input_blocked": Code(422, "The input's address may not be fetched.", "Use a public http(s) address, or upload."),
    "unsupported_format": Code(422, "The upload is in no format that is read here.", "Convert it."),
    "decode_failed": Code(422, "The upload is damaged.", "Upload it again, whole."),
    "input_too_large": Code(422, "The picture has too many pixels.", "Make it smaller."),
    "duration_out_of_range": Code(422, "The film is too long, or too short.", "Cut it, or send a picture."),
    "output_too_large": Code(422, "The result would have too many pixels.", "Ask for a smaller scale."),
    "engine_refused": Code(422, "The model cannot work on this.", "The message says why."),
    # 429, 5xx: later
    "ip_rate_limited": Code(429, "Too many requests from this address.", "Wait for `Retry-After`."),
    "rate_limited": Code(429, "Too many requests that create or change something.", "Wait for `Retry-After`."),
    "polling_rate_limited": Code(429, "Too many reading requests.", "Read less often; let `wait` wait."),
    "too_many_tasks": Code(429, "Too many tasks have not ended.", "Submit the next when one has ended."),
    "too_many_heavy_tasks": Code(
        429, "Too many tasks of heavy models, or of this heavy one, have not ended.", "Submit the next when one has ended."
    ),
    "daily_limit_reached": Code(429, "The plan's tasks of the day are used up.", "Wait for the reset, or take a larger plan."),
    "duplicate_name": Code(429, "The same file name came too often.", "Give each file a name of its own."),
    "internal": Code(500, "Something went wrong here.", "Report the `request_id` to the operator."),
    "unavailable": Code(503, "The service cannot answer now.", "Try again after `Retry-After`."),
    "database_unavailable": Code(503, "The database does not answer.", "Try again after `Retry-After`."),
    "storage_unavailable": Code(503, "The storage does not answer.", "Try again after `Retry-After`."),
    "storage_full": Code(503, "The storage is full.", "Try again later; the operator has to make room."),
    "limits_unavailable": Code(503, "The counters of requests do not answer.", "Try again after `Retry-After`."),
    "account_busy": Code(503, "The account was busy for too long.", "Try again after `Retry-After`."),
    "rendition_pending": Code(503, "This form of the file is being made.", "Ask again after `Retry-After`."),
    "not_ready": Code(503, "A part of the service is missing; `details` names it.", "Wait, or ask the operator."),
    "draining": Code(503, "The service is stopping.", "Try again after `Retry-After`."),
}  # fmt: skip

#: `type` of an error: what kind of trouble a status is.
_TYPES: Final = {
    401: "authentication",
    402: "credits",
    403: "permission",
    404: "not_found",
    409: "conflict",
    410: "expired",
    429: "rate_limit",
    500: "internal",
    503: "unavailable",
}


class ErrorBody(Struct, frozen=True, kw_only=True):
    """Why a request was not taken."""

    type: Annotated[str, Meta(description="The kind of trouble: one of a dozen words, by status.")]
    code: Annotated[str, Meta(description="Stable; write your program against it.")]
    message: Annotated[str, Meta(description="For people; it may change.")]
    param: Annotated[str, Meta(description="The field at fault, as `input.scale`.")] | None
    request_id: Annotated[str, Meta(description="As in the Request-Id header and in the operator's log.")]
    doc_url: str
    retryable: Annotated[bool, Meta(description="Whether the same request may succeed later.")]
    retry_after: Annotated[int, Meta(description="In seconds, as in the Retry-After header.")] | None
    details: dict[str, Any]


class ErrorReply(Struct, frozen=True, kw_only=True):
    """Every reply of 400 and above."""

    error: ErrorBody


def say_no(request: Request, refused: Refused) -> Reply:
    """A refusal in the native API's words; as problem+json (RFC 9457) where that is asked for."""
    status = (CODES.get(refused.code) or CODES[type(refused).code]).status
    later = refused.retry_after or (1 if status in {429, 503} else None)
    body = ErrorBody(
        type=_TYPES.get(status, "invalid_request"),
        code=refused.code,
        message=refused.message,
        param=refused.param,
        request_id=request.id,
        doc_url=f"{request.site.public_url}/docs#{refused.code}",
        retryable=refused.retryable,
        retry_after=later,
        details=refused.details,
    )
    headers = list(_headers(status, refused, later))
    if "application/problem+json" in (request.header(b"accept") or ""):
        problem = _problem(status, body)
        return Reply(
            status, msgspec.json.encode(problem), [(b"content-type", b"application/problem+json"), *headers]
        )
    return json(ErrorReply(error=body), status=status, headers=headers)


def _headers(status: int, refused: Refused, later: int | None) -> list[tuple[bytes, bytes]]:
    headers = []
    if status == 401:
        headers.append((b"www-authenticate", b"Bearer"))
    if later is not None:
        headers.append((b"retry-after", b"%d" % later))
    if isinstance(allowed := refused.details.get("allow"), list):
        headers.append((b"allow", ", ".join(allowed).encode()))
    if status == 416:
        headers.append((b"content-range", f"bytes */{refused.details['size_bytes']}".encode()))
    return headers


def _problem(status: int, body: ErrorBody) -> dict[str, Any]:
    """The same members; `type`, `title`, `status` and `detail` as the RFC has them."""
    return {
        **msgspec.structs.asdict(body),
        "type": body.doc_url,
        "title": body.type.replace("_", " "),
        "status": status,
        "detail": body.message,
    }
