"""A task is submitted: its model and parameters are checked, and it is admitted with the next group.

Called by the dialects' routes. `Submissions` gathers what arrives while a transaction is in flight; the next
transaction locks the accounts, looks at the sources, decides, and writes all rows at once. It waits its turn for an
account that endings are being written for; one that is held for longer than that is left to a later group. The id is made before, so that after a connection lost at COMMIT the row tells.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final
from uuid import UUID

import asyncpg
import msgspec

from burnish.engines import catalogue
from burnish.errors import Expired, Invalid, explained
from burnish.ids import new_id
from burnish.settings import Tasks as TaskSettings
from burnish.storage.group import LATER, Group, Later
from burnish.storage.postgres import Connection, Database
from burnish.tasks import store
from burnish.tasks.decide import decide
from burnish.tasks.task import LANES, QUEUED, WAITING, Task, lane_topic
from burnish.uploads import store as blobs
from burnish.uploads.blob import Blob
from burnish.uploads.receive import FETCH_TOPIC

#: An input that expires sooner than this after the submission is kept longer for its task.
_INPUT_KEPT: Final = timedelta(days=1)
#: After an account was waited for in vain, no group waits for any.
_HURRIED_SECONDS: Final = 0.25


@dataclass(frozen=True, slots=True, kw_only=True)
class Submission:
    """One task to be admitted, checked as far as it can be without the database. `source` is a blob's id or a URL."""

    id: UUID
    account_id: UUID
    environment: str
    key_id: UUID | None
    request_id: str
    model: catalogue.Model
    parameters: msgspec.Struct
    input: bytes
    metadata: bytes | None
    source: UUID | str | None
    max_attempts: int
    deadline_seconds: int
    retention_seconds: int


def parameters_of(
    name: str, input_: bytes, *, hidden: bool = False
) -> tuple[catalogue.Model, msgspec.Struct]:
    """The model of that name and its parameters, checked; `hidden` models are there for tests and benches.

    Raises:
        Invalid: there is no such model, or a parameter is wrong; `param` names it (`input.scale`).
    """
    model = catalogue.find_model(name)
    if model is None or not (model.public or hidden):
        names = ", ".join(known.name for known in catalogue.models())
        raise Invalid(
            f"There is no model {name[:60]!r}. There are: {names}.", code="unknown_model", param="model"
        )
    try:
        return model, msgspec.json.decode(input_, type=model.parameters)
    except msgspec.ValidationError as error:
        raise explained(str(error), "input", model.parameters) from error


