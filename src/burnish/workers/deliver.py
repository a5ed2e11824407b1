"""The delivering lanes: one for receivers that accept, one for those that fail or have not been seen to accept, so that
no number of dead ones keeps a live one waiting. A receiver belongs to one worker at a time; a worker that is lost loses it with its lease.
"""

import asyncio
import contextlib
import time
from collections.abc import Sequence
from datetime import timedelta
from itertools import groupby
from typing import Any, Final

import msgspec

from burnish import log
from burnish.errors import Unavailable
from burnish.resources import Resources
from burnish.storage.group import Group, Later
from burnish.storage.postgres import LOST
from burnish.tasks.accounts import lock_accounts
from burnish.webhooks import store
from burnish.webhooks.announce import DELIVER_TOPIC, announce
from burnish.webhooks.deliver import Deliverer, Outcome, Receiver
from burnish.webhooks.event import WEBHOOK_DISABLED, Event

_log = log.get("deliver")
#: Receivers served beside each other: those that accept take a moment each, the others may hang for the whole timeout.
_SOUND: Final = 64
_OTHERS: Final = 1_024
_BEGUN: Final = 16  #: at a time, so that a crowd that is due at once leaves the process time for others
_EACH: Final = 128  #: deliveries of a receiver in one turn
_LEASE: Final = timedelta(seconds=90)  #: a turn of 128 that all hang takes four times the timeout
_SHORTEST_SECONDS: Final = 0.02
_POLL_SECONDS: Final = 1.0  #: the database is away, or there is no room: a turn that ends wakes earlier


class Delivering:
    """Both lanes of one worker; `run` lives until it is cancelled."""

    def __init__(self, resources: Resources, deliverer: Deliverer) -> None:
        self._resources = resources
        self._deliverer = deliverer
        self._wakes: list[asyncio.Event] = []
        self._outcomes: Group[Outcome, None] = Group(self._write, rows=256)

    async def run(self, *, sound: bool) -> None:
        """Serve receivers whose time has come."""
        wake = asyncio.Event()
        self._wakes.append(wake)
        turns: set[asyncio.Task[None]] = set()

        def done(turn: asyncio.Task[None]) -> None:
            turns.discard(turn)
            for one in self._wakes:  # the receiver may belong to the other lane now
                one.set()

        try:
            with self._resources.db.news.subscribed(DELIVER_TOPIC, wake.set):
                while True:
                    wake.clear()
                    room = min(_BEGUN, (_SOUND if sound else _OTHERS) - len(turns))
                    claimed, pause = await self._look(sound, room)
                    for receiver in claimed:
                        turn = asyncio.create_task(self._turn(receiver))
                        turns.add(turn)
                        turn.add_done_callback(done)
                    if len(claimed) < room or not room:
                        with contextlib.suppress(TimeoutError):
                            async with asyncio.timeout(pause):
                                await wake.wait()
        finally:
            for turn in turns:
                turn.cancel()
            await asyncio.gather(*turns, return_exceptions=True)

    async def _look(self, sound: bool, room: int) -> tuple[list[Receiver], float]:
        """What is due, and how long to wait where that is not enough."""
        try:
            claimed = await self._claim(sound, room) if room else []
            return claimed, await self._pause(sound) if len(claimed) < room else _POLL_SECONDS
        except (*LOST, TimeoutError) as error:
            _log.warning("deliveries_not_claimed", error=str(error) or type(error).__name__)
            return [], _POLL_SECONDS

    async def _claim(self, sound: bool, room: int) -> list[Receiver]:
        db = self._resources.db
        async with db.relaxed() as connection:
            rows = await store.claim_receivers(
                connection, sound=sound, rows=room, each=_EACH, now=db.clock.now(), lease=_LEASE
            )
        return [_receiver(list(found)) for _, found in groupby(rows, key=lambda row: row["receiver"])]

    async def _pause(self, sound: bool) -> float:
        """Until something is due, as far as that is known; the slow poll stands behind what is announced."""
        db, longest = self._resources.db, self._resources.settings.workers.poll_seconds
        async with db.reading() as connection:
            due_at = await store.next_due(connection, sound=sound)
        if due_at is None:
            return longest
        return min(longest, max(_SHORTEST_SECONDS, (due_at - db.clock.now()).total_seconds()))

    async def _turn(self, receiver: Receiver) -> None:
        try:
            await self._note(await self._deliverer.serve(receiver))
        except Exception:  # one of the three loops: the lease runs out, and what was sent may be sent again
            _log.exception("delivery_failed", receiver=receiver.id)

    async def _note(self, outcome: Outcome) -> None:
        """Have it written; while the database is away it stays true, and what is not forgotten is not sent again."""
        give_up = time.monotonic() + _LEASE.total_seconds()
        while True:
            try:
                return await self._outcomes.add(outcome)
            except Unavailable:
                if time.monotonic() >= give_up:
                    raise
            await asyncio.sleep(_POLL_SECONDS)

    async def _write(self, outcomes: Sequence[Outcome]) -> Sequence[Exception | Later | None]:
        """What came of these turns, in one transaction; an endpoint that is shut is told of to the others."""
        db = self._resources.db
        now = db.clock.now()
        topics: set[str] = set()
        disabled = [outcome for outcome in outcomes if outcome.disable and outcome.receiver.endpoint_id]
        async with db.transaction() as tx:
            accounts = sorted({o.receiver.account_id for o in disabled if o.receiver.account_id})
            if accounts:
                await lock_accounts(tx, accounts, self._resources.plans, now)
            tries = [row for outcome in outcomes for row in outcome.tries]
            if tries:
                await store.write_tries(tx, tries, now)
            for outcome in disabled:
                topics |= await _disable(tx, outcome, now)
            await store.free_receivers(
                tx,
                sorted(
                    (
                        o.receiver.id,
                        o.receiver.lease_id,
                        o.accepted,
                        o.failures,
                        o.failing_since,
                        o.shut_until,
                    )
                    for o in outcomes
                ),
                now,
            )
        db.news.announce(topics)
        return [None] * len(outcomes)


async def _disable(tx: Any, outcome: Outcome, now: Any) -> set[str]:
    """Shut the endpoint, and tell the account's others."""
    receiver, why = outcome.receiver, outcome.disable
    assert receiver.endpoint_id is not None
    assert why is not None
    assert receiver.account_id is not None
    if not await store.disable(tx, receiver.endpoint_id, why, now):
        return set()
    _log.warning("webhook_disabled", endpoint=str(receiver.endpoint_id), why=why)
    facts = msgspec.json.encode({"endpoint_id": receiver.endpoint_id, "why": why})
    event = Event(
        account_id=receiver.account_id, environment=receiver.environment, name=WEBHOOK_DISABLED, facts=facts
    )
    return await announce(tx, [event], now)


def _receiver(rows: list[Any]) -> Receiver:
    first = rows[0]
    due = tuple(store.delivery_of(row) for row in rows if row["id"] is not None)
    return Receiver(
        id=first["receiver"],
        lease_id=first["lease_id"],
        endpoint_id=first["endpoint_id"],
        account_id=first["account_id"],
        environment=first["environment"] or "",
        failures=first["failures"],
        failing_since=first["failing_since"],
        due=due,
    )
