"""What a child process runs: `python -m burnish.engines.entry codec | inference`, with its control socket as input.

Started by `child.Child` only. `codec` is a template: it loads the decoders once, gives its rights up, and forks a
child for every single file, so that no file ever meets what another left behind. `inference` loads the networks,
gives its rights up, and works on raw pixels only, a tile of each job in turn.
"""

import contextlib
import errno
import gc
import importlib
import mmap
import os
import select
import signal
import socket
import sys
import traceback
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import IO, Any, Final, Literal

import msgspec

from burnish.engines import wire
from burnish.engines.sandbox import Fence
from burnish.engines.work import Runner, Work, view
from burnish.errors import Failed, Unusable

#: With nothing to do for this long, inference gives back what the last job worked with: 400 MB after a megapixel,
#: which cost 20 to 50 ms to take anew.
_REST_SECONDS: Final = 60.0

_decode_start: Final = msgspec.msgpack.Decoder(wire.Start).decode


def main() -> None:
    kind = sys.argv[1]
    control = wire.Channel(socket.socket(fileno=os.dup(0)))
    os.dup2(1, 0)  # nothing; so that no child of the template finds the template's own socket there
    with contextlib.suppress(wire.Gone, ConnectionError, KeyboardInterrupt):
        body, _ = control.receive()
        start = _decode_start(body)
        fence = Fence(start.parent_pid)
        fence.begin()
        {"codec": _template, "inference": _inference}[kind](control, start, fence)


# --- The codec ------------------------------------------------------------------------------------------------------


