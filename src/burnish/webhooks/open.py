"""Open an endpoint, change it, give it a new secret, close it; and the secret of an account's callbacks.

Whether an account listens at all stands in its row, so that endings of accounts that do not listen owe nothing and look
nowhere.
"""

from collections.abc import Collection
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

from burnish.errors import Conflict, Failed, Invalid, NotFound
from burnish.ids import new_id, to_wire
from burnish.outbound import Outbound
from burnish.storage.postgres import Connection, Database, answering
from burnish.storage.seal import Seal
from burnish.webhooks import store
from burnish.webhooks.announce import DELIVER_TOPIC, announce_to
from burnish.webhooks.endpoint import CALLBACKS, ENDPOINT, Endpoint, purpose
from burnish.webhooks.event import EVENTS, WEBHOOK_TEST
from burnish.webhooks.sign import new_secret

PREFIX: Final = "endpoint"
GRACE_SECONDS: Final = 86_400
_MOST: Final = 20
_LONGEST_DESCRIPTION: Final = 500


async def open_endpoint(
    db: Database,
    seal: Seal,
    outbound: Outbound,
    account_id: UUID,
    environment: str,
    *,
    url: str,
    events: Collection[str],
    description: str,
    now: datetime,
) -> tuple[Endpoint, bytes]:
    """A new endpoint, and its secret.

    Raises:
        Invalid: an address that the guard refuses, or an event that there is not.
        Conflict: `too_many_endpoints`.
        Unavailable: the database does not answer.
    """
    _must_fit(outbound, url, events, description)
    secret, id_ = new_secret(), new_id()
    endpoint = Endpoint(
        id_, account_id, environment, ENDPOINT, url, description, tuple(events),
        seal.close(secret, purpose(id_)), None, None, now, None, None,
    )  # fmt: skip
    with answering():
        async with db.transaction() as tx:
            await store.lock_account(tx, account_id)
            if len(await store.list_endpoints(tx, account_id, environment)) >= _MOST:
                raise Conflict(
                    f"An account has at most {_MOST} endpoints in each environment. Delete one first.",
                    code="too_many_endpoints",
                )
            await store.insert_endpoint(tx, endpoint)
            await store.note_listening(tx, account_id)
    return endpoint, secret


async def change_endpoint(
    db: Database,
    outbound: Outbound,
    endpoint: Endpoint,
    *,
    url: str | None = None,
    events: Collection[str] | None = None,
    description: str | None = None,
    disabled: bool | None = None,
    now: datetime,
) -> Endpoint:
    """The endpoint with what was given; enabling one that was shut lets it begin anew.

    Raises:
        Invalid: as in opening.
        Unavailable: the database does not answer.
    """
    with answering():
        async with db.transaction() as tx:
            now_there = await _locked(tx, endpoint)
            changed = replace(
                now_there,
                url=now_there.url if url is None else url,
                events=now_there.events if events is None else tuple(events),
                description=now_there.description if description is None else description,
            )
            _must_fit(outbound, changed.url, changed.events, changed.description)
            await store.update_endpoint(tx, changed)
            if disabled is True:
                await store.disable(tx, endpoint.id, "It was switched off.", now)
            elif disabled is False:
                await store.enable(tx, endpoint.id, now)
            await store.note_listening(tx, endpoint.account_id)
            return await store.lock_endpoint(tx, endpoint.id) or changed


async def rotate_secret(
    db: Database, seal: Seal, endpoint: Endpoint, grace_seconds: int, *, now: datetime
) -> tuple[Endpoint, bytes]:
    """The endpoint with a new secret; the old one signs beside it for `grace_seconds`. Raises NotFound, Unavailable."""
    secret = new_secret()
    with answering():
        async with db.transaction() as tx:
            now_there = await _locked(tx, endpoint)
            changed = replace(
                now_there,
                secret=seal.close(secret, purpose(endpoint.id)),
                former_secret=now_there.secret if grace_seconds else None,
                former_until=now + timedelta(seconds=grace_seconds) if grace_seconds else None,
            )
            await store.update_endpoint(tx, changed)
    return changed, secret


async def close_endpoint(db: Database, endpoint: Endpoint) -> None:
    """It, what it is owed, and its log are gone. Raises NotFound, Unavailable."""
    with answering():
        async with db.transaction() as tx:
            # Locked in a statement of its own: whoever was owing it something has done so when the next one looks.
            await _locked(tx, endpoint)
            await store.delete_endpoint(tx, endpoint.id)
            await store.note_listening(tx, endpoint.account_id)


