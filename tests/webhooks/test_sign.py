"""Signatures, and secrets at rest."""

import base64
import hmac
from datetime import UTC, datetime

import pytest

from burnish.storage.seal import Seal, Unreadable
from burnish.webhooks.sign import new_secret, shown, signed_headers

NOW = datetime(2026, 5, 4, 12, tzinfo=UTC)


def test_a_signature_is_standard_webhooks() -> None:
    """`v1,` and the base 64 of HMAC-SHA256 over `id.timestamp.body`, under the bytes that the secret spells."""
    secret = new_secret()
    headers = signed_headers("msg_1", NOW, b'{"a":1}', [secret])
    key = base64.b64decode(shown(secret).removeprefix("whsec_"))
    message = f"msg_1.{int(NOW.timestamp())}.".encode() + b'{"a":1}'

    assert headers == {
        "webhook-id": "msg_1",
        "webhook-timestamp": str(int(NOW.timestamp())),
        "webhook-signature": "v1," + base64.b64encode(hmac.digest(key, message, "sha256")).decode(),
    }


def test_two_secrets_make_two_signatures() -> None:
    """While one is replaced by the other, each receiver finds its own."""
    both = signed_headers("msg_1", NOW, b"x", [b"new", b"old"])["webhook-signature"].split(" ")

    assert both == [
        signed_headers("msg_1", NOW, b"x", [key])["webhook-signature"] for key in (b"new", b"old")
    ]


def test_a_sealed_secret_opens_under_any_of_the_service_s_keys_and_no_other() -> None:
    """The newest seals; older ones still open; it is bound to what it is for."""
    old, new = Seal(["old"]), Seal(["new", "old"])
    sealed = old.close(b"whsec", "endpoint 1")

    assert sealed != old.close(b"whsec", "endpoint 1")
    assert new.open(sealed, "endpoint 1") == b"whsec"
    assert new.open(new.close(b"whsec", "endpoint 1"), "endpoint 1") == b"whsec"
    for seal, bytes_, purpose in (
        (old, new.close(b"whsec", "endpoint 1"), "endpoint 1"),
        (new, sealed, "endpoint 2"),
        (new, sealed[:-1] + bytes([sealed[-1] ^ 1]), "endpoint 1"),
    ):
        with pytest.raises(Unreadable):
            seal.open(bytes_, purpose)
