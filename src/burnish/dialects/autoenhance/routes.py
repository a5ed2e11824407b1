"""Autoenhance's routes: each reads downwards from the caller to the reply. `table.py` lists them all.

Every create answers 200, as its clients insist. What may be read without a key is found by an id that cannot be guessed;
who sends a key sees the own account's alone.
"""

from datetime import datetime
from functools import partial
from typing import Final
from uuid import UUID

import msgspec

from burnish.dialects.autoenhance import store, wire
from burnish.dialects.autoenhance.download import enhanced_file, original_file
from burnish.dialects.autoenhance.find import Found, Images, is_over
from burnish.dialects.autoenhance.image import Bracket, Image, Order, Preferences
from burnish.dialects.autoenhance.register import (
    let_go,
    process_again,
    put_together,
    register_bracket,
    register_image,
)
from burnish.errors import NotFound, Unauthenticated
from burnish.ids import new_id
from burnish.keys.key import Key
from burnish.storage.postgres import answering
from burnish.tasks.store import read_tasks
from burnish.tasks.task import Task
from burnish.uploads.blob import Blob
from burnish.web import bodies, files
from burnish.web.caller import caller
from burnish.web.replies import Reply, Stream, json
from burnish.web.request import Request

_ENCODE: Final = msgspec.json.Encoder().encode
_NOTHING: Final = b"{}"


# --- who calls, and how -------------------------------------------------------------------------------------------------


def presented(request: Request) -> str:
    """The secret in `x-api-key`. Raises Unauthenticated."""
    given = request.headers(b"x-api-key")
    if len(given) > 1:  # whose request it is, is not for us to choose
        raise Unauthenticated("Send one x-api-key header.", code="malformed_key")
    if not given or not given[0]:
        raise Unauthenticated("Send your key in the header x-api-key.", code="missing_key")
    return given[0]


async def _key(request: Request, scope: str) -> Key:
    return await caller(request, scope, presented)


async def _key_if_any(request: Request) -> Key | None:
    """Who calls, of what may be read without a key."""
    return await _key(request, "tasks:read") if request.headers(b"x-api-key") else None


async def _version(request: Request, account_id: UUID) -> wire.Version:
    """The one that the request names, else the account's own, else the latest."""
    named = request.header(b"x-api-version")
    if named is None:
        named = (await request.site.own.of(account_id)).get(wire.API_VERSION)
    return wire.version_of(named or wire.LATEST)


def _dev(request: Request) -> bool:
    return (request.header(b"x-dev-mode") or "").lower() in {"true", "1"}


def _owned(key: Key | None) -> store.Owned | None:
    return (key.account_id, key.environment) if key else None


async def _body(request: Request) -> bytes:
    """JSON whatever its type says; some of the vendor's samples send neither."""
    return await bodies.read(request) or _NOTHING


# --- images ---------------------------------------------------------------------------------------------------------------


async def create_image(request: Request) -> Reply:
    key = await _key(request, "tasks:write")
    asked = bodies.decode(await _body(request), wire.IMAGE_IN)
    if asked.hdr:
        return await _create_bracket_as_image(request, key, asked)
    image, task, upload = await register_image(request, key, asked, dev=_dev(request))
    url = request.site.links.put(upload.id, upload.expires_at)
    return json(wire.image_out(image, task, await _version(request, key.account_id), request.now, url))


async def _create_bracket_as_image(request: Request, key: Key, asked: wire.ImageIn) -> Reply:
    """As brackets were registered before there were brackets."""
    bracket, upload = await register_bracket(
        request, key, wire.BracketIn(name=asked.image_name, order_id=asked.order_id, metadata=asked.metadata),
        chosen=asked.image_id, preferences=_ENCODE(asked.over(Preferences())), param="image_name",
    )  # fmt: skip
    image = wire.bracket_as_image(bracket, asked.content_type or asked.camel_type, _dev(request), None)
    url = request.site.links.put(upload.id, upload.expires_at)
    return json(wire.image_out(image, None, await _version(request, key.account_id), request.now, url))


async def get_image(images: Images, request: Request) -> Reply:
    key = await _key_if_any(request)
    found = await _found(request, key, images)
    image, task = found.image, found.task
    if found.bracket is not None:
        image = wire.bracket_as_image(found.bracket, None, False, found.image)
    assert image is not None
    return json(wire.image_out(image, task, await _version(request, image.account_id), request.now))


async def process_image(images: Images, request: Request) -> Reply:
    key = await _key(request, "tasks:write")
    asked = bodies.decode(await _body(request), wire.IMAGE_IN_UPDATE)
    image, task = await _image(request, key, images)
    dev = _dev(request) if request.header(b"x-dev-mode") is not None else image.dev
    image, task = await process_again(request, key, image, task, asked, dev=dev)
    return json(wire.image_out(image, task, await _version(request, key.account_id), request.now))


