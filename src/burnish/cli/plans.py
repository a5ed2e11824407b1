"""`burnish plans list|show`."""

import argparse

import msgspec

from burnish.cli import add_common, add_verb
from burnish.cli.database import say, settings_of, table
from burnish.cli.terms import words
from burnish.engines import catalogue
from burnish.keys.plan import load_plans


def add_arguments(parser: argparse.ArgumentParser) -> None:
    verbs = parser.add_subparsers(dest="plans_verb", metavar="list|show", required=True)
    add_verb(verbs, "list", "show the plans that there are")
    add_verb(verbs, "show", "show what a plan allows").add_argument(
        "name", metavar="NAME", help="as `plans list` shows it"
    )
    for verb in verbs.choices.values():
        add_common(verb)


def run(options: argparse.Namespace) -> int:
    plans = load_plans(settings_of(options).plans, catalogue.names())
    if options.plans_verb == "list":
        found = {name: plans.terms(name) for name in plans.names()}
        rows = []
        for name, plan in found.items():
            told = dict(words(plan))
            rows.append(
                (name, told.get("at_once.account", "any number of tasks under way").partition(";")[0],
                 told.get("windows.day", "any number a day").partition(";")[0], told["metered"])
            )  # fmt: skip
        say(options, msgspec.to_builtins(found), table(("PLAN", "AT ONCE", "A DAY", "CREDITS"), rows))
        return 0
    plans.must_have(options.name)
    plan = plans.terms(options.name)
    say(
        options,
        msgspec.to_builtins(plan),
        f"{options.name}\n\n{table(('LIMIT', 'MEANS'), list(words(plan)))}",
    )
    return 0
