"""Networks that are installed: only the file that was meant, in one step, tried first; and `cutout` of anything by them."""

import asyncio
import os
import stat
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from aiohttp import web

import onnx_file
from burnish import settings
from burnish.engines import install, installed, needs
from burnish.engines.catalogue import find_model
from burnish.engines.catalogue.cutout import Cutout
from burnish.engines.engine import Engines, Job
from burnish.engines.install import Known
from burnish.engines.installed import Network
from burnish.engines.networks import ncnn, tiled
from burnish.engines.networks.device import Device
from burnish.engines.runners import cutout
from burnish.engines.wire import Picture, Shot
from burnish.engines.work import Work
from burnish.errors import Failed, Unusable
from burnish.outbound import Outbound

NOW = datetime(2026, 1, 2, tzinfo=UTC)


def hash_of(data: bytes) -> str:
    return sha256(data).hexdigest()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "models"


@pytest.fixture
def red(tmp_path: Path) -> Path:
    """A network that finds what is red."""
    file = tmp_path / "red.onnx"
    file.write_bytes(onnx_file.network(320, (3.0, -3.0, 0.0)))
    return file


async def added(folder: Path, file: Path, name: str = "red", **more: Any) -> Network:
    hashes = [hash_of(file.read_bytes())]
    network, _ = await install.add(folder, name, [file], hashes, licence="MIT", **{"now": NOW, **more})
    return network


def left(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir()) if folder.exists() else []


# --- installing -----------------------------------------------------------------------------------------------------


async def test_a_network_is_installed_and_removed(folder: Path, red: Path) -> None:
    """It is copied for its owner alone, its manifest says what it is, and nothing is left of it afterwards."""
    network = await added(folder, red)
    assert installed.networks(folder) == (network,)
    assert (network.convention, network.purpose, network.format, network.licence) == (
        "u2net",
        "cutout",
        "onnx",
        "MIT",
    )
    (file,) = network.files
    copy = folder / "red" / file.name
    assert copy.read_bytes() == red.read_bytes()
    assert {stat.S_IMODE(path.stat().st_mode) for path in (folder / "red").iterdir()} == {0o600}
    assert left(folder) == ["red"]
    _, tried = await install.trial(folder, "red")
    assert (tried.convention, tried.side) == ("u2net", 320)
    assert 0 < tried.seconds < tried.first_seconds + 60
    install.remove(folder, "red")
    assert left(folder) == []


async def test_another_file_than_was_meant_is_not_taken(folder: Path, red: Path) -> None:
    """The hash it has is told, and nothing is left."""
    with pytest.raises(Unusable, match=hash_of(red.read_bytes())):
        await install.add(folder, "red", [red], ["0" * 64], licence="MIT", now=NOW)
    assert left(folder) == []


@pytest.mark.parametrize(
    ("data", "problem"),
    [
        (b"", "no network that can be read"),
        (b"\x08\x08 this is no network", "no network that can be read"),
        (onnx_file.network()[:120], "no network that can be read"),
        (onnx_file.network(channels=1, weights=(1.0,)), "something else than one picture"),
        (onnx_file.network(outputs=2), "no mask"),
        (onnx_file.network(side=200), "--convention"),
    ],
)
async def test_what_is_no_such_network_is_not_taken(
    folder: Path, tmp_path: Path, data: bytes, problem: str
) -> None:
    """Each with what is wrong, and nothing is left."""
    file = tmp_path / "net.onnx"
    file.write_bytes(data)
    with pytest.raises(Unusable, match=problem):
        await added(folder, file)
    assert left(folder) == []


@pytest.mark.parametrize("name", ["", "Red", "../red", "a/b", ".red", "x" * 65])
async def test_names_stay_in_their_folder(folder: Path, red: Path, name: str) -> None:
    """Nothing else is a name, for installing, trying and removing alike."""
    with pytest.raises(Unusable, match="no name for a network"):
        await added(folder, red, name)
    with pytest.raises(Unusable, match="is installed"):
        install.remove(folder, name)


async def test_a_name_is_taken_once(folder: Path, red: Path) -> None:
    """The one that is there stays."""
    await added(folder, red)
    with pytest.raises(Unusable, match="installed already"):
        await added(folder, red, now=NOW + timedelta(days=1))
    assert [network.added_at for network in installed.networks(folder)] == [NOW.isoformat()]