class Submissions:
    """One a process: the group that submissions join."""

    def __init__(self, db: Database, tasks: TaskSettings) -> None:
        self._db = db
        self._tasks = tasks
        self._hurried_until = 0.0
        self.group: Group[Submission, Task] = Group(
            self._admit,
            rows=tasks.batch_rows,
            bytes_=tasks.batch_bytes,
            size=lambda submission: len(submission.input) + len(submission.metadata or b""),
            recover=self._look_up,
        )

    async def submit(self, submission: Submission) -> Task:
        """Admit; returns once the task is on disk.

        Raises:
            Expired, Invalid: the source; `param` names it.
            Unavailable: the database does not answer, or the account was locked for two seconds.
        """
        return await self.group.add(submission)

    async def _admit(self, submissions: Sequence[Submission]) -> Sequence[Task | Exception | Later]:
        try:
            if time.monotonic() >= self._hurried_until:
                try:
                    return await self._admit_new(submissions, skip_locked=False)
                except asyncpg.LockNotAvailableError:  # somebody holds an account for long: go on without it
                    self._hurried_until = time.monotonic() + _HURRIED_SECONDS
            return await self._admit_new(submissions, skip_locked=True)
        except asyncpg.UniqueViolationError:  # an earlier try was admitted after all
            return await self._look_up(submissions)

    async def _admit_new(
        self, submissions: Sequence[Submission], *, skip_locked: bool
    ) -> Sequence[Task | Exception | Later]:
        now = self._db.clock.now()
        async with self._db.brief_transaction() as tx:
            accounts = {submission.account_id for submission in submissions}
            queues = await store.lock_accounts(tx, accounts, self._tasks, now, skip_locked=skip_locked)
            ids = {s.source for s in submissions if isinstance(s.source, UUID)}
            sources = await blobs.share_blobs(tx, ids) if ids else {}
            answers = [self._decide(submission, queues, sources, now) for submission in submissions]
            admitted = [answer for answer in answers if isinstance(answer, dict)]
            if admitted:
                await self._write(tx, admitted, queues, sources, now)
        self._tell(admitted)
        return [_as_task(answer) if isinstance(answer, dict) else answer for answer in answers]

    def _decide(
        self, submission: Submission, queues: store.Queues, sources: dict[UUID, Blob], now: datetime
    ) -> dict[str, Any] | Exception | Later:
        """The row to insert; or why not."""
        if submission.account_id not in queues:
            return LATER
        source = sources.get(submission.source) if isinstance(submission.source, UUID) else None
        if isinstance(submission.source, UUID) and (refusal := _refusal(submission, source, now)):
            return refusal
        row = _row(submission, now)
        if submission.source is not None and (source is None or source.type is None):
            arrived = source is None or source.object_key is not None
            return row | {
                "status": WAITING,
                "fetchable": arrived,
                "source_id": source.id if source else new_id(),
                "waits_until": None if arrived else source.expires_at if source else None,
            }
        place = submission.account_id, LANES[submission.model.lane]
        verdict = decide(queues.queues[place], queues.times[place[1]])
        queues.queues[place] = verdict.queue
        return row | {"status": QUEUED, "ready": verdict.ready, "tag": verdict.tag, "queued_at": now}

    async def _write(
        self,
        tx: Connection,
        rows: list[dict[str, Any]],
        queues: store.Queues,
        sources: dict[UUID, Blob],
        now: datetime,
    ) -> None:
        kept_until = now + _INPUT_KEPT
        fetched = [r for r in rows if r["source_url"] is not None]
        if fetched:
            await blobs.insert_fetched(
                tx,
                [
                    (
                        r["source_id"],
                        r["account_id"],
                        r["environment"],
                        r["id"],
                        max(r["expires_at"], kept_until),
                    )
                    for r in fetched
                ],
                now,
            )
        short = [
            r["source_id"]
            for r in rows
            if (blob := sources.get(r["source_id"])) and blob.object_key and blob.expires_at < kept_until
        ]
        if short:
            await blobs.keep_until(tx, sorted(set(short)), kept_until)
        await store.insert_tasks(tx, rows, queues, now)

    def _tell(self, rows: list[dict[str, Any]]) -> None:
        topics = {lane_topic(row["lane"]) for row in rows if row["ready"]}
        if any(row["fetchable"] for row in rows):
            topics.add(FETCH_TOPIC)
        self._db.news.announce(topics)

    async def _look_up(self, submissions: Sequence[Submission]) -> Sequence[Task | Exception | Later]:
        """After a connection lost at COMMIT: those that are there were admitted, the others go into the next group.

        The accounts are locked first: then whoever was still committing has decided.
        """
        accounts = {submission.account_id for submission in submissions}
        async with self._db.transaction() as tx:
            await store.lock_accounts(tx, accounts, self._tasks, self._db.clock.now())
            found = await store.read_tasks(tx, [submission.id for submission in submissions])
        topics = [lane_topic(LANES["light"]), lane_topic(LANES["heavy"]), FETCH_TOPIC]
        self._db.news.announce(topics if found else [])
        return [found.get(submission.id, LATER) for submission in submissions]


def _refusal(submission: Submission, source: Blob | None, now: datetime) -> Exception | None:
    """Why this source cannot be taken, as far as it is known."""
    param = "input.image"
    owner = (submission.account_id, submission.environment)
    if source is None or (source.account_id, source.environment) != owner:
        return Invalid(
            "There is no such upload. Give an upload's id, or a URL.", param=param, code="upload_not_found"
        )
    if source.expires_at <= now:
        return Expired("This upload has expired. Upload the file again.", param=param, code="upload_expired")
    if source.fault is not None:
        reason, _, message = source.fault.partition(": ")
        return Invalid(message, param=param, code=reason)
    if source.width is not None and source.height is not None:
        refused = catalogue.output_refusal(
            submission.model, submission.parameters, source.width, source.height
        )
        if refused:
            return Invalid(refused[1], param=param, code=refused[0])
    return None


def _row(submission: Submission, now: datetime) -> dict[str, Any]:
    return {
        "id": submission.id,
        "account_id": submission.account_id,
        "environment": submission.environment,
        "key_id": submission.key_id,
        "request_id": submission.request_id,
        "model": submission.model.name,
        "lane": LANES[submission.model.lane],
        "ready": False,
        "fetchable": False,
        "tag": None,
        "input": submission.input,
        "metadata": submission.metadata,
        "source_id": submission.source if isinstance(submission.source, UUID) else None,
        "source_url": submission.source if isinstance(submission.source, str) else None,
        "max_attempts": submission.max_attempts,
        "deadline_seconds": submission.deadline_seconds,
        "created_at": now,
        "queued_at": None,
        "waits_until": None,
        "retention_seconds": submission.retention_seconds,
        "expires_at": now + timedelta(seconds=submission.retention_seconds),
    }


_UNTOUCHED: Final[dict[str, Any]] = {
    "attempts": 0,
    "stage": None,
    "progress": 0.0,
    "status_reason": None,
    "status_message": None,
    "outputs": None,
    "cost_held": 0,
    "cost_charged": 0,
    "started_at": None,
    "ended_at": None,
}


def _as_task(row: dict[str, Any]) -> Task:
    """The task as it stands right after its insert."""
    return Task(**{name: row[name] for name in Task.__dataclass_fields__ if name in row}, **_UNTOUCHED)


def source_of(parameters: msgspec.Struct) -> str | None:
    """What the parameters name as the picture to work on; None for a model that takes none."""
    source: str | None = getattr(parameters, "image", None)
    return source
