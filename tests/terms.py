"""Plans of the tests' own: the owner's, narrowed."""

from typing import Any

from burnish.keys.plan import OWNER, Plans


def narrowed(**table: Any) -> Plans:
    """One plan, of which this is the table: `at_once={"account": {"limit": 2, "on_limit": "queue"}}`."""
    return Plans({OWNER: {"metered": False} | table})


def queueing(slots: int, **table: Any) -> Plans:
    """So many tasks at once, the others parked."""
    return narrowed(at_once={"account": {"limit": slots, "on_limit": "queue"}}, **table)
