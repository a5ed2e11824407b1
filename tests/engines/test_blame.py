"""Who is blamed when the inference child is lost, and what it starts with: played against a child that only talks."""

import asyncio
import os
import socket
from collections.abc import AsyncIterator
from typing import Any

import msgspec
import pytest
import pytest_asyncio

from burnish import settings
from burnish.engines import child, inference, wire
from burnish.engines.child import Connection
from burnish.engines.engine import Engines
from burnish.engines.inference import Inference
from burnish.errors import Failed, Unusable

_to_inference = msgspec.msgpack.Decoder(wire.ToInference)


class Talker:
    """A child's parent side, and the child itself: the test says what it says."""

    def __init__(self) -> None:
        ours, theirs = socket.socketpair()
        self.connection = Connection(ours)
        self._theirs = Connection(theirs)
        self.pid = os.getpid()
        self.killed = asyncio.Event()

    async def heard(self) -> Any:
        return await self._theirs.receive(_to_inference)

    async def say(self, message: wire.Message) -> None:
        await self._theirs.send(message)

    def crash(self) -> None:
        self._theirs.close()

    def kill(self) -> None:
        self.killed.set()
        self.crash()

    async def end(self) -> int:
        self.crash()
        self.connection.close()
        return 0


class Starts:
    """Stands in for `Child.start`: what each next child says first, what it was started with, and the children."""

    def __init__(self) -> None:
        self.answers: list[wire.Ready] = []
        self.asked: list[wire.Start] = []
        self.children: asyncio.Queue[Talker] = asyncio.Queue()

    async def __call__(self, _kind: str, start: wire.Start, _ready: object) -> tuple[Talker, wire.Ready]:
        self.asked.append(start)
        talker = Talker()
        answer = self.answers.pop(0) if self.answers else wire.Ready((), {})
        if not answer.unusable:
            self.children.put_nowait(talker)
        return talker, answer


@pytest.fixture
def starts(monkeypatch: pytest.MonkeyPatch) -> Starts:
    starts = Starts()
    monkeypatch.setattr(child.Child, "start", starts)
    return starts


@pytest_asyncio.fixture
async def own(starts: Starts) -> AsyncIterator[Inference]:
    own = Inference((), threads=1, precision="f32")
    yield own
    await own.close()


def run(own: Inference) -> "asyncio.Task[wire.Done]":
    message = wire.Run(0, "runner", msgspec.Raw(b"\x80"), (), (), (), 1000)
    return asyncio.create_task(own.run(message, (), lambda _: None))


async def test_who_shared_a_batch_in_a_crash_begins_again_alone(own: Inference, starts: Starts) -> None:
    """Nobody is blamed for it; who only waited for a turn begins again as before, and may share."""
    works = [run(own) for _ in range(3)]
    first = await starts.children.get()
    jobs = [(await first.heard()).job for _ in works]
    await first.say(wire.Turn(jobs[0], (jobs[1],)))
    first.crash()
    second = await starts.children.get()
    again = [await second.heard() for _ in works]
    assert sorted(message.alone for message in again) == [False, True, True]
    for message in again:
        await second.say(wire.Done(message.job, ()))
    assert len(await asyncio.gather(*works)) == 3


async def test_who_was_alone_in_a_crash_is_blamed(own: Inference, starts: Starts) -> None:
    """When a shared batch is over, a crash is the doing of the one whose turn it is."""
    works = [run(own) for _ in range(2)]
    first = await starts.children.get()
    jobs = [(await first.heard()).job for _ in works]
    await first.say(wire.Turn(jobs[0], (jobs[1],)))
    await first.say(wire.Turn(jobs[0]))
    first.crash()
    second = await starts.children.get()
    message = await second.heard()
    assert not message.alone
    await second.say(wire.Done(message.job, ()))
    ended = await asyncio.gather(*works, return_exceptions=True)
    assert [isinstance(end, Failed) for end in ended] == [True, False]


async def test_a_gpu_that_fails_leaves_the_work_to_the_processor(own: Inference, starts: Starts) -> None:
    """`auto` takes what there is, says why, and does not ask the GPU again."""
    starts.answers = [
        wire.Ready((), {}, unusable="the driver is too old"),
        wire.Ready((), {"precision": "f32"}),
    ]
    assert await own.start() == {"precision": "f32"}
    assert [start.device for start in starts.asked] == ["auto", "cpu"]
    assert {start.parent_pid for start in starts.asked} == {os.getpid()}
    (await starts.children.get()).crash()
    await starts.children.get()
    assert starts.asked[-1].device == "cpu"


async def test_who_insists_on_a_gpu_hears_what_is_wrong(starts: Starts) -> None:
    """`cuda` does not fall back in silence."""
    starts.answers = [wire.Ready((), {}, unusable="the driver is too old")]
    insisting = Inference((), threads=1, precision="auto", device="cuda")
    with pytest.raises(Unusable, match="the driver is too old"):
        await insisting.start()
    await insisting.close()


async def test_a_child_whose_memory_is_watched_is_ended_when_it_takes_too_much(
    own: Inference, starts: Starts, monkeypatch: pytest.MonkeyPatch
) -> None:
    """More than it had when it was loaded, what its jobs may take, and some slack; the job that it was at fails."""
    monkeypatch.setattr(inference, "_WATCH_SECONDS", 0.01)
    held = [10**9]
    monkeypatch.setattr(inference, "resident_bytes", lambda _pid: held[0])
    starts.answers = [wire.Ready((), {}, watched=True)]
    work = run(own)
    first = await starts.children.get()
    await first.heard()
    held[0] += inference._SLACK_BYTES + 900
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(first.killed.wait(), 0.1)
    held[0] += 200
    await asyncio.wait_for(first.killed.wait(), 10)
    with pytest.raises(Failed):
        await work


@pytest.mark.skipif(not os.path.exists("/proc/self/statm"), reason="the system does not say")  # noqa: PTH110
def test_memory_held_is_seen() -> None:
    """A process that runs holds something; one that is gone holds nothing."""
    assert inference.resident_bytes(os.getpid()) > 10**6
    assert inference.resident_bytes(2**22 + 1) == 0


def test_torch_that_is_missing_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """Before anything is started, with the line that installs it."""
    monkeypatch.setattr("burnish.engines.engine.find_spec", lambda _name: None)
    with pytest.raises(Unusable, match=r"burnish\[gpu\]"):
        Engines(settings.Engines(device="cuda"))


def test_only_inference_hears_which_gpu_it_may_use(monkeypatch: pytest.MonkeyPatch) -> None:
    """And nothing else of the worker's environment."""
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "1")
    monkeypatch.setenv("BURNISH_SECRET_KEYS", "secret")
    assert child._environment("inference")["CUDA_VISIBLE_DEVICES"] == "1"
    assert "CUDA_VISIBLE_DEVICES" not in child._environment("codec")
    assert "BURNISH_SECRET_KEYS" not in child._environment("inference")
