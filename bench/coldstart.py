"""Cold start: `burnish serve` to its first healthy reply, and `burnish --help`, beside `python -c pass`.

The data directory exists already, as on every start but the first. Also told, without a goal: until a worker is
ready (`/ready`), and from Ctrl-C until the process is gone.
"""

import http.client
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from harness import machine, table, verdict

NAME = "coldstart"
PEERS = ()
GOAL = {"serve_seconds": 3.0, "help_seconds": 0.2}
ROUNDS = 7
BURNISH = str(Path(sys.executable).with_name("burnish"))


def main() -> None:
    """Rounds of all three, one after the other, so that a slow moment meets them all."""
    times: dict[str, list[float]] = {
        name: []
        for name in ("python -c pass", "burnish --help", "serve: /health", "serve: /ready", "serve: Ctrl-C")
    }
    with tempfile.TemporaryDirectory(prefix="burnish-bench-") as data:
        _serve_once(data)
        for _ in range(ROUNDS):
            times["python -c pass"].append(_run([sys.executable, "-c", "pass"]))
            times["burnish --help"].append(_run([BURNISH, "--help"]))
            for name, seconds in zip(list(times)[2:], _serve_once(data), strict=True):
                times[name].append(seconds)
    medians = {name: statistics.median(found) for name, found in times.items()}
    rows = [(name, round(medians[name], 3), round(min(t), 3), round(max(t), 3)) for name, t in times.items()]
    print(machine())
    print(table(("", "median s", "min", "max"), rows))
    figures = {
        "serve_seconds": round(medians["serve: /health"], 3),
        "ready_seconds": round(medians["serve: /ready"], 3),
        "stop_seconds": round(medians["serve: Ctrl-C"], 3),
        "help_seconds": round(medians["burnish --help"], 3),
        "python_seconds": round(medians["python -c pass"], 3),
    }
    verdict(
        NAME,
        figures=figures,
        ratio=round(figures["help_seconds"] / figures["python_seconds"], 2),
        goal=GOAL,
        holds=all(figures[name] <= most for name, most in GOAL.items()),
    )


def _run(command: Sequence[str]) -> float:
    begun = time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - begun


def _serve_once(data: str) -> tuple[float, float, float]:
    """Seconds to /health, to /ready, and from Ctrl-C to the end."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    begun = time.perf_counter()
    service = subprocess.Popen(
        [BURNISH, "serve", "--data", data, "--port", str(port)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    )
    try:
        healthy = _answers(service, port, "/health") - begun
        ready = _answers(service, port, "/ready") - begun
        stopped = time.perf_counter()
        service.send_signal(signal.SIGINT)
        service.wait(30)
        return healthy, ready, time.perf_counter() - stopped
    finally:
        service.kill()


def _answers(service: subprocess.Popen[bytes], port: int, path: str) -> float:
    """The moment of the first 200."""
    give_up = time.perf_counter() + 60
    while time.perf_counter() < give_up:
        if service.poll() is not None:
            assert service.stderr is not None
            sys.exit(f"burnish serve has ended: {service.stderr.read().decode()}")
        try:
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
            connection.request("GET", path)
            if connection.getresponse().status == http.client.OK:
                return time.perf_counter()
        except OSError:
            pass
        time.sleep(0.005)
    sys.exit(f"burnish serve did not answer on {path} within a minute.")


if __name__ == "__main__":
    main()
