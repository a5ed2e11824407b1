"""What a task would cost and what would happen to it, without its happening: the same checks, price and decision.

Of bytes that have not been seen a quote gives the lowest and the highest price, unless their size is declared.
"""

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from burnish.credits.price import Line, bounds, price
from burnish.credits.prices import Prices
from burnish.engines import catalogue
from burnish.errors import Failed, Invalid
from burnish.keys.plan import Plans
from burnish.limits.standing import Standing
from burnish.storage.postgres import LOST, Database, away
from burnish.tasks.accounts import look_at
from burnish.tasks.cost import Measures, cost_of, measures_of
from burnish.tasks.decide import Ask, Verdict, decide
from burnish.tasks.sizes import size_refusal
from burnish.tasks.sources import given_of, next_unseen
from burnish.tasks.standing import standings
from burnish.tasks.submit import Submission, source_refusal
from burnish.tasks.task import LANES, key_digits
from burnish.uploads import store as blobs


@dataclass(frozen=True, slots=True)
class Quote:
    """`lowest` and `highest` are the same where the price is known; `highest` is None where there is none. All are 0
    for an account that is not metered. `refusal`: why it would not be admitted, or be stored as failed.
    """

    lowest: int
    highest: int | None
    unit: str
    quantity: int | None
    version: int
    breakdown: tuple[Line, ...]
    verdict: Verdict
    standings: tuple[Standing, ...]


async def quote(
    db: Database,
    submission: Submission,
    declared: Measures,
    plans: Plans,
    prices: Prices,
    now: datetime,
) -> Quote:
    """`declared`: what the first source is said to measure, where not all of them have been seen.

    Raises:
        Expired, Invalid: what submitting would raise for its input.
        Unavailable: the database does not answer.
    """
    key = key_digits(submission.key_id)
    try:
        async with db.reading() as connection:
            state = await look_at(connection, submission.account_id, plans, now, key=key)
            wanted = [source for source in submission.sources if isinstance(source, UUID)]
            found = await blobs.read_blobs(connection, wanted) if wanted else {}
    except (*LOST, TimeoutError) as error:
        raise away(error) from error
    given = given_of(submission.sources, found)
    if (refusal := source_refusal(submission, given, state.plan, now)) is not None:
        raise refusal
    known = given[0].blob if given and next_unseen(given) is None else None
    measures = measures_of(known) if known else declared
    width, height = measures.width, measures.height
    rule = prices.get_rule(submission.model.price)
    try:
        cost = cost_of(prices, submission.model, submission.parameters, *measures)
    except Failed as failed:
        raise Invalid(failed.message, param="input", code=failed.reason) from failed
    if (
        width
        and height
        and (refused := size_refusal(submission.model, submission.parameters, state.plan, width, height))
    ):
        raise Invalid(refused[1], param="input", code=refused[0])
    lowest, highest = (cost.credits, cost.credits) if cost else bounds(rule)
    ask = Ask(
        task_id=submission.id,
        lane=LANES[submission.model.lane],
        model=submission.model.name,
        key=key,
        cost=cost.credits if cost else None,
        lowest=lowest,
        on_limit=submission.on_limit,
        max_credits=submission.max_credits,
        credit_cap=submission.credit_cap,
    )
    verdict = decide(state, ask, now)
    told = standings(state, ask.lane, ask.model, key, now)
    measure = catalogue.output_measure(submission.model, submission.parameters, *measures)
    priced = price(rule, measure) if cost else None
    return Quote(
        lowest=lowest if state.plan.metered else 0,
        highest=highest if state.plan.metered else 0,
        unit=str(rule.__struct_config__.tag),
        quantity=priced.quantity if priced else None,
        version=prices.version,
        breakdown=priced.breakdown if priced else (),
        verdict=verdict,
        standings=told,
    )


def outcome(verdict: Verdict) -> str:
    """In a word: accepted, queued (without a slot for now), error_state or refused."""
    if verdict.refusal is not None:
        return "refused" if verdict.status is None else "error_state"
    return "queued" if verdict.parked else "accepted"
