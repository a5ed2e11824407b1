"""Accounts, plans, credits and keys on the command line, as an operator types them."""

import json
import re
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from burnish.keys.key import well_formed
from burnish.storage.postgres import Database
from cli.typed import burnish

Typed = Callable[..., str]


@pytest.fixture
def typed(environ: dict[str, str]) -> Typed:
    """A command that must succeed; what it says."""

    def type_(*arguments: str) -> str:
        ended = burnish(environ, *arguments)
        assert ended.returncode == 0, ended.stderr
        return ended.stdout

    return type_


@pytest.fixture
def facts(typed: Typed) -> Callable[..., Any]:
    """The same, in JSON."""
    return lambda *arguments: json.loads(typed(*arguments, "--json"))


@pytest.fixture
def refused(environ: dict[str, str]) -> Callable[..., tuple[int, str]]:
    """A command that must not succeed: its code, and the last line of what it says."""

    def type_(*arguments: str) -> tuple[int, str]:
        ended = burnish(environ, *arguments)
        assert ended.returncode != 0
        assert "Traceback" not in ended.stderr
        return ended.returncode, ended.stderr.splitlines()[-1]

    return type_


def test_an_account_credits_and_a_key_in_three_commands(typed: Typed) -> None:
    """Each says what it did; the first says which come next."""
    made = typed("accounts", "create", "studio", "--plan", "standard")
    assert made.startswith("The account studio is made, under the plan standard.\n")
    assert re.findall(r"burnish .*", made) == [
        "burnish credits grant studio 1000",
        "burnish keys create --account studio",
    ]
    assert "studio has 1,000 credits more: 1,000 are available." in typed(
        "credits", "grant", "studio", "1000"
    )
    secret, _, told = typed("keys", "create", "--account", "studio").splitlines()
    assert well_formed(secret)
    assert re.fullmatch(r"This is key_\w{26} of account studio. It is not shown again.", told)


def test_an_account_is_shown_whole(typed: Typed, facts: Callable[..., Any]) -> None:
    """Plan, limits in words, what is its own, credits, tasks, keys; and the same as JSON."""
    typed("accounts", "create", "studio")
    typed("credits", "grant", "studio", "12_500", "--paid")
    typed("keys", "create", "--account", "studio", "--name", "shop", "--credit-cap", "500")
    own = ("--override", "at_once.account.limit=9", "--override", "windows.day=none")
    assert "trial, but: at_once.account.limit=9, windows.day=none." in typed(
        "accounts", "set", "studio", *own
    )
    shown = typed("accounts", "show", "studio")
    for part in (
        "studio, under the plan trial",
        "12,500 available, 0 held, 0 charged, 0 expired; 12,500 granted",
        "0 with a slot",
        "at_once.account    9 tasks under way; more are refused (429)",
        "Its own, in place of the plan's: at_once.account.limit=9, windows.day=none",
        "0 of 500",
    ):
        assert part in shown
    assert "windows.day " not in shown
    told = facts("accounts", "show", "studio")
    assert told["overrides"] == {"at_once": {"account": {"limit": 9}}, "windows": {"day": None}}
    assert (told["limits"]["at_once"]["account"]["limit"], told["limits"]["windows"]["day"]) == (9, None)
    assert told["credits"] == {"granted": 12500, "available": 12500, "held": 0, "charged": 0, "expired": 0}
    assert [key["name"] for key in told["keys"]] == ["shop"]
    assert re.search(r"studio +trial \* +12,500", typed("accounts", "list"))
    cleared = facts("accounts", "set", "studio", "--clear-overrides", "--plan", "essential")
    assert (cleared["plan"], cleared["overrides"]) == ("essential", {})


def test_credits_are_granted_once_for_an_idempotency_key(typed: Typed, facts: Callable[..., Any]) -> None:
    """Again, it says so and adds nothing; without a key every call adds."""
    typed("accounts", "create", "studio")
    once = ("credits", "grant", "studio", "100", "--idempotency-key", "order 1", "--expires-in", "30")
    assert facts(*once)["replayed"] is False
    assert "nothing was added. 100 are available." in typed(*once)
    for _ in range(2):
        typed("credits", "grant", "studio", "7", "--note", "sorry")
    standing = facts("credits", "show", "studio")
    assert (standing["granted"], standing["available"]) == (114, 114)
    assert [(one["granted"], one["note"]) for one in standing["grants"]] == [
        (100, ""),
        (7, "sorry"),
        (7, "sorry"),
    ]
    entries = facts("credits", "entries", "studio", "--limit", "2")
    assert [(one["kind"], one["available"]) for one in entries] == [("grant", 7), ("grant", 7)]
    assert [line.split()[2:5] for line in typed("credits", "entries", "studio").splitlines()[1:]] == [
        ["grant", "+7", "+7"],
        ["grant", "+7", "+7"],
        ["grant", "+100", "+100"],
    ]


