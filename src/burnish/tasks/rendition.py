"""A result in another form, asked for by a link to it: made once, by a task that is found again until the result's end.

Called by the dialects' routes that serve files. The API touches no pixel: the task is one of the model `rendition`, which is
`render` with another name. It belongs to the account whose result it is, but no client made it: it spends no window, is never
refused for a ceiling (it waits for a slot), and nobody is told of it. Row and place are made before the task, so that whoever
asks at the same time finds the same task; one that was lost on the way to it is submitted again by whoever asks next.
"""

from datetime import datetime
from uuid import UUID

import msgspec

from burnish.engines import catalogue
from burnish.engines.catalogue import RENDITION, Render
from burnish.engines.catalogue.model import Format, MetadataPolicy, Quality
from burnish.errors import STATUS_REASONS, Conflict, Invalid, NotFound, Unavailable
from burnish.ids import new_id, to_wire
from burnish.storage.postgres import Database, answering
from burnish.tasks import store
from burnish.tasks.find import Reads
from burnish.tasks.submit import Submission, Submissions
from burnish.tasks.task import FAILED, FINAL, SUCCEEDED, Task, outputs_of
from burnish.uploads import store as blobs
from burnish.uploads.blob import Blob

_ENCODE = msgspec.json.Encoder(order="deterministic").encode
#: When to ask again for one that is being made.
_AGAIN_SECONDS = 2


class Form(msgspec.Struct, frozen=True, omit_defaults=True):
    """What is asked for: the parameters of `render`, less the picture."""

    scale: float = 1.0
    max_width: int | None = None
    preview: bool = False
    watermark: bool = False
    format: Format = None
    quality: Quality = 90
    metadata: MetadataPolicy = "keep"


async def get_rendition(
    db: Database,
    submissions: Submissions,
    reads: Reads,
    source: Blob,
    form: Form,
    *,
    request_id: str,
    seconds: float,
    most: int,
    now: datetime,
) -> Blob:
    """The bytes of `source` in another form, waited for so long. `most`: how many forms of one file there may be.

    Raises:
        Unavailable: `rendition_pending`: it is not made yet; ask again.
        Conflict: `too_many_renditions`.
        Invalid: it cannot be made; the code is the status reason.
    """
    task_id = await _place(db, source.id, form, most)
    for _ in range(2):
        task = await reads.find_task(task_id)
        if task is None:
            task = await _submitted(submissions, _submission(task_id, source, form, request_id, now))
        if task.status not in FINAL:
            task = await reads.wait_for(task, seconds)
        if task.status == SUCCEEDED and (made := await _made(db, task, now)) is not None:
            return made
        if task.status not in FINAL:
            break
        if task.status == FAILED and not STATUS_REASONS.get(task.status_reason or "", False):
            raise Invalid(task.status_message or "This form cannot be made.", code=task.status_reason)
        task_id = await _replaced(db, source.id, form, task.id)
    raise pending()


async def _submitted(submissions: Submissions, submission: Submission) -> Task:
    try:
        return (await submissions.submit(submission)).task
    except Invalid as refused:
        refused.param = None  # there is no such field in what was asked
        raise


def pending() -> Unavailable:
    """For whoever cannot be kept waiting."""
    return Unavailable(
        "This form of the file is being made. Ask again in a moment.",
        code="rendition_pending",
        retry_after=_AGAIN_SECONDS,
    )


async def _place(db: Database, source_id: UUID, form: Form, most: int) -> UUID:
    """The id of the task that makes it, or will."""
    parameters = _ENCODE(form)
    with answering():
        async with db.reading() as connection:
            found = await store.find_rendition(connection, source_id, parameters)
        if found is not None:
            return found
        async with db.transaction() as tx:
            if not await blobs.lock_blob(tx, source_id):
                raise NotFound("This file is no longer here.")
            found = await store.find_rendition(tx, source_id, parameters)
            if found is not None:
                return found
            if await store.count_renditions(tx, source_id) >= most:
                raise Conflict(
                    f"This file was asked for in {most} forms already, which is as many as are made of one.",
                    code="too_many_renditions",
                    details={"limit": most},
                )
            return await store.insert_rendition(tx, source_id, parameters, new_id())


async def _replaced(db: Database, source_id: UUID, form: Form, task_id: UUID) -> UUID:
    """Another task in the place of one that ended without leaving anything; whoever is first chooses it."""
    with answering():
        async with db.transaction() as tx:
            found = await store.replace_rendition(tx, source_id, _ENCODE(form), task_id, new_id())
    if found is None:
        raise NotFound("This file is no longer here.")
    return found


def _submission(task_id: UUID, source: Blob, form: Form, request_id: str, now: datetime) -> Submission:
    model = catalogue.find_model(RENDITION)
    assert model is not None
    parameters = Render(image=to_wire(source.kind, source.id), **msgspec.structs.asdict(form))
    return Submission(
        id=task_id,
        account_id=source.account_id,
        environment=source.environment,
        key_id=None,
        request_id=request_id,
        model=model,
        parameters=parameters,
        input=_ENCODE(parameters),
        metadata=None,
        max_attempts=2,
        deadline_seconds=model.deadline_seconds,
        retention_seconds=max(1, int((source.expires_at - now).total_seconds())),
        sources=(source.id,),
        unasked=True,
    )


async def _made(db: Database, task: Task, now: datetime) -> Blob | None:
    """What it has made; None where that is gone, as the file has been kept for longer than was thought."""
    (output,) = outputs_of(task)
    with answering():
        async with db.reading() as connection:
            blob = (await blobs.read_blobs(connection, [output.id])).get(output.id)
    return blob if blob is not None and blob.expires_at > now else None
