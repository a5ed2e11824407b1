"""A disk that is really full: a small file system of its own, mounted for the test."""

import asyncio
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from real_service import Service, serving
from waiting import until


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A folder of 160 MB."""
    if os.geteuid() != 0 and not os.environ.get("CI"):
        pytest.skip("only root may mount a file system")
    folder = tmp_path / "small"
    folder.mkdir()
    subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=160m,mode=0711", "burnish-test", str(folder)], check=True
    )
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


def _fill(folder: Path) -> Path:
    """A file that takes what is left."""
    filler = folder / "filler"
    with filler.open("wb", buffering=0) as file:
        try:
            while True:
                file.write(b"\0" * 65_536)
        except OSError:
            return filler


async def test_503_when_the_media_do_not_fit_and_nothing_is_kept_of_them(
    tmp_path: Path, small_disk: Path
) -> None:
    """The upload is refused with the reason; small ones go on; when there is room again, the same one is taken."""
    blobs = small_disk / "blobs"
    async with serving(tmp_path / "data", BURNISH_BLOBS_URL=blobs.as_uri()) as service:
        filler = _fill(small_disk)
        asked = {"filename": "a.png", "content_type": "image/png", "size_bytes": 3_000_000}
        promised = (await service.http.post("/v1/uploads", json=asked)).json()
        full = await service.http.put(promised["url"], content=b"x" * 3_000_000, headers=promised["headers"])
        assert full.status_code == 503
        assert full.json()["error"]["code"] == "storage_full"
        assert int(full.headers["Retry-After"]) >= 1
        assert [path for path in blobs.rglob("*") if path.is_file()] == []
        await until(lambda: _ready_is(service, 503))

        filler.unlink()
        again = await service.http.put(promised["url"], content=b"x" * 3_000_000, headers=promised["headers"])
        assert again.is_success, again.text
        await until(lambda: _ready_is(service, 200))
        await service.well()


async def _ready_is(service: Service, status: int) -> bool:
    """What /ready answers may be a second old."""
    return (await service.http.get("/ready")).status_code == status


async def test_a_full_database_disk_refuses_with_503_and_recovers_by_itself(small_disk: Path) -> None:
    """Whatever PostgreSQL does when it cannot write: who got 202 finds the task, and room brings it all back."""
    async with serving(small_disk / "data") as service:
        admitted = [(await service.submit())["id"] for _ in range(5)]
        filler = _fill(small_disk)
        metadata = {f"part {n}": "x" * 480 for n in range(15)}

        async def refused() -> bool:
            reply = await service.http.post(
                "/v1/tasks", json={"model": "noop", "input": {}, "metadata": metadata}
            )
            if reply.status_code == 202:
                admitted.append(reply.json()["id"])
                return False
            assert reply.status_code == 503, reply.text
            return True

        await until(refused, 60)
        filler.unlink()

        async def taken() -> bool:
            return not await refused()

        await until(taken, 60)
        ended = await asyncio.gather(*(service.ended(id_, 60) for id_ in admitted))
        assert {task["status"] for task in ended} == {"succeeded"}
        await service.well()


async def test_serve_on_a_full_disk_says_so(small_disk: Path) -> None:
    """A start without room: exit code 3, the directory is named, no half database is left."""
    _fill(small_disk)
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "burnish",
        "serve",
        "--port",
        "0",
        "--data",
        str(small_disk / "data"),
        stderr=subprocess.PIPE,
    )
    _, said = await asyncio.wait_for(process.communicate(), 30)

    assert process.returncode == 3
    assert "full" in said.decode() or "space" in said.decode()
    assert not (small_disk / "data" / "postgres").exists()
