"""What a key may read of its account: prices before they are paid, limits, credits, usage. Nothing here changes anything."""

from collections.abc import Mapping, Sequence
from datetime import date
from typing import Any

from burnish.client._drive import Awaiting, Blocking, pages, verb
from burnish.client._figures import Credits, Entry, Limit, Quote, Usage
from burnish.client._flow import Flow, Page
from burnish.client._remote import Remote, page, read


class _Quotes:
    _remote: Remote

    @verb
    def create(
        self,
        model: str,
        input: Mapping[str, Any],  # noqa: A002 -- the API's word
        *,
        width: int | None = None,
        height: int | None = None,
        seconds: float | None = None,
        frame_rate: float | None = None,
        on_limit: str | None = None,
        max_credits: int | None = None,
    ) -> Flow[Quote]:
        """What a task would cost, and what would happen, without its happening.

        `input` as for `tasks.create`, but nothing is uploaded: leave the picture out, and give its `width` and
        `height` in pixels, of a film its `seconds` and its `frame_rate` too, for one exact price instead of the lowest
        and the highest.

        Raises:
            Invalid: no such model, or a wrong parameter; `param` names it.
            Refused, Unreachable.
        """
        body = {
            "model": model,
            "input": dict(input),
            "width": width,
            "height": height,
            "seconds": seconds,
            "frame_rate": frame_rate,
            "on_limit": on_limit,
            "max_credits": max_credits,
        }
        said = {name: value for name, value in body.items() if value is not None}
        return read((yield from self._remote.post("/v1/quotes", said, None)), Quote.from_json)


class Quotes(_Quotes, Blocking):
    """Quotes, blocking."""


class AsyncQuotes(_Quotes, Awaiting):
    """Quotes, awaited."""


class _Limits:
    _remote: Remote

    @verb
    def list(self) -> Flow[Sequence[Limit]]:
        """Every limit of this key and its account, and how much of it is used. Raises Refused, Unreachable."""
        reply = yield from self._remote.get("/v1/limits")
        return read(reply, lambda body: [Limit.from_json(item) for item in body["data"]])


class Limits(_Limits, Blocking):
    """Limits, blocking."""


class AsyncLimits(_Limits, Awaiting):
    """Limits, awaited."""


class _Credits:
    _remote: Remote

    @verb
    def get(self) -> Flow[Credits]:
        """How the account's credits stand. Needs the scope `usage:read`. Raises Forbidden, Refused, Unreachable."""
        return read((yield from self._remote.get("/v1/credits")), Credits.from_json)

    @pages
    def entries(self, *, kind: str | None = None) -> Flow[Page[Entry]]:
        """What moved the account's credits, newest first, a hundred fetched at a time as they are reached.

        `kind`: only grant, hold, charge, release, purchase or expire. Raises Forbidden, Refused, Unreachable.
        """
        return (
            yield from page(
                self._remote, "/v1/credits/entries", {"limit": 100, "kind": kind}, Entry.from_json
            )
        )


class CreditsOfAccount(_Credits, Blocking):
    """Credits, blocking."""


class AsyncCreditsOfAccount(_Credits, Awaiting):
    """Credits, awaited."""


class _Usage:
    _remote: Remote

    @verb
    def list(
        self, *, since: date | None = None, until: date | None = None, by: Sequence[str] = ("day",)
    ) -> Flow[Sequence[Usage]]:
        """What was done from the day `since` to the day `until`, in UTC; the last 30 days unless told otherwise.

        `by`: what has a line of its own, of day, model and key. Needs the scope `usage:read`.

        Raises:
            Invalid: more than 366 days, or the wrong way round.
            Forbidden, Refused, Unreachable.
        """
        reply = yield from self._remote.get("/v1/usage", {"from": since, "to": until, "by": ",".join(by)})
        return read(reply, lambda body: [Usage.from_json(item) for item in body["data"]])


class UsageOfAccount(_Usage, Blocking):
    """Usage, blocking."""


class AsyncUsageOfAccount(_Usage, Awaiting):
    """Usage, awaited."""
