"""Signed links: bytes whole and in ranges, conditions, names, headers that keep a browser from running them, ends."""

import hashlib
from collections.abc import Awaitable, Callable
from urllib.parse import unquote

import pytest

from native.surface import Visitor

PassTime = Callable[[float], Awaitable[None]]

CONTENT = bytes(range(256)) * 2_000  # more than one chunk
TAG = f'"{hashlib.sha256(CONTENT).hexdigest()}"'


@pytest.fixture
async def url(visitor: Visitor) -> str:
    """The link to an output of half a megabyte."""
    task = await visitor.submit()
    await visitor.succeed(CONTENT, filename="Köln “hell”-2x.png")
    link: str = (await visitor.read(task["id"]))["outputs"][0]["url"]
    return link


async def test_200_with_all_of_it(visitor: Visitor, url: str) -> None:
    """The bytes, their type and name, how to ask for parts, and nothing that a browser would run."""
    reply = await visitor.http.get(url, headers={"Authorization": ""})
    headers = reply.headers
    assert (reply.status_code, reply.content) == (200, CONTENT)
    assert (headers["content-type"], headers["content-length"]) == ("image/png", str(len(CONTENT)))
    assert (headers["etag"], headers["accept-ranges"]) == (TAG, "bytes")
    assert (headers["x-content-type-options"], headers["content-security-policy"]) == (
        "nosniff", "default-src 'none'; sandbox",
    )  # fmt: skip
    assert headers["cache-control"].startswith("private, max-age=")
    shown, plain, full = headers["content-disposition"].split("; ")
    assert (shown, plain) == ("inline", 'filename="K_ln _hell_-2x.png"')
    assert unquote(full.removeprefix("filename*=UTF-8''")) == "Köln “hell”-2x.png"


async def test_head_tells_the_same_without_a_body(visitor: Visitor, url: str) -> None:
    """HEAD has the headers of GET."""
    get, head = await visitor.http.get(url), await visitor.http.head(url)
    assert (head.status_code, head.content) == (200, b"")
    assert {**head.headers, "request-id": ""} == {**get.headers, "request-id": ""}


async def test_206_with_the_range_that_was_asked_for(visitor: Visitor, url: str) -> None:
    """From the beginning, from the middle, from the end; never more than there is."""
    size = len(CONTENT)
    for asked, start, end in (
        ("bytes=0-0", 0, 1),
        ("bytes=0-99", 0, 100),
        ("bytes=262143-262146", 262_143, 262_147),
        (f"bytes={size - 3}-", size - 3, size),
        ("bytes=-5", size - 5, size),
        (f"bytes=10-{size * 9}", 10, size),
        ("bytes=1-" + "9" * 17, 1, size),
        ("bytes=1-" + "9" * 5000, 1, size),
        ("bytes=-" + "9" * 50, 0, size),
        ("bytes=0-", 0, size),
        (f"bytes=0-{size - 1}", 0, size),
        ("bytes=" + "0" * 30 + "5-7", 5, 8),
    ):
        reply = await visitor.http.get(url, headers={"Range": asked})
        assert (reply.status_code, reply.content) == (206, CONTENT[start:end]), asked
        assert reply.headers["content-range"] == f"bytes {start}-{end - 1}/{size}"
        assert reply.headers["content-length"] == str(end - start)


async def test_200_for_ranges_that_are_not_served_apart(visitor: Visitor, url: str) -> None:
    """Several ranges, other units, backward and unreadable ones: all of it."""
    for asked in (
        "bytes=0-1,5-6",
        "pages=1-2",
        "bytes=9-3",
        "bytes=-",
        "bytes=a-b",
        "bytes",
        "bytes=²-5",
    ):
        reply = await visitor.http.get(url, headers={b"Range": asked.encode()})
        assert (reply.status_code, len(reply.content)) == (200, len(CONTENT)), asked


async def test_416_where_there_are_no_such_bytes(visitor: Visitor, url: str) -> None:
    """A range past the end, or the last zero bytes: refused with the size."""
    for asked in (
        f"bytes={len(CONTENT)}-",
        "bytes=9999999999-",
        f"bytes={'9' * 19}-",
        f"bytes={'9' * 5000}-",
        "bytes=-0",
    ):
        reply = await visitor.http.get(url, headers={"Range": asked})
        assert (reply.status_code, reply.headers["content-range"]) == (416, f"bytes */{len(CONTENT)}")
        assert reply.json()["error"]["code"] == "no_such_bytes"


