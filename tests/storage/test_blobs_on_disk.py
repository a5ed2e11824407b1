"""What only files can suffer: full disks, kills in the middle, folders that cannot be made.

Called by pytest. Disks are small tmpfs mounts where that is allowed, and file size limits everywhere; kills are real.
"""

import asyncio
import ctypes
import json
import os
import resource
import signal
import stat
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from burnish.errors import NotFound, Unavailable, Unusable
from burnish.storage.blobs import Blobs, open_blobs


@pytest.fixture
async def blobs(tmp_path: Path) -> AsyncIterator[Blobs]:
    opened = await open_blobs((tmp_path / "blobs").as_uri())
    yield opened
    await opened.close()


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of two megabytes; skipped where this process may not mount one."""
    libc = ctypes.CDLL(None, use_errno=True)
    disk = tmp_path / "disk"
    disk.mkdir()
    if libc.mount(b"tmpfs", os.fsencode(disk), b"tmpfs", 0, b"size=2m"):
        pytest.skip(f"no mount allowed here: {os.strerror(ctypes.get_errno())}")
    yield disk
    libc.umount2(os.fsencode(disk), 2)


async def _pieces(data: bytes) -> AsyncIterator[bytes]:
    for at in range(0, len(data), 65_536):
        yield data[at : at + 65_536]


def _files(root: Path) -> list[str]:
    return sorted(str(path.relative_to(root)) for path in root.rglob("*") if path.is_file())


async def test_a_full_disk_is_told_and_leaves_nothing(small_disk: Path) -> None:
    """The code is storage_full; what was there stays, and what fits afterwards is taken."""
    blobs = await open_blobs((small_disk / "blobs").as_uri())
    await blobs.put("ab/kept", _pieces(b"x" * 1_500_000), max_bytes=10_000_000)
    for size in (1_000_000, 5_000_000):
        with pytest.raises(Unavailable) as refusal:
            await blobs.put("ab/cd", _pieces(b"y" * size), max_bytes=10_000_000)
        assert refusal.value.code == "storage_full"
        assert _files(small_disk) == ["blobs/ab/kept"]
    await blobs.put("ab/cd", _pieces(b"y" * 100_000), max_bytes=10_000_000)
    await blobs.close()


async def test_check_tells_a_full_disk(small_disk: Path) -> None:
    """A service whose disk is full is not ready."""
    blobs = await open_blobs((small_disk / "blobs").as_uri())
    await blobs.check()
    filler = small_disk / "filler"
    with pytest.raises(OSError, match="No space"):
        filler.write_bytes(b"x" * 3_000_000)
    with pytest.raises(Unavailable) as refusal:
        await blobs.check()
    assert refusal.value.code == "storage_full"
    filler.unlink()
    await blobs.check()
    await blobs.close()


async def test_a_file_that_may_not_grow_is_told_as_full(blobs: Blobs, tmp_path: Path) -> None:
    """The same for a limit on the size of files, which every user may set on oneself."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1_500_000, limits[1]))
    try:
        with pytest.raises(Unavailable) as refusal:
            await blobs.put("ab/cd", _pieces(b"x" * 3_000_000), max_bytes=10_000_000)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert refusal.value.code == "storage_full"
    assert _files(tmp_path / "blobs") == []


async def test_a_storage_that_is_gone_is_unavailable(blobs: Blobs, tmp_path: Path) -> None:
    """Where the folder has been taken away, nothing is made anew in its place."""
    (tmp_path / "blobs" / ".incoming").rmdir()
    (tmp_path / "blobs").rmdir()
    with pytest.raises(Unavailable) as refusal:
        await blobs.check()
    assert refusal.value.code == "storage_unavailable"
    with pytest.raises(NotFound):
        await blobs.size("ab/cd")


_PUTS = """
import asyncio, sys
from burnish.storage.blobs import open_blobs

async def chunks():
    for n in range(1000):
        yield b"x" * 1_000_000
        print(n, flush=True)
        if n == 3:
            sys.stdin.read()

async def main():
    blobs = await open_blobs(sys.argv[1])
    await blobs.put("ab/cd", chunks(), max_bytes=1 << 40)

asyncio.run(main())
"""


