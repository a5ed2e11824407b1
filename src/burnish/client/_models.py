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
        return (yield from catalogue(self._remote))


def catalogue(remote: Remote) -> Flow[Sequence[Model]]:
    """All models; which of them are heavy is remembered."""
    reply = yield from remote.get("/v1/models")
    models = read(reply, lambda body: [Model.from_json(item) for item in body["data"]])
    remote.pace.lanes = {model.name: model.lane for model in models}
    return models


class Models(_Models, Blocking):
    """Models, blocking."""


class AsyncModels(_Models, Awaiting):
    """Models, awaited."""
