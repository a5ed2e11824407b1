"""The file of prices: the operator's own, and what is said where it means nothing."""

from pathlib import Path

import pytest

from burnish.credits.price import BySecond, Measure, bounds, price
from burnish.credits.prices import load_prices, parse
from burnish.errors import Unusable
from burnish.resources import open_resources
from burnish.settings import Settings


def test_an_operators_file_stands_in_for_the_shipped_one(tmp_path: Path) -> None:
    """Its version, its rules, and no others; half megapixels and free things are prices too."""
    file = tmp_path / "prices.toml"
    file.write_text(
        "version = 7\n"
        "[rules]\n"
        "own = {unit = 'image', tiers = [{up_to = 0.5, credits = 0}, {credits = 3}]}\n"
        "film = {unit = 'second', table = {HD = [0, 0, 0, 0]}}\n"
    )
    prices = load_prices(str(file), ["own"])
    assert (prices.version, set(prices.rules)) == (7, {"own", "film"})
    own, film = prices.get_rule("own"), prices.get_rule("film")
    assert [price(own, Measure(width=n, height=1)).credits for n in (500_000, 500_001)] == [0, 3]
    assert isinstance(film, BySecond)
    assert (bounds(own), bounds(film)) == ((0, 3), (0, 0))


def test_a_rule_that_a_model_needs_must_be_there(tmp_path: Path) -> None:
    """A table that prices no model of that name stops the start, and the rule is named."""
    file = tmp_path / "prices.toml"
    file.write_text("version = 1\n[rules]\n")
    with pytest.raises(Unusable, match=r"prices\.toml lack the rules noop, photo-standard"):
        load_prices(str(file), ["photo-standard", "noop"])


@pytest.mark.parametrize("content", [None, b"\xff\xfe"])
def test_a_file_that_cannot_be_read_is_named(tmp_path: Path, content: bytes | None) -> None:
    """Whoever set it learns which file it was."""
    file = tmp_path / "prices.toml"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(Unusable, match=r"prices\.toml cannot be read"):
        load_prices(str(file))


async def test_nothing_is_opened_with_prices_that_mean_nothing(tmp_path: Path) -> None:
    """The start stops before a directory or a database is touched; the models' rules are asked for."""
    file, data = tmp_path / "prices.toml", tmp_path / "data"
    file.write_text("version = 1\n[rules.noop]\nunit = 'task'\ncredits = 1\n")
    with pytest.raises(Unusable, match="lack the rules grouping, "):
        async with open_resources(Settings(data=data, prices=str(file))):
            pass
    assert not data.exists()


def rule(text: str) -> str:
    return f"version = 1\n[rules]\na = {text}\n"


@pytest.mark.parametrize(
    ("text", "place", "words"),
    [
        ("version =", "", "Invalid value"),
        ("version = 1", "", "`rules`"),
        ("version = 0\n[rules]", "at version", ">= 1"),
        ("version = 1\nrule = 1\n[rules]", "", "unknown field `rule`"),
        ("version = 1\nrules.a = 5", "at rules.a", "Expected `object`"),
        (rule("{unit = 'week', credits = 1}"), "at rules.a.unit", "week"),
        (rule("{credits = 1}"), "at rules.a", "`unit`"),
        (rule("{unit = 'task', credits = 1.5}"), "at rules.a.credits", "Expected `int`"),
        (rule("{unit = 'task', credits = -1}"), "at rules.a.credits", ">= 0"),
        (rule("{unit = 'task', credits = 1, tiers = []}"), "at rules.a", "`tiers`"),
        (rule("{unit = 'image', tiers = []}"), "at rules.a.tiers", "length >= 1"),
        (rule("{unit = 'image', tiers = [{credits = '9'}]}"), "at rules.a.tiers[0].credits", "got `str`"),
        (rule("{unit = 'image', tiers = [{below = 0, credits = 1}]}"), "at rules.a.tiers[0].below", ">= 1"),
        (rule("{unit = 'image', tiers = [{below = nan, credits = 1}]}"), "at rules.a.tiers[0].below", "> 0"),
        (
            rule("{unit = 'image', tiers = [{below = 8, up_to = 9, credits = 1}]}"),
            "at rules.a.tiers[0]",
            "exclude each other",
        ),
        (
            rule("{unit = 'image', tiers = [{below = 8, credits = 1}, {up_to = 8, credits = 2}]}"),
            "at rules.a",
            "must end above the one before",
        ),
        (
            rule("{unit = 'image', tiers = [{credits = 1}, {below = 8, credits = 2}]}"),
            "at rules.a",
            "only the last",
        ),
        (rule("{unit = 'second', table = {HD = [1, 2, 3]}}"), "at rules.a.table.HD", "length 4"),
        (
            rule("{unit = 'second', table = {HD = [1, 2, 3, 'x']}}"),
            "at rules.a.table.HD[3]",
            "Expected `int`",
        ),
        (rule("{unit = 'second', table = {SD = [1, 2, 3, 4]}}"), "at rules.a.table", "`SD`"),
        (
            rule("{unit = 'second', table = {HD = [1, 2, 3, 4], 4K = [1, 2, 3, 4]}}"),
            "at rules.a.table",
            "left out below",
        ),
    ],
)
def test_what_means_nothing_is_named_with_its_place(text: str, place: str, words: str) -> None:
    """The start stops, and the message leads to the line."""
    with pytest.raises(Unusable) as unusable:
        parse(text, "prices.toml")
    message = str(unusable.value)
    assert message.startswith(f"The prices in prices.toml mean nothing {place}".rstrip() + ":")
    assert words in message
