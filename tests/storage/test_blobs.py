"""One suite for every place where blobs lie: what `Blobs` promises, on disk and in memory.

Called by pytest.
"""

import asyncio
import hashlib
import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from burnish.errors import NotFound, TooLarge, Unusable
from burnish.storage.blobs import Blobs, Stored, open_blobs

LARGE = os.urandom(3_000_001)


@pytest.fixture(params=["file", "memory"])
async def blobs(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Blobs]:
    url = (tmp_path / "deep" / "blobs with space").as_uri() if request.param == "file" else "memory:///"
    opened = await open_blobs(url)
    yield opened
    await opened.close()


async def _pieces(data: bytes, length: int = 65_536) -> AsyncIterator[bytes]:
    for at in range(0, len(data), length):
        yield data[at : at + length]


async def _put(blobs: Blobs, key: str, data: bytes) -> Stored:
    return await blobs.put(key, _pieces(data), max_bytes=len(data))


async def _get(blobs: Blobs, key: str, start: int = 0, end: int | None = None) -> bytes:
    return b"".join([chunk async for chunk in blobs.read(key, start, end)])


@pytest.mark.parametrize("data", [b"", b"x", b"x" * 1_048_576, LARGE], ids=len)
async def test_what_is_put_is_what_is_read(blobs: Blobs, data: bytes) -> None:
    """All of it, with its length and its SHA-256; in pieces of about a quarter of a megabyte."""
    stored = await _put(blobs, "ab/cd", data)
    assert stored == Stored(len(data), hashlib.sha256(data).digest())
    assert await blobs.size("ab/cd") == len(data)
    assert await _get(blobs, "ab/cd") == data
    assert all([len(chunk) <= 262_144 async for chunk in blobs.read("ab/cd")])


@pytest.mark.parametrize(
    ("start", "end"),
    [(0, 0), (0, 1), (1, None), (262_143, 262_145), (3_000_000, 9_999_999), (9_999_999, None), (5, 2)],
)
async def test_a_range_is_what_lies_in_it(blobs: Blobs, start: int, end: int | None) -> None:
    """As a slice of bytes would be, also behind the end."""
    await _put(blobs, "ab/cd", LARGE)
    assert await _get(blobs, "ab/cd", start, end) == LARGE[start:end]


async def test_copy_goes_to_the_position_of_the_descriptor(blobs: Blobs, tmp_path: Path) -> None:
    """Into a memfd for a child, or behind what a file holds already."""
    await _put(blobs, "ab/cd", LARGE)
    fd = os.memfd_create("copy")
    os.write(fd, b"before")
    assert await blobs.copy_to("ab/cd", fd) == len(LARGE)
    assert os.pread(fd, len(LARGE) + 100, 0) == b"before" + LARGE
    os.close(fd)
    with (tmp_path / "copy").open("w+b", buffering=0) as file:
        assert await blobs.copy_to("ab/cd", file.fileno()) == len(LARGE)
        assert (tmp_path / "copy").read_bytes() == LARGE


async def test_what_is_absent_is_not_found(blobs: Blobs) -> None:
    """Also a key under which only other keys lie, and one below a blob."""
    await _put(blobs, "ab/cd", b"x")
    for key in ("ab/none", "none", "ab", "ab/cd/ef"):
        with pytest.raises(NotFound):
            await blobs.size(key)
        with pytest.raises(NotFound):
            await _get(blobs, key)
        with pytest.raises(NotFound):
            await _get(blobs, key, 5, 7)
        with pytest.raises(NotFound):
            await blobs.copy_to(key, -1)


async def test_delete_removes_and_absence_is_fine(blobs: Blobs) -> None:
    """A batch in which some are gone already removes the others."""
    for key in ("ab/1", "cd/2", "ab/3"):
        await _put(blobs, key, b"x")
    await blobs.delete(["ab/1", "none/1", "ab/none", "cd/2"])
    await blobs.delete(["ab/1"])
    await blobs.delete([])
    for key in ("ab/1", "cd/2"):
        with pytest.raises(NotFound):
            await blobs.size(key)
    assert await blobs.size("ab/3") == 1


async def test_a_second_put_replaces_the_first(blobs: Blobs) -> None:
    """The last whole one stays; one that fails leaves the earlier one alone."""
    await _put(blobs, "ab/cd", b"first")
    await _put(blobs, "ab/cd", b"second")
    with pytest.raises(TooLarge):
        await blobs.put("ab/cd", _pieces(LARGE), max_bytes=2_000_000)
    assert await _get(blobs, "ab/cd") == b"second"


