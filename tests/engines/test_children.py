"""Children are lost without losing anything else: real signals, real hangs, real fences."""

import asyncio
import json
import os
import signal
import socket
import struct
import subprocess
import sys
import time
import zlib
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from uuid import UUID

import msgspec
import psutil
import pytest
import pytest_asyncio

from burnish import settings
from burnish.engines import codec, inference, wire
from burnish.engines.child import Connection, Memory
from burnish.engines.engine import Engines, Job
from burnish.errors import Failed
from waiting import until

linux = pytest.mark.skipif(sys.platform != "linux", reason="fences of Linux")

Opened = Callable[[bytes], int]


def png(side: int) -> bytes:
    """A black square that takes a while to decode, in few bytes."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    rows = zlib.compress(b"\0" * ((3 * side + 1) * side), 1)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


SMALL, SLOW = png(16), png(5_000)


@pytest_asyncio.fixture
async def own() -> AsyncIterator[Engines]:
    """Engines that a test may hurt."""
    engines = Engines(settings.Engines(threads=1))
    yield engines
    await engines.close()


async def ended(engines: Engines, work: Job) -> str:
    """The reason that a job fails for, or `done`."""
    try:
        for output in await engines.run(work, lambda *_: None):
            os.close(output.fd)
    except Failed as failed:
        return failed.reason
    return "done"


async def template(engines: Engines) -> psutil.Process:
    await engines._codec.start()
    assert engines._codec._template
    return psutil.Process(engines._codec._template.child.pid)


async def loaded(engines: Engines) -> psutil.Process:
    await engines._inference.start()
    assert engines._inference._loaded
    return psutil.Process(engines._inference._loaded.child.pid)


# --- Lost children --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("number", "reason"),
    [(signal.SIGSEGV, "decode_failed"), (signal.SIGABRT, "decode_failed"), (signal.SIGKILL, "internal")],
)
async def test_a_crash_while_decoding_fails_that_task_alone(
    own: Engines, job: Callable[..., Job], number: signal.Signals, reason: str
) -> None:
    """The file is blamed for a crash, nobody for a kill; another task in the same moment, and the next, are fine."""
    parent = await template(own)
    victim = asyncio.create_task(ended(own, job(SLOW)))
    (child,) = await until(parent.children)
    beside = asyncio.create_task(ended(own, job(SMALL)))
    child.send_signal(number)
    assert await victim == reason
    assert await beside == "done"
    assert await ended(own, job(SMALL)) == "done"
    assert (await template(own)).pid == parent.pid


async def test_a_lost_template_is_started_again_and_its_children_begin_anew(
    own: Engines, job: Callable[..., Job]
) -> None:
    """A file that was in it is not blamed: it is decoded by the next one."""
    first = await template(own)
    work = asyncio.create_task(ended(own, job(SLOW, seconds=100, format="png")))
    await until(first.children)
    first.kill()
    await until(lambda: own._codec._template and own._codec._template.child.pid != first.pid)
    work.cancel()
    assert await ended(own, job(SMALL)) == "done"


async def test_a_crash_of_the_networks_fails_the_task_they_were_at(
    own: Engines, job: Callable[..., Job]
) -> None:
    """`internal`, because pixels cannot be at fault; the child is loaded again at once, and the next task is fine."""
    first = await loaded(own)
    started = asyncio.Event()
    work = asyncio.create_task(own.run(job(png(200), scale=4), lambda stage, _: started.set()))
    await started.wait()
    await until(lambda: own._inference._loaded and own._inference._loaded._jobs)
    first.send_signal(signal.SIGSEGV)
    with pytest.raises(Failed) as failed:
        await work
    assert failed.value.reason == "internal"
    assert (await loaded(own)).pid != first.pid
    assert await ended(own, job(SMALL)) == "done"


async def test_a_crash_of_the_networks_spares_who_only_waited_its_turn(
    own: Engines, job: Callable[..., Job]
) -> None:
    """Of three tasks in the child, at most the one that it was at fails; the others begin again and succeed."""
    first = await loaded(own)
    works = [asyncio.create_task(ended(own, job(png(90 + n), scale=4))) for n in range(3)]
    await until(lambda: own._inference._loaded and own._inference._loaded._turn)
    first.send_signal(signal.SIGSEGV)
    reasons = sorted(await asyncio.gather(*works))
    assert reasons in (["done", "done", "internal"], ["done", "done", "done"])


async def test_a_hung_codec_ends_the_task_at_its_deadline(own: Engines, job: Callable[..., Job]) -> None:
    """Stopped in the middle of its work, it is killed; the next task is fine."""
    parent = await template(own)
    work = asyncio.create_task(ended(own, job(SLOW, seconds=1.0)))
    (child,) = await until(parent.children)
    child.suspend()
    assert await work == "deadline_exceeded"
    await until(lambda: not parent.children())
    assert await ended(own, job(SMALL)) == "done"


async def test_a_hung_template_is_replaced(
    own: Engines, job: Callable[..., Job], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It does not even fork any more: the task ends at its deadline, the next has a new template."""
    monkeypatch.setattr(codec, "_ANSWER_SECONDS", 0.5)
    parent = await template(own)
    parent.suspend()
    assert await ended(own, job(SMALL, seconds=0.2)) == "deadline_exceeded"
    assert await ended(own, job(SMALL)) == "done"
    assert (await template(own)).pid != parent.pid