def _template(control: wire.Channel, start: wire.Start, fence: Fence) -> None:
    """Fork on request, report who ended; never touch a client's byte."""
    from burnish.engines import films, probed  # noqa: F401, PLC0415 - what the children will need
    from burnish.engines.films import canned as canned_film  # noqa: F401, PLC0415
    from burnish.engines.films import decode as decode_film  # noqa: F401, PLC0415
    from burnish.engines.films import encode, join  # noqa: F401, PLC0415
    from burnish.engines.pictures import canned, read, write  # noqa: F401, PLC0415

    del start
    read.load()
    films.load()
    gc.freeze()  # the children share these pages; a collection would copy them
    fence.close()
    if _holds(fence.few_calls):
        fence.standing.append("few system calls")
    decode = msgspec.msgpack.Decoder(wire.ToTemplate).decode
    woken, waker = os.pipe()
    os.set_blocking(waker, False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.set_wakeup_fd(waker, warn_on_full_buffer=False)
    control.send(wire.Ready(tuple(fence.standing), {}))
    running: set[int] = set()
    while True:
        ready, _, _ = select.select([control.fileno(), woken], [], [])
        if woken in ready:
            os.read(woken, 4096)
            for pid, how in _ended():
                running.discard(pid)
                control.send(wire.Ended(pid, how))
        if control.fileno() in ready:
            body, descriptors = control.receive()
            message = decode(body)
            if isinstance(message, wire.Fork):
                running.add(_fork(control, descriptors[0], fence, (woken, waker)))
            elif isinstance(message, wire.Kill) and message.pid in running:
                os.kill(message.pid, signal.SIGKILL)


def _holds(fence: Callable[[], bool]) -> bool:
    """Whether a fence that only the children put up will stand; tried in a child."""
    pid = os.fork()
    if not pid:
        os._exit(0 if fence() else 1)
    return os.waitpid(pid, 0)[1] == 0


def _ended() -> Iterator[tuple[int, int]]:
    with contextlib.suppress(ChildProcessError):
        while True:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if not pid:
                return
            yield pid, os.WTERMSIG(status) if os.WIFSIGNALED(status) else 0


def _fork(control: wire.Channel, descriptor: int, fence: Fence, pipe: tuple[int, int]) -> int:
    parent = os.getpid()
    pid = os.fork()
    if pid:
        os.close(descriptor)
        control.send(wire.Forked(pid))
        return pid
    signal.set_wakeup_fd(-1)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    fence.die_with_parent(parent)
    control.close()
    for end in pipe:
        os.close(end)
    channel = wire.Channel(socket.socket(fileno=descriptor))
    with contextlib.suppress(wire.Gone, OSError):
        channel.send(_answer(channel, fence))
    os._exit(0)


def _answer(channel: wire.Channel, fence: Fence) -> wire.Message:
    """Receive one question and answer it, behind all fences."""
    body, descriptors = channel.receive()
    question = msgspec.msgpack.decode(body, type=wire.ToCodec)
    limits = question.limits
    fence.limit(
        cpu_seconds=limits.cpu_seconds, file_bytes=limits.file_bytes, memory_bytes=limits.memory_bytes
    )
    fence.few_calls()
    try:
        with open(descriptors[0], "rb", closefd=False) as source:  # a descriptor, not a path
            return _codec(question, source, descriptors, fence, channel)
    except Failed as failure:
        return wire.Failure(failure.reason, failure.message, traceback.format_exc(limit=8))
    except Exception:  # a hostile file may raise anything, and the parent must hear of it
        return wire.Failure("internal", "The codec failed.", traceback.format_exc(limit=8))


def _codec(
    question: wire.ToCodec, source: IO[bytes], descriptors: Any, fence: Fence, channel: wire.Channel
) -> wire.Message:
    from burnish.engines.pictures import canned, read, write  # noqa: PLC0415 - loaded before the fork
    from burnish.engines.probed import probed  # noqa: PLC0415

    match question:
        case wire.Probe():
            return probed(source, question.max_pixels, question.filename)
        case wire.Decode():

            def allow(pixels: int) -> None:
                fence.limit_memory(pixels * read.BYTES_PER_PIXEL + os.fstat(descriptors[0]).st_size)

            return wire.Decoded(
                *read.decode(
                    source, descriptors[1], question.max_pixels, allow, question.filename, question.side
                )
            )
        case wire.Encode():
            with open(descriptors[1], "wb", closefd=False) as out:
                return wire.Encoded(write.encode(descriptors[0], question, out))
        case wire.Canned():
            with open(descriptors[0], "wb", closefd=False) as out:
                canned.write_canned(question, out)
            return wire.Encoded({})
        case _:
            return _film(question, source, descriptors, fence, channel)


def _film(
    question: wire.CannedFilm | wire.DecodeFilm | wire.EncodeFilm | wire.JoinFilm,
    source: IO[bytes],
    descriptors: Any,
    fence: Fence,
    channel: wire.Channel,
) -> wire.Message:
    from burnish.engines.films import canned, decode, encode, join  # noqa: PLC0415 - loaded before the fork

    match question:
        case wire.CannedFilm():
            with open(descriptors[0], "wb", closefd=False) as out:
                canned.write_canned(question, out)
            return wire.Encoded({})
        case wire.DecodeFilm():

            def allow(pixels: int) -> None:
                fence.limit_memory(decode.BYTES_AT_LEAST + pixels * decode.BYTES_PER_PIXEL)

            return decode.decode(question, source, wire.Talk(channel), allow)
        case wire.EncodeFilm():
            with open(descriptors[0], "wb", closefd=False) as out:
                return wire.Encoded(encode.encode(question, out, wire.Talk(channel)))
        case wire.JoinFilm():
            with open(descriptors[1], "w+b", closefd=False) as whole:
                return wire.Encoded(join.join(question, source, whole, wire.Talk(channel)))


# --- Inference ------------------------------------------------------------------------------------------------------


class _Job:
    """One job on its way through a runner."""

    def __init__(self, message: wire.Run, runner: Runner, descriptors: Sequence[int]) -> None:
        self.id = message.job
        self.alone = message.alone
        pictures = (*message.pictures, *message.results)
        self.memory_bytes = min(
            runner.memory_bytes(bytes(message.params), message.pictures)
            + sum(picture.size_bytes for picture in pictures),
            message.memory_bytes,
        )
        self._message = message
        self._runner = runner
        self._files = descriptors
        self._work: Work | None = None
        self._steps: Iterator[float] | None = None

    def step(self) -> float | None:
        """Do a part of it; how much is done, or None when all of it is."""
        if self._steps is None:
            self._work = self._mapped()
            self._steps = self._runner.run(self._work)
        return next(self._steps, None)

    def done(self) -> wire.Done:
        assert self._work is not None
        promised = ((picture.width, picture.height) for picture in self._message.results)
        sizes = tuple(self._work.sizes.get(place, size) for place, size in enumerate(promised))
        return wire.Done(self.id, sizes, self._work.notes, self._work.data)

    def leave(self) -> None:
        self._steps = self._work = None
        for descriptor in self._files:
            os.close(descriptor)

    def _mapped(self) -> Work:
        message, count = self._message, len(self._message.pictures)
        sources = zip(self._files[:count], message.pictures, strict=True)
        results = zip(self._files[count:], message.results, strict=True)
        both = mmap.PROT_READ | mmap.PROT_WRITE
        return Work(
            params=bytes(message.params),
            sources=tuple(
                view(_map(file, picture.size_bytes, mmap.PROT_READ), picture) for file, picture in sources
            ),
            shots=message.shots,
            results=tuple(view(_map(file, picture.size_bytes, both), picture) for file, picture in results),
            mark=message.mark,
        )


def _inference(control: wire.Channel, start: wire.Start, fence: Fence) -> None:
    """Load the networks, then take a tile of each job in turn, so that a long one does not hold up a short one."""
    sys.modules["openvino_telemetry"] = None  # type: ignore[assignment] # openvino does without; nothing of ours reports
    try:
        device = _device(start)
        runners: dict[str, Runner] = {
            name: importlib.import_module(name).load(device) for name in start.runners
        }
        fence.close()
        if fence.few_calls(drives_device=device.gpu):
            fence.standing.append("few system calls, and ioctl" if device.gpu else "few system calls")
        device.backend.check()
    except Unusable as error:
        control.send(wire.Ready((), {}, unusable=str(error)))
        return
    control.send(wire.Ready(tuple(fence.standing), device.facts, watched=device.gpu))
    device.backend.meet(lambda met: control.send(wire.Turn(met[0], met[1:])))
    jobs: deque[_Job] = deque()
    while True:
        if not jobs and not select.select([control.fileno()], [], [], _REST_SECONDS)[0]:
            for runner in runners.values():
                runner.rest()
        while not jobs or select.select([control.fileno()], [], [], 0)[0]:
            _listen(control, runners, jobs)
            if not device.gpu:
                fence.limit_memory(sum(job.memory_bytes for job in jobs))
        job = jobs.popleft()
        if jobs:
            control.send(wire.Turn(job.id))
        device.backend.turn(job.id, alone=job.alone)
        if _step(control, job):
            jobs.append(job)
        else:
            job.leave()


def _device(start: wire.Start) -> Any:
    """OpenVINO, and torch beside it where networks are to run on a GPU. torch takes seconds to import, so where there is
    no NVIDIA driver it is not asked for one.
    """
    from burnish.engines.networks.device import Device  # noqa: PLC0415 - not for the codec

    device = Device(start.threads, start.precision, Path(start.models) if start.models else None)
    kind = start.device
    if kind == "auto":
        kind = "cuda" if Path("/dev/nvidiactl").exists() and find_spec("torch") else "cpu"
    if kind != "cpu":
        try:
            from burnish.engines.networks import torch_backend  # noqa: PLC0415 - an extra
        except (ImportError, OSError) as error:  # a library of CUDA's may be missing
            raise Unusable(f"torch does not load: {error}") from error
        name: Literal["cuda", "cpu"] = "cuda" if kind == "cuda" else "cpu"
        device.compute_on(torch_backend.load(name, start.threads, start.precision), gpu=kind == "cuda")
    return device


def _listen(control: wire.Channel, runners: dict[str, Runner], jobs: deque[_Job]) -> None:
    body, descriptors = control.receive()
    message = msgspec.msgpack.decode(body, type=wire.ToInference)
    if isinstance(message, wire.Run):
        jobs.append(_Job(message, runners[message.runner], descriptors))
    elif isinstance(message, wire.Cancel):
        for job in [job for job in jobs if job.id == message.job]:
            jobs.remove(job)
            job.leave()
        control.send(wire.Left(message.job))


def _step(control: wire.Channel, job: _Job) -> bool:
    """Whether the job goes on."""
    try:
        fraction = job.step()
    except Exception as error:  # whatever it is, it is this job's alone, and the networks stay loaded
        control.send(_broken(job, error))
    else:
        control.send(job.done() if fraction is None else wire.Progress(job.id, fraction))
        return fraction is not None
    return False


def _broken(job: _Job, error: Exception) -> wire.Broken:
    """What a runner refuses has its own words; OpenVINO says only in words that memory was short."""
    if isinstance(error, Failed):
        return wire.Broken(job.id, error.reason, error.message, "refused by the runner")
    short = isinstance(error, MemoryError) or "alloc" in str(error).lower()
    if short or (isinstance(error, OSError) and error.errno == errno.ENOMEM):
        reason = "engine_refused"
        message = "The engine had not enough memory for this picture. Send a smaller one, or ask for less."
    else:
        reason, message = "internal", "The engine failed on this picture. It may be tried again."
    return wire.Broken(job.id, reason, message, "".join(traceback.format_exception(error, limit=8)))


def _map(descriptor: int, size: int, protection: int) -> memoryview:
    return memoryview(mmap.mmap(descriptor, size, prot=protection))


if __name__ == "__main__":
    main()
