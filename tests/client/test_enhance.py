"""`burnish enhance` as a process, against a played service: names, exit codes, what is shown, and being stopped."""

import json
import os
import pty
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from client.played import KEY, PICTURE, PlayedService

CREATE = "POST /v1/tasks"
READ = "GET /v1/tasks/{id}"
CANCEL = "POST /v1/tasks/{id}/cancel"
MEDIA = "GET /media/{id}"
JPEG = b"\xff\xd8\xff" + bytes(1000)

Enhance = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def environ(service: PlayedService) -> dict[str, str]:
    return {**os.environ, "BURNISH_URL": service.url, "BURNISH_API_KEY": KEY}


@pytest.fixture
def enhance(environ: dict[str, str], tmp_path: Path) -> Enhance:
    """Run `burnish enhance` in a folder with two photos, to its end."""
    for name in ("one.jpg", "two.jpg"):
        (tmp_path / name).write_bytes(JPEG)

    def run(*arguments: object, **changes: str | None) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            [sys.executable, "-m", "burnish", "enhance", *map(str, arguments)],
            cwd=tmp_path,
            env={name: value for name, value in (environ | changes).items() if value is not None},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    return run


def events(ended: "subprocess.CompletedProcess[str]") -> list[dict[str, Any]]:
    return [json.loads(line) for line in ended.stdout.splitlines()]


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir() if path.name != ".burnish-enhance.jsonl")


# --- results ----------------------------------------------------------------------------------------------------------


def test_files_are_enhanced(enhance: Enhance, service: PlayedService, tmp_path: Path) -> None:
    """Each file's result is in the folder under its own name with the result's ending; the parameters were sent."""
    ended = enhance("one.jpg", "two.jpg", "-o", "out/new", "--scale", 4, "--mode", "restore", "--format", "png",
                    "--quality", 80, "--param", "metadata=strip", "--param", "strength=0.5")  # fmt: skip

    assert (ended.returncode, ended.stdout) == (0, "")
    assert names(tmp_path / "out" / "new") == ["one.png", "two.png"]
    assert (tmp_path / "out" / "new" / "one.png").read_bytes() == PICTURE
    assert {json.dumps(task["input"]) for task in service.tasks.values()} == {
        json.dumps({"image": upload, "format": "png", "metadata": "strip", "mode": "restore", "quality": 80,
                    "scale": 4, "strength": 0.5})
        for upload in ("upload_1", "upload_2")
    }  # fmt: skip
    assert list(service.uploads.values()) == [JPEG, JPEG]


def test_scripts_read_a_line_for_each_event(enhance: Enhance, service: PlayedService) -> None:
    """With --json: the stages of a file, its result, and the summary as the last line."""
    service.life = [{"status": "queued"}, {"status": "running", "progress": 0.5}, {"status": "succeeded"}]
    service.holds, service.pending = False, {"retry-after-ms": "20"}
    service.plays(READ, service.refuses(503, headers={"retry-after-ms": "1"}))

    ended = enhance("one.jpg", "-o", "out", "--json")

    told = events(ended)
    assert [(event["event"], event.get("stage"), event.get("progress")) for event in told] == [
        ("stage", "upload", 0.0),
        ("stage", "queue", None),
        ("stage", "work", 0.5),
        ("stage", "download", 0.0),
        ("done", None, None),
        ("summary", None, None),
    ]
    assert told[4]["outputs"] == [
        {"path": "out/one.png", "type": "image/png", "width": 2, "height": 2, "size_bytes": len(PICTURE)}
    ]
    assert (told[5]["done"], told[5]["failed"], told[5]["left"]) == (1, 0, 0)
    assert ended.stderr == ""


