"""Writes the pages that are made from the code: settings, command line, prices, plans, the migrations' fingerprints.

`scripts/docs` calls it after one of these changed; `--check` writes nothing, names what is stale and
exits 1. A migration that a release has shipped is never edited: its line in the fingerprints never changes.
"""

import argparse
import sys
from collections.abc import Iterator
from dataclasses import fields, is_dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

from burnish.cli import _VERBS
from burnish.cli.terms import words
from burnish.credits.price import FRAME_RATES, ByMegapixels, BySecond, Flat, span
from burnish.credits.prices import load_prices
from burnish.keys.plan import load_plans
from burnish.settings import Settings
from burnish.storage.migrate import migrations

ROOT = Path(__file__).parents[1]

SETTINGS = """\
# Settings

<!-- Made from src/burnish/settings.py by scripts/docs. -->

Read once at start. Later sources win over earlier ones:

1. the defaults below;
2. `burnish.toml`: the file that `BURNISH_CONFIG` names, else the one in the working directory, else the one in the
   data directory;
3. the environment: `http.port` is `BURNISH_HTTP_PORT`, lists are separated by commas;
4. options of the command line, where a verb has one.

A name that Burnish does not know, or a value of the wrong kind, stops the start and is named.

```toml
# burnish.toml
blobs_url = "file:///srv/media"

[http]
port = 8080
public_url = "https://media.example.com"
```
"""


def settings_page() -> str:
    """Every setting, by section, with its default and its meaning."""
    sections = {"": [item for item in fields(Settings) if not is_dataclass(item.type)]}
    sections |= {item.name: list(fields(item.type)) for item in fields(Settings) if is_dataclass(item.type)}
    page = [SETTINGS]
    for section, items in sections.items():
        page += [f"## {section or 'At the top'}\n", "| setting | default | meaning |", "| --- | --- | --- |"]
        prefix = f"{section}." if section else ""
        page += [f"| `{prefix}{item.name}` | {_shown(item)} | {item.metadata['meaning']} |" for item in items]
        page.append("")
    return "\n".join(page)


def _shown(item: Any) -> str:
    if item.name == "data":
        return "`/var/lib/burnish` for root, else `burnish` in the user's data folder (`$XDG_DATA_HOME`)"
    if item.default in ("", ()):
        return ""
    if isinstance(item.default, bool):
        return f"`{str(item.default).lower()}`"
    return (
        f"`{item.default:_}`"
        if isinstance(item.default, int) and item.default >= 10_000
        else f"`{item.default}`"
    )


COMMAND_LINE = """\
# Command line

<!-- Made from src/burnish/cli/ by scripts/docs. -->

`burnish VERB --help` tells the same. Options win over the environment and `burnish.toml`, see [settings](settings.md).

Facts go to standard output, the log to standard error. `--json` prints the facts as JSON, for scripts.

| exit code | meaning |
| --- | --- |
| 0 | done |
| 1 | something failed: a file, a check |
| 2 | wrong use: an option that does not exist, or a value of the wrong kind |
| 3 | the service or the machine does not let it; standard error says what to do |
| 130 | interrupted |
"""


def command_line_page() -> str:
    """Every verb, with what it takes."""
    page = [COMMAND_LINE]
    for verb, (meaning, module) in _VERBS.items():
        parser = argparse.ArgumentParser(prog=f"burnish {verb}", description=meaning)
        import_module(module).add_arguments(parser)
        page += _verb(parser, meaning)
    return "\n".join(page)


def _verb(parser: argparse.ArgumentParser, meaning: str) -> Iterator[str]:
    verbs = [action for action in parser._actions if isinstance(action, argparse._SubParsersAction)]
    if verbs:
        for choice in verbs[0]._choices_actions:
            yield from _verb(verbs[0].choices[choice.dest], choice.help or "")
        return
    yield f"## {parser.prog}\n"
    yield f"{meaning[0].upper()}{meaning[1:]}.\n"
    yield "| option | meaning |\n| --- | --- |"
    for action in parser._actions:
        if action.help is not argparse.SUPPRESS and not isinstance(action, argparse._HelpAction):
            words = action.help % {**vars(action), "prog": parser.prog} if action.help else ""
            yield "| {} | {} |".format(_written(action).replace("|", r"\|"), words[:1].upper() + words[1:])
    yield f"\n{parser.epilog}\n" if parser.epilog else ""


def _written(action: argparse.Action) -> str:
    value = action.metavar or ("|".join(map(str, action.choices)) if action.choices else action.dest.upper())
    if not action.option_strings:
        return f"`{value if isinstance(value, str) else value[0]}`"
    return ", ".join(
        f"`{option}`" if action.nargs == 0 else f"`{option} {value}`" for option in action.option_strings
    )


