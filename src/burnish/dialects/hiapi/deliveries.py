"""What a callback says in HiAPI's words: the bare detail of the task, signed where its account has set a key.

Given to the worker's `deliver` under the dialect's name. The bytes that it makes are stored and sent again as they are.
"""

import hmac
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Final

import msgspec

from burnish.dialects.hiapi.wire import detail
from burnish.errors import Invalid
from burnish.tasks.find import Reads
from burnish.uploads.sign import Links
from burnish.webhooks.event import Delivery

#: Characters of a signing key, as the vendor's console takes them.
_KEY_LETTERS: Final = (16, 256)
_ENCODE: Final = msgspec.json.Encoder().encode


def read_signing_key(given: str) -> bytes:
    """What signs: the key's own bytes, whatever it looks like. Raises Invalid."""
    least, most = _KEY_LETTERS
    if not least <= len(given) <= most:
        raise Invalid(f"A signing key of HiAPI's has {least} to {most} characters, not {len(given)}.")
    return given.encode()


class HiapiWords:
    """Renders for one process."""

    unsigned = True

    def __init__(self, reads: Reads, links: Links) -> None:
        self._reads = reads
        self._links = links

    async def body(self, delivery: Delivery) -> bytes | None:
        """The body; None where the task is gone."""
        task = await self._reads.find_task(delivery.task_id) if delivery.task_id else None
        return _ENCODE(detail(task, self._links)) if task else None

    def headers(
        self, delivery: Delivery, body: bytes, now: datetime, keys: Sequence[bytes]
    ) -> Mapping[str, str]:
        """`X-HiAPI-*` by the newest key, for there is room for one signature only; none at all without a key."""
        del delivery
        if not keys:
            return {}
        timestamp = str(int(now.timestamp()))
        signature = hmac.digest(keys[0], timestamp.encode() + b"." + body, "sha256").hex()
        return {"X-HiAPI-Timestamp": timestamp, "X-HiAPI-Signature": signature}
