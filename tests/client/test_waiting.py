"""Creating, waiting, running, cancelling, listing: what both clients promise about tasks."""

import json
from datetime import UTC, datetime
from itertools import islice
from typing import Any

import pytest

from burnish import client as burnish
from client.played import KEY, PlayedService
from client.talk import Talk

CREATE = "POST /v1/tasks"
READ = "GET /v1/tasks/{id}"
MODELS = "GET /v1/models"
INPUT = {"image": "upload_9", "scale": 2}


def run(client: Any) -> Any:
    return client.tasks.run("upscale", INPUT)


def test_a_task_is_run_to_its_end(talk: Talk, service: PlayedService) -> None:
    """The catalogue once, one creation, one request that the service holds until the end; the outputs are there."""
    task = talk(lambda client: client.tasks.run("upscale", INPUT, metadata={"order": 17}))

    assert (task.succeeded, task.ended, task.created_at) == (
        True,
        True,
        datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC),
    )
    assert (task.outputs[0].type, task.outputs[0].width) == ("image/png", 2)
    assert service.routes() == [MODELS, CREATE, READ]
    assert service.asked[1].body == (
        b'{"model": "upscale", "input": {"image": "upload_9", "scale": 2}, "metadata": {"order": 17}}'
    )
    assert service.asked[2].query == {"wait": "60"}
    assert talk.pauses == []


def test_waiting_goes_on_while_the_service_holds(talk: Talk, service: PlayedService) -> None:
    """A minute passes, the next request is sent at once: no pause, as nothing was answered early."""
    service.life = [
        {"status": "queued"},
        {"status": "running"},
        {"status": "running"},
        {"status": "succeeded"},
    ]

    assert talk(run).succeeded
    assert [asked.query["wait"] for asked in service.of(READ)] == ["60"] * 3
    assert talk.pauses == []


def test_a_service_that_does_not_hold_is_asked_at_its_own_pace(talk: Talk, service: PlayedService) -> None:
    """Answers that come at once are followed by a pause of 2 to 5 s, and not before the reply's `Retry-After`."""
    service.holds = False
    service.life = [
        {"status": "queued"},
        {"status": "queued"},
        {"status": "running"},
        {"status": "succeeded"},
    ]

    assert talk(run).succeeded
    assert len(talk.pauses) == 2
    assert all(3 <= pause <= 5 for pause in talk.pauses)


def test_a_limited_reading_never_creates_again(talk: Talk, service: PlayedService) -> None:
    """Refused, cut off and limited while waiting: only the reading is repeated."""
    service.plays(READ, service.refuses(429, "polling_rate_limited", headers={"Retry-After": "9"}))
    service.plays(READ, service.refuses(503), service.hangs_up)

    assert talk(run).succeeded
    assert service.routes() == [MODELS, CREATE, READ, READ, READ, READ]
    assert list(service.tasks) == ["task_1"]
    assert talk.pauses[0] >= 9


def test_a_reading_that_fails_for_good_names_the_task(talk: Talk, service: PlayedService) -> None:
    """The task goes on without its waiter, so the error carries it: it can be waited for again."""
    service.plays(READ, *[service.hangs_up] * 7)

    with pytest.raises(burnish.Unreachable) as caught:
        talk(run)

    known = caught.value.task
    assert known is not None
    assert talk(lambda client: client.tasks.wait(known)).succeeded
    assert list(service.tasks) == ["task_1"]


@pytest.mark.parametrize("status", ["failed", "cancelled"])
def test_a_task_without_a_result_is_an_error_of_run(talk: Talk, service: PlayedService, status: str) -> None:
    """`run` raises with the reason; `wait` answers the task, however it ended."""
    end = {"status": status, "status_reason": "decode_failed", "status_message": "This is no picture."}
    service.life = [{"status": "queued"}, end]

    with pytest.raises(burnish.TaskFailed, match=f"Task task_1 {status}: This is no picture") as caught:
        talk(run)

    assert (caught.value.task.status, caught.value.task.status_reason) == (status, "decode_failed")
    assert talk(lambda client: client.tasks.wait("task_1")).status == status


def test_waiting_ends_with_its_time(talk: Talk, service: PlayedService) -> None:
    """`timeout` bounds the holding and the pauses; the task goes on, and the error carries it."""
    service.life = [{"status": "running", "progress": 0.25}]

    with pytest.raises(burnish.StillRunning, match="still running") as caught:
        talk(lambda client: client.tasks.run("upscale", INPUT, timeout=90))

    assert [asked.query["wait"] for asked in service.of(READ)] == ["60", "30"]
    assert caught.value.task.progress == 0.25


def test_no_pause_outlasts_the_time_given(talk: Talk, service: PlayedService) -> None:
    """A limit that lifts only after the timeout is raised now."""
    task = talk(lambda client: client.tasks.create("upscale", INPUT))
    service.plays(READ, service.refuses(429, headers={"Retry-After": "20"}))

    with pytest.raises(burnish.Limited) as caught:
        talk(lambda client: client.tasks.wait(task, timeout=10))

    assert (caught.value.task, talk.pauses) == (task, [])


