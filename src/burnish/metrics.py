"""What an operator watches: the counters themselves, of one process. `server` shows them at `/metrics`.

Counted while requests are answered, so each takes about a microsecond: the labelled children are kept.
"""

from collections.abc import Mapping
from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

_SECONDS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)
_ROWS: Final = (1, 2, 4, 8, 16, 32, 64, 128, 256)


class Metrics:
    """One a process, handed to whoever counts."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry(auto_describe=False)
        self._requests = Counter(
            "burnish_requests",
            "Requests answered; 499 where the client had gone.",
            ["method", "route", "status"],
            registry=self._registry,
        )
        self._seconds = Histogram(
            "burnish_request_seconds",
            "Time from a request's first byte here to its reply's last, waiting included.",
            ["method", "route"],
            buckets=_SECONDS,
            registry=self._registry,
        )
        self._rows = Histogram(
            "burnish_group_rows",
            "Rows that shared one transaction, by what was written.",
            ["group"],
            buckets=_ROWS,
            registry=self._registry,
        )
        self._tasks = Gauge(
            "burnish_tasks",
            "Tasks that have not ended, by state and lane.",
            ["state", "lane"],
            registry=self._registry,
        )
        self._counted: dict[tuple[str, str, int], Counter] = {}
        self._timed: dict[tuple[str, str], Histogram] = {}

    def request(self, method: str, route: str, status: int, seconds: float) -> None:
        """One request was answered."""
        key = method, route, status
        if (counter := self._counted.get(key)) is None:
            counter = self._counted[key] = self._requests.labels(method, route, str(status))
        counter.inc()
        if (timer := self._timed.get(key[:2])) is None:
            timer = self._timed[key[:2]] = self._seconds.labels(method, route)
        timer.observe(seconds)

    def group(self, name: str) -> Histogram:
        """The sizes of one kind of group: give its `observe` to the group."""
        return self._rows.labels(name)

    def tasks(self, counts: Mapping[tuple[str, str], int]) -> None:
        """How many tasks there are in each (state, lane)."""
        for (state, lane), count in counts.items():
            self._tasks.labels(state, lane).set(count)

    def text(self) -> bytes:
        """All of it, in Prometheus' text format."""
        return generate_latest(self._registry)
