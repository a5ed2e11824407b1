"""What the service answers with, as frozen values: tasks, outputs, uploads, models, prices.

Read from the replies' JSON by the resources. Members that this version does not know stay in `raw`, so that a
newer service can be read by an older client. Times are aware, sizes in bytes, progress from 0 to 1.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final, Self

#: Statuses that a task does not leave.
FINAL: Final = frozenset({"succeeded", "failed", "cancelled"})

Json = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Output:
    """One thing a task made. `url` answers its bytes, without a key, until `expires_at`.

    `id` may be the input of other tasks. `width` and `height` are None for data, `seconds` and `frame_rate` for all but films. `role` says what it is to the
    task where that is more than its result, as `mask`.
    """

    url: str
    type: str
    width: int | None
    height: int | None
    size_bytes: int | None
    expires_at: datetime | None
    filename: str | None = None
    notes: Json = field(
        default_factory=dict
    )  #: what was done beside what was asked, such as metadata dropped
    data: Json | None = None  #: of an output that is JSON, what it says
    role: str | None = None
    seconds: float | None = None
    frame_rate: float | None = None
    id: str | None = None
    raw: Json = field(default_factory=dict, repr=False, compare=False)

    @classmethod
    def from_json(cls, data: Json) -> Self:
        """As the service tells it. Raises KeyError, TypeError or ValueError where it is something else."""
        return cls(
            url=data["url"],
            type=data["type"],
            width=data.get("width"),
            height=data.get("height"),
            size_bytes=data.get("size_bytes"),
            expires_at=_time(data.get("expires_at")),
            filename=data.get("filename"),
            data=data.get("data"),
            notes=data.get("notes") or {},
            role=data.get("role"),
            seconds=data.get("seconds"),
            frame_rate=data.get("frame_rate"),
            id=data.get("id"),
            raw=data,
        )


@dataclass(frozen=True, slots=True)
class Cost:
    """What a task costs, in whole credits: `held` until it ends, `charged` at its end. `quantity` counts `unit`; they and
    `price_version` are None until the price is known.
    """

    held: int
    charged: int
    unit: str | None
    quantity: int | None
    price_version: int | None
    raw: Json = field(default_factory=dict, repr=False, compare=False)

    @classmethod
    def from_json(cls, data: Json) -> Self:
        """As the service tells it. Raises KeyError, TypeError or ValueError where it is something else."""
        return cls(
            held=int(data.get("held") or 0),
            charged=int(data.get("charged") or 0),
            unit=data.get("unit"),
            quantity=data.get("quantity"),
            price_version=data.get("price_version"),
            raw=data,
        )


@dataclass(frozen=True, slots=True)
class Task:
    """A task as the service told it last; it is not kept up to date.

    `status` is waiting, queued, running, succeeded, failed or cancelled; a running task has a `stage` (fetching,
    working, storing). `status_reason` says in one word why it failed, `status_message` in a sentence.
    `queue_position` is how many are before it in its lane, `eta_seconds` how long it may still take; None where nobody
    knows. `retry_after` is when a pending task is worth reading again, in seconds.
    """

    id: str
    model: str
    status: str
    stage: str | None
    progress: float
    status_reason: str | None
    status_message: str | None
    retryable: bool
    outputs: tuple[Output, ...]
    cost: "Cost"
    metadata: Json
    retry_of: str | None
    created_at: datetime
    started_at: datetime | None
    ended_at: datetime | None
    expires_at: datetime | None
    queue_position: int | None = field(default=None, compare=False)
    eta_seconds: float | None = field(default=None, compare=False)
    retry_after: float | None = field(default=None, compare=False)
    raw: Json = field(default_factory=dict, repr=False, compare=False)

    @property
    def ended(self) -> bool:
        """Whether it will not change any more."""
        return self.status in FINAL

    @property
    def succeeded(self) -> bool:
        """Whether it ended with its outputs."""
        return self.status == "succeeded"

    @classmethod
    def from_json(cls, data: Json, retry_after: float | None = None) -> Self:
        """As the service tells it. Raises KeyError, TypeError or ValueError where it is something else."""
        created_at = _time(data["created_at"])
        assert created_at is not None
        return cls(
            id=data["id"],
            model=data["model"],
            status=data["status"],
            stage=data.get("stage"),
            progress=float(data.get("progress") or 0),
            status_reason=data.get("status_reason"),
            status_message=data.get("status_message"),
            retryable=bool(data.get("retryable")),
            outputs=tuple(Output.from_json(output) for output in data.get("outputs") or ()),
            cost=Cost.from_json(data.get("cost") or {}),
            metadata=data.get("metadata") or {},
            retry_of=data.get("retry_of"),
            created_at=created_at,
            started_at=_time(data.get("started_at")),
            ended_at=_time(data.get("ended_at")),
            expires_at=_time(data.get("expires_at")),
            queue_position=data.get("queue_position"),
            eta_seconds=data.get("eta_seconds"),
            retry_after=retry_after,
            raw=data,
        )


@dataclass(frozen=True, slots=True)
class TimelineEntry:
    """One thing that happened to a task: submitted, queued, started, worker_lost, succeeded, failed or cancelled.

    `attempt` is the run that it is about, from 1; `reason` the `status_reason` of an end.
    """

    at: datetime
    event: str
    attempt: int | None
    reason: str | None
    raw: Json = field(default_factory=dict, repr=False, compare=False)

    @classmethod
    def from_json(cls, data: Json) -> Self:
        """As the service tells it. Raises KeyError, TypeError or ValueError where it is something else."""
        at = _time(data["at"])
        assert at is not None
        return cls(
            at=at, event=data["event"], attempt=data.get("attempt"), reason=data.get("reason"), raw=data
        )


@dataclass(frozen=True, slots=True)
class Receipt:
    """What was deleted with a task: how many `outputs`, and their `bytes` in all, with those of an input that was fetched for it."""

    id: str
    deleted_at: datetime
    outputs: int
    bytes: int
    raw: Json = field(default_factory=dict, repr=False, compare=False)

    @classmethod
    def from_json(cls, data: Json) -> Self:
        """As the service tells it. Raises KeyError, TypeError or ValueError where it is something else."""
        at = _time(data["deleted_at"])
        assert at is not None
        return cls(id=data["id"], deleted_at=at, outputs=data["outputs"], bytes=data["bytes"], raw=data)


@dataclass(frozen=True, slots=True)
class Upload:
    """A place for bytes, and, once `uploads.create` returned it, the bytes themselves. `id` goes into a task's input."""

    id: str
    url: str
    method: str
    headers: Mapping[str, str]
    access_url: str | None
    expires_at: datetime | None
    max_bytes: int | None
    raw: Json = field(default_factory=dict, repr=False, compare=False)

    @classmethod
    def from_json(cls, data: Json) -> Self:
        """As the service tells it. Raises KeyError, TypeError or ValueError where it is something else."""
        return cls(
            id=data["id"],
            url=data["url"],
            method=data.get("method") or "PUT",
            headers=data.get("headers") or {},
            access_url=data.get("access_url"),
            expires_at=_time(data.get("expires_at")),
            max_bytes=data.get("max_bytes"),
            raw=data,
        )


