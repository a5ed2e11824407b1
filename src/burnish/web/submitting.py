"""A task of whatever surface: checked as far as it can be without the database, then admitted.

Called by the dialects, which have turned their own words into a model's name and its input before.
"""

from hashlib import sha256
from typing import Final
from uuid import UUID

from msgspec import Struct

from burnish.engines import catalogue, needs
from burnish.errors import Invalid, Refused
from burnish.ids import new_id
from burnish.keys.key import Key
from burnish.limits.limit import OnLimit
from burnish.tasks import magic
from burnish.tasks.sources import places_of, sources_of
from burnish.tasks.submit import Admission, Once, Submission
from burnish.tasks.task import QUEUED
from burnish.uploads.blob import kept_seconds
from burnish.uploads.source import read_source
from burnish.web.caller import plan_of
from burnish.web.request import Request
from burnish.webhooks.event import NATIVE

_KEY_BYTES: Final = 255


def submission(
    request: Request,
    key: Key,
    model: catalogue.Model,
    parameters: Struct,
    input_: bytes,
    *,
    metadata: bytes | None = None,
    deadline_seconds: int | None = None,
    retention_seconds: int | None = None,
    priority: int = 0,
    on_limit: OnLimit | None = None,
    max_credits: int | None = None,
    callback_url: str | None = None,
    callback_all: bool | None = None,
    once: Once | None = None,
    dialect: str = NATIVE,
) -> Submission:
    """`input_`: the parameters as JSON, which the task keeps.

    Raises:
        Invalid: `param` names the field.
        Limited, InsufficientCredits: a test key asked for them.
    """
    check_installed(request, key, model, parameters)
    settings = request.resources.settings
    longest = settings.tasks.film_deadline_seconds if model.film else settings.tasks.deadline_seconds
    kept = plan_of(request, key).retention_seconds or settings.uploads.retention_seconds
    sources = sources_of(model, parameters)
    admissible = Submission(
        id=new_id(),
        account_id=key.account_id,
        environment=key.environment,
        key_id=key.id,
        request_id=request.id,
        model=model,
        parameters=parameters,
        input=input_,
        metadata=metadata,
        sources=tuple(
            source(request, key, given, place)
            for given, place in zip(sources, places_of(model, parameters), strict=True)
        ),
        max_attempts=settings.tasks.max_attempts,
        deadline_seconds=_within("deadline_seconds", deadline_seconds, longest)
        or min(model.deadline_seconds, longest),
        retention_seconds=kept_seconds(
            key.environment, _within("retention_seconds", retention_seconds, kept) or kept
        ),
        priority=priority,
        on_limit=on_limit,
        max_credits=max_credits,
        credit_cap=key.credit_cap,
        callback_url=callback_url,
        callback_all=callback_all,
        once=once,
        dialect=dialect,
    )
    for given in sources:
        if (refusal := magic.refusal(given)) is not None:
            raise refusal
    return admissible


def check_installed(request: Request, key: Key, model: catalogue.Model, parameters: Struct) -> None:
    """Raises Invalid where what these parameters ask for wants a network that is not here. Of a test key nothing runs."""
    if key.test:
        return
    if lacks := needs.missing(model, parameters, request.resources.settings.models_folder):
        raise Invalid(lacks, code="model_not_installed", param="model")


def source(request: Request, key: Key, given: str, place: str) -> UUID | str | None:
    """A source that the parameters name at `place`: a blob's id, or a URL. Of a test key no URL: nothing is fetched for it."""
    if magic.is_magic(given):
        magic.read(given, place, test=key.test)
        return None
    found = read_source(given, place, request.site.links, request.resources.outbound, request.now)
    return None if key.test and isinstance(found, str) else found


def once(request: Request, key: Key, body: bytes) -> Once | None:
    """The request's idempotency key, with what it stands for.

    Raises:
        Invalid: it is empty, longer than 255 bytes, or given twice.
    """
    given = request.headers(b"idempotency-key")
    if not given:
        return None
    if len(given) > 1 or not 1 <= len(given[0].encode("latin-1")) <= _KEY_BYTES:
        raise Invalid(
            f"Give one Idempotency-Key of 1 to {_KEY_BYTES} bytes.",
            param="Idempotency-Key",
            details={"max_bytes": _KEY_BYTES},
        )
    route = f"{key.environment} {request.method} {request.scope['path']}"
    return Once(route, given[0], sha256(body).digest())


async def admit_task(request: Request, key: Key, wanted: Submission) -> Admission:
    """Admit, note how the quotas stand for the reply's headers, and count.

    Raises:
        Refused: as `Submissions.submit`.
    """
    try:
        admission = await request.resources.submissions.submit(wanted)
    except Refused as refused:
        if refused.standings:
            request.quotas_stand(key, refused.standings)
        raise
    if admission.standings:
        request.quotas_stand(key, admission.standings)
    if not admission.replayed:
        task = admission.task
        parked = task.status == QUEUED and not task.ready
        request.site.metrics.admission(task.model, "parked" if parked else task.status, admission.shadow)
    return admission


def _within(name: str, seconds: int | None, longest: int) -> int | None:
    if seconds is not None and seconds > longest:
        raise Invalid(f"Here {name} may be {longest} at most.", param=name, details={"max": longest})
    return seconds