async def test_304_for_what_the_client_has(visitor: Visitor, url: str) -> None:
    """If-None-Match with the ETag, alone, weak, in a list or as *, saves the bytes."""
    for condition in (TAG, f"W/{TAG}", f'"other", {TAG}', "*"):
        reply = await visitor.http.get(url, headers={"If-None-Match": condition})
        assert (reply.status_code, reply.content, reply.headers["etag"]) == (304, b"", TAG)
        assert "content-length" not in reply.headers
    assert (await visitor.http.get(url, headers={"If-None-Match": '"other"'})).status_code == 200


async def test_a_download_is_resumed_only_when_it_is_still_the_same(visitor: Visitor, url: str) -> None:
    """If-Range with the ETag gives the part; with anything else all of it."""
    for condition, status in ((TAG, 206), ('"other"', 200), ("Wed, 21 Oct 2026 07:28:00 GMT", 200)):
        reply = await visitor.http.get(url, headers={"Range": "bytes=5-9", "If-Range": condition})
        assert reply.status_code == status


async def test_403_for_a_link_that_was_changed(visitor: Visitor, url: str) -> None:
    """Another file, another end, another signature, none at all, or another method: nothing is opened."""
    path, _, query = url.partition("?")
    expires, signature = query.split("&")
    other = path[:-1] + ("0" if path[-1] != "0" else "1")
    for changed in (
        path,
        f"{path}?{expires}",
        f"{path}?{signature}",
        f"{other}?{query}",
        f"{path}?{expires}9&{signature}",
        f"{path}?{query[:-1]}",
        f"{path}?{expires}&signature=%ff%00",
        f"{path}?{expires}&signature=%E2%82%AC",
        f"{path}?expires=-1&{signature}",
        f"{path}?expires=soon&{signature}",
    ):
        reply = await visitor.http.get(changed)
        assert (reply.status_code, reply.json()["error"]["code"]) == (403, "bad_signature"), changed
    assert (await visitor.http.put(url, content=b"x")).json()["error"]["code"] == "bad_signature"


async def test_a_promised_upload_has_no_bytes_yet(visitor: Visitor) -> None:
    """404 until the bytes have come; the link for sending them does not read them."""
    upload = await visitor.promise(b"abc")
    reply = await visitor.http.get(upload["access_url"])
    assert (reply.status_code, reply.json()["error"]["code"]) == (404, "not_arrived")
    assert (await visitor.http.get(upload["url"])).status_code == 403


async def test_what_nobody_has_looked_at_is_offered_for_saving(visitor: Visitor) -> None:
    """An upload that calls itself HTML is never shown by a browser under our name."""
    upload = await visitor.upload(b"<script>alert(1)</script>", filename="a.html", content_type="text/html")
    reply = await visitor.http.get(upload["access_url"])
    assert reply.headers["content-disposition"].startswith("attachment; ")
    assert reply.headers["x-content-type-options"] == "nosniff"
    assert "sandbox" in reply.headers["content-security-policy"]


async def test_410_then_404_after_the_end(visitor: Visitor, url: str, pass_time: PassTime) -> None:
    """A link's file is gone after its time, said to be so for as long as tombstones stand, and unknown after."""
    uploads = visitor.resources.settings.uploads
    await pass_time(uploads.retention_seconds + 1)
    assert (await visitor.http.get(url)).json()["error"]["code"] == "file_expired"
    await pass_time(uploads.tombstone_seconds)
    reply = await visitor.http.get(url)
    assert (reply.status_code, reply.json()["error"]["code"]) == (404, "not_found")


async def test_404_where_the_row_is_gone(visitor: Visitor, url: str) -> None:
    """A valid link to what is no longer known."""
    async with visitor.resources.db.transaction() as tx:
        await tx.execute("DELETE FROM blobs")
    assert (await visitor.http.get(url)).status_code == 404


async def test_404_where_the_bytes_are_gone(visitor: Visitor, url: str) -> None:
    """A row whose object is lost answers before a header of success is sent."""
    async with visitor.resources.db.reading() as connection:
        await visitor.resources.blobs.delete([await connection.fetchval("SELECT object_key FROM blobs")])
    assert (await visitor.http.get(url)).json()["error"]["code"] == "not_found"
