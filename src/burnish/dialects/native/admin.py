"""What an operator manages over HTTP, with a key of the scope `admin`: accounts, their terms, grants and keys; plans."""

from typing import Final
from urllib.parse import quote
from uuid import UUID

from burnish.credits.find import list_grants
from burnish.credits.grant import grant
from burnish.dialects.native import admin_examples as examples
from burnish.dialects.native import admin_wire
from burnish.errors import Invalid, NotFound
from burnish.ids import from_wire
from burnish.keys.account import Account
from burnish.keys.issue import issue_key, list_keys, revoke_key, rotate_key
from burnish.keys.key import ADMIN, SCOPES
from burnish.keys.open import get_account, list_accounts, open_account, set_terms
from burnish.web import bodies
from burnish.web.caller import caller
from burnish.web.operation import Operation
from burnish.web.pages import link_to_next
from burnish.web.replies import Reply, json
from burnish.web.request import Request
from burnish.web.submitting import once as once_of

# --- accounts -----------------------------------------------------------------------------------------------------


async def create_account(request: Request) -> Reply:
    await caller(request, ADMIN)
    asked, _ = await bodies.read_json(request, admin_wire.ACCOUNT_REQUEST)
    resources = request.resources
    account = await open_account(
        resources.db,
        resources.plans,
        asked.name,
        plan=asked.plan,
        overrides=asked.overrides,
        now=request.now,
    )
    url = f"{request.site.public_url}/v1/admin/accounts/{quote(account.name)}"
    reply = admin_wire.account_reply(account, resources.plans)
    return json(reply, status=201, headers=[(b"location", url.encode())])


async def list_accounts_(request: Request) -> Reply:
    await caller(request, ADMIN)
    asked = bodies.query(request, admin_wire.AccountsQuery)
    resources = request.resources
    found = await list_accounts(resources.db, after=asked.after, rows=asked.limit + 1)
    data = [admin_wire.account_reply(account, resources.plans) for account in found[: asked.limit]]
    following = data[-1].name if len(found) > asked.limit else None
    page = admin_wire.AccountPage(data=data, has_more=following is not None, next=following)
    return json(page, headers=link_to_next(request, following))


async def get_account_(request: Request) -> Reply:
    await caller(request, ADMIN)
    return json(admin_wire.account_reply(await _account(request), request.resources.plans))


async def change_account(request: Request) -> Reply:
    await caller(request, ADMIN)
    asked, _ = await bodies.read_json(request, admin_wire.TERMS_REQUEST)
    resources = request.resources
    account = await _account(request)
    account = await set_terms(
        resources.db, resources.plans, account.name, plan=asked.plan, overrides=asked.overrides
    )
    return json(admin_wire.account_reply(account, resources.plans))


async def _account(request: Request) -> Account:
    """The account in the path."""
    return await get_account(request.resources.db, request.path_value("name"))


# --- grants -------------------------------------------------------------------------------------------------------


async def create_grant(request: Request) -> Reply:
    key = await caller(request, ADMIN)
    asked, body = await bodies.read_json(request, admin_wire.GRANT_REQUEST)
    once = once_of(request, key, body)
    if once is None:
        raise Invalid(
            "Send the header Idempotency-Key, and the same again with every retry: it grants once.",
            param="Idempotency-Key",
            code="idempotency_key_missing",
        )
    account = await _account(request)
    made = await grant(
        request.resources.db,
        account.id,
        asked.credits,
        kind=asked.kind,
        idempotency_key=once.key,
        expires_at=admin_wire.ahead(asked.expires_at, request.now),
        note=asked.note,
        now=request.now,
    )
    headers = [(b"idempotent-replayed", b"true")] if made.replayed else []
    return json(admin_wire.grant_reply(made), status=201, headers=headers)


