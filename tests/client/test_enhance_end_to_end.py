"""`burnish enhance` and the client with the real service: one it starts, one that runs, and what is left afterwards."""

import asyncio
import io
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from PIL import Image

from burnish import client as burnish

_BURNISH = (sys.executable, "-m", "burnish")
_ENVIRON = {name: value for name, value in os.environ.items() if not name.startswith("BURNISH_")}


def wait_until(condition: Callable[[], Any], seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def photo(width: int, height: int, type_: str = "jpeg") -> bytes:
    """A picture with something to see in it."""
    file = io.BytesIO()
    Image.effect_mandelbrot((width, height), (-2.0, -1.0, 1.0, 1.0), 60).convert("RGB").save(file, type_)
    return file.getvalue()


def size_of(path: Path) -> tuple[int, int]:
    with Image.open(path) as picture:
        picture.load()
        return picture.size


def running_on(data: Path) -> list[str]:
    """What runs on a data directory: told by the command line, or by where it works."""
    found = []
    for process in psutil.process_iter():
        try:
            if str(data) in " ".join([*process.cmdline(), process.cwd()]):
                found.append(process.name())
        except psutil.Error:
            continue
    return found


def submitted(process: "subprocess.Popen[str]") -> str:
    """The id of a batch's first task, as soon as it is told."""
    assert process.stdout is not None
    said = [process.stdout.readline()]
    while said[-1]:
        event = json.loads(said[-1])
        if event.get("stage") in ("queue", "work"):
            return str(event["task"])
        said.append(process.stdout.readline())
    raise AssertionError(said)


class Workplace:
    """A folder with two photos, and `burnish enhance` in it on a data directory."""

    def __init__(self, folder: Path, data: Path) -> None:
        self.folder = folder
        self.data = data
        self.begun: list[subprocess.Popen[str]] = []
        (folder / "one.jpg").write_bytes(photo(90, 60))
        (folder / "two.png").write_bytes(photo(60, 40, "png"))

    def begin(self, *arguments: str) -> "subprocess.Popen[str]":
        process = subprocess.Popen(
            [*_BURNISH, "enhance", *arguments, "-o", "out", "--json", "--data", str(self.data)],
            cwd=self.folder,
            env=_ENVIRON,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.begun.append(process)
        return process

    def enhance(self, *arguments: str) -> tuple[int, dict[str, dict[str, Any]], str]:
        """The exit code, the last event of each file, and what was complained of."""
        process = self.begin(*arguments)
        said, complaint = process.communicate(timeout=100)
        events = [json.loads(line) for line in said.splitlines()]
        return process.returncode, {event["file"]: event for event in events if "file" in event}, complaint


@pytest.fixture
def alone(tmp_path: Path) -> Iterator[Workplace]:
    """No service runs on the directory, and none does when the test is over."""
    workplace = Workplace(tmp_path, tmp_path / "data")
    yield workplace
    for process in workplace.begun:
        process.kill()
        process.communicate()
    wait_until(lambda: not running_on(workplace.data))


@pytest.fixture(scope="module")
def serving(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Any]]:
    """A service that runs all the while; what it said when it was ready."""
    data = tmp_path_factory.mktemp("serving") / "data"
    with (data.parent / "log").open("w") as log:
        service = subprocess.Popen(
            [*_BURNISH, "serve", "--port", "0", "--json", "--data", str(data)],
            env=_ENVIRON,
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
        )
    assert service.stdout is not None
    ready = service.stdout.readline()
    assert ready, (data.parent / "log").read_text()
    yield json.loads(ready)
    service.send_signal(signal.SIGINT)
    service.communicate(timeout=30)
    wait_until(lambda: not running_on(data))


@pytest.fixture
def beside(tmp_path: Path, serving: dict[str, Any]) -> Workplace:
    """A service runs on the directory."""
    return Workplace(tmp_path, Path(serving["data"]))


@pytest.fixture
def client(serving: dict[str, Any]) -> Iterator[burnish.Client]:
    with burnish.Client(serving["url"], serving["key"]) as client:
        yield client


# --- a service started for the duration -------------------------------------------------------------------------------


def test_photos_are_enhanced_where_no_service_runs(alone: Workplace) -> None:
    """One is started on the directory, the pictures come out twice as large, and nothing runs afterwards."""
    code, ended, complaint = alone.enhance("one.jpg", "two.png")

    assert (code, complaint) == (0, "")
    assert {file: event["event"] for file, event in ended.items()} == {"one.jpg": "done", "two.png": "done"}
    assert size_of(alone.folder / "out" / "one.jpg") == (180, 120)
    assert size_of(alone.folder / "out" / "two.png") == (120, 80)
    wait_until(lambda: not running_on(alone.data))


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_a_stopped_batch_stops_the_service_that_it_started(alone: Workplace, number: signal.Signals) -> None:
    """In the middle of the work, however it is stopped: nothing runs afterwards, and no half file stays."""
    (alone.folder / "large.png").write_bytes(photo(1500, 1000, "png"))
    process = alone.begin("large.png", "--scale", "4", "--mode", "restore")
    submitted(process)

    process.send_signal(number)
    process.communicate(timeout=60)

    assert process.returncode == (-number if number == signal.SIGKILL else 128 + number)
    wait_until(lambda: not running_on(alone.data))
    assert [path.name for path in (alone.folder / "out").iterdir()] == [".burnish-enhance.jsonl"]


def test_a_service_that_ends_under_a_batch_is_told(alone: Workplace) -> None:
    """Killed in the middle of the work: exit code 3, soon, and what happened."""
    (alone.folder / "large.png").write_bytes(photo(1500, 1000, "png"))
    process = alone.begin("large.png", "--scale", "4", "--mode", "restore")
    submitted(process)

    (service,) = psutil.Process(process.pid).children()
    service.kill()
    _, complaint = process.communicate(timeout=60)

    assert process.returncode == 3
    assert "The service that was started for this has ended" in complaint


def test_what_keeps_a_service_from_starting_is_told(alone: Workplace) -> None:
    """Exit code 3, and the reason in the service's own words."""
    alone.data.write_text("This is a file.")

    code, ended, complaint = alone.enhance("one.jpg")

    assert (code, ended) == (3, {})
    assert str(alone.data) in complaint
    assert len(complaint.splitlines()) == 1


# --- a service that runs ----------------------------------------------------------------------------------------------


def test_a_service_that_runs_is_used_and_left_running(beside: Workplace, client: burnish.Client) -> None:
    """With a key of its own; the service goes on."""
    code, ended, complaint = beside.enhance("two.png", "--scale", "4", "--format", "webp")

    assert (code, complaint) == (0, "")
    assert ended["two.png"]["outputs"][0]["path"] == "out/two.webp"
    assert size_of(beside.folder / "out" / "two.webp") == (240, 160)
    assert client.tasks.get(ended["two.png"]["task"]).succeeded
    listed = [*_BURNISH, "keys", "list", "--json", "--data", str(beside.data)]
    keys = json.loads(subprocess.run(listed, env=_ENVIRON, capture_output=True, check=True).stdout)
    made = [key for key in keys if key["name"] == "enhance"]
    assert made
    assert all(key["revoked_at"] and "usage:read" not in key["scopes"] for key in made)


def test_a_broken_picture_fails_alone(beside: Workplace) -> None:
    """Its neighbour is done; the reason and what to do are told."""
    (beside.folder / "broken.jpg").write_bytes(photo(90, 60)[:500])
    (beside.folder / "notes.jpg").write_bytes(b"Buy milk.\n" * 50)

    code, ended, _ = beside.enhance("broken.jpg", "notes.jpg", "one.jpg")

    assert code == 1
    assert (ended["broken.jpg"]["reason"], ended["notes.jpg"]["reason"]) == (
        "decode_failed",
        "unsupported_format",
    )
    assert all(ended[file]["advice"] for file in ("broken.jpg", "notes.jpg"))
    assert ended["one.jpg"]["event"] == "done"


def test_a_wrong_parameter_is_wrong_use(beside: Workplace) -> None:
    """The service names it, and so does the exit code."""
    code, _, complaint = beside.enhance("one.jpg", "--scale", "3")

    assert code == 2
    assert "input.scale" in complaint


def test_brackets_are_grouped_and_merged(beside: Workplace, client: burnish.Client) -> None:
    """A folder of two scenes in three exposures, and a picture alone: two results, of their brackets' size."""
    folder = beside.folder / "in"
    folder.mkdir()
    for scene, source in enumerate((photo(120, 80), photo(96, 96))):
        with Image.open(io.BytesIO(source)) as picture:
            for bracket, gain in enumerate((0.5, 1.0, 1.6)):
                lit = picture.point([min(255, round(level * gain)) for level in range(256)] * 3)
                lit.save(folder / f"{scene}-{bracket}.png")
    (folder / "2.png").write_bytes(photo(60, 40, "png"))

    code, ended, complaint = beside.enhance("in", "--model", "merge", "--param", "per_image=3")

    assert (code, complaint) == (0, "")
    assert {file: event["event"] for file, event in ended.items()} == {
        "in/0-0.png": "done",
        "in/1-0.png": "done",
        "in/2.png": "left_out",
    }
    assert size_of(beside.folder / "out" / "0-0-merge.png") == (120, 80)
    assert size_of(beside.folder / "out" / "1-0-merge.png") == (96, 96)
    assert client.tasks.get(ended["in/1-0.png"]["task"]).model == "merge"
    assert (
        beside.enhance("in", "--model", "merge", "--param", "per_image=3")[1]["in/0-0.png"]["event"]
        == "skipped"
    )


def test_a_stopped_batch_leaves_no_task_running(beside: Workplace, client: burnish.Client) -> None:
    """The service goes on without the tasks of the batch that was stopped."""
    (beside.folder / "large.png").write_bytes(photo(1500, 1000, "png"))
    process = beside.begin("large.png", "--scale", "4", "--mode", "restore")
    task = submitted(process)

    process.send_signal(signal.SIGINT)
    process.communicate(timeout=60)

    assert process.returncode == 130
    assert client.tasks.wait(task, timeout=30).status == "cancelled"


# --- the client -------------------------------------------------------------------------------------------------------


def test_the_client_and_the_service_agree(client: burnish.Client, tmp_path: Path) -> None:
    """Upload, run, read, download, list, cancel, and a refusal: each as the client understands it."""
    (model,) = [model for model in client.models.list() if model.name == "upscale"]
    assert "scale" in model.input_schema["properties"]

    upload = client.uploads.create(photo(40, 30, "png"), filename="small.png")
    seen: list[float] = []
    task = client.tasks.run(
        "upscale",
        {"image": upload, "scale": 2},
        metadata={"order": 17},
        progress=lambda t: seen.append(t.progress),
    )
    (output,) = task.outputs
    assert (output.type, output.width, output.height, task.metadata) == ("image/png", 80, 60, {"order": 17})
    assert (task.started_at, task.ended_at) != (None, None)
    assert seen[-1] == 1.0

    path = client.outputs.download(output, tmp_path / "large.png")
    assert path.read_bytes() == client.outputs.read(output)
    assert len(path.read_bytes()) == output.size_bytes

    again = client.tasks.run("upscale", {"image": output})
    assert (again.outputs[0].width, again.outputs[0].height) == (160, 120)
    assert client.tasks.cancel(again).status == "succeeded"
    events = [entry.event for entry in client.tasks.timeline(again)]
    assert events == ["submitted", "queued", "started", "succeeded"]
    assert client.tasks.keep(again, 600).expires_at is not None
    assert [listed.id for listed in client.tasks.list(status="succeeded")][:2] == [again.id, task.id]

    assert client.tasks.delete(again).outputs == 1
    with pytest.raises(burnish.Expired):
        client.tasks.delete(again)

    with pytest.raises(burnish.Invalid) as refused:
        client.tasks.create("upscale", {"image": upload, "scale": 3})
    assert (refused.value.param, refused.value.request_id is not None) == ("input.scale", True)
    with pytest.raises(burnish.NotFound):
        client.tasks.get("task_" + "0" * 26)
    with burnish.Client(client.url, "bk_live_nonsense") as stranger, pytest.raises(burnish.Unauthenticated):
        stranger.models.list()


async def test_many_tasks_at_once_are_awaited(serving: dict[str, Any]) -> None:
    """A dozen tasks of one awaiting client, each with its own upload."""
    async with burnish.AsyncClient(serving["url"], serving["key"]) as client:
        picture = photo(24, 16, "png")
        async with asyncio.TaskGroup() as group:
            runs = [group.create_task(client.tasks.run("upscale", {"image": picture})) for _ in range(12)]

    assert {run.result().outputs[0].width for run in runs} == {48}
    assert len({run.result().id for run in runs}) == 12
