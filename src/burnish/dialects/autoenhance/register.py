"""Images and brackets are registered, processed again, deleted; an order's brackets are put together.

Called by the routes. An image's row names its task before the task is there, so that whoever is told of the task finds
the image: both stand in the transaction that makes the upload's promise. What could not be submitted at once stays
`pending`, and `follow.py` submits it.
"""

from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

import msgspec
from msgspec.structs import replace

from burnish.dialects.autoenhance import store
from burnish.dialects.autoenhance.image import (
    MOST_BRACKETS,
    PREPARING,
    Bracket,
    Image,
    Order,
    Owner,
    Preferences,
    Wanted,
    preferences_of,
)
from burnish.dialects.autoenhance.making import Job, Missing, job, job_of, submission, task_of
from burnish.dialects.autoenhance.wire import BracketIn, ImageIn, ImageInUpdate, ProcessIn
from burnish.engines import catalogue
from burnish.errors import Conflict, Invalid, Limited, NotFound, Refused, Unavailable
from burnish.ids import new_id, to_wire
from burnish.keys.key import Key
from burnish.limits.names import spend_name
from burnish.resources import Resources
from burnish.storage.postgres import Connection, answering
from burnish.tasks.cancel import cancel
from burnish.tasks.keep import delete
from burnish.tasks.task import FINAL, Task
from burnish.uploads import store as blobs
from burnish.uploads.blob import UPLOAD, Blob
from burnish.uploads.promise import promise
from burnish.web.caller import plan_of, retention_of
from burnish.web.request import Request
from burnish.web.submitting import admit_task

_ENCODE: Final = msgspec.json.Encoder().encode
_GROUP: Final = "group"


def owner_of(request: Request, key: Key) -> Owner:
    return Owner(key.account_id, key.environment, key.id, request.id, retention_of(request, key))


# --- registering ------------------------------------------------------------------------------------------------------


async def register_image(
    request: Request, key: Key, asked: ImageIn, *, dev: bool
) -> tuple[Image, Task | None, Blob]:
    """A new image that waits for its bytes, with its task; without one where nothing here does what is asked.

    Raises:
        Limited: `duplicate_name`, or a quota that the plan refuses over.
        Invalid: the id is taken.
    """
    owner, upload_id, now = owner_of(request, key), new_id(), request.now
    preferences = asked.over(Preferences())
    made, fault = _job(preferences, [upload_id])
    image = Image(
        id=new_id(),
        account_id=key.account_id,
        environment=key.environment,
        chosen=asked.image_id,
        order_id=new_id(),
        order_told=new_id(),
        name=asked.image_name,
        content_type=asked.content_type or asked.camel_type,
        preferences=_ENCODE(preferences),
        metadata=_ENCODE(asked.metadata) if asked.metadata else None,
        rating=asked.rating,
        upload_id=upload_id,
        task_id=new_id() if made else None,
        pending=None,
        fault=fault,
        dev=dev,
        paid_at=None,
        created_at=now,
    )

    async def register(tx: Connection) -> None:
        nonlocal image
        order, _ = await store.ensure_order(
            tx, image.order_id, (key.account_id, key.environment), asked.order_id, None, now
        )
        image = replace(image, order_id=order.id, order_told=order.told)
        if not await store.insert_image(tx, image):
            raise _taken("image_id")

    upload = await _promise(request, key, upload_id, asked.image_name, "image_name", register)
    if made is None:
        return image, None, upload
    try:
        admission = await admit_task(
            request, key, submission(request.resources, owner, image, made, [upload_id])
        )
    except Refused:
        with answering():
            async with request.resources.db.transaction() as tx:
                await store.remove_image(tx, image.id)
        raise
    return image, admission.task, upload


async def register_bracket(
    request: Request,
    key: Key,
    asked: BracketIn,
    *,
    chosen: UUID | None = None,
    preferences: bytes | None = None,
    param: str = "name",
) -> tuple[Bracket, Blob]:
    """A new bracket that waits for its bytes. `preferences`: it is told as an image.

    Raises:
        Limited: `duplicate_name`.
        Invalid: the id is taken.
    """  # fmt: skip
    upload_id, now = new_id(), request.now
    bracket = Bracket(
        id=new_id(),
        account_id=key.account_id,
        environment=key.environment,
        chosen=chosen,
        order_id=new_id(),
        order_told=new_id(),
        image_id=None,
        image_told=None,
        name=asked.name,
        metadata=_ENCODE(asked.metadata) if asked.metadata else None,
        preferences=preferences,
        upload_id=upload_id,
        uploaded=False,
        created_at=now,
    )

    async def register(tx: Connection) -> None:
        nonlocal bracket
        order, _ = await store.ensure_order(
            tx, bracket.order_id, (key.account_id, key.environment), asked.order_id, None, now
        )
        bracket = replace(bracket, order_id=order.id, order_told=order.told)
        if not await store.insert_bracket(tx, bracket):
            raise _taken("image_id")

    upload = await _promise(request, key, upload_id, asked.name, param, register)
    return bracket, upload


