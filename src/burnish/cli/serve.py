"""`burnish serve`: the API in this process, workers in processes of their own, the embedded database beside them."""

import argparse
import asyncio
import contextlib
import dataclasses
import gc
import json
import os
import shlex
import signal
import socket
import sys
from collections.abc import AsyncIterator, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Final

import uvicorn
import uvloop

from burnish import log
from burnish import settings as settings_
from burnish.cli import add_common
from burnish.cli.files import allow_files
from burnish.cli.sample import keep_sample
from burnish.errors import Unusable
from burnish.ids import to_wire
from burnish.keys.issue import issue_first_key, issue_key, revoke_key
from burnish.resources import Resources, open_resources
from burnish.server import build_app
from burnish.settings import Settings
from burnish.storage import directory
from burnish.storage.postgres import LOST
from burnish.web.protocol import BoundedProtocol

_log = log.get("serve")
#: What the key of `--issue-key` may do.
_RUN_SCOPES: Final = ("uploads:write", "tasks:write", "tasks:read")
_STOP_SECONDS: Final = 2.0  #: for requests under way, and for workers, before they are cut


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_common(parser)
    parser.add_argument("--host", help="address to listen on (default: 127.0.0.1)")
    parser.add_argument("--port", type=int, help="port to listen on; 0 takes a free one (default: 8000)")
    parser.add_argument(
        "--workers", type=int, metavar="N", help="worker processes; 0 runs the API alone (default: 1)"
    )
    parser.add_argument(
        "--issue-key",
        metavar="NAME",
        help="print a key of this run's own, for uploads and tasks; it is revoked at the end",
    )


def run(options: argparse.Namespace) -> int:
    settings = settings_.read(
        os.environ,
        {
            "data": options.data,
            "http.host": options.host,
            "http.port": options.port,
            "workers.processes": options.workers,
        },
    )
    log.start(level=settings.log.level, format=settings.log.format)
    allow_files()
    uvloop.run(_serve(settings, options))
    return 0


async def _serve(settings: Settings, options: argparse.Namespace) -> None:
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    directory.prepare(settings.data)
    with _only_one(settings) as sock:
        settings = _at(settings, sock)
        async with open_resources(settings) as resources:
            app = build_app(resources)
            server = _Server(
                uvicorn.Config(
                    app,
                    log_config=None,
                    access_log=False,
                    server_header=False,
                    proxy_headers=False,
                    ws="none",
                    http=BoundedProtocol,
                    lifespan="off",
                    timeout_graceful_shutdown=int(_STOP_SECONDS),
                )
            )
            _collect_seldom()
            serving = asyncio.create_task(server.serve(sockets=[sock]))
            stopping = asyncio.create_task(stop.wait())
            async with _workers(settings), _greeted(resources, options):
                await asyncio.wait([serving, stopping], return_when=asyncio.FIRST_COMPLETED)
                stopping.cancel()
                app.state.draining = True
                server.should_exit = True
            await serving


def _collect_seldom() -> None:
    """What requests make is freed as they end. Looking for circles among it took an eighth of the time, and looking through
    all that was loaded 70 ms at once, while requests waited: what was loaded stays, and circles are looked for seldom.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(100_000, 20, 20)


class _Server(uvicorn.Server):
    """Leaves signals to us."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


@contextlib.contextmanager
def _only_one(settings: Settings) -> Iterator[socket.socket]:
    """The directory's one `serve`, and its socket."""
    try:
        lock = directory.hold_serve(settings.data)
    except Unusable as error:
        where = _announced_place(settings)
        raise Unusable(f"{error} It answers at {where}." if where else str(error)) from error
    place = settings.data / "serve.json"
    with contextlib.closing(lock), contextlib.ExitStack() as leaving:
        place.unlink(missing_ok=True)  # of one that was killed
        leaving.callback(place.unlink, missing_ok=True)
        family = socket.AF_INET6 if ":" in settings.http.host else socket.AF_INET
        sock = socket.socket(family, socket.SOCK_STREAM)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            sock.bind((settings.http.host, settings.http.port))
        except OSError as error:
            sock.close()
            raise Unusable(
                f"Port {settings.http.port} on {settings.http.host} cannot be used ({error.strerror}). "
                "Choose another with --port."
            ) from error
        sock.listen(2048)
        with contextlib.closing(sock):
            yield sock


def _at(settings: Settings, sock: socket.socket) -> Settings:
    """The settings with the port that was got, so that links name it."""
    return dataclasses.replace(settings, http=dataclasses.replace(settings.http, port=sock.getsockname()[1]))


