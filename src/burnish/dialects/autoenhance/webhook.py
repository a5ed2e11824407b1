"""The account's webhook: where the vendor's customers are told that an image was processed, with the token that they set.

An endpoint of this dialect; its secret is the token, which is sent as it is in `Authorization`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Final
from uuid import UUID

import msgspec

from burnish.clock import Clock
from burnish.dialects.autoenhance import store
from burnish.dialects.autoenhance.image import NAME
from burnish.dialects.autoenhance.making import image_of_task
from burnish.dialects.autoenhance.wire import (
    API_VERSION,
    WEBHOOK_UPDATED,
    ImageProcessed,
    standing,
    version_of,
)
from burnish.errors import Invalid
from burnish.ids import new_id, plain
from burnish.keys.key import ENVIRONMENTS
from burnish.keys.own import set_setting
from burnish.keys.store import ensure_test_account
from burnish.outbound import Outbound
from burnish.storage.postgres import Connection, Database, answering
from burnish.storage.seal import Seal
from burnish.tasks.find import Reads
from burnish.tasks.store import read_tasks
from burnish.tasks.task import TEST
from burnish.webhooks import store as endpoints
from burnish.webhooks.announce import DELIVER_TOPIC, announce_to
from burnish.webhooks.deliver import Words
from burnish.webhooks.endpoint import ENDPOINT, Endpoint, purpose
from burnish.webhooks.event import TASK_FAILED, TASK_SUCCEEDED, Delivery
from burnish.webhooks.open import check_url

_ENCODE: Final = msgspec.json.Encoder().encode
_UPDATED: Final = "webhook_updated"
#: The environment whose endpoint is told that it was set; the others have the same address.
_TOLD: Final = "live"


class AutoenhanceWords(Words):
    """Renders for one process."""

    unsigned = False

    def __init__(self, db: Database, reads: Reads, clock: Clock) -> None:
        self._db = db
        self._reads = reads
        self._clock = clock

    async def body(self, delivery: Delivery) -> bytes | None:
        """What became of an image; None where it is gone."""
        if delivery.task_id is None:
            return delivery.facts
        task = await self._reads.find_task(delivery.task_id)
        image_id = image_of_task(task.metadata) if task is not None else None
        if image_id is None:
            return None
        async with self._db.reading() as connection:
            image = await store.read_image(connection, image_id)
            if image is None:
                return None
            images = (await store.list_images(connection, [image.order_id]))[image.order_id]
            tasks = await read_tasks(connection, [one.task_id for one in images if one.task_id])
            grouping = await store.is_grouping(connection, image.order_id)
        now = self._clock.now()
        done = all(standing(one, tasks.get(one.task_id) if one.task_id else None, now).done for one in images)
        return _ENCODE(
            ImageProcessed(
                image_id=plain(image.told),
                error=delivery.event == TASK_FAILED,
                order_id=plain(image.order_told),
                order_is_processing=grouping or not done,
            )
        )

    def headers(
        self,
        delivery: Delivery,  # noqa: ARG002 - as `Words` has it; no token depends on what it goes with
        body: bytes,  # noqa: ARG002
        now: datetime,  # noqa: ARG002
        keys: Sequence[bytes],
    ) -> Mapping[str, str]:
        """The token, where there is one."""
        return {"Authorization": keys[0].decode()} if keys and keys[0] else {}


async def set_webhook(
    db: Database,
    seal: Seal,
    outbound: Outbound,
    account_id: UUID,
    *,
    url: str | None = None,
    token: str | None = None,
    now: datetime,
) -> None:
    """Tell what happens to the account's images at `url` from now on, with that token; what is None stays as it is. The
    receiver is told at once that it was set. It is account-wide: images of test and dev keys are told there too.

    Raises:
        Invalid: an address that the guard refuses, or there is none yet; `param` is `url`.
        Unavailable: the database does not answer.
    """
    if url is not None:
        check_url(outbound, url, "url")
    with answering():
        async with db.transaction() as tx:
            for owner_id, environment in await _places(tx, account_id, now):
                await endpoints.lock_account(tx, owner_id)
                found = await endpoints.list_endpoints(tx, owner_id, environment, NAME)
                if not found and url is None:
                    raise Invalid("There is no webhook yet; give its address too.", param="url")
                endpoint = found[0] if found else _new(owner_id, environment, seal, now)
                if token is not None:
                    endpoint = replace(endpoint, secret=seal.close(token.encode(), purpose(endpoint.id)))
                endpoint = replace(endpoint, url=url or endpoint.url)
                if found:
                    await endpoints.update_endpoint(tx, endpoint)
                    await endpoints.enable(tx, endpoint.id, now)
                else:
                    await endpoints.insert_endpoint(tx, endpoint)
                await endpoints.note_listening(tx, owner_id)
                if environment == _TOLD:
                    await announce_to(tx, endpoint, _UPDATED, WEBHOOK_UPDATED, now)
    db.news.announce([DELIVER_TOPIC])


async def remove_webhook(db: Database, account_id: UUID, now: datetime) -> None:
    """Tell it nowhere. Raises Unavailable."""
    with answering():
        async with db.transaction() as tx:
            for owner_id, environment in await _places(tx, account_id, now):
                await endpoints.lock_account(tx, owner_id)
                for old in await endpoints.list_endpoints(tx, owner_id, environment, NAME):
                    await endpoints.delete_endpoint(tx, old.id)
                await endpoints.note_listening(tx, owner_id)


async def _places(tx: Connection, account_id: UUID, now: datetime) -> list[tuple[UUID, str]]:
    """Every environment of the account, with the account that its keys work in, in the order that accounts are locked in."""
    test_id = await ensure_test_account(tx, account_id, now)
    return sorted((test_id if name == TEST else account_id, name) for name in ENVIRONMENTS)


def _new(account_id: UUID, environment: str, seal: Seal, now: datetime) -> Endpoint:
    """One without an address and without a token."""
    id_ = new_id()
    return Endpoint(
        id_, account_id, environment, ENDPOINT, "", "", (TASK_SUCCEEDED, TASK_FAILED), seal.close(b"", purpose(id_)),
        None, None, now, None, None, NAME,
    )  # fmt: skip


async def set_api_version(
    db: Database, seal: Seal, account_id: UUID, version: str | None, now: datetime
) -> None:
    """The version that the account's requests have which name none; None: the latest.

    Raises:
        Invalid: it is no day.
        Unavailable: the database does not answer.
    """
    if version is not None:
        version_of(version)
    with answering():
        async with db.transaction() as tx:
            test_id = await ensure_test_account(tx, account_id, now)
    for owner_id in (account_id, test_id):
        await set_setting(db, seal, owner_id, API_VERSION, version)