async def test_hung_networks_end_the_task_at_its_deadline_and_are_replaced(
    own: Engines, job: Callable[..., Job], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The deadline holds although the child does not answer; then the child is killed and loaded again."""
    monkeypatch.setattr(inference, "_LEAVE_SECONDS", 0.1)
    first = await loaded(own)
    first.suspend()
    work = asyncio.create_task(ended(own, job(SMALL, seconds=4.0)))
    await until(lambda: own._inference._loaded and own._inference._loaded._jobs)
    assert await work == "deadline_exceeded"
    assert await ended(own, job(SMALL)) == "done"
    assert (await loaded(own)).pid != first.pid


async def test_cancelling_leaves_the_children_usable(own: Engines, job: Callable[..., Job]) -> None:
    """Cancelled while decoding and while computing: at once, and the same children do the next task."""
    codec, networks = await template(own), await loaded(own)
    decoding = asyncio.create_task(own.run(job(SLOW), lambda *_: None))
    await until(codec.children)
    decoding.cancel()
    computing = asyncio.create_task(own.run(job(png(100), scale=4), lambda *_: None))
    await until(lambda: own._inference._loaded and own._inference._loaded._jobs)
    computing.cancel()
    outcomes = await asyncio.gather(decoding, computing, return_exceptions=True)
    assert all(isinstance(outcome, asyncio.CancelledError) for outcome in outcomes)
    await until(lambda: not codec.children())
    assert await ended(own, job(SMALL)) == "done"
    assert (await template(own)).pid == codec.pid
    assert (await loaded(own)).pid == networks.pid


async def test_no_child_serves_two_accounts(own: Engines, opened: Opened) -> None:
    """Not even two files: each has a child of its own, which is gone with its answer."""
    parent = await template(own)
    work = [asyncio.create_task(own.run(_job_of(UUID(int=n), opened(SLOW)), lambda *_: None)) for n in (1, 2)]
    children = await until(lambda: len(parent.children()) == 2 and parent.children())
    assert children[0].pid != children[1].pid
    if sys.platform == "linux":  # nor does one find the socket by which others are made
        inputs = {Path(f"/proc/{child.pid}/fd/0").readlink() for child in children}
        assert inputs == {Path(os.devnull)}
    for task in work:
        task.cancel()
    await asyncio.gather(*work, return_exceptions=True)
    await until(lambda: not parent.children())


def _job_of(account: UUID, descriptor: int) -> Job:
    from burnish.engines.catalogue import Upscale, find_model

    model = find_model("upscale")
    assert model
    return Job(account, model, Upscale(image="upload"), [descriptor], 60.0)


async def test_closing_leaves_nothing_running(job: Callable[..., Job]) -> None:
    """Also in the middle of work."""
    engines = Engines(settings.Engines(threads=1))
    await engines.start()
    processes = [await template(engines), await loaded(engines)]
    work = asyncio.create_task(engines.run(job(SLOW), lambda *_: None))
    processes += await until(processes[0].children)
    await engines.close()
    with pytest.raises(Failed, match=r"our side|not start"):
        await work
    await until(lambda: not any(process.is_running() for process in processes))


@linux
async def test_children_die_with_a_killed_parent(tmp_path: Path) -> None:
    """A worker that is killed with -9 leaves no child, not even one that was in the middle of a file."""
    (tmp_path / "slow.png").write_bytes(SLOW)
    program = f"""
import asyncio, json
from uuid import UUID
import psutil
from burnish import log, settings
from burnish.engines.catalogue import Upscale, find_model
from burnish.engines.engine import Engines, Job

async def main():
    log.start(level="error", format="json")
    engines = Engines(settings.Engines(threads=1))
    await engines._codec.start()
    await engines._inference.start()
    file = open({str(tmp_path / "slow.png")!r}, "rb")
    job = Job(UUID(int=1), find_model("upscale"), Upscale(image="upload"), [file.fileno()], 60.0)
    task = asyncio.create_task(engines.run(job, lambda *_: None))
    while len(children := psutil.Process().children(recursive=True)) < 3:
        await asyncio.sleep(0.001)
    print(json.dumps([child.pid for child in children]), flush=True)
    await task

asyncio.run(main())
"""
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE) as parent:
        assert parent.stdout
        children = [psutil.Process(pid) for pid in json.loads(parent.stdout.readline())]
        parent.kill()
    await until(lambda: not any(child.is_running() and child.status() != "zombie" for child in children))


# --- Fences ---------------------------------------------------------------------------------------------------------


@linux
async def test_children_have_no_rights_no_network_and_no_secrets(
    own: Engines, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the kernel says of them: another user, no capabilities, an empty network, no variables of the worker's."""
    monkeypatch.setenv("BURNISH_SECRET_KEYS", "not-for-children")
    for child in (await template(own), await loaded(own)):
        status = dict(
            line.split(":\t", 1)
            for line in Path(f"/proc/{child.pid}/status").read_text().splitlines()
            if ":\t" in line
        )
        assert status["NoNewPrivs"] == "1"
        assert int(status["CapEff"], 16) == int(status["CapPrm"], 16) == 0
        if os.geteuid() == 0:
            assert set(status["Uid"].split()) == {"65534"}
            assert b"not-for-children" not in Path(f"/proc/{child.pid}/environ").read_bytes()
        assert status["Seccomp"] == ("2" if child.pid == (await loaded(own)).pid else "0")


@linux
def test_behind_its_fences_a_process_can_only_compute() -> None:
    """No file, socket, process or signal; threads and memory as before."""
    program = """
import os, socket, threading, json
import numpy
from burnish.engines.sandbox import Fence

def refused(call):
    try:
        call()
    except PermissionError:
        return True
    except OSError:
        return False
    return False

fence = Fence(os.getppid())
fence.begin()
fence.close()
held = fence.few_calls()
answers = {
    "open": refused(lambda: open("/etc/passwd")),
    "create": refused(lambda: open("/tmp/burnish-was-here", "w")),
    "socket": refused(socket.socket),
    "fork": refused(os.fork),
    "exec": refused(lambda: os.execv("/bin/true", ["true"])),
    "signal": refused(lambda: os.kill(os.getppid(), 0)),
    "unlink": refused(lambda: os.unlink("/tmp/burnish-is-not-here")),
}
threads = [threading.Thread(target=lambda: numpy.ones(10).sum()) for _ in range(3)]
[thread.start() for thread in threads]
[thread.join() for thread in threads]
fence.limit(cpu_seconds=5, file_bytes=1000, memory_bytes=0)
try:
    bytearray(400_000_000)
    answers["memory"] = False
except MemoryError:
    answers["memory"] = True
print(json.dumps([held, fence.standing, answers]))
"""
    found = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    held, standing, answers = json.loads(found.stdout)
    assert "no new privileges" in standing
    assert answers.pop("memory")
    assert not held or all(answers.values()), answers


@linux
@pytest.mark.parametrize("drives_device", [False, True])
def test_only_a_child_that_drives_a_device_may_ask_it_for_more_than_bytes(drives_device: bool) -> None:
    """`ioctl` is refused otherwise; opening another device is refused to both."""
    program = f"""
import fcntl, os, termios
from burnish.engines.sandbox import Fence
read, _ = os.pipe()
held = Fence(os.getppid()).few_calls(drives_device={drives_device})
def allowed(call):
    try:
        call()
    except PermissionError:
        return False
    return True
print(held, allowed(lambda: fcntl.ioctl(read, termios.FIONREAD, bytes(4))), allowed(lambda: open("/dev/null")))
"""
    found = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert found.stdout.split() in (["True", str(drives_device), "False"], ["False", "True", "True"])


# --- What a child may say -------------------------------------------------------------------------------------------


@contextmanager
def pair() -> Iterator[tuple[Connection, socket.socket]]:
    ours, theirs = socket.socketpair()
    connection = Connection(ours)
    try:
        yield connection, theirs
    finally:
        connection.close()
        theirs.close()


@pytest.mark.parametrize(
    "said",
    [
        b"\xff\xff\xff\xff" + b"x" * 100,
        struct.pack("<I", 5) + b"\xc1\xc1\xc1\xc1\xc1",
        struct.pack("<I", 3) + b"\x93\x01\x02",
        b"\x05\x00",
        wire.pack(wire.Forked(1)),
        wire.pack(wire.Probed("image/png", 10, 10, 1)).replace(b"\x0a", b"\x00"),
    ],
)
async def test_a_child_that_speaks_nonsense_is_gone(said: bytes) -> None:
    """Lengths that are too long, bytes that are no message, sizes that cannot be: none of it reaches a task."""
    import msgspec

    decoder = msgspec.msgpack.Decoder(wire.FromCodec)
    with pair() as (connection, child):
        child.sendall(said)
        child.shutdown(socket.SHUT_WR)
        with pytest.raises(wire.Gone):
            await connection.receive(decoder)


async def test_messages_longer_than_a_sockets_buffer_arrive_whole() -> None:
    """With their descriptors, in order."""
    long = wire.Encode(
        wire.Limits(1, 1, 1),
        wire.Picture(1, 1, 1, 8),
        "png",
        90,
        "keep",
        wire.Metadata(icc=os.urandom(3_000_000)),
    )
    with pair() as (connection, child), Memory() as memory:
        child.settimeout(20)
        receiving = asyncio.create_task(asyncio.to_thread(wire.Channel(child).receive))
        await connection.send(long, [memory.fd])
        body, (descriptor,) = await receiving
        os.close(descriptor)
    assert len(body) > 3_000_000


async def test_a_child_may_answer_and_leave_before_the_asking_is_over(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """On a busy machine it is done before its parent goes on; its answer counts all the same."""
    with pair() as (connection, theirs):
        send = socket.send_fds

        def answered(*sent: Any) -> int:
            size = send(*sent)
            theirs.sendall(wire.pack(wire.Probed("image/png", 1, 1, 1)))
            assert len(theirs.recv(1 << 16)) == size
            theirs.close()
            return size

        monkeypatch.setattr(socket, "send_fds", answered)
        await connection.send(wire.Probe(wire.Limits(1, 1, 1), 1))
        heard = await connection.receive(msgspec.msgpack.Decoder(wire.FromCodec))
        assert heard == wire.Probed("image/png", 1, 1, 1)


@linux
async def test_a_child_cannot_cut_memory_off_under_its_reader() -> None:
    """Once sealed, shared memory keeps its size whoever holds it."""
    with Memory() as memory:
        memory.resize(4096)
        memory.seal()
        with pytest.raises(PermissionError):
            os.ftruncate(memory.fd, 0)


async def test_an_answer_after_a_crash_is_a_fork_away(
    own: Engines, job: Callable[..., Job], opened: Opened
) -> None:
    """The template is still there after the crash of its child, so nothing is loaded again."""
    parent = await template(own)
    victim = asyncio.create_task(ended(own, job(SLOW)))
    (child,) = await until(parent.children)
    child.kill()
    await victim
    born = time.time()
    await own.probe(UUID(int=1), opened(SMALL), 10)
    assert parent.create_time() < born
    assert parent.is_running()
