"""What an account may spend and what it has done, for its own keys: credits, the entries of the ledger, usage."""

from typing import Final

from burnish.credits.find import get_credits, list_entries
from burnish.dialects.native import money_examples, money_wire
from burnish.tasks.usage import read_usage
from burnish.web import bodies
from burnish.web.caller import caller, plan_of
from burnish.web.operation import Operation
from burnish.web.pages import link_to_next
from burnish.web.replies import Reply, json
from burnish.web.request import Request


async def credits_(request: Request) -> Reply:
    key = await caller(request, "usage:read")
    standing = await get_credits(request.resources.db, key.account_id, request.now)
    return json(money_wire.credits_reply(standing, metered=plan_of(request, key).metered))


async def entries(request: Request) -> Reply:
    key = await caller(request, "usage:read")
    asked = bodies.query(request, money_wire.EntriesQuery)
    found = await list_entries(
        request.resources.db,
        key.account_id,
        after=money_wire.entry_number(asked.after),
        kind=asked.kind,
        rows=asked.limit + 1,
    )
    data = [money_wire.entry_reply(entry) for entry in found[: asked.limit]]
    following = data[-1].id if len(found) > asked.limit else None
    page = money_wire.EntryPage(data=data, has_more=following is not None, next=following)
    return json(page, headers=link_to_next(request, following))


async def usage(request: Request) -> Reply:
    key = await caller(request, "usage:read")
    asked = bodies.query(request, money_wire.UsageQuery)
    first, last, since, until = money_wire.stretch(asked, request.now)
    used = await read_usage(request.resources.db, key.account_id, since, until, asked.by.split(","))
    return json(money_wire.usage_reply(first, last, used))


OPERATIONS: Final = (
    Operation(
        method="GET",
        path="/v1/credits",
        handle=credits_,
        id="getCredits",
        tag="Credits",
        summary="Read how the account's credits stand",
        description="Of test keys there are none: they cost nothing.",
        access="usage:read",
        answers={200: money_wire.CreditsReply},
        answer_example=money_examples.CREDITS,
    ),
    Operation(
        method="GET",
        path="/v1/credits/entries",
        handle=entries,
        id="listEntries",
        tag="Credits",
        summary="List what moved the account's credits, newest first",
        access="usage:read",
        query=money_wire.EntriesQuery,
        answers={200: money_wire.EntryPage},
        headers={"Link": 'The next page, as `rel="next"`.'},
        refuses=("invalid", "unknown_field"),
        answer_example=money_examples.ENTRIES,
    ),
    Operation(
        method="GET",
        path="/v1/usage",
        handle=usage,
        id="listUsage",
        tag="Credits",
        summary="Read what was done, by day, model and key",
        description="Tasks by the day that they ended on, in UTC; at most 366 days.",
        access="usage:read",
        query=money_wire.UsageQuery,
        answers={200: money_wire.UsageReply},
        refuses=("invalid", "unknown_field"),
        answer_example=money_examples.USAGE,
    ),
)