def test_a_key_is_rotated_and_capped(typed: Typed, facts: Callable[..., Any]) -> None:
    """The secret of the new one is shown once; the old one says when it ends."""
    made = facts("keys", "create", "--allow", "10.0.0.0/8", "192.0.2.1", "--allow", "::1", "--env", "dev")
    assert made["allowlist"] == ["10.0.0.0/8", "192.0.2.1/32", "::1/128"]
    assert "may spend 500 in all. It has spent 0." in typed("keys", "cap", made["id"], "500")
    secret, _, told = typed("keys", "rotate", made["id"], "--grace", "0").splitlines()
    assert well_formed(secret)
    assert f"in the place of {made['id']}, which is revoked." in told
    old, new = facts("keys", "list", "--account", "default")
    assert old["revoked_at"] is not None
    assert (new["rotates"], new["credit_cap"], new["allowlist"]) == (old["id"], 500, made["allowlist"])
    assert "what its account has" in typed("keys", "cap", new["id"], "none")


def test_plans_are_told_in_words(typed: Typed, facts: Callable[..., Any]) -> None:
    """Every plan in a line, and each limit of one in a sentence; no database is needed."""
    listed = typed("plans", "list")
    assert re.search(r"standard +50 tasks under way +5,000 tasks a day \(UTC\) +tasks cost credits", listed)
    assert "retention_seconds  media is kept for 7 days" in typed("plans", "show", "trial")
    assert facts("plans", "show", "trial")["at_once"]["account"]["limit"] == 5


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        ("accounts create a/b", 3, "begins with a letter or digit. (name)"),
        ("accounts create b --plan gold", 3, "There is no plan 'gold'"),
        ("accounts show nobody", 3, "There is no account 'nobody'."),
        ("accounts set default", 2, "say what to set"),
        ("accounts set default --override x", 2, "is not LIMIT=VALUE"),
        ("accounts set default --override =1", 2, "is not LIMIT=VALUE"),
        (
            "accounts set default --override windows.dya=none",
            3,
            "it has day, same_name. (overrides.windows.dya)",
        ),
        ("accounts set default --override weight=heavy", 3, "(overrides.weight)"),
        ("plans show gold", 3, "there are owner, trial"),
        ("credits grant nobody 1", 3, "There is no account 'nobody'."),
        ("credits grant default 1.5", 2, "is not a whole number"),
        ("credits grant default 0", 2, "is not a whole number from 1 to 1,000,000,000,000"),
        ("credits grant default -5", 2, "is not a whole number from 1 to 1,000,000,000,000"),
        ("credits grant default 1000000000001", 2, "is not a whole number from 1 to 1,000,000,000,000"),
        ("credits grant default 1 --expires-in 0", 2, "days from 1 to 36,500"),
        ("keys create --credit-cap=-1", 2, "is not a whole number from 0 to 1,000,000,000,000"),
        ("accounts set default --override weight=-1", 3, "Expected `int` >= 1. (overrides.weight)"),
        ("accounts set default --override weight=1.5", 3, "Expected `int`, got `float`. (overrides.weight)"),
        ("accounts set default --override at_once.key={}", 3, "(overrides.at_once.key)"),
        ("keys create --account nobody", 3, "Make it first: burnish accounts create"),
        ("keys create --allow example.com", 3, "(allowlist.0)"),
        ("keys cap key_1 5", 2, "is not a key's id"),
    ],
)
def test_what_cannot_be_is_refused(
    arguments: str, code: int, said: str, typed: Typed, refused: Callable[..., tuple[int, str]]
) -> None:
    """2 for a value of the wrong kind, 3 for what the service does not let; with the place."""
    typed("keys", "create")
    ended, told = refused(*arguments.split(" "))
    assert (ended, said in told) == (code, True), told


async def test_an_expired_grant_is_shown_as_gone_before_the_sweep(typed: Typed, db: Database) -> None:
    """What may be spent is what has not expired."""
    typed("accounts", "create", "studio")
    typed("credits", "grant", "studio", "100", "--expires-in", "1")
    async with db.transaction() as tx:
        await tx.execute("UPDATE grants SET expires_at = $1", db.clock.now() - timedelta(seconds=1))
    assert "There is nothing to spend." in typed("credits", "show", "studio")
    assert "0 available, 0 held, 0 charged, 100 expired; 100 granted" in typed("accounts", "show", "studio")
