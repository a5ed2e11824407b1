"""The fetch lane: bring the bytes of a waiting task, and have their header read in a child.

The API never parses media; this is where what came from outside is first looked at.
"""

import asyncio
import tempfile
from dataclasses import replace
from typing import BinaryIO, Final

from burnish.engines.engine import Engines
from burnish.errors import Failed
from burnish.resources import Resources
from burnish.tasks.arrive import Seen
from burnish.tasks.run import copy_source
from burnish.tasks.task import Claimed
from burnish.uploads import store as blob_store
from burnish.uploads.chunks import chunks_of
from burnish.uploads.keep import keep_object

_PROBE_SECONDS: Final = 30.0


async def fetch(resources: Resources, engines: Engines, task: Claimed) -> Seen:
    """What there is to work on, or why there is nothing; at most as long as the task's run may take.

    Raises:
        Unavailable, and what `LOST` names: ours to mend; the task waits for another try.
    """
    assert task.source_id is not None
    async with resources.db.reading() as connection:
        blob = (await blob_store.read_blobs(connection, [task.source_id])).get(task.source_id)
    if blob is not None and blob.type is not None:  # another task of the same upload was here first
        return Seen(
            task,
            type=blob.type,
            width=blob.width,
            height=blob.height,
            frames=blob.frames,
            seconds=blob.seconds,
            frame_rate=blob.frame_rate,
        )
    try:
        with tempfile.TemporaryFile() as file:
            if blob is not None and blob.object_key is not None:
                await copy_source(resources.blobs, blob.object_key, file)
                return await _probed(Seen(task), engines, file)
            async with asyncio.timeout(task.deadline_seconds) as limit:
                return await _fetched(resources, engines, task, file)
    except Failed as failed:
        return Seen(task, failed=failed)
    except TimeoutError:
        if not limit.expired():
            raise
        message = f"The file did not come whole within {task.deadline_seconds} s. Upload it instead."
        return Seen(task, failed=Failed("input_timeout", message))


async def _fetched(resources: Resources, engines: Engines, task: Claimed, file: BinaryIO) -> Seen:
    """Fetch the URL, look at what came, and keep it only when it is media."""
    if task.source_url is None:
        raise Failed("input_unreachable", "The input has expired. Upload it again and make a new task.")

    async def write(chunk: bytes) -> None:
        await asyncio.to_thread(file.write, chunk)

    max_bytes = resources.settings.uploads.max_bytes
    fetched = await resources.outbound.fetch(task.source_url, write, max_bytes=max_bytes)
    file.flush()
    file.seek(0)
    seen = await _probed(Seen(task, filename=fetched.filename), engines, file)
    kept = await keep_object(
        resources.db, resources.blobs, chunks_of(file.fileno()), task.source_id or task.id, task.lease_id,
        max_bytes=max_bytes,
    )  # fmt: skip
    return replace(seen, object_key=kept.key, size_bytes=kept.size_bytes, sha256=kept.sha256)


async def _probed(seen: Seen, engines: Engines, file: BinaryIO) -> Seen:
    filename = seen.filename or seen.task.filename
    probe = await engines.probe(seen.task.account_id, file.fileno(), _PROBE_SECONDS, filename)
    return replace(
        seen,
        type=probe.type,
        width=probe.width,
        height=probe.height,
        frames=probe.frames,
        seconds=probe.seconds,
        frame_rate=probe.frame_rate,
    )
