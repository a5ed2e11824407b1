"""HiAPI's own client, unmodified, from PyPI, against a running service: every method it has, and what it makes of every reply."""

import asyncio
import io
import json
import random
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import av
import hiapi
import httpx
import pytest
import pytest_asyncio
from hiapi.models import Task
from PIL import Image

from real_service import Service, serving
from waiting import until

pytestmark = pytest.mark.asyncio(loop_scope="module")

PHOTO = Path(__file__).parents[2] / "src/burnish/samples/photo.jpg"
SIGNING_KEY = "whsec_a-key-of-the-account"


def burnish(service: Service, *words: str) -> Any:
    """What a verb of the command line says, on the service's directory."""
    done = subprocess.run(
        [sys.executable, "-m", "burnish", *words, "--json", "--data", str(service.data)],
        env=service.environ, capture_output=True, check=True,
    )  # fmt: skip
    return json.loads(done.stdout)


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def service(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Service]:
    """One service for all journeys."""
    async with serving(tmp_path_factory.mktemp("hiapi") / "data") as running:
        yield running


@pytest.fixture
def client(service: Service) -> hiapi.HiAPI:
    """The vendor's client with a live key; only its address is another."""
    return hiapi.HiAPI(api_key=service.key, base_url=f"{service.url}/hiapi/v1")


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def test_client(service: Service) -> hiapi.HiAPI:
    """The same with a test key; its address without /v1, which the client adds."""
    key = (await asyncio.to_thread(burnish, service, "keys", "create", "--env", "test"))["secret"]
    return hiapi.HiAPI(api_key=key, base_url=f"{service.url}/hiapi")


def tight(service: Service, name: str, *overrides: str, plan: str = "owner") -> str:
    """The key of an account of its own with these limits."""
    burnish(service, "accounts", "create", name, "--plan", plan)
    options = [word for override in overrides for word in ("--override", override)]
    if options:
        burnish(service, "accounts", "set", name, *options)
    key: str = burnish(service, "keys", "create", "--account", name)["secret"]
    return key


async def test_a_photo_goes_through_the_clients_run(service: Service, client: hiapi.HiAPI) -> None:
    """`run` with one of this service's models: every status is the vendor's, and the bytes are those the native API gives."""
    upload = await service.upload(PHOTO.read_bytes())
    seen: list[Task] = []
    task = await asyncio.to_thread(
        client.tasks.run,
        model="upscale",
        input={"image": upload, "scale": 2, "format": "jpeg"},
        poll_interval=0.05,
        on_update=seen.append,
    )
    assert task.succeeded
    assert task.is_terminal
    assert {one.status for one in seen} <= {"queued", "handling", "archiving", "success"}
    assert all(one.completed_at is None and not one.output for one in seen[:-1])
    assert (task.model, task.storage, task.route, task.error) == ("upscale", "temp", None, None)
    assert task.created_at is not None
    assert task.completed_at is not None
    assert task.created_at <= task.completed_at <= time.time() + 1
    (output,) = task.output
    assert (output.type, output.expire_at) == ("image", task.completed_at + 604_800)
    native = (await service.http.get(f"/v1/tasks/task_{task.task_id[9:].lower()}")).json()
    theirs = httpx.get(output.url, trust_env=False)
    ours = await service.http.get(native["outputs"][0]["url"])
    assert theirs.content == ours.content
    assert theirs.headers["content-type"] == "image/jpeg"
    assert Image.open(io.BytesIO(theirs.content)).size == (1200, 800)


async def test_failures_are_the_clients_exceptions(
    service: Service, client: hiapi.HiAPI, test_client: hiapi.HiAPI
) -> None:
    """TaskFailed with its code, and a class for each refusal."""
    with pytest.raises(hiapi.TaskFailed) as failed:
        await asyncio.to_thread(
            client.tasks.run, model="noop", input={"fail": "deadline_exceeded"}, poll_interval=0.05
        )
    assert isinstance(failed.value.task, Task)
    assert (failed.value.code, failed.value.task.status) == ("TASK_TIMEOUT", "fail")
    with pytest.raises(hiapi.TaskFailed) as failed:
        await asyncio.to_thread(
            test_client.tasks.run, model="upscale", input={"image": "test:decode_failed"}, poll_interval=0.05
        )
    assert failed.value.code == "TASK_FAILED"
    with pytest.raises(hiapi.ModelUnavailableError):
        client.tasks.create(model="seedance-2-0", input={"prompt": "a lake at dawn"})
    with pytest.raises(hiapi.InvalidRequestError, match="Available routes: default, pro"):
        client.tasks.create(model="Nano-Banana", input={"prompt": "a lake"}, route="fast")
    with pytest.raises(hiapi.NotFoundError):
        client.tasks.retrieve("tk-hiapi-01HZTQ8BX2N3GM3YFK4Z9D7VQR")
    with pytest.raises(hiapi.NotFoundError):  # another environment's
        client.tasks.retrieve(test_client.tasks.list().items[0].task_id)
    with pytest.raises(hiapi.AuthenticationError):
        hiapi.HiAPI(api_key="sk-wrong", base_url=client.base_url).tasks.list()
    created = client.tasks.create(model="noop", input={"seconds": 20})
    with pytest.raises(hiapi.PollTimeout):
        client.tasks.wait(created.task_id, poll_interval=0.1, timeout=0.2)


