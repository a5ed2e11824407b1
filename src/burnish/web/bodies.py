"""What a request brings: its JSON body, its stream of bytes, its query; each bounded, checked, and explained when wrong.

Handlers call these; a size is refused before it is read where the client says it, and while it is read where not.
"""

import asyncio
import re
import types
from collections.abc import AsyncIterator, Generator
from datetime import UTC, datetime
from typing import Any, Final, TypeVar, get_type_hints
from urllib.parse import parse_qsl, urlencode

import msgspec
from starlette.types import Message

from burnish.errors import Invalid, Malformed, TooLarge, UnsupportedMedia, explained
from burnish.web.request import HungUp, Request

T = TypeVar("T")

_NUL: Final = b"\\u0000"
#: Every escape in JSON; `half` is one of half a character (a surrogate) whose other half does not follow.
_ESCAPE: Final = re.compile(
    rb"\\(?:u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}|(?P<half>u[dD][89a-fA-F][0-9a-fA-F]{2})|.)",
    re.DOTALL,
)


async def read_json(request: Request, decoder: msgspec.json.Decoder[T]) -> tuple[T, bytes]:
    """The JSON body as the decoder's type, and as it came.

    Raises:
        UnsupportedMedia: another content type.
        TooLarge: more than `http.body_bytes`.
        Malformed: no JSON, or not in UTF-8; the message says where.
        Invalid: JSON of another shape; `param` names the field.
    """
    if media_type(request) != "application/json":
        raise UnsupportedMedia("Send the body as `Content-Type: application/json`.")
    body = await read(request)
    return decode(body, decoder), body


async def read(request: Request) -> bytes:
    """The whole body. Raises TooLarge, Malformed (it stalled), HungUp."""
    http = request.resources.settings.http
    declared = length(request)
    if declared is not None and declared > http.body_bytes:
        raise _too_large(http.body_bytes)
    body, more = bytearray(), True
    while more:
        message = await _message(request, http.idle_seconds)
        more = message.get("more_body", False)
        body += message.get("body", b"")
        if len(body) > http.body_bytes:
            raise _too_large(http.body_bytes)
    return bytes(body)


async def stream(request: Request, idle_seconds: float) -> AsyncIterator[bytes]:
    """The body's chunks as they come.

    Raises:
        Malformed: `body_stalled`: nothing came for `idle_seconds`.
        HungUp: the client went before the end.
    """
    more = True
    while more:
        message = await _message(request, idle_seconds)
        more = message.get("more_body", False)
        if chunk := message.get("body"):
            yield chunk


async def _message(request: Request, idle_seconds: float) -> Message:
    """The next part of the body. Raises as `stream` does."""
    receiving = request.receive()
    try:
        waits_for = receiving.send(None)  # type: ignore[attr-defined]  # most bodies are here with their heads,
    except StopIteration as here:  # and no timer is needed
        message: Message = here.value
    else:
        try:
            async with asyncio.timeout(idle_seconds):
                message = await _gone_on(receiving, waits_for)
        except TimeoutError as error:
            raise Malformed(
                f"No byte of the body came for {idle_seconds} seconds.", code="body_stalled"
            ) from error
    if message["type"] == "http.disconnect":
        raise HungUp
    return message


@types.coroutine
def _gone_on(coroutine: Any, waits_for: Any) -> Generator[Any, Any, Message]:
    """A coroutine that has been begun, to its end; it waits for what it has given already."""
    try:
        while True:
            try:
                sent = yield waits_for
            except BaseException as error:  # a cancellation, mostly
                waits_for = coroutine.throw(error)
            else:
                waits_for = coroutine.send(sent)
    except StopIteration as end:
        message: Message = end.value
        return message


def media_type(request: Request) -> str:
    """What the client says its body is, in lower case and without parameters; "" where it says nothing."""
    return (request.header(b"content-type") or "").partition(";")[0].strip().lower()