async def delete_image(images: Images, request: Request) -> Reply:
    key = await _key(request, "tasks:write")
    found = await _found(request, key, images)
    if found.bracket is not None:
        return await _delete_bracket(request, found.bracket)
    assert found.image is not None
    with answering():
        async with request.resources.db.transaction() as tx:
            await store.delete_image(tx, found.image.id, request.now)
    uploads = [found.image.upload_id] if found.image.upload_id else []
    await let_go(request.resources, [found.task] if found.task else [], uploads, request.now)
    return _NO_CONTENT


async def report_image(images: Images, request: Request) -> Reply:
    key = await _key(request, "tasks:write")
    asked = bodies.decode(await _body(request), wire.REPORT_IN)
    image, _ = await _image(request, key, images)
    with answering():
        async with request.resources.db.transaction() as tx:
            await store.insert_report(tx, image.id, _ENCODE(asked), request.now)
    return json(wire.Said(message="The report is kept."))


async def get_enhanced(images: Images, request: Request) -> Reply | Stream:
    key = await _key(request, "tasks:read")
    asked = bodies.query(request, wire.PictureQuery)
    image, task = await _image(request, key, images)
    version = await _version(request, key.account_id)
    return await _served(
        request, await enhanced_file(request, key, image, task, asked, version, dev=_dev(request))
    )


async def get_original(images: Images, request: Request) -> Reply | Stream:
    key = await _key_if_any(request)
    asked = bodies.query(request, wire.PictureQuery)
    found = await _found(request, key, images)
    return await _served(request, await original_file(request, found, asked))


async def get_preview(images: Images, request: Request) -> Reply | Stream:
    key = await _key_if_any(request)
    asked = bodies.query(request, wire.PictureQuery)
    image, task = await _image(request, key, images)
    version = await _version(request, image.account_id)
    return await _served(
        request, await enhanced_file(request, None, image, task, asked, version, dev=_dev(request))
    )


async def _served(request: Request, file: Blob) -> Reply | Stream:
    read = partial(request.resources.blobs.read, str(file.object_key))
    return await files.serve(request, file, read, request.now)


async def _found(request: Request, key: Key | None, images: Images) -> Found:
    """What the path names. Raises NotFound."""
    return await images.find(wire.told_id(request.path_value("id"), "image"), _owned(key), request.now)


async def _image(request: Request, key: Key | None, images: Images) -> tuple[Image, Task | None]:
    """The image that the path names; of a bracket, the one that it has become part of. Raises NotFound."""
    found = await _found(request, key, images)
    if found.image is None:
        raise NotFound("This is a bracket that is in no image yet.")
    return found.image, found.task


# --- orders ---------------------------------------------------------------------------------------------------------------


async def create_order(request: Request) -> Reply:
    key = await _key(request, "tasks:write")
    asked = bodies.decode(await _body(request), wire.ORDER_IN)
    now = request.now
    with answering():
        async with request.resources.db.transaction() as tx:
            owned = (key.account_id, key.environment)
            order, made = await store.ensure_order(tx, new_id(), owned, asked.order_id, asked.name, now)
            if not made and asked.name is not None:
                await store.rename_order(tx, order.id, asked.name, now)
    return await _order_reply(request, order.id, key.account_id)


async def get_order(request: Request) -> Reply:
    key = await _key_if_any(request)
    order = await _order(request, key)
    return await _order_reply(request, order.id, order.account_id)


async def list_orders(request: Request) -> Reply:
    key = await _key(request, "tasks:read")
    asked = bodies.query(request, wire.PageQuery)
    before = wire.told_id(asked.offset, "page") if asked.offset else None
    with answering():
        async with request.resources.db.reading() as connection:
            owned = (key.account_id, key.environment)
            found = await store.list_orders(connection, owned, before, asked.per_page + 1)
            page = found[: asked.per_page]
            images = await store.list_images(connection, [order.id for order in page])
            ids = [image.task_id for one in images.values() for image in one if image.task_id]
            tasks = await read_tasks(connection, ids) if ids else {}
    version, now = await _version(request, key.account_id), request.now
    following = str(page[-1].id) if len(found) > len(page) else None
    return json(
        wire.OrdersOut(
            orders=[
                wire.order_out(order, _with(images[order.id], tasks, now), version, now) for order in page
            ],
            pagination=wire.Pagination(next_offset=following, per_page=asked.per_page),
        )
    )


