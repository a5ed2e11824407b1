"""A file that comes in a form (`multipart/form-data`, RFC 7578): found in the body as it comes, never held whole."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from email.message import Message
from typing import Any, Final

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header

from burnish.errors import Invalid, Malformed, UnsupportedMedia
from burnish.web import bodies
from burnish.web.request import Request

#: All that comes before the file: fields that nobody reads, and headers.
_BEFORE_BYTES: Final = 65_536


@dataclass(frozen=True, slots=True)
class File:
    """`chunks`: its bytes, to be read once; they raise Malformed where the form breaks off."""

    filename: str
    content_type: str | None
    chunks: AsyncIterator[bytes]


async def file_of(request: Request, field: str) -> File:
    """The file in this field of the form. What comes after it is not read.

    Raises:
        UnsupportedMedia: the body is no form.
        Malformed: it is a broken one, or stalls.
        Invalid: there is no such file in it.
    """
    kind, options = parse_options_header(request.header(b"content-type") or "")
    if kind != b"multipart/form-data" or b"boundary" not in options:
        raise UnsupportedMedia("Send the file as `multipart/form-data`.")
    found = _Found(field, options[b"boundary"])
    stream = bodies.stream(request, request.resources.settings.http.idle_seconds)
    async for chunk in stream:
        found.feed(chunk)
        if found.filename is not None:
            return File(found.filename, found.content_type, _rest(found, stream))
        if found.before > _BEFORE_BYTES:
            break
    raise Invalid(f"The form has no file in its field {field!r}.", param=field, code="missing_field")


async def _rest(found: "_Found", stream: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """What has been seen of the file, and what comes until its end."""
    while True:
        pieces, found.pieces = found.pieces, []
        for piece in pieces:
            yield piece
        if found.whole:
            return
        chunk = await anext(stream, None)
        if chunk is None:
            raise Malformed("The form ends before its file does.")
        found.feed(chunk)


class _Found:
    """What has been found of the one field's file."""

    def __init__(self, field: str, boundary: bytes) -> None:
        self.filename: str | None = None
        self.content_type: str | None = None
        self.pieces: list[bytes] = []
        self.whole = False
        self.before = 0
        self._field = field
        self._inside = False
        self._name = self._value = b""
        self._headers: dict[bytes, bytes] = {}
        callbacks: Any = {
            "on_part_begin": self._begin,
            "on_header_field": self._header_field,
            "on_header_value": self._header_value,
            "on_header_end": self._header_end,
            "on_headers_finished": self._headers_finished,
            "on_part_data": self._data,
            "on_part_end": self._end,
        }
        self._parser = MultipartParser(boundary, callbacks)

    def feed(self, chunk: bytes) -> None:
        """Raises Malformed."""
        if self.filename is None:
            self.before += len(chunk)
        try:
            self._parser.write(chunk)
        except FormParserError as error:
            raise Malformed("The form cannot be read.") from error

    def _begin(self) -> None:
        self._headers = {}

    def _header_field(self, data: bytes, start: int, end: int) -> None:
        self._name += data[start:end]

    def _header_value(self, data: bytes, start: int, end: int) -> None:
        self._value += data[start:end]

    def _header_end(self) -> None:
        self._headers[self._name.lower()] = self._value
        self._name = self._value = b""

    def _headers_finished(self) -> None:
        if self.filename is not None:
            return
        _, options = parse_options_header(self._headers.get(b"content-disposition", b""))
        if options.get(b"name") == self._field.encode() and b"filename" in options:
            self.filename = options[b"filename"].decode("utf-8", "replace") or "file"
            type_ = self._headers.get(b"content-type", b"").decode("latin-1")
            self.content_type = _media_type(type_) if type_ else None
            self._inside = True

    def _data(self, data: bytes, start: int, end: int) -> None:
        if self._inside:
            self.pieces.append(bytes(data[start:end]))

    def _end(self) -> None:
        if self._inside:
            self._inside, self.whole = False, True


def _media_type(given: str) -> str:
    """Without its parameters."""
    message = Message()
    message["content-type"] = given
    return message.get_content_type()
