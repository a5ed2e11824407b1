"""`burnish keys create|list|rotate|cap|revoke`."""

import argparse
import asyncio
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

from burnish.cli import add_common, add_verb, whole
from burnish.cli.database import Cell, command, open_database_for, say, table
from burnish.ids import from_wire, to_wire
from burnish.keys.account import DEFAULT
from burnish.keys.issue import (
    GRACE_SECONDS,
    LARGEST_CAP,
    LONGEST_GRACE,
    cap_key,
    issue_key,
    list_keys,
    revoke_key,
    rotate_key,
)
from burnish.keys.key import ENVIRONMENTS, SCOPES, Key
from burnish.keys.store import read_spent

_TEN_YEARS: Final = 10 * 365 * 86_400
_CAP: Final = whole(0, LARGEST_CAP)
HEADS: Final = ("KEY", "ACCOUNT", "SECRET", "STATE", "LAST USED", "SPENT", "NAME")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    verbs = parser.add_subparsers(dest="keys_verb", metavar="create|list|rotate|cap|revoke", required=True)
    create = add_verb(verbs, "create", "make a key and show its secret, once")
    create.add_argument("--account", default=DEFAULT, help="whose key it is (default: default)")
    create.add_argument("--env", default="live", choices=ENVIRONMENTS, help="its environment (default: live)")
    create.add_argument("--name", default="", help="a name to know it by")
    create.add_argument(
        "--scopes",
        default=",".join(SCOPES),
        help=f"what it may do, with commas (default: {','.join(SCOPES)}); admin: an operator's, for /v1/admin",
    )
    create.add_argument(
        "--expires-in",
        type=_seconds,
        metavar="SECONDS",
        help="when it expires, at most ten years (default: never)",
    )
    create.add_argument(
        "--allow",
        nargs="+",
        action="extend",
        default=[],
        metavar="NETWORK",
        help="addresses it may be used from, as 192.0.2.7 or 10.0.0.0/8 (default: any)",
    )
    create.add_argument(
        "--credit-cap", type=_CAP, metavar="N", help="what it may spend in all (default: no cap)"
    )
    listed = add_verb(verbs, "list", "show the keys, never their secrets")
    listed.add_argument("--account", help="only those of this account")
    rotate = add_verb(verbs, "rotate", "make a key in the place of another, and show its secret, once")
    cap = add_verb(verbs, "cap", "set what a key may spend in all")
    revoke = add_verb(verbs, "revoke", "revoke a key, everywhere, at once")
    for verb in (rotate, cap, revoke):
        verb.add_argument("id", metavar="key_…", type=_key_id, help="as `keys list` shows it")
    rotate.add_argument(
        "--grace",
        type=whole(0, LONGEST_GRACE, "a number of seconds"),
        default=GRACE_SECONDS,
        metavar="SECONDS",
        help="how long the old one lives on, at most 30 days; 0: not at all (default: a day)",
    )
    cap.add_argument(
        "credits", metavar="N|none", type=_cap, help="whole credits, with what it has spent already"
    )
    for verb in verbs.choices.values():
        add_common(verb)


def _seconds(text: str) -> int:
    if not text.isdecimal() or len(text) > 9 or not 1 <= int(text) <= _TEN_YEARS:
        raise argparse.ArgumentTypeError(
            f"{text!r} is not a number of seconds from 1 to {_TEN_YEARS} (ten years)"
        )
    return int(text)


def _key_id(text: str) -> UUID:
    if (found := from_wire("key", text)) is None:
        raise argparse.ArgumentTypeError(f"{text!r} is not a key's id; `burnish keys list` shows them")
    return found


def _cap(text: str) -> int | None:
    return None if text == "none" else _CAP(text)


def run(options: argparse.Namespace) -> int:
    verbs = {"create": _create, "list": _list, "rotate": _rotate, "cap": _cap_key, "revoke": _revoke}
    return asyncio.run(verbs[options.keys_verb](options))


