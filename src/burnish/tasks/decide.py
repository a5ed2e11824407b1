"""What happens to a task that asks to go on: it gets a slot and a start tag, or it is parked. Pure.

Called inside the transaction that holds the account's lock, with what that transaction read; the answer is
written by the same transaction. The price of a task, its windows and its credits are decided here too, beside
the slot, and every quota is looked at before any is spent.

Start-time fair queueing (Goyal, Vin, Cheng 1996): a task that becomes ready is tagged with
`max(virtual time, the account's next tag)`, and the account's next tag moves on by a step that is the smaller
the heavier its plan weighs. Virtual time is the smallest ready tag of the lane, or the present microsecond when
nothing there is ready; steps are so small that tags of one account run ahead of the clock only above a hundred
thousand tasks a second.
"""

from dataclasses import dataclass, replace
from typing import Final

STEP: Final = 1_000  #: microseconds of virtual time that a task costs an account of weight 1


@dataclass(frozen=True, slots=True)
class Queue:
    """One account in one lane: `slots` in use of at most `ceiling`, and its next start tag at the earliest."""

    slots: int
    ceiling: int
    next_tag: int
    weight: int


@dataclass(frozen=True, slots=True)
class Verdict:
    """`ready` with a tag, or parked (`tag` is None); and the account's queue afterwards."""

    ready: bool
    tag: int | None
    queue: Queue


def decide(queue: Queue, virtual_time: int) -> Verdict:
    """A place in the lane for one task more."""
    if queue.slots >= queue.ceiling:
        return Verdict(ready=False, tag=None, queue=queue)
    tag = max(virtual_time, queue.next_tag)
    after = replace(queue, slots=queue.slots + 1, next_tag=tag + max(1, STEP // queue.weight))
    return Verdict(ready=True, tag=tag, queue=after)


def free(queue: Queue, slots: int) -> Queue:
    """The queue after `slots` of its tasks ended."""
    assert 0 <= slots <= queue.slots
    return replace(queue, slots=queue.slots - slots)
