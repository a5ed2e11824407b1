"""Webhooks: whether a delivery is the service's own, and what it says (Standard Webhooks). No request is made."""

import base64
import binascii
import hashlib
import hmac
import json
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from burnish.client._errors import NotGenuine
from burnish.client._shapes import Task

#: A delivery that was signed longer ago than this, or that much ahead of our clock, is none: it may be an old one again.
TOLERANCE_SECONDS: Final = 300.0

_PREFIX: Final = "whsec_"


@dataclass(frozen=True, slots=True)
class Event:
    """One delivery, known to be genuine. `id` is the same on every try of it: what was seen before is no news.

    `type` is `task.succeeded` and the like; `task` is the task as it stood then; `data` is the same as it came.
    """

    id: str
    type: str
    timestamp: datetime | None
    data: Mapping[str, Any]

    @property
    def task(self) -> Task:
        """The task that it tells of. Raises KeyError, TypeError or ValueError where it tells of something else."""
        return Task.from_json(self.data)


class Webhooks:
    """Of deliveries that reach your own server. The same for both clients: nothing here waits."""

    def __init__(self, now: Callable[[], float] = time.time) -> None:
        self._now = now

    def verify(
        self,
        body: bytes | str,
        headers: Mapping[str, str],
        secret: str | Iterable[str],
        *,
        tolerance_seconds: float = TOLERANCE_SECONDS,
    ) -> Event:
        """The event of a delivery, where it is genuine.

        `body` is the request's body exactly as it came; `headers` its headers, in any case; `secret` the endpoint's
        `whsec_…`, or several of them.

        Raises:
            NotGenuine: a header is missing, the signature is none of these secrets', or it is too old or too new.
            ValueError: a secret is none.
        """
        raw = body.encode() if isinstance(body, str) else bytes(body)
        keys = [_key(one) for one in ([secret] if isinstance(secret, str) else secret)]
        told = {name.lower(): value for name, value in headers.items()}
        id_, timestamp, signatures = (
            told.get(f"webhook-{part}", "") for part in ("id", "timestamp", "signature")
        )
        if not (id_ and timestamp and signatures):
            raise NotGenuine(
                "The headers webhook-id, webhook-timestamp and webhook-signature must all be there."
            )
        signed = b".".join((id_.encode("utf-8", "replace"), timestamp.encode("utf-8", "replace"), raw))
        expected = [base64.b64encode(hmac.digest(key, signed, hashlib.sha256)) for key in keys]
        given = [one[3:].encode("utf-8", "replace") for one in signatures.split() if one.startswith("v1,")]
        # Every pair is compared, each in constant time: how long it takes tells nothing.
        if not sum(hmac.compare_digest(ours, theirs) for ours in expected for theirs in given):
            raise NotGenuine("The signature does not fit the body and the secret.")
        if not timestamp.isascii() or not timestamp.isdecimal():
            raise NotGenuine("webhook-timestamp is no number of seconds.")
        if abs(self._now() - int(timestamp)) > tolerance_seconds:
            raise NotGenuine(f"It was signed more than {tolerance_seconds:g} s away from now.")
        return _event(id_, raw)


def _event(id_: str, raw: bytes) -> Event:
    try:
        said = json.loads(raw)
        at = said.get("timestamp")
        return Event(id_, said["type"], datetime.fromisoformat(at) if at else None, said["data"])
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise NotGenuine("The body is no event.") from error


def _key(secret: str) -> bytes:
    """The bytes of `whsec_…`. Raises ValueError."""
    try:
        key = base64.b64decode(secret.removeprefix(_PREFIX), validate=True)
    except (ValueError, binascii.Error) as error:
        raise ValueError("A webhook's secret is whsec_ and base64.") from error
    if not key:
        raise ValueError("A webhook's secret is whsec_ and base64; this one is empty.")
    return key