async def _create(options: argparse.Namespace) -> int:
    async with open_database_for(options, make=True) as db:
        now = db.clock.now()
        key, secret = await issue_key(
            db,
            account=options.account,
            environment=options.env,
            name=options.name,
            scopes=[scope for scope in options.scopes.split(",") if scope],
            expires_at=now + timedelta(seconds=options.expires_in)
            if options.expires_in is not None
            else None,
            allowlist=options.allow,
            credit_cap=options.credit_cap,
            now=now,
        )
    text = f"{secret}\n\nThis is {to_wire('key', key.id)} of account {key.account}. It is not shown again."
    say(options, facts_of_key(key, {}) | {"secret": secret}, text)
    return 0


async def _list(options: argparse.Namespace) -> int:
    async with open_database_for(options) as db:
        keys = await list_keys(db, options.account)
        now = db.clock.now()
        async with db.reading() as connection:
            spent = await read_spent(connection, [key.id for key in keys])
    text = table(HEADS, [row_of_key(key, spent, now) for key in keys])
    if not keys:
        text = f"There are no keys. Make one: {command(options, 'keys', 'create')}"
    say(options, [facts_of_key(key, spent) for key in keys], text)
    return 0


async def _rotate(options: argparse.Namespace) -> int:
    async with open_database_for(options) as db:
        key, secret = await rotate_key(db, options.id, options.grace, now=db.clock.now())
    old = to_wire("key", options.id)
    until = key.created_at + timedelta(seconds=options.grace)
    ends = f"which is good until {until:%Y-%m-%d %H:%M} UTC" if options.grace else "which is revoked"
    text = (
        f"{secret}\n\nThis is {to_wire('key', key.id)} in the place of {old}, {ends}. It is not shown again."
    )
    say(options, facts_of_key(key, {}) | {"secret": secret}, text)
    return 0


async def _cap_key(options: argparse.Namespace) -> int:
    async with open_database_for(options) as db:
        key = await cap_key(db, options.id, options.credits)
        async with db.reading() as connection:
            spent = await read_spent(connection, [key.id])
    used = f"It has spent {spent.get(key.id, 0):,}."
    may = (
        "may spend what its account has" if key.credit_cap is None else f"may spend {key.credit_cap:,} in all"
    )
    say(options, facts_of_key(key, spent), f"{to_wire('key', key.id)} {may}. {used}")
    return 0


async def _revoke(options: argparse.Namespace) -> int:
    async with open_database_for(options) as db:
        key = await revoke_key(db, options.id, now=db.clock.now())
    say(options, facts_of_key(key, {}) | {"revoked": True}, f"{to_wire('key', key.id)} is revoked.")
    return 0


def row_of_key(key: Key, spent: Mapping[UUID, int], now: datetime) -> tuple[Cell, ...]:
    """A line under `HEADS`."""
    used = f"{spent.get(key.id, 0):,}"
    return (
        to_wire("key", key.id),
        key.account,
        f"bk_{key.environment}_…{key.last_four}",
        _state(key, now),
        f"{key.last_used_at:%Y-%m-%d %H:%M}" if key.last_used_at else "never",
        used if key.credit_cap is None else f"{used} of {key.credit_cap:,}",
        key.name,
    )


def _state(key: Key, now: datetime) -> str:
    if key.revoked_at:
        return "revoked"
    if key.expires_at is None:
        return "valid"
    return f"{'expired' if key.expires_at <= now else 'expires'} {key.expires_at:%Y-%m-%d %H:%M}"


def facts_of_key(key: Key, spent: Mapping[UUID, int]) -> dict[str, object]:
    return {
        "id": to_wire("key", key.id),
        "account": key.account,
        "environment": key.environment,
        "name": key.name,
        "last_four": key.last_four,
        "scopes": sorted(key.scopes),
        "allowlist": key.allowlist,
        "credit_cap": key.credit_cap,
        "credits_spent": spent.get(key.id, 0),
        "rotates": to_wire("key", key.rotates) if key.rotates else None,
        "created_at": key.created_at,
        "expires_at": key.expires_at,
        "revoked_at": key.revoked_at,
        "last_used_at": key.last_used_at,
    }