def length(request: Request) -> int | None:
    """The size that the client says its body has."""
    text = request.header(b"content-length")
    return int(text) if text is not None and text.isdecimal() and len(text) < 20 else None


def decode(body: bytes, decoder: msgspec.json.Decoder[T]) -> T:
    """`body` as the decoder's type; text in it is UTF-8 and free of NUL, which databases and other programs choke on."""
    try:
        if not body.isascii():
            body.decode()
        value = decoder.decode(body)
        if _NUL in body and (path := _path_of_nul(msgspec.json.decode(body))):
            raise _holds_nul(path)
    except msgspec.ValidationError as error:
        refused = explained(str(error), type_=decoder.type)
        if refused.param and refused.param.endswith("[...]"):
            refused.param = _member_at_fault(refused.param.removesuffix("[...]"), body, decoder.type)
        raise refused from error
    except UnicodeDecodeError as error:
        raise Malformed(f"The body is not UTF-8: byte {error.start} cannot be read.") from error
    except msgspec.DecodeError as error:
        raise Malformed(f"The body is no JSON: {_plain(error, body)}.") from error
    except RecursionError as error:
        raise Malformed("The body is nested too deeply.") from error
    return value


def in_utc(moment: datetime | None, param: str) -> datetime | None:
    """The same moment in UTC. Raises Invalid: its zone carries it out of the calendar."""
    try:
        return moment.astimezone(UTC) if moment is not None else None
    except OverflowError as error:
        raise Invalid("This moment lies outside the calendar.", param=param) from error


def query(request: Request, type_: type[T]) -> T:
    """The query as `type_`, a struct that knows every parameter. Raises Invalid; `param` names the parameter."""
    text = request.scope["query_string"]
    pairs = dict(parse_qsl(text.decode("latin-1"), keep_blank_values=True)) if text else {}
    if b"%00" in text and (name := _path_of_nul(pairs)):
        raise _holds_nul(name)
    try:
        return msgspec.convert(pairs, type_, strict=False)
    except msgspec.ValidationError as error:
        raise explained(str(error), type_=type_) from error


def changed_query(request: Request, **changes: str) -> str:
    """The request's query with these parameters in place of its own."""
    return urlencode(dict(parse_qsl(request.scope["query_string"].decode("latin-1"))) | changes)


def _path_of_nul(value: Any, path: str = "") -> str | None:
    """Where a text with NUL stands; None when there is none."""
    if isinstance(value, str):
        return path or "body" if "\0" in value else None
    members = (
        value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    )
    for key, member in members:
        inner = f"{path}.{key}".lstrip(".").replace("\0", "?")
        if found := _path_of_nul(str(key), inner) or _path_of_nul(member, inner):
            return found
    return None


def _holds_nul(path: str) -> Invalid:
    return Invalid("Text may not hold the character U+0000.", param=path)


def _member_at_fault(field: str, body: bytes, type_: Any) -> str:
    """`metadata` -> `metadata.order`: the member that msgspec leaves unnamed; the field where none is found."""
    kind = get_type_hints(type_, include_extras=True).get(field)
    try:
        members = msgspec.json.decode(body).get(field)
    except (msgspec.DecodeError, RecursionError):  # further on it is worse
        return field
    for name, value in members.items() if kind is not None and isinstance(members, dict) else ():
        try:
            msgspec.convert({name: value}, kind)
        except msgspec.ValidationError:
            return f"{field}.{name}".replace("\0", "?")
    return field


def _plain(error: msgspec.DecodeError, body: bytes) -> str:
    text = str(error).removeprefix("JSON is malformed: ")
    if any(word in text for word in ("surrogate", "escape", "truncated")):  # what msgspec makes of it varies
        for found in _ESCAPE.finditer(body):
            if found["half"]:
                return (
                    f"{found[0].decode()} (byte {found.start()}) is half a character, without its other half"
                )
    return "it ends too early" if "truncated" in text else text


def _too_large(limit: int) -> TooLarge:
    return TooLarge(f"The body is larger than {limit} bytes.", details={"max_bytes": limit})
