"""The native API's routes: each reads downwards from the caller to the reply. `OPERATIONS` is the table of them all."""

import re
from collections.abc import Awaitable, Callable
from contextlib import suppress
from functools import partial
from typing import Final

from burnish.dialects.native import examples, wire
from burnish.dialects.native.named import id_of, task_of
from burnish.engines import catalogue, needs
from burnish.errors import Invalid, NotFound, Unavailable
from burnish.ids import from_wire
from burnish.keys.key import Key
from burnish.limits.names import spend_name
from burnish.storage.postgres import Connection
from burnish.tasks.cancel import cancel
from burnish.tasks.find import list_tasks
from burnish.tasks.follow import version
from burnish.tasks.outlook import NOTHING, Outlook
from burnish.tasks.rendition import Form
from burnish.tasks.retry import submission_again
from burnish.tasks.submit import Submission
from burnish.tasks.task import FINAL, Task
from burnish.uploads.blob import Blob
from burnish.uploads.find import get_linked, get_upload
from burnish.uploads.promise import promise
from burnish.uploads.receive import receive
from burnish.uploads.sign import PATH
from burnish.web import bodies, etag, files
from burnish.web.caller import caller, plan_of
from burnish.web.operation import Operation
from burnish.web.replies import Headers, Reply, Stream, json, unchanged
from burnish.web.request import Request
from burnish.web.submitting import admit_task, check_installed, once
from burnish.webhooks.open import callbacks_of

#: A quoted value of a preference; what it holds counts only where it is a number.
_QUOTED: Final = re.compile(r'"(\d*)[^"]*"', re.ASCII)


# --- tasks --------------------------------------------------------------------------------------------------------


async def create(request: Request) -> Reply:
    key = await caller(request, "tasks:write")
    asked, body = await bodies.read_json(request, wire.TASK_REQUEST)
    return await _admitted(request, key, wire.submission(request, key, asked, body))


async def retry(request: Request) -> Reply:
    key = await caller(request, "tasks:write")
    task = await task_of(request, key)
    again = await submission_again(request.resources.db, task, key, request.id, once(request, key, b""))
    check_installed(request, key, again.model, again.parameters)
    return await _admitted(request, key, again)


async def _admitted(request: Request, key: Key, submission: Submission) -> Reply:
    """The task that was admitted for this request, or for the first with its idempotency key."""
    if submission.callback_url is not None:  # what its deliveries are signed with must be there
        resources = request.resources
        await callbacks_of(resources.db, resources.seal, key.account_id, key.environment, request.now)
    admission = await admit_task(request, key, submission)
    task = admission.task
    headers = [(b"idempotent-replayed", b"true")] if admission.replayed else []
    if seconds := _preferred_wait(request):
        headers.append((b"preference-applied", b"wait=%d" % seconds))
        with suppress(Unavailable):  # it is admitted, whether or not it can be read just now
            task = await _ended(request, task, seconds)
    # Where it is in the queue is not asked: that is for those who read or wait.
    outlook = await request.resources.outlooks.outlook(task, request.now) if seconds else NOTHING
    reply = wire.task_reply(task, request.site.links, request.site.public_url, outlook)
    headers += [(b"location", reply.urls.self.encode()), *_again(request, task, outlook)]
    return json(reply, status=200 if task.status in FINAL else 202, headers=headers)


async def get(request: Request) -> Reply:
    key = await caller(request, "tasks:read")
    wait = bodies.query(request, wire.TaskQuery).wait if request.scope["query_string"] else 0
    task = await task_of(request, key)
    if wait and task.status not in FINAL:
        task = await _ended(request, task, wait)
    if (known := request.header(b"if-none-match")) is not None and etag.matches(known, _tag(task)):
        return unchanged(headers=((b"etag", _tag(task).encode()), *_again(request, task)))
    return await _task_reply(request, task)


async def list_(request: Request) -> Reply:
    key = await caller(request, "tasks:read")
    asked = bodies.query(request, wire.ListQuery)
    after = from_wire("task", asked.after) if asked.after is not None else None
    if asked.after is not None and after is None:
        raise Invalid("`after` is a task's id, as in `next` of the page before.", param="after")
    found = await list_tasks(
        request.resources.db,
        key.account_id,
        key.environment,
        rows=asked.limit + 1,
        now=request.now,
        after=after,
        status=asked.status,
        model=asked.model,
        created_after=bodies.in_utc(asked.created_after, "created_after"),
    )
    return _page(request, found, asked.limit)


async def cancel_(request: Request) -> Reply:
    key = await caller(request, "tasks:write")
    task = await task_of(request, key)
    await cancel(request.resources.db, task, request.resources.plans)
    return await _task_reply(request, await task_of(request, key))


