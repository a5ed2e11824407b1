"""Secrets that must be read back, sealed: webhook secrets and vendors' signing keys in the database mean nothing without
the service's secret keys.

AES-256-GCM (NIST SP 800-38D) under a key derived by HMAC-SHA256 from each secret key: the newest seals, all of them open.
What a secret is for is bound into the seal, so that one cannot be moved to another row.
"""

import hmac
import os
from collections.abc import Sequence
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

_LABEL: Final = b"burnish sealed secrets 1"
_NONCE_BYTES: Final = 12


class Unreadable(Exception):
    """Sealed under a key that is no longer among `secret_keys`, or changed."""


class Seal:
    """One a process. `secret_keys`: newest first, never empty."""

    def __init__(self, secret_keys: Sequence[str]) -> None:
        self._keys = [AESGCM(hmac.digest(secret.encode(), _LABEL, "sha256")) for secret in secret_keys]

    def close(self, secret: bytes, purpose: str) -> bytes:
        """The secret, sealed. `purpose`: whose it is."""
        nonce = os.urandom(_NONCE_BYTES)
        return nonce + self._keys[0].encrypt(nonce, secret, purpose.encode())

    def open(self, sealed: bytes, purpose: str) -> bytes:
        """The secret. Raises Unreadable."""
        for key in self._keys:
            try:
                return key.decrypt(sealed[:_NONCE_BYTES], sealed[_NONCE_BYTES:], purpose.encode())
            except InvalidTag:
                continue
        raise Unreadable(purpose)
