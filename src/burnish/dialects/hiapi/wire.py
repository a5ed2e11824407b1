"""HiAPI's words: what a request may say, what a reply says, and the way from one to the house's and back.

Where the vendor is silent, the choices are here, and each is listed in docs/reference/dialects/hiapi.md.
"""

from collections.abc import Mapping
from typing import Annotated, Any, Final, Literal
from uuid import UUID

import msgspec
from msgspec import UNSET, Meta, Struct, UnsetType

from burnish.dialects.hiapi import inputs
from burnish.dialects.hiapi.errors import failure_code
from burnish.dialects.hiapi.models import UNAVAILABLE, Chosen, Table
from burnish.engines import catalogue
from burnish.errors import Invalid, NotFound, explained
from burnish.ids import from_wire, to_wire
from burnish.keys.key import Key
from burnish.tasks.submit import Once, Submission, parameters_of
from burnish.tasks.task import (
    CANCELLED,
    FAILED,
    QUEUED,
    RUNNING,
    SUCCEEDED,
    WAITING,
    OutputRecord,
    Task,
    outputs_of,
)
from burnish.uploads.blob import OUTPUT
from burnish.uploads.sign import Links
from burnish.web import submitting
from burnish.web.request import Request
from burnish.webhooks.open import check_url

NAME: Final = "hiapi"
PREFIX: Final = "/hiapi"
_ID: Final = "tk-hiapi-"
_ID_DIGITS: Final = 26
#: A task's status -> theirs; of a running one that stores what it made, another.
_STATUSES: Final = {
    WAITING: "queued", QUEUED: "queued", RUNNING: "handling", SUCCEEDED: "success", FAILED: "fail", CANCELLED: "fail",
}  # fmt: skip
_STORING: Final = "storing"
#: Roles of outputs that the vendor has a word for.
_ROLES: Final = frozenset({"first_frame", "last_frame", "thumbnail"})
_PLACEHOLDERS: Final = {
    ("picture", False): "placeholder", ("picture", True): "placeholder-heavy",
    ("film", False): "placeholder-film", ("film", True): "placeholder-film",
}  # fmt: skip
_MOST_PROMOTED: Final = 50
#: The vendor's reasons not to promote. Others are of its billing, which is not here.
NOT_OWNED: Final = "not_owned"
NOT_PROMOTABLE: Final = "not_promotable"
ALREADY_DELETED: Final = "already_deleted"

# --- requests -------------------------------------------------------------------------------------------------------


class Callback(Struct, frozen=True):
    """Where a task's end is told."""

    url: Annotated[str, Meta(min_length=1, max_length=8_192)]
    when: Literal["final"] = "final"


class TaskRequest(Struct, frozen=True):
    """`POST /v1/tasks`. Fields that are not listed are let pass, as the vendor does."""

    model: Annotated[str, Meta(min_length=1, max_length=200)]
    input: msgspec.Raw
    route: Annotated[str, Meta(max_length=200)] | None = None
    callback: Callback | None = None
    storage: Literal["temp", "persistent"] | None = None


class PageQuery(Struct, frozen=True):
    """`GET /v1/tasks`."""

    page: Annotated[int, Meta(ge=1, le=1_000)] = 1
    size: Annotated[int, Meta(ge=1, le=100)] = 20

    @property
    def skip(self) -> int:
        """Tasks on the pages before."""
        return (self.page - 1) * self.size


class _Asked(Struct, frozen=True):
    """What the task keeps of its request, as its metadata: what it is to be called."""

    hiapi_model: str = ""
    hiapi_route: str | None = None


TASK_REQUEST: Final = msgspec.json.Decoder(TaskRequest)
PROMOTED: Final = msgspec.json.Decoder(
    Annotated[list[Annotated[str, Meta(max_length=100)]], Meta(max_length=_MOST_PROMOTED)]
)
_ASKED: Final = msgspec.json.Decoder(_Asked)
_ENCODE: Final = msgspec.json.Encoder().encode


def submission(request: Request, key: Key, table: Table, asked: TaskRequest, body: bytes) -> Submission:
    """A task to be admitted, checked as far as it can be without the database.

    Raises:
        Invalid: `param` names the field; `unknown_model` where nothing here does the model's work.
        Limited, InsufficientCredits: a test key asked for them.
    """
    hidden = request.resources.settings.testing
    chosen = table.choose(asked.model, asked.route, hidden=hidden)
    input_ = bytes(asked.input)
    inputs.must_be_bare(input_)
    if asked.callback is not None:
        check_url(request.resources.outbound, asked.callback.url, "callback.url")
    model, parameters, kept = _work(chosen, input_, test=key.test, hidden=hidden)
    return submitting.submission(
        request,
        key,
        model,
        parameters,
        kept,
        metadata=_ENCODE(_Asked(chosen.name, chosen.route)) if chosen.entry is not None else None,
        callback_url=asked.callback.url if asked.callback else None,
        callback_all=False if asked.callback else None,
        once=_once(request, key, body),
        dialect=NAME,
    )


def _once(request: Request, key: Key, body: bytes) -> Once | None:
    """The idempotency key, for this API at whichever of its roots, and for no other API that is served there."""
    once = submitting.once(request, key, body)
    return msgspec.structs.replace(once, route=f"{key.environment} {NAME}") if once else None


