"""How limits stand, as a reply's headers tell it (draft-ietf-httpapi-ratelimit-headers). Pure.

Read by `_pace.py`. A service that tells nothing, or in other words, is one without limits as far as this client knows.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import httpx

#: `"create-rate";q=60;w=60`: a name, and what is said of it.
_ITEM: Final = re.compile(r'"([^"]{1,100})"((?:\s*;\s*[a-z]{1,10}=(?:"[^"]*"|[0-9]{1,15}))*)')
_WORD: Final = re.compile(r"([a-z]{1,10})=([0-9]{1,15})(?![0-9])")


@dataclass(frozen=True, slots=True)
class Standing:
    """One limit: `limit` uses in `seconds` (None: at the same time), of which `remaining` are left; None where that is
    not told.
    """

    limit: int | None
    seconds: int | None
    remaining: int | None

    @property
    def interval(self) -> float | None:
        """Seconds that one use takes to come back; None where it is no rate."""
        return self.seconds / self.limit if self.seconds and self.limit else None


def standings(headers: httpx.Headers) -> Mapping[str, Standing]:
    """Every limit that `RateLimit-Policy` and `RateLimit` tell of, by its name."""
    policies = _items(headers.get("ratelimit-policy", ""))
    states = _items(headers.get("ratelimit", ""))
    return {
        name: Standing(policies.get(name, {}).get("q"), policies.get(name, {}).get("w"), state.get("r"))
        for name, state in states.items()
    }


def _items(text: str) -> dict[str, dict[str, int]]:
    return {
        name: {word: int(number) for word, number in _WORD.findall(said)}
        for name, said in _ITEM.findall(text)
    }