async def _ended(request: Request, task: Task, seconds: int) -> Task:
    """The task when it has ended, when `seconds` are over, or when the service stops."""
    seconds = min(seconds, request.resources.settings.http.wait_seconds)
    waiting = request.resources.reads.wait_for(task, seconds)
    return await request.while_there(waiting, though_draining=False) or task


def _preferred_wait(request: Request) -> int:
    """Seconds of `Prefer: wait=n` (RFC 7240), at most what this service waits; 0 where it is not asked to."""
    values = request.headers(b"prefer")
    for preference in _QUOTED.sub(r"\1", ",".join(values)).split(",") if values else ():
        name, _, value = preference.partition(";")[0].partition("=")
        if name.strip().lower() == "wait":
            digits = value.strip()
            seconds = int(digits.lstrip("0")[:6] or 0) if digits.isdecimal() else 0
            return min(seconds, request.resources.settings.http.wait_seconds)
    return 0


async def _task_reply(request: Request, task: Task) -> Reply:
    """The task as it stands, with its tag and when to look again."""
    outlook = await request.resources.outlooks.outlook(task, request.now)
    headers = ((b"etag", _tag(task).encode()), *_again(request, task, outlook))
    return json(wire.task_reply(task, request.site.links, request.site.public_url, outlook), headers=headers)


def _tag(task: Task) -> str:
    """Weak, for the outlook may change where the task has not."""
    return f'W/"{version(task)}"'


def _again(request: Request, task: Task, outlook: Outlook = NOTHING) -> Headers:
    """When to look again at one that has not ended."""
    if task.status in FINAL:
        return ()
    seconds = request.resources.outlooks.again_seconds(task, outlook.eta_seconds)
    return ((b"retry-after", b"%d" % seconds),)


def _page(request: Request, found: list[Task], limit: int) -> Reply:
    """At most `limit` of the tasks found; one more says that there are more."""
    site = request.site
    data = [wire.task_reply(task, site.links, site.public_url) for task in found[:limit]]
    following = data[-1].id if len(found) > limit else None
    headers: Headers = ()
    if following is not None:
        url = f"{site.public_url}/v1/tasks?{bodies.changed_query(request, after=following)}"
        headers = [(b"link", f'<{url}>; rel="next"'.encode())]
    return json(wire.TaskPage(data=data, has_more=following is not None, next=following), headers=headers)


# --- uploads and files --------------------------------------------------------------------------------------------


async def promise_(request: Request) -> Reply:
    key = await caller(request, "uploads:write")
    asked, _ = await bodies.read_json(request, wire.UPLOAD_REQUEST)
    settings = request.resources.settings.uploads
    upload = await promise(
        request.resources.db,
        settings,
        account_id=key.account_id,
        environment=key.environment,
        filename=asked.filename,
        content_type=asked.content_type.lower(),
        size_bytes=asked.size_bytes,
        sha256=bytes.fromhex(asked.sha256) if asked.sha256 else None,
        now=request.now,
        guard=_same_name(request, key),
    )
    return json(wire.promised_upload(upload, request.site.links, settings), status=201)


def _same_name(request: Request, key: Key) -> Callable[[Connection, str], Awaitable[None]] | None:
    """Counts the upload's file name, where the plan limits how often one may come."""
    window = plan_of(request, key).windows.same_name
    if window is None:
        return None
    now, account_id, created_at = request.now, key.account_id, key.account_created_at or request.now
    return lambda tx, filename: spend_name(tx, account_id, window, filename, created_at, now)


async def get_upload_(request: Request) -> Reply:
    key = await caller(request, "uploads:write")
    upload_id = id_of(request, "upload")
    resources = request.resources
    upload = await get_upload(
        resources.db, resources.settings.uploads, key.account_id, key.environment, upload_id, request.now
    )
    return json(wire.upload_reply(upload, request.site.links))


async def put_file(request: Request) -> Reply:
    resources = request.resources
    upload = await receive(
        resources.db,
        resources.blobs,
        resources.settings.uploads,
        await _linked(request, "PUT"),
        bodies.stream(request, resources.settings.http.idle_seconds),
        content_type=bodies.media_type(request),
        length=bodies.length(request),
    )
    return json(wire.upload_reply(upload, request.site.links))


async def get_file(request: Request) -> Reply | Stream:
    file = await _linked(request, "GET")
    form = bodies.query(request, wire.FileQuery).form
    if file.object_key is None:
        raise NotFound("The bytes of this upload have not come yet.", code="not_arrived")
    if form != Form():
        file = await files.in_form(request, file, form)
    assert file.object_key is not None
    return await files.serve(
        request, file, partial(request.resources.blobs.read, file.object_key), request.now
    )


