"""Resources in, ASGI app out: the surfaces by their paths, and the service's own pages.

Called by the command line's `serve` and by tests. The app opens nothing and leaves nothing running but a question
to a database that hangs, which ends with its connection: what it works with is opened and closed by its caller, who
sets `app.state.draining` before it stops.
"""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import timedelta
from functools import partial
from importlib.metadata import version
from typing import Any, Final, Literal, TypeVar

import msgspec

from burnish.dialects.autoenhance import errors as autoenhance_errors
from burnish.dialects.autoenhance import table as autoenhance
from burnish.dialects.hiapi import errors as hiapi_errors
from burnish.dialects.hiapi import routes as hiapi
from burnish.dialects.hiapi.wire import PREFIX as HIAPI
from burnish.dialects.hitpaw import errors as hitpaw_errors
from burnish.dialects.hitpaw import routes as hitpaw
from burnish.dialects.hitpaw.wire import PREFIX as HITPAW
from burnish.dialects.native import errors, wire
from burnish.dialects.native.table import OPERATIONS
from burnish.errors import Unavailable
from burnish.resources import Resources
from burnish.storage.postgres import LOST, Connection
from burnish.tasks import store
from burnish.tasks.task import LANES
from burnish.web import openapi, reference
from burnish.web.operation import Operation
from burnish.web.replies import Reply, json, text
from burnish.web.request import Request, Site
from burnish.web.surface import App, Surface

T = TypeVar("T")

_WORKER_GONE: Final = timedelta(seconds=30)  #: a worker that was not seen for so long is not there
_AGAIN_SECONDS: Final = 2


def build_app(resources: Resources) -> App:
    """The service over HTTP."""
    site = Site(resources)
    resources.submissions.group.sizes = site.metrics.group("submissions").observe
    native = (*OPERATIONS, *PAGES, *_documentation(document(site.public_url)))
    return App(
        site,
        [Surface(name="native", operations=native, say_no=errors.say_no), *_dialects(resources)],
    )


def _dialects(resources: Resources) -> list[Surface]:
    """The vendors' APIs, each below its prefix and, where the settings name a host, at that host's root."""
    hosts = resources.settings.dialects
    return [
        Surface(
            name="hitpaw",
            operations=hitpaw.operations(hosts),
            say_no=hitpaw_errors.say_no,
            prefix=HITPAW,
            host=hosts.hitpaw_host,
        ),
        Surface(
            name="autoenhance",
            operations=autoenhance.operations(resources),
            say_no=autoenhance_errors.say_no,
            prefix="/autoenhance",
            host=hosts.autoenhance_host,
        ),
        Surface(
            name="hiapi",
            operations=hiapi.operations(hosts, resources.prices),
            say_no=hiapi_errors.say_no,
            prefix=HIAPI,
            host=hosts.hiapi_host,
        ),
    ]


# --- the service's own pages --------------------------------------------------------------------------------------


class Health(msgspec.Struct, frozen=True):
    """The process answers."""

    status: Literal["alive"] = "alive"


class Ready(msgspec.Struct, frozen=True):
    """Everything that a task needs is there."""

    status: Literal["ready"] = "ready"


async def health(_request: Request) -> Reply:
    return json(Health())


async def ready(request: Request) -> Reply:
    resources = request.resources
    once = request.site.once
    parts = {"database": _database, "storage": _storage, "worker": _worker}
    there = await asyncio.gather(*(once.ask(name, partial(ask, resources)) for name, ask in parts.items()))
    missing = [name for name, found in zip(parts, there, strict=True) if not found]
    if missing:
        raise Unavailable(
            f"Not ready: no answer from {', '.join(missing)}.",
            code="not_ready",
            retry_after=_AGAIN_SECONDS,
            details={"missing": missing},
        )
    return json(Ready())


async def _database(resources: Resources) -> bool:
    return await _asked(resources, lambda connection: connection.fetchval("SELECT true")) is True


async def _worker(resources: Resources) -> bool:
    seen_at = await _asked(resources, store.worker_seen_at)
    return seen_at is not None and resources.clock.now() - seen_at < _WORKER_GONE


async def _storage(resources: Resources) -> bool:
    try:
        await resources.blobs.check()
    except Unavailable:
        return False
    return True