async def test_credits_and_revoked_keys(service: Service) -> None:
    """402 where the account has none; 401 once its key is revoked."""
    key = await asyncio.to_thread(tight, service, "poor", plan="trial")
    client = hiapi.HiAPI(api_key=key, base_url=f"{service.url}/hiapi")

    with pytest.raises(hiapi.APIError) as short:
        client.tasks.create(model="noop", input={})
    assert (short.value.status, short.value.error_code) == (402, "INSUFFICIENT_BALANCE")
    key_id = next(
        one["id"] for one in burnish(service, "keys", "list", "--account", "poor") if not one["revoked_at"]
    )
    await asyncio.to_thread(burnish, service, "keys", "revoke", key_id)

    def refused() -> bool:
        try:
            client.tasks.list()
        except hiapi.AuthenticationError:
            return True
        return False

    await until(lambda: asyncio.to_thread(refused))


async def test_the_same_key_again_is_the_first_task(client: hiapi.HiAPI) -> None:
    """`idempotent_replay` is true the second time; another body is the client's own exception."""
    first = client.tasks.create(model="noop", input={}, idempotency_key="order-8472:video")
    again = client.tasks.create(model="noop", input={}, idempotency_key="order-8472:video")
    assert (first.idempotent_replay, again.idempotent_replay) == (False, True)
    assert first.task_id == again.task_id
    with pytest.raises(hiapi.IdempotencyKeyMismatchError):
        client.tasks.create(model="noop", input={"seconds": 1}, idempotency_key="order-8472:video")


async def test_lists_are_pages(client: hiapi.HiAPI) -> None:
    """items, page, size and total; the newest first."""
    made = [client.tasks.create(model="noop", input={}).task_id for _ in range(3)]
    before = client.tasks.list(size=1).total
    page = client.tasks.list(page=1, size=2)
    assert [task.task_id for task in page.items] == made[:0:-1]
    assert (page.page, page.size, page.total) == (1, 2, before)
    assert page.items[0].model == "noop"
    assert client.tasks.list(page=2, size=2).items[0].task_id == made[0]


PICTURES: list[tuple[str, dict[str, Any], tuple[int, int], str]] = [
    ("gpt-image-2/text-to-image", {"aspect_ratio": "16:9", "resolution": "1K"}, (1360, 768), "PNG"),
    ("gpt-image-2/image-to-image", {"input_urls": ["https://example.com/a.png"]}, (1024, 1024), "PNG"),
    ("gpt-image-2.5-flare", {"aspect_ratio": "2:3", "output_format": "jpg"}, (832, 1248), "JPEG"),
    ("gpt-image-2.5-sunburst", {"output_format": "webp"}, (1024, 1024), "WEBP"),
    ("seedream-5.0-pro/text-to-image", {"quality": "high", "output_format": "jpeg"}, (2048, 2048), "JPEG"),
    ("seedream-5.0-pro/image-to-image", {"image_urls": ["data:image/png;base64,AA=="]}, (1024, 1024), "PNG"),
    ("Nano-Banana", {"aspect_ratio": "auto"}, (1024, 1024), "PNG"),
    ("flux-1.1-pro", {"resolution": "4K", "aspect_ratio": "1:1"}, (4096, 4096), "PNG"),
]
FILMS: list[tuple[str, dict[str, Any], tuple[int, int]]] = [
    ("seedance-2.0", {"resolution": "480p", "aspect_ratio": "9:16"}, (480, 848)),
    ("seedance-2-0", {"first_frame_url": "https://example.com/a.png"}, (1280, 720)),
    ("seedance-2.0-fast", {"duration": 15, "aspect_ratio": "1:1"}, (720, 720)),
    ("kling-3.0-omni/text-to-video", {"sound": True, "duration": 3}, (1280, 720)),
    ("kling-3.0-omni/image-to-video", {"image_urls": ["https://example.com/a.png"]}, (1280, 720)),
    ("happyhorse-1-0", {"resolution": "480p"}, (848, 480)),
    ("wan2.7-video/text-to-video", {"resolution": "480p"}, (848, 480)),
    ("wan2.7-video/image-to-video", {"resolution": "480p"}, (848, 480)),
]


