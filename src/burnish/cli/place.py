"""Where the service of a batch is: named by the environment, running on the data directory, or started for the batch.

Called by `batch.py`. Whatever is started here is ended here, with SIGINT, and waited for.
"""

import asyncio
import contextlib
import ctypes
import json
import signal
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import IO, Any, Final

import httpx

from burnish.client import DEFAULT_URL
from burnish.errors import Unusable
from burnish.settings import default_data

_BEGIN_SECONDS: Final = 180.0  #: the first start makes a database; one after a crash recovers it
_END_SECONDS: Final = 15.0
_AGAIN_SECONDS: Final = 0.2  #: between two looks at one that is about to be ready
_PR_SET_PDEATHSIG: Final = 1
_BURNISH: Final = (sys.executable, "-m", "burnish")


class WrongUse(Exception):
    """The order itself is wrong, whatever the files are."""


@dataclass(frozen=True, slots=True)
class Place:
    """A service: its address and a key, None where the client's own defaults hold.

    `local`: it is on this machine; `started`: for the batch. `hint`: what to look at when it is not there.
    """

    url: str | None
    key: str | None
    local: bool = True
    started: bool = False
    hint: str = ""


@contextlib.asynccontextmanager
async def open_place(
    data: str | None, environ: Mapping[str, str], say: Callable[[str], None]
) -> AsyncIterator[Place]:
    """The service to use. An explicit `data` directory goes before BURNISH_URL and BURNISH_API_KEY.

    Raises:
        WrongUse: an address without a key.
        Unusable: none can be started or reached; the message says why.
    """
    if data is None and (environ.get("BURNISH_URL") or environ.get("BURNISH_API_KEY")):
        yield await _named(environ)
        return
    folder = Path(data or environ.get("BURNISH_DATA") or default_data())
    if not _in_service(folder):
        say("Starting a service for the duration …")
        with tempfile.TemporaryFile() as log:
            async with _started(data, environ, log) as process:
                ready = await _ready(process)
                if ready is not None:
                    async with _drained(process), _told_when_it_ends(process, log):
                        yield Place(ready["url"], ready["key"], started=True)
                    return
            if not _in_service(folder):  # nobody was quicker
                raise Unusable(
                    _last_words(log) or f"The service ended with {process.returncode} and said nothing."
                )
    running = await _running(folder)
    say(f"A service runs on this directory already, at {running}; using that.")
    async with _key(data) as secret:
        yield Place(running, secret)


async def _named(environ: Mapping[str, str]) -> Place:
    """What the two variables name; a key alone means the usual address, where something answers there."""
    url, key = environ.get("BURNISH_URL"), environ.get("BURNISH_API_KEY")
    if not key:
        raise WrongUse("BURNISH_URL is set, and BURNISH_API_KEY is not: set it to a key of that service.")
    if not url and not await _answers(DEFAULT_URL):
        raise Unusable(
            f"BURNISH_API_KEY is set, BURNISH_URL is not, and nothing answers at {DEFAULT_URL}. Set BURNISH_URL to "
            "the service's address; or give --data, or unset the key, for a service of this machine's own."
        )
    hint = " Look at BURNISH_URL and BURNISH_API_KEY."
    return Place(url or DEFAULT_URL, key, local=False, hint=hint)


async def _answers(url: str) -> bool:
    try:
        async with httpx.AsyncClient(trust_env=False, timeout=5) as http:
            await http.get(f"{url}/health")
    except (httpx.HTTPError, httpx.InvalidURL):
        return False
    return True


# --- one started for the duration ---------------------------------------------------------------------------------


@contextlib.asynccontextmanager
async def _started(
    data: str | None, environ: Mapping[str, str], log: IO[bytes]
) -> AsyncIterator[asyncio.subprocess.Process]:
    """A service on a free port of the loopback; its log goes to `log`. It has ended when this is left."""
    process = await asyncio.create_subprocess_exec(
        *_BURNISH, "serve", "--host", "127.0.0.1", "--port", "0", "--json", "--issue-key", "enhance", *_on(data),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=log,
        env={**environ, "BURNISH_HTTP_PUBLIC_URL": ""},  # its links must lead to where it is now
        start_new_session=True,  # Ctrl-C is ours to pass on, once nothing is under way any more
        preexec_fn=_end_with_us(),
    )  # fmt: skip
    try:
        yield process
    finally:
        ending = asyncio.ensure_future(_end(process))
        try:
            await asyncio.shield(ending)
        except asyncio.CancelledError:
            await ending
            raise