def _announce_place(settings: Settings) -> None:
    """Tell other programs of this machine, in one step, where the service is."""
    place = settings.data / "serve.json"
    new = place.with_suffix(".new")
    new.write_text(json.dumps({"url": settings.public_url, "pid": os.getpid()}) + "\n")
    new.replace(place)


def _announced_place(settings: Settings) -> str | None:
    try:
        return str(json.loads((settings.data / "serve.json").read_text())["url"])
    except (OSError, ValueError, KeyError):
        return None


# --- workers ------------------------------------------------------------------------------------------------------


@contextlib.asynccontextmanager
async def _workers(settings: Settings) -> AsyncIterator[None]:
    """Worker processes, started again when they die; ended, and waited for, on the way out."""
    keepers = [asyncio.create_task(_keep_worker(settings)) for _ in range(settings.workers.processes)]
    try:
        yield
    finally:
        for keeper in keepers:
            keeper.cancel()
        await asyncio.gather(*keepers, return_exceptions=True)


async def _keep_worker(settings: Settings) -> None:
    pause = 0.1
    environ = {
        **os.environ,
        "BURNISH_HTTP_HOST": settings.http.host,
        "BURNISH_HTTP_PORT": str(settings.http.port),
    }
    while True:
        started = asyncio.get_running_loop().time()
        worker = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "burnish", "worker", "--until-stdin-closes", "--data", str(settings.data),
            stdin=asyncio.subprocess.PIPE, env=environ, start_new_session=True,
        )  # fmt: skip
        try:
            code = await worker.wait()
        finally:
            await _end_worker(worker)
        if asyncio.get_running_loop().time() - started > 30:
            pause = 0.1
        _log.error("worker_died", code=code, again_in_seconds=pause)
        await asyncio.sleep(pause)
        pause = min(pause * 2, 10.0)


async def _end_worker(worker: asyncio.subprocess.Process) -> None:
    if worker.returncode is not None:
        return
    assert worker.stdin is not None
    worker.stdin.close()
    try:
        async with asyncio.timeout(_STOP_SECONDS):
            await worker.wait()
    except TimeoutError:
        worker.kill()
        await worker.wait()


# --- what a person sees -------------------------------------------------------------------------------------------


@contextlib.asynccontextmanager
async def _greeted(resources: Resources, options: argparse.Namespace) -> AsyncIterator[None]:
    """Where the service is, and a key, are told; a key that was made for this run is revoked at its end."""
    _announce_place(resources.settings)
    now = resources.clock.now()
    if not options.issue_key:
        await _greet(resources, options, await issue_first_key(resources.db, now=now))
        yield
        return
    day = now + timedelta(hours=24)
    key, secret = await issue_key(
        resources.db, name=options.issue_key, scopes=_RUN_SCOPES, expires_at=day, now=now
    )
    try:
        await _greet(resources, options, secret)
        yield
    finally:
        with contextlib.suppress(*LOST, TimeoutError):  # then it ends with its day
            await revoke_key(resources.db, key.id, now=resources.clock.now())


async def _greet(resources: Resources, options: argparse.Namespace, secret: str | None) -> None:
    settings = resources.settings
    if options.json:
        print(json.dumps({"url": settings.public_url, "key": secret, "data": str(settings.data)}), flush=True)
    else:
        sample = await keep_sample(resources.db, resources.blobs, settings.uploads.retention_seconds)
        print(_welcome(settings, secret, to_wire("upload", sample)), flush=True)


def _welcome(settings: Settings, secret: str | None, sample: str) -> str:
    url = settings.public_url
    header = f'-H "Authorization: Bearer {secret or "$BURNISH_API_KEY"}"'
    body = json.dumps({"model": "upscale", "input": {"image": sample, "scale": 2}})
    return f"""
  Burnish is at {url}
  Its reference is at {url}/docs, its data in {settings.data}

  {f"Your API key, shown this once: {secret}" if secret else "Another API key: " + _keys_command(settings)}

  Enlarge the sample photo:

    curl -s {url}/v1/tasks {header} \\
      -H "Content-Type: application/json" -d '{body}'

  Read the result, and the link to its picture:

    curl -s "{url}/v1/tasks?limit=1" {header}

  Stop with Ctrl-C.
"""


def _keys_command(settings: Settings) -> str:
    installed = Path(sys.argv[0]).name == "burnish"
    program = [os.path.abspath(sys.argv[0])] if installed else [sys.executable, "-m", "burnish"]  # noqa: PTH100 -- without its ".."
    return shlex.join([*program, "keys", "create", "--data", str(settings.data)])
