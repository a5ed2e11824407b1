"""Signed links: whoever has one may PUT the bytes of that upload, or GET those of that blob, until its time is over.

Made for replies and deliveries, judged by the routes of `/v1/files`. A link is bound to its purpose, its blob and its
end, by HMAC-SHA256 under a key derived from the service's secret keys: the newest signs, all of them are taken. Links
are made from `public_url`, never from what a request calls us; one that comes back as an input is known again.
"""

import base64
import hmac
import math
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Final
from urllib.parse import parse_qs, parse_qsl, urlencode, urlsplit
from uuid import UUID

from burnish.errors import Forbidden
from burnish.ids import from_wire, to_wire
from burnish.uploads.blob import UPLOAD

PATH: Final = "/v1/files/"
_LABEL: Final = b"burnish signed links 1"
#: What makes a link a permission.
_OURS: Final = ("expires", "signature")
_PORTS: Final = {"http": 80, "https": 443}


class Links:
    """One a process. `secret_keys`: newest first, never empty."""

    def __init__(self, secret_keys: Sequence[str], public_url: str) -> None:
        self._keys = [hmac.digest(secret.encode(), _LABEL, "sha256") for secret in secret_keys]
        self._root = public_url + PATH
        self._place = _split(self._root)[0]

    def put(self, upload_id: UUID, expires_at: datetime) -> str:
        """Where the bytes of this upload are to be sent."""
        return self._link("PUT", to_wire(UPLOAD, upload_id), expires_at)

    def get(self, kind: str, blob_id: UUID, expires_at: datetime, extension: str = "", form: str = "") -> str:
        """Where the bytes of this upload or output are read. `extension`: `.jpg`, for those who look at it; it says nothing.

        `form`, a query (`preview=true&watermark=true`): the link opens the file in this form and in no other; a link
        without one may be asked for any.
        """
        return self._link("GET", to_wire(kind, blob_id), expires_at, extension, _canonical(form))

    def opened(self, purpose: str, name: str, query: str) -> tuple[UUID, datetime]:
        """The blob that the link to `name` opens, and when the link ends, which may be past.

        Raises:
            Forbidden: `bad_signature`: not made here, made for another purpose, or changed.
        """
        given, name = parse_qs(query), name.partition(".")[0]
        expires, signature = (given.get(member, [""])[0] for member in _OURS)
        forms = {"", _canonical(query)}
        signed = [self._sign(key, purpose, name, expires, form) for key in self._keys for form in forms]
        if not any(hmac.compare_digest(one, signature.encode("utf-8", "replace")) for one in signed):
            raise Forbidden("This link is cut, changed, or none of this service.", code="bad_signature")
        blob_id = from_wire(name.partition("_")[0], name)
        assert blob_id is not None  # we signed it
        return blob_id, datetime.fromtimestamp(int(expires), UTC)

    def known(self, url: str) -> tuple[UUID, datetime] | None:
        """What a link of ours that comes back as an input opens, and its end; None for any other address.

        Raises:
            Forbidden: it points at our files, and its signature is wrong.
        """
        place, name, query = _split(url)
        if place != self._place:
            return None
        opened = self.opened("GET", name, query)
        if _canonical(query):
            raise Forbidden(
                "A link to a file in another form is no input. Give the file's own link or its id, and ask `render` for the form."
            )
        return opened

    def _link(
        self, purpose: str, name: str, expires_at: datetime, extension: str = "", form: str = ""
    ) -> str:
        expires = str(math.ceil(expires_at.timestamp()))
        signature = self._sign(self._keys[0], purpose, name, expires, form).decode()
        link = f"{self._root}{name}{extension}?expires={expires}&signature={signature}"
        return f"{link}&{form}" if form else link

    def _sign(self, key: bytes, purpose: str, name: str, expires: str, form: str) -> bytes:
        message = " ".join([purpose, name, expires, *([form] if form else [])]).encode("utf-8", "replace")
        return base64.urlsafe_b64encode(hmac.digest(key, message, "sha256")).rstrip(b"=")


def _canonical(query: str) -> str:
    """What a query asks for beside the permission, always in the same order and spelling."""
    asked = parse_qsl(query, keep_blank_values=True)
    return urlencode(sorted(pair for pair in asked if pair[0] not in _OURS))


def _split(url: str) -> tuple[tuple[str, str, int | None, str], str, str]:
    """Where `url` stands (as all spellings of that place give it), the last part of its path, and its query."""
    try:
        parts = urlsplit(url)
        port = parts.port or _PORTS.get(parts.scheme)
    except ValueError:  # no address at all; the guard says so in its words
        return ("", "", None, ""), "", ""
    folder, slash, name = parts.path.rpartition("/")
    return (parts.scheme, parts.hostname or "", port, folder + slash), name, parts.query
