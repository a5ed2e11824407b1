"""Signatures of deliveries, as Standard Webhooks has them: who has the secret can tell that we sent it, and when."""

import base64
import hmac
import secrets
from collections.abc import Iterable
from datetime import datetime
from typing import Final

_PREFIX: Final = "whsec_"
_BYTES: Final = 24


def new_secret() -> bytes:
    """24 random bytes."""
    return secrets.token_bytes(_BYTES)


def shown(secret: bytes) -> str:
    """A secret as its owner gets it: `whsec_` and base 64."""
    return _PREFIX + base64.b64encode(secret).decode()


def signed_headers(id_: str, now: datetime, body: bytes, keys: Iterable[bytes]) -> dict[str, str]:
    """`webhook-id`, `webhook-timestamp` and `webhook-signature`, with one signature for each secret."""
    timestamp = str(int(now.timestamp()))
    message = f"{id_}.{timestamp}.".encode() + body
    signatures = (base64.b64encode(hmac.digest(key, message, "sha256")).decode() for key in keys)
    return {
        "webhook-id": id_,
        "webhook-timestamp": timestamp,
        "webhook-signature": " ".join(f"v1,{signature}" for signature in signatures),
    }
