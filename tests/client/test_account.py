"""Quotes, limits, credits and usage as both clients read them; tasks made again, and what a task may ask for."""

from datetime import UTC, date, datetime
from typing import Any

import pytest

from burnish import client as burnish
from client.played import PlayedService
from client.talk import Talk


def test_a_quote_is_exact_where_the_size_is_given(talk: Talk, service: PlayedService) -> None:
    """One price with width and height; without them the lowest and the highest. Nothing is made."""
    exact = talk(lambda client: client.quotes.create("upscale", {"scale": 4}, width=640, height=480))
    loose = talk(lambda client: client.quotes.create("upscale", {"scale": 4}, max_credits=7))

    assert (exact.lowest, exact.highest, exact.outcome, exact.quantity) == (10, 10, "accepted", 1)
    assert (loose.lowest, loose.highest, loose.quantity) == (10, 40, None)
    assert service.asked[0].body == (
        b'{"model": "upscale", "input": {"scale": 4}, "width": 640, "height": 480}'
    )
    assert service.tasks == {}


def test_limits_credits_and_usage_are_read(talk: Talk, service: PlayedService) -> None:
    """Each as the service tells it; what this version does not know is in `raw`."""
    (limit,) = talk(lambda client: client.limits.list())
    credits_ = talk(lambda client: client.credits.get())
    (line,) = talk(lambda client: client.usage.list(since=date(2026, 1, 1), by=("day", "model")))

    assert (limit.name, limit.kind, limit.remaining, limit.burst) == ("create-rate", "rate", 17, 20)
    assert credits_.granted == (credits_.available + credits_.held + credits_.charged + credits_.expired)
    assert (line.day, line.model, line.key, line.succeeded, line.credits) == (
        date(2026, 1, 2), "upscale", None, 3, 30,
    )  # fmt: skip
    assert service.asked[-1].query == {"from": "2026-01-01", "by": "day,model"}
    assert limit.raw["burst"] == 20


def test_entries_are_fetched_page_by_page(talk: Talk, service: PlayedService) -> None:
    """All of them, newest first; the kind is passed on."""
    entries = talk(lambda client: client.credits.entries(kind="hold"))

    assert [entry.id for entry in entries] == ["entry_3", "entry_2", "entry_1"]
    assert entries[0].at == datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
    assert [asked.query.get("after") for asked in service.asked] == [None, "entry_2"]
    assert service.asked[1].query["kind"] == "hold"


def test_a_failed_task_is_made_again(talk: Talk, service: PlayedService) -> None:
    """A new task that names the old one, with a price of its own."""
    old = talk(lambda client: client.tasks.create("upscale", {"image": "upload_9"}))

    again = talk(lambda client: client.tasks.retry(old, idempotency_key="again"))

    assert (again.id, again.retry_of, again.cost.held, again.cost.charged) == ("task_2", "task_1", 10, 0)
    assert service.asked[-1].headers["idempotency-key"] == "again"
    assert talk(lambda client: client.tasks.wait(again)).cost.charged == 10


def test_what_a_task_asks_for_is_sent(talk: Talk, service: PlayedService) -> None:
    """Priority, the behaviour over a limit, the most that it may cost, and a callback; only what is given."""

    def create(client: Any) -> Any:
        return client.tasks.create(
            "upscale", {"image": "upload_9"}, priority=5, on_limit="reject", max_credits=20,
            callback={"url": "https://example.com/hook", "when": "final"},
        )  # fmt: skip

    talk(create)

    assert service.asked[0].body == (
        b'{"model": "upscale", "input": {"image": "upload_9"}, "priority": 5, "on_limit": "reject", '
        b'"max_credits": 20, "callback": {"url": "https://example.com/hook", "when": "final"}}'
    )


@pytest.mark.parametrize("call", ["quotes", "limits", "credits", "usage"])
def test_a_refused_key_is_told_from_a_limit(talk: Talk, service: PlayedService, call: str) -> None:
    """401 and 403 are raised at once and are never `Limited`; backing off would not help."""
    routes = {"quotes": "POST /v1/quotes", "limits": "GET /v1/limits", "credits": "GET /v1/credits",
              "usage": "GET /v1/usage"}  # fmt: skip
    calls: dict[str, Any] = {
        "quotes": lambda client: client.quotes.create("upscale", {}),
        "limits": lambda client: client.limits.list(),
        "credits": lambda client: client.credits.get(),
        "usage": lambda client: client.usage.list(),
    }
    service.plays(routes[call], service.refuses(401, "unknown_key"), service.refuses(403, "scope_missing"))

    with pytest.raises(burnish.Unauthenticated):
        talk(calls[call])
    with pytest.raises(burnish.Forbidden):
        talk(calls[call])
    assert talk.pauses == []
