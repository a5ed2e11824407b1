"""Tasks of test keys: the picture that shows nothing, the words that make things happen, and that no network is needed."""

import asyncio
import io
import os
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from uuid import UUID

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from burnish import settings as settings_
from burnish.engines.catalogue import Upscale, find_model
from burnish.engines.engine import Engines, Output
from burnish.engines.pictures.canned import write_canned
from burnish.engines.wire import Canned, Format, Limits
from burnish.errors import STATUS_REASONS, Failed, InsufficientCredits, Invalid, Limited
from burnish.keys.issue import issue_key
from burnish.storage.blobs import Blobs, open_blobs
from burnish.storage.postgres import Database
from burnish.tasks import lease, magic
from burnish.tasks.audit import audit
from burnish.tasks.cancel import cancel
from burnish.tasks.finish import Ending
from burnish.tasks.run import run
from burnish.tasks.submit import parameters_of
from burnish.tasks.task import HEAVY, LIGHT, Claimed, outputs_of
from tasks.story import Story, a_submission
from waiting import until

FORMATS: tuple[Format, ...] = ("png", "jpeg", "webp", "avif", "tiff")


# --- the picture --------------------------------------------------------------------------------------------------


def made(width: int, height: int, format_: Format) -> bytes:
    out = io.BytesIO()
    write_canned(Canned(Limits(1, 1, 1), width, height, format_), out)
    return out.getvalue()


def pixels(picture: bytes) -> NDArray[np.uint8]:
    return np.asarray(Image.open(io.BytesIO(picture)))


@pytest.mark.parametrize(
    ("width", "height"),
    [(1, 1), (2, 1), (1, 2), (3, 5), (17, 33), (64, 64), (1000, 1), (1, 1000), (2048, 1536), (333, 4097)],
)
def test_every_format_holds_the_same_stripes(width: int, height: int) -> None:
    """PNG, WebP and TIFF to the level, JPEG and AVIF to two; in colour, and as large as was asked, however narrow that is."""
    expected = pixels(made(width, height, "png"))
    assert expected.shape == (height, width, 3)
    assert (expected == expected[..., :1]).all()
    for format_ in FORMATS:
        picture = made(width, height, format_)
        assert str(Image.open(io.BytesIO(picture)).format).lower() == format_
        assert np.abs(pixels(picture).astype(int) - expected).max() <= (
            2 if format_ in ("jpeg", "avif") else 0
        )


def test_the_stripes_run_from_corner_to_corner() -> None:
    """Two levels of gray, as much of one as of the other; one cell further to the right is as one further down."""
    picture = pixels(made(1024, 1024, "png"))[..., 0]
    levels, counts = np.unique(picture, return_counts=True)
    assert len(levels) == 2
    assert abs(int(counts[0]) - int(counts[1])) < picture.size // 50
    cell = 64
    assert (picture[cell:, :-cell] == picture[:-cell, cell:]).all()
    assert not (picture[cell:] == picture[:-cell]).all()


# --- what engines make of it --------------------------------------------------------------------------------------


@pytest.fixture
async def engines() -> AsyncIterator[Engines]:
    """Engines that were not told to start anything; what they need, they start."""
    own = Engines(settings_.Engines(threads=1))
    yield own
    await own.close()


def taken(output: Output) -> bytes:
    with os.fdopen(output.fd, "rb") as file:
        return file.read()


async def can(engines: Engines, type_: str, width: int, height: int, **params: Any) -> Output:
    model = find_model("upscale")
    assert model is not None
    (output,) = await engines.canned(model, Upscale(image="test:ok", **params), type_, width, height, 60)
    return output


@pytest.mark.parametrize("format_", FORMATS)
async def test_the_largest_picture_takes_no_time(engines: Engines, format_: Format) -> None:
    """The largest that the model makes: within two seconds, in a child that may take a few rows' memory; a small file."""
    side = {"webp": 4_095, "avif": 4_096}.get(format_, 5_196)
    begun = time.monotonic()
    output = await can(engines, "image/jpeg", side, side, scale=4, format=format_)
    assert time.monotonic() - begun < 2
    assert (output.width, output.height) == (4 * side, 4 * side)
    picture = taken(output)
    assert len(picture) == output.size_bytes < 10_000_000
    Image.MAX_IMAGE_PIXELS, before = None, Image.MAX_IMAGE_PIXELS
    try:
        assert Image.open(io.BytesIO(picture)).size == (4 * side, 4 * side)
    finally:
        Image.MAX_IMAGE_PIXELS = before


