"""A task is submitted: its model and parameters are checked, and it is admitted with the next group.

Called by the dialects' routes. `Submissions` gathers what arrives while a transaction is in flight; the next
transaction locks the accounts, looks at the sources, decides, and writes all rows at once. It waits its turn for an
account that endings are being written for; one that is held for longer than that is left to a later group. The id is
made before, so that after a connection lost at COMMIT the row tells.
"""

import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import lru_cache
from typing import Final
from uuid import UUID

import asyncpg
import msgspec

from burnish.credits.price import bounds
from burnish.credits.prices import Prices
from burnish.engines import catalogue
from burnish.errors import Conflict, Expired, Failed, Invalid, Refused, Unavailable, explained
from burnish.keys.plan import Plan, Plans
from burnish.limits.limit import OnLimit
from burnish.limits.standing import Standing
from burnish.settings import Tasks as TaskSettings
from burnish.storage.group import LATER, Group, Later
from burnish.storage.postgres import Connection, Database
from burnish.storage.statement import write
from burnish.tasks import store
from burnish.tasks.accounts import Accounts, lock_and_read
from burnish.tasks.cost import Cost, cost_of, measures_of
from burnish.tasks.decide import DAY, FOR_EVER, MADE, Ask, State, Verdict, apply, decide, made_through
from burnish.tasks.sizes import size_refusal
from burnish.tasks.sources import Given, given_of, next_unseen, places_of, refusal, waits_until
from burnish.tasks.standing import standings
from burnish.tasks.task import (
    FAILED,
    FINAL,
    LANES,
    QUEUED,
    UNTOLD,
    WAITING,
    Task,
    key_digits,
    lane_topic,
)
from burnish.uploads import store as blobs
from burnish.uploads.blob import Blob
from burnish.uploads.receive import FETCH_TOPIC
from burnish.webhooks.announce import account_topic, announce
from burnish.webhooks.event import NATIVE, TASK_FAILED, Event

#: An input that expires sooner than this after the submission is kept longer for its task.
_INPUT_KEPT: Final = timedelta(days=1)
#: After an account was waited for in vain, no group waits for any.
_HURRIED_SECONDS: Final = 0.25
_REMEMBERED: Final = timedelta(hours=24)


class Once(msgspec.Struct, frozen=True):
    """An idempotency key, for what, and over which bytes. `route`: environment, method and path."""

    route: str
    key: str
    fingerprint: bytes


class Submission(msgspec.Struct, frozen=True, kw_only=True):
    """One task to be admitted, checked as far as it can be without the database. `sources`: a blob's id or a URL, or None
    for what is only pretended, for each that its parameters name. `credit_cap`: what its key may spend in all.
    `callback_all`: its start is told too, not only its end. `unasked`: no client asks for it, see `decide.Ask`. `paid_at_download`:
    neither its admission nor its end costs anything. `parks`: a ceiling never refuses it, whatever the plan says.
    """

    id: UUID
    account_id: UUID
    environment: str
    key_id: UUID | None
    request_id: str
    model: catalogue.Model
    parameters: msgspec.Struct
    input: bytes
    metadata: bytes | None
    max_attempts: int
    deadline_seconds: int
    retention_seconds: int
    sources: tuple[UUID | str | None, ...] = ()
    priority: int = 0
    on_limit: OnLimit | None = None
    max_credits: int | None = None
    credit_cap: int | None = None
    retry_of: UUID | None = None
    callback_url: str | None = None
    callback_all: bool | None = None
    unasked: bool = False
    dialect: str = NATIVE
    paid_at_download: bool = False
    parks: bool = False
    once: Once | None = None


class Admission(msgspec.Struct):
    """A task that was admitted now, or (`replayed`) by an earlier request with the same idempotency key. `standings`: as
    its whole group left the quotas. `shadow`: limits that are only counted and would have refused it.
    """

    task: Task
    standings: tuple[Standing, ...] = ()
    replayed: bool = False
    shadow: tuple[str, ...] = ()


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


@dataclass(slots=True)
class _Batch:
    """What one transaction knows, and what it will write."""

    now: datetime
    accounts: Accounts
    sources: dict[UUID, Blob]
    remembered: dict[tuple[UUID, str, str], tuple[bytes, UUID]]
    earlier: dict[UUID, Task]
    rows: list[store.New]
    once: list[tuple[UUID, str, str, bytes, UUID, datetime]]
    judged: list[tuple[Admission | Refused, State, Ask]]

    def tell_standings(self) -> None:
        """How the quotas stand now that all is decided: found once for all tasks of an account, model and key."""
        found: dict[tuple[UUID, int, str, str], tuple[Standing, ...]] = {}
        for answer, state, ask in self.judged:
            place = state.id, ask.lane, ask.model, ask.key
            if place not in found:
                found[place] = standings(state, ask.lane, ask.model, ask.key, self.now)
            answer.standings = found[place]


