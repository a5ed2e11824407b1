"""What an operator watches: the counters themselves, of one process. `server` shows them at `/metrics`.

Counted while requests are answered, so each takes half a microsecond.
"""

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterable, Iterator
from itertools import accumulate
from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.core import CounterMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector
from prometheus_client.utils import floatToGoString

_SECONDS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)
_ROWS: Final = (1, 2, 4, 8, 16, 32, 64, 128, 256)


class Metrics:
    """One a process, handed to whoever counts."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry(auto_describe=False)
        self._requests = _Requests()
        self._registry.register(self._requests)
        self._rows = Histogram(
            "burnish_group_rows",
            "Rows that shared one transaction, by what was written.",
            ["group"],
            buckets=_ROWS,
            registry=self._registry,
        )
        self._admissions = Counter(
            "burnish_admissions",
            "Tasks admitted by this process, by model and what became of them: waiting, queued, parked or failed.",
            ["model", "outcome"],
            registry=self._registry,
        )
        self._refusals = Counter(
            "burnish_refusals",
            "Requests refused by this process, by code and, where it was a limit, its policy.",
            ["code", "policy"],
            registry=self._registry,
        )
        self._shadow = Counter(
            "burnish_shadow_refusals",
            "Tasks admitted although a limit that is only counted would have refused them, by its policy.",
            ["policy"],
            registry=self._registry,
        )
        self._tasks = Gauge(
            "burnish_tasks",
            "Tasks that have not ended, by state, lane and model.",
            ["state", "lane", "model"],
            registry=self._registry,
        )
        self._oldest = Gauge(
            "burnish_oldest_task_seconds",
            "Age of the oldest of them.",
            ["state", "lane", "model"],
            registry=self._registry,
        )
        self._held = Gauge(
            "burnish_credits_held", "Credits in open holds, of all accounts.", registry=self._registry
        )
        self._imbalance = Gauge(
            "burnish_ledger_imbalance_credits",
            "Difference between what accounts and their grants say; anything but 0 is a fault: run burnish doctor.",
            registry=self._registry,
        )
        self._lost = Gauge(
            "burnish_leases_lost", "Leases lost by all workers since the beginning.", registry=self._registry
        )
        self._counters_away = Gauge(
            "burnish_counters_away",
            "1 while the store of the rates' counters does not answer this process: each rate does what its when_down says.",
            registry=self._registry,
        )
        self._admitted: dict[tuple[str, str], Counter] = {}
        self.request = self._requests.note

    def group(self, name: str) -> Histogram:
        """The sizes of one kind of group: give its `observe` to the group."""
        return self._rows.labels(name)

    def admission(self, model: str, outcome: str, shadow: Iterable[str]) -> None:
        """A task was admitted; `shadow`: limits that would have refused it."""
        key = model, outcome
        if (counter := self._admitted.get(key)) is None:
            counter = self._admitted[key] = self._admissions.labels(model, outcome)
        counter.inc()
        for policy in shadow:
            self._shadow.labels(policy).inc()

    def refusal(self, code: str, policy: str) -> None:
        """A request was refused."""
        self._refusals.labels(code, policy).inc()

    def tasks(self, rows: Iterable[tuple[str, str, str, int, float]]) -> None:
        """How many tasks there are and how old the oldest is, by state, lane and model; others are none."""
        self._tasks.clear()
        self._oldest.clear()
        for state, lane, model, count, seconds in rows:
            self._tasks.labels(state, lane, model).set(count)
            self._oldest.labels(state, lane, model).set(seconds)

    def ledger(self, held: int, imbalance: int, leases_lost: int) -> None:
        """What the database says of credits and leases."""
        self._held.set(held)
        self._imbalance.set(imbalance)
        self._lost.set(leases_lost)

    def counters_are_away(self, away: bool) -> None:
        """Whether rates are counted without their store."""
        self._counters_away.set(away)

    def text(self) -> bytes:
        """All of it, in Prometheus' text format."""
        return generate_latest(self._registry)


class _Requests(Collector):
    """Requests and their times: counted in plain dictionaries, without the client's locks, and told when asked for."""

    def __init__(self) -> None:
        self._counts: defaultdict[tuple[str, str, int], int] = defaultdict(int)
        self._times: dict[tuple[str, str], list[int]] = {}
        self._sums: defaultdict[tuple[str, str], float] = defaultdict(float)

    def note(self, method: str, route: str, status: int, seconds: float) -> None:
        """One request was answered."""
        self._counts[method, route, status] += 1
        place = method, route
        if (times := self._times.get(place)) is None:
            times = self._times[place] = [0] * (len(_SECONDS) + 1)
        times[bisect_left(_SECONDS, seconds)] += 1
        self._sums[place] += seconds

    def collect(self) -> Iterator[Metric]:
        requests = CounterMetricFamily(
            "burnish_requests",
            "Requests answered; 499 where the client had gone.",
            labels=["method", "route", "status"],
        )
        for (method, route, status), count in self._counts.items():
            requests.add_metric([method, route, str(status)], count)
        yield requests
        seconds = HistogramMetricFamily(
            "burnish_request_seconds",
            "Time from a request's first byte here to its reply's last, waiting included.",
            labels=["method", "route"],
        )
        bounds = [*map(floatToGoString, _SECONDS), "+Inf"]
        for place, times in self._times.items():
            buckets = list(zip(bounds, accumulate(times), strict=True))
            seconds.add_metric([*place], buckets, self._sums[place])
        yield seconds
