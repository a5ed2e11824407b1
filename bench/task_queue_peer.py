"""The peers of `bench queue`: `task_queue_peer.py NAME prepare|work|submit [TASKS RATE]`, run by the peers' own Python.

Each is set up as its documentation does for a first program; nothing is tuned against it.
"""
# The peers are installed in an environment of their own, where no type checker looks.
# mypy: disable-error-code="import-not-found,untyped-decorator"

import asyncio
import json
import os
import sys
import time
from pathlib import Path

import task_queue

PEER = os.environ.get("BENCH_NAME") or (sys.argv[1] if len(sys.argv) > 1 else "")
REDIS = os.environ.get("BENCH_REDIS", "")
POSTGRES = os.environ.get("BENCH_POSTGRES", "")

if PEER == "dramatiq":
    import dramatiq
    from dramatiq.brokers.redis import RedisBroker

    dramatiq.set_broker(RedisBroker(url=REDIS))

    @dramatiq.actor
    def dramatiq_noop(number: int) -> None:
        task_queue.record(number)

elif PEER == "celery":
    from celery import Celery

    celery_app = Celery("bench", broker=REDIS)
    celery_app.conf.task_ignore_result = True

    @celery_app.task(name="noop")
    def celery_noop(number: int) -> None:
        task_queue.record(number)

elif PEER == "taskiq":
    from taskiq_redis import ListQueueBroker

    taskiq_broker = ListQueueBroker(REDIS)

    @taskiq_broker.task(task_name="noop")
    async def taskiq_noop(number: int) -> None:
        task_queue.record(number)

elif PEER == "procrastinate":
    import procrastinate

    procrastinate_app = procrastinate.App(connector=procrastinate.PsycopgConnector(conninfo=POSTGRES))

    @procrastinate_app.task(name="noop")
    async def procrastinate_noop(number: int) -> None:
        task_queue.record(number)


def prepare() -> None:
    if PEER == "procrastinate":

        async def schema() -> None:
            async with procrastinate_app.open_async():
                if not await procrastinate_app.check_connection_async():
                    await procrastinate_app.schema_manager.apply_schema_async()

        asyncio.run(schema())


def work() -> None:
    os.environ |= {"BENCH_NAME": PEER, "PYTHONPATH": str(Path(__file__).parent)}
    module = Path(__file__).stem
    scripts = Path(sys.executable).parent
    commands = {
        "dramatiq": [str(scripts / "dramatiq"), module, "--processes", "1"],
        "celery": [str(scripts / "celery"), "-A", f"{module}:celery_app", "worker", "--concurrency", "2", "-l", "ERROR"],
        "taskiq": [str(scripts / "taskiq"), "worker", f"{module}:taskiq_broker", "--workers", "1"],
        "procrastinate": [str(scripts / "procrastinate"), "--app", f"{module}.procrastinate_app", "worker", "--concurrency", "64"],
    }  # fmt: skip
    os.execv(commands[PEER][0], commands[PEER])


def submit(tasks: int, rate: float) -> None:
    if PEER in ("dramatiq", "celery"):
        send = dramatiq_noop.send if PEER == "dramatiq" else celery_noop.delay
        submitted = []
        begun = time.monotonic()
        for number in range(tasks):
            if rate:
                time.sleep(max(0.0, begun + number / rate - time.monotonic()))
            submitted.append(time.monotonic())
            send(number)
    else:
        submitted = asyncio.run(_submit_async(tasks, rate))
    print(json.dumps({"submitted": submitted}))


async def _submit_async(tasks: int, rate: float) -> list[float]:
    if PEER == "taskiq":
        await taskiq_broker.startup()
        at = await task_queue.paced(tasks, rate, taskiq_noop.kiq)
        await taskiq_broker.shutdown()
        return at
    async with procrastinate_app.open_async():
        return await task_queue.paced(
            tasks, rate, lambda number: procrastinate_noop.defer_async(number=number)
        )


if __name__ == "__main__":
    if sys.argv[2] == "prepare":
        prepare()
    elif sys.argv[2] == "work":
        work()
    else:
        submit(int(sys.argv[3]), float(sys.argv[4]))
