"""What the data directory promises: who may use it, what it says when it cannot be used, and its keys."""

import contextlib
import os
import pwd
import stat
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from burnish.errors import Unusable
from burnish.storage.directory import Lock, hold_serve, prepare, secret_keys

_SERVE = """
import sys
from pathlib import Path
from burnish.storage.directory import hold_serve
lock = hold_serve(Path(sys.argv[1]))
print("mine", flush=True)
sys.stdin.read()
"""


@pytest.fixture
def data(tmp_path: Path) -> Path:
    prepare(tmp_path / "data")
    return tmp_path / "data"


@pytest.fixture
def serving(data: Path) -> Iterator["subprocess.Popen[str]"]:
    """Another process that is the `serve` of `data`."""
    command = [sys.executable, "-c", _SERVE, str(data)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        assert process.stdout.readline() == "mine\n"
        yield process
        process.kill()


def test_a_new_directory_is_closed_to_others(tmp_path: Path) -> None:
    """DIR and what lies above it are made; DIR is its owner's alone."""
    prepare(tmp_path / "deep" / "data")
    assert stat.S_IMODE((tmp_path / "deep" / "data").stat().st_mode) == 0o700


def test_an_existing_directory_is_taken_as_it_is(tmp_path: Path) -> None:
    """No permission changes, and nothing is left in it."""
    (tmp_path / "data").mkdir()
    (tmp_path / "data").chmod(0o755)
    prepare(tmp_path / "data")
    assert stat.S_IMODE((tmp_path / "data").stat().st_mode) == 0o755
    assert not list((tmp_path / "data").iterdir())


def test_a_file_in_its_place_is_named(tmp_path: Path) -> None:
    """A path that is a file, or goes through one, is refused by name."""
    (tmp_path / "data").write_text("a letter")
    for path in (tmp_path / "data", tmp_path / "data" / "below"):
        with pytest.raises(Unusable, match="is not a directory"):
            prepare(path)


def test_a_directory_that_cannot_be_written_to_is_named() -> None:
    """Who may not write there is told so, by path; root, who may, asks as nobody."""
    with tempfile.TemporaryDirectory() as folder:
        theirs = Path(folder)
        theirs.chmod(0o555)
        with _without_rights():
            for path in (theirs, theirs / "data"):
                with pytest.raises(Unusable, match=f"{path} cannot be used by user .*: Permission denied"):
                    prepare(path)
        theirs.chmod(0o700)


@contextlib.contextmanager
def _without_rights() -> Iterator[None]:
    root = os.geteuid() == 0
    if root:
        os.seteuid(pwd.getpwnam("nobody").pw_uid)
    yield
    if root:
        os.seteuid(0)


def test_one_serve_a_directory(data: Path, serving: "subprocess.Popen[str]") -> None:
    """A second `serve` is told who is there; when that one is killed, the next may start."""
    with pytest.raises(Unusable, match=f"pid {serving.pid}"):
        hold_serve(data)
    serving.kill()
    serving.wait()
    hold_serve(data).close()


def test_a_lock_is_given_back(data: Path) -> None:
    """After `close` another may have it."""
    hold_serve(data).close()
    hold_serve(data).close()


def test_shared_and_exclusive_locks_keep_each_other_out(data: Path) -> None:
    """Many share or one has it alone, and asking who has it takes nothing."""
    one, two, three = (Lock(data / "lock") for _ in range(3))
    assert one.take(shared=True)
    assert two.take(shared=True)
    assert three.held_by_others() == "shared"
    assert not three.take()
    one.unlock()
    two.unlock()
    assert three.held_by_others() == ""
    assert three.take()
    assert one.held_by_others() == "exclusive"
    assert not one.take(shared=True)
    for lock in (one, two, three):
        lock.close()


def test_a_secret_key_is_made_once(data: Path) -> None:
    """However many ask at once, all are given the same key; only its owner can read it."""
    with ThreadPoolExecutor(8) as callers:
        answers = set(callers.map(secret_keys, [data] * 32))
    assert len(answers) == 1
    (keys,) = answers
    assert len(keys) == 1
    assert len(keys[0]) >= 43
    assert stat.S_IMODE((data / "secret.key").stat().st_mode) == 0o600
    assert [path.name for path in data.iterdir()] == ["secret.key"]


def test_processes_that_race_get_one_key(data: Path) -> None:
    """As above, from processes of their own."""
    code = (
        "import sys, pathlib, burnish.storage.directory as d; print(d.secret_keys(pathlib.Path(sys.argv[1])))"
    )
    racers = [
        subprocess.Popen([sys.executable, "-c", code, str(data)], stdout=subprocess.PIPE) for _ in range(4)
    ]
    assert len({racer.communicate()[0] for racer in racers}) == 1


def test_keys_are_read_newest_first(data: Path) -> None:
    """A line put on top is the newest key."""
    (data / "secret.key").write_text("new\nold\n")
    assert secret_keys(data) == ("new", "old")


def test_an_empty_key_file_is_no_reason_for_a_new_key(data: Path) -> None:
    """A key that was lost is said to be lost: a new one would void every link and stored secret."""
    (data / "secret.key").touch()
    with pytest.raises(Unusable, match="is empty"):
        secret_keys(data)
    assert (data / "secret.key").read_text() == ""