@pytest.mark.parametrize(
    ("given", "width", "written"),
    [
        ("image/png", 30, "png"),
        ("image/jpeg", 30, "jpeg"),
        ("image/webp", 30, "webp"),
        ("image/tiff", 30, "tiff"),
        ("image/avif", 30, "avif"),
        ("image/heic", 30, "png"),
        ("image/bmp", 30, "png"),
        ("image/gif", 30, "png"),
        ("image/webp", 8_192, "png"),
        ("image/jpeg", 32_751, "png"),
    ],
)
async def test_it_has_the_type_that_the_result_would_have(
    engines: Engines, given: str, width: int, written: str
) -> None:
    """As the input where that can be written and holds it, else PNG; the child's own words are true."""
    output = await can(engines, given, width, 20)
    image = Image.open(io.BytesIO(taken(output)))
    assert (output.type, output.notes) == (f"image/{written}", {"canned": True})
    assert str(image.format).lower() == written
    assert image.size == (output.width, output.height) == (2 * width, 40)


async def test_what_the_model_would_not_make_is_not_canned_either(engines: Engines) -> None:
    """`output_too_large`, in the model's words."""
    with pytest.raises(Failed) as failed:
        await can(engines, "image/jpeg", 5_197, 5_197, scale=4)
    assert failed.value.reason == "output_too_large"


# --- a task of a test key -----------------------------------------------------------------------------------------


@pytest.fixture
async def tester(db: Database) -> UUID:
    """The account that a test key works in."""
    key, _ = await issue_key(db, environment="test", now=db.clock.now())
    return key.account_id


@pytest.fixture
async def blobs(tmp_path: Path) -> AsyncIterator[Blobs]:
    opened = await open_blobs((tmp_path / "blobs").as_uri())
    yield opened
    await opened.close()


async def claimed(story: Story, tester: UUID, input_: bytes, **changes: Any) -> Claimed:
    """A task of a test key, submitted as the dialects do, and claimed."""
    model, parameters = parameters_of("upscale", input_)
    task = await story.submit(
        a_submission(tester, environment="test", model=model, parameters=parameters, input=input_, **changes)
    )
    assert task.status == "queued"
    (found,) = await lease.claim_tests(story.db, 10, story.settings.tasks.lease_seconds)
    return found


async def ran(story: Story, task: Claimed, blobs: Blobs, engines: Engines) -> Ending:
    ending = await run(task, db=story.db, blobs=blobs, engines=engines, progress=lambda *_: None)
    assert await story.endings.end(ending)
    return ending


@pytest.mark.parametrize("image", ["test:ok", "test:webhook_refused", "https://example.com/a.png"])
async def test_a_result_without_bytes_and_without_a_network(
    story: Story, tester: UUID, blobs: Blobs, engines: Engines, image: str
) -> None:
    """As if a JPEG of 1024 x 768 had been enlarged: nothing is fetched, no inference child is started."""
    task = await claimed(story, tester, f'{{"image": "{image}", "scale": 4}}'.encode())
    await ran(story, task, blobs, engines)

    ended = (await story.read([task.id]))[task.id]
    (output,) = outputs_of(ended)
    assert (ended.status, ended.cost_charged) == ("succeeded", 0)
    assert (output.type, output.width, output.height) == ("image/jpeg", 4096, 3072)
    assert output.notes == {"canned": True}
    assert engines._inference._loaded is None
    assert await audit(story.db, story.plans) == []


@pytest.mark.parametrize("reason", sorted(word.name for word in magic.WORDS.values() if word.reason))
async def test_a_word_fails_the_task_with_its_reason(
    story: Story, tester: UUID, blobs: Blobs, engines: Engines, reason: str
) -> None:
    """Through the ending that every failure takes: the slot is free, and the day's use back where the fault was ours."""
    task = await claimed(story, tester, f'{{"image": "test:{reason}"}}'.encode())
    await ran(story, task, blobs, engines)
    ended = (await story.read([task.id]))[task.id]
    assert (ended.status, ended.status_reason) == ("failed", reason)
    assert f"test:{reason}" in (ended.status_message or "")
    assert await audit(story.db, story.plans) == []