async def test_more_than_the_limit_leaves_nothing(blobs: Blobs) -> None:
    """The limit itself fits, one byte more does not, however large the piece that crosses it."""
    await blobs.put("ab/fits", _pieces(b"x" * 100), max_bytes=100)
    for data in (b"x" * 101, LARGE):
        with pytest.raises(TooLarge, match="100 bytes"):
            await blobs.put("ab/cd", _pieces(data), max_bytes=100)
    with pytest.raises(NotFound):
        await blobs.size("ab/cd")
    assert await blobs.sweep_leftovers(-1) == 0


@pytest.mark.parametrize("before", [0, 1, 5_000_000])
async def test_a_source_that_fails_leaves_nothing(blobs: Blobs, before: int) -> None:
    """Its own error comes through, also one that looks like the storage's."""

    async def broken() -> AsyncIterator[bytes]:
        yield b"x" * before
        raise FileNotFoundError("the client's")

    with pytest.raises(FileNotFoundError, match="the client's"):
        await blobs.put("ab/cd", broken(), max_bytes=10_000_000)
    with pytest.raises(NotFound):
        await blobs.size("ab/cd")
    assert await blobs.sweep_leftovers(-1) == 0


@pytest.mark.parametrize("before", [0, 1, 8_000_000])
async def test_a_cancelled_put_leaves_nothing(blobs: Blobs, before: int) -> None:
    """Nothing is visible while it lasts, and nothing remains when it is cancelled."""
    begun = asyncio.Event()

    async def endless() -> AsyncIterator[bytes]:
        yield b"x" * before
        begun.set()
        await asyncio.Event().wait()

    put = asyncio.ensure_future(blobs.put("ab/cd", endless(), max_bytes=10_000_000))
    await begun.wait()
    with pytest.raises(NotFound):
        await blobs.size("ab/cd")
    put.cancel()
    with pytest.raises(asyncio.CancelledError):
        await put
    with pytest.raises(NotFound):
        await blobs.size("ab/cd")
    assert await blobs.sweep_leftovers(-1) == 0


async def test_a_put_cancelled_at_any_moment_is_whole_or_absent(blobs: Blobs) -> None:
    """Cancelled after each number of turns of the loop: it raises and left nothing, or it is done and whole."""
    data = LARGE[:2_000_000]
    for turns in range(0, 60, 3):
        put = asyncio.ensure_future(_put(blobs, "ab/cd", data))
        for _ in range(turns):
            await asyncio.sleep(0)
        put.cancel()
        try:
            await put
        except asyncio.CancelledError:
            with pytest.raises(NotFound):
                await blobs.size("ab/cd")
        else:
            assert await _get(blobs, "ab/cd") == data
            await blobs.delete(["ab/cd"])
        assert await blobs.sweep_leftovers(-1) == 0


async def test_many_at_once_keep_apart(blobs: Blobs) -> None:
    """A hundred puts side by side, to the same folders, each find their own bytes."""
    data = {f"{n % 7:02x}/{n}": os.urandom(n * 997) for n in range(100)}
    await asyncio.gather(*[_put(blobs, key, value) for key, value in data.items()])
    for key, value in data.items():
        assert await _get(blobs, key) == value


@pytest.mark.parametrize(
    "key",
    [
        "",
        "/",
        "/etc/passwd",
        "..",
        "../x",
        "ab/../../x",
        "ab//x",
        "ab/",
        ".incoming/x",
        "a\0b",
        "a b",
        "ü",
        "a" * 500,
    ],
)
async def test_a_key_that_is_not_ours_is_refused(blobs: Blobs, key: str) -> None:
    """No key leads out of the folder, or to what is being put."""
    with pytest.raises(ValueError, match="not a blob's key"):
        await _put(blobs, key, b"x")
    with pytest.raises(ValueError, match="not a blob's key"):
        await blobs.size(key)
    with pytest.raises(ValueError, match="not a blob's key"):
        await _get(blobs, key)
    with pytest.raises(ValueError, match="not a blob's key"):
        await blobs.delete(["ab/cd", key])


async def test_check_leaves_nothing_behind(blobs: Blobs) -> None:
    """Two at once share a probe; afterwards no byte of it is there."""
    await asyncio.gather(blobs.check(), blobs.check())
    await blobs.check()
    assert await blobs.sweep_leftovers(-1) == 0


@pytest.mark.parametrize(
    "url", ["", "blobs", "/var/lib/blobs", "file:blobs", "file://host/blobs", "s4://bucket"]
)
async def test_a_url_that_means_nothing_stops_the_start(url: str) -> None:
    """The message shows what was set and what may be."""
    with pytest.raises(Unusable, match="it must be file:///"):
        await open_blobs(url)
