"""A batch of a thousand small files through `burnish enhance`, beside the two naive clients that the vendors warn of.

A real service with its workers, and for each client an account of its own under a plan like `trial`: 5 tasks at once, but
1,200 requests a minute that create and as many that read, so that the bench ends within minutes. A file costs two that
create, so the plan allows 10 files a second after its burst. With BENCH_RATES=trial the rates are trial's own, 60 and 120 a
minute, and a thousand files take half an hour (BENCH_FILES says how many). Trial's 500 tasks a day are left out of both.
Requests and refusals are counted in the service's log.
"""

import json
import os
import shutil
import signal
import struct
import subprocess
import sys
import tempfile
import time
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness import machine, table, verdict

NAME = "batch"
PEERS: list[str] = []
GOAL = {"failed": 0, "refused_share": 0.01, "throughput_share": 0.9}
FILES = int(os.environ.get("BENCH_FILES", "1000"))
A_MINUTE, READS_A_MINUTE = (60, 120) if os.environ.get("BENCH_RATES") == "trial" else (1_200, 1_200)
BURST = 20
PLANS = f"""
[owner]
metered = false

[trial]
metered = false
rates.create = {{ limit = {A_MINUTE}, burst = {BURST} }}
rates.read = {{ limit = {READS_A_MINUTE}, burst = 40 }}
at_once.account = {{ limit = 5 }}
at_once.key = {{ limit = 5 }}
at_once.heavy = {{ limit = 2 }}
windows.same_name = {{ limit = 30, seconds = 3600 }}
"""
BURNISH = (sys.executable, "-m", "burnish")
ROOT = Path(__file__).parents[1]


@dataclass(frozen=True)
class Played:
    """What one client came to."""

    done: int
    failed: int
    requests: int
    refused: int
    seconds: float

    @property
    def throughput_share(self) -> float:
        """Files a second, by those that the plan allows to this many."""
        allowed = max(1, 2 * self.done - BURST) / (A_MINUTE / 60)
        return round(allowed / self.seconds, 3) if self.done else 0.0

    @property
    def refused_share(self) -> float:
        return round(self.refused / self.requests, 4) if self.requests else 0.0


class Service:
    """`burnish serve` as anyone starts it, and its log."""

    def __init__(self, folder: Path) -> None:
        self.data = folder / "data"
        self._log = folder / "log"
        plans = folder / "plans.toml"
        plans.write_text(PLANS)
        self.environ = {
            **os.environ,
            "BURNISH_TESTING": "true",
            "BURNISH_PLANS": str(plans),
            "BURNISH_LOG_FORMAT": "json",
            "BURNISH_WORKERS_LIGHT": "4",
        }
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                [*BURNISH, "serve", "--json", "--data", str(self.data), "--port", "0"],
                stdout=subprocess.PIPE, stderr=log, env=self.environ,
            )  # fmt: skip
        assert self._process.stdout
        self.url: str = json.loads(self._process.stdout.readline())["url"]

    def key(self, account: str) -> str:
        """Of a new account under the plan."""
        self._say("accounts", "create", account, "--plan", "trial")
        return str(json.loads(self._say("keys", "create", "--account", account))["secret"])

    def _say(self, *words: str) -> str:
        said = subprocess.run(
            [*BURNISH, *words, "--json", "--data", str(self.data)],
            env=self.environ, capture_output=True, text=True, check=True,
        )  # fmt: skip
        return said.stdout

    def mark(self) -> int:
        """Where the log ends now."""
        return self._log.stat().st_size

    def counted(self, since: int) -> tuple[int, int]:
        """Requests with a key since then, and how many of them were answered 429."""
        with self._log.open("rb") as log:
            log.seek(since)
            lines = [json.loads(line) for line in log if line.startswith(b"{")]
        asked = [line for line in lines if "route" in line and ("account" in line or line["status"] == 429)]
        return len(asked), sum(line["status"] == 429 for line in asked)

    def close(self) -> None:
        self._process.send_signal(signal.SIGINT)
        self._process.wait()


