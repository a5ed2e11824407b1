"""The command line: what is refused, what is made and what is not, what is told; with a real database of its own."""

import contextlib
import json
import os
import pty
import shlex
import subprocess
import sys
from datetime import timedelta
from pathlib import Path

import psutil
import pytest

from burnish.cli.serve import _keys_command
from burnish.keys.issue import issue_key
from burnish.settings import Settings, read
from burnish.storage.directory import Lock
from burnish.storage.postgres import Database
from cli.typed import BURNISH, burnish
from waiting import until

# --- keys ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seconds", ["0", "-1", "1.5", "soon", "315360001", "9" * 40, "²"])
def test_a_key_expires_in_a_time_that_can_be(seconds: str) -> None:
    """Exit code 2 and the bounds, before anything is made."""
    ended = burnish(dict(os.environ), "keys", "create", f"--expires-in={seconds}", "--data", "/nonexistent/x")
    assert ended.returncode == 2
    assert "from 1 to 315360000 (ten years)" in ended.stderr


async def test_keys_are_listed_as_they_are(environ: dict[str, str], db: Database) -> None:
    """Valid, to expire, expired, revoked."""
    now = db.clock.now()
    for name, expires_at in (("a", None), ("b", now + timedelta(days=2)), ("c", now - timedelta(days=2))):
        await issue_key(db, name=name, expires_at=expires_at, now=now)
    heads, *lines = burnish(environ, "keys", "list").stdout.splitlines()
    assert heads.split()[:4] == ["KEY", "ACCOUNT", "SECRET", "STATE"]
    assert [(line.split()[3], line.split()[-1]) for line in lines] == [
        ("valid", "a"),
        ("expires", "b"),
        ("expired", "c"),
    ]


@pytest.mark.parametrize("arguments", [("doctor",), ("keys", "list"), ("keys", "revoke", "key_" + "0" * 26)])
def test_what_only_looks_makes_no_database(arguments: tuple[str, ...], tmp_path: Path) -> None:
    """On a directory without Burnish's data: exit code 3, says so, and leaves it as it was."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith("BURNISH_")}
    data = tmp_path / "nothing"
    ended = burnish(clean, *arguments, "--data", str(data))
    assert ended.returncode == 3
    assert f"There is no Burnish data in {data}" in ended.stderr
    assert not data.exists()


@pytest.mark.parametrize("verb", ["create", "list", "rotate", "cap", "revoke"])
def test_help_says_what_a_verb_does(verb: str) -> None:
    """In a sentence of its own; names keep their letters."""
    assert "." in burnish(dict(os.environ), "keys", verb, "--help").stdout.split("\n\n")[1]
    assert (
        "Create, list, rotate, cap and revoke API keys." in burnish(dict(os.environ), "keys", "--help").stdout
    )


def test_the_command_that_is_shown_can_be_typed(monkeypatch: pytest.MonkeyPatch) -> None:
    """With a plain path of the program, and quotes where the directory's name needs them."""
    monkeypatch.setattr(sys, "argv", ["/opt/x/scripts/../.venv/bin/burnish", "serve"])
    words = shlex.split(_keys_command(read({}, {"data": "/tmp/my data"})))
    assert words == ["/opt/x/.venv/bin/burnish", "keys", "create", "--data", "/tmp/my data"]


# --- doctor -------------------------------------------------------------------------------------------------------


def test_doctor_says_that_the_database_is_away(environ: dict[str, str]) -> None:
    """A finding, exit code 1, no traceback."""
    environ |= {"BURNISH_DATABASE_URL": "postgresql://burnish:secret@127.0.0.1:9/burnish"}
    ended = burnish(environ, "doctor", "--json")
    assert ended.returncode == 1
    assert "Traceback" not in ended.stderr
    assert not json.loads(ended.stdout)[-1]["well"]
    assert "secret" not in ended.stdout


# --- serve and worker ---------------------------------------------------------------------------------------------


