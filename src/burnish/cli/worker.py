"""`burnish worker`: a worker alone. `serve` starts these too, and ends them by closing their standard input."""

import argparse
import asyncio
import os
import signal
import sys

import uvloop

from burnish import log
from burnish import settings as settings_
from burnish.cli.files import allow_files
from burnish.engines.engine import Engines
from burnish.resources import open_resources
from burnish.settings import Settings
from burnish.workers.worker import Worker


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--data", metavar="DIR", help="the data directory (default: as in the settings)")
    parser.add_argument("--light", type=int, metavar="N", help="light tasks at once")
    parser.add_argument("--heavy", type=int, metavar="N", help="heavy tasks at once")
    parser.add_argument("--until-stdin-closes", action="store_true", help=argparse.SUPPRESS)


def run(options: argparse.Namespace) -> int:
    settings = settings_.read(
        os.environ, {"data": options.data, "workers.light": options.light, "workers.heavy": options.heavy}
    )
    log.start(level=settings.log.level, format=settings.log.format)
    allow_files()
    uvloop.run(_run(settings, until_stdin_closes=options.until_stdin_closes))
    return 0


async def _run(settings: Settings, *, until_stdin_closes: bool) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    if until_stdin_closes:
        stdin = sys.stdin.fileno()

        def closed() -> (
            None
        ):  # nothing is ever written there: readable means closed, and would go on being so
            loop.remove_reader(stdin)
            stop.set()

        loop.add_reader(stdin, closed)
    async with open_resources(settings) as resources:
        engines = Engines(settings.engines, settings.models_folder)
        try:
            await engines.start()
            await Worker(resources, engines).run(stop)
        finally:
            await engines.close()
