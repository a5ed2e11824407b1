"""How fast a client goes: the bucket and the gates against a service of the house's own rates, in simulated time."""

import heapq
import random
from collections.abc import Callable
from itertools import count
from typing import Any

import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from burnish.client._gate import Gate
from burnish.client._pace import HEAVY_AT_ONCE, LIGHT_AT_ONCE, MOST_AT_ONCE, Pace
from burnish.client._repeat import asked_pause
from burnish.client._standing import Standing, standings
from burnish.limits.rate import Rate, ask, spend
from burnish.web import ratelimit


class Simulation:
    """A service that limits one kind of request, and workers that share one client's pace. `now` passes by events."""

    def __init__(self, rate: Rate, chance: random.Random, slowest: float) -> None:
        self.now = 0.0
        self.refused = 0
        self.served = 0
        self.pace = Pace()
        self._rate = rate
        self._chance = chance
        self._slowest = slowest
        self._full_at = 0
        self._events: list[tuple[float, int, Callable[[], None]]] = []
        self._order = count()

    def at(self, seconds: float, do: Callable[[], None]) -> None:
        heapq.heappush(self._events, (self.now + seconds, next(self._order), do))

    def run(self) -> None:
        while self._events:
            self.now, _, do = heapq.heappop(self._events)
            do()

    def decide(self) -> httpx.Response:
        """As the service does, with its own rate and its own headers."""
        now = int(self.now * 1e9)  # nanoseconds, as the rates have them
        verdict = ask(self._rate, self._full_at, now)
        allowed = spend([verdict])
        if allowed:
            self._full_at = now + verdict.behind
            self.served += 1
        headers = {name.decode(): value.decode() for name, value in ratelimit.headers([verdict], [])}
        headers["retry-after-ms"] = str(int(verdict.retry_after_seconds * 1000) + 1)
        return httpx.Response(
            200 if allowed else 429, headers=headers, json={"error": {"code": "rate_limited"}}
        )

    def worker(self, left: list[int]) -> None:
        """Sends one request after the other, as long as some are left."""
        if not left[0]:
            return
        left[0] -= 1
        turn = self.pace.scout("create")
        if turn is None:
            self._begin(left, None)
        else:
            turn.await_(lambda: self.at(0, lambda: self._begin(left, turn)))

    def _begin(self, left: list[int], turn: Any) -> None:
        place = self.pace.take("create", self.now)

        def go() -> None:
            if pause := self.pace.pause(place, self.now):
                self.at(pause, go)
                return
            self.at(self._latency(), decided)

        def decided() -> None:
            response = self.decide()

            def replied() -> None:
                self.refused += response.is_error
                asked = asked_pause(response.headers) if response.is_error else None
                self.pace.told("create", place, response, asked, self.now)
                self.pace.left(place)
                if turn is not None:
                    turn.leave()
                self.worker(left)

            self.at(self._latency(), replied)

        go()

    def _latency(self) -> float:
        return self._chance.random() * self._slowest


@settings(deadline=None, max_examples=60)
@given(
    limit=st.integers(5, 3000),
    burst=st.integers(1, 60),
    workers=st.integers(1, 40),
    share=st.floats(0, 1),
    seed=st.integers(0, 2**32),
)
def test_a_known_rate_is_never_overrun_and_hardly_left_unused(
    limit: int, burst: int, workers: int, share: float, seed: int
) -> None:
    """Whatever the network does to the order of requests and replies, up to a quarter of the burst late: no refusal at
    all; and where there are enough workers to use the rate, no more than a tenth longer than it allows.
    """
    rate = Rate("create-rate", limit, 60, burst)
    slowest = share * max(0, burst - 3) / 4 * 60 / limit
    simulation = Simulation(rate, random.Random(seed), slowest)
    requests = burst + 3 * limit // 4 + 20
    left = [requests]
    for _ in range(workers):
        simulation.worker(left)
    simulation.run()

    assert (simulation.served, simulation.refused) == (requests, 0)
    interval = rate.interval / 1e9
    if workers * interval > 4 * slowest:
        assert simulation.now <= 1.1 * (requests - burst) * interval + 2 * interval + 8 * slowest


def test_others_with_the_same_key_are_made_room_for() -> None:
    """Where someone else uses half of the rate, few requests are refused, and all are served in the end."""
    rate = Rate("create-rate", 600, 60, 10)
    simulation = Simulation(rate, random.Random(7), 0.02)
    ended: list[float] = []

    def other() -> None:
        simulation.decide()
        if len(ended) < 400:
            ended.append(simulation.now)
            simulation.at(0.2, other)

    simulation.at(0, other)
    left = [300]
    for _ in range(10):
        simulation.worker(left)
    simulation.run()

    assert simulation.refused <= 0.1 * 300


@pytest.mark.parametrize(
    ("policy", "state", "known"),
    [
        ('"a";q=60;w=60', '"a";r=12;t=31', {"a": Standing(60, 60, 12)}),
        (
            '"k";q=60;w=60, "tasks-at-once";q=5;qu="concurrent-requests"',
            '"k";r=1;t=3, "tasks-at-once";r=0;t=8',
            {"k": Standing(60, 60, 1), "tasks-at-once": Standing(5, None, 0)},
        ),
        ("", '"a";r=1', {"a": Standing(None, None, 1)}),
        ("nonsense", "limit=100, remaining=50", {}),
        ('"a";q=99999999999999999999', '"b";r=x', {"b": Standing(None, None, None)}),
        ("", "", {}),
    ],
)
def test_limits_are_read_from_the_headers(policy: str, state: str, known: dict[str, Standing]) -> None:
    """As the draft writes them; what is written otherwise is no limit."""
    assert standings(httpx.Headers({"RateLimit-Policy": policy, "RateLimit": state})) == known


