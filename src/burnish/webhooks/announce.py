"""Owe events: in the transaction that makes them true, to every endpoint that wants them and to the task's callback; and
keep them for those who follow the account's stream.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Final
from urllib.parse import urlsplit
from uuid import UUID

from burnish.storage.postgres import Connection
from burnish.webhooks import store
from burnish.webhooks.endpoint import Endpoint
from burnish.webhooks.event import Event

#: Announced after the commit; workers that deliver listen.
DELIVER_TOPIC: Final = "deliver"


async def announce(tx: Connection, events: Sequence[Event], now: datetime) -> set[str]:
    """Owe these; returns the topics to announce after the commit."""
    if not events:
        return set()
    owed, followed = await store.owe(
        tx,
        [
            (
                event.account_id,
                event.environment,
                event.name,
                event.task_id,
                event.facts,
                event.callback_url,
                callback_receiver(event) if event.callback_url else None,
                event.dialect,
            )
            for event in events
        ],
        now,
    )
    topics = {account_topic(account_id) for account_id in followed}
    return topics | {DELIVER_TOPIC} if owed else topics


def account_topic(account_id: UUID) -> str:
    """What is announced when an account's stream has something to tell."""
    return f"a:{account_id}"


async def announce_to(tx: Connection, endpoint: Endpoint, name: str, facts: bytes, now: datetime) -> UUID:
    """Owe an event to one endpoint, whatever it subscribed to; the delivery's id."""
    return await store.owe_one(tx, endpoint, name, facts, now)


def callback_receiver(event: Event) -> str:
    """The queue of a callback: one for each host that an account's callbacks go to."""
    parts = urlsplit(event.callback_url or "")
    return f"{event.account_id} {event.environment} {parts.scheme}://{parts.netloc}".lower()
