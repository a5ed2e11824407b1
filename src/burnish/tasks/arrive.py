"""The bytes of a waiting task have been seen: it is priced, gets its place, and moves to `queued`; or it fails.

Called by the worker's fetch lane after the probe. One transaction records what the header said on the blob,
decides, holds and moves, together with whatever else arrived meanwhile.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

import msgspec

from burnish.engines import catalogue
from burnish.errors import Failed
from burnish.settings import Tasks as TaskSettings
from burnish.storage.group import LATER, Group, Later
from burnish.storage.postgres import Connection, Database
from burnish.tasks import store
from burnish.tasks.decide import decide
from burnish.tasks.task import Claimed, lane_topic, topic
from burnish.uploads import store as blobs


@dataclass(frozen=True, slots=True)
class Seen:
    """What the fetch lane found. `object_key`, `size_bytes`, `sha256`, `filename`: of bytes it brought itself;
    `type`, `width`, `height`, `frames`: of the header; `failed`: why there is nothing to work on.
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
    failed: Failed | None = None

    @property
    def refusal(self) -> Failed | None:
        """Why the task cannot go on, now that its picture is known."""
        if self.failed is not None:
            return self.failed
        model = catalogue.find_model(self.task.model)
        if model is None:
            return Failed("internal", f"The model {self.task.model} is no longer here.")
        parameters = msgspec.json.decode(self.task.input, type=model.parameters)
        if self.width is None or self.height is None:
            return None
        refused = catalogue.output_refusal(model, parameters, self.width, self.height)
        return Failed(*refused) if refused else None


class Arrivals:
    """One a process: the group that arrivals join."""

    def __init__(self, db: Database, tasks: TaskSettings) -> None:
        self._db = db
        self._tasks = tasks
        self.group: Group[tuple[Seen, Failed | None], bool] = Group(
            self._arrive, rows=tasks.batch_rows, recover=self._look_up
        )

    async def arrive(self, seen: Seen) -> bool:
        """True when the task has moved on by this; False when it was no longer waiting under this lease."""
        return await self.group.add((seen, seen.refusal))

    async def _arrive(
        self, arrived: Sequence[tuple[Seen, Failed | None]]
    ) -> Sequence[bool | Exception | Later]:
        now = self._db.clock.now()
        async with self._db.transaction() as tx:
            accounts = {seen.task.account_id for seen, _ in arrived}
            queues = await store.lock_accounts(tx, accounts, self._tasks, now)
            # Under the account's lock nobody else moves a leased task: whose lease stands now, stands until the commit.
            waiting = await store.waiting_under(
                tx, [(seen.task.id, seen.task.lease_id) for seen, _ in arrived]
            )
            still = [(seen, refusal) for seen, refusal in arrived if seen.task.id in waiting]
            await self._describe(tx, [seen for seen, _ in still], now)
            moves, endings = [], []
            topics: set[str] = set()
            for seen, refusal in still:
                if refusal:
                    endings.append(
                        (seen.task.id, seen.task.lease_id, "failed", refusal.reason, refusal.message, None)
                    )
                    topics.add(topic(seen.task.id))
                    continue
                place = seen.task.account_id, seen.task.lane
                verdict = decide(queues.queues[place], queues.times[seen.task.lane])
                queues.queues[place] = verdict.queue
                moves.append((seen.task.id, seen.task.lease_id, verdict.ready, verdict.tag))
                topics.add(lane_topic(seen.task.lane))
            if moves:
                await store.arrive(tx, moves, now)
            if endings:
                await store.end(tx, endings, now)
            await store.write_accounts(tx, queues)
        self._db.news.announce(topics)
        return [seen.task.id in waiting for seen, _ in arrived]

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
            s.task.source_id: (s.task.source_id, s.type, s.width, s.height, s.frames, _fault(s.failed))
            for s in all_seen
            if s.task.source_id is not None and (s.type is not None or _fault(s.failed) is not None)
        }
        if facts:
            await blobs.describe(tx, list(facts.values()))

    async def _look_up(
        self, arrived: Sequence[tuple[Seen, Failed | None]]
    ) -> Sequence[bool | Exception | Later]:
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
