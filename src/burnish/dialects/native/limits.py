"""Quotes and limits: what a task would cost and what would happen, and how every limit stands. Neither spends any."""

from typing import Final

from burnish.dialects.native import examples, limits_wire
from burnish.storage.postgres import LOST, away
from burnish.tasks.accounts import look_at
from burnish.tasks.cost import Measures
from burnish.tasks.quote import quote
from burnish.tasks.standing import standings
from burnish.tasks.task import HEAVY, key_digits
from burnish.web import bodies
from burnish.web.caller import caller, peek_ip, peek_rates, plan_of
from burnish.web.operation import Operation
from burnish.web.replies import Reply, json
from burnish.web.request import Request


async def quote_(request: Request) -> Reply:
    key = await caller(request, "tasks:write")
    asked, _ = await bodies.read_json(request, limits_wire.QUOTE_REQUEST)
    resources = request.resources
    declared = Measures(asked.width, asked.height, asked.seconds, asked.frame_rate)
    submission = limits_wire.quoted(request, key, asked)
    made = await quote(resources.db, submission, declared, resources.plans, resources.prices, request.now)
    request.quotas_stand(key, made.standings)
    return json(limits_wire.quote_reply(asked.model, made))


async def limits(request: Request) -> Reply:
    key = await caller(request)
    resources = request.resources
    plan = plan_of(request, key)
    verdicts = [("ip", verdict) for verdict in await peek_ip(request)]
    verdicts += [("key", verdict) for verdict in await peek_rates(request, key, plan.rates)]
    try:
        async with resources.db.reading() as connection:
            state = await look_at(
                connection, key.account_id, resources.plans, request.now, key=key_digits(key.id)
            )
    except (*LOST, TimeoutError) as error:
        raise away(error) from error
    request.quotas_stand(key, standings(state, HEAVY, "", key_digits(key.id), request.now))
    return json(limits_wire.limit_page(state, key, key.plan, verdicts, request.now))


OPERATIONS: Final = (
    Operation(
        method="POST",
        path="/v1/quotes",
        handle=quote_,
        id="createQuote",
        tag="Limits",
        summary="Ask what a task would cost, and what would happen",
        description="The same checks, price and decision as submitting, without effect. Of bytes that have not been seen "
        "it gives the lowest and the highest price, unless `width` and `height` are declared, and `seconds` and `frame_rate` of a film.",
        access="tasks:write",
        reads=limits_wire.QuoteRequest,
        answers={200: limits_wire.QuoteReply},
        refuses=(
            "malformed", "body_stalled", "too_large", "unsupported_media", "invalid", "unknown_field",
            "missing_field", "unknown_model", "model_not_installed", "upload_not_found", "upload_expired", "bad_link", "link_expired",
            "input_blocked", "test_input", "unsupported_format", "decode_failed", "input_too_large",
            "duration_out_of_range", "output_too_large",
        ),
        example=examples.QUOTE_REQUEST,
        answer_example=examples.QUOTE,
    ),
    Operation(
        method="GET",
        path="/v1/limits",
        handle=limits,
        id="listLimits",
        tag="Limits",
        summary="Read every limit and how much of it is used",
        description="Of this key and of its account; nothing is spent by it but one read.",
        answers={200: limits_wire.LimitPage},
        answer_example=examples.LIMITS,
    ),
)  # fmt: skip
