"""`burnish credits grant|show|entries`."""

import argparse
import asyncio
import secrets
from datetime import timedelta
from typing import Final
from uuid import UUID

from burnish.cli import add_common, add_verb, whole
from burnish.cli.database import open_database_for, say, table
from burnish.credits.find import ENTRY_KINDS, FIVE, EntryRow, GrantRow, get_credits, list_entries
from burnish.credits.grant import MOST, grant
from burnish.ids import to_wire
from burnish.keys.open import get_account

_MOST_DAYS: Final = 36_500
_MOST_ROWS: Final = 1_000_000
_SUBJECTS: Final = {"purchase": "output", "grant": "grant", "expire": "grant"}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    verbs = parser.add_subparsers(dest="credits_verb", metavar="grant|show|entries", required=True)
    grant_ = add_verb(verbs, "grant", "give an account credits, at once")
    show = add_verb(verbs, "show", "show how an account's credits stand")
    entries = add_verb(verbs, "entries", "show what moved an account's credits, newest first")
    for verb in (grant_, show, entries):
        verb.add_argument("account", metavar="ACCOUNT", help="as `accounts list` shows it")
    grant_.add_argument("credits", metavar="N", type=whole(1, MOST), help="how many whole credits")
    grant_.add_argument("--paid", action="store_true", help="they were paid for (default: given)")
    grant_.add_argument(
        "--expires-in",
        type=whole(1, _MOST_DAYS, "a number of days"),
        metavar="DAYS",
        help="when they expire (default: never)",
    )
    grant_.add_argument("--note", default="", help="what they are for")
    grant_.add_argument(
        "--idempotency-key",
        metavar="KEY",
        help="the same key grants once, however often this is called (default: none)",
    )
    entries.add_argument("--kind", choices=ENTRY_KINDS, help="only those of this kind")
    entries.add_argument(
        "--limit", type=whole(1, _MOST_ROWS), default=20, metavar="N", help="at most so many (default: 20)"
    )
    for verb in verbs.choices.values():
        add_common(verb)


def run(options: argparse.Namespace) -> int:
    return asyncio.run({"grant": _grant, "show": _show, "entries": _entries}[options.credits_verb](options))


async def _grant(options: argparse.Namespace) -> int:
    async with open_database_for(options) as db:
        account = await get_account(db, options.account)
        now = db.clock.now()
        made = await grant(
            db,
            account.id,
            options.credits,
            kind="paid" if options.paid else "given",
            idempotency_key=options.idempotency_key or secrets.token_hex(16),
            expires_at=now + timedelta(days=options.expires_in) if options.expires_in else None,
            note=options.note,
            now=now,
        )
        standing = await get_credits(db, account.id, now)
    id_ = to_wire("grant", made.id)
    ends = f", until {made.expires_at:%Y-%m-%d}" if made.expires_at else ""
    text = f"{account.name} has {made.credits:,} credits more{ends}: {standing.available:,} are available. ({id_})"
    if made.replayed:
        text = (
            f"This idempotency key gave {account.name} {made.credits:,} credits before, as {id_}; nothing was added. "
            f"{standing.available:,} are available."
        )
    say(
        options,
        {
            "id": id_,
            "account": account.name,
            "kind": made.kind,
            "credits": made.credits,
            "expires_at": made.expires_at,
            "note": made.note,
            "created_at": made.created_at,
            "replayed": made.replayed,
            "available": standing.available,
        },
        text,
    )
    return 0


async def _show(options: argparse.Namespace) -> int:
    async with open_database_for(options) as db:
        account = await get_account(db, options.account)
        standing = await get_credits(db, account.id, db.clock.now())
    rows = [
        (to_wire("grant", one.id), one.available, one.granted, one.kind,
         f"{one.expires_at:%Y-%m-%d %H:%M}" if one.expires_at else "never", one.note)
        for one in standing.grants
    ]  # fmt: skip
    five = table([name.upper() for name in FIVE], [[getattr(standing, name) for name in FIVE]])
    grants = table(("GRANT", "LEFT", "OF", "KIND", "EXPIRES", "NOTE"), rows)
    spent = f"Spent in this order:\n\n{grants}" if rows else "There is nothing to spend."
    facts = {name: getattr(standing, name) for name in FIVE} | {
        "grants": [_grant_facts(one) for one in standing.grants]
    }
    say(options, {"account": account.name, **facts}, f"{account.name}\n\n{five}\n\n{spent}")
    return 0


async def _entries(options: argparse.Namespace) -> int:
    async with open_database_for(options) as db:
        account = await get_account(db, options.account)
        found = await list_entries(db, account.id, kind=options.kind, rows=options.limit)
    rows = [
        (f"{one.at:%Y-%m-%d %H:%M:%S}", one.kind, *(f"{getattr(one, name):+,}" if getattr(one, name) else "" for name in FIVE),
         _subject(one), _key(one.key_id) or "")
        for one in found
    ]  # fmt: skip
    text = table(("AT (UTC)", "KIND", *(name.upper() for name in FIVE), "WHAT FOR", "KEY"), rows)
    say(options, [_entry_facts(one) for one in found], text if rows else "Nothing has moved.")
    return 0


def _subject(entry: EntryRow) -> str:
    return to_wire(_SUBJECTS.get(entry.kind, "task"), entry.subject_id)


def _key(key_id: UUID | None) -> str | None:
    return to_wire("key", key_id) if key_id else None


def _grant_facts(one: GrantRow) -> dict[str, object]:
    return {
        "id": to_wire("grant", one.id),
        "kind": one.kind,
        **{name: getattr(one, name) for name in FIVE},
        "expires_at": one.expires_at,
        "note": one.note,
        "created_at": one.created_at,
    }


def _entry_facts(one: EntryRow) -> dict[str, object]:
    facts = {name: getattr(one, name) for name in FIVE}
    return {"at": one.at, "kind": one.kind, **facts, "subject": _subject(one), "key": _key(one.key_id)}