def _work(
    chosen: Chosen, input_: bytes, *, test: bool, hidden: bool
) -> tuple[catalogue.Model, Struct, bytes]:
    """What does it, with its parameters, and these as the task keeps them."""
    if chosen.entry is None:
        return *parameters_of(chosen.served_by, input_, hidden=hidden), input_
    read = inputs.read_input(chosen.entry.input, input_)
    if test:
        name = _PLACEHOLDERS[chosen.entry.makes, chosen.heavy]
        kept = _ENCODE(inputs.placeholder_of(chosen.entry.makes, read))
        return *parameters_of(name, kept, hidden=True), kept
    model = catalogue.find_model(chosen.served_by)
    if model is None:
        raise Invalid(
            f"Nothing here does the work of {chosen.name} yet. Use another model, or a test key for a placeholder.",
            param="model",
            code=UNAVAILABLE,
        )
    try:
        return model, msgspec.json.decode(input_, type=model.parameters), input_
    except msgspec.ValidationError as error:
        raise explained(str(error), "input", model.parameters) from error


def task_id(text: str) -> UUID:
    """Raises NotFound for what cannot be one."""
    found = from_wire("task", f"task_{text.removeprefix(_ID)}") if text.startswith(_ID) else None
    if found is None:
        raise NotFound(f"There is no task {text[:60]!r}.")
    return found


# --- replies --------------------------------------------------------------------------------------------------------


class Created(Struct, frozen=True, kw_only=True):
    task_id: str = msgspec.field(name="taskId")


class Output(Struct, frozen=True, kw_only=True):
    """`expire_at`: in seconds since 1970."""

    url: str
    type: str
    expire_at: int = msgspec.field(name="expireAt")


class Failure(Struct, frozen=True, kw_only=True):
    code: str
    message: str


class Detail(Struct, frozen=True, kw_only=True):
    """A task as it stands. `created`, `completed`: in seconds since 1970; 0 while it has not ended."""

    task_id: str = msgspec.field(name="taskId")
    model: str
    status: str
    created: int
    completed: int
    storage: str = "temp"
    route: str | UnsetType = UNSET
    output: list[Output] | UnsetType = UNSET
    error: Failure | UnsetType = UNSET


class Page(Struct, frozen=True, kw_only=True):
    """Newest first. `total`: on all pages together."""

    tasks: list[Detail]
    page: int
    size: int
    total: int


class Rejected(Struct, frozen=True, kw_only=True):
    id: str
    reason: str


class Promoted(Struct, frozen=True, kw_only=True):
    accepted: list[str]
    rejected: list[Rejected]


class Envelope(Struct, frozen=True, kw_only=True):
    """Around every reply that is no refusal. Never with a `status`, which clients would take for the task's."""

    code: int = 200
    message: str = "success"
    data: Any


def created(task: Task) -> Envelope:
    return Envelope(data=Created(task_id=_wire_id(task)))


def detail(task: Task, links: Links) -> Detail:
    """The task, with its outputs where it succeeded, and why it failed where it did. What was asked for is not echoed."""
    asked = _ASKED.decode(task.metadata) if task.dialect == NAME and task.metadata else _Asked()
    status = _STATUSES[task.status]
    return Detail(
        task_id=_wire_id(task),
        model=asked.hiapi_model or task.model,
        status="archiving" if status == "handling" and task.stage == _STORING else status,
        created=int(task.created_at.timestamp()),
        completed=int(task.ended_at.timestamp()) if task.ended_at else 0,
        route=asked.hiapi_route or UNSET,
        output=[_output(one, task, links) for one in outputs_of(task)] if status == "success" else UNSET,
        error=_failure(task) if status == "fail" else UNSET,
    )


def promoted_id(text: str) -> tuple[str, UUID | None]:
    """What `promote` names, and of which kind; None for what cannot be any."""
    if text.startswith(_ID):
        return "task", from_wire("task", f"task_{text.removeprefix(_ID)}")
    return OUTPUT, from_wire(OUTPUT, text)


def promoted(reasons: Mapping[str, str | None]) -> Promoted:
    """`reasons`: why each was not kept; None: it is."""
    return Promoted(
        accepted=[id_ for id_, reason in reasons.items() if reason is None],
        rejected=[Rejected(id=id_, reason=reason) for id_, reason in reasons.items() if reason is not None],
    )


def _output(output: OutputRecord, task: Task, links: Links) -> Output:
    """Its link ends in the file's extension, as the vendor's do."""
    extension = "." + output.filename.rpartition(".")[2]
    return Output(
        url=links.get(OUTPUT, output.id, task.expires_at, extension),
        type=output.role if output.role in _ROLES else output.type.partition("/")[0],
        expire_at=int(task.expires_at.timestamp()),
    )


def _failure(task: Task) -> Failure:
    reason = task.status_reason or "internal"
    message = task.status_message or (
        "The task was cancelled." if task.status == CANCELLED else "The task failed."
    )
    return Failure(code=failure_code(reason), message=f"{message} ({reason})")


def _wire_id(task: Task) -> str:
    return _ID + to_wire("task", task.id)[-_ID_DIGITS:].upper()