def test_files_of_one_name_do_not_overwrite_each_other(
    enhance: Enhance, service: PlayedService, tmp_path: Path
) -> None:
    """The second of a name gets a number, in the order of the command line; case does not count."""
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "One.jpg").write_bytes(JPEG)

    ended = enhance("one.jpg", "a/One.jpg", "b/One.jpg", "a/One.jpg", "-o", "out", "--json")

    saved = {
        event["file"]: event["outputs"][0]["path"] for event in events(ended) if event["event"] == "done"
    }
    assert saved == {"one.jpg": "out/one.png", "a/One.jpg": "out/One-2.png", "b/One.jpg": "out/One-3.png"}


def test_an_input_is_never_overwritten(enhance: Enhance, service: PlayedService, tmp_path: Path) -> None:
    """Results beside their inputs get a number where they would have an input's name, even with --overwrite."""
    service.picture_type = "image/jpeg"
    (tmp_path / "one-2.jpg").symlink_to("two.jpg")

    ended = enhance("one.jpg", "two.jpg", "-o", ".", "--overwrite")

    assert ended.returncode == 0
    assert names(tmp_path) == ["one-2.jpg", "one-3.jpg", "one.jpg", "two-2.jpg", "two.jpg"]
    assert (tmp_path / "one.jpg").read_bytes() == (tmp_path / "two.jpg").read_bytes() == JPEG


def test_a_result_that_is_there_stays(enhance: Enhance, service: PlayedService, tmp_path: Path) -> None:
    """Without --overwrite its file fails before anything is spent, the others are done; with it, it is replaced."""
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "one.png").write_bytes(b"mine")

    ended = enhance("one.jpg", "two.jpg", "-o", "out", "--format", "png")

    assert ended.returncode == 1
    assert "one.jpg: failed: out/one.png exists already. Give --overwrite" in ended.stderr
    assert (tmp_path / "out" / "one.png").read_bytes() == b"mine"
    assert (names(tmp_path / "out"), len(service.tasks)) == (["one.png", "two.png"], 1)

    assert enhance("one.jpg", "-o", "out", "--overwrite").returncode == 0
    assert (tmp_path / "out" / "one.png").read_bytes() == PICTURE


def test_a_result_in_an_unexpected_place_stays(
    enhance: Enhance, service: PlayedService, tmp_path: Path
) -> None:
    """What the result's name is, is known at its end: a file that is there is not replaced then either."""
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "one.png").write_bytes(b"mine")

    ended = enhance("one.jpg", "-o", "out")  # as a JPEG's result, a JPEG would have been expected

    assert (ended.returncode, names(tmp_path / "out")) == (1, ["one.png"])
    assert (tmp_path / "out" / "one.png").read_bytes() == b"mine"


def test_a_name_of_the_services_choosing_is_no_path(
    enhance: Enhance, service: PlayedService, tmp_path: Path
) -> None:
    """Of the name that the service gives, at most a plain ending is used."""
    service.filename = "../../evil.png/x.p/g"

    assert enhance("one.jpg", "-o", "out").returncode == 0
    assert (names(tmp_path), names(tmp_path / "out")) == (["one.jpg", "out", "two.jpg"], ["one.png"])


def test_results_of_one_file_are_told_apart_by_their_roles(
    enhance: Enhance, service: PlayedService, tmp_path: Path
) -> None:
    """The result has the file's name, a mask says that it is one; a role that is no plain word counts for nothing."""
    service.roles = (None, "mask", "../../evil")

    assert enhance("one.jpg", "-o", "out").returncode == 0
    assert (names(tmp_path), names(tmp_path / "out")) == (
        ["one.jpg", "out", "two.jpg"],
        ["one-2.png", "one-mask.png", "one.png"],
    )


# --- what goes wrong --------------------------------------------------------------------------------------------------


