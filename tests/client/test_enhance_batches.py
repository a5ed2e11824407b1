"""`burnish enhance` on whole folders: what is found, what results are called, and that nothing is paid for twice."""

import json
import os
import signal
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from burnish.cli.dimensions import size_of
from burnish.cli.journal import Journal, open_journal
from burnish.errors import Unusable
from client.played import KEY, PICTURE, PlayedService

UPLOAD = "POST /v1/uploads"
CREATE = "POST /v1/tasks"
READ = "GET /v1/tasks/{id}"
MEDIA = "GET /media/{id}"
JPEG = b"\xff\xd8\xff" + bytes(1000)


class Place:
    """A folder, and `burnish enhance` in it."""

    def __init__(self, folder: Path, service: PlayedService) -> None:
        self.folder = folder
        self.environ = {**os.environ, "BURNISH_URL": service.url, "BURNISH_API_KEY": KEY}

    def put(self, *names: str) -> None:
        for name in names:
            path = self.folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(JPEG)

    def begin(self, *arguments: object) -> "subprocess.Popen[str]":
        return subprocess.Popen(
            [sys.executable, "-m", "burnish", "enhance", *map(str, arguments), "--json"],
            cwd=self.folder,
            env=self.environ,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def enhance(self, *arguments: object) -> tuple[int, list[dict[str, Any]], str]:
        """The exit code, the events, and what was complained of."""
        process = self.begin(*arguments)
        said, complaint = process.communicate(timeout=60)
        return process.returncode, [json.loads(line) for line in said.splitlines()], complaint

    def results(self, folder: str = "out") -> list[str]:
        top = self.folder / folder
        return sorted(
            str(path.relative_to(top)) for path in top.rglob("*") if path.is_file() and path.name[0] != "."
        )


@pytest.fixture
def place(tmp_path: Path, service: PlayedService) -> Place:
    return Place(tmp_path, service)


def wait_until(condition: Callable[[], Any]) -> None:
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


# --- what is found, and what it becomes -------------------------------------------------------------------------------


def test_folders_are_searched_and_keep_their_shape(place: Place) -> None:
    """With --recursive all below; hidden files, other kinds of files and the results themselves are no pictures."""
    place.put("in/b.jpg", "in/one/IMG_1.jpg", "in/two/IMG_1.JPG", "in/.x/c.jpg", "in/.d.jpg", "in/notes.txt")

    code, events, _ = place.enhance("in", "-r", "-o", "in/out")
    again, events_again, _ = place.enhance("in", "-r", "-o", "in/out")

    assert (code, place.results("in/out")) == (0, ["b.png", "one/IMG_1.png", "two/IMG_1.png"])
    assert (again, events_again[-1]["done"], events_again[-1]["skipped"]) == (0, 0, 3)
    assert events[-1]["credits"] == 30


def test_of_a_folder_is_taken_what_the_model_takes(place: Place, service: PlayedService) -> None:
    """Films for a model of films, pictures for one of pictures, a GIF for both; where there is none, that is told."""
    service.models = ("upscale", "video-upscale")
    films = "a.mp4 b.MOV c.m4v d.avi e.mkv f.webm g.flv h.mpeg i.mpg j.ts k.wmv l.gif"
    place.put(
        *(f"in/{name}" for name in (*films.split(), "m.jpg", "n.txt", ".o.mp4")),
        "photos/p.jpg",
        "clips/q.mp4",
    )
    assert place.enhance("in", "-o", "out", "--model", "video-upscale")[0] == 0
    sent = sorted(name[0] + Path(name).suffix for name in service.filenames.values())
    assert sent == films.split()
    assert len({task["input"]["video"] for task in service.tasks.values()}) == 12
    service.filenames.clear()
    assert place.enhance("in", "-o", "pictures")[0] == 0
    assert sorted(name[0] + Path(name).suffix for name in service.filenames.values()) == ["l.gif", "m.jpg"]
    for folder, model, what in (("photos", "video-upscale", "film"), ("clips", "upscale", "picture")):
        code, events, complaint = place.enhance(folder, "-o", "none", "--model", model)
        assert (code, [event["event"] for event in events]) == (2, [])
        assert f"There is no {what} in the folder {folder}; --recursive" in complaint


def test_a_film_whose_place_is_taken_is_not_sent(place: Place, service: PlayedService) -> None:
    """Its own format where it can be written, else mp4: a picture of that name is in nobody's way."""
    service.models, service.picture_type = ("video-upscale",), "video/mp4"
    place.put("in/a.mkv", "in/b.flv", "in/c.mp4", "out/a.mkv", "out/b.mp4", "out/c.png")
    code, events, _ = place.enhance("in", "-o", "out", "--model", "video-upscale")
    assert code == 1
    ended = {event["file"]: event.get("reason") for event in events if event["event"] in ("done", "failed")}
    assert ended == {"in/a.mkv": "output_exists", "in/b.flv": "output_exists", "in/c.mp4": None}
    assert len(service.tasks) == 1


def test_a_folder_alone_is_searched_flatly(place: Place) -> None:
    """Without --recursive, only the files in it."""
    place.put("in/b.jpg", "in/one/IMG_1.jpg")

    assert place.enhance("in", "-o", "out")[0] == 0
    assert place.results() == ["b.png"]


def test_patterns_are_filled_in(place: Place) -> None:
    """A quoted pattern finds what a shell would, and keeps the folders below its first wildcard."""
    place.put("in/a/x.jpg", "in/b/c/y.jpg", "in/z.png")

    assert place.enhance("in/**/*.jpg", "-o", "out")[0] == 0
    assert place.results() == ["a/x.png", "b/c/y.png"]


def test_results_are_called_by_a_template(place: Place) -> None:
    """Folder, stem, model and number may stand in it; equal names get a number, and none leaves the folder."""
    place.put("in/a/x.jpg", "in/b/x.jpg")

    assert place.enhance("in", "-r", "-o", "out/{model}/{stem}-big")[0] == 0
    assert place.results() == ["upscale/x-big-2.png", "upscale/x-big.png"]
    assert place.enhance("in", "-r", "-o", "flat/{number}_{folder}_{stem}")[0] == 0
    assert place.results("flat") == ["1_a_x.png", "2_b_x.png"]


def test_one_name_in_forty_folders_is_forty_names(place: Place, service: PlayedService) -> None:
    """What is registered differs for every file; what is saved has the plain name."""
    place.put(*(f"dcim/{number}/IMG_0001.jpg" for number in range(40)))

    code, events, _ = place.enhance("dcim", "-r", "-o", "out")

    registered = [json.loads(asked.body)["filename"] for asked in service.of(UPLOAD)]
    assert (code, len(set(registered)), events[-1]["done"]) == (0, 40, 40)
    assert all(name.startswith("IMG_0001-") and name.endswith(".jpg") for name in registered)
    assert place.results() == sorted(f"{number}/IMG_0001.png" for number in range(40))


# --- going on where it was --------------------------------------------------------------------------------------------


def test_what_is_done_is_skipped(place: Place, service: PlayedService) -> None:
    """The same command again asks for nothing; another parameter, or a file that changed, is another order."""
    place.put("a.jpg", "b.jpg")
    place.enhance("a.jpg", "b.jpg", "-o", "out", "--format", "png", "--scale", 2)

    code, events, _ = place.enhance("a.jpg", "b.jpg", "-o", "out", "--scale", 2, "--format", "png")
    assert (code, len(service.tasks)) == (0, 2)
    assert [event["event"] for event in events] == ["skipped", "skipped", "summary"]

    assert place.enhance("a.jpg", "-o", "out", "--scale", 4, "--overwrite")[0] == 0
    assert len(service.tasks) == 3
    (place.folder / "b.jpg").write_bytes(JPEG + b"more")
    assert place.enhance("b.jpg", "-o", "out", "--format", "png", "--scale", 2, "--overwrite")[0] == 0
    assert len(service.tasks) == 4


def test_a_result_that_was_deleted_is_fetched_again_and_not_made_again(
    place: Place, service: PlayedService
) -> None:
    """Its task is known, and was paid for."""
    place.put("a.jpg")
    place.enhance("a.jpg", "-o", "out")
    (place.folder / "out" / "a.png").unlink()

    assert place.enhance("a.jpg", "-o", "out")[0] == 0
    assert (place.results(), len(service.tasks), len(service.of(MEDIA))) == (["a.png"], 1, 2)


@pytest.mark.parametrize(
    ("route", "acts", "uploads"),
    [
        (UPLOAD, False, 1),
        ("PUT /bytes/{id}", False, 2),
        (CREATE, False, 1),
        (CREATE, True, 1),
        (READ, False, 1),
        (MEDIA, False, 1),
    ],
)
def test_killed_at_any_moment_nothing_is_paid_twice(
    place: Place, service: PlayedService, route: str, acts: bool, uploads: int
) -> None:
    """Killed while a request is answered, whether or not the service has done what it asked: the next batch has the
    result with that one task, and sends no bytes again that had arrived.
    """
    place.put("a.jpg")
    killed = threading.Event()

    def holds(handler: Any, asked: Any) -> bool:
        if acts:
            handler.silent = True
            handler.act(asked)
        assert killed.wait(30)
        handler.hang_up()
        return True

    service.plays(route, holds)
    process = place.begin("a.jpg", "-o", "out")
    wait_until(lambda: service.of(route))
    if acts:
        wait_until(lambda: service.tasks)
    process.send_signal(signal.SIGKILL)
    process.communicate(timeout=30)
    killed.set()

    code, events, complaint = place.enhance("a.jpg", "-o", "out")

    assert (code, complaint, events[-1]["done"]) == (0, "", 1)
    assert (place.folder / "out" / "a.png").read_bytes() == PICTURE
    assert (len(service.tasks), len(service.uploads)) == (1, uploads)


def test_killed_before_the_last_line_was_written_it_is_done_all_the_same(
    place: Place, service: PlayedService
) -> None:
    """The result is in its place, and the journal does not say so yet: it is known as the batch's own."""
    place.put("a.jpg")
    place.enhance("a.jpg", "-o", "out", "--format", "png")
    journal = place.folder / "out" / ".burnish-enhance.jsonl"
    lines = journal.read_bytes().splitlines(keepends=True)
    assert b'"saved"' in lines[-1]
    journal.write_bytes(b"".join(lines[:-1]))

    code, events, _ = place.enhance("a.jpg", "-o", "out", "--format", "png")

    assert (code, events[-1]["done"], len(service.tasks), place.results()) == (0, 1, 1, ["a.png"])


def test_a_task_is_found_again_when_its_key_is_forgotten(place: Place, service: PlayedService) -> None:
    """A day after it was killed the service knows the idempotency key no more; the task is found by its metadata."""
    place.put("a.jpg")
    service.plays(CREATE, service.acts_and_hangs_up)
    process = place.begin("a.jpg", "-o", "out")
    wait_until(lambda: service.tasks)
    process.send_signal(signal.SIGKILL)
    process.communicate(timeout=30)
    service.kept.clear()

    assert place.enhance("a.jpg", "-o", "out")[0] == 0
    assert len(service.tasks) == 1


def test_what_was_stopped_is_made_anew(place: Place, service: PlayedService) -> None:
    """Ctrl-C cancels the task; the next batch makes another, of the upload that is there or of a new one."""
    place.put("a.jpg")
    service.life = [{"status": "running"}]
    process = place.begin("a.jpg", "-o", "out")
    wait_until(lambda: service.of(READ))
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=30)
    service.life = [{"status": "succeeded"}]

    assert place.enhance("a.jpg", "-o", "out")[0] == 0
    assert [task["end"] for task in service.tasks.values()] == ["cancelled", None]


