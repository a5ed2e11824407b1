"""Deliver: render once, sign, send, and write down what came of it. Called by the worker's delivering lane.

A receiver is held by one worker at a time. Its deliveries go out beside each other while it accepts them, and stop at the
first that it does not: then it is left alone for longer and longer, one try at a time, until it accepts again.
"""

import asyncio
import random
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Final, Protocol
from uuid import UUID

from burnish import log
from burnish.clock import Clock
from burnish.errors import Failed
from burnish.outbound import Outbound
from burnish.storage.seal import Seal, Unreadable
from burnish.webhooks.endpoint import purpose
from burnish.webhooks.event import Delivery
from burnish.webhooks.ladder import GIVE_UP, Answer, next_try, shut_for

_log = log.get("deliver")
_TIMEOUT_SECONDS: Final = 15.0
_REPLY_BYTES: Final = 2_048
_REPLY_LETTERS: Final = 500
_AT_ONCE: Final = 32
PREFIX: Final = "msg"


class Words(Protocol):
    """A delivery in a dialect's words. `unsigned`: whether its callbacks go out where there is no secret."""

    unsigned: bool

    async def body(self, delivery: Delivery) -> bytes | None:
        """None where there is nothing left to tell of."""

    def headers(
        self, delivery: Delivery, body: bytes, now: datetime, keys: Sequence[bytes]
    ) -> Mapping[str, str]:
        """Beside the content type. `keys`: the secrets that sign, the newest first."""


@dataclass(frozen=True, slots=True)
class Receiver:
    """One that this worker holds, with what is due."""

    id: str
    lease_id: UUID
    endpoint_id: UUID | None
    account_id: UUID | None
    environment: str
    failures: int
    failing_since: datetime | None
    due: tuple[Delivery, ...]


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a receiver's turn. `tries`: rows for `store.write_tries`; `accepted`: whether it took anything;
    `disable`: why its endpoint is shut.
    """

    receiver: Receiver
    tries: Sequence[tuple[Any, ...]]
    accepted: bool
    failures: int
    failing_since: datetime | None
    shut_until: datetime | None
    disable: str | None = None


class Deliverer:
    """Sends for one process."""

    def __init__(self, outbound: Outbound, seal: Seal, clock: Clock, words: Mapping[str, Words]) -> None:
        self._outbound = outbound
        self._seal = seal
        self._clock = clock
        self._words = words

    async def serve(self, receiver: Receiver) -> Outcome:
        """One turn of a receiver. Raises nothing of its own: whatever a receiver does is an answer."""
        tries: list[tuple[Any, ...]] = []
        answers: list[Answer] = []
        waiting = iter(receiver.due)
        stop = False

        async def lane() -> None:
            nonlocal stop
            for delivery in waiting:
                if stop:
                    return
                row, answer = await self._try(delivery)
                tries.append(row)
                answers.append(answer)
                stop = stop or not (answer.accepted or answer.hopeless)

        await asyncio.gather(*(lane() for _ in range(min(_AT_ONCE, len(receiver.due)))))
        return self._outcome(receiver, tries, answers)

    def _outcome(
        self, receiver: Receiver, tries: Sequence[tuple[Any, ...]], answers: Sequence[Answer]
    ) -> Outcome:
        now = self._clock.now()
        failed = [answer for answer in answers if not answer.accepted and not answer.hopeless]
        if not failed:
            keep = 0 if any(answer.accepted for answer in answers) else receiver.failures
            since = receiver.failing_since if keep else None
            accepted = any(answer.accepted for answer in answers)
            return Outcome(receiver, tries, accepted, keep, since, None)
        failures = 1 if any(answer.accepted for answer in answers) else receiver.failures + 1
        since = receiver.failing_since if failures > 1 and receiver.failing_since else now
        why = None
        if any(answer.gone for answer in failed):
            why = "It answered 410 Gone."
        elif now - since >= GIVE_UP:
            why = f"It has accepted nothing since {since:%Y-%m-%d %H:%M} UTC."
        chance = random.random()
        accepted = any(answer.accepted for answer in answers)
        return Outcome(receiver, tries, accepted, failures, since, now + shut_for(failures, chance), why)

    async def _try(self, delivery: Delivery) -> tuple[tuple[Any, ...], Answer]:
        """The row of one try, and what was answered."""
        started = time.monotonic()
        tries = delivery.tries + 1
        body, reply = delivery.body, None
        try:
            if body is None:
                body = await self._words[delivery.dialect].body(delivery)
            answer, reply = await self._send(replace(delivery, body=body))
        except Exception:  # a fault of ours is a failed try, not a receiver that is never given back
            _log.exception("delivery_not_sent", delivery=str(delivery.id))
            answer = Answer(None, "It could not be sent; the log of the worker says why.")
        now = self._clock.now()
        again = None if answer.hopeless else next_try(answer, tries, now, random.random())
        state = "accepted" if answer.accepted else "due" if again else "dead"
        milliseconds = int((time.monotonic() - started) * 1000)
        _log.info(
            "delivery_tried",
            delivery=str(delivery.id),
            delivered_event=delivery.event,
            receiver=delivery.receiver,
            state=state,
            tries=tries,
            status=answer.status,
            error=answer.error,
            ms=milliseconds,
        )
        return (
            delivery.id,
            body,
            tries,
            state,
            again,
            milliseconds,
            answer.status,
            answer.error,
            reply,
        ), answer

    async def _send(self, delivery: Delivery) -> tuple[Answer, str | None]:
        if delivery.body is None:
            return Answer(None, "There is nothing left to tell: the task is gone.", hopeless=True), None
        words, keys = self._words[delivery.dialect], []
        unsigned = words.unsigned and delivery.endpoint_id is None
        if (delivery.signer_id is None or delivery.secret is None) and not unsigned:
            return Answer(None, "Its endpoint is gone.", hopeless=True), None
        try:
            if delivery.signer_id is not None and delivery.secret is not None:
                keys = self._keys(delivery, delivery.signer_id, delivery.secret)
            headers = {"Content-Type": "application/json"} | dict(
                words.headers(delivery, delivery.body, self._clock.now(), keys)
            )
            reply = await self._outbound.send(
                delivery.url,
                method="POST",
                headers=headers,
                body=delivery.body,
                timeout_seconds=_TIMEOUT_SECONDS,
                max_reply_bytes=_REPLY_BYTES,
            )
        except Failed as failed:
            return Answer(None, f"{failed.reason}: {failed.message}"), None
        except Unreadable:
            return Answer(None, "Its secret cannot be read: was `secret_keys` changed? Rotate it."), None
        text = log.redact_text(reply.body.decode("utf-8", "replace")).replace(
            "\0", "\N{REPLACEMENT CHARACTER}"
        )
        error = None if reply.status < 300 else f"It answered {reply.status}."
        return Answer(reply.status, error, reply.headers.get("retry-after")), text[:_REPLY_LETTERS]

    def _keys(self, delivery: Delivery, signer_id: UUID, secret: bytes) -> list[bytes]:
        """The secrets that sign: the present one, and the one before while it is replaced."""
        bound = purpose(signer_id)
        keys = [self._seal.open(secret, bound)]
        until = delivery.former_until
        if delivery.former_secret is not None and until is not None and until > self._clock.now():
            keys.append(self._seal.open(delivery.former_secret, bound))
        return keys