def test_one_bad_file_fails_alone(enhance: Enhance, service: PlayedService, tmp_path: Path) -> None:
    """Its reason, what to do and its task are told; the others are done; the exit code is 1."""
    bad = {"status": "failed", "status_reason": "decode_failed", "status_message": "The file ends too early."}
    service.life = [bad]
    (tmp_path / "empty.jpg").touch()

    ended = enhance("one.jpg", "empty.jpg", "-o", "out", "--json")

    failed = {event["file"]: event for event in events(ended) if event["event"] == "failed"}
    assert ended.returncode == 1
    assert failed["one.jpg"]["task"] == "task_1"
    assert (failed["one.jpg"]["reason"], failed["one.jpg"]["retryable"]) == ("decode_failed", False)
    assert failed["one.jpg"]["message"] == "The file ends too early."
    assert "save it again" in failed["one.jpg"]["advice"]
    assert failed["empty.jpg"]["reason"] == "empty_file"
    assert names(tmp_path / "out") == []


def test_a_refused_file_fails_alone(enhance: Enhance, service: PlayedService) -> None:
    """A refusal that is about the picture is that file's failure."""
    service.plays(CREATE, service.refuses(422, "input_too_large", param="input.image"))
    service.plays("POST /v1/uploads", service.refuses(413, "upload_too_large"))

    ended = enhance("one.jpg", "two.jpg", "-o", "out", "--json", "--concurrency", 1)
    third = enhance("one.jpg", "-o", "other")

    reasons = [event["reason"] for event in events(ended) if event["event"] == "failed"]
    assert (ended.returncode, reasons, third.returncode) == (1, ["upload_too_large", "input_too_large"], 0)


def test_a_damaged_download_leaves_no_file(enhance: Enhance, service: PlayedService, tmp_path: Path) -> None:
    """Bytes that are not those announced are a failure, and nothing stays of them."""
    service.plays(MEDIA, service.says(200, b"short"))

    ended = enhance("one.jpg", "-o", "out")

    assert (ended.returncode, names(tmp_path / "out")) == (1, [])
    assert "5 bytes came where" in ended.stderr


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["none.jpg", "-o", "out"], "There is no file none.jpg"),
        (["empty", "-o", "out"], "There is no picture or film in the folder empty; --recursive"),
        (["empty", "-r", "-o", "out"], "There is no picture or film in the folder empty."),
        (["*.gif", "-o", "out"], "There is no file *.gif"),
        (["one.jpg", "-o", "out/{name}"], "it may hold {folder}, {stem}, {model}, {number}"),
        (["one.jpg", "-o", "out/{stem"], "is no template"),
        (["one.jpg"], "required: -o"),
        (["one.jpg", "-o", "one.jpg"], "cannot be a folder"),
        (["one.jpg", "-o", "out", "--model", "paint"], "There is no model paint. There are: upscale."),
        (["one.jpg", "-o", "out", "--param", "strength"], "NAME=VALUE"),
        (["one.jpg", "-o", "out", "--concurrency", "0"], "number from 1"),
    ],
)
def test_wrong_use_is_told_before_anything_is_sent(
    enhance: Enhance, service: PlayedService, tmp_path: Path, arguments: list[str], words: str
) -> None:
    """Exit code 2, and a sentence that says what is wrong."""
    (tmp_path / "empty").mkdir()
    ended = enhance(*arguments)

    assert ended.returncode == 2
    assert words in ended.stderr
    assert service.uploads == {}


def test_a_wrong_parameter_ends_the_batch(enhance: Enhance, service: PlayedService) -> None:
    """It is the same for every file, so the first refusal is wrong use; it names the parameter."""
    service.plays(CREATE, *[service.refuses(422, "invalid", param="input.scale")] * 2)

    ended = enhance("one.jpg", "two.jpg", "-o", "out", "--scale", 3)

    assert ended.returncode == 2
    assert "input.scale: Refused with 422." in ended.stderr


