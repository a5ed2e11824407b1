"""Several writes in one round trip: each part is a statement with parameters of its own, and they become the WITH
queries of one.

PostgreSQL runs them all on one snapshot and in no order that counts: no part may read, or write again, what another
part writes. The text of a combination is made once, so that its plan is kept.
"""

import re
from collections.abc import Sequence
from functools import lru_cache
from typing import Any, Final, NamedTuple

from burnish.storage.postgres import Connection

_PARAMETER: Final = re.compile(r"\$(\d+)")


class Part(NamedTuple):
    """A statement that changes rows, its parameters counted from $1."""

    sql: str
    arguments: Sequence[Any]


async def write(tx: Connection, parts: Sequence[Part]) -> None:
    """All of them; none at all is no round trip."""
    if parts:
        sql = _joined(tuple((part.sql, len(part.arguments)) for part in parts))
        await tx.execute(sql, *(argument for part in parts for argument in part.arguments))


@lru_cache(maxsize=128)
def _joined(parts: tuple[tuple[str, int], ...]) -> str:
    queries, before = [], 0
    for number, (sql, arguments) in enumerate(parts):
        queries.append(f"part_{number} AS ({_moved(sql, before)})")
        before += arguments
    return f"WITH {', '.join(queries)} SELECT 1"


def _moved(sql: str, by: int) -> str:
    return _PARAMETER.sub(lambda found: f"${int(found[1]) + by}", sql)
