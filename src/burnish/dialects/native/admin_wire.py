"""The native API's words for what an operator manages: accounts, grants, keys and plans; and the way to and fro."""

from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Any, Final, Literal
from uuid import UUID

import msgspec
from msgspec import Meta, Struct

from burnish.credits.find import GrantRow
from burnish.credits.grant import Granted
from burnish.dialects.native import wire
from burnish.dialects.native.money_wire import five
from burnish.errors import Invalid
from burnish.ids import from_wire, to_wire
from burnish.keys.account import Account
from burnish.keys.issue import GRACE_SECONDS
from burnish.keys.key import Key
from burnish.keys.plan import Plan, Plans
from burnish.web.bodies import in_utc

Scope = Literal["tasks:write", "tasks:read", "uploads:write", "usage:read", "webhooks:write"]
Kind = Annotated[Literal["paid", "given"], wire.says("Whether they were paid for.")]
Overrides = Annotated[
    dict[str, Any],
    wire.says(
        "What differs from the plan, in the plan's own words; null takes a limit of the plan away.",
        examples=[{"at_once": {"account": {"limit": 9}}, "windows": {"day": None}}],
    ),
]
Next = Annotated[str, wire.says("Give it as `after` for the next page; the Link header has the whole URL.")]


# --- what a request may say ---------------------------------------------------------------------------------------