def test_a_service_without_a_key_is_wrong_use(enhance: Enhance) -> None:
    """BURNISH_URL alone does not do."""
    ended = enhance("one.jpg", "-o", "out", BURNISH_API_KEY=None)

    assert ended.returncode == 2
    assert "BURNISH_API_KEY" in ended.stderr


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"BURNISH_URL": "http://127.0.0.1:9"}, "http://127.0.0.1:9 does not answer"),
        ({"BURNISH_API_KEY": "bk_live_other"}, "No such key."),
    ],
)
def test_trouble_with_the_service_is_its_own_exit_code(
    enhance: Enhance, changes: dict[str, str], words: str
) -> None:
    """Exit code 3: nobody answers, or the key is not known; the message says where to look."""
    ended = enhance("one.jpg", "-o", "out", **changes)

    assert ended.returncode == 3
    assert words in ended.stderr
    assert "Look at BURNISH_" in ended.stderr


def test_a_key_that_is_revoked_ends_the_batch(enhance: Enhance, service: PlayedService) -> None:
    """In the middle of a batch: exit code 3, and the summary counts what is left."""
    service.plays(CREATE, service.refuses(401, "revoked_key"))

    ended = enhance("one.jpg", "two.jpg", "-o", "out", "--json", "--concurrency", 1)

    assert (ended.returncode, events(ended)[-1]["left"]) == (3, 2)


# --- being stopped ----------------------------------------------------------------------------------------------------


@pytest.fixture
def begin(environ: dict[str, str], tmp_path: Path) -> Iterator[Callable[..., "subprocess.Popen[str]"]]:
    """Start `burnish enhance`; it has ended when the test has."""
    begun: list[subprocess.Popen[str]] = []
    (tmp_path / "one.jpg").write_bytes(JPEG)

    def start(*arguments: str) -> "subprocess.Popen[str]":
        process = subprocess.Popen(
            [sys.executable, "-m", "burnish", "enhance", "one.jpg", "-o", "out", *arguments],
            cwd=tmp_path,
            env=environ,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        begun.append(process)
        return process

    yield start
    for process in begun:
        process.kill()
        for stream in (process.stdout, process.stderr):
            if stream is not None:
                stream.close()
        process.wait()


def wait_until(condition: Callable[[], Any]) -> None:
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_stopped_batch_cancels_what_it_submitted(
    begin: Callable[..., "subprocess.Popen[str]"],
    service: PlayedService,
    tmp_path: Path,
    number: signal.Signals,
) -> None:
    """Ctrl-C or SIGTERM while a task runs: it is cancelled, no file is left, and the exit code names the signal."""
    service.life = [{"status": "running"}]
    process = begin("--json")
    wait_until(lambda: service.of(READ))

    process.send_signal(number)
    said, complaint = process.communicate(timeout=30)

    assert (process.returncode, complaint) == (128 + number, "")
    assert service.tasks["task_1"]["end"] == "cancelled"
    assert json.loads(said.splitlines()[-1])["left"] == 1
    assert names(tmp_path / "out") == []


def test_a_task_that_was_being_created_is_cancelled_too(
    begin: Callable[..., "subprocess.Popen[str]"], service: PlayedService
) -> None:
    """Stopped between the request and its reply: the reply is waited for, and the task does not run on."""
    admitted = threading.Event()
    service.plays(CREATE, service.waits_for(admitted))
    process = begin()
    wait_until(lambda: service.of(CREATE))

    process.send_signal(signal.SIGINT)
    admitted.set()
    process.communicate(timeout=30)

    assert process.returncode == 130
    assert service.tasks["task_1"]["end"] == "cancelled"


def test_a_stopped_download_leaves_no_half_file(
    begin: Callable[..., "subprocess.Popen[str]"], service: PlayedService, tmp_path: Path
) -> None:
    """Stopped with half of the bytes here: the folder is as it was before."""
    stopped = threading.Event()
    service.plays(MEDIA, service.stops_after(100_000, stopped))
    process = begin()
    wait_until(lambda: any(path.stat().st_size for path in (tmp_path / "out").glob(".one.png.*.part")))

    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=30)
    stopped.set()

    assert process.returncode == 143
    assert names(tmp_path / "out") == []