def placeholder(client: hiapi.HiAPI, model: str, input_: dict[str, Any]) -> tuple[Task, httpx.Response]:
    task = client.tasks.run(model=model, input={"prompt": "a calm lake"} | input_, poll_interval=0.1)
    assert task.model == model  # what vendors' own programs compare
    return task, httpx.get(task.output[0].url, trust_env=False)


@pytest.mark.parametrize(("model", "input_", "size", "format_"), PICTURES)
async def test_test_keys_draw_placeholders(
    test_client: hiapi.HiAPI,
    model: str,
    input_: dict[str, Any],
    size: tuple[int, int],
    format_: str,
) -> None:
    """A picture of the asked shape, size and format for each model of pictures; the same each time."""
    task, file = await asyncio.to_thread(placeholder, test_client, model, input_)
    picture = Image.open(io.BytesIO(file.content))
    assert (picture.size, picture.format, task.output[0].type) == (size, format_, "image")
    assert file.headers["content-type"] == f"image/{format_.lower()}"
    _, again = await asyncio.to_thread(placeholder, test_client, model, input_)
    assert again.content == file.content


@pytest.mark.parametrize(("model", "input_", "size"), FILMS)
async def test_test_keys_make_placeholder_films(
    test_client: hiapi.HiAPI, model: str, input_: dict[str, Any], size: tuple[int, int]
) -> None:
    """A real MP4 for each model of films, as the vendor's programs check it: its boxes, its length, its type."""
    task, file = await asyncio.to_thread(placeholder, test_client, model, input_)
    assert task.output[0].type == "video"
    assert (file.status_code, file.headers["content-type"]) == (200, "video/mp4")
    assert int(file.headers["content-length"]) == len(file.content)
    assert {b"ftyp", b"moov", b"mdat"} <= boxes(file.content)
    assert all(box in file.content for box in (b"mvhd", b"trak", b"tkhd"))
    opened: Any = av.open(io.BytesIO(file.content))
    with opened as film:
        frames = list(film.decode(video=0))
    assert (frames[0].width, frames[0].height) == size
    assert len(frames) > 1


def boxes(mp4: bytes) -> set[bytes]:
    """The types of the boxes at the top."""
    found, place = set(), 0
    while place < len(mp4):
        found.add(mp4[place + 4 : place + 8])
        place += int.from_bytes(mp4[place : place + 4])
    return found


async def test_every_generation_model_has_its_placeholder() -> None:
    """The tables above name every model of the shipped table."""
    from burnish.dialects.hiapi.models import load

    assert {model for model, *_ in (*PICTURES, *FILMS)} == load("").models.keys()


async def test_routes_through_the_client(test_client: hiapi.HiAPI) -> None:
    """`route` is echoed, and the model in full."""
    created = test_client.tasks.create(model="Nano-Banana", route="pro", input={"prompt": "a lake"})
    task = test_client.tasks.retrieve(created.task_id)
    assert (task.model, task.route) == ("Nano-Banana@pro", "pro")


