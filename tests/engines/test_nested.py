"""Lists and films that name a file or an address open neither; nor is anything opened that lies in a film.

The fences of the children would stop it too. So what is asked here runs without them, in this process, on Linux, whose
inotify tells whether a file was opened; and a control shows that FFmpeg does follow these lists where it is let.
"""

import contextlib
import ctypes
import io
import os
import select
import socket
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import av
import pytest

from burnish.engines.films import source
from burnish.engines.probed import probed
from burnish.errors import Failed
from engines.corpus import Case, film
from engines.nested import nested, references

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="Inotify tells that a file was opened.")

_IN_OPEN = 0x20
_OURS = b"?"
_PIXELS = 1_000_000


class Bait:
    """A film in a folder and on an address of the loopback; `taken` lists who touched which since it was last asked."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "marker.mp4"
        self.path.write_bytes(film("mp4", "libx264", width=128, height=96))
        libc = ctypes.CDLL(None, use_errno=True)
        self._watch = libc.inotify_init1(os.O_NONBLOCK)
        assert self._watch >= 0
        assert libc.inotify_add_watch(self._watch, bytes(self.path), _IN_OPEN) >= 0
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.address = f"http://127.0.0.1:{self._listener.getsockname()[1]}/marker.mp4"
        self._called = threading.Event()
        self._thread = threading.Thread(target=self._listen)
        self._thread.start()

    def _listen(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = self._listener.accept()
                with connection:
                    if connection.recv(1) != _OURS:
                        self._called.set()
                    connection.sendall(b"HTTP/1.0 404 Not Found\r\n\r\n")

    def taken(self) -> list[str]:
        with socket.create_connection(self._listener.getsockname()) as ours:  # behind all that called before
            ours.sendall(_OURS)
            assert ours.recv(1)
        opened = select.select([self._watch], [], [], 0)[0] and os.read(self._watch, 65_536)
        found = [*(["file"] if opened else []), *(["address"] if self._called.is_set() else [])]
        self._called.clear()
        return found

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join()
        os.close(self._watch)


@pytest.fixture(scope="module")
def bait(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bait]:
    own = Bait(tmp_path_factory.mktemp("bait"))
    yield own
    own.close()


@pytest.fixture
def cases(bait: Bait) -> dict[str, Case]:
    return {case.name: case for case in references(str(bait.path), bait.address)}


@pytest.mark.parametrize(
    ("name", "demuxer", "options", "touched"),
    [
        ("names-hls-file.mp4", "hls", {"allowed_extensions": "ALL", "extension_picky": "0"}, "file"),
        ("names-hls-address.mp4", "hls", {}, "address"),
        ("names-hls-key.mp4", "hls", {"allowed_extensions": "ALL", "extension_picky": "0"}, "address"),
        ("names-concat.mp4", "concat", {"safe": "0"}, "file"),
        ("names-concat-subfile.mp4", "concat", {"safe": "0"}, "file"),
        ("names-concat-address.mp4", "concat", {"safe": "0"}, "address"),
        ("names-in-mov", "mov", {"enable_drefs": "1", "use_absolute_path": "1"}, "file"),
    ],
)
def test_where_it_is_let_ffmpeg_follows_what_a_file_names(
    bait: Bait, cases: dict[str, Case], *, name: str, demuxer: str, options: dict[str, str], touched: str
) -> None:
    """The control: the bait is one, and the watch and the listener see it taken. The very same is not taken through us."""
    data = cases[name].data
    let = options | {"protocol_whitelist": "file,http,tcp,crypto,subfile,concat,data"}
    with (
        contextlib.suppress(av.FFmpegError),
        av.open(io.BytesIO(data), "r", format=demuxer, container_options=let) as it,
    ):
        next(it.demux(), None)
    assert touched in bait.taken()
    with contextlib.suppress(Failed), source.opened(io.BytesIO(data), demuxer) as (container, _):
        next(container.demux(), None)
    assert bait.taken() == []


def test_no_file_is_opened_that_another_names(bait: Bait, cases: dict[str, Case]) -> None:
    """Whatever they are called and begin like: the right reason, or the film without what it names."""
    wrong = {name: what for name, case in cases.items() if (what := _fault(case))}
    assert wrong == {}
    assert bait.taken() == []


def test_of_films_in_films_the_outer_is_read(bait: Bait) -> None:
    """Covers, attachments, films in a film's data or behind it: what a player shows, or none."""
    wrong = {case.name: what for case in nested() if (what := _fault(case))}
    assert wrong == {}


def _fault(case: Case) -> str | None:
    try:
        found = probed(io.BytesIO(case.data), _PIXELS, case.filename)
    except Failed as failed:
        return None if failed.reason in case.reasons else f"{failed.reason}: {failed.message}"
    right = not case.reasons and (found.width, found.height) == case.size and case.film in (None, found.type)
    return None if right else f"{found}"
