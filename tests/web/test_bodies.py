"""What clients send: no larger than it may be, JSON in UTF-8, and never a fault of ours whatever it holds."""

import json
import random
from collections.abc import AsyncIterator

import pytest

from native.surface import Visitor

JSON = {"Content-Type": "application/json"}


async def refused(
    visitor: Visitor, content: bytes | AsyncIterator[bytes], **headers: str
) -> tuple[int, str, str]:
    """Status, code and message of a POST with this body."""
    reply = await visitor.http.post("/v1/tasks", content=content, headers=JSON | headers)
    error = reply.json()["error"]
    return reply.status_code, error["code"], error["message"]


async def test_415_for_what_is_not_json(visitor: Visitor) -> None:
    """Another content type, or none, is refused; parameters and letter case of the right one do not matter."""
    for content_type in ("text/plain", "application/x-www-form-urlencoded", "application/json5", "json", ""):
        assert (await refused(visitor, b"{}", **{"Content-Type": content_type}))[:2] == (
            415,
            "unsupported_media",
        )
    for content_type in ("application/json; charset=utf-8", "Application/JSON"):
        assert (await refused(visitor, b"{}", **{"Content-Type": content_type}))[1] == "missing_field"


async def test_413_before_or_while_it_is_read(visitor: Visitor) -> None:
    """A body above the limit is refused by what it says of itself, or as soon as it has sent too much."""
    most = visitor.resources.settings.http.body_bytes
    sent = 0

    async def endless() -> AsyncIterator[bytes]:
        nonlocal sent
        while sent < 100 * most:
            sent += 65_536
            yield b" " * 65_536

    assert (await refused(visitor, b" " * (most + 1)))[:2] == (413, "too_large")
    assert (await refused(visitor, endless()))[:2] == (413, "too_large")
    assert sent < 2 * most
    assert (await refused(visitor, b" " * most))[:2] == (400, "malformed")


@pytest.mark.parametrize(
    ("body", "code", "told"),
    [
        (b"", "malformed", "ends too early"),
        (b"{", "malformed", "ends too early"),
        (b'{"model":"noop",}', "malformed", "byte 16"),
        (b'{"model":"noop","input":{}} {}', "malformed", "byte 29"),
        (b'{"model":"noop","input":NaN}', "malformed", "byte 24"),
        (b"\xef\xbb\xbf{}", "malformed", "byte 0"),
        (b'{"model":"no\x00op"}', "malformed", "byte 12"),
        (b'{"model":"\xff"}', "malformed", "UTF-8: byte 10"),
        (b'{"model":"noop","input":{"x":"\xc3\x28"}}', "malformed", "UTF-8: byte 30"),
        (b'{"model":"noop","input":{"x":"\\ud800 alone"}}', "malformed", "\\ud800 (byte 30) is half a character"),
        (b'{"model":"\\udc00 alone"}', "malformed", "\\udc00 (byte 10) is half a character"),
        (b'{"model":"\\\\udc00","input":{"x":"\\ud83d\\ude00\\udbff"}}', "malformed", "\\udbff (byte 45)"),
        (b'{"model":"noop","input":{},"metadata":{"a":' + b"[" * 100_000, "invalid", ""),
        (b'{"model":"noop","input":' + b"[" * 100_000, "malformed", "nested too deeply"),
        (b'{"model":"noop","input":{"seconds":1e999}}', "invalid", "out of range"),
        (b'{"model":"no\\u0000op","input":{}}', "invalid", "U+0000"),
        (b'{"model":"noop","input":{},"metadata":{"a\\u0000":1}}', "invalid", "U+0000"),
        (b'{"model":"noop","input":{},"retention_seconds":1e30}', "invalid", "int"),
        (b'{"model":"noop","input":{},"retention_seconds":99999999999999999999999}', "invalid", ""),
    ],
    ids=range(19),
)  # fmt: skip
async def test_bodies_that_cannot_be_read_are_told_where(
    visitor: Visitor, body: bytes, code: str, told: str
) -> None:
    """400 with the place, or 422 with the field; never 500."""
    status, found, message = await refused(visitor, body)
    assert (status, found) == ({"malformed": 400, "invalid": 422}[code], code)
    assert told in message


async def test_no_depth_is_a_fault_of_ours(visitor: Visitor) -> None:
    """A body nested to just below what can be read, with a NUL at its bottom, is refused like any other."""
    for depth in range(300, 1_000, 25):
        body = b'{"model":"noop","input":' + b"[" * depth + b'"\\u0000"' + b"]" * depth + b"}"
        assert (await refused(visitor, body))[0] in {400, 422}


async def test_an_escaped_backslash_before_u0000_is_no_nul(visitor: Visitor) -> None:
    """Text that only looks like an escaped NUL is text, and comes back as it was."""
    task = await visitor.submit(metadata={"path": "C:\\u0000"})
    assert task["metadata"] == {"path": "C:\\u0000"}


async def test_text_of_all_kinds_comes_back_as_it_was(visitor: Visitor) -> None:
    """Every plane of Unicode, escaped or not, and numbers of every kind."""
    metadata = {"text": "é € 𝄞 \u202e\ufeff\x7f", "float": 1.5, "big": 2**60, "no": None, "yes": True}
    for ensure_ascii in (True, False):
        body = json.dumps({"model": "noop", "input": {}, "metadata": metadata}, ensure_ascii=ensure_ascii)
        reply = await visitor.http.post("/v1/tasks", content=body.encode(), headers=JSON)
        assert reply.json()["metadata"] == metadata


async def test_hostile_requests_are_never_a_fault_of_ours(visitor: Visitor) -> None:
    """Broken bodies, headers, paths and queries by the hundred: always a documented 4xx or a success."""
    chance = random.Random(2026)
    good = b'{"model":"noop","input":{"seconds":0.5},"metadata":{"a":"\\u00e9"},"retention_seconds":90}'
    for _ in range(150):
        body = bytearray(good)
        for _ in range(chance.randrange(1, 6)):
            place = chance.randrange(len(body))
            body[place : place + chance.randrange(3)] = chance.randbytes(chance.randrange(4))
        reply = await visitor.http.post("/v1/tasks", content=bytes(body), headers=JSON)
        assert reply.status_code in {202, 400, 422}, bytes(body)

    names = [
        b"authorization",
        b"accept",
        b"prefer",
        b"range",
        b"if-none-match",
        b"if-range",
        b"content-length",
        b"x",
    ]
    upload = await visitor.upload(b"abc")
    paths = [
        "/v1/tasks",
        "/v1/tasks/{}",
        "/v1/uploads/{}",
        "/v1/models/{}",
        "/v1/files/{}",
        upload["access_url"],
        "/{}",
    ]
    for _ in range(250):
        headers = [(chance.choice(names), _noise(chance).encode("latin-1")) for _ in range(3)]
        path = chance.choice(paths).replace("{}", "".join(f"%{byte:02x}" for byte in chance.randbytes(9)))
        query = "&".join(
            f"{chance.choice(['wait', 'limit', 'after', 'expires'])}={_noise(chance)}" for _ in range(2)
        )
        url = path if "?" in path else f"{path}?{query.replace('#', '')}"
        reply = await visitor.http.request(
            chance.choice(["GET", "HEAD", "PUT", "DELETE"]), url, headers=headers
        )
        assert reply.status_code < 500, (url, headers)


def _noise(chance: random.Random) -> str:
    return "".join(
        chr(chance.choice([chance.randrange(33, 127), chance.randrange(161, 256)])) for _ in range(8)
    )
