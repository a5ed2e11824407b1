"""One path of a surface: runs its operations, turns refusals into the surface's words, logs and counts.

An ASGI application, because a framework's request and response would cost more than the rest of a small reply.
Whatever happens inside, the client gets a reply with a Request-Id, and the log one line.
"""

import time
from collections.abc import Sequence
from typing import Final

from starlette.types import Receive, Scope, Send

from burnish import log
from burnish.errors import Limited, MethodNotAllowed, NotFound, Refused, Unavailable
from burnish.ids import plain
from burnish.web.caller import admit
from burnish.web.operation import Operation, Words
from burnish.web.replies import Reply, Stream
from burnish.web.request import HungUp, Request, Site

_log = log.get("http")
_HUNG_UP: Final = 499  #: in the log and the counters only; nobody was there to be told
_DRAINING_SECONDS: Final = 2


class Endpoint:
    """The operations of one path; `path` is its template, and its name in the log. Without any: an unknown path."""

    def __init__(self, site: Site, path: str, operations: Sequence[Operation], words: Words) -> None:
        self._site = site
        self._path = path
        self._words = words
        self._operations = {operation.method: operation for operation in operations}
        if "GET" in self._operations:
            self._operations["HEAD"] = self._operations["GET"]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        started = time.perf_counter()
        request = Request(self._site, scope, receive)
        reply: Reply | Stream | None = None
        status, code = _HUNG_UP, None
        try:
            try:
                operation = await self._entered(request)
                reply = await operation.handle(request)
            except Refused as refused:
                request.limited = refused if isinstance(refused, Limited) else None
                request.standings = refused.standings or request.standings
                reply, code = self._words(request, refused), refused.code
                self._site.metrics.refusal(code, str(refused.details.get("policy", "")))
            await reply.send(request, send)
            status = reply.status
        except HungUp:
            pass
        except Exception:  # a request's failure is its own; the process goes on
            _log.exception("request_failed", route=self._path, request_id=request.id)
            status, code = 500, "internal"
            if reply is None:
                await self._words(request, _failed()).send(request, send)
            # Else it has begun: the server cuts the connection, so that nothing looks whole that is not.
        finally:
            self._note(request, status, code, time.perf_counter() - started)

    async def _entered(self, request: Request) -> Operation:
        operation = self._operations.get(request.scope["method"])
        if operation is None or operation.access != "open":
            await admit(request)
        if operation is None:
            raise self._unknown(request)
        if self._site.draining and not operation.while_draining:
            raise Unavailable(
                "The service is stopping. Try again in a moment.",
                code="draining",
                retry_after=_DRAINING_SECONDS,
            )
        return operation

    def _unknown(self, request: Request) -> Refused:
        if not self._operations:
            return NotFound("There is nothing at this path.")
        allowed = sorted(self._operations)
        return MethodNotAllowed(
            f"This path takes {', '.join(allowed)}, not {request.method}.", details={"allow": allowed}
        )

    def _note(self, request: Request, status: int, code: str | None, seconds: float) -> None:
        method = request.method
        self._site.metrics.request(method, self._path, status, seconds)
        account = plain(request.account_id) if request.account_id is not None else None
        log.request(method, self._path, status, round(seconds * 1000, 2), request.id, account, code)


def _failed() -> Unavailable:
    return Unavailable(
        "Something went wrong on our side. The operator finds it in the log by this request's id.",
        code="internal",
    )
