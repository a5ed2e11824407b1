"""The bytes of a waiting task have been seen: it is priced, gets its place, and moves to `queued`; or it fails. A task
with several sources waits for the next that nobody has seen, until there is none.

Called by the worker's fetch lane after the probe. One transaction records what the header said on the blob,
decides, holds and moves, together with whatever else arrived meanwhile.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final
from uuid import UUID

import msgspec
from msgspec import Struct

from burnish import log
from burnish.credits.prices import Prices
from burnish.engines import catalogue
from burnish.engines.catalogue import Model
from burnish.errors import Failed
from burnish.keys.plan import Plan, Plans
from burnish.keys.store import read_caps
from burnish.settings import Tasks as TaskSettings
from burnish.storage.group import LATER, Group, Later
from burnish.storage.postgres import Connection, Database
from burnish.storage.statement import write
from burnish.tasks import store
from burnish.tasks.accounts import Accounts, lock_accounts
from burnish.tasks.close import close
from burnish.tasks.cost import Cost, cost_of, measures_of
from burnish.tasks.decide import Ask, apply, decide
from burnish.tasks.sizes import size_refusal
from burnish.tasks.sources import Given, Header, next_unseen, places_of, refusal, waits_until
from burnish.tasks.task import Claimed, key_digits, lane_topic, topic
from burnish.uploads import store as blobs
from burnish.uploads.receive import FETCH_TOPIC
from burnish.webhooks.announce import announce

_log = log.get("arrive")
#: The reasons of failed probes that the same bytes will always have.
_OF_THE_BYTES: Final = {"unsupported_format", "decode_failed", "input_too_large", "duration_out_of_range"}


@dataclass(frozen=True, slots=True)
class Seen:
    """What the fetch lane found. `object_key`, `size_bytes`, `sha256`, `filename`: of bytes it brought itself;
    `type` and all after it: of the header; `failed`: why there is nothing to work on.
    """

    task: Claimed
    object_key: str | None = None
    size_bytes: int = 0
    sha256: bytes = b""
    filename: str | None = None
    type: str | None = None
    width: int | None = None
    height: int | None = None
    frames: int | None = None
    seconds: float | None = None
    frame_rate: float | None = None
    failed: Failed | None = None


@dataclass(frozen=True, slots=True)
class _Arrival:
    """What was seen, and what it comes to: what the task costs, None: as much as nothing; or why it cannot go on.

    `places`: where its sources stand, of a task that has more than one; what that costs is known when all were seen.
    """

    seen: Seen
    judged: Cost | Failed | None
    places: tuple[str, ...] = ()


#: The row of a move to `queued`: (task, lease, tag, cost, price).
_Move = tuple[UUID, UUID, int | None, int, bytes | None]


class Arrivals:
    """One a process: the group that arrivals join."""

    def __init__(self, db: Database, tasks: TaskSettings, plans: Plans, prices: Prices) -> None:
        self._db = db
        self._plans = plans
        self._prices = prices
        self.group: Group[_Arrival, bool] = Group(self._arrive, rows=tasks.batch_rows, recover=self._look_up)

    async def arrive(self, seen: Seen) -> bool:
        """True when the task has moved on by this; False when it was no longer waiting under this lease."""
        model = catalogue.find_model(seen.task.model)
        if model is None:
            gone = Failed("internal", f"The model {seen.task.model} is no longer here.")
            return await self.group.add(_Arrival(seen, seen.failed or gone))
        parameters = msgspec.json.decode(seen.task.input, type=model.parameters)
        places = places_of(model, parameters)
        if len(places) > 1:
            refused = refusal(model, parameters, seen)
            failed = seen.failed or (Failed(*refused) if refused else None)
            return await self.group.add(_Arrival(seen, failed, places))
        return await self.group.add(_Arrival(seen, seen.failed or self._judged(model, parameters, seen)))

    def _judged(self, model: Model, parameters: Struct, *sources: Header | None) -> Cost | Failed | None:
        """What a task with these sources costs, by the first of them, or why it cannot go on."""
        places = places_of(model, parameters)
        for place, source in zip(places, sources, strict=False):
            if source is None:
                continue
            if refused := refusal(model, parameters, source):
                failed = Failed(*refused)
                return failed.at(place) if len(places) > 1 else failed
        try:
            return cost_of(self._prices, model, parameters, *measures_of(sources[0]))
        except Failed as failed:
            return failed

    async def _arrive(self, arrived: Sequence[_Arrival]) -> Sequence[bool | Exception | Later]:
        now = self._db.clock.now()
        async with self._db.transaction() as tx:
            accounts = await lock_accounts(
                tx, {arrival.seen.task.account_id for arrival in arrived}, self._plans, now
            )
            # Under the account's lock nobody else moves a leased task: whose lease stands now, stands until the commit.
            waiting = await store.waiting_under(
                tx, [(arrival.seen.task.id, arrival.seen.task.lease_id) for arrival in arrived]
            )
            still = [arrival for arrival in arrived if arrival.seen.task.id in waiting]
            seen = [arrival.seen for arrival in still]
            await self._describe(tx, seen, now)
            given = await self._given(tx, [arrival.seen.task.id for arrival in still if arrival.places])
            caps = await read_caps(tx, [s.task.key_id for s in seen if s.task.key_id])
            await accounts.read_quotas(
                {(s.task.account_id, key_digits(s.task.key_id)) for s in seen if s.task.key_id in caps}
            )
            outcomes = {
                arrival.seen.task.id: self._decide(
                    arrival, given.get(arrival.seen.task.id, ()), accounts, caps, now
                )
                for arrival in still
            }
            moves = [outcome for outcome in outcomes.values() if not isinstance(outcome, Failed | store.Turn)]
            turns = [outcome for outcome in outcomes.values() if isinstance(outcome, store.Turn)]
            endings = [
                (s.task.id, s.task.lease_id, "failed", failed.reason, failed.message, None, None)
                for s in seen
                if isinstance(failed := outcomes[s.task.id], Failed)
            ]
            topics = await close(tx, accounts, await store.end(tx, endings, now), now) if endings else set()
            if turns:
                await store.turn(tx, turns)
            if whole := [move[0] for move in moves if move[0] in given]:
                await store.turn_to_first(tx, whole)
            parts = accounts.parts()
            await write(tx, [*parts, store.arrive(moves, now)] if moves else parts)
            topics |= await announce(
                tx, accounts.told({s.task.account_id: s.task.environment for s in seen}), now
            )
        waits = {turn.task_id for turn in turns}
        topics |= {lane_topic(s.task.lane) for s in seen if s.task.id not in waits}
        topics |= {topic(task_id) for task_id in outcomes if task_id not in waits}
        if any(turn.fetchable for turn in turns):
            topics.add(FETCH_TOPIC)
        self._db.news.announce(topics)
        for task_id, _, _, reason, message, *_ in endings:
            _log.info("input_refused", task=str(task_id), reason=reason, message=message)
        return [arrival.seen.task.id in outcomes for arrival in arrived]

    async def _given(self, tx: Connection, task_ids: Sequence[UUID]) -> dict[UUID, tuple[Given, ...]]:
        """All sources of these tasks as they stand; no upload among them arrives until the commit."""
        rows = await store.read_sources(tx, task_ids) if task_ids else {}
        ids = {source_id for sources in rows.values() for source_id, _ in sources if source_id is not None}
        found = await blobs.share_blobs(tx, ids) if ids else {}
        return {
            task_id: tuple(Given(id_, url, found.get(id_) if id_ else None) for id_, url in sources)
            for task_id, sources in rows.items()
        }

    def _decide(
        self,
        arrival: _Arrival,
        given: tuple[Given, ...],
        accounts: Accounts,
        caps: Mapping[UUID, int],
        now: datetime,
    ) -> Failed | store.Turn | _Move:
        """Why the task ends, which of its sources is next, or the row of its move."""
        task, judged = arrival.seen.task, arrival.judged
        if given:
            judged = self._judged_whole(arrival, given)
            unseen = next_unseen(given)
            if unseen is not None and not isinstance(judged, Failed):
                return store.Turn(
                    task.id, task.lease_id, unseen.source_id, unseen.source_url, unseen.fetchable, waits_until(given)
                )  # fmt: skip
        if isinstance(judged, Failed):
            return judged
        state = accounts.states[task.account_id]
        if refused := _over(arrival, given, state.plan):
            return refused
        ask = Ask(
            task_id=task.id,
            lane=task.lane,
            model=task.model,
            key=key_digits(task.key_id),
            cost=judged.credits if judged and not task.paid_at_download else 0,
            lowest=0,
            max_credits=task.max_credits,
            credit_cap=caps.get(task.key_id) if task.key_id else None,
            arrived=True,
        )
        verdict = decide(state, ask, now)
        if verdict.refusal is not None:
            return Failed(verdict.reason, verdict.refusal.message)
        tag = apply(state, ask, verdict, accounts.times[task.lane], now)
        paid = judged if state.plan.metered and not task.paid_at_download else None
        return task.id, task.lease_id, tag, paid.credits if paid else 0, paid.price if paid else None

    def _judged_whole(self, arrival: _Arrival, given: tuple[Given, ...]) -> Cost | Failed | None:
        """The same of a task with several sources; each failure says where the source stands."""
        task = arrival.seen.task
        if isinstance(arrival.judged, Failed):
            at = next(
                place
                for place, source in zip(arrival.places, given, strict=True)
                if source.source_id == task.source_id
            )
            return arrival.judged.at(at)
        model = catalogue.find_model(task.model)
        assert model is not None
        parameters = msgspec.json.decode(task.input, type=model.parameters)
        return self._judged(model, parameters, *(source.blob for source in given))

    async def _describe(self, tx: Connection, all_seen: Sequence[Seen], now: datetime) -> None:
        """Record on the blobs what was brought and what the headers said."""
        brought = [
            seen for seen in all_seen if seen.object_key is not None and seen.task.source_id is not None
        ]
        if brought:
            await blobs.take_fetched(
                tx,
                [(s.task.source_id, s.object_key, s.size_bytes, s.sha256, s.filename) for s in brought],
                now,
            )
        facts = {
            s.task.source_id: blobs.Facts(
                s.task.source_id,
                s.type,
                s.width,
                s.height,
                s.frames,
                s.seconds,
                s.frame_rate,
                _fault(s.failed),
            )
            for s in all_seen
            if s.task.source_id is not None and (s.type is not None or _fault(s.failed) is not None)
        }
        if facts:
            await blobs.describe(tx, list(facts.values()))

    async def _look_up(self, arrived: Sequence[_Arrival]) -> Sequence[bool | Exception | Later]:
        """After a connection lost at COMMIT: what still waits under our lease was not moved."""
        tasks = [arrival.seen.task for arrival in arrived]
        async with self._db.reading() as connection:
            waiting = await store.waiting_under(connection, [(task.id, task.lease_id) for task in tasks])
        self._db.news.announce(
            {lane_topic(task.lane) for task in tasks} | {topic(task.id) for task in tasks} | {FETCH_TOPIC}
        )
        return [LATER if task.id in waiting else True for task in tasks]


def _over(arrival: _Arrival, given: tuple[Given, ...], plan: Plan) -> Failed | None:
    """Why the plan does not take a source of this size; of several, the first such, by its place."""
    task = arrival.seen.task
    model = catalogue.find_model(task.model)
    if model is None:
        return None
    parameters = msgspec.json.decode(task.input, type=model.parameters)
    for position, header in enumerate([source.blob for source in given] or [arrival.seen]):
        if header is None or header.width is None or header.height is None:
            continue
        if refused := size_refusal(model, parameters, plan, header.width, header.height):
            failed = Failed(*refused)
            return failed.at(arrival.places[position]) if given else failed
    return None


def _fault(failed: Failed | None) -> str | None:
    """What is remembered of a failed probe: only what the bytes themselves are to blame for."""
    if failed is None or failed.reason not in _OF_THE_BYTES:
        return None
    return f"{failed.reason}: {failed.message}"