class AccountRequest(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A new account."""

    name: Annotated[
        str,
        wire.says("1 to 64 letters (a to z, A to Z), digits, spaces and . _ @ -; a letter or digit first."),
    ]
    plan: Annotated[str, wire.says("`trial` unless given.")] | None = None
    overrides: Overrides = {}


class TermsRequest(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is to be changed; what is left out stays."""

    plan: str | None = None
    overrides: Overrides | None = None


class AccountsQuery(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How many accounts."""

    limit: Annotated[int, wire.says("At most so many.", ge=1, le=100)] = 20
    after: Annotated[str, wire.says("Those after this name: the `next` of the page before.")] | None = None


class GrantRequest(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Credits for an account."""

    credits: Annotated[int, wire.says("How many.", ge=1, le=1_000_000_000_000)]
    kind: Kind = "given"
    expires_at: Annotated[datetime, wire.says("Never unless given.", tz=True)] | None = None
    note: Annotated[
        str, wire.says("What they are for; the account's own keys do not see it.", max_length=500)
    ] = ""


class GrantsQuery(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How many grants."""

    limit: Annotated[int, wire.says("At most so many.", ge=1, le=100)] = 20
    after: (
        Annotated[str, wire.says("Those made before this grant: the `next` of the page before.")] | None
    ) = None


class KeyRequest(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A new key."""

    name: Annotated[str, wire.says("To know it by.", max_length=100)] = ""
    environment: Literal["live", "test", "dev"] = "live"
    scopes: (
        Annotated[
            list[Scope],
            wire.says(
                "What it may do; all of these unless given. An operator's key is made on the command line."
            ),
        ]
        | None
    ) = None
    expires_at: Annotated[datetime, wire.says("Never unless given.", tz=True)] | None = None
    allowlist: Annotated[
        list[str],
        wire.says("Networks and addresses it may be used from; none: from anywhere.", max_length=100),
    ] = []
    credit_cap: Annotated[int, wire.says("What it may spend in all.", ge=0, le=1_000_000_000_000)] | None = (
        None
    )


class RotateRequest(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How the old key ends."""

    grace_seconds: Annotated[int, wire.says("How long it lives on; 0: not at all.", ge=0, le=2_592_000)] = (
        GRACE_SECONDS
    )


ACCOUNT_REQUEST: Final = msgspec.json.Decoder(AccountRequest)
TERMS_REQUEST: Final = msgspec.json.Decoder(TermsRequest)
GRANT_REQUEST: Final = msgspec.json.Decoder(GrantRequest)
KEY_REQUEST: Final = msgspec.json.Decoder(KeyRequest)
ROTATE_REQUEST: Final = msgspec.json.Decoder(RotateRequest)


# --- what a reply says --------------------------------------------------------------------------------------------


class CreditsStanding(Struct, frozen=True, kw_only=True):
    """Where an account's credits are: `granted` is always the sum of the four others."""

    granted: int
    available: int
    held: int
    charged: int
    expired: int


class AccountReply(Struct, frozen=True, kw_only=True):
    """An account as it stands."""

    name: str
    plan: str
    overrides: Overrides
    terms: Annotated[Plan, wire.says("What holds for it: its plan, with the overrides laid over.")]
    credits: CreditsStanding
    created_at: wire.Moment


class AccountPage(Struct, frozen=True, kw_only=True):
    """Accounts, by name."""

    data: list[AccountReply]
    has_more: bool
    next: Next | None


class GrantReply(Struct, frozen=True, kw_only=True):
    """A grant as it was made."""

    id: str
    kind: Kind
    credits: int
    expires_at: Annotated[datetime, Meta(tz=True)] | None
    note: str
    created_at: wire.Moment


class GrantStanding(GrantReply, frozen=True, kw_only=True):
    """A grant, and where its credits are."""

    available: int
    held: int
    charged: int
    expired: int


class GrantPage(Struct, frozen=True, kw_only=True):
    """Grants, newest first."""

    data: list[GrantStanding]
    has_more: bool
    next: Next | None


class KeyReply(Struct, frozen=True, kw_only=True):
    """A key, without its secret."""

    id: str
    account: str
    environment: Literal["live", "test", "dev"]
    name: str
    last_four: Annotated[str, wire.says("The last letters of its secret.")]
    scopes: list[str]
    allowlist: list[str]
    credit_cap: int | None
    rotates: Annotated[str, wire.says("The key whose place it took.")] | None
    created_at: wire.Moment
    expires_at: Annotated[datetime, Meta(tz=True)] | None
    revoked_at: Annotated[datetime, Meta(tz=True)] | None
    last_used_at: Annotated[datetime, wire.says("To the half minute.", tz=True)] | None


class IssuedKey(KeyReply, frozen=True, kw_only=True):
    """A new key, with its secret."""

    secret: Annotated[str, wire.says("It is shown this once.")]


class KeyPage(Struct, frozen=True, kw_only=True):
    """An account's keys, oldest first, test keys and those that have ended among them."""

    data: list[KeyReply]


class PlanReply(Struct, frozen=True, kw_only=True):
    """A plan."""

    name: str
    terms: Plan


class PlanPage(Struct, frozen=True, kw_only=True):
    """All plans."""

    data: list[PlanReply]


# --- from their words to the house's ------------------------------------------------------------------------------


def ahead(moment: datetime | None, now: datetime) -> datetime | None:
    """The same moment, in UTC.

    Raises:
        Invalid: it lies in the past, or outside the calendar.
    """
    moment = in_utc(moment, "expires_at")
    if moment is not None and moment <= now:
        raise Invalid("This moment lies in the past.", param="expires_at")
    return moment


def grant_id(after: str | None) -> UUID | None:
    """Raises Invalid for what is no grant's id."""
    found = from_wire("grant", after) if after is not None else None
    if after is not None and found is None:
        raise Invalid("`after` is a grant's id, as in `next` of the page before.", param="after")
    return found


# --- and back -----------------------------------------------------------------------------------------------------


def account_reply(account: Account, plans: Plans) -> AccountReply:
    return AccountReply(
        name=account.name,
        plan=account.plan,
        overrides=msgspec.json.decode(account.overrides),
        terms=plans.terms(account.plan, account.overrides),
        credits=CreditsStanding(**five(account)),
        created_at=account.created_at,
    )


def grant_reply(made: Granted) -> GrantReply:
    return GrantReply(
        id=to_wire("grant", made.id),
        kind=wire.literal(made.kind),
        credits=made.credits,
        expires_at=made.expires_at,
        note=made.note,
        created_at=made.created_at,
    )


def grant_standing(one: GrantRow) -> GrantStanding:
    return GrantStanding(
        id=to_wire("grant", one.id),
        kind=wire.literal(one.kind),
        credits=one.granted,
        available=one.available,
        held=one.held,
        charged=one.charged,
        expired=one.expired,
        expires_at=one.expires_at,
        note=one.note,
        created_at=one.created_at,
    )


def key_reply(key: Key) -> KeyReply:
    return KeyReply(**_of_key(key))


def issued_key(key: Key, secret: str) -> IssuedKey:
    return IssuedKey(**_of_key(key), secret=secret)


def _of_key(key: Key) -> Mapping[str, Any]:
    return {
        "id": to_wire("key", key.id),
        "account": key.account,
        "environment": key.environment,
        "name": key.name,
        "last_four": key.last_four,
        "scopes": sorted(key.scopes),
        "allowlist": list(key.allowlist),
        "credit_cap": key.credit_cap,
        "rotates": to_wire("key", key.rotates) if key.rotates else None,
        "created_at": key.created_at,
        "expires_at": key.expires_at,
        "revoked_at": key.revoked_at,
        "last_used_at": key.last_used_at,
    }