PRICES = """\
# Prices

<!-- Made from src/burnish/credits/prices.toml by scripts/docs. -->

The table that Burnish is shipped with, edition {version}, in whole credits. [Set prices](../howto/set-prices.md) tells how to
have others; `GET /v1/models` tells those that apply. A model names its rule: see [models](models.md).

What is paid for is what is made, not what was sent:

- A megapixel is 1,000,000 pixels. A tier begins with the figure that it is named for: exactly 8 megapixels are "8 to 12".
  Only at the last figure it is the other way round: exactly 216 (or 34) megapixels still belong to the tier that ends there.
- Every second that was begun counts, at least one. Lengths are taken to the millisecond.
- A video is of the smallest resolution that has room for its pixels, whichever way it is turned: HD up to 1280 x 720, FHD up
  to 1920 x 1080, 2K up to 2560 x 1440, 4K up to 3840 x 2160, 8K above.
- 30 and 60 frames a second belong to the column that they end; 120 is a column of its own, and nothing is faster. Rates are
  taken to the hundredth.

What has no price is not made: the task fails with `output_too_large`, which costs nothing.

HitPaw's own table is followed to the credit. It says "80 credits, $0.05" for the first tier of `photo-generative-enhance`;
at its $0.001 a credit that is 50, and 80 would be more than the next tier costs, so 50 is taken.
"""


def prices_page() -> str:
    """Every rule of the shipped table: flat ones, then images by tier, then video by the second."""
    prices = load_prices()
    page = [PRICES.format(version=prices.version)]
    page += ["## By the task\n", "| rule | credits |", "| --- | --- |"]
    page += [
        f"| `{name}` | {rule.credits} |" for name, rule in prices.rules.items() if isinstance(rule, Flat)
    ]
    page.append("\n## By the image\n")
    for name, rule in prices.rules.items():
        if isinstance(rule, ByMegapixels):
            page += [f"| `{name}` | credits |", "| --- | --- |"]
            page += [f"| {span(rule.tiers, tier)} | {tier.credits} |" for tier in rule.tiers]
            page.append("")
    page.append("## By the second of video\n")
    for name, rule in prices.rules.items():
        if isinstance(rule, BySecond):
            page += [f"| `{name}`, frames a second | {' | '.join(FRAME_RATES)} |", "| --- " * 5 + "|"]
            page += [f"| {size} | {' | '.join(map(str, row))} |" for size, row in rule.table.rows().items()]
            page.append("")
    return "\n".join(page)


PLANS = """\
# Plans

<!-- Made from src/burnish/keys/plans.toml by scripts/docs. -->

The plans that Burnish is shipped with. [Set plans](../howto/set-plans.md) tells how to have others, and how an account may differ
from its plan; `burnish plans show NAME` tells those that apply. What is not listed is not limited. An account that names no plan is
under `trial`; the account `default`, which whoever runs the service has, is under `owner`. Under every plan, test keys cost nothing
and may make 1,000 tasks a day.
"""


def plans_page() -> str:
    """Every shipped plan, each limit by its name and in words."""
    plans = load_plans()
    page = [PLANS]
    for name in plans.names():
        page += [f"## {name}\n", "| limit | meaning |", "| --- | --- |"]
        page += [f"| `{place}` | {meaning} |" for place, meaning in words(plans.terms(name))]
        page.append("")
    return "\n".join(page)


def fingerprints() -> str:
    """What `sha256sum` prints for the migrations, in their order."""
    return "".join(f"{m.checksum}  {m.number:04}_{m.name}.sql\n" for m in migrations())


PAGES = {
    "docs/reference/settings.md": settings_page,
    "docs/reference/cli.md": command_line_page,
    "docs/reference/plans.md": plans_page,
    "docs/reference/prices.md": prices_page,
    "src/burnish/storage/migrations/SHA256SUMS": fingerprints,
}


def main() -> int:
    """Write the stale pages, or only name them."""
    stale = [
        name
        for name, page in PAGES.items()
        if not (ROOT / name).is_file() or (ROOT / name).read_text("utf-8") != page()
    ]
    for name in stale:
        if "--check" not in sys.argv:
            (ROOT / name).write_text(PAGES[name](), "utf-8")
        print(f"{'stale' if '--check' in sys.argv else 'written'}: {name}")
    return 1 if stale and "--check" in sys.argv else 0


if __name__ == "__main__":
    sys.exit(main())