async def _asked(resources: Resources, ask: Callable[[Connection], Awaitable[T]]) -> T | None:
    """The database's answer; None where it does not give one."""
    try:
        async with resources.db.reading() as connection:
            return await ask(connection)
    except (*LOST, TimeoutError):
        return None


async def metrics(request: Request) -> Reply:
    """What this process counted, and what the database says of all."""
    resources, site = request.resources, request.site
    now = resources.clock.now()
    ask = partial(_asked, resources, lambda connection: store.count_unended(connection, now))
    lanes = {lane: name for name, lane in LANES.items()}
    rows = await site.once.ask("tasks", ask) or []
    site.metrics.tasks(
        [(state, lanes[lane], model, count, oldest) for state, lane, model, count, oldest in rows]
    )
    if ledger := await site.once.ask("ledger", partial(_asked, resources, store.read_ledger)):
        site.metrics.ledger(*ledger)
    site.metrics.counters_are_away(resources.counters.away())
    return text(site.metrics.text().decode(), "text/plain; version=0.0.4")


#: What the service tells whoever watches it.
PAGES: Final = (
    Operation(
        method="GET",
        path="/health",
        handle=health,
        id="health",
        tag="Service",
        summary="Is the process alive?",
        description="Touches nothing else.",
        access="open",
        answers={200: Health},
        while_draining=True,
    ),
    Operation(
        method="GET",
        path="/ready",
        handle=ready,
        id="ready",
        tag="Service",
        summary="Can a task be done?",
        description="The database and the storage answer, and a worker was seen within the last half minute.",
        access="open",
        answers={200: Ready},
        refuses=("not_ready",),
    ),
    Operation(
        method="GET",
        path="/metrics",
        handle=metrics,
        id="metrics",
        tag="Service",
        summary="Counters of this process, for Prometheus",
        access="open",
        answers={200: "text/plain"},
        while_draining=True,
    ),
)


# --- what they tell whoever writes a program for it ---------------------------------------------------------------


def document(url: str) -> dict[str, Any]:
    """The OpenAPI document of a service at `url`."""
    return openapi.document(
        title="Burnish",
        version=version("burnish"),
        description=_INTRODUCTION,
        url=url,
        operations=(*OPERATIONS, *PAGES),
        codes=errors.CODES,
        error=errors.ErrorReply,
        other_types=wire.PARAMETERS,
    )


async def _to_the_docs(_request: Request) -> Reply:
    return Reply(303, b"", [(b"location", b"/docs")])


_FRONT: Final = Operation(
    method="GET",
    path="/",
    handle=_to_the_docs,
    id="front",
    tag="Service",
    summary="The way to the reference",
    access="open",
    answers={303: None},
)


def _documentation(documented: dict[str, Any]) -> tuple[Operation, ...]:
    """The document and the page made of it, made once; they do not list themselves."""
    as_json = json(documented)
    as_page = text(reference.page(documented), "text/html", headers=reference.HEADERS)

    async def openapi_json(_request: Request) -> Reply:
        return as_json

    async def docs(_request: Request) -> Reply:
        return as_page

    pages = (
        Operation(
            method="GET",
            path=path,
            handle=handle,
            id=id_,
            tag="Service",
            summary=summary,
            access="open",
            answers={200: media_type},
        )
        for path, handle, id_, summary, media_type in (
            ("/openapi.json", openapi_json, "openapi", "This API in OpenAPI 3.1", "application/json"),
            ("/docs", docs, "docs", "This API for people", "text/html"),
        )
    )
    return _FRONT, *pages


_INTRODUCTION: Final = """\
Submit a task with a model's name and its input; read it until it has ended; fetch its outputs by their links.

Every request but those on signed links and of the service's own pages carries a key: `Authorization: Bearer bk_live_…`. \
Keys of the environments live, test and dev see only what belongs to their own.

Bodies are JSON in UTF-8. Fields and parameters that are not listed here are refused by name. \
Every reply has a `Request-Id`; every refusal has a stable `code`, and says whether and when to try again. \
With `Accept: application/problem+json` refusals come as RFC 9457 has them. \
GET routes answer HEAD too.

Replies to a key tell how its limits stand: `RateLimit-Policy` and `RateLimit`. A 429 has `Retry-After` in seconds and \
`retry-after-ms`; with `X-Should-Retry: false` the wait is longer than two minutes, so tell your user instead of waiting.
"""
