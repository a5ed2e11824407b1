"""The played service of `played.py`, and both clients through `talk.py`."""

import threading
from collections.abc import Iterator

import pytest

from client.played import Handler, PlayedService, Server
from client.talk import Talk


@pytest.fixture
def service() -> Iterator[PlayedService]:
    played = PlayedService()
    handler = type("Handler", (Handler,), {"service": played, "timeout": 5})
    with Server(("127.0.0.1", 0), handler) as server:
        played.url = f"http://127.0.0.1:{server.server_address[1]}"
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield played
        server.shutdown()
        thread.join()


@pytest.fixture(params=["Client", "AsyncClient"])
def talk(request: pytest.FixtureRequest, service: PlayedService) -> Iterator[Talk]:
    either = Talk(request.param, service)
    yield either
    either.runner.close()