class Submissions:
    """One a process: the group that submissions join."""

    def __init__(self, db: Database, tasks: TaskSettings, plans: Plans, prices: Prices) -> None:
        self._db = db
        self._plans = plans
        self._prices = prices
        self._hurried_until = 0.0
        self._under_way: Counter[tuple[UUID, str, str]] = Counter()
        self.group: Group[Submission, Admission] = Group(
            self._admit,
            rows=tasks.batch_rows,
            bytes_=tasks.batch_bytes,
            size=lambda submission: len(submission.input) + len(submission.metadata or b""),
            recover=self._look_up,
        )

    async def submit(self, submission: Submission) -> Admission:
        """Admit; returns once the task is on disk.

        Raises:
            Limited, InsufficientCredits: a quota; nothing was spent.
            Expired, Invalid: the source, or an idempotency key that came with another body; `param` names it.
            Conflict: `idempotency_in_progress`: the same request is still being decided.
            Unavailable: the database does not answer, or the account was locked for two seconds.
        """
        if submission.once is None:
            return await self.group.add(submission)
        place = submission.account_id, submission.once.route, submission.once.key
        self._under_way[place] += 1
        try:
            return await self.group.add(submission)
        except Unavailable as error:
            if error.code == "account_busy" and self._under_way[place] > 1:
                raise Conflict(
                    "A request with this idempotency key is still being decided. Send it again in a second.",
                    code="idempotency_in_progress",
                    retry_after=1,
                ) from error
            raise
        finally:
            self._under_way[place] -= 1
            if not self._under_way[place]:
                del self._under_way[place]

    async def _admit(self, submissions: Sequence[Submission]) -> Sequence[Admission | Exception | Later]:
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
    ) -> Sequence[Admission | Exception | Later]:
        now = self._db.clock.now()
        async with self._db.brief_transaction() as tx:
            ids = {submission.account_id for submission in submissions}
            capped = {(s.account_id, key_digits(s.key_id)) for s in submissions if s.credit_cap is not None}
            accounts = await lock_and_read(tx, ids, self._plans, now, capped, skip_locked=skip_locked)
            batch = await self._read(tx, submissions, accounts, now)
            answers = [self._decide(submission, batch) for submission in submissions]
            batch.tell_standings()
            await self._keep_sources(tx, batch)
            parts = accounts.parts()
            if batch.rows:
                parts.append(store.insert_tasks(batch.rows, now))
            if several := [new for new in batch.rows if len(new.given) > 1]:
                parts.append(store.insert_sources(several))
            if batch.once:
                parts.append(store.remember(batch.once))
            await write(tx, parts)
            told = await announce(tx, _events(batch), now)
        self._tell(batch.rows, told)
        return answers

    async def _read(
        self, tx: Connection, submissions: Sequence[Submission], accounts: Accounts, now: datetime
    ) -> _Batch:
        """What the decisions need, under the accounts' locks."""
        wanted = {source for s in submissions for source in s.sources if isinstance(source, UUID)}
        sources = await blobs.share_blobs(tx, wanted) if wanted else {}
        once = {(s.account_id, s.once.route, s.once.key) for s in submissions if s.once is not None}
        remembered = await store.read_remembered(tx, once, now) if once else {}
        earlier = (
            await store.read_tasks(tx, [task_id for _, task_id in remembered.values()]) if remembered else {}
        )
        return _Batch(now, accounts, sources, remembered, earlier, [], [], [])

    def _decide(self, submission: Submission, batch: _Batch) -> Admission | Exception | Later:
        """Its answer; a task that is admitted is in the batch, and has spent what it spends."""
        if submission.account_id not in batch.accounts:
            return LATER
        if (replayed := _replayed(submission, batch)) is not None:
            return replayed
        given = given_of(submission.sources, batch.sources)
        plan = batch.accounts.states[submission.account_id].plan
        if (refusal := source_refusal(submission, given, plan, batch.now)) is not None:
            return refusal
        measures = measures_of(given[0].blob if given else None)
        try:
            cost = cost_of(self._prices, submission.model, submission.parameters, *measures)
        except Failed as failed:
            return Invalid(failed.message, param="input", code=failed.reason)
        return self._judge(submission, batch, given, cost)

    def _judge(
        self, submission: Submission, batch: _Batch, given: tuple[Given, ...], cost: Cost | None
    ) -> Admission | Exception:
        """The decision on one that can be done, and what it makes of the account and the batch."""
        state = batch.accounts.states[submission.account_id]
        seen, free = next_unseen(given) is None, submission.paid_at_download
        ask = Ask(
            task_id=submission.id,
            lane=LANES[submission.model.lane],
            model=submission.model.name,
            key=key_digits(submission.key_id),
            cost=(cost.credits if cost and not free else 0) if seen else None,
            lowest=0 if seen or free else bounds(self._prices.get_rule(submission.model.price))[0],
            on_limit=submission.on_limit,
            max_credits=submission.max_credits,
            credit_cap=submission.credit_cap,
            unasked=submission.unasked,
            parks=submission.parks,
        )
        verdict = decide(state, ask, batch.now)
        if verdict.status is None:
            assert verdict.refusal is not None
            batch.judged.append((verdict.refusal, state, ask))
            return verdict.refusal
        tag = apply(state, ask, verdict, batch.accounts.times[ask.lane], batch.now)
        new = _new(
            submission, verdict, tag, cost if state.plan.metered and not free else None, given, batch.now
        )
        if verdict.refusal is None and not ask.unasked and (day := state.windows.get((DAY, ""))) is not None:
            new.day_starts_at = day[0].starts_at
        batch.rows.append(new)
        if submission.dialect != NATIVE:  # whose lists say how many there are, without counting them
            state.count(MADE, made_through(submission.environment, submission.dialect), FOR_EVER, 1)
        if submission.once is not None:
            _remember(submission.once, batch, new.task)
        admission = Admission(new.task, shadow=verdict.shadow)
        batch.judged.append((admission, state, ask))
        return admission

    async def _keep_sources(self, tx: Connection, batch: _Batch) -> None:
        """Blobs that URLs will be fetched into; and the inputs of tasks outlive their tasks' next day."""
        kept_until = batch.now + _INPUT_KEPT
        fetched = {
            source.source_id: (
                source.source_id, t.account_id, t.environment, t.id, max(t.expires_at, kept_until)
            )
            for new in batch.rows
            if (t := new.task).status == WAITING
            for source in new.given
            if source.source_url is not None and source.source_id is not None
        }  # fmt: skip
        if fetched:
            await blobs.insert_fetched(tx, list(fetched.values()), batch.now)
        short = {
            source.blob.id
            for new in batch.rows
            for source in new.given
            if source.blob is not None
            and source.blob.object_key
            and source.blob.expires_at < kept_until
            and new.task.model != UNTOLD  # nobody lengthens a file's life by looking at it
        }
        if short:
            await blobs.keep_until(tx, sorted(short), kept_until)

    def _tell(self, rows: list[store.New], told: set[str]) -> None:
        topics = told | {lane_topic(new.task.lane) for new in rows if new.task.ready}
        if any(new.fetchable for new in rows):
            topics.add(FETCH_TOPIC)
        topics |= {account_topic(new.task.account_id) for new in rows if new.task.status == FAILED}
        self._db.news.announce(topics)

    async def _look_up(self, submissions: Sequence[Submission]) -> Sequence[Admission | Exception | Later]:
        """After a connection lost at COMMIT: those that are there were admitted, the others go into the next group.

        The accounts are locked first: then whoever was still committing has decided.
        """
        accounts = {submission.account_id for submission in submissions}
        async with self._db.transaction() as tx:
            await store.lock_accounts(tx, accounts)
            found = await store.read_tasks(tx, [submission.id for submission in submissions])
        topics = [lane_topic(LANES["light"]), lane_topic(LANES["heavy"]), FETCH_TOPIC]
        self._db.news.announce(topics if found else [])
        return [
            Admission(found[submission.id]) if submission.id in found else LATER for submission in submissions
        ]


