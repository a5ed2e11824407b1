"""What a key is: the secret shown once, and the row that stays.

A secret is `bk_live_` (or `bk_test_`, `bk_dev_`), 30 random base-62 letters (178 bits) and six letters of
checksum, so that a typo is told from a revoked key without the database, and scanners can match it.
"""

import hashlib
import secrets
import zlib
from dataclasses import dataclass
from datetime import datetime
from typing import Final
from uuid import UUID

ENVIRONMENTS: Final = ("live", "test", "dev")
SCOPES: Final = ("tasks:write", "tasks:read", "uploads:write", "usage:read", "webhooks:write")
#: The scope of an operator's key; it is given only where it is asked for.
ADMIN: Final = "admin"
_BASE62: Final = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_RANDOM: Final = 30
_CHECK: Final = 6


@dataclass(frozen=True, slots=True)
class Key:
    """A key as the service knows it: never its secret.

    `account_id` is the account that its tasks are in: of a test key the test account beside `account`. `plan` and
    `overrides` are that account's. `allowlist`: networks (CIDR) that it may be used from; empty: from anywhere.
    `credit_cap`: what it may spend in all. `rotates`: the key whose place it takes.
    """

    id: UUID
    account_id: UUID
    account: str
    environment: str
    name: str
    last_four: str
    scopes: frozenset[str]
    created_at: datetime
    expires_at: datetime | None
    revoked_at: datetime | None
    plan: str = "owner"
    overrides: str = "{}"
    account_created_at: datetime | None = None
    allowlist: tuple[str, ...] = ()
    credit_cap: int | None = None
    rotates: UUID | None = None
    last_used_at: datetime | None = None

    @property
    def test(self) -> bool:
        return self.environment == "test"

    def ended(self, now: datetime) -> bool:
        """Whether it was revoked, or has expired."""
        return self.revoked_at is not None or (self.expires_at is not None and self.expires_at <= now)


def new_secret(environment: str) -> str:
    """A fresh secret: `bk_live_…`."""
    assert environment in ENVIRONMENTS
    body = f"bk_{environment}_" + "".join(secrets.choice(_BASE62) for _ in range(_RANDOM))
    return body + _checksum(body)


def well_formed(secret: str) -> bool:
    """Whether this can be a key at all: its shape and its checksum."""
    parts = secret.split("_")
    return (
        len(parts) == 3
        and parts[0] == "bk"
        and parts[1] in ENVIRONMENTS
        and len(parts[2]) == _RANDOM + _CHECK
        and secret.isascii()
        and secret[-_CHECK:] == _checksum(secret[:-_CHECK])
    )


def secret_hash(secret: str) -> bytes:
    """SHA-256: the secret has more entropy than any slow hash would add."""
    return hashlib.sha256(secret.encode()).digest()


def _checksum(body: str) -> str:
    number = zlib.crc32(body.encode())
    letters = []
    for _ in range(_CHECK):
        number, digit = divmod(number, 62)
        letters.append(_BASE62[digit])
    return "".join(letters)
