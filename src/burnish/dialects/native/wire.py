"""The native API's words: what a request may say, what a reply says, and the way from one to the house's and back.

The types here are the documentation's source too: their names, bounds and descriptions stand in `/openapi.json`.
"""

from collections.abc import Mapping
from datetime import datetime, timedelta
from functools import cache
from typing import Annotated, Any, Final, Literal, TypeVar, cast

import msgspec
from msgspec import UNSET, Meta, Struct, UnsetType

from burnish.credits.price import Tier, Unit
from burnish.credits.prices import Prices
from burnish.engines.catalogue import Limits, Model, input_schema, models
from burnish.engines.catalogue.model import Format, MetadataPolicy, Quality
from burnish.errors import STATUS_REASONS, Invalid
from burnish.ids import to_wire
from burnish.keys.key import Key
from burnish.settings import Uploads
from burnish.tasks.outlook import NOTHING, Outlook
from burnish.tasks.rendition import Form
from burnish.tasks.submit import Submission, parameters_of
from burnish.tasks.task import OutputRecord, Task, outputs_of, price_of
from burnish.uploads.blob import OUTPUT, UPLOAD, Blob, kept_seconds
from burnish.uploads.sign import Links
from burnish.web import submitting
from burnish.web.request import Request
from burnish.webhooks.open import check_url

T = TypeVar("T")

Scalar = str | int | float | bool | None
#: The same, where a client gives it.
Scrap = (
    Annotated[str, Meta(max_length=500)]
    | Annotated[int, Meta(ge=-(1 << 63), le=(1 << 63) - 1)]
    | float
    | bool
    | None
)
Moment = Annotated[datetime, Meta(tz=True)]
_ENCODE: Final = msgspec.json.Encoder().encode
_METADATA_BYTES: Final = 8192
#: Python's `$` lets a newline follow, JSON Schema's does not; this one means the end in both.
_END: Final = r"$(?!\n)"


def says(description: str, **bounds: Any) -> Meta:
    return Meta(description=description, **bounds)


#: What `input` may be: the parameters of every model that clients are told of.
PARAMETERS: Final = tuple(model.parameters for model in models())


# --- what a request may say ---------------------------------------------------------------------------------------