async def _promise(
    request: Request,
    key: Key,
    upload_id: UUID,
    name: str,
    param: str,
    register: Callable[[Connection], Awaitable[None]],
) -> Blob:
    """A place for the bytes, of whatever type and size, and in the same transaction what they are for; its name is counted."""
    window, created_at, now = (
        plan_of(request, key).windows.same_name,
        key.account_created_at or request.now,
        request.now,
    )

    async def guard(tx: Connection, filename: str) -> None:
        if window is not None:
            await spend_name(tx, key.account_id, window, filename, created_at, now)
        await register(tx)

    try:
        return await promise(
            request.resources.db,
            request.resources.settings.uploads,
            account_id=key.account_id,
            environment=key.environment,
            filename=name,
            content_type=None,
            size_bytes=None,
            sha256=None,
            now=now,
            upload_id=upload_id,
            guard=guard,
        )
    except (Invalid, Limited) as refused:
        if refused.param == "filename":
            refused.param = param
        raise


def _job(preferences: Preferences, uploads: Sequence[UUID]) -> tuple[Job | None, str | None]:
    try:
        return job(preferences, uploads), None
    except Missing as missing:
        return None, str(missing)


def _taken(param: str) -> Invalid:
    return Invalid("There is one of this id already; an id must be unique.", param=param)


# --- again, and no more -------------------------------------------------------------------------------------------------


async def process_again(
    request: Request, key: Key, image: Image, task: Task | None, asked: ImageInUpdate, *, dev: bool
) -> tuple[Image, Task | None]:
    """The image with a new task, with what is said now in place of what was. One that is still under way is cancelled; if
    nothing is said that is new, it goes on as it is.

    Raises:
        Refused: as admitting; the image is as it was.
        Conflict: somebody else has it processed just now.
    """
    resources, now = request.resources, request.now
    before = preferences_of(image.preferences)
    preferences = asked.over(before)
    under_way = task is not None and task.status not in FINAL
    if (under_way or image.pending) and preferences == before and dev == image.dev:
        return image, task
    uploads = await _uploads_of(resources, image)
    made, fault = _job(preferences, uploads)
    wanted = replace(
        image,
        name=asked.image_name or image.name,
        preferences=_ENCODE(preferences),
        metadata=_ENCODE(asked.metadata) if asked.metadata is not None else image.metadata,
        rating=asked.rating if asked.rating is not None else image.rating,
        task_id=new_id() if made else None,
        pending=None,
        fault=fault,
        dev=dev,
    )
    await _change(resources, wanted, image.task_id, now)
    admitted = None
    if made is not None:
        try:
            admission = await admit_task(
                request, key, submission(resources, owner_of(request, key), wanted, made, uploads)
            )
        except Refused:
            await _change(resources, image, wanted.task_id, now)
            raise
        admitted = admission.task
    if task is not None and under_way:
        await cancel(resources.db, task, resources.plans)
    return wanted, admitted


async def _change(resources: Resources, image: Image, was: UUID | None, now: datetime) -> None:
    with answering():
        async with resources.db.transaction() as tx:
            if not await store.process_again(tx, image, was, now):
                raise Conflict("Another request has this image processed just now. Read it first.")


async def _uploads_of(resources: Resources, image: Image) -> list[UUID]:
    if image.upload_id is not None:
        return [image.upload_id]
    with answering():
        async with resources.db.reading() as connection:
            return await store.list_parts(connection, image.id)


async def let_go(resources: Resources, tasks: Sequence[Task], uploads: Sequence[UUID], now: datetime) -> None:
    """Of what was deleted: what is under way is cancelled, and what was made and what it was made of is deleted."""
    for task in tasks:
        if task.status not in FINAL:
            await cancel(resources.db, task, resources.plans)
        elif task.expires_at > now:
            await delete(resources.db, task, resources.plans, now)
    if uploads:
        with answering():
            async with resources.db.transaction() as tx:
                await blobs.move_expiry(tx, uploads, now, earlier=True)


# --- brackets become images ---------------------------------------------------------------------------------------------


async def put_together(request: Request, key: Key, order: Order, asked: ProcessIn, *, dev: bool) -> None:
    """Make images of the order's brackets that are in none yet: as they are listed, so many each, or as they look.

    Raises:
        Invalid: a list names a bracket that is not there to be had.
    """
    resources, owner, now = request.resources, owner_of(request, key), request.now
    with answering():
        async with resources.db.transaction() as tx:
            locked = await store.lock_order(tx, order.id)
            if locked is None:
                raise NotFound("There is no order of that id.")
            free = [
                bracket for bracket in await store.list_brackets(tx, order.id) if bracket.image_id is None
            ]
            if locked.grouping is not None or not free:  # it is under way, or there is nothing to do
                return
            preferences = asked.over(preferences_of(free[0].preferences))
            wanted = Wanted(owner, preferences, dev, [bracket.id for bracket in free])
            sets = _sets(asked, free)
            if sets is None:
                grouping, images = new_id(), []
                await store.set_grouping(tx, order.id, grouping, _ENCODE(wanted), None, now)
                locked = replace(locked, grouping=grouping, wanted=_ENCODE(wanted))
            else:
                images = await make_images(tx, locked, wanted, sets, now)
                await store.set_grouping(tx, order.id, None, None, None, now)
    if sets is None:
        await submit_grouping(resources, locked, free)
    await submit_images(resources, images)


