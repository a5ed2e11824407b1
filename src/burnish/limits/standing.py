"""How a quota stands: what is told of it beside every answer. Plain data; `web/ratelimit.py` puts it into headers."""

from typing import Final

from msgspec import Struct

#: What a ceiling counts, in the words of draft-ietf-httpapi-ratelimit-headers.
CONCURRENT: Final = "concurrent-requests"


class Policy(Struct, frozen=True, cache_hash=True):
    """A quota: `limit` in `window_seconds`, or of `unit` at any moment (`CONCURRENT`)."""

    name: str
    limit: int
    window_seconds: int | None = None
    unit: str | None = None


class Standing(Struct, frozen=True, cache_hash=True):
    """How a quota stands: so many are left; more are in `reset_seconds`, where that is known."""

    policy: Policy
    remaining: int
    reset_seconds: float | None = None