async def test_serve_tells_where_it_is_only_while_it_is_there(
    environ: dict[str, str], settings: Settings
) -> None:
    """serve.json of a killed one is gone at once, and the own one before the directory is free; so is the key of a run."""
    place = settings.data / "serve.json"
    place.write_text('{"url": "http://127.0.0.1:9", "pid": 1}')
    process = subprocess.Popen(
        [*BURNISH, "serve", "--port", "0", "--workers", "0", "--json", "--issue-key", "run"],
        env=environ, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert process.stdout is not None
    with process:
        told = json.loads(process.stdout.readline())
        assert json.loads(place.read_text())["url"] == told["url"]
        (before,) = json.loads(burnish(environ, "keys", "list", "--json").stdout)
        assert (before["name"], before["scopes"]) == ("run", ["tasks:read", "tasks:write", "uploads:write"])
        process.terminate()
        with contextlib.closing(Lock(settings.data / "serve")) as lock:
            await until(lambda: not lock.held_by_others())
            assert not place.exists()
    (after,) = json.loads(burnish(environ, "keys", "list", "--json").stdout)
    assert before["revoked_at"] is None
    assert after["revoked_at"] is not None


async def test_serve_that_cannot_start_leaves_no_address(environ: dict[str, str], settings: Settings) -> None:
    """Also where it fails."""
    place = settings.data / "serve.json"
    place.write_text("{}")
    environ |= {"BURNISH_DATABASE_URL": "postgresql://burnish@127.0.0.1:9/burnish"}
    assert burnish(environ, "serve", "--port", "0").returncode == 3
    assert not place.exists()


# --- enhance ------------------------------------------------------------------------------------------------------


def test_a_key_alone_means_the_usual_address_only_where_something_answers(
    environ: dict[str, str], tmp_path: Path
) -> None:
    """Else what to set is said; an address without a key is wrong use, in the words of the command line."""
    (tmp_path / "a.jpg").write_bytes(b"x")
    arguments = ("enhance", str(tmp_path / "a.jpg"), "-o", str(tmp_path / "out"))
    taken = any(
        c.laddr and c.laddr.port == 8000 for c in psutil.net_connections("tcp") if c.status == "LISTEN"
    )
    if not taken:
        ended = burnish(environ | {"BURNISH_API_KEY": "bk_live_x"}, *arguments)
        assert ended.returncode == 3
        assert "nothing answers at http://127.0.0.1:8000. Set BURNISH_URL" in ended.stderr
    ended = burnish(environ | {"BURNISH_URL": "http://127.0.0.1:9"}, *arguments)
    assert ended.returncode == 2
    assert "BURNISH_API_KEY is not" in ended.stderr
    assert "`key`" not in ended.stderr


def test_a_name_cannot_write_to_the_terminal(environ: dict[str, str], tmp_path: Path) -> None:
    """What a file's name holds of control characters is shown as escapes: in lines, and on a terminal."""
    name = "a\x1b]0;owned\x07\x1b[2J\u202egpj.jpg"
    ended = burnish(environ, "enhance", name, "-o", str(tmp_path / "out"))
    assert ended.returncode == 2
    assert r"a\x1b]0;owned\x07\x1b[2J\u202egpj.jpg" in ended.stderr
    program = (
        "import sys; from pathlib import Path; from burnish.cli.progress import *; from burnish.cli import progress\n"
        "with open_display(as_json=False) as d:\n"
        f"    d.step(Step(Path({name!r}), 'upload', 0.5, None))\n"
        f"    d.ended(Failure(Path({name!r}), None, 'x', 'bad\\x1b]0;', None, False))\n"
    )
    leader, follower = pty.openpty()
    with os.fdopen(leader, "rb", buffering=0) as terminal:
        environ |= {"TERM": "xterm", "COLUMNS": "120"}
        process = subprocess.Popen([sys.executable, "-c", program], stderr=follower, env=environ)
        os.close(follower)
        shown = b""
        with contextlib.suppress(OSError):  # how a terminal's end is told
            while chunk := terminal.read(4096):
                shown += chunk
        assert process.wait(30) == 0
    assert b"owned" in shown
    assert b"\x1b]0;" not in shown
    assert "\u202e".encode() not in shown
