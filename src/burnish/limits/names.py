"""The limit on one and the same file name: faulty scripts that send the same picture again and again are caught by it.

Spent where an upload is registered, in the transaction that does so. Names of different accounts never meet.
"""

from datetime import datetime
from hashlib import sha256
from typing import Final
from uuid import UUID

from burnish.clock import seconds_until
from burnish.errors import Limited
from burnish.limits import store
from burnish.limits.limit import Window
from burnish.limits.window import Span, Used, span, used
from burnish.storage.postgres import Connection
from burnish.storage.statement import write

SAME_NAME: Final = "same-name"
_SHADOW: Final = Window(limit=0)


async def spend_name(
    tx: Connection,
    account_id: UUID,
    window: Window,
    filename: str,
    account_created_at: datetime,
    now: datetime,
) -> None:
    """One use more of this name by this account.

    Raises:
        Limited: `duplicate_name`; nothing was spent.
    """
    # Names are of any length and hold anything; what is kept of them is a digest.
    place = account_id, SAME_NAME, sha256(filename.encode("utf-8", "replace")).hexdigest()[:32]
    await store.lock_subject(tx, place)
    where = span(window, now)
    rows = await store.read_windows(tx, [(*place, where.since)])
    found = used(window, where, rows.get(place, ()))
    uses = [_use(place, where)]
    if found.used >= window.limit:
        if window.enforced(account_created_at):
            raise _refused(window, found, now)
        uses.append(_use((account_id, f"shadow {SAME_NAME}", ""), span(_SHADOW, now)))
    await write(tx, [store.count(uses)])


def _use(place: store.Place, where: Span) -> tuple[*store.Place, datetime, int, datetime]:
    return *place, where.starts_at, 1, where.ends_at


def _refused(window: Window, found: Used, now: datetime) -> Limited:
    wait = max(1, seconds_until(found.frees_at, now))
    return Limited(
        f"This file name was registered {found.used} times in {window.seconds // 60} minutes, and {window.limit} are "
        "allowed. Do not send it again as it is: give each file a name of its own, or add a hash to it.",
        code="duplicate_name",
        param="filename",
        retry_after=wait,
        details={
            "policy": SAME_NAME, "scope": "account", "limit": window.limit, "used": found.used, "remaining": 0,
            "reset": wait, "advice": "rename_file",
        },
    )  # fmt: skip