async def list_grants_(request: Request) -> Reply:
    await caller(request, ADMIN)
    asked = bodies.query(request, admin_wire.GrantsQuery)
    account = await _account(request)
    found = await list_grants(
        request.resources.db, account.id, after=admin_wire.grant_id(asked.after), rows=asked.limit + 1
    )
    data = [admin_wire.grant_standing(one) for one in found[: asked.limit]]
    following = data[-1].id if len(found) > asked.limit else None
    page = admin_wire.GrantPage(data=data, has_more=following is not None, next=following)
    return json(page, headers=link_to_next(request, following))


# --- keys ---------------------------------------------------------------------------------------------------------


async def create_key(request: Request) -> Reply:
    await caller(request, ADMIN)
    asked, _ = await bodies.read_json(request, admin_wire.KEY_REQUEST)
    account = await _account(request)
    key, secret = await issue_key(
        request.resources.db,
        account=account.name,
        environment=asked.environment,
        name=asked.name,
        scopes=SCOPES if asked.scopes is None else asked.scopes,
        expires_at=admin_wire.ahead(asked.expires_at, request.now),
        allowlist=asked.allowlist,
        credit_cap=asked.credit_cap,
        now=request.now,
    )
    return json(admin_wire.issued_key(key, secret), status=201)


async def list_keys_(request: Request) -> Reply:
    await caller(request, ADMIN)
    account = await _account(request)
    keys = await list_keys(request.resources.db, account.name)
    return json(admin_wire.KeyPage(data=[admin_wire.key_reply(key) for key in keys]))


async def rotate_key_(request: Request) -> Reply:
    await caller(request, ADMIN)
    asked, _ = await bodies.read_json(request, admin_wire.ROTATE_REQUEST)
    key, secret = await rotate_key(
        request.resources.db, _key_id(request), asked.grace_seconds, now=request.now
    )
    return json(admin_wire.issued_key(key, secret), status=201)


async def revoke_key_(request: Request) -> Reply:
    await caller(request, ADMIN)
    key = await revoke_key(request.resources.db, _key_id(request), now=request.now)
    return json(admin_wire.key_reply(key))


def _key_id(request: Request) -> UUID:
    text = request.path_value("id")
    if (found := from_wire("key", text)) is None:
        raise NotFound(f"There is no key {text[:60]!r}.")
    return found


# --- plans --------------------------------------------------------------------------------------------------------


async def list_plans(request: Request) -> Reply:
    await caller(request, ADMIN)
    plans = request.resources.plans
    data = [admin_wire.PlanReply(name=name, terms=plans.terms(name)) for name in plans.names()]
    return json(admin_wire.PlanPage(data=data))


# --- the table ----------------------------------------------------------------------------------------------------

_BODY: Final = (
    "malformed", "body_stalled", "too_large", "unsupported_media", "invalid", "unknown_field", "missing_field",
)  # fmt: skip
_NEXT: Final = {"Link": 'The next page, as `rel="next"`.'}