def main() -> None:
    folder = Path(tempfile.mkdtemp(prefix="burnish-bench-"))
    folder.chmod(0o755)
    service = Service(folder)
    try:
        pictures = _pictures(folder / "pictures")
        _batch(service, _pictures(folder / "warm", 10), folder / "warm-out")
        played = {
            "burnish enhance": _batch(service, pictures, folder / "out"),
            "naive: all at once": _naive(service, "burst", pictures),
            "naive: polling every 0.2 s": _naive(service, "polling", pictures),
        }
    finally:
        service.close()
        shutil.rmtree(folder, ignore_errors=True)
    _report(played)


def _pictures(folder: Path, count: int = FILES) -> Path:
    """So many PNGs of 8 x 8, each of another colour."""
    folder.mkdir()
    for number in range(count):
        rows = b"".join(b"\0" + bytes((number % 256, number // 256, row * 30)) * 8 for row in range(8))
        chunks = [
            (b"IHDR", struct.pack(">IIBBBBB", 8, 8, 8, 2, 0, 0, 0)),
            (b"IDAT", zlib.compress(rows)),
            (b"IEND", b""),
        ]
        body = b"".join(
            struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
            for name, data in chunks
        )
        (folder / f"{number:04}.png").write_bytes(b"\x89PNG\r\n\x1a\n" + body)
    return folder


def _batch(service: Service, pictures: Path, out: Path) -> Played:
    """`burnish enhance`, with nothing but the folder and where results go."""
    key = service.key(out.name)
    since = service.mark()
    ran = subprocess.run(
        [*BURNISH, "enhance", str(pictures), "-o", str(out), "--json"],
        env={**os.environ, "BURNISH_URL": service.url, "BURNISH_API_KEY": key},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    events = [json.loads(line) for line in ran.stdout.splitlines()]
    if not events or events[-1]["event"] != "summary":
        sys.exit(f"burnish enhance ended with {ran.returncode}: {ran.stderr}")
    summary = events[-1]
    return Played(summary["done"], summary["failed"], *service.counted(since), summary["seconds"])


def _naive(service: Service, module: str, pictures: Path) -> Played:
    key = service.key(module)
    since = service.mark()
    began = time.monotonic()
    ran = subprocess.run(
        [sys.executable, "-m", f"naive.{module}", service.url, key, str(pictures)],
        env={**os.environ, "PYTHONPATH": str(ROOT / "tests")},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    if ran.returncode:
        sys.exit(f"naive.{module}: {ran.stderr}")
    seconds = time.monotonic() - began
    said: dict[str, Any] = json.loads(ran.stdout.splitlines()[-1])
    return Played(said["done"], said["failed"], *service.counted(since), seconds)


def _report(played: dict[str, Played]) -> None:
    print(machine())
    print(f"\n{FILES} files; {A_MINUTE} creating requests a minute, {BURST} at once; 5 tasks at once\n")
    print(
        table(
            ("", "done", "failed", "requests", "429", "429 %", "seconds", "of what is allowed"),
            [
                (
                    name, one.done, one.failed, one.requests, one.refused, round(100 * one.refused_share, 2),
                    round(one.seconds, 1), one.throughput_share,
                )
                for name, one in played.items()
            ],
        )
    )  # fmt: skip
    ours = played["burnish enhance"]
    figures = {
        "failed": ours.failed + FILES - ours.done,
        "refused_share": ours.refused_share,
        "throughput_share": ours.throughput_share,
    }
    holds = (
        figures["failed"] == GOAL["failed"]
        and figures["refused_share"] <= GOAL["refused_share"]
        and figures["throughput_share"] >= GOAL["throughput_share"]
    )
    naive = max(one.done for name, one in played.items() if name != "burnish enhance")
    verdict(NAME, figures=figures, ratio=round(ours.done / max(1, naive), 2), goal=GOAL, holds=holds)


if __name__ == "__main__":
    main()