async def _locked(tx: Connection, endpoint: Endpoint) -> Endpoint:
    """The endpoint as it is now, for this transaction alone. Raises NotFound."""
    await store.lock_account(tx, endpoint.account_id)
    found = await store.lock_endpoint(tx, endpoint.id)
    if found is None:
        raise NotFound(f"There is no endpoint {to_wire(PREFIX, endpoint.id)}.")
    return found


async def get_endpoint(
    connection: Connection, account_id: UUID, environment: str, endpoint_id: UUID
) -> Endpoint:
    """Raises NotFound."""
    found = await store.read_endpoint(connection, account_id, environment, endpoint_id)
    if found is None:
        raise NotFound(f"There is no endpoint {to_wire(PREFIX, endpoint_id)}.")
    return found


async def callbacks_of(
    db: Database, seal: Seal, account_id: UUID, environment: str, now: datetime
) -> Endpoint:
    """The row that holds the secret of an account's native callbacks, made now when there is none. Raises Unavailable."""
    with answering():
        async with db.reading() as connection:
            found = await store.read_callbacks(connection, account_id, environment)
        if found is not None:
            return found
        id_ = new_id()
        sealed = seal.close(new_secret(), purpose(id_))
        made = Endpoint(
            id_, account_id, environment, CALLBACKS, "", "", (), sealed, None, None, now, None, None
        )
        async with db.transaction() as tx:
            await store.insert_endpoint(tx, made)
            stored = await store.read_callbacks(tx, account_id, environment)
    assert stored is not None
    return stored


async def set_callbacks_secret(
    tx: Connection,
    seal: Seal,
    account_id: UUID,
    environment: str,
    dialect: str,
    secret: bytes | None,
    now: datetime,
) -> None:
    """What a dialect's callbacks are signed with from the next try on, in place of what signed them; None: nothing does."""
    found = await store.read_callbacks(tx, account_id, environment, dialect)
    if secret is None:
        if found is not None:
            await store.delete_endpoint(tx, found.id)
    elif found is not None:
        sealed = seal.close(secret, purpose(found.id))
        await store.update_endpoint(tx, replace(found, secret=sealed, former_secret=None, former_until=None))
    else:
        id_ = new_id()
        sealed = seal.close(secret, purpose(id_))
        made = Endpoint(
            id_, account_id, environment, CALLBACKS, "", "", (), sealed, None, None, now, None, None, dialect
        )
        await store.insert_endpoint(tx, made)


async def send_test(db: Database, endpoint: Endpoint, now: datetime) -> UUID:
    """Owe the endpoint a `webhook.test`, which takes the way of all deliveries; its id.

    Raises:
        Conflict: `endpoint_disabled`.
        Unavailable: the database does not answer.
    """
    with answering():
        async with db.transaction() as tx:
            _must_be_enabled(await _locked(tx, endpoint))
            delivery_id = await announce_to(tx, endpoint, WEBHOOK_TEST, b'{"hello":"It works."}', now)
    db.news.announce([DELIVER_TOPIC])
    return delivery_id


async def replay(
    db: Database,
    endpoint: Endpoint,
    *,
    delivery_id: UUID | None = None,
    since: datetime | None = None,
    until: datetime | None = None,
    dead_only: bool = True,
    now: datetime,
) -> int:
    """Deliveries that have ended are owed again, with the same ids and bytes: one, or those of a stretch of time.

    Raises:
        Conflict: `endpoint_disabled`.
        Unavailable: the database does not answer.
    """
    with answering():
        async with db.transaction() as tx:
            _must_be_enabled(await _locked(tx, endpoint))
            again = await store.make_due(
                tx, endpoint.id, now, delivery_id=delivery_id, since=since, until=until, dead_only=dead_only
            )
    db.news.announce([DELIVER_TOPIC])
    return again


def _must_be_enabled(endpoint: Endpoint) -> None:
    if endpoint.disabled_at is not None:
        raise Conflict("This endpoint is disabled. Enable it first.", code="endpoint_disabled")


def _must_fit(outbound: Outbound, url: str, events: Collection[str], description: str) -> None:
    check_url(outbound, url, "url")
    if unknown := sorted(set(events) - set(EVENTS)):
        raise Invalid(
            f"There is no event {unknown[0][:60]!r}; there are {', '.join(EVENTS)}.", param="events"
        )
    if len(description) > _LONGEST_DESCRIPTION:
        raise Invalid(f"At most {_LONGEST_DESCRIPTION} letters.", param="description")


def check_url(outbound: Outbound, url: str, param: str) -> None:
    """Judge an address by its text. Raises Invalid, with the guard's reason as the code."""
    try:
        outbound.check(url)
    except Failed as failed:
        raise Invalid(failed.message, param=param, code=failed.reason) from failed