async def test_an_ncnn_pair_is_read_to_its_last_byte(folder: Path, tmp_path: Path) -> None:
    """Both files, each with its hash; one that does not belong to the other is refused."""
    param = ncnn.find(*tiled.PHOTO)
    pair = [tmp_path / "net.param", tmp_path / "net.bin"]
    for copy, file in zip(pair, (param, param.with_suffix(".bin")), strict=True):
        copy.write_bytes(file.read_bytes())
    hashes = [hash_of(file.read_bytes()) for file in pair]
    network, _ = await install.add(folder, "photo", pair, hashes, licence="MIT", now=NOW)
    assert (network.format, network.purpose, len(network.files)) == ("ncnn", "none", 2)
    assert installed.for_cutout(folder) is None
    with pytest.raises(Unusable, match="2 files want 2 hashes"):
        await install.add(folder, "other", pair, hashes[:1], licence="MIT", now=NOW)
    pair[1].write_bytes(pair[1].read_bytes() + b"more")
    hashes[1] = hash_of(pair[1].read_bytes())
    with pytest.raises(Unusable, match="4 bytes that"):
        await install.add(folder, "other", pair, hashes, licence="MIT", now=NOW)


@pytest.mark.parametrize(("ending", "problem"), [(".pth", "torch"), (".zip", "onnx"), (".bin", "onnx")])
async def test_other_files_are_refused_by_their_ending(
    folder: Path, tmp_path: Path, ending: str, problem: str
) -> None:
    """A .pth says what would read it."""
    file = tmp_path / f"net{ending}"
    file.write_bytes(b"x")
    with pytest.raises(Unusable, match=problem):
        await added(folder, file)


# --- fetching -------------------------------------------------------------------------------------------------------


@pytest.fixture
async def server(red: Path) -> AsyncIterator[str]:
    """Gives the network's bytes."""

    async def give(_: web.Request) -> web.Response:
        return web.Response(body=red.read_bytes(), content_type="application/octet-stream")

    app = web.Application()
    app.router.add_get("/red.onnx", give)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    yield f"http://127.0.0.1:{runner.addresses[0][1]}/red.onnx"
    await runner.cleanup()


@pytest.fixture
async def outbound() -> AsyncIterator[Outbound]:
    made = Outbound(settings.Outbound(allow=("127.0.0.0/8",)))
    yield made
    await made.close()


async def test_a_known_network_is_fetched_and_held_to_its_hash(
    folder: Path, red: Path, server: str, outbound: Outbound
) -> None:
    """The bytes that were meant are installed with where they came from; others, and more of them, are not."""
    data = red.read_bytes()
    known = Known(
        name="red", url=server, sha256=hash_of(data), size_bytes=len(data), licence="MIT", convention="u2net"
    )
    with pytest.raises(Unusable, match="not the file that was meant"):
        await install.pull(folder, msgspec.structs.replace(known, sha256="0" * 64), outbound, NOW)
    with pytest.raises(Failed, match="more than"):
        await install.pull(folder, msgspec.structs.replace(known, size_bytes=len(data) - 1), outbound, NOW)
    assert left(folder) == []
    network, _ = await install.pull(folder, known, outbound, NOW)
    assert (network.source, network.files[0].sha256) == (server, known.sha256)


async def test_fetching_passes_the_guard(folder: Path, server: str) -> None:
    """What is not on the public internet is not reached, unless the operator lets it."""
    guarded = Outbound(settings.Outbound())
    known = Known(
        name="red", url=server, sha256="0" * 64, size_bytes=10**6, licence="MIT", convention="u2net"
    )
    with pytest.raises(Failed, match="public internet"):
        await install.pull(folder, known, guarded, NOW)
    await guarded.close()


def test_the_shipped_table_can_be_read() -> None:
    """Whatever stands in it has an https address and a whole hash."""
    for name, known in install.known().items():
        assert (known.name, known.url[:8], len(known.sha256)) == (name, "https://", 64)


# --- working with them ----------------------------------------------------------------------------------------------


def disc() -> np.ndarray[Any, np.dtype[np.uint8]]:
    """A red disc on blue."""
    down, across = np.mgrid[0:200, 0:260]
    there = (down - 100) ** 2 + (across - 120) ** 2 < 60**2
    return np.where(there[..., None], (210, 40, 40), (30, 60, 200)).astype(np.uint8)


