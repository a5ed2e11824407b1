"""`burnish accounts create|list|show|set`."""

import argparse
import asyncio
import re
import sys
import tomllib
from collections.abc import Iterator
from typing import Any, Final

import msgspec

from burnish.cli import add_common, add_verb, own
from burnish.cli.database import command, open_database_for, say, settings_of, table
from burnish.cli.keys import HEADS, facts_of_key, row_of_key
from burnish.cli.terms import words
from burnish.credits.find import FIVE, get_credits
from burnish.engines import catalogue
from burnish.keys.account import Account
from burnish.keys.issue import list_keys
from burnish.keys.open import get_account, list_accounts, open_account, set_terms
from burnish.keys.plan import Plans, load_plans
from burnish.keys.store import read_spent
from burnish.tasks.queue import Queue
from burnish.tasks.store import read_account

_ROWS: Final = 1_000
_NUMBER: Final = re.compile(r"-?[0-9]{1,18}(\.[0-9]{1,18})?")
_WORDS: Final[dict[str, Any]] = {"none": None, "true": True, "false": False}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    verbs = parser.add_subparsers(dest="accounts_verb", metavar="create|list|show|set", required=True)
    create = add_verb(verbs, "create", "make an account")
    create.add_argument("name", metavar="NAME", help="1 to 64 letters, digits, spaces and . _ @ -")
    create.add_argument(
        "--plan", metavar="PLAN", help="what it may do, as `plans list` shows it (default: trial)"
    )
    add_verb(verbs, "list", "show the accounts, with their credits")
    show = add_verb(verbs, "show", "show an account: its limits, credits, tasks under way and keys")
    set_ = add_verb(verbs, "set", "change what an account may do, at once")
    for verb in (show, set_):
        verb.add_argument("name", metavar="NAME", help="as `accounts list` shows it")
    set_.add_argument("--plan", metavar="PLAN", help="put it under another plan; its own limits stay")
    set_.add_argument(
        "--override", type=_override, metavar="LIMIT=VALUE", action="append", default=[],
        help="a limit of its own, as at_once.account.limit=9; windows.day=none takes the plan's away; may be repeated",
    )  # fmt: skip
    set_.add_argument("--clear-overrides", action="store_true", help="drop its own limits first")
    own.add_arguments(set_)
    for verb in verbs.choices.values():
        add_common(verb)


def _override(text: str) -> dict[str, Any]:
    """`at_once.account.limit=9` -> `{"at_once": {"account": {"limit": 9}}}`; names are written as in the file of plans."""
    path, _, value = text.partition("=")
    try:
        found = tomllib.loads(f"{path} = true")
    except tomllib.TOMLDecodeError:
        found = {}
    if not path.strip() or not value or len(found) != 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not LIMIT=VALUE, such as at_once.account.limit=9")
    inner, leaf = found, next(iter(found))
    while isinstance(inner[leaf], dict):
        inner = inner[leaf]
        leaf = next(iter(inner))
    inner[leaf] = _value(value)
    return found


def _value(text: str) -> Any:
    """A number where it is one, whether or not it fits: what does not is answered with the range."""
    number = text.replace("_", "")
    if _NUMBER.fullmatch(number):
        return float(number) if "." in number else int(number)
    return _WORDS.get(text, text)


def run(options: argparse.Namespace) -> int:
    plans = load_plans(settings_of(options).plans, catalogue.names())
    verb = {"create": _create, "list": _list, "show": _show, "set": _set}[options.accounts_verb]
    return asyncio.run(verb(options, plans))


async def _create(options: argparse.Namespace, plans: Plans) -> int:
    async with open_database_for(options, make=True) as db:
        account = await open_account(db, plans, options.name, plan=options.plan, now=db.clock.now())
    granted = command(options, "credits", "grant", account.name, "1000")
    key = command(options, "keys", "create", "--account", account.name)
    next_ = f"Give it a key:   {key}"
    if plans.terms(account.plan).metered:
        next_ = f"Give it credits: {granted}\n{next_}"
    say(
        options,
        _facts(account),
        f"The account {account.name} is made, under the plan {account.plan}.\n\n{next_}",
    )
    return 0


