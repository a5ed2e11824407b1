"""The quickstart's three ways of learning an end, run as they stand, in a shell, against a real service.

Only what the reader is told to put in is put in (the sample's id), and the two ports, which may be taken on a machine of tests.
"""

import asyncio
import contextlib
import json
import os
import re
import shlex
import signal
import socket
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from real_service import Service, serving
from waiting import until

ROOT = Path(__file__).parents[2]


@pytest.fixture
async def service(tmp_path: Path) -> AsyncIterator[Service]:
    async with serving(tmp_path / "data") as running:
        yield running


class Shell:
    """Runs the blocks of the page, each after the one that sets the names."""

    def __init__(self, service: Service, sample: str, port: int) -> None:
        self._environ = os.environ | {"BURNISH_API_KEY": service.key, "BURNISH_URL": service.url}
        section = (ROOT / "docs/quickstart.md").read_text().split("## 4. ")[1].split("\n## ")[0]
        self.blocks = [
            block.replace("upload_01…", sample)
            .replace("http://127.0.0.1:8000", service.url)
            .replace("127.0.0.1:3000", f"127.0.0.1:{port}")
            .replace('("127.0.0.1", 3000)', f'("127.0.0.1", {port})')
            .replace(".venv/bin/burnish", shlex.join([sys.executable, "-m", "burnish"]))
            for block in re.findall(r"^```sh\n(.*?)^```", section, re.DOTALL | re.MULTILINE)
        ]

    @contextlib.asynccontextmanager
    async def running(self, block: str, log: Path) -> AsyncIterator[None]:
        """What the block starts goes on until the end, and writes there."""
        with log.open("wb") as out:
            process = await asyncio.create_subprocess_exec(
                "bash", "-ec", f"{self.blocks[0]}\n{block}\nwait", stdout=out, stderr=out, env=self._environ,
                start_new_session=True,
            )  # fmt: skip
        try:
            yield
        finally:
            os.killpg(process.pid, signal.SIGTERM)
            await process.wait()

    async def said(self, block: str) -> dict[str, Any]:
        """The JSON that the block prints at its end."""
        process = await asyncio.create_subprocess_exec(
            "bash", "-ec", f"{self.blocks[0]}\n{block}", stdout=asyncio.subprocess.PIPE, env=self._environ
        )
        out, _ = await asyncio.wait_for(process.communicate(), 60)
        assert process.returncode == 0
        found: dict[str, Any] = json.loads(out)
        return found


async def test_the_three_ways_of_learning_an_end_work_as_pasted(service: Service, tmp_path: Path) -> None:
    """Wait, events, callback: each tells of a task that has succeeded; and `burnish listen` in a callback's place."""
    sample = await service.upload((ROOT / "src/burnish/samples/photo.jpg").read_bytes())
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    shell = Shell(service, sample, port)
    names, wait, events, receiver, callback, listen = shell.blocks
    assert names.startswith("SAMPLE=upload_")
    stream, hook, relay = tmp_path / "stream", tmp_path / "hook", tmp_path / "relay"

    async with shell.running(events, stream):
        await until(lambda: "retry:" in stream.read_text())
        waited = await shell.said(wait)
        assert waited["status"] == "succeeded"
        await until(lambda: _ends(stream) == {waited["id"]})

    async with shell.running(receiver, hook):
        await until(lambda: _listens(port))
        called = await shell.said(callback)
        await until(lambda: called["id"] in _ends(hook), 60)
        async with shell.running(listen, relay):
            await until(lambda: "whsec_" in relay.read_text())
            handed: list[str] = []

            async def is_handed_on() -> bool:  # the stream begins when it is there
                handed.append((await shell.said(wait))["id"])
                return bool(set(handed) & _ends(hook))

            await until(is_handed_on, 60)


def _ends(log: Path) -> set[str]:
    """The tasks whose success is told there, in bodies of events."""
    bodies = (line.removeprefix("data: ") for line in log.read_text().splitlines())
    told = (json.loads(body) for body in bodies if body.startswith('{"type"'))
    return {body["data"]["id"] for body in told if body["type"] == "task.succeeded"}


def _listens(port: int) -> bool:
    with socket.socket() as sock:
        return sock.connect_ex(("127.0.0.1", port)) == 0