def _events(batch: _Batch) -> list[Event]:
    """Of tasks that were admitted as failed, and of what accounts are told of themselves."""
    states = batch.accounts.states
    found = [
        Event(
            account_id=new.task.account_id,
            environment=new.task.environment,
            name=TASK_FAILED,
            task_id=new.task.id,
            callback_url=new.task.callback_url,
            dialect=new.task.dialect,
        )
        for new in batch.rows
        if new.task.status == FAILED
        and new.task.model != UNTOLD
        and (new.task.callback_url is not None or states[new.task.account_id].listens)
    ]
    return found + batch.accounts.told({new.task.account_id: new.task.environment for new in batch.rows})


def _remember(once: Once, batch: _Batch, task: Task) -> None:
    """So that the same request again finds this task: one that waits in this very batch, or one that comes later."""
    place = task.account_id, once.route, once.key
    batch.once.append((*place, once.fingerprint, task.id, batch.now + _REMEMBERED))
    batch.remembered[place] = once.fingerprint, task.id
    batch.earlier[task.id] = task


def _replayed(submission: Submission, batch: _Batch) -> Admission | Exception | None:
    """What an earlier request with the same idempotency key made; None for a new one."""
    once = submission.once
    if once is None:
        return None
    found = batch.remembered.get((submission.account_id, once.route, once.key))
    if found is None:
        return None
    fingerprint, task_id = found
    if fingerprint != once.fingerprint:
        return Invalid(
            "This idempotency key came with another body. Use a new key for a new request.",
            code="idempotency_key_reused",
            param="Idempotency-Key",
        )
    task = batch.earlier.get(task_id)
    if task is None or (task.status in FINAL and task.expires_at <= batch.now):
        return Expired("The task that this idempotency key made is gone. Use a new key.", code="expired")
    return Admission(task, replayed=True)


