"""The pictures of an image: enhanced, as it came, as a preview; in what form, and who has paid.

A preview is free and has a watermark until its image was bought. The first whole download takes the credit, in the
transaction that marks the image as downloaded: however many ask at once, it is taken once, and never again, not even
after the image was processed again. In development mode nothing is taken, and everything has a watermark.
"""

from datetime import timedelta
from typing import Final

import msgspec

from burnish.credits import store as credits_
from burnish.credits.grant import take
from burnish.dialects.autoenhance import store
from burnish.dialects.autoenhance.find import Found
from burnish.dialects.autoenhance.image import Image
from burnish.dialects.autoenhance.wire import PictureQuery, Version
from burnish.engines import catalogue
from burnish.errors import NotFound
from burnish.keys.key import Key
from burnish.storage.postgres import answering
from burnish.tasks.cost import cost_of, measures_of
from burnish.tasks.rendition import Form
from burnish.tasks.task import FAILED, SUCCEEDED, OutputRecord, Task, outputs_of
from burnish.uploads.blob import Blob
from burnish.uploads.find import get_linked
from burnish.uploads.store import read_blobs
from burnish.web import files
from burnish.web.caller import plan_of
from burnish.web.request import Request

#: Of a link that nobody made: the file's own end counts.
_LONG: Final = timedelta(days=36_500)
_SMALL: Final = 1_024  #: pixels on the longer side of `size=small`


async def enhanced_file(
    request: Request,
    key: Key | None,
    image: Image,
    task: Task | None,
    asked: PictureQuery,
    version: Version,
    *,
    dev: bool,
) -> Blob:
    """The file to answer with. Without a key it is a preview, whatever is asked for.

    Raises:
        NotFound: there is no enhanced picture yet, or no more.
        InsufficientCredits: it was not bought before, and cannot be now.
        Unavailable: `rendition_pending`.
    """
    output, whole = _output(image, task), key is not None and _is_whole(asked, version)
    assert task is not None
    file = await get_linked(
        request.resources.db,
        request.resources.settings.uploads,
        (output.id, request.now + _LONG),
        request.now,
    )
    paid, dev = image.paid_at is not None, dev or image.dev
    if whole and not dev and not paid:
        assert key is not None
        await _buy(request, key, image, task, output)
    watermark = dev or (not whole and not paid) or bool(asked.watermark)
    return await _in_form(request, file, asked, preview=not whole, watermark=watermark)


async def original_file(request: Request, found: Found, asked: PictureQuery) -> Blob:
    """The picture as it was uploaded; of brackets, the first of them.

    Raises:
        NotFound: its bytes have not come, or are gone.
    """
    image = found.image
    upload_id = found.bracket.upload_id if found.bracket else image.upload_id if image else None
    if upload_id is None:
        assert image is not None
        with answering():
            async with request.resources.db.reading() as connection:
                upload_id = (await store.list_parts(connection, image.id))[0]
    resources = request.resources
    file = await get_linked(
        resources.db, resources.settings.uploads, (upload_id, request.now + _LONG), request.now
    )
    if file.object_key is None:
        raise NotFound("The bytes of this image have not come yet.", code="not_arrived")
    return await _in_form(request, file, asked, preview=bool(asked.preview), watermark=bool(asked.watermark))


def _output(image: Image, task: Task | None) -> OutputRecord:
    if task is not None and task.status == SUCCEEDED:
        return outputs_of(task)[0]
    failed = image.fault or (task.status_message if task is not None and task.status == FAILED else None)
    raise NotFound(failed or "This image has not been enhanced yet.", code="not_arrived")


def _is_whole(asked: PictureQuery, version: Version) -> bool:
    """Whether more than a preview is wanted; where nothing is said, that changed with the version that renders."""
    return not version.renders if asked.preview is None else not asked.preview


async def _in_form(
    request: Request, file: Blob, asked: PictureQuery, *, preview: bool, watermark: bool
) -> Blob:
    """The file as it is where nothing else is asked for, else a rendition of it."""
    format_ = "jpeg" if asked.format == "jpg" else asked.format
    if format_ is not None and file.type == f"image/{format_}":
        format_ = None
    max_width = asked.max_width
    if max_width is not None and file.width is not None and file.width <= max_width:
        max_width = None
    form = Form(
        scale=asked.scale or 1.0,
        max_width=max_width,
        preview=preview or asked.size == "small",
        watermark=watermark,
        format=format_,
        quality=asked.quality or 90,
    )
    return file if form == Form() else await files.in_form(request, file, form)


async def _buy(request: Request, key: Key, image: Image, task: Task, output: OutputRecord) -> None:
    """Take the price, unless somebody has just done so."""
    resources, now = request.resources, request.now
    credits_due = await _price(request, task) if plan_of(request, key).metered else 0
    with answering():
        async with resources.db.transaction() as tx:
            await credits_.lock_account(tx, key.account_id)
            if await store.set_paid(tx, image.id, now):
                await take(tx, key.account_id, output.id, credits_due, key_id=key.id, now=now)


async def _price(request: Request, task: Task) -> int:
    """What the task would have cost at its end, by today's prices."""
    resources, model = request.resources, catalogue.find_model(task.model)
    if model is None or task.source_id is None:
        raise NotFound("What this image was made with is no longer here. Process it again.")
    with answering():
        async with resources.db.reading() as connection:
            source = (await read_blobs(connection, [task.source_id])).get(task.source_id)
    parameters = msgspec.json.decode(task.input, type=model.parameters)
    cost = cost_of(resources.prices, model, parameters, *measures_of(source))
    if cost is None:
        raise NotFound("What this image was made of is no longer here. Process it again.")
    return cost.credits