async def _linked(request: Request, purpose: str) -> Blob:
    """The blob behind the signed link that this request calls."""
    query = request.scope["query_string"].decode("latin-1")
    opened = request.site.links.opened(purpose, request.path_value("name"), query)
    resources = request.resources
    return await get_linked(resources.db, resources.settings.uploads, opened, request.now)


# --- models -------------------------------------------------------------------------------------------------------


async def list_models(request: Request) -> Reply:
    await caller(request)
    return json(wire.ModelPage(data=[_model(request, model) for model in catalogue.models()]))


async def get_model(request: Request) -> Reply:
    await caller(request)
    name = request.path_value("name")
    model = next((model for model in catalogue.models() if model.name == name), None)
    if model is None:
        raise NotFound(f"There is no model {name[:60]!r}.")
    return json(_model(request, model))


def _model(request: Request, model: catalogue.Model) -> wire.ModelReply:
    folder = request.resources.settings.models_folder
    lacks = needs.how_to_install(model, folder)
    return wire.model_reply(model, request.resources.prices, needs.is_installed(model, folder), lacks)


# --- the table ----------------------------------------------------------------------------------------------------

#: How an admission may be refused, whatever is asked for.
ADMISSION: Final = (
    "insufficient_credits", "max_credits_exceeded", "key_credits_spent", "too_many_tasks", "too_many_heavy_tasks",
    "daily_limit_reached", "idempotency_key_reused", "idempotency_in_progress", "account_busy",
)  # fmt: skip

_ADMITTED: Final = {
    202: "It is admitted.",
    200: "It has ended: it was waited for, was admitted as failed, or was made by an earlier request.",
}