OPERATIONS: Final = (
    Operation(
        method="POST",
        path="/v1/admin/accounts",
        handle=create_account,
        id="createAccount",
        tag="Operator",
        summary="Make an account",
        access=ADMIN,
        reads=admin_wire.AccountRequest,
        answers={201: admin_wire.AccountReply},
        headers={"Location": "The account's own URL."},
        refuses=(*_BODY, "account_exists"),
        example=examples.ACCOUNT_REQUEST,
        answer_example=examples.ACCOUNT,
    ),
    Operation(
        method="GET",
        path="/v1/admin/accounts",
        handle=list_accounts_,
        id="listAccounts",
        tag="Operator",
        summary="List the accounts, by name",
        access=ADMIN,
        query=admin_wire.AccountsQuery,
        answers={200: admin_wire.AccountPage},
        headers=_NEXT,
        refuses=("invalid", "unknown_field"),
        answer_example=examples.ACCOUNTS,
    ),
    Operation(
        method="GET",
        path="/v1/admin/accounts/{name}",
        handle=get_account_,
        id="getAccount",
        tag="Operator",
        summary="Read an account: its plan, terms and credits",
        access=ADMIN,
        answers={200: admin_wire.AccountReply},
        refuses=("not_found",),
        answer_example=examples.ACCOUNT,
    ),
    Operation(
        method="PATCH",
        path="/v1/admin/accounts/{name}",
        handle=change_account,
        id="changeAccount",
        tag="Operator",
        summary="Change an account's plan, or what it has of its own",
        description="In force at once. `overrides` replace all that there were; `{}` drops them.",
        access=ADMIN,
        reads=admin_wire.TermsRequest,
        answers={200: admin_wire.AccountReply},
        refuses=(*_BODY, "not_found"),
        example=examples.TERMS_REQUEST,
        answer_example=examples.ACCOUNT,
    ),
    Operation(
        method="POST",
        path="/v1/admin/accounts/{name}/grants",
        handle=create_grant,
        id="createGrant",
        tag="Operator",
        summary="Grant an account credits",
        description="Needs the header `Idempotency-Key`: the same key again answers the first grant, however often.",
        access=ADMIN,
        reads=admin_wire.GrantRequest,
        answers={201: admin_wire.GrantReply},
        headers={"Idempotent-Replayed": "`true` where an earlier request made it."},
        refuses=(*_BODY, "not_found", "idempotency_key_missing", "idempotency_key_reused"),
        example=examples.GRANT_REQUEST,
        answer_example=examples.GRANT,
    ),
    Operation(
        method="GET",
        path="/v1/admin/accounts/{name}/grants",
        handle=list_grants_,
        id="listGrants",
        tag="Operator",
        summary="List an account's grants, newest first",
        access=ADMIN,
        query=admin_wire.GrantsQuery,
        answers={200: admin_wire.GrantPage},
        headers=_NEXT,
        refuses=("invalid", "unknown_field", "not_found"),
        answer_example=examples.GRANTS,
    ),
    Operation(
        method="POST",
        path="/v1/admin/accounts/{name}/keys",
        handle=create_key,
        id="createKey",
        tag="Operator",
        summary="Make a key of an account",
        description="The reply has its secret, this once.",
        access=ADMIN,
        reads=admin_wire.KeyRequest,
        answers={201: admin_wire.IssuedKey},
        refuses=(*_BODY, "not_found"),
        example=examples.KEY_REQUEST,
        answer_example=examples.ISSUED_KEY,
    ),
    Operation(
        method="GET",
        path="/v1/admin/accounts/{name}/keys",
        handle=list_keys_,
        id="listKeys",
        tag="Operator",
        summary="List an account's keys",
        access=ADMIN,
        answers={200: admin_wire.KeyPage},
        refuses=("not_found",),
        answer_example=examples.KEYS,
    ),
    Operation(
        method="DELETE",
        path="/v1/admin/keys/{id}",
        handle=revoke_key_,
        id="revokeKey",
        tag="Operator",
        summary="Revoke a key",
        description="Every process refuses it within a second. Revoking again changes nothing.",
        access=ADMIN,
        answers={200: admin_wire.KeyReply},
        refuses=("not_found",),
        answer_example=examples.REVOKED_KEY,
    ),
    Operation(
        method="POST",
        path="/v1/admin/keys/{id}/rotate",
        handle=rotate_key_,
        id="rotateKey",
        tag="Operator",
        summary="Make a key in the place of another",
        description="The same in everything but its secret; it may spend what the old one has left. The old one lives on for "
        "`grace_seconds`.",
        access=ADMIN,
        reads=admin_wire.RotateRequest,
        answers={201: admin_wire.IssuedKey},
        refuses=(*_BODY, "not_found", "conflict"),
        example=examples.ROTATE_REQUEST,
        answer_example=examples.ISSUED_KEY,
    ),
    Operation(
        method="GET",
        path="/v1/admin/plans",
        handle=list_plans,
        id="listPlans",
        tag="Operator",
        summary="List the plans",
        access=ADMIN,
        answers={200: admin_wire.PlanPage},
        answer_example=examples.PLANS,
    ),
)
