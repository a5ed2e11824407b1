"""Every way Burnish says no: one tree, a stable code each, and a message that is safe to show.

    Burnish
    ├── Refused                 the request is not taken; each surface maps `code` to its own status and body
    │   ├── Malformed           the bytes are not what the endpoint reads
    │   ├── Unauthenticated     no key, or one that means nothing here
    │   ├── InsufficientCredits
    │   ├── Forbidden           a known key that may not do this
    │   ├── NotFound            nothing of that name for this account
    │   ├── MethodNotAllowed
    │   ├── Conflict            true of another state than the present one
    │   ├── Expired             it was here, and its time is over
    │   ├── TooLarge            more bytes than the place takes
    │   ├── UnsupportedMedia    a content type that the endpoint does not read
    │   ├── Invalid             readable, but a field is wrong; `param` names it
    │   ├── Limited             over a rate or a quota; `retry_after` says when again
    │   └── Unavailable         ours to mend; `retry_after` says when to try again
    ├── Failed                  a task ends; `reason` is one of STATUS_REASONS
    └── Unusable                the machine or its settings do not let Burnish run; for the operator

Raised by every domain, turned into words by `web`, the dialects and the command line.
What must not be shown goes into the log beside the error, never into its message.
"""

import re
from types import UnionType
from typing import Any, Final, Literal, Union, get_args, get_origin, get_type_hints

#: Why a task failed, was refused or ended: reason -> whether the same request may succeed later as it is.
STATUS_REASONS: Final[dict[str, bool]] = {
    "daily_limit_reached": True,
    "rate_limited": True,
    "insufficient_credits": False,
    "input_blocked": False,
    "input_unreachable": True,
    "input_forbidden": False,
    "input_timeout": True,
    "input_too_large": False,
    "duration_out_of_range": False,
    "output_too_large": False,
    "unsupported_format": False,
    "decode_failed": False,
    "engine_refused": False,
    "upstream_timeout": True,
    "upstream_error": True,
    "deadline_exceeded": True,
    "worker_lost": True,
    "cancelled_by_user": False,
    "internal": True,
}


_MESSAGE_LETTERS: Final = 500
_STEPS: Final = re.compile(r"\[[^]]*\]|[^.\[]+")  #: of `.models[...].limit`


class Burnish(Exception):
    """Anything Burnish says no with; `str(error)` is safe to show."""


class Refused(Burnish):
    """A request that is not taken.

    `code` is stable, `param` is the path of the field at fault (`input.scale`), `retry_after` is in whole
    seconds, `details` is plain JSON. `standings`: how the account's quotas stood, where they were looked at.
    """

    code = "refused"
    retryable = False

    def __init__(
        self,
        message: str,
        *,
        code: str | None = None,
        param: str | None = None,
        retry_after: int | None = None,
        details: dict[str, object] | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.code = code or type(self).code
        self.param = param
        self.retry_after = retry_after
        self.details = details or {}
        self.standings: tuple[Any, ...] = ()


class Malformed(Refused):
    code = "malformed"


class Unauthenticated(Refused):
    code = "unauthenticated"


class InsufficientCredits(Refused):
    code = "insufficient_credits"


class Forbidden(Refused):
    code = "forbidden"


class NotFound(Refused):
    code = "not_found"


class MethodNotAllowed(Refused):
    code = "method_not_allowed"


class Conflict(Refused):
    code = "conflict"


class Expired(Refused):
    code = "expired"


class TooLarge(Refused):
    code = "too_large"


class UnsupportedMedia(Refused):
    code = "unsupported_media"


class Invalid(Refused):
    code = "invalid"


class Limited(Refused):
    code = "rate_limited"
    retryable = True


class Unavailable(Refused):
    code = "unavailable"
    retryable = True


class Failed(Burnish):
    """A task ends as `failed`, with a reason from the closed list and a message for the client."""

    def __init__(self, reason: str, message: str) -> None:
        assert reason in STATUS_REASONS, reason
        # Words of strangers come in here: what the database cannot hold is replaced, and nobody writes a novel.
        message = message.encode("utf-8", "replace").decode().replace("\0", "\N{REPLACEMENT CHARACTER}")
        message = message[:_MESSAGE_LETTERS]
        super().__init__(message)
        self.reason = reason
        self.message = message

    @property
    def retryable(self) -> bool:
        return STATUS_REASONS[self.reason]

    def at(self, place: str) -> "Failed":
        """The same of one source among several: `input.images[3]`."""
        return Failed(self.reason, f"{place}: {self.message}")


class Unusable(Burnish):
    """The machine, the directory or the settings do not let Burnish run; the message says what to do."""


def explained(found: str, within: str = "", type_: Any = None) -> Invalid:
    """What msgspec found, with the field's path in front: "Expected `int` <= 4 - at `$.scale`" -> `input.scale`.

    `type_`, the struct that was read into, tells which words a field takes; msgspec's message only says what came.
    """
    message, _, at = found.partition(" - at ")
    path = at.rpartition("`$")[2].rstrip("`")
    code = "invalid"
    for words, known in (("unknown field `", "unknown_field"), ("missing required field `", "missing_field")):
        if words in message:
            path, code = f"{path}.{message.partition(words)[2].rstrip('`')}", known
    field, colon, said = message.partition(": ")
    if colon and field.isidentifier():  # a struct's own check names the field that it is about
        path, message = f"{path}.{field}", said
    if message.startswith("Invalid enum value ") and (allowed := _allowed(type_, path)):
        message = f"{message.replace(' enum', '')}: it must be {allowed}"
    return Invalid(f"{message}.", param=(within + path).lstrip(".") or None, code=code)


def _allowed(type_: Any, path: str) -> str:
    """The words that the field at `path` takes: "2 or 4"; nothing where they are not known."""
    for name in _STEPS.findall(path):
        type_ = next((inner for one in _ways(type_) if (inner := _inside(one, name))), None)
    *most, last = [str(word) for word in _words(type_)] or [""]
    return f"{', '.join(most)} or {last}" if most else last


def _ways(type_: Any) -> list[Any]:
    """A type, or each that a union is of."""
    return list(get_args(type_)) if get_origin(type_) in {Union, UnionType} else [type_]


def _inside(type_: Any, name: str) -> Any:
    """The type of a struct's field, of a list's items (`[0]`, `[...]`), of a table's values (`[...]`)."""
    if name.startswith("["):
        return (get_args(type_) or (None,))[-1]
    return get_type_hints(type_).get(name) if isinstance(type_, type) else None


def _words(type_: Any) -> list[Any]:
    arguments = get_args(type_)
    if get_origin(type_) is Literal:
        return list(arguments)
    return [word for argument in arguments for word in _words(argument)]