async def test_callbacks_verify_with_the_clients_own_verifier(service: Service, client: hiapi.HiAPI) -> None:
    """Success and failure are told, signed with the account's key as the client wants it; a wrong key is seen through."""
    await asyncio.to_thread(
        burnish, service, "accounts", "set", "default", "--hiapi-signing-key", SIGNING_KEY
    )
    got: list[tuple[bytes, dict[str, str]]] = []

    async def take(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode().splitlines()[1:-1]
        headers = dict(line.split(": ", 1) for line in head)
        body = await reader.readexactly(int(headers["Content-Length"]))
        got.append((body, headers))
        writer.write(b"HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n")
        await writer.drain()
        writer.close()

    receiver = await asyncio.start_server(take, "127.0.0.1", 0)
    callback = {"url": f"http://127.0.0.1:{receiver.sockets[0].getsockname()[1]}/hiapi", "when": "final"}
    inputs: list[dict[str, Any]] = [{}, {"fail": "engine_refused"}]
    ids = [
        (await asyncio.to_thread(client.tasks.create, model="noop", input=input_, callback=callback)).task_id
        for input_ in inputs
    ]
    await until(lambda: len(got) >= 2)
    receiver.close()
    verifier = hiapi.HiAPI(api_key="any", webhook_secret=SIGNING_KEY)
    told = {task.task_id: task for task in (verifier.webhooks.verify(*one) for one in got)}
    assert [told[id_].status for id_ in ids] == ["success", "fail"]
    for id_ in ids:
        assert told[id_] == client.tasks.retrieve(id_)
    with pytest.raises(hiapi.WebhookVerificationError):
        verifier.webhooks.verify(*got[0], secret="another-key-altogether")


async def test_the_collection_of_calls_runs(service: Service, test_client: hiapi.HiAPI) -> None:
    """Every call of docs/reference/dialects/hiapi.sh succeeds."""
    script = Path(__file__).parents[2] / "docs/reference/dialects/hiapi.sh"
    environ = service.environ | {"BASE_URL": f"{service.url}/hiapi", "API_KEY": test_client.api_key}
    done = await asyncio.to_thread(
        lambda: subprocess.run(
            ["bash", script], env=environ, capture_output=True, text=True, check=False, timeout=60
        )
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert '"status":"success"' in done.stdout
    assert "image/png" in done.stdout
    assert '"accepted":["tk-hiapi-' in done.stdout


# --- what the vendor's guide tells its users to write ----------------------------------------------------------------


def post_task_with_backoff(
    post: Callable[..., httpx.Response], base: str, body: Any, key: str, *, max_retries: int = 5
) -> Any:
    """The guide's loop: 429 is tried again after Retry-After, or after a delay that doubles, with jitter; at most 30 s."""
    delay = 1.0
    for _ in range(max_retries):
        reply = post(f"{base}/v1/tasks", headers={"Authorization": f"Bearer {key}"}, json=body, timeout=30)
        if reply.status_code != 429:
            reply.raise_for_status()
            return reply.json()
        told = reply.headers.get("Retry-After")
        time.sleep(min(float(told) if told else delay + random.random(), 30.0))
        delay = min(delay * 2, 30.0)
    raise RuntimeError("rate-limited after retries")


async def test_the_guides_backoff_gets_through_tight_limits(service: Service) -> None:
    """Six at once where two may come at once and two a second: every one is admitted, some after a 429."""
    key = await asyncio.to_thread(tight, service, "bursty", "rates.shared.limit=120", "rates.shared.burst=2")
    statuses: list[int] = []

    def post(*args: Any, **options: Any) -> httpx.Response:
        reply = httpx.post(*args, **options, trust_env=False)
        statuses.append(reply.status_code)
        return reply

    def one(_: int) -> Any:
        body = {"model": "noop", "input": {}}
        return post_task_with_backoff(post, f"{service.url}/hiapi", body, key)

    with ThreadPoolExecutor(6) as pool:
        replies = await asyncio.to_thread(lambda: list(pool.map(one, range(6))))
    assert all(reply["data"]["taskId"].startswith("tk-hiapi-") for reply in replies)
    assert set(statuses) == {200, 429}


async def test_the_guides_semaphore_gets_through_tight_limits(service: Service) -> None:
    """Five at once, of twenty: none is refused where five may be under way at once and the others are parked."""
    key = await asyncio.to_thread(
        tight, service, "parallel", "at_once.account.limit=5", "at_once.account.on_limit=queue",
        "rates.shared.limit=600", "rates.shared.burst=21",
    )  # fmt: skip
    semaphore = asyncio.Semaphore(5)

    async def create_task(client: httpx.AsyncClient, body: Any) -> Any:
        async with semaphore:
            reply = await client.post(f"{service.url}/hiapi/v1/tasks", json=body, timeout=30)
            return reply.json()

    async with httpx.AsyncClient(headers={"Authorization": f"Bearer {key}"}, trust_env=False) as client:
        body = {"model": "noop", "input": {}}
        replies = await asyncio.gather(*(create_task(client, body) for _ in range(20)))
        assert [reply["code"] for reply in replies] == [200] * 20
        last = replies[-1]["data"]["taskId"]
        while True:  # the guide's cadence
            reply = await client.get(f"{service.url}/hiapi/v1/tasks/{last}")
            assert reply.status_code == 200
            if reply.json()["data"]["status"] == "success":
                break
            await asyncio.sleep(2 + random.random() * 3)


async def test_the_client_itself_waits_out_a_429(service: Service) -> None:
    """Its own retries obey Retry-After: no exception reaches the program."""
    key = await asyncio.to_thread(tight, service, "patient", "rates.shared.limit=120", "rates.shared.burst=1")
    client = hiapi.HiAPI(api_key=key, base_url=f"{service.url}/hiapi")
    for _ in range(2):
        task = await asyncio.to_thread(
            client.tasks.run, model="noop", input={}, poll_interval=0.01, timeout=30
        )
        assert task.succeeded


async def test_every_reply_is_whole_for_the_clients_models(client: hiapi.HiAPI) -> None:
    """Nothing of a reply is lost in its models: the raw members are those that it knows, and no `status` stands at the top."""
    task = client.tasks.retrieve(client.tasks.create(model="noop", input={}).task_id)
    known = {"taskId", "model", "status", "created", "completed", "storage", "route", "output", "error"}
    assert task.raw.keys() <= known
    headers = {"Authorization": f"Bearer {client.api_key}"}
    reply = httpx.get(f"{client.base_url}/tasks/{task.task_id}", headers=headers, trust_env=False)
    assert "status" not in reply.json()
