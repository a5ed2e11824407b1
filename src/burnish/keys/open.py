"""Open accounts, find them, and set their terms: the plan, and what an account has of its own.

Called by the command line and the operator's routes. New terms are in force when these return: admissions read them
under the account's lock, and what processes remember of keys is announced to be stale.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from functools import reduce
from typing import Any, Final, NoReturn, get_args, get_origin

import msgspec
from msgspec import Struct

from burnish.errors import Conflict, Invalid, NotFound
from burnish.ids import new_id
from burnish.keys import store
from burnish.keys.account import Account, must_be_a_name
from burnish.keys.plan import Plan, Plans
from burnish.storage.postgres import Database, answering
from burnish.storage.seal import Seal
from burnish.webhooks import open as callbacks

_ENCODE: Final = msgspec.json.Encoder().encode
_OVERRIDES_BYTES: Final = 16_384


async def open_account(
    db: Database,
    plans: Plans,
    name: str,
    *,
    plan: str | None = None,
    overrides: Mapping[str, Any] | None = None,
    now: datetime,
) -> Account:
    """A new account with nothing in it.

    Raises:
        Invalid: the name, the plan or the overrides cannot be; `param` names the place.
        Conflict: `account_exists`.
        Unavailable: the database does not answer.
    """
    must_be_a_name(name)
    plan = plan or plans.default
    document = _document(plans, plan, overrides or {})
    with answering():
        async with db.transaction() as tx:
            if not await store.insert_account(tx, new_id(), name, plan, now, document):
                raise Conflict(f"There is an account {name!r} already.", code="account_exists")
            account = await store.find_account(tx, name)
    assert account is not None
    return account


async def get_account(db: Database, name: str) -> Account:
    """Raises NotFound, Unavailable."""
    if "\0" in name:  # which no column holds
        _unknown(name)
    with answering():
        async with db.reading() as connection:
            account = await store.find_account(connection, name)
    return account or _unknown(name)


async def list_accounts(db: Database, *, after: str | None = None, rows: int) -> list[Account]:
    """By name, those after `after`. Raises Unavailable."""
    with answering():
        async with db.reading() as connection:
            return await store.list_accounts(connection, after=after, rows=rows)


async def set_terms(
    db: Database,
    plans: Plans,
    name: str,
    *,
    plan: str | None = None,
    overrides: Mapping[str, Any] | None = None,
    more: Sequence[Mapping[str, Any]] = (),
) -> Account:
    """Another plan; other overrides in place of all there were; then `more` of them, one laid over the other.

    Raises:
        Invalid: the plan or the overrides cannot be; `param` names the place.
        NotFound: there is no such account.
        Unavailable: the database does not answer.
    """
    with answering():
        async with db.transaction() as tx:
            before = await store.lock_account(tx, name) or _unknown(name)
            wanted = msgspec.json.decode(before.overrides) if overrides is None else dict(overrides)
            document = _document(plans, plan or before.plan, reduce(_laid_over, more, wanted))
            await store.set_terms(tx, before.id, plan or before.plan, document)
            account = await store.find_account(tx, name)
    assert account is not None
    db.news.announce(["keys"])
    return account


async def set_callbacks_secret(
    db: Database, seal: Seal, name: str, dialect: str, secret: bytes | None, now: datetime
) -> Account:
    """What signs the account's callbacks in a dialect, in every environment; None: nothing does.

    Raises:
        NotFound: there is no such account.
        Unavailable: the database does not answer.
    """
    with answering():
        async with db.transaction() as tx:
            account = await store.lock_account(tx, name) or _unknown(name)
            test_id = await store.ensure_test_account(tx, account.id, now)
            for account_id, environment in ((account.id, "live"), (account.id, "dev"), (test_id, "test")):
                await callbacks.set_callbacks_secret(tx, seal, account_id, environment, dialect, secret, now)
    return account


def _document(plans: Plans, plan: str, overrides: Mapping[str, Any]) -> str:
    plans.must_have(plan)
    _must_be_known(overrides, Plan, "overrides")
    document = _ENCODE(overrides).decode()
    if len(document) > _OVERRIDES_BYTES:
        raise Invalid(f"Overrides have {_OVERRIDES_BYTES} bytes at most.", param="overrides")
    plans.must_fit(plan, document)
    return document


def _must_be_known(changes: Mapping[str, Any], type_: type[Struct], place: str) -> None:
    """A name that is not in a plan is told even where its value is null, which would only take it away."""
    known = {field.name: field.type for field in msgspec.structs.fields(type_)}
    for name, change in changes.items():
        if name not in known:
            raise Invalid(
                f"A plan has no {name[:60]!r} there; it has {', '.join(known)}.",
                param=f"{place}.{name[:60]}",
                code="unknown_field",
            )
        if not isinstance(change, Mapping):
            continue
        inner = next(filter(_is_table, (known[name], *get_args(known[name]))), None)
        by_name = change if get_origin(known[name]) is dict else {None: change}
        for member, inside in by_name.items():
            if inner is not None and isinstance(inside, Mapping):
                _must_be_known(inside, inner, ".".join(filter(None, (place, name, member))))


def _is_table(type_: Any) -> bool:
    return isinstance(type_, type) and issubclass(type_, Struct)


def _laid_over(below: Any, above: Any) -> Any:
    """Tables are merged; null is kept, for it takes a limit of the plan away."""
    if not isinstance(below, dict) or not isinstance(above, Mapping):
        return above
    return below | {name: _laid_over(below.get(name), change) for name, change in above.items()}


def _unknown(name: str) -> NoReturn:
    raise NotFound(f"There is no account {name[:64]!r}.")
