"""Which networks are on this machine beside the built-in ones.

Read by the API, which refuses what cannot be done, by the workers, which load what is there, and by the command line.
Nothing heavy is imported here, and nothing of a network is read but its manifest. A network lies in a folder of its own
below the directory of networks, with `manifest.json`; `install` puts it there and takes it away, each in one step, so
whoever reads sees all of it or nothing.
"""

from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Final, Literal

import msgspec
from msgspec import Meta, Struct

MANIFEST: Final = "manifest.json"
#: What a network's folder may be called.
NAME: Final = r"^[a-z0-9][a-z0-9._-]{0,63}$"

Purpose = Literal["cutout", "none"]
Convention = Literal["u2net", "isnet", "none"]


class File(Struct, frozen=True):
    """A file of a network, in its folder."""

    name: Annotated[str, Meta(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$")]
    size_bytes: int
    sha256: str


class Network(Struct, frozen=True, kw_only=True):
    """What a manifest says. `purpose`: the model that works with it. `convention`: how it wants its pictures."""

    name: Annotated[str, Meta(pattern=NAME)]
    format: Literal["onnx", "ncnn"]
    files: tuple[File, ...]
    purpose: Purpose
    convention: Convention
    licence: str
    source: str
    added_at: str

    @property
    def size_bytes(self) -> int:
        return sum(file.size_bytes for file in self.files)


def networks(folder: Path) -> tuple[Network, ...]:
    """Those in the directory, by name; one whose manifest cannot be read is none."""
    found = (read(file.parent) for file in sorted(folder.glob(f"[a-z0-9]*/{MANIFEST}")))
    return tuple(network for network in found if network)


def read(folder: Path) -> Network | None:
    """What the manifest in a network's own folder says; None: none can be read, or it is another's."""
    try:
        network = msgspec.json.decode((folder / MANIFEST).read_bytes(), type=Network)
    except (OSError, msgspec.MsgspecError):
        return None
    return network if network.name == folder.name else None


def for_cutout(folder: Path) -> Network | None:
    """The one that `cutout` of anything works with: that which was added last."""
    able = [network for network in networks(folder) if network.purpose == "cutout"]
    return max(able, key=lambda network: (network.added_at, network.name), default=None)


def stamp(folder: Path) -> tuple[tuple[str, str], ...]:
    """Another one after every change."""
    return tuple((network.name, network.added_at) for network in networks(folder))


@cache
def package_has(package: str, *parts: str) -> bool:
    """Whether an installed package holds a file; it is not imported. Found once: whoever installs one starts anew."""
    spec = find_spec(package)
    places = (spec.submodule_search_locations or ()) if spec else ()
    return any(Path(place, *parts).is_file() for place in places)
