"""What an ending gives back: the slot, the hold or what is left of it, and the day's use of a failure that is ours.

Called by everything that ends tasks, in the transaction that ended them and holds their accounts. The account's next
parked tasks take what became free.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final

from burnish.credits import ledger
from burnish.credits import store as credits_
from burnish.storage.postgres import Connection
from burnish.tasks.accounts import Accounts
from burnish.tasks.decide import DAY, FOR_EVER, KEY_CREDITS
from burnish.tasks.task import UNTOLD, key_digits, topic
from burnish.webhooks.announce import account_topic, announce
from burnish.webhooks.event import OF_STATUS, Event

#: Reasons of failures that are not the client's: its day is not shortened by them, nor by a task it could not pay.
NOT_THEIRS: Final = frozenset(
    {"internal", "worker_lost", "upstream_error", "upstream_timeout", "insufficient_credits"}
)


async def close(tx: Connection, accounts: Accounts, ended: Sequence[Any], now: datetime) -> set[str]:
    """Settle these, which `store` has ended; returns the topics to announce. The accounts are still to be written."""
    await _settle(tx, accounts, [row for row in ended if row["cost_held"]], now)
    for row in ended:
        state = accounts.states[row["account_id"]]
        group = state.queue.group(row["lane"], row["model"], key_digits(row["key_id"]))
        state.queue.count(group, row["was"], -1)
        state.changed = True
        if row["status_reason"] in NOT_THEIRS and row["day_starts_at"] is not None:
            state.give_back(DAY, "", row["day_starts_at"], 1)
    told = await announce(tx, _events(accounts, ended), now)
    ends = {topic(row["id"]) for row in ended} | {account_topic(row["account_id"]) for row in ended}
    return ends | told | await accounts.promote()


def _events(accounts: Accounts, ended: Sequence[Any]) -> list[Event]:
    """Of tasks whose account listens, or that brought a callback along."""
    return [
        Event(
            account_id=row["account_id"],
            environment=row["environment"],
            name=OF_STATUS[row["status"]],
            task_id=row["id"],
            callback_url=row["callback_url"],
            dialect=row["dialect"],
        )
        for row in ended
        if row["model"] != UNTOLD
        and (row["callback_url"] is not None or accounts.states[row["account_id"]].listens)
    ]


async def _settle(tx: Connection, accounts: Accounts, paid: Sequence[Any], now: datetime) -> None:
    """Charge what was charged, and return the rest to its grants and to the key's cap."""
    if not paid:
        return
    holds = await credits_.read_holds(tx, [row["id"] for row in paid])
    for row in paid:
        state, hold = accounts.states[row["account_id"]], holds[row["id"]]
        draws = {grant: part for grant, (part, _) in hold.items()}
        expiries = {grant: expires_at for grant, (_, expires_at) in hold.items()}
        state.entries.append(
            ledger.settle(state.id, row["id"], draws, row["cost_charged"], expiries, now, row["key_id"])
        )
        if (returned := row["cost_held"] - row["cost_charged"]) and row["key_id"]:
            state.give_back(KEY_CREDITS, key_digits(row["key_id"]), FOR_EVER.starts_at, returned)
