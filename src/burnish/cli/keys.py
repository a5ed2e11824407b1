"""`burnish keys create|list|revoke`."""

import argparse
import asyncio
import json
import os
from datetime import datetime, timedelta
from typing import Final

from burnish import settings as settings_
from burnish.cli import add_common, must_hold_data, sentence
from burnish.errors import Invalid
from burnish.ids import from_wire, to_wire
from burnish.keys.issue import issue_key, revoke_key
from burnish.keys.key import ENVIRONMENTS, SCOPES, Key
from burnish.keys.store import list_keys
from burnish.resources import open_database_of
from burnish.settings import Settings

_TEN_YEARS: Final = 10 * 365 * 86_400


def add_arguments(parser: argparse.ArgumentParser) -> None:
    verbs = parser.add_subparsers(dest="keys_verb", metavar="create|list|revoke", required=True)
    create = _add(verbs, "create", "make a key and show its secret, once")
    create.add_argument("--account", default="default", help="whose key it is (default: default)")
    create.add_argument("--env", default="live", choices=ENVIRONMENTS, help="its environment (default: live)")
    create.add_argument("--name", default="", help="a name to know it by")
    create.add_argument(
        "--scopes", default=",".join(SCOPES), help="what it may do, with commas (default: all)"
    )
    create.add_argument(
        "--expires-in",
        type=_seconds,
        metavar="SECONDS",
        help="when it expires, at most ten years (default: never)",
    )
    listed = _add(verbs, "list", "show the keys, never their secrets")
    revoke = _add(verbs, "revoke", "revoke a key, everywhere, at once")
    revoke.add_argument("id", metavar="key_…", help="as `keys list` shows it")
    for verb in (create, listed, revoke):
        add_common(verb)


def _add(
    verbs: "argparse._SubParsersAction[argparse.ArgumentParser]", name: str, meaning: str
) -> argparse.ArgumentParser:
    return verbs.add_parser(name, help=meaning, description=sentence(meaning))


def _seconds(text: str) -> int:
    if not text.isdecimal() or len(text) > 9 or not 1 <= int(text) <= _TEN_YEARS:
        raise argparse.ArgumentTypeError(
            f"{text!r} is not a number of seconds from 1 to {_TEN_YEARS} (ten years)"
        )
    return int(text)


def run(options: argparse.Namespace) -> int:
    return asyncio.run({"create": _create, "list": _list, "revoke": _revoke}[options.keys_verb](options))


async def _create(options: argparse.Namespace) -> int:
    async with open_database_of(settings_.read(os.environ, {"data": options.data})) as db:
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
            now=now,
        )
    if options.json:
        print(json.dumps(_facts(key) | {"secret": secret}))
    else:
        print(
            f"{secret}\n\nThis is {to_wire('key', key.id)} of account {key.account}. It is not shown again."
        )
    return 0


async def _list(options: argparse.Namespace) -> int:
    async with open_database_of(_existing(options)) as db, db.reading() as connection:
        keys = await list_keys(connection)
        now = db.clock.now()
    if options.json:
        print(json.dumps([_facts(key) for key in keys]))
        return 0
    for key in keys:
        print(
            f"{to_wire('key', key.id)}  {key.account:12} bk_{key.environment}_…{key.last_four}  {_state(key, now):24} "
            f"{key.name}"
        )
    if not keys:
        print("There are no keys. Make one: burnish keys create")
    return 0


async def _revoke(options: argparse.Namespace) -> int:
    key_id = from_wire("key", options.id)
    if key_id is None:
        raise Invalid(f"{options.id} is not a key's id; `burnish keys list` shows them.")
    async with open_database_of(_existing(options)) as db:
        await revoke_key(db, key_id, now=db.clock.now())
    print(json.dumps({"id": options.id, "revoked": True}) if options.json else f"{options.id} is revoked.")
    return 0


def _existing(options: argparse.Namespace) -> Settings:
    settings = settings_.read(os.environ, {"data": options.data})
    must_hold_data(settings.data, settings.database.url)
    return settings


def _state(key: Key, now: datetime) -> str:
    if key.revoked_at:
        return "revoked"
    if key.expires_at is None:
        return "valid"
    return f"{'expired' if key.expires_at <= now else 'expires'} {key.expires_at:%Y-%m-%d %H:%M}"


def _facts(key: Key) -> dict[str, object]:
    return {
        "id": to_wire("key", key.id),
        "account": key.account,
        "environment": key.environment,
        "name": key.name,
        "last_four": key.last_four,
        "scopes": sorted(key.scopes),
        "created_at": key.created_at.isoformat(),
        "expires_at": key.expires_at.isoformat() if key.expires_at else None,
        "revoked_at": key.revoked_at.isoformat() if key.revoked_at else None,
    }