async def test_anything_is_cut_out_with_an_installed_network(folder: Path, red: Path) -> None:
    """What the network points at, to the pixel; nothing, and a note, where it points at nothing."""
    await added(folder, red)
    cutter = cutout.load(Device(1, "auto", folder))
    params = msgspec.msgpack.encode(msgspec.convert({"image": "x", "of": "any", "return": "mask"}, Cutout))
    pixels = disc()
    made = np.zeros((200, 260, 1), np.uint8)
    work = Work(params, (pixels,), (Shot(),), (made,))
    assert list(cutter.run(work))[-1] == 1.0
    truth = pixels[..., 0] > 100
    assert ((made[..., 0] >= 128) == truth).mean() > 0.995
    assert work.notes == {}
    work = Work(params, (np.full_like(pixels, (20, 200, 40)),), (Shot(),), (made,))
    list(cutter.run(work))
    assert (made == 0).all()
    assert work.notes == {"objects": cutout.NOTHING}
    assert cutter.memory_bytes(params, [Picture(200, 200, 3, 8)]) > 512 << 20


async def test_a_network_that_was_changed_is_not_loaded(folder: Path, red: Path) -> None:
    """Its task fails; others go on."""
    network = await added(folder, red)
    copy = folder / "red" / network.files[0].name
    copy.write_bytes(copy.read_bytes()[:-1] + b"\0")
    cutter = cutout.load(Device(1, "auto", folder))
    made = np.zeros((200, 260, 1), np.uint8)
    for of, problem in (("any", "cannot be loaded"), ("person", None)):
        params = msgspec.msgpack.encode(msgspec.convert({"image": "x", "of": of, "return": "mask"}, Cutout))
        work = Work(params, (disc(),), (Shot(),), (made,))
        if problem is None:
            assert list(cutter.run(work))[-1] == 1.0
            continue
        with pytest.raises(Failed, match=problem):
            list(cutter.run(work))


async def test_the_one_that_was_added_last_works(folder: Path, red: Path) -> None:
    """And the one before it again when that is removed."""
    await added(folder, red, "one")
    await added(folder, red, "another", now=NOW + timedelta(seconds=1))
    assert (found := installed.for_cutout(folder))
    assert found.name == "another"
    install.remove(folder, "another")
    assert (found := installed.for_cutout(folder))
    assert found.name == "one"


def test_what_lacks_is_told(folder: Path) -> None:
    """For the part that is asked for, and for the whole model."""
    model = find_model("cutout")
    assert model
    anything, person = (msgspec.convert({"image": "x", "of": of}, Cutout) for of in ("any", "person"))
    assert "burnish models add" in (needs.missing(model, anything, folder) or "")
    assert needs.missing(model, person, folder) is None
    assert needs.is_installed(model, folder)
    assert "burnish models add" in (needs.how_to_install(model, folder) or "")
    upscale = find_model("upscale")
    assert upscale
    assert (needs.is_installed(upscale, folder), needs.how_to_install(upscale, folder)) == (
        True,
        None,
    )


async def test_a_running_worker_notices(
    folder: Path, red: Path, opened: Callable[[bytes], int], file_of: Callable[..., bytes], account: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    """A network is added under it, and the next task has it; a task that was running is not disturbed."""
    monkeypatch.setattr("burnish.engines.engine._WATCH_SECONDS", 0.05)
    engines = Engines(settings.Engines(threads=1), folder)
    await engines.start()
    model = find_model("cutout")
    assert model
    wanted = msgspec.convert({"image": "x", "of": "any", "return": "mask"}, Cutout)

    async def cut() -> Any:
        job = Job(account, model, wanted, [opened(file_of(disc(), "PNG"))], 60.0)
        return await engines.run(job, lambda _stage, _part: None)

    try:
        with pytest.raises(Failed, match="installed"):
            await cut()
        await added(folder, red)
        async with asyncio.timeout(60):
            while True:
                try:
                    (output,) = await cut()
                    break
                except Failed:
                    await asyncio.sleep(0.1)
        assert output.role == "mask"
        os.close(output.fd)
    finally:
        await engines.close()