def test_a_failed_file_is_tried_again(place: Place, service: PlayedService) -> None:
    """The next batch makes a new task of it, and of it alone."""
    place.put("a.jpg")
    service.life = [{"status": "failed", "status_reason": "worker_lost", "retryable": True}]
    code, events, _ = place.enhance("a.jpg", "-o", "out")
    assert (code, events[-2]["advice"]) == (1, "Give the same command again.")

    place.put("b.jpg")
    service.life = [{"status": "succeeded"}]
    service.tasks["task_1"]["end"] = "failed"
    code, events, _ = place.enhance("a.jpg", "-o", "out")

    assert (code, len(service.tasks)) == (0, 2)


def test_a_spent_day_ends_the_batch(place: Place, service: PlayedService) -> None:
    """What every file that follows would meet too is met once: they are left, for the same command later."""
    place.put(*(f"in/{number:02}.jpg" for number in range(20)))
    service.plays(CREATE, service.refuses(429, "daily_limit_reached", headers={"Retry-After": "3600"}))

    code, events, _ = place.enhance("in", "-o", "out", "--concurrency", 1)

    assert (code, events[-1]["failed"], events[-1]["left"], len(service.uploads)) == (1, 1, 19, 1)
    assert "same command again" in events[-2]["advice"]
    assert place.enhance("in", "-o", "out")[0] == 0
    assert len(service.tasks) == 20