async def change_order(request: Request) -> Reply:
    key = await _key(request, "tasks:write")
    asked = bodies.decode(await _body(request), wire.ORDER_IN)
    order = await _order(request, key)
    if asked.name is not None:
        with answering():
            async with request.resources.db.transaction() as tx:
                await store.rename_order(tx, order.id, asked.name, request.now)
    return await _order_reply(request, order.id, key.account_id)


async def delete_order(request: Request) -> Reply:
    key = await _key(request, "tasks:write")
    order = await _order(request, key)
    with answering():
        async with request.resources.db.transaction() as tx:
            images = (await store.list_images(tx, [order.id]))[order.id]
            brackets = await store.list_brackets(tx, order.id)
            ids = [image.task_id for image in images if image.task_id]
            tasks = await read_tasks(tx, [*ids, *([order.grouping] if order.grouping else [])])
            await store.delete_order(tx, order.id, request.now)
    uploads = [image.upload_id for image in images if image.upload_id] + [one.upload_id for one in brackets]
    await let_go(request.resources, list(tasks.values()), uploads, request.now)
    return _NO_CONTENT


async def process_order(request: Request) -> Reply:
    key = await _key(request, "tasks:write")
    asked = bodies.decode(await _body(request), wire.PROCESS_IN)
    order = await _order(request, key)
    await put_together(request, key, order, asked, dev=_dev(request))
    return await _order_reply(request, order.id, key.account_id)


async def list_brackets(request: Request) -> Reply:
    key = await _key_if_any(request)
    order = await _order(request, key)
    with answering():
        async with request.resources.db.reading() as connection:
            brackets = await store.list_brackets(connection, order.id)
    return json(wire.BracketsOut(brackets=[wire.bracket_out(bracket) for bracket in brackets]))


async def _order(request: Request, key: Key | None) -> Order:
    """The order that the path names. Raises NotFound, as `_image` does."""
    told = wire.told_id(request.path_value("id"), "order")
    with answering():
        async with request.resources.db.reading() as connection:
            order = await store.find_order(connection, told, _owned(key))
    if order is None:
        hint = "" if key else " An id that its client chose is read with the key."
        raise NotFound(f"There is no order of that id.{hint}")
    return order


async def _order_reply(request: Request, order_id: UUID, account_id: UUID) -> Reply:
    """The order as it stands now, with its images."""
    with answering():
        async with request.resources.db.reading() as connection:
            order = await store.read_order(connection, order_id)
            images = (await store.list_images(connection, [order_id]))[order_id]
            ids = [image.task_id for image in images if image.task_id]
            tasks = await read_tasks(connection, ids) if ids else {}
    if order is None:
        raise NotFound("There is no order of that id.")
    version = await _version(request, account_id)
    return json(wire.order_out(order, _with(images, tasks, request.now), version, request.now))


def _with(images: list[Image], tasks: dict[UUID, Task], now: datetime) -> list[tuple[Image, Task | None]]:
    """Each with its task; without those whose time is over."""
    found = [(image, tasks.get(image.task_id) if image.task_id else None) for image in images]
    return [(image, task) for image, task in found if task is None or not is_over(task, now)]


# --- brackets -------------------------------------------------------------------------------------------------------------


async def create_bracket(request: Request) -> Reply:
    key = await _key(request, "tasks:write")
    asked = bodies.decode(await _body(request), wire.BRACKET_IN)
    bracket, upload = await register_bracket(request, key, asked)
    return json(wire.bracket_out(bracket, request.site.links.put(upload.id, upload.expires_at)))


async def get_bracket(request: Request) -> Reply:
    key = await _key(request, "tasks:read")
    return json(wire.bracket_out(await _bracket(request, key)))


async def delete_bracket(request: Request) -> Reply:
    key = await _key(request, "tasks:write")
    return await _delete_bracket(request, await _bracket(request, key))


async def _delete_bracket(request: Request, bracket: Bracket) -> Reply:
    """Its bytes stay where an image is made of them."""
    with answering():
        async with request.resources.db.transaction() as tx:
            await store.delete_bracket(tx, bracket.id, request.now)
    if bracket.image_id is None:
        await let_go(request.resources, [], [bracket.upload_id], request.now)
    return _NO_CONTENT


async def _bracket(request: Request, key: Key) -> Bracket:
    told = wire.told_id(request.path_value("id"), "bracket")
    with answering():
        async with request.resources.db.reading() as connection:
            bracket = await store.find_bracket(connection, told, (key.account_id, key.environment))
    if bracket is None:
        raise NotFound("There is no bracket of that id.")
    return bracket


_NO_CONTENT: Final = Reply(204, b"", ())
