"""What a task costs, once the size of what it makes is known. Pure; the rules are in `credits/price.py`."""

from functools import lru_cache
from typing import Final, NamedTuple

import msgspec

from burnish.credits.price import Measure, measured, price
from burnish.credits.prices import Prices
from burnish.engines import catalogue
from burnish.tasks.sources import Header
from burnish.tasks.task import Price

_ENCODE: Final = msgspec.json.Encoder().encode


class Measures(NamedTuple):
    """What a source measures, as far as it is known: pixels, and of a film its length and its frames a second."""

    width: int | None = None
    height: int | None = None
    seconds: float | None = None
    frame_rate: float | None = None


def measures_of(header: Header | None) -> Measures:
    """What is known of a source; nothing of one that nobody has seen."""
    if header is None:
        return Measures()
    return Measures(header.width, header.height, header.seconds, header.frame_rate)


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
