"""The bytes of a waiting task have been seen: it is priced, gets its place, and moves to `queued`; or it fails.

Called by the worker's fetch lane after the probe. One transaction records what the header said on the blob,
decides, holds and moves, together with whatever else arrived meanwhile.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

import msgspec

from burnish import log
from burnish.credits.prices import Prices
from burnish.engines import catalogue
from burnish.errors import Failed
from burnish.keys.plan import Plans
from burnish.keys.store import read_caps
from burnish.settings import Tasks as TaskSettings
from burnish.storage.group import LATER, Group, Later
from burnish.storage.postgres import Connection, Database
from burnish.storage.statement import write
from burnish.tasks import store
from burnish.tasks.accounts import Accounts, lock_accounts
from burnish.tasks.close import close
from burnish.tasks.cost import Cost, cost_of
from burnish.tasks.decide import Ask, apply, decide
from burnish.tasks.task import Claimed, key_digits, lane_topic, topic
from burnish.uploads import store as blobs
from burnish.webhooks.announce import announce

_log = log.get("arrive")


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

    def judged(self, prices: Prices) -> Cost | Failed | None:
        """What the task costs, now that its picture is known; None: as much as nothing. Or why it cannot go on."""
        if self.failed is not None:
            return self.failed
        model = catalogue.find_model(self.task.model)
        if model is None:
            return Failed("internal", f"The model {self.task.model} is no longer here.")
        parameters = msgspec.json.decode(self.task.input, type=model.parameters)
        if self.width is None or self.height is None:
            return None
        if refused := catalogue.output_refusal(model, parameters, self.width, self.height):
            return Failed(*refused)
        try:
            return cost_of(prices, model, parameters, self.width, self.height, self.seconds, self.frame_rate)
        except Failed as failed:
            return failed


#: What was seen, and what it comes to.
_Arrived = tuple[Seen, Cost | Failed | None]


class Arrivals:
    """One a process: the group that arrivals join."""

    def __init__(self, db: Database, tasks: TaskSettings, plans: Plans, prices: Prices) -> None:
        self._db = db
        self._plans = plans
        self._prices = prices
        self.group: Group[_Arrived, bool] = Group(self._arrive, rows=tasks.batch_rows, recover=self._look_up)

    async def arrive(self, seen: Seen) -> bool:
        """True when the task has moved on by this; False when it was no longer waiting under this lease."""
        return await self.group.add((seen, seen.judged(self._prices)))

    async def _arrive(self, arrived: Sequence[_Arrived]) -> Sequence[bool | Exception | Later]:
        now = self._db.clock.now()
        async with self._db.transaction() as tx:
            accounts = await lock_accounts(
                tx, {seen.task.account_id for seen, _ in arrived}, self._plans, now
            )
            # Under the account's lock nobody else moves a leased task: whose lease stands now, stands until the commit.
            waiting = await store.waiting_under(
                tx, [(seen.task.id, seen.task.lease_id) for seen, _ in arrived]
            )
            still = [(seen, judged) for seen, judged in arrived if seen.task.id in waiting]
            await self._describe(tx, [seen for seen, _ in still], now)
            caps = await read_caps(tx, [seen.task.key_id for seen, _ in still if seen.task.key_id])
            await accounts.read_quotas(
                {
                    (seen.task.account_id, key_digits(seen.task.key_id))
                    for seen, _ in still
                    if seen.task.key_id in caps
                }
            )
            outcomes = {
                seen.task.id: self._decide(seen.task, judged, accounts, caps, now) for seen, judged in still
            }
            moves = [outcome for outcome in outcomes.values() if not isinstance(outcome, Failed)]
            failures = [(seen.task, outcomes[seen.task.id]) for seen, _ in still]
            endings = [
                (task.id, task.lease_id, "failed", failed.reason, failed.message, None, None)
                for task, failed in failures
                if isinstance(failed, Failed)
            ]
            topics = await close(tx, accounts, await store.end(tx, endings, now), now) if endings else set()
            parts = accounts.parts()
            await write(tx, [*parts, store.arrive(moves, now)] if moves else parts)
            topics |= await announce(
                tx, accounts.told({s.task.account_id: s.task.environment for s, _ in still}), now
            )
        topics |= {lane_topic(seen.task.lane) for seen, _ in still} | {topic(task_id) for task_id in outcomes}
        self._db.news.announce(topics)
        for task_id, _, _, reason, message, *_ in endings:
            _log.info("input_refused", task=str(task_id), reason=reason, message=message)
        return [seen.task.id in outcomes for seen, _ in arrived]

    def _decide(
        self,
        task: Claimed,
        judged: Cost | Failed | None,
        accounts: Accounts,
        caps: Mapping[UUID, int],
        now: datetime,
    ) -> Failed | tuple[UUID, UUID, int | None, int, bytes | None]:
        """The row of its move, or why it ends."""
        if isinstance(judged, Failed):
            return judged
        state = accounts.states[task.account_id]
        ask = Ask(
            task_id=task.id,
            lane=task.lane,
            model=task.model,
            key=key_digits(task.key_id),
            cost=judged.credits if judged else 0,
            lowest=0,
            max_credits=task.max_credits,
            credit_cap=caps.get(task.key_id) if task.key_id else None,
            arrived=True,
        )
        verdict = decide(state, ask, now)
        if verdict.refusal is not None:
            return Failed(verdict.reason, verdict.refusal.message)
        tag = apply(state, ask, verdict, accounts.times[task.lane], now)
        paid = judged if state.plan.metered else None
        return task.id, task.lease_id, tag, paid.credits if paid else 0, paid.price if paid else None

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

    async def _look_up(self, arrived: Sequence[_Arrived]) -> Sequence[bool | Exception | Later]:
        """After a connection lost at COMMIT: what still waits under our lease was not moved."""
        tasks = [seen.task for seen, _ in arrived]
        async with self._db.reading() as connection:
            waiting = await store.waiting_under(connection, [(task.id, task.lease_id) for task in tasks])
        self._db.news.announce({lane_topic(task.lane) for task in tasks} | {topic(task.id) for task in tasks})
        return [LATER if task.id in waiting else True for task in tasks]


def _fault(failed: Failed | None) -> str | None:
    """What is remembered of a failed probe: only what the bytes themselves are to blame for."""
    if failed is None or failed.reason not in {"unsupported_format", "decode_failed", "input_too_large"}:
        return None
    return f"{failed.reason}: {failed.message}"