class Callback(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where a task tells of itself."""

    url: Annotated[
        str, says("A public http(s) address; deliveries are signed.", min_length=1, max_length=8192)
    ]
    when: Annotated[Literal["final", "all"], says("Its end only, or its start too.")] = "final"


class TaskRequest(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A task to be done."""

    model: Annotated[str, says("A model's name, as in GET /v1/models.", min_length=1, max_length=100)]
    input: Annotated[
        msgspec.Raw,
        says(
            "The model's parameters.",
            extra_json_schema={
                "type": "object",
                "oneOf": [{"$ref": f"#/components/schemas/{type_.__name__}"} for type_ in PARAMETERS],
            },
        ),
    ]
    metadata: (
        Annotated[
            dict[Annotated[str, Meta(max_length=64)], Scrap],
            says("Whatever you want to find again in the task: at most 50 names (64 characters) with text (500 "
                  "characters), numbers (64 bits), booleans or null, 8192 bytes of JSON in all.", max_length=50),
        ]
        | None
    ) = None  # fmt: skip
    retention_seconds: (
        Annotated[int, says("How long the task and its outputs are kept after its end.", ge=60)] | None
    ) = None
    deadline_seconds: Annotated[int, says("How long one run of the task may take.", ge=1)] | None = None
    priority: Annotated[
        int, says("Among this account's tasks that await a slot, the highest is next.", ge=-100, le=100)
    ] = 0
    on_limit: (
        Annotated[
            Literal["queue", "error_state", "reject"],
            says(
                "What to do over a limit, where that is stricter than the plan: `queue` admits the task without a slot, "
                "`error_state` stores it as failed, `reject` answers 429."
            ),
        ]
        | None
    ) = None
    max_credits: (
        Annotated[int, says("Refuse it where it would cost more.", ge=0, le=2_147_483_647)] | None
    ) = None
    callback: Annotated[Callback, says("Told of the task's end, signed as webhooks are.")] | None = None


class ListQuery(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which tasks, and how many."""

    limit: Annotated[int, says("At most so many.", ge=1, le=100)] = 20
    after: Annotated[str, says("Those made before this task: the `next` of the page before.")] | None = None
    status: (
        Annotated[
            Literal["waiting", "queued", "running", "succeeded", "failed", "cancelled"],
            says("Only tasks in this status."),
        ]
        | None
    ) = None
    model: Annotated[str, says("Only tasks of this model.")] | None = None
    created_after: (
        Annotated[datetime, says("Only tasks made later than this moment (RFC 3339).", tz=True)] | None
    ) = None


class TaskQuery(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How long to wait."""

    wait: Annotated[
        int, says("Answer when the task has ended, or after so many seconds at the latest.", ge=0, le=60)
    ] = 0


class UploadRequest(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A file that will be sent."""

    filename: Annotated[
        str, says("Its name; shown in results, never used as a path.", min_length=1, max_length=1024)
    ]
    content_type: Annotated[
        str,
        says(
            "Its media type; the PUT must carry the same.",
            pattern=r"^[A-Za-z0-9!#$&^_.+-]{1,64}/[A-Za-z0-9!#$&^_.+-]{1,64}" + _END,
        ),
    ]
    size_bytes: Annotated[int, says("Its exact size.", ge=1, le=1 << 62)]
    sha256: (
        Annotated[str, says("Its SHA-256 in hexadecimal, to be checked.", pattern="^[0-9a-fA-F]{64}" + _END)]
        | None
    ) = None


class LinkQuery(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What makes a link a permission; take it as it was given."""

    expires: Annotated[int, says("When the link ends, in seconds since 1970.")]
    signature: str


class FileQuery(LinkQuery, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """And the form in which a picture is wanted, as in the model `render`."""

    scale: Annotated[float, Meta(gt=0, le=1), says("Times as wide and as high.")] = 1.0
    max_width: Annotated[int, Meta(ge=1, le=100_000), says("In pixels; the height follows.")] | None = None
    preview: Annotated[bool, says("At most 1,024 pixels on the longer side.")] = False
    watermark: Annotated[bool, says("With the service's watermark over all of it.")] = False
    format: Format = None
    quality: Quality = 90
    metadata: MetadataPolicy = "keep"

    @property
    def form(self) -> Form:
        return msgspec.convert(self, Form, from_attributes=True)


# --- what a reply says --------------------------------------------------------------------------------------------


class Cost(Struct, frozen=True, kw_only=True):
    """What a task costs, in whole credits."""

    held: Annotated[int, says("Set aside until the task ends.")]
    charged: Annotated[int, says("Taken when it ended; never more than was held.")]
    unit: Annotated[str, says("What is counted to find the price; null until that is known.")] | None
    quantity: Annotated[int, says("How many of that unit.")] | None
    price_version: Annotated[int, says("Which edition of the price list applied.")] | None


class OutputReply(Struct, frozen=True, kw_only=True):
    """One thing that a task made."""

    id: Annotated[str, says("May be the input of other tasks as long as its bytes are there.")]
    url: Annotated[str, says("Its bytes, for whoever has this link, until `expires_at`; ranges are served.")]
    type: Annotated[str, says("Media type.")]
    filename: Annotated[str, says("What it is called when it is saved.")]
    role: Annotated[str, says("What it is to the task where that is more than its result, as `mask`.")] | None
    width: Annotated[int, says("In pixels; of pictures and films.")] | None
    height: Annotated[int, says("In pixels; of pictures and films.")] | None
    seconds: Annotated[float, says("How long a film lasts.")] | None
    frame_rate: Annotated[float, says("Of a film, in frames a second.")] | None
    size_bytes: int
    expires_at: Moment
    data: Annotated[dict[str, Any], says("What was found out, where that is the result.")] | UnsetType = UNSET
    notes: (
        Annotated[
            dict[str, Any], says("What was done beside what was asked, such as metadata that was dropped.")
        ]
        | UnsetType
    ) = UNSET


class TaskUrls(Struct, frozen=True, kw_only=True):
    """Where to go on."""

    self: str
    cancel: str
    retry: str
    events: str


class TaskReply(Struct, frozen=True, kw_only=True):
    """A task as it stands."""

    id: str
    model: str
    status: Annotated[
        Literal["waiting", "queued", "running", "succeeded", "failed", "cancelled"],
        says(
            "`waiting` for its bytes, `queued`, `running`; then one of the last three, which never changes."
        ),
    ]
    stage: Annotated[Literal["fetching", "working", "storing"], says("What a running task is at.")] | None
    progress: Annotated[float, says("From 0 to 1.")]
    status_reason: Annotated[str, says("Why it failed or was cancelled: one of a closed list.")] | None
    status_message: Annotated[str, says("The same in a sentence.")] | None
    retryable: Annotated[bool, says("Of a failed task: whether the same request may succeed later.")]
    queue_position: (
        Annotated[
            int,
            says(
                "Of a queued task with a slot: how many are before it, 1000 at most; 0: it is next. Told where one task "
                "is read; null elsewhere."
            ),
        ]
        | None
    )
    eta_seconds: (
        Annotated[int, says("How long it may still take, by how long others took. Told as the position is.")]
        | None
    )
    cost: Cost
    outputs: list[OutputReply]
    metadata: Annotated[dict[str, Scalar], says("As it was given.")] | None
    retry_of: Annotated[str, says("The task that this one was made again from.")] | None
    created_at: Moment
    started_at: Moment | None
    ended_at: Moment | None
    expires_at: Annotated[datetime, says("After this, task and outputs answer 410.", tz=True)]
    urls: TaskUrls


class TaskPage(Struct, frozen=True, kw_only=True):
    """Tasks, newest first."""

    data: list[TaskReply]
    has_more: bool
    next: (
        Annotated[str, says("Give it as `after` for the next page; the Link header has the whole URL.")]
        | None
    )


class PromisedUpload(Struct, frozen=True, kw_only=True):
    """Where to send the bytes."""

    id: Annotated[str, says("Goes into a task's input, at once if you like: the task waits for the bytes.")]
    url: Annotated[str, says("Send the bytes here; no key is needed.")]
    method: Literal["PUT"]
    headers: Annotated[dict[str, str], says("Send these with them.")]
    access_url: Annotated[str, says("Where they can be read afterwards, for whoever has this link.")]
    expires_at: Annotated[datetime, says("The bytes must all have come by then.", tz=True)]
    max_bytes: int


class UploadFault(Struct, frozen=True, kw_only=True):
    """Why no model can work on an upload."""

    code: str
    message: str


class UploadReply(Struct, frozen=True, kw_only=True):
    """An upload as it stands."""

    id: str
    status: Literal["promised", "arrived"]
    filename: str
    content_type: str
    size_bytes: int
    sha256: (
        Annotated[str, says("In hexadecimal; until the bytes are here, the one that was promised.")] | None
    )
    type: Annotated[str, says("What its first bytes say it is; null until someone has looked.")] | None
    width: Annotated[int, says("In pixels, as it is meant to be seen.")] | None
    height: Annotated[int, says("The same.")] | None
    seconds: Annotated[float, says("How long a film lasts; null of pictures.")] | None
    frame_rate: Annotated[float, says("Of a film, in frames a second; null of pictures.")] | None
    fault: UploadFault | None
    access_url: str
    created_at: Moment
    arrived_at: Moment | None
    expires_at: Moment


class Price(Struct, frozen=True, kw_only=True):
    """What a model costs, in whole credits: `credits`, `tiers` or `table`, as the unit wants."""

    rule: Annotated[str, says("Its name in the table of prices.")]
    version: Annotated[int, says("The edition of that table; tasks say it as `price_version`.")]
    unit: Annotated[
        Unit, says("What is counted: tasks, images by their size, or seconds of video that are made.")
    ]
    credits: Annotated[int, says("Of one task.")] | UnsetType = UNSET
    tiers: (
        Annotated[
            list[Tier],
            says("Of one image, by its megapixels: the first that it lies in, `below` or `up_to` so many."),
        ]
        | UnsetType
    ) = UNSET
    table: (
        Annotated[
            dict[str, list[int]],
            says(
                "Of one second, by resolution (HD, FHD, 2K, 4K, 8K): up to 30 frames a second, to 60, below 120, "
                "and 120."
            ),
        ]
        | UnsetType
    ) = UNSET


class ModelReply(Struct, frozen=True, kw_only=True):
    """Something the service can do."""

    name: str
    description: str
    lane: Annotated[Literal["light", "heavy"], says("Heavy models have a queue of their own.")]
    input_schema: Annotated[dict[str, Any], says("JSON Schema (2020-12) of a task's `input`.")]
    price: Price
    limits: Limits
    deadline_seconds: Annotated[int, says("How long one run may take unless a task says otherwise.")]
    installed: Annotated[bool, says("Whether it can be used here; a task for one that is not is refused.")]
    how_to_install: Annotated[
        str | None, says("What lacks, of a part of it too, and how the operator gets it.")
    ]


class ModelPage(Struct, frozen=True, kw_only=True):
    """All models."""

    data: list[ModelReply]


TASK_REQUEST: Final = msgspec.json.Decoder(TaskRequest)
UPLOAD_REQUEST: Final = msgspec.json.Decoder(UploadRequest)


# --- from their words to the house's ------------------------------------------------------------------------------


def submission(request: Request, key: Key, asked: TaskRequest, body: bytes) -> Submission:
    """A task to be admitted, checked as far as it can be without the database.

    Raises:
        Invalid: `param` names the field.
        Limited, InsufficientCredits: a test key asked for them.
    """
    input_ = bytes(asked.input)
    model, parameters = parameters_of(asked.model, input_, hidden=request.resources.settings.testing)
    if asked.callback is not None:
        check_url(request.resources.outbound, asked.callback.url, "callback.url")
    return submitting.submission(
        request,
        key,
        model,
        parameters,
        input_,
        metadata=_kept(asked.metadata) if asked.metadata is not None else None,
        deadline_seconds=asked.deadline_seconds,
        retention_seconds=asked.retention_seconds,
        priority=asked.priority,
        on_limit=asked.on_limit,
        max_credits=asked.max_credits,
        callback_url=asked.callback.url if asked.callback else None,
        callback_all=asked.callback.when == "all" if asked.callback else None,
        once=submitting.once(request, key, body),
    )


def _kept(metadata: Mapping[str, Scalar]) -> bytes:
    encoded = _ENCODE(metadata)
    if len(encoded) > _METADATA_BYTES:
        raise Invalid(
            f"All of it may be {_METADATA_BYTES} bytes of JSON at most; this is {len(encoded)}.",
            param="metadata",
            details={"max_bytes": _METADATA_BYTES},
        )
    return encoded


# --- and back -----------------------------------------------------------------------------------------------------


def task_reply(task: Task, links: Links, public_url: str, outlook: Outlook = NOTHING) -> TaskReply:
    id_ = to_wire("task", task.id)
    url = f"{public_url}/v1/tasks/{id_}"
    return TaskReply(
        id=id_,
        model=task.model,
        status=literal(task.status),
        stage=literal(task.stage),
        progress=round(task.progress, 4),
        status_reason=task.status_reason,
        status_message=task.status_message,
        retryable=STATUS_REASONS.get(task.status_reason or "", False),
        queue_position=outlook.queue_position,
        eta_seconds=outlook.eta_seconds,
        cost=_cost(task),
        outputs=[_output_reply(record, task, links) for record in outputs_of(task)],
        metadata=cast("Any", msgspec.Raw(task.metadata)) if task.metadata is not None else None,
        retry_of=to_wire("task", task.retry_of) if task.retry_of else None,
        created_at=task.created_at,
        started_at=task.started_at,
        ended_at=task.ended_at,
        expires_at=task.expires_at,
        urls=TaskUrls(self=url, cancel=f"{url}/cancel", retry=f"{url}/retry", events=f"{url}/events"),
    )


def _cost(task: Task) -> Cost:
    price = price_of(task)
    return Cost(
        held=task.cost_held,
        charged=task.cost_charged,
        unit=price.unit if price else None,
        quantity=price.quantity if price else None,
        price_version=price.version if price else None,
    )


def _output_reply(record: OutputRecord, task: Task, links: Links) -> OutputReply:
    return OutputReply(
        id=to_wire(OUTPUT, record.id),
        url=links.get(OUTPUT, record.id, task.expires_at),
        type=record.type,
        filename=record.filename,
        role=record.role,
        width=record.width,
        height=record.height,
        seconds=record.seconds,
        frame_rate=record.frame_rate,
        size_bytes=record.size_bytes,
        expires_at=task.expires_at,
        data=UNSET if record.data is None else record.data,
        notes=record.notes or UNSET,
    )


def promised_upload(blob: Blob, links: Links, settings: Uploads) -> PromisedUpload:
    assert blob.declared_type is not None
    kept = kept_seconds(blob.environment, settings.retention_seconds)
    readable_until = blob.expires_at + timedelta(seconds=kept)
    return PromisedUpload(
        id=to_wire(UPLOAD, blob.id),
        url=links.put(blob.id, blob.expires_at),
        method="PUT",
        headers={"Content-Type": blob.declared_type},
        access_url=links.get(UPLOAD, blob.id, readable_until),
        expires_at=blob.expires_at,
        max_bytes=settings.max_bytes,
    )


def upload_reply(blob: Blob, links: Links) -> UploadReply:
    hash_ = blob.sha256 or blob.declared_hash
    code, _, message = (blob.fault or "").partition(": ")
    return UploadReply(
        id=to_wire(UPLOAD, blob.id),
        status="promised" if blob.object_key is None else "arrived",
        filename=blob.filename or "",
        content_type=blob.declared_type or "",
        size_bytes=blob.size_bytes or blob.declared_size or 0,
        sha256=hash_.hex() if hash_ else None,
        type=blob.type,
        width=blob.width,
        height=blob.height,
        seconds=blob.seconds,
        frame_rate=blob.frame_rate,
        fault=UploadFault(code=code, message=message) if blob.fault else None,
        access_url=links.get(UPLOAD, blob.id, blob.expires_at),
        created_at=blob.created_at,
        arrived_at=blob.arrived_at,
        expires_at=blob.expires_at,
    )


@cache
def model_reply(
    model: Model, prices: Prices, installed: bool = True, how_to_install: str | None = None
) -> ModelReply:
    return ModelReply(
        name=model.name,
        description=model.description,
        lane=model.lane,
        input_schema=input_schema(model),
        price=_price(model, prices),
        limits=model.limits,
        deadline_seconds=model.deadline_seconds,
        installed=installed,
        how_to_install=how_to_install,
    )


def _price(model: Model, prices: Prices) -> Price:
    rule = msgspec.to_builtins(prices.get_rule(model.price))
    return msgspec.convert(rule | {"rule": model.price, "version": prices.version}, Price)


def literal(word: T) -> Any:
    """A word that the row's check keeps to the list of its type."""
    return word