def test_a_task_that_is_lost_sight_of_is_cancelled(enhance: Enhance, service: PlayedService) -> None:
    """Its file fails because it cannot be read any more: it shall not run on, and cost, for nobody."""
    service.plays(READ, service.refuses(403, "forbidden"))

    assert enhance("one.jpg", "-o", "out").returncode == 3
    assert service.tasks["task_1"]["end"] == "cancelled"


def test_a_reader_that_leaves_ends_the_batch(
    begin: Callable[..., "subprocess.Popen[str]"], service: PlayedService
) -> None:
    """`burnish enhance --json | head -1`: the task is cancelled, and nobody is shown a traceback."""
    service.life = [{"status": "running"}]
    process = begin("--json")
    assert process.stdout is not None
    process.stdout.readline()
    process.stdout.close()

    assert process.wait(30) == 1
    assert process.stderr is not None
    assert process.stderr.read() == ""
    assert service.tasks["task_1"]["end"] == "cancelled"


def test_a_cancellation_that_cannot_be_had_is_told(
    begin: Callable[..., "subprocess.Popen[str]"], service: PlayedService
) -> None:
    """The service refuses to cancel: the batch ends all the same, and says so."""
    service.life = [{"status": "running"}]
    service.plays(CANCEL, service.refuses(404, "not_found"))
    process = begin()
    wait_until(lambda: service.of(READ))

    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=30)

    assert process.returncode == 130
    assert "could not be cancelled: Refused with 404." in said


# --- what is shown ----------------------------------------------------------------------------------------------------


def test_lines_are_plain_where_there_is_no_terminal(enhance: Enhance) -> None:
    """No control character; a line for each stage, the result and the summary; nothing on standard output."""
    ended = enhance("one.jpg", "-o", "out")

    lines = ended.stderr.splitlines()
    assert lines[0] == "one.jpg: uploading"
    assert lines[-2].startswith("one.jpg -> out/one.png (2x2, 0.3 MB) in ")
    assert lines[-1].startswith("1 done, in ")
    assert ended.stderr.isprintable() or "\x1b" not in ended.stderr


def test_bars_are_drawn_on_a_terminal(
    environ: dict[str, str], tmp_path: Path, service: PlayedService
) -> None:
    """A bar for the file and one for all; the result's line stays above; the cursor comes back."""
    service.holds, service.pending = False, {"retry-after-ms": "20"}
    service.life = [
        {"status": "running", "progress": 0.5},
        {"status": "running", "progress": 0.5},
        {"status": "succeeded"},
    ]
    (tmp_path / "one [draft].jpg").write_bytes(JPEG)
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "burnish", "enhance", "one [draft].jpg", "-o", "out"],
        cwd=tmp_path,
        env={**environ, "TERM": "xterm-256color", "COLUMNS": "100"},
        stdout=theirs,
        stderr=theirs,
    )
    os.close(theirs)
    shown = b""
    try:
        while piece := os.read(ours, 65_536):
            shown += piece
    except OSError:  # what reading a terminal ends with when its last writer has gone
        pass
    os.close(ours)

    assert process.wait(30) == 0
    text = shown.decode()
    assert "All files" in text
    assert "working" in text
    assert "one [draft].jpg -> out/one [draft].png" in text
    assert text.rindex("\x1b[?25h") > text.rindex("\x1b[?25l")


def test_help_loads_no_http_client() -> None:
    """`burnish --help` and `burnish enhance --help` answer without importing what only the work needs."""
    code = (
        "import sys\n"
        "from burnish.cli import main\n"
        "try: main({arguments})\n"
        "except SystemExit: print([m for m in ('httpx', 'rich', 'burnish.client') if m in sys.modules])"
    )
    for arguments in (["--help"], ["enhance", "--help"]):
        said = subprocess.run(
            [sys.executable, "-c", code.format(arguments=arguments)],
            capture_output=True,
            text=True,
            check=True,
        )
        assert said.stdout.splitlines()[-1] == "[]"
