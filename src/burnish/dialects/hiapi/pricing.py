"""The list of prices in HiAPI's shape, made of the rules that the models are priced by; what is not served here is not in it.

A client takes the most specific policy that fits its input, times the factors; without one, the base.
"""

from collections.abc import Iterator
from typing import Final

from msgspec import Struct

from burnish.credits.price import FRAME_RATES, ByMegapixels, BySecond, Flat, Rule, span
from burnish.credits.prices import Prices
from burnish.dialects.hiapi.models import Table
from burnish.engines import catalogue

#: A resolution of the house -> what inputs call it.
_RESOLUTIONS: Final = {
    "HD": ("HD", "480p", "720p"),
    "FHD": ("FHD", "1080p"),
    "2K": ("2K", "1440p"),
    "4K": ("4K", "2160p"),
    "8K": ("8K", "4320p"),
}
_DECIMALS: Final = 6


class Match(Struct, frozen=True):
    match: str | tuple[str, ...]


class Policy(Struct, frozen=True, kw_only=True):
    """`rule`: by field of the input, what it must be."""

    rule: dict[str, Match]
    usd_value: float


class ModelPrice(Struct, frozen=True, kw_only=True):
    """`factors`: the fields that the price is multiplied by."""

    model_name: str
    factors: list[str]
    policies: list[Policy]
    base_usd_value: float


class PriceList(Struct, frozen=True, kw_only=True):
    data: list[ModelPrice]


def price_list(table: Table, prices: Prices) -> PriceList:
    """Of the service's own models, and of the vendor's that something here serves, by each of their routes."""
    return PriceList(
        data=[
            _price(name, prices.get_rule(model.price), table.usd_per_credit) for name, model in _served(table)
        ]
    )


def _served(table: Table) -> Iterator[tuple[str, catalogue.Model]]:
    for model in catalogue.models():
        yield model.name, model
    for name, entry in table.models.items():
        routes = {name: entry.model or name} | {f"{name}@{route}": by for route, by in entry.routes.items()}
        for full, served_by in routes.items():
            if (found := catalogue.find_model(served_by)) is not None:
                yield full, found


def _price(name: str, rule: Rule, usd: float) -> ModelPrice:
    policies = [
        Policy(rule={field: Match(words) for field, words in fits.items()}, usd_value=_dollars(credits_, usd))
        for fits, credits_ in _policies(rule)
    ]
    base = rule.credits * usd if isinstance(rule, Flat) else min(policy.usd_value for policy in policies)
    return ModelPrice(
        model_name=name,
        factors=["duration"] if isinstance(rule, BySecond) else [],
        policies=policies,
        base_usd_value=round(base, _DECIMALS),
    )


def _policies(rule: Rule) -> Iterator[tuple[dict[str, str | tuple[str, ...]], int]]:
    """What the input must be, and the credits that it costs then: of an image, or of a second."""
    match rule:
        case Flat():
            return
        case ByMegapixels(tiers=tiers):
            for tier in tiers:
                yield {"megapixels": span(tiers, tier)}, tier.credits
        case BySecond(table=table):
            for resolution, row in table.rows().items():
                # Who asks for no frame rate gets that of the source, which is seldom above 30.
                yield {"resolution": _RESOLUTIONS[resolution]}, row[0]
                for band, credits_ in zip(FRAME_RATES[1:], row[1:], strict=True):
                    yield {"resolution": _RESOLUTIONS[resolution], "frame_rate": band}, credits_


def _dollars(credits_: int, usd: float) -> float:
    return round(credits_ * usd, _DECIMALS)
