"""What a flow is: a generator that says what to send, how long to pause and what to wait for, and is sent what
came of it.

Everything the client does is written once as flows (as httpx writes its auth flows); `_drive.py` drives them,
blocking or awaiting. A flow does no I/O of its own but on the caller's local files.
"""

from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeAlias, TypeVar

import httpx

from burnish.client._gate import Turn

T = TypeVar("T")

#: Takes the next bytes of a body.
Sink: TypeAlias = Callable[[bytes], None]


@dataclass(frozen=True, slots=True)
class Pause:
    """Do nothing for `seconds`."""

    seconds: float


@dataclass(frozen=True, slots=True)
class Send:
    """Send a request; its response is the answer, an `httpx.RequestError` is raised where it is yielded.

    With `receive`, a successful reply's body is not kept: `receive(response)` gives the sink that takes it as it
    comes, undecoded, and redirects are followed.
    """

    request: httpx.Request
    receive: Callable[[httpx.Response], Sink] | None = None


@dataclass(frozen=True, slots=True)
class Enter:
    """Do nothing until the turn is inside its gate."""

    turn: Turn


Effect: TypeAlias = Send | Pause | Enter

#: A generator that ends with a T. What `Send` is answered with is an `httpx.Response`, the others with nothing.
Flow: TypeAlias = Generator[Effect, Any, T]


@dataclass(frozen=True, slots=True)
class Page(Generic[T]):
    """Some items of a list, and the flow that fetches the next page, not yet begun; None after the last."""

    items: Sequence[T]
    rest: "Flow[Page[T]] | None"