def test_progress_is_told_while_it_waits(talk: Talk, service: PlayedService) -> None:
    """With a watcher the service holds for two seconds at most, and each reading is told."""
    service.life = [
        {"status": "queued"},
        {"status": "running", "stage": "working", "progress": 0.5},
        {"status": "succeeded", "progress": 1},
    ]
    seen: list[burnish.Task] = []

    talk(lambda client: client.tasks.run("upscale", INPUT, progress=seen.append))

    assert [(task.status, task.stage, task.progress) for task in seen] == [
        ("running", "working", 0.5),
        ("succeeded", None, 1.0),
    ]
    assert {asked.query["wait"] for asked in service.of(READ)} == {"2"}


def test_a_task_is_read_and_cancelled(talk: Talk, service: PlayedService) -> None:
    """By its id or as a value; cancelling carries an idempotency key of its own."""
    task = talk(lambda client: client.tasks.create("upscale", INPUT))

    assert talk(lambda client: client.tasks.get(task.id)).id == task.id
    assert talk(lambda client: client.tasks.cancel(task)).status == "cancelled"
    keys = [asked.headers["idempotency-key"] for asked in service.asked if asked.method == "POST"]
    assert len(set(keys)) == 2
    with pytest.raises(burnish.NotFound):
        talk(lambda client: client.tasks.get("../models"))
    assert service.asked[-1].path == "/v1/tasks/..%2Fmodels"


def test_a_list_is_fetched_page_by_page(talk: Talk, service: PlayedService) -> None:
    """All tasks, newest first, whatever the page; filters are passed on."""
    for _ in range(5):
        talk(lambda client: client.tasks.create("upscale", INPUT))
    day = datetime(2026, 1, 1, tzinfo=UTC)

    tasks = talk(lambda client: client.tasks.list(status="queued", created_after=day))

    assert [task.id for task in tasks] == ["task_5", "task_4", "task_3", "task_2", "task_1"]
    listed = service.of("GET /v1/tasks")
    assert [asked.query.get("after") for asked in listed] == [None, "task_4", "task_2"]
    assert listed[2].query == {
        "limit": "100",
        "status": "queued",
        "created_after": "2026-01-01T00:00:00+00:00",
        "after": "task_2",
    }


def test_a_page_nobody_reaches_is_not_fetched(service: PlayedService) -> None:
    """The first two of five tasks cost one request."""
    with burnish.Client(service.url, KEY) as client:
        for _ in range(5):
            client.tasks.create("upscale", INPUT)
        assert len(list(islice(client.tasks.list(), 2))) == 2

    assert len(service.of("GET /v1/tasks")) == 1


def test_models_are_listed(talk: Talk) -> None:
    """Name, schema, price and limits of each."""
    (model,) = talk(lambda client: client.models.list())

    assert (model.name, model.limits) == ("upscale", {})
    assert set(model.input_schema["properties"]) == {"image", "format", "scale"}
    assert (model.price.rule, model.price.version, model.price.unit) == ("photo-standard", 1, "image")
    assert model.price.tiers == ({"below": 8, "credits": 10}, {"credits": 20})
    assert (model.price.credits, model.price.table) == (None, {})


def test_what_is_new_in_a_reply_is_kept(talk: Talk, service: PlayedService) -> None:
    """Members that this version does not know are in `raw`."""
    service.life = [{"status": "queued", "mood": "good"}]

    assert talk(lambda client: client.tasks.create("upscale", INPUT)).raw["mood"] == "good"


def test_how_a_task_goes_is_typed(talk: Talk, service: PlayedService) -> None:
    """Its place and its time where they are known, and what happened to it."""
    service.life = [{"status": "queued", "queue_position": 3, "eta_seconds": 7.5}, {"status": "succeeded"}]
    task = talk(lambda client: client.tasks.create("upscale", INPUT))
    ended = talk(lambda client: client.tasks.wait(task))
    entries = talk(lambda client: client.tasks.timeline(ended))

    assert (task.queue_position, task.eta_seconds) == (3, 7.5)
    assert (ended.queue_position, ended.eta_seconds) == (None, None)
    assert [(entry.event, entry.attempt) for entry in entries] == [("submitted", None), ("started", 1)]
    assert entries[0].at.tzinfo is not None


def test_a_task_is_kept_and_deleted(talk: Talk, service: PlayedService) -> None:
    """For so long from now on; and with a receipt, after which it is gone."""
    task = talk(lambda client: client.tasks.run("upscale", INPUT))
    talk(lambda client: client.tasks.keep(task, 600))
    receipt = talk(lambda client: client.tasks.delete(task))

    assert json.loads(service.of("POST /v1/tasks/{id}/keep")[0].body) == {"retention_seconds": 600}
    assert (receipt.id, receipt.outputs, receipt.bytes) == (task.id, 1, len(service.picture))
    with pytest.raises(burnish.NotFound):
        talk(lambda client: client.tasks.get(task))