OPERATIONS: Final = (
    Operation(
        method="POST",
        path="/v1/tasks",
        handle=create,
        id="createTask",
        tag="Tasks",
        summary="Submit a task",
        description="Answers as soon as the task is on disk. With `Prefer: wait=n` the reply comes when the task has "
        "ended, or after n seconds (60 at most). With `Idempotency-Key` (255 bytes at most, kept for 24 hours) the same "
        "request again answers the same task (410 once that is gone); refusals leave the key unused. Over a limit whose behaviour is "
        "`error_state` the task is admitted as failed, costs nothing, and may be made again with retry.",
        access="tasks:write",
        reads=wire.TaskRequest,
        answers={202: wire.TaskReply, 200: wire.TaskReply},
        meanings=_ADMITTED,
        headers={
            "Location": "The task's own URL.",
            "Retry-After": "When to look again, in seconds.",
            "Preference-Applied": "How long it was waited for at most, as `wait=n`, where that was asked for.",
            "Idempotent-Replayed": "`true` where an earlier request with the same Idempotency-Key made the task.",
        },
        refuses=(
            "malformed", "body_stalled", "too_large", "unsupported_media", "invalid", "unknown_field",
            "missing_field", "unknown_model", "model_not_installed", "upload_not_found", "upload_expired", "bad_link", "link_expired",
            "input_blocked", "test_input", "unsupported_format", "decode_failed", "input_too_large",
            "duration_out_of_range", "output_too_large",
            "expired", *ADMISSION,
        ),
        example=examples.TASK_REQUEST,
        answer_example=examples.TASK,
    ),
    Operation(
        method="GET",
        path="/v1/tasks/{id}",
        handle=get,
        id="getTask",
        tag="Tasks",
        summary="Read a task, or wait for its end",
        description="With `wait` the reply comes when the task has ended, or after so many seconds: no polling.",
        access="tasks:read",
        query=wire.TaskQuery,
        answers={200: wire.TaskReply, 304: None},
        meanings={200: "As it stands.", 304: "`If-None-Match` names how it stands."},
        headers={
            "Retry-After": "While it has not ended: when to look again, in seconds, by how long its model took of late.",
            "ETag": "How it stands, for If-None-Match: another after every change.",
        },
        refuses=("not_found", "expired", "invalid", "unknown_field"),
        answer_example=examples.ENDED_TASK,
    ),
    Operation(
        method="GET",
        path="/v1/tasks",
        handle=list_,
        id="listTasks",
        tag="Tasks",
        summary="List tasks, newest first",
        access="tasks:read",
        query=wire.ListQuery,
        answers={200: wire.TaskPage},
        headers={"Link": 'The next page, as `rel="next"`.'},
        refuses=("invalid", "unknown_field"),
        answer_example=examples.TASK_PAGE,
    ),
    Operation(
        method="POST",
        path="/v1/tasks/{id}/cancel",
        handle=cancel_,
        id="cancelTask",
        tag="Tasks",
        summary="Cancel a task",
        description="Before and while it runs. A task that has ended stays as it is; cancelling again changes nothing. "
        "No body is read.",
        access="tasks:write",
        answers={200: wire.TaskReply},
        refuses=("not_found", "expired"),
        answer_example=examples.CANCELLED_TASK,
    ),
    Operation(
        method="POST",
        path="/v1/tasks/{id}/retry",
        handle=retry,
        id="retryTask",
        tag="Tasks",
        summary="Make a failed or cancelled task again",
        description="A new task, with its own hold and its own use of the limits; `retry_of` names the old one. "
        "`Idempotency-Key` and `Prefer: wait=n` are as in submitting. No body is read.",
        access="tasks:write",
        answers={202: wire.TaskReply, 200: wire.TaskReply},
        meanings=_ADMITTED,
        refuses=("not_found", "expired", "task_not_retryable", "model_not_installed", "upload_not_found", "upload_expired", "invalid", *ADMISSION),
        answer_example=examples.TASK,
    ),
    Operation(
        method="POST",
        path="/v1/uploads",
        handle=promise_,
        id="createUpload",
        tag="Uploads",
        summary="Announce a file",
        description="Answers with a signed URL: PUT the bytes there, with the headers that are given. The id may go into "
        "a task before the bytes have come.",
        access="uploads:write",
        reads=wire.UploadRequest,
        answers={201: wire.PromisedUpload},
        refuses=(
            "malformed", "body_stalled", "too_large", "upload_too_large", "unsupported_media", "invalid",
            "unknown_field", "missing_field", "duplicate_name",
        ),
        example=examples.UPLOAD_REQUEST,
        answer_example=examples.PROMISED_UPLOAD,
    ),
    Operation(
        method="GET",
        path="/v1/uploads/{id}",
        handle=get_upload_,
        id="getUpload",
        tag="Uploads",
        summary="Read an upload",
        access="uploads:write",
        answers={200: wire.UploadReply},
        refuses=("not_found", "file_expired"),
        answer_example=examples.UPLOAD_ARRIVED,
    ),
    Operation(
        method="PUT",
        path=PATH + "{name}",
        handle=put_file,
        id="putFile",
        tag="Files",
        summary="Send an upload's bytes",
        description="On the `url` of an upload. Size, type and hash must be those that were announced; otherwise nothing "
        "is kept, and the PUT may be tried again.",
        access="signed",
        query=wire.LinkQuery,
        reads="*/*",
        answers={200: wire.UploadReply},
        refuses=(
            "body_stalled", "bad_signature", "not_found", "file_expired", "upload_arrived", "upload_type_differs",
            "upload_size_differs", "upload_hash_differs", "storage_unavailable", "storage_full",
        ),
        answer_example=examples.UPLOAD_ARRIVED,
    ),
    Operation(
        method="GET",
        path=PATH + "{name}",
        handle=get_file,
        id="getFile",
        tag="Files",
        summary="Read the bytes of an output or an upload",
        description="On the `url` of an output, or the `access_url` of an upload. One range is served as 206; several are "
        "answered with the whole. With `format`, `max_width`, `scale`, `preview`, `watermark`, `quality` or `metadata` a picture "
        "is answered in that form: made once, kept as long as the file, and waited for for 60 seconds at most.",
        access="signed",
        query=wire.FileQuery,
        answers={200: "*/*", 206: "*/*", 304: None},
        meanings={
            200: "All of it.", 206: "The range that was asked for.", 304: "`If-None-Match` names what is here.",
        },
        headers={
            "ETag": "The SHA-256 of the bytes, for If-None-Match and If-Range.",
            "Content-Disposition": "The file's name.",
            "Accept-Ranges": "`bytes`.",
            "Content-Range": "Which bytes a 206 holds, or how many a 416 could have had.",
        },
        refuses=(
            "bad_signature", "not_found", "not_arrived", "file_expired", "no_such_bytes", "storage_unavailable",
            "invalid", "unknown_field", "missing_field", "unsupported_format", "decode_failed", "input_too_large",
            "output_too_large", "engine_refused", "too_many_renditions", "rendition_pending",
        ),
    ),
    Operation(
        method="GET",
        path="/v1/models",
        handle=list_models,
        id="listModels",
        tag="Models",
        summary="List the models",
        answers={200: wire.ModelPage},
        answer_example=examples.MODEL_PAGE,
    ),
    Operation(
        method="GET",
        path="/v1/models/{name}",
        handle=get_model,
        id="getModel",
        tag="Models",
        summary="Read a model",
        answers={200: wire.ModelReply},
        refuses=("not_found",),
        answer_example=examples.MODEL,
    ),
)  # fmt: skip