async def _list(options: argparse.Namespace, _plans: Plans) -> int:
    found: list[Account] = []
    async with open_database_for(options) as db:
        while page := await list_accounts(db, after=found[-1].name if found else None, rows=_ROWS):
            found += page
    rows = [
        (one.name, one.plan + (" *" if one.overrides != "{}" else ""), one.available, one.held, one.charged,
         f"{one.created_at:%Y-%m-%d}")
        for one in found
    ]  # fmt: skip
    text = table(("ACCOUNT", "PLAN", "AVAILABLE", "HELD", "CHARGED", "MADE"), rows)
    if any(one.overrides != "{}" for one in found):
        text += "\n\n* with limits of its own: burnish accounts show"
    if not found:
        text = f"There are no accounts. Make one: {command(options, 'accounts', 'create', 'NAME')}"
    say(options, [_facts(one) for one in found], text)
    return 0


async def _show(options: argparse.Namespace, plans: Plans) -> int:
    async with open_database_for(options) as db:
        account = await get_account(db, options.name)
        keys = await list_keys(db, account.name)
        now = db.clock.now()
        standing = await get_credits(db, account.id, now)
        async with db.reading() as connection:
            (row,) = await read_account(connection, account.id)
            spent = await read_spent(connection, [key.id for key in keys])
    queue = Queue(row["queue"])
    slots, _ = queue.counts()
    waiting = sum(group.waiting for group in queue.groups.values())
    plan = plans.terms(account.plan, account.overrides)
    tasks = {
        "slots": slots["account"],
        "heavy_slots": slots["heavy"],
        "parked": queue.parked,
        "waiting": waiting,
    }
    facts = {
        **_facts(account),
        "credits": {name: getattr(standing, name) for name in FIVE},
        "limits": msgspec.to_builtins(plan),
        "tasks": tasks,
        "keys": [facts_of_key(key, spent) for key in keys],
    }
    own = list(_leaves(msgspec.json.decode(account.overrides)))
    made = f"made {account.created_at:%Y-%m-%d}"
    credits_ = [f"{getattr(standing, name):,} {name}" for name in FIVE[1:]]
    parts = [
        f"{account.name}, under the plan {account.plan}, {made}\n",
        f"credits  {', '.join(credits_)}; {standing.granted:,} granted",
        f"tasks    {_under_way(tasks)}\n",
        table(("LIMIT", "MEANS"), list(words(plan))) + "\n",
    ]
    if own:
        parts.append("Its own, in place of the plan's: " + ", ".join(own) + "\n")
    if keys:
        parts.append(table(HEADS, [row_of_key(key, spent, now) for key in keys]))
    else:
        parts.append(f"No keys. Make one: {command(options, 'keys', 'create', '--account', account.name)}")
    say(options, facts, "\n".join(parts))
    return 0


def _under_way(tasks: dict[str, int]) -> str:
    return (
        f"{tasks['slots']:,} with a slot, {tasks['heavy_slots']:,} of them heavy; {tasks['parked']:,} parked; "
        f"{tasks['waiting']:,} waiting for their bytes"
    )


async def _set(options: argparse.Namespace, plans: Plans) -> int:
    asked = own.read(options)
    if not (options.plan or options.override or options.clear_overrides or asked):
        print(
            "burnish: say what to set: --plan, --override, --clear-overrides, or what `accounts set --help` lists for a "
            "vendor's API",
            file=sys.stderr,
        )
        return 2
    async with open_database_for(options) as db:
        account = await set_terms(
            db, plans, options.name, plan=options.plan, overrides={} if options.clear_overrides else None,
            more=options.override,
        )  # fmt: skip
        said = await own.set_(settings_of(options), db, account, asked)
    limits = list(_leaves(msgspec.json.decode(account.overrides)))
    text = f"{account.name} is under the plan {account.plan}" + (
        f", but: {', '.join(limits)}." if limits else "."
    )
    say(options, _facts(account), "\n".join((text, *said)))
    return 0


def _leaves(overrides: Any, path: str = "") -> Iterator[str]:
    """`at_once.account.limit=9` for each, as `--override` takes it."""
    if isinstance(overrides, dict):
        for name, inner in overrides.items():
            yield from _leaves(inner, f"{path}.{name}".lstrip("."))
    else:
        words_ = {value: word for word, value in _WORDS.items()}
        shown = words_[overrides] if overrides is None or isinstance(overrides, bool) else overrides
        yield f"{path}={shown}"


def _facts(account: Account) -> dict[str, object]:
    return {
        "name": account.name,
        "plan": account.plan,
        "overrides": msgspec.json.decode(account.overrides),
        "credits": {name: getattr(account, name) for name in FIVE},
        "created_at": account.created_at,
    }
