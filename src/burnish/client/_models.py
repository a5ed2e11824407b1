"""Models: what the service can do."""

from collections.abc import Sequence

from burnish.client._drive import Awaiting, Blocking, verb
from burnish.client._flow import Flow
from burnish.client._remote import Remote, read
from burnish.client._shapes import Model


class _Models:
    _remote: Remote

    @verb
    def list(self) -> Flow[Sequence[Model]]:
        """All models of the service, with the schemas of their inputs. Raises Refused, Unreachable."""
        reply = yield from self._remote.get("/v1/models")
        return read(reply, lambda body: [Model.from_json(item) for item in body["data"]])


class Models(_Models, Blocking):
    """Models, blocking."""


class AsyncModels(_Models, Awaiting):
    """Models, awaited."""