async def test_a_put_killed_in_the_middle_leaves_only_what_the_sweep_finds(
    blobs: Blobs, tmp_path: Path
) -> None:
    """Nothing lies under the key; the half is swept when it is old enough, and not before."""
    root = tmp_path / "blobs"
    with subprocess.Popen(
        [sys.executable, "-c", _PUTS, root.as_uri()], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        for line in process.stdout:
            if line.strip() == b"3":
                break
        process.send_signal(signal.SIGKILL)
        process.wait()
    with pytest.raises(NotFound):
        await blobs.size("ab/cd")
    (left,) = _files(root)
    assert left.startswith(".incoming/")
    assert (root / left).stat().st_size > 0
    assert await blobs.sweep_leftovers(3_600) == 0
    os.utime(root / left, (0, 0))
    assert await blobs.sweep_leftovers(3_600) == 1
    assert _files(root) == []


async def test_a_probe_that_was_killed_is_swept(blobs: Blobs, tmp_path: Path) -> None:
    """No byte stays for ever that no row names."""
    await blobs.put("probe/left", _pieces(b"x"), max_bytes=1)
    assert await blobs.sweep_leftovers(3_600) == 0
    assert await blobs.sweep_leftovers(-1) == 1
    assert _files(tmp_path / "blobs") == []


def test_bytes_and_names_are_synced_before_put_returns(tmp_path: Path) -> None:
    """File, its folder and a new folder's folder: seen from outside, in the order that a power cut demands."""
    script = (
        "import asyncio, json, os, sys\n"
        "from burnish.storage.blobs import open_blobs\n"
        "calls = []\n"
        "def heard(what, ask):\n"
        "    def call(first, *rest, **named):\n"
        "        name = os.readlink(f'/proc/self/fd/{first}') if isinstance(first, int) else str(first)\n"
        "        calls.append((what, os.path.relpath(name, sys.argv[1])))\n"
        "        return ask(first, *rest, **named)\n"
        "    return call\n"
        "os.fsync, os.rename = heard('fsync', os.fsync), heard('rename', os.rename)\n"
        "async def chunks():\n"
        "    yield b'x'\n"
        "async def main():\n"
        "    blobs = await open_blobs('file://' + sys.argv[1])\n"
        "    await blobs.put('ab/cd', chunks(), max_bytes=1)\n"
        "    await blobs.delete(['ab/cd'])\n"
        "asyncio.run(main())\n"
        "print(json.dumps(calls))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path / "b")], check=True, capture_output=True, text=True
    )
    calls = [
        (what, ".incoming/" if name.startswith(".incoming/") else name)
        for what, name in json.loads(done.stdout)
    ]
    assert calls == [
        ("fsync", ".incoming/"),
        ("fsync", "."),
        ("rename", ".incoming/"),
        ("fsync", "ab"),
        ("fsync", "ab"),
    ]


async def test_nobody_else_may_read(blobs: Blobs, tmp_path: Path) -> None:
    """Folders are 0700 and files 0600, whatever the umask; what stands above keeps its mode."""
    above = stat.S_IMODE(tmp_path.stat().st_mode)
    old = os.umask(0)
    try:
        await (await open_blobs((tmp_path / "new" / "blobs").as_uri())).put(
            "ab/cd", _pieces(b"x"), max_bytes=1
        )
    finally:
        os.umask(old)
    root = tmp_path / "new" / "blobs"
    modes = {path: stat.S_IMODE(path.stat().st_mode) for path in (root, root / "ab", root / "ab/cd")}
    assert list(modes.values()) == [0o700, 0o700, 0o600]
    assert stat.S_IMODE(tmp_path.stat().st_mode) == above


async def test_a_folder_that_cannot_be_made_stops_the_start(tmp_path: Path) -> None:
    """The message names the folder and why."""
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(Unusable, match=r"file/blobs, cannot be made: Not a directory"):
        await open_blobs((tmp_path / "file" / "blobs").as_uri())


async def test_a_blob_deleted_while_it_is_read_is_read_to_its_end(blobs: Blobs) -> None:
    """Its time may end in the middle of a download, which still gets the bytes it was promised."""
    data = os.urandom(2_000_000)
    await blobs.put("ab/cd", _pieces(data), max_bytes=len(data))
    reading = blobs.read("ab/cd")
    got = await anext(reading)
    await blobs.delete(["ab/cd"])
    assert got + b"".join([chunk async for chunk in reading]) == data


async def test_no_descriptor_is_left_open(blobs: Blobs) -> None:
    """After reads that end early, fail or are cancelled, and puts that do."""

    async def broken() -> AsyncIterator[bytes]:
        yield b"x" * 3_000_000
        raise RuntimeError

    await blobs.put("ab/cd", _pieces(b"x" * 3_000_000), max_bytes=3_000_000)
    before = sorted(Path("/proc/self/fd").iterdir())
    for turns in range(20):
        reading = blobs.read("ab/cd")
        step = asyncio.ensure_future(anext(reading))
        for _ in range(turns):
            await asyncio.sleep(0)
        step.cancel()
        await asyncio.wait([step])
        await reading.aclose()  # type: ignore[attr-defined]
        with pytest.raises(RuntimeError):
            await blobs.put("ab/ef", broken(), max_bytes=10_000_000)
        with pytest.raises(NotFound):
            await blobs.copy_to("ab/none", 1)
    assert sorted(Path("/proc/self/fd").iterdir()) == before


async def test_check_gives_up_on_a_storage_that_hangs(
    blobs: Blobs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It says so in time, sends no second probe after one that hangs, and recovers with the storage."""
    monkeypatch.setattr("burnish.storage.blobs.blob._ANSWER_SECONDS", 0.1)
    hanging = tmp_path / "blobs" / "ab"
    hanging.mkdir()
    os.mkfifo(hanging / "pipe")  # opening one waits for a writer: sixteen of these, and no thread is left
    stuck = [asyncio.ensure_future(blobs.size("ab/pipe")) for _ in range(16)]
    probes = set()
    for _ in range(3):
        with pytest.raises(Unavailable) as refusal:
            await blobs.check()
        assert refusal.value.code == "storage_unavailable"
        probes.add(blobs._probe)
    assert len(probes) == 1
    writer = os.open(hanging / "pipe", os.O_RDWR)
    await asyncio.wait(stuck)
    os.close(writer)
    monkeypatch.undo()
    await blobs.check()
    assert all(isinstance(one.exception(), NotFound) for one in stuck)
