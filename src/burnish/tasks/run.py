"""Run a claimed task: its bytes to the engine, the engine's outputs to storage. Called by the worker.

Ends in an `Ending`, whatever happens, or is cancelled from outside when the lease is lost. Nothing here writes
the task's row. Each output's object is named, durably, before its first byte; its key contains the lease, so the
bytes of a run that was believed dead never stand in the way of the run that replaced it.
"""

import asyncio
import contextlib
import os
import tempfile
from collections.abc import Callable
from pathlib import PurePath
from typing import BinaryIO
from uuid import UUID

import msgspec
from msgspec import Struct

from burnish import log
from burnish.engines import catalogue
from burnish.engines.catalogue import Model
from burnish.engines.engine import Engines, Job, Output
from burnish.errors import Failed, NotFound, Unavailable
from burnish.ids import new_id
from burnish.storage.blobs import Blobs
from burnish.storage.postgres import Database
from burnish.tasks import store
from burnish.tasks.canned import canned, is_canned
from burnish.tasks.checkpoints import TaskCheckpoints
from burnish.tasks.finish import Ending
from burnish.tasks.sources import places_of
from burnish.tasks.task import UNTOLD, Claimed, OutputRecord
from burnish.uploads.blob import OUTPUT, Blob
from burnish.uploads.chunks import chunks_of
from burnish.uploads.keep import keep_object
from burnish.uploads.store import read_blobs

_log = log.get("run")

Progress = Callable[[str, float], None]  #: told the stage and how much of it is done, 0 to 1


async def run(task: Claimed, *, db: Database, blobs: Blobs, engines: Engines, progress: Progress) -> Ending:
    """Do the work of one claim, within its deadline.

    Raises:
        Unavailable: the database or the storage is away or full; the task is tried again when its lease runs out.
    """
    try:
        async with asyncio.timeout(task.deadline_seconds) as limit:
            return await _run(task, db, blobs, engines, progress)
    except TimeoutError:
        if not limit.expired():
            raise
        return Ending(task, "deadline_exceeded", f"The task did not end within {task.deadline_seconds} s.")
    except Failed as failed:
        return Ending(task, failed.reason, failed.message)
    except Unavailable as error:
        if task.attempts < task.max_attempts:
            raise
        return Ending(
            task, "internal", f"The result could not be kept, {task.attempts} times: {error.message}"
        )


async def _run(task: Claimed, db: Database, blobs: Blobs, engines: Engines, progress: Progress) -> Ending:
    model = catalogue.find_model(task.model)
    if model is None:
        raise Failed("internal", f"The model {task.model} is no longer here.")
    parameters = msgspec.json.decode(task.input, type=model.parameters)
    if is_canned(task, model):
        made = await canned(task, model, parameters, db=db, engines=engines, progress=progress)
    else:
        made = await _made(task, model, parameters, db, blobs, engines, progress)
    try:
        if made:
            progress("storing", 0.0)
        return Ending(task, outputs=[await _store(task, output, db, blobs) for output in made])
    finally:
        for output in made:
            os.close(output.fd)


async def _made(
    task: Claimed,
    model: Model,
    parameters: Struct,
    db: Database,
    blobs: Blobs,
    engines: Engines,
    progress: Progress,
) -> list[Output]:
    """What the engine makes of the sources' bytes, each in a file of its own."""
    places = places_of(model, parameters)
    stored = (
        await _stored(task, db) if len(places) > 1 else [(task.source_id, task.object_key, task.filename)]
    )
    with contextlib.ExitStack() as files:
        fds, names = [], []
        for number, (source_id, object_key, filename) in enumerate(stored):
            if source_id is None:  # there is none, or a test key's that is only pretended
                continue
            progress("fetching", number / len(stored))
            file = files.enter_context(tempfile.TemporaryFile())
            try:
                await copy_source(blobs, object_key, file)
            except Failed as failed:
                raise failed if len(places) == 1 else failed.at(places[number]) from failed
            fds.append(file.fileno())
            names.append(filename or "")
        job = Job(
            account=task.account_id,
            model=model,
            params=parameters,
            source_fds=fds,
            deadline_seconds=task.deadline_seconds,
            filenames=names,
            checkpoints=TaskCheckpoints(task, db, blobs) if model.film else None,
        )
        return await engines.run(job, progress)


async def _stored(task: Claimed, db: Database) -> list[tuple[UUID | None, str | None, str | None]]:
    """Of each of the task's several sources: the blob, where its bytes lie, and its name."""
    async with db.reading() as connection:
        sources = (await store.read_sources(connection, [task.id])).get(task.id, [])
        found = await read_blobs(connection, {source_id for source_id, _ in sources if source_id})
    blobs = [found.get(source_id) if source_id else None for source_id, _ in sources]
    return [
        (source_id, blob.object_key if blob else None, blob.filename if blob else None)
        for (source_id, _), blob in zip(sources, blobs, strict=True)
    ]


async def copy_source(blobs: Blobs, key: str | None, into: BinaryIO) -> None:
    """The bytes of an object into an open file. Raises Failed when they have expired."""
    expired = Failed("input_unreachable", "The input has expired. Upload it again and make a new task.")
    if key is None:
        raise expired
    try:
        await blobs.copy_to(key, into.fileno())
    except NotFound as error:
        raise expired from error
    into.seek(0)


async def _store(task: Claimed, output: Output, db: Database, blobs: Blobs) -> tuple[OutputRecord, Blob]:
    stored = await keep_object(db, blobs, chunks_of(output.fd), task.id, task.lease_id, max_bytes=1 << 40)
    stem = PurePath(task.filename or task.model).stem or task.model
    suffix = "" if task.model == UNTOLD else f"-{output.role or task.model}"
    filename = f"{stem}{suffix}.{output.extension}"
    now = db.clock.now()
    blob = Blob(
        id=new_id(),
        account_id=task.account_id,
        environment=task.environment,
        kind=OUTPUT,
        task_id=task.id,
        filename=filename,
        declared_type=None,
        declared_size=None,
        declared_hash=None,
        object_key=stored.key,
        size_bytes=stored.size_bytes,
        sha256=stored.sha256,
        arrived_at=now,
        type=output.type,
        width=output.width,
        height=output.height,
        frames=1,
        fault=None,
        created_at=now,
        expires_at=now,  # set by the ending, which knows when it is
        seconds=output.seconds,
        frame_rate=output.frame_rate,
    )
    record = OutputRecord(
        id=blob.id,
        type=output.type,
        filename=filename,
        width=output.width,
        height=output.height,
        size_bytes=stored.size_bytes,
        notes=output.notes,
        role=output.role,
        seconds=output.seconds,
        frame_rate=output.frame_rate,
        data=output.data,
    )
    return record, blob