@dataclass(frozen=True, slots=True)
class Price:
    """What a model costs, in whole credits, counted by `unit`.

    A `task` costs `credits`; an `image` by its megapixels, the first of `tiers` that it lies in (`below` or `up_to`
    so many); a `second` of video by its resolution, in `table`: up to 30 frames a second, to 60, below 120, and 120.
    `version` is the edition of the service's table.
    """

    rule: str
    version: int
    unit: str
    credits: int | None
    tiers: tuple[Json, ...]
    table: Mapping[str, Sequence[int]]
    raw: Json = field(default_factory=dict, repr=False, compare=False)

    @classmethod
    def from_json(cls, data: Json) -> Self:
        """As the service tells it. Raises KeyError, TypeError or ValueError where it is something else."""
        return cls(
            rule=data["rule"],
            version=data["version"],
            unit=data["unit"],
            credits=data.get("credits"),
            tiers=tuple(data.get("tiers") or ()),
            table=data.get("table") or {},
            raw=data,
        )


@dataclass(frozen=True, slots=True)
class Model:
    """Something the service can do: its public name, its lane (light or heavy), the JSON schema of its input, its
    price and its limits. `installed`: whether it can be used there; `how_to_install`: what lacks, of a part of it too.
    """

    name: str
    lane: str
    description: str
    input_schema: Json
    price: Price
    limits: Json
    installed: bool = True
    how_to_install: str | None = None
    raw: Json = field(default_factory=dict, repr=False, compare=False)

    @classmethod
    def from_json(cls, data: Json) -> Self:
        """As the service tells it. Raises KeyError, TypeError or ValueError where it is something else."""
        return cls(
            name=data["name"],
            lane=data.get("lane") or "light",
            description=data.get("description") or "",
            input_schema=data.get("input_schema") or {},
            price=Price.from_json(data["price"]),
            limits=data.get("limits") or {},
            installed=data.get("installed") is not False,
            how_to_install=data.get("how_to_install"),
            raw=data,
        )


def _time(text: str | None) -> datetime | None:
    return None if text is None else datetime.fromisoformat(text)