def source_refusal(
    submission: Submission, given: Sequence[Given], plan: Plan, now: datetime
) -> Refused | None:
    """Why an account of this plan cannot have the first of these sources taken that it cannot, as far as it is known; `param` names its place."""
    for position, source in enumerate(given):
        if source.source_id is None or source.source_url is not None:
            continue
        if (refused := _refusal(submission, source.blob, plan, now)) is not None:
            refused.param = places_of(submission.model, submission.parameters)[position]
            return refused
    return None


def _refusal(submission: Submission, source: Blob | None, plan: Plan, now: datetime) -> Refused | None:
    owner = (submission.account_id, submission.environment)
    if source is None or (source.account_id, source.environment) != owner:
        return Invalid("There is no such upload. Give an upload's id, or a URL.", code="upload_not_found")
    if source.expires_at <= now:
        return Expired("This upload has expired. Upload the file again.", code="upload_expired")
    if source.fault is not None:
        reason, _, message = source.fault.partition(": ")
        return Invalid(message, code=reason)
    refused = refusal(submission.model, submission.parameters, source)
    if refused is None and source.width is not None and source.height is not None:
        refused = size_refusal(submission.model, submission.parameters, plan, source.width, source.height)
    return Invalid(refused[1], code=refused[0]) if refused else None


def _new(
    submission: Submission,
    verdict: Verdict,
    tag: int | None,
    cost: Cost | None,
    given: tuple[Given, ...],
    now: datetime,
) -> store.New:
    """The task as it stands right after its insert. `cost`: where tasks cost anything."""
    status = verdict.status or ""
    failed, waits, queued = status == FAILED, status == WAITING, status == QUEUED
    unseen = next_unseen(given) if waits else None
    source = unseen or (given[0] if given else None)
    task = Task(
        id=submission.id,
        account_id=submission.account_id,
        environment=submission.environment,
        key_id=submission.key_id,
        request_id=submission.request_id,
        model=submission.model.name,
        lane=LANES[submission.model.lane],
        priority=submission.priority,
        status=status,
        ready=tag is not None,
        input=submission.input,
        metadata=submission.metadata,
        source_id=source.source_id if source else None,
        source_url=source.source_url if source else None,
        retry_of=submission.retry_of,
        attempts=0,
        stage=None,
        progress=0.0,
        status_reason=verdict.reason if failed else None,
        status_message=verdict.refusal.message if verdict.refusal else None,
        outputs=None,
        max_credits=submission.max_credits,
        price=cost.price if cost and queued else None,
        callback_url=submission.callback_url,
        dialect=submission.dialect,
        paid_at_download=submission.paid_at_download,
        callback_all=submission.callback_all,
        cost_held=cost.credits if cost and queued else 0,
        cost_charged=0,
        max_attempts=submission.max_attempts,
        deadline_seconds=submission.deadline_seconds,
        retention_seconds=submission.retention_seconds,
        created_at=now,
        queued_at=now if queued else None,
        started_at=None,
        ended_at=now if failed else None,
        expires_at=now + _seconds(submission.retention_seconds),
        tag=tag,
    )
    if unseen is None:
        return store.New(task, tag, given)
    # May the bytes be fetched now, and how long is waited for those that have not come?
    return store.New(task, tag, given, fetchable=unseen.fetchable, waits_until=waits_until(given))


@lru_cache(maxsize=1024)
def _seconds(seconds: int) -> timedelta:
    return timedelta(seconds=seconds)
