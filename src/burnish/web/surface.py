"""A surface: the operations of one API, where they are served, and how that API says no."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

from starlette.routing import Match, Route
from starlette.types import ASGIApp, Receive, Scope, Send

from burnish.web.endpoint import Endpoint
from burnish.web.operation import Operation, Words
from burnish.web.request import Site

_HOST: Final = b"host"


@dataclass(frozen=True, slots=True, kw_only=True)
class Surface:
    """`prefix`: what its paths begin with, as `/hitpaw`; `host`: a name at whose root it is served as well, or ""."""

    name: str
    operations: Sequence[Operation]
    say_no: Words
    prefix: str = ""
    host: str = ""


class App:
    """The ASGI application. `state.draining = True`: take no more requests, and let those that wait answer now."""

    def __init__(self, site: Site, surfaces: Sequence[Surface]) -> None:
        self.state = site
        self._all = _Table(site, surfaces)
        self._by_host = {
            surface.host.lower().encode(): _Table(site, [replace(surface, prefix="")])
            for surface in surfaces
            if surface.host
        }

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        table = self._all
        if self._by_host:
            table = self._by_host.get(_host(scope), table)
        await table.find(scope)(scope, receive, send)


def _host(scope: Scope) -> bytes:
    """The name that was asked for, without the port."""
    given: bytes = next((value for name, value in scope["headers"] if name == _HOST), b"")
    return given.partition(b":")[0].lower()


class _Table:
    """Where each path leads, with what was found in it as `path_params`."""

    def __init__(self, site: Site, surfaces: Sequence[Surface]) -> None:
        routes = [route for surface in surfaces for route in _routes(site, surface)]
        # Paths without a name in them, and paths that end with their only one, are found without trying patterns.
        self._whole: dict[str, ASGIApp] = {
            route.path: route.app for route in routes if not route.param_convertors
        }
        self._below = {
            start: (route.app, name)
            for route in routes
            for name in route.param_convertors
            if (start := route.path.removesuffix(f"{{{name}}}")).endswith("/") and "{" not in start
        }
        self._routes = routes
        self._unknown = [
            (surface.prefix, Endpoint(site, f"{surface.prefix}/unknown".lstrip("/"), (), surface.say_no))
            for surface in sorted(surfaces, key=lambda surface: -len(surface.prefix))
        ]

    def find(self, scope: Scope) -> ASGIApp:
        path: str = scope["path"]
        if (app := self._whole.get(path)) is not None:
            return app
        start, slash, value = path.rpartition("/")
        below = self._below.get(start + slash)
        if below is None or not value:
            return self._search(scope)
        app, name = below
        scope["path_params"] = {name: value}
        return app

    def _search(self, scope: Scope) -> ASGIApp:
        for route in self._routes:
            match, found = route.matches(scope)
            if match is Match.FULL:  # whatever the method: the endpoint says which there are
                scope.update(found)
                app: ASGIApp = found["endpoint"]
                return app
        path: str = scope["path"]
        return next(
            unknown for prefix, unknown in self._unknown if path == prefix or path.startswith(f"{prefix}/")
        )


def _routes(site: Site, surface: Surface) -> list[Route]:
    """One route for each path, in the order of the table: the busiest stand first."""
    by_path: defaultdict[str, list[Operation]] = defaultdict(list)
    for operation in surface.operations:
        by_path[surface.prefix + operation.path].append(operation)
    return [Route(path, Endpoint(site, path, found, surface.say_no)) for path, found in by_path.items()]
