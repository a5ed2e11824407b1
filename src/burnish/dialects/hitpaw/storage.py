"""HitPaw's staging storage: presigned uploads, transfers from an address, and files sent in a form."""

import asyncio
from typing import Any, Final

from msgspec import UNSET

from burnish.dialects.hitpaw import wire
from burnish.errors import Failed, Forbidden, Invalid, Refused
from burnish.keys.key import Key
from burnish.uploads.blob import Blob
from burnish.uploads.find import get_linked
from burnish.uploads.promise import promise
from burnish.uploads.receive import receive
from burnish.uploads.transfer import keep, transfer
from burnish.web import bodies, form
from burnish.web.caller import caller
from burnish.web.operation import Operation
from burnish.web.replies import Reply, json
from burnish.web.request import Request

_SCOPE: Final = "uploads:write"
#: Addresses that one request is fetched from at the same time.
_AT_ONCE: Final = 4


async def presign(request: Request) -> Reply:
    key = await caller(request, _SCOPE, wire.key_of)
    asked = bodies.decode(await bodies.read(request), wire.PRESIGN)
    place = await _place(request, key, asked, asked.expire_seconds)
    return json(_plain(place))


async def presign_batch(request: Request) -> Reply:
    key = await caller(request, _SCOPE, wire.key_of)
    asked = bodies.decode(await bodies.read(request), wire.PRESIGN_BATCH)
    wire.must_be_few(asked.files, "files")
    for file in asked.files:  # all of them, or none
        wire.type_of(file)
    items = [await _place(request, key, file, asked.expire_seconds) for file in asked.files]
    return json(_plain(wire.Places(total=len(items), success=len(items), failed=0, items=items)))


async def _place(request: Request, key: Key, asked: wire.PresignRequest, seconds: int) -> wire.Place:
    settings = request.resources.settings.uploads
    upload = await promise(
        request.resources.db,
        settings,
        account_id=key.account_id,
        environment=key.environment,
        filename=asked.filename,
        content_type=wire.type_of(asked),
        size_bytes=None,
        sha256=None,
        arrival_seconds=wire.expire_seconds(seconds),
        now=request.now,
    )
    return wire.place(upload, request, settings)


async def put(request: Request) -> Reply:
    """The bytes, at the presigned address. Whatever is wrong with the request is 403, as the vendor's storage has it."""
    resources = request.resources
    query = request.scope["query_string"].decode("latin-1")
    opened = request.site.links.opened("PUT", request.path_value("name"), query)
    settings = resources.settings.uploads
    await receive(
        resources.db,
        resources.blobs,
        settings,
        await get_linked(resources.db, settings, opened, request.now),
        bodies.stream(request, resources.settings.http.idle_seconds),
        content_type=bodies.media_type(request),
        length=bodies.length(request),
    )
    return Reply(200, b"", [(b"x-oss-request-id", request.id.encode())])


async def transfer_(request: Request) -> Reply:
    key = await caller(request, _SCOPE, wire.key_of)
    asked = bodies.decode(await bodies.read(request), wire.TRANSFER)
    upload = await _transferred(request, key, asked.url, asked.filename)
    return json(wire.Envelope(data=wire.transferred(upload, request.site.links)))


async def transfer_batch(request: Request) -> Reply:
    key = await caller(request, _SCOPE, wire.key_of)
    asked = bodies.decode(await bodies.read(request), wire.TRANSFER_BATCH)
    wire.must_be_few(asked.urls, "urls")
    room = asyncio.Semaphore(_AT_ONCE)

    async def one(url: str) -> wire.TransferItem:
        async with room:
            try:
                found = wire.transferred(await _transferred(request, key, url, None), request.site.links)
            except Refused as refused:
                return wire.TransferItem(source_url=url, error=refused.message)
        return wire.TransferItem(source_url=url, url=found.url, object_key=found.object_key, size=found.size)

    items = await asyncio.gather(*(one(url) for url in asked.urls))
    there = sum(item.error is UNSET for item in items)
    data = wire.TransferItems(total=len(items), success=there, failed=len(items) - there, items=list(items))
    return json(wire.Envelope(data=data))


async def _transferred(request: Request, key: Key, url: str, filename: str | None) -> Blob:
    """Raises Invalid where the address gives nothing."""
    resources = request.resources
    if key.test:
        raise Forbidden("Nothing is fetched for test keys.", code="test_input")
    try:
        return await transfer(
            resources.db,
            resources.blobs,
            resources.settings.uploads,
            resources.outbound,
            url,
            account_id=key.account_id,
            environment=key.environment,
            filename=filename,
            now=request.now,
        )
    except Failed as failed:
        raise Invalid(failed.message, param="url", code=failed.reason) from failed


async def upload(request: Request) -> Reply:
    key = await caller(request, _SCOPE, wire.key_of)
    resources = request.resources
    file = await form.file_of(request, "file")
    kept = await keep(
        resources.db,
        resources.blobs,
        resources.settings.uploads,
        file.chunks,
        account_id=key.account_id,
        environment=key.environment,
        filename=file.filename,
        content_type=file.content_type,
        now=request.now,
    )
    return json(wire.Envelope(data=wire.transferred(kept, request.site.links)))


def _plain(data: Any) -> wire.Envelope:
    """Presigning answers code 0, and no message."""
    return wire.Envelope(code=0, message=UNSET, data=data)


OPERATIONS: Final = tuple(
    Operation(
        method=method, path=path, handle=handle, id=path, tag="HitPaw", summary=summary, access=access,
        answers={200: wire.Envelope},
    )
    for method, path, handle, summary, access in (
        ("POST", "/api/oss/presign-put", presign, "A place for a file", _SCOPE),
        ("POST", "/api/oss/presign-put/batch", presign_batch, "Places for files", _SCOPE),
        ("POST", "/api/oss/transfer", transfer_, "Fetch a file", _SCOPE),
        ("POST", "/api/oss/batch-transfer", transfer_batch, "Fetch files", _SCOPE),
        ("POST", "/api/oss/upload", upload, "Send a file in a form", _SCOPE),
        ("PUT", wire.FILES + "{name}", put, "Put a file at its place", "signed"),
    )
)  # fmt: skip