# --- what it would cost -----------------------------------------------------------------------------------------------


def png(width: int, height: int) -> bytes:
    return b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR" + struct.pack(">II", width, height) + bytes(40)


def test_a_dry_run_tells_the_price_and_does_nothing(place: Place, service: PlayedService) -> None:
    """One quote for each size, added up; what cannot be measured has a lowest and a highest price; no file is made."""
    place.put("in/unknown.jpg")
    for number in range(5):
        (place.folder / "in" / f"{number}.png").write_bytes(png(640, 480 + number % 2))

    code, events, _ = place.enhance("in", "-o", "out", "--dry-run")

    assert (code, events) == (
        0,
        [{"event": "quote", "files": 6, "skipped": 0, "lowest": 60, "highest": 90, "available": 60}],
    )
    assert sorted(json.loads(asked.body).get("height", 0) for asked in service.of("POST /v1/quotes")) == [
        0,
        480,
        481,
    ]
    assert not (place.folder / "out").exists()
    assert (service.tasks, service.uploads) == ({}, {})


def test_a_dry_run_leaves_out_what_is_done(place: Place, service: PlayedService) -> None:
    """Only what is left would be paid for."""
    place.put("a.jpg", "b.jpg")
    place.enhance("a.jpg", "-o", "out")

    _, events, _ = place.enhance("a.jpg", "b.jpg", "-o", "out", "--dry-run")

    assert (events[0]["files"], events[0]["skipped"], events[0]["lowest"]) == (1, 1, 10)