def _end_with_us() -> Callable[[], object] | None:
    """Called in the new process: where we are killed, the kernel asks it to stop."""
    if sys.platform != "linux":
        return None
    return partial(ctypes.CDLL(None).prctl, _PR_SET_PDEATHSIG, int(signal.SIGINT), 0, 0, 0)


async def _ready(process: asyncio.subprocess.Process) -> dict[str, Any] | None:
    """What the service says of itself when it is ready; None where it ends before that."""
    assert process.stdout is not None
    try:
        async with asyncio.timeout(_BEGIN_SECONDS):
            line = await process.stdout.readline()
            if not line:
                await process.wait()
    except TimeoutError as error:
        raise Unusable(f"The service was not ready within {_BEGIN_SECONDS:.0f} s.") from error
    return json.loads(line) if line else None


@contextlib.asynccontextmanager
async def _drained(process: asyncio.subprocess.Process) -> AsyncIterator[None]:
    """Reads on, so that a service that prints never waits for us."""
    assert process.stdout is not None
    reading = asyncio.create_task(process.stdout.read())
    try:
        yield
    finally:
        reading.cancel()


@contextlib.asynccontextmanager
async def _told_when_it_ends(process: asyncio.subprocess.Process, log: IO[bytes]) -> AsyncIterator[None]:
    """Where the trouble with the service is that it has ended, its own last words say more than ours."""
    try:
        yield
    except Unusable as error:
        if process.returncode is None:
            raise
        raise Unusable(f"The service that was started for this has ended: {_last_words(log)}") from error


async def _end(process: asyncio.subprocess.Process) -> None:
    if process.returncode is not None:
        return
    with contextlib.suppress(ProcessLookupError):
        process.send_signal(signal.SIGINT)
    try:
        async with asyncio.timeout(_END_SECONDS):
            await process.wait()
    except TimeoutError:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()


def _last_words(log: IO[bytes]) -> str:
    """What the service said last, without the name that our own message begins with."""
    log.seek(0)
    lines = log.read().decode(errors="replace").strip().splitlines()
    return lines[-1].removeprefix("burnish: ") if lines else ""


# --- one that runs already ----------------------------------------------------------------------------------------


def _in_service(folder: Path) -> bool:
    """Whether a `serve` has the directory; nothing is made to find out."""
    if not (folder / "serve").is_file():
        return False
    from burnish.storage.directory import Lock  # of Linux: the client alone runs elsewhere too

    with contextlib.closing(Lock(folder / "serve")) as lock:
        return lock.held_by_others() != ""


async def _running(folder: Path) -> str:
    """The address of the service that has the directory, as soon as it answers."""
    give_up = time.monotonic() + _BEGIN_SECONDS
    while time.monotonic() < give_up and _in_service(folder):
        with contextlib.suppress(OSError, ValueError, KeyError):
            url = str(json.loads((folder / "serve.json").read_text())["url"])
            if await _answers(url):
                return url
        await asyncio.sleep(_AGAIN_SECONDS)
    raise Unusable(f"A service has {folder}, and does not answer. Stop it, or wait until it is ready.")


@contextlib.asynccontextmanager
async def _key(data: str | None) -> AsyncIterator[str]:
    """A key for the service that runs: revoked when this is left, and good for a day where that fails."""
    scopes = ("--scopes", "uploads:write,tasks:write,tasks:read")
    made = json.loads(
        await _keys("create", "--name", "enhance", *scopes, "--expires-in", "86400", *_on(data))
    )
    try:
        yield str(made["secret"])
    finally:
        revoking = asyncio.ensure_future(_keys("revoke", str(made["id"]), *_on(data)))
        with contextlib.suppress(Unusable):
            try:
                await asyncio.shield(revoking)
            except asyncio.CancelledError:
                await revoking
                raise


async def _keys(*arguments: str) -> bytes:
    """What `burnish keys` says, in JSON."""
    process = await asyncio.create_subprocess_exec(
        *_BURNISH, "keys", *arguments, "--json",
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        start_new_session=True,  # Ctrl-C is ours alone
    )  # fmt: skip
    try:
        said, complaint = await process.communicate()
    except asyncio.CancelledError:
        process.kill()
        await process.wait()
        raise
    if process.returncode:
        words = complaint.decode(errors="replace").strip().splitlines()
        raise Unusable(f"No key could be made for it: {words[-1] if words else process.returncode}")
    return said


def _on(data: str | None) -> tuple[str, ...]:
    return () if data is None else ("--data", data)
