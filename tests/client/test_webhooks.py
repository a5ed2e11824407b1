"""`webhooks.verify`: what is genuine passes, and nothing else does. Signed here as Standard Webhooks says it."""

import base64
import hashlib
import hmac
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from burnish import client as burnish
from burnish.client._webhooks import Webhooks

NOW = 1_767_323_045
KEY = b"a key of some twenty bytes"
SECRET = "whsec_" + base64.b64encode(KEY).decode()
OTHER = "whsec_" + base64.b64encode(b"another key").decode()
TASK = {"id": "task_1", "model": "upscale", "status": "succeeded", "created_at": "2026-01-02T03:04:05Z"}
BODY = json.dumps({"type": "task.succeeded", "timestamp": "2026-01-02T03:04:05Z", "data": TASK}).encode()


def sign(body: bytes, *, key: bytes = KEY, id_: str = "msg_1", at: int = NOW) -> str:
    digest = hmac.new(key, f"{id_}.{at}.".encode() + body, hashlib.sha256).digest()
    return "v1," + base64.b64encode(digest).decode()


def headers(signature: str, *, id_: str = "msg_1", at: object = NOW) -> dict[str, str]:
    return {"Webhook-Id": id_, "Webhook-Timestamp": str(at), "Webhook-Signature": signature}


def verify(
    body: bytes | str, headers_: dict[str, str], secret: Any = SECRET, **options: Any
) -> burnish.Event:
    return Webhooks(lambda: NOW).verify(body, headers_, secret, **options)


def test_a_genuine_delivery_is_an_event() -> None:
    """Its id, its type, its task; the body may be text; both clients have it."""
    event = verify(BODY, headers(sign(BODY)))

    assert (event.id, event.type, event.task.id, event.task.succeeded) == (
        "msg_1", "task.succeeded", "task_1", True,
    )  # fmt: skip
    assert verify(BODY.decode(), headers(sign(BODY))) == event
    for kind in (burnish.Client, burnish.AsyncClient):
        assert isinstance(kind("http://example.com", "bk_live_x").webhooks, Webhooks)


def test_a_known_example_of_the_standard_passes() -> None:
    """The published example of Standard Webhooks, with its own secret and signature."""
    body = b'{"test": 2432232314}'
    told = headers(
        "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=", id_="msg_p5jXN8AQM9LWM0D4loKWxJek", at=1614265330
    )

    with pytest.raises(
        burnish.NotGenuine, match="no event"
    ):  # the signature fits; the body is not one of ours
        Webhooks(lambda: 1614265330).verify(body, told, "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")


def test_while_a_secret_rotates_either_passes() -> None:
    """Several signatures in one header, one of which fits; or several secrets of ours."""
    two = f"{sign(BODY, key=b'another key')} v1a,unknown {sign(BODY)}"

    assert verify(BODY, headers(two)).id == "msg_1"
    assert verify(BODY, headers(two), OTHER).id == "msg_1"
    assert verify(BODY, headers(sign(BODY)), [OTHER, SECRET]).id == "msg_1"


@pytest.mark.parametrize("seconds", [-301, 301, 86_400])
def test_an_old_one_is_refused_and_so_is_one_of_the_future(seconds: int) -> None:
    """Five minutes either way, unless told otherwise: a delivery that someone kept is worth nothing later."""
    at = NOW + seconds
    told = headers(sign(BODY, at=at), at=at)

    with pytest.raises(burnish.NotGenuine, match="300 s"):
        verify(BODY, told)
    assert verify(BODY, told, tolerance_seconds=100_000).id == "msg_1"
    near = headers(
        sign(BODY, at=NOW + (300 if seconds > 0 else -300)), at=NOW + (300 if seconds > 0 else -300)
    )
    assert verify(BODY, near).id == "msg_1"


@pytest.mark.parametrize(
    "told",
    [
        {},
        headers(""),
        headers("v1,"),
        headers(sign(BODY).removeprefix("v1,")),
        headers(sign(BODY).replace("v1,", "v2,")),
        headers(sign(BODY, key=b"x")),
        headers(sign(BODY), id_="msg_2"),
        headers(sign(BODY), at=NOW + 1),
        headers(sign(BODY + b" ")),
        headers("v1,é"),
        headers(sign(BODY), at="soon"),
        headers(sign(BODY), at="²"),
    ],
)
def test_anything_else_is_refused(told: dict[str, str]) -> None:
    """A missing header, another secret, id, time or body, a signature of another version."""
    with pytest.raises(burnish.NotGenuine):
        verify(BODY, told)


@pytest.mark.parametrize("secret", ["whsec_", "whsec_%", "", "whsec_é", [SECRET, "x y"]])
def test_a_secret_that_is_none_is_a_wrong_argument(secret: Any) -> None:
    """A ValueError, not a delivery that is refused: it is our own mistake."""
    with pytest.raises(ValueError, match="whsec_"):
        verify(BODY, headers(sign(BODY)), secret)


@given(st.binary(max_size=60), st.integers(0, 59), st.integers(1, 255))
def test_no_changed_byte_passes(body: bytes, place: int, change: int) -> None:
    """Whatever the body: signed it is looked into, and with one byte changed it is refused for its signature."""
    with pytest.raises(burnish.NotGenuine, match="no event"):
        verify(body, headers(sign(body)))
    if place < len(body):
        changed = bytearray(body)
        changed[place] ^= change
        with pytest.raises(burnish.NotGenuine, match="signature"):
            verify(bytes(changed), headers(sign(body)))
