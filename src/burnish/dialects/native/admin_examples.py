"""Examples of the operator's requests and replies for the documentation, made of the types that are served."""

from datetime import UTC, datetime, timedelta
from typing import Final
from uuid import UUID

import msgspec

from burnish.dialects.native import admin_wire
from burnish.ids import to_wire
from burnish.keys.key import SCOPES
from burnish.keys.plan import load_plans

_AT: Final = datetime(2026, 1, 15, 9, 30, tzinfo=UTC)
_NUMBER: Final = UUID("019bc0de-0000-7000-8000-000000000000")
_PLANS: Final = load_plans()
_OVERRIDES: Final = {"at_once": {"account": {"limit": 80}}}

ACCOUNT_REQUEST: Final = admin_wire.AccountRequest(name="studio", plan="standard")
TERMS_REQUEST: Final = admin_wire.TermsRequest(plan="standard", overrides=_OVERRIDES)
ACCOUNT: Final = admin_wire.AccountReply(
    name="studio",
    plan="standard",
    overrides=_OVERRIDES,
    terms=_PLANS.terms("standard", msgspec.json.encode(_OVERRIDES).decode()),
    credits=admin_wire.CreditsStanding(granted=1_000, available=840, held=20, charged=140, expired=0),
    created_at=_AT,
)
ACCOUNTS: Final = admin_wire.AccountPage(data=[ACCOUNT], has_more=True, next="studio")

GRANT_REQUEST: Final = admin_wire.GrantRequest(credits=1_000, kind="paid", note="invoice 1042")
GRANT: Final = admin_wire.GrantReply(
    id=to_wire("grant", _NUMBER),
    kind="paid",
    credits=1_000,
    expires_at=None,
    note="invoice 1042",
    created_at=_AT,
)
GRANTS: Final = admin_wire.GrantPage(
    data=[
        admin_wire.GrantStanding(
            **msgspec.structs.asdict(GRANT), available=840, held=20, charged=140, expired=0
        )
    ],
    has_more=False,
    next=None,
)

KEY_REQUEST: Final = admin_wire.KeyRequest(name="web shop", allowlist=["192.0.2.7"], credit_cap=500)
KEY: Final = admin_wire.KeyReply(
    id=to_wire("key", _NUMBER),
    account="studio",
    environment="live",
    name="web shop",
    last_four="x7Qp",
    scopes=sorted(SCOPES),
    allowlist=["192.0.2.7/32"],
    credit_cap=500,
    rotates=None,
    created_at=_AT,
    expires_at=None,
    revoked_at=None,
    last_used_at=_AT + timedelta(hours=2),
)
ISSUED_KEY: Final = admin_wire.IssuedKey(
    **(msgspec.structs.asdict(KEY) | {"last_used_at": None, "secret": "bk_live_…x7Qp"})
)
REVOKED_KEY: Final = msgspec.structs.replace(KEY, revoked_at=_AT + timedelta(days=1))
KEYS: Final = admin_wire.KeyPage(data=[KEY])
ROTATE_REQUEST: Final = admin_wire.RotateRequest(grace_seconds=86_400)
PLANS: Final = admin_wire.PlanPage(data=[admin_wire.PlanReply(name="trial", terms=_PLANS.terms("trial"))])
