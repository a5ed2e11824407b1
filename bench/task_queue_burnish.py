"""Burnish's side of `bench queue`: `task_queue_burnish.py burnish prepare|work|submit [TASKS RATE]`."""

import asyncio
import dataclasses
import json
import os
import signal
import sys
import time
from typing import Any
from uuid import UUID

import task_queue
import uvloop

from burnish import log
from burnish.ids import new_id
from burnish.keys.store import ensure_account
from burnish.resources import Resources, open_resources
from burnish.settings import Settings, read
from burnish.tasks.submit import Submission, parameters_of
from burnish.workers.worker import Worker


class NoopEngines:
    """The runner: writes the record that every queue's no-op writes."""

    async def run(self, job: Any, _progress: Any) -> list[Any]:
        task_queue.record(round(job.params.seconds * 10))
        return []


def settings() -> Settings:
    found = read(
        {},
        {
            "data": os.environ["BENCH_RECORDS"] + "-data",
            "database.url": os.environ["BENCH_POSTGRES"],
            "secret_keys": ("only-for-this-bench",),
            "outbound.allow": os.environ.get("BURNISH_OUTBOUND_ALLOW", ""),
        },
    )
    return dataclasses.replace(found, workers=dataclasses.replace(found.workers, light=128))


async def work() -> None:
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    log.start(level="error", format="json")
    async with open_resources(settings()) as resources:
        await Worker(resources, NoopEngines()).run(stop)  # type: ignore[arg-type]


async def submit(tasks: int, rate: float) -> None:
    log.start(level="error", format="json")
    async with open_resources(settings()) as resources:
        async with resources.db.transaction() as tx:
            account = await ensure_account(tx, new_id(), "bench", resources.clock.now())

        async def one(number: int) -> None:
            await submit_one(resources, account, number)

        submitted = await task_queue.paced(tasks, rate, one)
        while await _unended(resources):
            await asyncio.sleep(0.002)
        print(json.dumps({"submitted": submitted, "done": time.monotonic()}))


async def submit_one(resources: Resources, account: UUID, number: int) -> UUID:
    """A no-op of that number, which travels as a parameter."""
    input_ = b'{"seconds": %.1f}' % (number / 10)
    model, parameters = parameters_of("noop", input_, hidden=True)
    submission = Submission(
        id=new_id(),
        account_id=account,
        environment="live",
        key_id=None,
        request_id="req_bench",
        model=model,
        parameters=parameters,
        input=input_,
        metadata=None,
        max_attempts=3,
        deadline_seconds=60,
        retention_seconds=3600,
    )
    await resources.submissions.submit(submission)
    return submission.id


async def _unended(resources: Resources) -> bool:
    """Whether a task is still ready or running: two looks at partial indexes."""
    async with resources.db.reading() as connection:
        return bool(
            await connection.fetchval(
                "SELECT EXISTS (SELECT FROM tasks WHERE lane = 0 AND ready) "
                "OR EXISTS (SELECT FROM tasks WHERE leased_until IS NOT NULL)"
            )
        )


if __name__ == "__main__":
    if sys.argv[2] == "work":
        uvloop.run(work())
    elif sys.argv[2] == "submit":
        uvloop.run(submit(int(sys.argv[3]), float(sys.argv[4])))