def _sets(asked: ProcessIn, free: Sequence[Bracket]) -> list[list[Bracket]] | None:
    """The brackets of each picture; None where their looks are to tell."""
    if asked.images:
        there = {bracket.told: bracket for bracket in free}
        sets = []
        for number, one in enumerate(asked.images):
            if unknown := [id_ for id_ in one.bracket_ids if id_ not in there]:
                raise Invalid(
                    f"There is no bracket {unknown[0]} in this order that is in no image yet.",
                    param=f"images[{number}].bracket_ids",
                )
            sets.append([there.pop(id_) for id_ in one.bracket_ids])
        return sets
    if each := asked.number_of_brackets_per_image:
        return _chunks(free, each)
    if len(free) == 1:
        return [list(free)]
    return None if catalogue.find_model(_GROUP) else _chunks(free, MOST_BRACKETS)


def _chunks(brackets: Sequence[Bracket], each: int) -> list[list[Bracket]]:
    return [list(brackets[start : start + each]) for start in range(0, len(brackets), each)]


async def make_images(
    tx: Connection, order: Order, wanted: Wanted, sets: Sequence[Sequence[Bracket]], now: datetime
) -> list[Image]:
    """An image for each set of brackets, whose task has yet to be submitted. Of one bracket it is that picture alone."""
    images = []
    for number, brackets in enumerate(sets):
        made, fault = _job(wanted.preferences, [bracket.upload_id for bracket in brackets])
        image = Image(
            id=new_id(),
            account_id=order.account_id,
            environment=order.environment,
            chosen=None,
            order_id=order.id,
            order_told=order.told,
            name=brackets[0].name,
            content_type=None,
            preferences=_ENCODE(wanted.preferences),
            metadata=brackets[0].metadata,
            rating=None,
            upload_id=None,
            task_id=new_id() if made else None,
            pending=_ENCODE(wanted.owner) if made else None,
            fault=fault,
            dev=wanted.dev,
            paid_at=None,
            created_at=now + timedelta(microseconds=number),  # so that they stay in this order
        )
        await store.insert_image(tx, image)
        await store.set_parts(tx, image.id, [bracket.id for bracket in brackets])
        images.append(image)
    return images


async def submit_images(resources: Resources, images: Sequence[Image]) -> None:
    """Submit what is pending of these. A task that is there already stays the one; what is refused for now stays pending,
    and what is refused for good is told as the image's fault.
    """
    for image in images:
        if image.pending is None:
            continue
        owner = msgspec.json.decode(image.pending, type=Owner)
        uploads = await _uploads_of(resources, image)
        fault = None
        try:
            await resources.submissions.submit(
                submission(resources, owner, image, job_of(image, uploads), uploads)
            )
        except (Limited, Unavailable):
            continue
        except (Refused, Missing) as refused:
            fault = str(refused)
        with answering():
            async with resources.db.transaction() as tx:
                await store.set_submitted(tx, image.id, fault)


async def submit_grouping(resources: Resources, order: Order, brackets: Sequence[Bracket]) -> None:
    """Submit the task that finds out which of these brackets belong together; `follow.py` does so again where this fails."""
    assert order.grouping is not None
    assert order.wanted is not None
    wanted = msgspec.json.decode(order.wanted, type=Wanted)
    uploads = [bracket.upload_id for bracket in brackets]
    model = catalogue.find_model(_GROUP)
    fault = "Not available here: brackets cannot be grouped by their looks. Say how many make a picture."
    if model is not None:
        told = {"images": [to_wire(UPLOAD, id_) for id_ in uploads]}
        try:
            parameters = msgspec.convert(told, model.parameters)
            await resources.submissions.submit(
                task_of(
                    resources, wanted.owner, order.grouping, Job(model, parameters, _ENCODE(told)), uploads,
                    metadata=None, dialect=PREPARING,
                )
            )  # fmt: skip
        except (Limited, Unavailable):
            return
        except msgspec.ValidationError as refused:
            fault = f"These {len(uploads)} brackets cannot be grouped by their looks: {refused}. Say how many make a picture."
        except Refused as refused:
            fault = refused.message
        else:
            return
    with answering():
        async with resources.db.transaction() as tx:
            await store.set_grouping(tx, order.id, None, None, fault, resources.clock.now())
