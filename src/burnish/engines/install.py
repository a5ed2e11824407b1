"""A network is installed, fetched, tried or removed. Called by the command line.

What is installed appears in one step, whole, and goes in one step: a folder is filled beside the others and then renamed.
Every file is read once, hashed while it is copied, and belongs to its owner alone (0600). A network is tried before it is
taken, in a child like those that work with it: what would bring that down is refused here.
"""

import contextlib
import os
import re
import secrets
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from hashlib import sha256
from importlib.resources import files
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Any, Final, Literal

import msgspec
from msgspec import Meta, Struct

from burnish.engines import installed, wire
from burnish.engines.child import Memory
from burnish.engines.inference import Inference
from burnish.engines.installed import MANIFEST, NAME, Convention, File, Network
from burnish.errors import Failed, Unusable
from burnish.outbound import Outbound

_RUNNER: Final = "burnish.engines.runners.trial"
_MAX_BYTES: Final = 4 << 30
_CHUNK_BYTES: Final = 1 << 20
#: The picture that a network is tried on: noise, which is as much work as any other.
_SIDE: Final = 512
_LICENCE_LETTERS: Final = 20_000

Hash = Annotated[str, Meta(pattern="^[0-9a-f]{64}$")]


class Known(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A network of the shipped table, `networks.toml`."""

    name: Annotated[str, Meta(pattern=NAME)]
    url: Annotated[str, Meta(pattern="^https://")]
    sha256: Hash
    size_bytes: int
    licence: str
    convention: Convention


class Tried(Struct, frozen=True):
    """What a trial found: how the network wants its pictures, how large a side, and how long it looked, the first time and then."""

    convention: Convention
    side: int
    first_seconds: float
    seconds: float


def known() -> dict[str, Known]:
    """The networks that can be fetched by their name."""
    table = msgspec.toml.decode(
        files("burnish.engines").joinpath("networks.toml").read_bytes(), type=dict[str, Any]
    )
    return {one.name: one for one in msgspec.convert(table.get("networks", []), list[Known])}


async def add(
    folder: Path,
    name: str,
    paths: Sequence[Path],
    hashes: Sequence[str],
    *,
    licence: str,
    convention: Convention = "none",
    source: str = "",
    now: datetime,
) -> tuple[Network, Tried]:
    """Install a network from files. `paths`: one `.onnx`, or an ncnn `.param` and its `.bin`; `hashes`: the SHA-256 of each.

    Raises:
        Unusable: a name that is taken or none, other hashes, or a file that is no network that can be read here.
    """
    format_ = _format(paths)
    if len(hashes) != len(paths):
        raise Unusable(
            f"{len(paths)} files want {len(paths)} hashes: --sha256 of {' and of '.join(path.name for path in paths)}."
        )
    with _room(folder, name) as room:
        copied = tuple(_copied(path, room, hash_) for path, hash_ in zip(paths, hashes, strict=True))
        network = Network(
            name=name,
            format=format_,
            files=copied,
            purpose="cutout" if format_ == "onnx" else "none",
            convention=convention,
            licence=licence[:_LICENCE_LETTERS],
            source=source or str(paths[0].absolute()),
            added_at=now.isoformat(),
        )
        _write(room / MANIFEST, msgspec.json.encode(network))
        tried = await _try(room)
        network = msgspec.structs.replace(network, convention=tried.convention)
        _write(room / MANIFEST, msgspec.json.format(msgspec.json.encode(network)))
        _appear(room, folder / name)
    return network, tried


async def pull(folder: Path, wanted: Known, outbound: Outbound, now: datetime) -> tuple[Network, Tried]:
    """Fetch a network and install it, if its bytes are those that were meant.

    Raises:
        Unusable: as `add`. Failed: it cannot be fetched.
    """
    _check_free(folder, wanted.name)
    with tempfile.NamedTemporaryFile(suffix=".onnx") as file:

        async def write(data: bytes) -> None:
            file.write(data)

        await outbound.fetch(wanted.url, write, max_bytes=min(wanted.size_bytes, _MAX_BYTES), accept="*/*")
        file.flush()
        return await add(
            folder,
            wanted.name,
            [Path(file.name)],
            [wanted.sha256],
            licence=wanted.licence,
            convention=wanted.convention,
            source=wanted.url,
            now=now,
        )


def remove(folder: Path, name: str) -> None:
    """Raises Unusable where there is no such network."""
    place = _place(folder, name)
    gone = folder / f".gone-{secrets.token_hex(8)}"
    place.rename(gone)
    shutil.rmtree(gone)


async def trial(folder: Path, name: str) -> tuple[Network, Tried]:
    """Try one that is installed.

    Raises:
        Unusable: there is none of that name, or it does not work.
    """
    place = _place(folder, name)
    network = installed.read(place)
    assert network
    return network, await _try(place)


# --- trying ---------------------------------------------------------------------------------------------------------


async def _try(place: Path) -> Tried:
    """The network whose folder this is, in a child of its own."""
    inference = Inference((_RUNNER,), threads=0, precision="auto", models=str(place))
    picture = wire.Picture(width=_SIDE, height=_SIDE, channels=3, bits=8)
    message = wire.Run(
        job=0,
        runner=_RUNNER,
        params=msgspec.Raw(msgspec.msgpack.encode({})),
        pictures=(picture,),
        shots=(wire.Shot(),),
        results=(),
        memory_bytes=_MAX_BYTES * 2,
    )
    with Memory() as memory:
        memory.resize(picture.size_bytes)
        memory.write(os.urandom(picture.size_bytes))
        memory.seal()
        try:
            await inference.start()
            done = await inference.run(message, [memory.fd], lambda _part: None)
        except Failed as failed:
            words = "It brought its process down." if failed.reason == "internal" else failed.message
            raise Unusable(f"The network is not taken. {words}") from failed
        except Unusable as error:
            raise Unusable(
                "The network is not taken: it brought its process down when it was read."
            ) from error
        finally:
            await inference.close()
    return msgspec.convert(done.data, Tried)


# --- files ----------------------------------------------------------------------------------------------------------


def _format(paths: Sequence[Path]) -> Literal["onnx", "ncnn"]:
    endings = [path.suffix.lower() for path in paths]
    if endings == [".onnx"]:
        return "onnx"
    if endings == [".param", ".bin"]:
        return "ncnn"
    if endings == [".pth"]:
        there = find_spec("torch") and find_spec("spandrel")
        lacks = "nothing here works with them yet" if there else "those are not installed here"
        raise Unusable(
            f"A .pth is read by spandrel and torch, and {lacks}. Export the network as ONNX and add that."
        )
    raise Unusable("A network is one .onnx file, or an ncnn .param with its .bin beside it.")


def _check_free(folder: Path, name: str) -> None:
    if not re.fullmatch(NAME, name):
        raise Unusable(
            f"{name!r} is no name for a network: small letters, digits, `.`, `_` and `-`, 64 at most."
        )
    if (folder / name).exists():
        raise Unusable(f"{name} is installed already. Remove it first: burnish models remove {name}")


def _place(folder: Path, name: str) -> Path:
    if not re.fullmatch(NAME, name) or installed.read(folder / name) is None:
        there = ", ".join(network.name for network in installed.networks(folder)) or "none"
        raise Unusable(f"No network {name!r} is installed. Installed: {there}.")
    return folder / name


@contextmanager
def _room(folder: Path, name: str) -> Iterator[Path]:
    """A folder of that name, which nobody sees; gone at the end where it was not made to appear."""
    _check_free(folder, name)
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    hidden = folder / f".new-{secrets.token_hex(8)}"
    room = hidden / name
    try:
        room.mkdir(mode=0o700, parents=True)
        yield room
    finally:
        with contextlib.suppress(FileNotFoundError):
            shutil.rmtree(hidden)


def _copied(path: Path, room: Path, wanted: str) -> File:
    """The file, copied. Raises Unusable where it is another than was meant."""
    name = re.sub(r"[^A-Za-z0-9._-]", "_", path.name).lstrip("._-") or "network"
    hash_, size = sha256(), 0
    try:
        with path.open("rb") as source, _created(room / name) as copy:
            while data := source.read(_CHUNK_BYTES):
                hash_.update(data)
                size += len(data)
                if size > _MAX_BYTES:
                    raise Unusable(f"{path} is larger than the {_MAX_BYTES >> 30} GiB that a network may be.")
                copy.write(data)
            copy.flush()
            os.fsync(copy.fileno())
    except OSError as error:
        raise Unusable(f"{path} cannot be copied: {error.strerror}.") from error
    if hash_.hexdigest() != wanted.lower():
        raise Unusable(
            f"{path} is not the file that was meant: its SHA-256 is {hash_.hexdigest()}, and {wanted} was given."
        )
    return File(name, size, hash_.hexdigest())


def _created(path: Path) -> Any:
    """A new file of its owner's alone, open for writing."""
    return os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb")


def _write(path: Path, data: bytes) -> None:
    new = path.with_name(f".{path.name}")
    with _created(new) as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    new.replace(path)


def _appear(room: Path, place: Path) -> None:
    try:
        room.rename(place)
    except OSError as error:  # somebody was quicker
        raise Unusable(f"{place} cannot be made: {error.strerror}.") from error
    descriptor = os.open(place.parent, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