def test_the_most_that_a_file_may_cost_is_sent(place: Place, service: PlayedService) -> None:
    """`--max-credits` goes into each task."""
    place.put("a.jpg")

    place.enhance("a.jpg", "-o", "out", "--max-credits", 20)

    assert service.tasks["task_1"]["max_credits"] == 20


def test_sizes_are_read_from_headers(tmp_path: Path) -> None:
    """Of every format that the header tells it of; of anything else, and of what is cut off, none."""
    heads = {
        "png": png(640, 480),
        "gif": b"GIF89a" + struct.pack("<HH", 640, 480) + bytes(30),
        "bmp": b"BM" + bytes(16) + struct.pack("<ii", 640, -480) + bytes(20),
        "vp8x": b"RIFF\0\0\0\0WEBPVP8X" + bytes(8) + (639).to_bytes(3, "little") + (479).to_bytes(3, "little") + bytes(9),
        "vp8l": b"RIFF\0\0\0\0WEBPVP8L" + bytes(4) + b"\x2f" + (639 | 479 << 14).to_bytes(4, "little") + bytes(9),
        "vp8": b"RIFF\0\0\0\0WEBPVP8 " + bytes(7) + b"\x9d\x01\x2a" + struct.pack("<HH", 640, 480) + bytes(9),
        "jpeg": b"\xff\xd8\xff\xe0" + struct.pack(">H", 200) + bytes(198) + b"\xff\xc2\0\x11\x08"
                + struct.pack(">HH", 480, 640),
    }  # fmt: skip
    for name, head in heads.items():
        (tmp_path / name).write_bytes(head)
        assert size_of(tmp_path / name) == (640, 480), name
        (tmp_path / name).write_bytes(head[:8])
        assert size_of(tmp_path / name) is None, name
    (tmp_path / "other").write_bytes(b"II*\0" + bytes(40))
    assert size_of(tmp_path / "other") is None


# --- the journal ------------------------------------------------------------------------------------------------------


def test_a_cut_line_is_no_line(tmp_path: Path) -> None:
    """Whatever the last batch was killed at while it wrote: the lines before stand, and new ones follow."""
    (tmp_path / "a.jpg").write_bytes(JPEG)
    path = tmp_path / "journal"
    with open_journal(path) as journal:
        entry = journal.write(journal.entry(tmp_path / "a.jpg", "order"))
        key = journal.key(entry)
        journal.write(entry.again())
    whole = path.read_bytes()
    last = whole.rstrip(b"\n").rindex(b"\n") + 1
    for cut in range(last, len(whole) - 1):
        path.write_bytes(whole[:cut])
        with open_journal(path) as journal:
            kept = journal.entry(tmp_path / "a.jpg", "order")
            assert (kept.round, journal.key(kept)) == (1, key)
            journal.write(kept.again())
        with open_journal(path) as journal:
            assert journal.entry(tmp_path / "a.jpg", "order").round == 2


def test_one_batch_at_a_time_writes_a_journal(tmp_path: Path) -> None:
    """The second is told so; and what is no journal is left alone."""
    with open_journal(tmp_path / "journal"), pytest.raises(Unusable, match="Another batch"):
        open_journal(tmp_path / "journal").__enter__()
    (tmp_path / "notes").write_text("Buy milk.\n")
    with pytest.raises(Unusable, match="is no journal"):
        open_journal(tmp_path / "notes").__enter__()
    assert (tmp_path / "notes").read_text() == "Buy milk.\n"


def test_keys_differ_wherever_anything_does(tmp_path: Path) -> None:
    """Another journal, file, order or round: another idempotency key."""
    for name in ("a.jpg", "b.jpg"):
        (tmp_path / name).write_bytes(JPEG)
    keys: list[str] = []
    journals: list[Journal] = []
    for name in ("one", "two"):
        with open_journal(tmp_path / name) as journal:
            journals.append(journal)
    for journal in journals:
        for file in ("a.jpg", "b.jpg"):
            for order in ("x", "y"):
                entry = journal.entry(tmp_path / file, order)
                keys += [journal.key(entry), journal.key(entry.again())]
    assert len(set(keys)) == 16