@given(st.text(max_size=300))
def test_no_header_is_too_strange(text: str) -> None:
    """Whatever stands in the headers: read, or not, and never an error."""
    headers = httpx.Headers([(b"ratelimit", text.encode()), (b"ratelimit-policy", text.encode())])
    Pace().admitted("upscale", httpx.Response(202, headers=headers))


# --- tasks at once ----------------------------------------------------------------------------------------------------


def told(status: int = 202, code: str = "", **limits: tuple[int, int]) -> httpx.Response:
    """A reply to a creation: `told(tasks_at_once=(5, 3))` says that 3 of 5 are left."""
    names = {name.replace("_", "-"): said for name, said in limits.items()}
    return httpx.Response(
        status,
        headers={
            "RateLimit-Policy": ", ".join(f'"{n}";q={q};qu="concurrent-requests"' for n, (q, _) in names.items()),
            "RateLimit": ", ".join(f'"{n}";r={r}' for n, (_, r) in names.items()),
        },
        json={"error": {"code": code}},
    )  # fmt: skip


def enter(pace: Pace, model: str) -> list[Any]:
    return [gate.turn() for gate in pace.gates(model)]


def test_it_begins_with_five_and_with_two() -> None:
    """Of light models, and of heavy ones, before anything was told."""
    pace = Pace()
    pace.lanes = {"upscale": "light", "video": "heavy"}

    assert (pace.at_once("upscale"), pace.at_once("video"), pace.at_once("unknown")) == (5, 2, 5)
    assert (LIGHT_AT_ONCE, HEAVY_AT_ONCE) == (5, 2)


def test_it_grows_by_one_and_is_halved() -> None:
    """With each admission that left room while all turns were taken, up to what the service has; a refusal halves it."""
    pace = Pace()
    widths = []
    for number in range(30):
        enter(pace, "upscale")
        pace.creating("upscale", 1)
        pace.admitted("upscale", told(tasks_at_once=(20, max(0, 19 - number))))
        pace.creating("upscale", -1)
        widths.append(pace.at_once("upscale"))

    assert widths[:4] == [5, 5, 5, 5]
    assert widths[4:8] == [6, 7, 8, 9]
    assert max(widths) == 20
    pace.refused("upscale", told(429, "too_many_tasks", tasks_at_once=(20, 0)))
    assert pace.at_once("upscale") == 10
    pace.refused("upscale", told(429, "rate_limited"))
    assert pace.at_once("upscale") == 10


def test_it_is_never_wider_than_the_service_says() -> None:
    """A plan of three is three from the first reply on, and what others of the account have is not ours."""
    pace = Pace()
    enter(pace, "upscale")
    pace.creating("upscale", 1)
    pace.admitted("upscale", told(tasks_at_once=(3, 2)))
    assert pace.at_once("upscale") == 3
    pace.admitted("upscale", told(tasks_at_once=(3, 0)))
    assert pace.at_once("upscale") == 1


def test_tasks_on_their_way_do_not_count_as_admitted() -> None:
    """Five are sent together; the first reply says that four are left, of which four of ours will have each one."""
    pace = Pace()
    for _ in range(5):
        enter(pace, "upscale")
        pace.creating("upscale", 1)
    for left in (4, 3, 2, 1, 0):
        pace.admitted("upscale", told(tasks_at_once=(5, left)))
        pace.creating("upscale", -1)
        assert pace.at_once("upscale") == 5


def test_heavy_models_narrow_nobody_else() -> None:
    """One heavy task is all that the service has room for; of light ones it has more. Told to be heavy is heavy."""
    pace = Pace()
    enter(pace, "video")
    pace.creating("video", 1)
    pace.admitted("video", told(tasks_at_once=(50, 49), heavy_tasks_at_once=(1, 0)))

    assert (pace.at_once("video"), pace.at_once("upscale")) == (1, 5)


def test_no_limits_told_is_no_reason_to_grow() -> None:
    """A service that says nothing of tasks at once is given five."""
    pace = Pace()
    for _ in range(20):
        enter(pace, "upscale")
        pace.admitted("upscale", told())

    assert pace.at_once("upscale") == 5


@given(st.lists(st.tuples(st.sampled_from(["turn", "leave", "grow", "halve", "room"]), st.integers(0, 100))))
def test_a_gate_is_never_overrun_and_never_forgets(steps: list[tuple[str, int]]) -> None:
    """Whatever is done to it: nobody enters a full gate, everybody in line enters as soon as there is room, in order."""
    gate = Gate(3, 40)
    turns = []
    for what, number in steps:
        before = gate.inside
        if what == "turn":
            turns.append(gate.turn())
        elif what == "leave" and turns:
            turns.pop(number % len(turns)).leave()
        elif what == "grow":
            gate.grow(40)
        elif what == "halve":
            gate.halve()
        elif what == "room":
            gate.has_room_for("tasks-at-once", number)
        inside = [turn.inside for turn in turns]
        assert gate.inside == sum(inside)
        assert gate.inside <= max(before, gate.width) <= MOST_AT_ONCE
        assert all(inside) or gate.inside + 1 > gate.width
        assert inside == sorted(inside, reverse=True)
    for turn in turns:
        turn.leave()
        turn.leave()
    assert gate.inside == 0
