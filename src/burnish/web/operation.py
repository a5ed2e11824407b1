"""What one method on one path does, reads, answers and refuses: a line of a surface's table.

The table is the only place where a route is written down. `endpoint.py` serves it, `openapi.py` describes it.
"""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from burnish.errors import Refused
from burnish.web.replies import Reply, Stream
from burnish.web.request import Request

Handle = Callable[[Request], Awaitable[Reply | Stream]]
Words = Callable[[Request, Refused], Reply]  #: how a surface says no


class Code(NamedTuple):
    """What a refusal's code is answered with, and what it tells the reader."""

    status: int
    meaning: str
    remedy: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """`answers` gives each status that is no refusal its body: a msgspec type, a media type, or None.

    `access`: `open`, `signed` (the link itself is the permission), `key`, or the scope that a key needs.
    `refuses`: codes, beside those that every operation of its access may answer with.
    `meanings`: what a status says, where there are several. `headers`: what success carries beside the Request-Id, name -> meaning.
    """

    method: str
    path: str
    handle: Handle
    id: str
    tag: str
    summary: str
    description: str = ""
    access: str = "key"
    reads: type[Any] | str | None = None
    query: type[Any] | None = None
    answers: Mapping[int, Any]
    meanings: Mapping[int, str] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)
    refuses: tuple[str, ...] = ()
    example: object = None
    answer_example: object = None
    while_draining: bool = False
