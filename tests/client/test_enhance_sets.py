"""`burnish enhance` with models that take several files: grouped once, merged once, told, and gone on with."""

import json
import os
import signal
import struct
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

from burnish.cli.found import Found
from burnish.cli.place import WrongUse
from burnish.cli.sets import culprit, named, pieces_in, piles_of
from burnish.cli.work import Piece
from burnish.client import Damaged
from client.played import KEY, PICTURE, PlayedService

CREATE = "POST /v1/tasks"
QUOTE = "POST /v1/quotes"
JPEG = b"\xff\xd8\xff" + bytes(1000)


class Place:
    """A folder of brackets, and `burnish enhance` in it."""

    def __init__(self, folder: Path, service: PlayedService) -> None:
        self.folder = folder
        self.environ = {**os.environ, "BURNISH_URL": service.url, "BURNISH_API_KEY": KEY}
        (folder / "in").mkdir()
        self.put(7)

    def put(self, count: int) -> None:
        for number in range(1, count + 1):
            (self.folder / "in" / f"IMG_{number}.jpg").write_bytes(JPEG)

    def begin(self, *arguments: object, json_: bool = True) -> "subprocess.Popen[str]":
        shown = ["--json"] if json_ else []
        return subprocess.Popen(
            [sys.executable, "-m", "burnish", "enhance", "in", "-o", "out", *map(str, arguments), *shown],
            cwd=self.folder,
            env=self.environ,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def enhance(self, *arguments: object) -> tuple[int, list[dict[str, Any]], str]:
        """The exit code, the events but for the stages, and what was complained of."""
        said, complaint = (process := self.begin(*arguments)).communicate(timeout=120)
        events = [json.loads(line) for line in said.splitlines()]
        return process.returncode, [event for event in events if event["event"] != "stage"], complaint

    def results(self) -> list[str]:
        return sorted(path.name for path in (self.folder / "out").iterdir() if path.name[0] != ".")


@pytest.fixture
def place(tmp_path: Path, service: PlayedService) -> Place:
    service.models = ("upscale", "merge", "group", "moderate")
    service.life = [{"status": "succeeded"}]
    return Place(tmp_path, service)


def made_of(service: PlayedService, model: str) -> list[list[str]]:
    return [task["input"]["images"] for task in service.tasks.values() if task["model"] == model]


def test_a_folder_is_grouped_and_each_set_merged(place: Place, service: PlayedService) -> None:
    """One task of `group`, one of `merge` a set, each file uploaded once; a set of one is told and left out. The same
    command again asks for nothing.
    """
    code, events, complaint = place.enhance(
        "--model", "merge", "--param", "per_image=3", "--format", "jpeg", "--max-credits", 50
    )

    assert (code, complaint) == (0, "")
    (grouped,) = made_of(service, "group")
    files = [service.filenames[upload].split("-")[0] for upload in grouped]
    assert files == [f"IMG_{number}" for number in range(1, 8)]
    assert sorted(map(len, made_of(service, "merge"))) == [3, 3]
    assert (len(service.uploads), len(service.tasks)) == (7, 3)
    group, *merges = service.tasks.values()
    assert group["input"]["per_image"] == 3
    assert all(set(task["input"]) == {"images", "format"} for task in merges)
    assert place.results() == ["IMG_1-merge.png", "IMG_4-merge.png"]
    told = {event["event"]: event for event in events}
    names = [[f"in/IMG_{number}.jpg" for number in one] for one in ((1, 2, 3), (4, 5, 6), (7,))]
    assert (told["grouped"]["sets"], told["grouped"]["by"]) == (names, "number")
    assert sorted(event["files"] for event in events if event["event"] == "done") == names[:2]
    assert told["left_out"]["file"] == "in/IMG_7.jpg"
    summary = events[-1]
    assert (summary["done"], summary["alone"], summary["left"], summary["credits"]) == (2, 1, 0, 20)

    code, events, _ = place.enhance("--model", "merge", "--param", "per_image=3", "--format", "jpeg")
    assert (code, events[-1]["skipped"], events[-1]["alone"], events[-1]["credits"]) == (0, 2, 1, 0)
    assert (len(service.uploads), len(service.tasks)) == (7, 3)


@pytest.mark.parametrize("model", ["group", "merge"])
@pytest.mark.parametrize("acts", [False, True])
def test_killed_at_any_moment_nothing_is_done_twice(
    place: Place, service: PlayedService, model: str, acts: bool
) -> None:
    """Killed while a task is asked for: the next batch sends no bytes again, and makes no task again."""
    killed = threading.Event()

    def holds(handler: Any, asked: Any) -> bool:
        if json.loads(asked.body)["model"] != model:
            service.faults[CREATE].append(holds)
            return False
        if acts:
            handler.silent = True
            handler.act(asked)
        reached.set()
        assert killed.wait(60)
        handler.hang_up()
        return True

    reached = threading.Event()
    service.plays(CREATE, holds)
    process = place.begin("--model", "merge", "--concurrency", 1)
    assert reached.wait(60)
    process.send_signal(signal.SIGKILL)
    process.communicate(timeout=30)
    killed.set()
    service.faults.clear()

    code, events, complaint = place.enhance("--model", "merge", "--concurrency", 1)

    assert (code, complaint, events[-1]["done"]) == (0, "", 2)
    assert (len(service.uploads), len(service.tasks)) == (7, 3)


def test_a_set_that_changed_is_merged_again_and_the_others_are_not(
    place: Place, service: PlayedService
) -> None:
    """Of it, only the file that changed is sent again."""
    place.enhance("--model", "merge")
    (place.folder / "in" / "IMG_5.jpg").write_bytes(JPEG + b"more")

    code, events, _ = place.enhance("--model", "merge", "--overwrite")

    assert (code, events[-1]["done"], events[-1]["skipped"]) == (0, 1, 1)
    assert (len(service.uploads), len(service.tasks)) == (8, 5)


def test_uploads_that_are_gone_are_sent_again(place: Place, service: PlayedService) -> None:
    """As a week later; what was grouped stays so."""
    service.plays(
        CREATE,
        lambda *_: False,
        service.refuses(422, "upload_expired", param="input.images[1]"),
    )

    code, events, _ = place.enhance("--model", "merge", "--concurrency", 1)

    assert (code, events[-1]["done"], len(made_of(service, "group"))) == (0, 2, 1)
    assert len(service.uploads) == 10


def test_a_file_that_cannot_be_looked_at_fails_alone(place: Place, service: PlayedService) -> None:
    """Whether the service names it by its place or it cannot be sent: the others are grouped without it."""
    (place.folder / "in" / "IMG_2.jpg").write_bytes(b"")
    message = "input.images[5]: It is no picture."  # the seventh file, as the second is out already

    def fails(handler: Any, asked: Any) -> bool:
        handler.silent = True
        handler.act(asked)
        handler.silent = False
        service.tasks["task_1"]["end"] = "failed"
        why = {"status_reason": "unsupported_format", "status_message": message}
        handler.answer(202, handler._told("task_1") | why)
        return True

    service.plays(CREATE, fails)

    code, events, _ = place.enhance("--model", "merge")

    failed = {event["file"]: event["reason"] for event in events if event["event"] == "failed"}
    assert failed == {"in/IMG_2.jpg": "file_error", "in/IMG_7.jpg": "unsupported_format"}
    assert (code, events[-1]["done"], events[-1]["failed"], events[-1]["left"]) == (1, 2, 2, 0)
    assert place.results() == ["IMG_1-merge.png", "IMG_5-merge.png"]


def test_nothing_that_belongs_together_is_no_success(place: Place, service: PlayedService) -> None:
    """Exit code 1: nothing was made."""
    code, events, _ = place.enhance("--model", "merge", "--param", "per_image=1")
    assert (code, events[-1]["done"], events[-1]["alone"]) == (1, 0, 7)
    assert made_of(service, "merge") == []


def test_a_wrong_parameter_is_told_before_anything_is_sent(place: Place, service: PlayedService) -> None:
    """Exit code 2, with its name."""
    service.plays(QUOTE, service.refuses(422, "invalid", param="input.sky"))

    code, _, complaint = place.enhance("--model", "merge", "--param", "sky=green")

    assert (code, "input.sky" in complaint, service.uploads) == (2, True, {})


def test_the_sets_are_what_group_tells(place: Place, service: PlayedService) -> None:
    """In lines, as JSON and in a file; a second time without asking."""
    process = place.begin("--model", "group", json_=False)
    _, told = process.communicate(timeout=120)
    assert process.returncode == 0
    assert "7 files are 3 sets, by number:" in told
    assert "  2: in/IMG_4.jpg, in/IMG_5.jpg, in/IMG_6.jpg" in told
    assert place.results() == ["IMG_1-group.json"]

    code, events, _ = place.enhance("--model", "group")
    assert (code, [event["event"] for event in events]) == (0, ["grouped", "skipped", "summary"])
    assert events[0]["sets"][2] == ["in/IMG_7.jpg"]
    assert len(service.tasks) == 1
    assert place.enhance("--model", "merge")[1][-1]["done"] == 2
    assert (len(service.tasks), len(service.uploads)) == (3, 7)


def test_what_a_result_says_is_told(place: Place, service: PlayedService) -> None:
    """A result that is JSON lies beside the pictures, whatever is called like the file, and is told in the line."""
    service.picture = b'{"verdict": "allowed"}'
    (place.folder / "out").mkdir()
    (place.folder / "out" / "IMG_1.jpg").write_bytes(PICTURE)
    process = place.begin("--model", "moderate", json_=False)
    _, told = process.communicate(timeout=120)

    assert process.returncode == 0
    assert "in/IMG_1.jpg -> out/IMG_1.json (" in told
    assert '; {"verdict": "allowed"}' in told
    assert json.loads((place.folder / "out" / "IMG_1.json").read_bytes()) == {"verdict": "allowed"}


def png(width: int, height: int) -> bytes:
    return b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR" + struct.pack(">II", width, height) + bytes(40)


def test_a_dry_run_tells_the_price_of_the_sets(place: Place, service: PlayedService) -> None:
    """Exact where their number is given or known; else from sets of nine to sets of two. Nothing is sent."""
    for file in (place.folder / "in").iterdir():
        file.write_bytes(png(640, 480))
    service.price = 10

    code, (quote,), _ = place.enhance("--model", "merge", "--dry-run")
    assert (code, quote["sets"]) == (0, [1, 3])
    # The played service asks the same of every task, `group` too.
    assert (quote["files"], quote["lowest"], quote["highest"]) == (7, 10 + 10, 30 + 40)
    _, (quote,), _ = place.enhance("--model", "merge", "--dry-run", "--param", "per_image=3")
    assert (quote["sets"], quote["lowest"]) == ([2, 2], 20 + 10)
    assert (service.tasks, service.uploads) == ({}, {})

    place.enhance("--model", "merge")
    (place.folder / "out" / "IMG_4-merge.png").unlink()
    _, (quote,), _ = place.enhance("--model", "merge", "--dry-run")
    assert (quote["sets"], quote["skipped"], quote["lowest"], quote["highest"]) == ([1, 1], 1, 10, 10)


def test_too_many_for_one_pile_are_grouped_by_folder() -> None:
    """And refused where one folder alone has too many."""
    files = [Found(path, path) for path in (Path(f"{folder}/{n}.jpg") for folder in "ab" for n in range(3))]
    assert [len(pile.files) for pile in piles_of(files, 6)] == [6]
    assert [pile.file.parent.name for pile in piles_of(files, 4)] == ["a", "b"]
    with pytest.raises(WrongUse, match="a has 3 pictures, and at most 2"):
        piles_of(files, 2)


@pytest.mark.parametrize(
    "data", [{}, {"sets": 7}, {"sets": [[0]]}, {"sets": [[0, 0]]}, {"sets": [[0, 2]]}, {"sets": [[0, "1"]]},
             {"sets": [[0, 1], []]}]
)  # fmt: skip
def test_sets_that_are_none_are_not_believed(data: dict[str, Any]) -> None:
    """Every file is in exactly one set, or the answer is damaged."""
    pile = Piece((Path("a"), Path("b")))
    assert [piece.files for piece in pieces_in({"sets": [[1], [0]]}, pile)] == [(Path("b"),), (Path("a"),)]
    with pytest.raises(Damaged):
        pieces_in(data, pile)


def test_places_become_names() -> None:
    """In what the service says of a set; a place that is none stays."""
    piece = Piece((Path("x/a.jpg"), Path("x/b.jpg")))
    assert named("images[1] is larger than images[0], images[7]", piece) == (
        "b.jpg is larger than a.jpg, images[7]"
    )
    assert culprit("input.images[1]: It is no picture.", piece) == Path("x/b.jpg")
    assert culprit("input.images[2]: It is no picture.", piece) is None
    assert culprit("images[1] is larger", piece) is None