async def test_slow_tells_its_progress_and_can_be_cancelled(
    story: Story, tester: UUID, blobs: Blobs, engines: Engines
) -> None:
    """It goes on for 30 s, a thirtieth a second; cancelled, it has ended at once."""
    heard: list[float] = []
    task = await claimed(story, tester, b'{"image": "test:slow"}')
    running = asyncio.create_task(
        run(task, db=story.db, blobs=blobs, engines=engines, progress=lambda _, part: heard.append(part))
    )
    await until(lambda: heard and heard[-1] > 0)
    assert heard == [0.0, pytest.approx(1 / magic.SLOW_SECONDS)]
    now = story.db.clock.now()
    await cancel(story.db, await story.reads.get_task(tester, "test", task.id, now), story.plans)
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    assert (await story.read([task.id]))[task.id].status == "cancelled"
    assert await audit(story.db, story.plans) == []


async def test_slow_is_under_the_tasks_deadline(
    story: Story, tester: UUID, blobs: Blobs, engines: Engines
) -> None:
    """As any other run."""
    task = await claimed(story, tester, b'{"image": "test:slow"}', deadline_seconds=1)
    assert (await ran(story, task, blobs, engines)).reason == "deadline_exceeded"


async def test_tests_and_work_are_claimed_apart(story: Story, tester: UUID, account: UUID) -> None:
    """No lane has a task of a test key, and what tests are claimed by has no other: neither waits for the other."""
    test = await story.submit(a_submission(tester, environment="test"))
    heavy, parameters = parameters_of("noop-heavy", b"{}", hidden=True)
    large = await story.submit(a_submission(tester, environment="test", model=heavy, parameters=parameters))
    live = await story.submit(a_submission(account))
    dev = await story.submit(a_submission(account, environment="dev"))

    assert {task.id for task in await story.claim(lane=LIGHT)} == {live.id, dev.id}
    assert await story.claim(lane=HEAVY) == []
    found = await lease.claim_tests(story.db, 10, story.settings.tasks.lease_seconds)
    assert {task.id for task in found} == {test.id, large.id}


# --- the words ----------------------------------------------------------------------------------------------------


def test_there_is_a_word_for_every_way_to_fail() -> None:
    """Each status reason but a cancellation, which clients do themselves; beside them ok, slow and webhook_refused."""
    others = {"ok", "slow", "webhook_refused"}
    assert magic.WORDS.keys() == STATUS_REASONS.keys() - {"cancelled_by_user"} | others


def test_words_are_for_test_keys_and_known() -> None:
    """Anybody else, and any other word, is refused; the message lists the words."""
    assert magic.read("test:ok", "input.image", test=True) is magic.WORDS["ok"]
    with pytest.raises(Invalid, match="work with test keys only"):
        magic.read("test:ok", "input.image", test=False)
    with pytest.raises(Invalid, match=r"test:decode_failed.*test:internal") as refused:
        magic.read("test:OK", "input.image", test=True)
    assert (refused.value.code, refused.value.param) == ("test_input", "input.image")


def test_two_words_are_refused_at_submission() -> None:
    """With the errors that the limits themselves would give; nothing else is."""
    assert isinstance(limited := magic.refusal("test:rate_limited"), Limited)
    assert limited.retry_after
    assert limited.details["reset"] == limited.retry_after
    assert isinstance(magic.refusal("test:insufficient_credits"), InsufficientCredits)
    others = [word.given for word in magic.WORDS.values() if not word.refused]
    assert [magic.refusal(given) for given in [*others, "https://example.com/a.png"]] == [None] * (
        len(others) + 1
    )


def test_the_page_has_every_word() -> None:
    """docs/howto/test-keys.md is in step with the list."""
    page = (Path(__file__).parents[2] / "docs" / "howto" / "test-keys.md").read_text("utf-8")
    rows = [f"| `{word.given}` | {word.meaning} |" for word in magic.WORDS.values()]
    assert [line for line in page.splitlines() if line.startswith("| `test:")] == rows
