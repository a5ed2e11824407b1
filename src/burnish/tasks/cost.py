"""What a task costs, once the size of what it makes is known. Pure; the rules are in `credits/price.py`."""

from functools import lru_cache
from typing import Final, NamedTuple

import msgspec

from burnish.credits.price import Measure, measured, price
from burnish.credits.prices import Prices
from burnish.engines import catalogue
from burnish.tasks.task import Price

_ENCODE: Final = msgspec.json.Encoder().encode


class Cost(NamedTuple):
    """`price`: how it came about, as the task's row keeps it."""

    credits: int
    price: bytes


def cost_of(
    prices: Prices,
    model: catalogue.Model,
    parameters: msgspec.Struct,
    width: int | None,
    height: int | None,
    seconds: float | None = None,
    frame_rate: float | None = None,
) -> Cost | None:
    """Of a source with these measures. None while too little is known. Raises Failed where the size has no price."""
    measure = catalogue.output_measure(model, parameters, width, height, seconds, frame_rate)
    return _cost(prices, model.price, measure)


@lru_cache(maxsize=4096)
def _cost(prices: Prices, rule_name: str, measure: Measure) -> Cost | None:
    rule = prices.get_rule(rule_name)
    if not measured(rule, measure):
        return None
    priced = price(rule, measure)
    return Cost(priced.credits, _ENCODE(Price(priced.unit, priced.quantity, prices.version)))
