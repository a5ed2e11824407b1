"""Webhooks: endpoints, their secrets, what they were sent, and sending it again; and the secret of callbacks."""

from typing import Final
from uuid import UUID

from burnish.dialects.native import webhooks_examples as examples
from burnish.dialects.native import webhooks_wire as wire
from burnish.errors import Invalid, NotFound
from burnish.ids import from_wire, to_wire
from burnish.keys.key import Key
from burnish.storage.postgres import answering
from burnish.web import bodies
from burnish.web.caller import caller
from burnish.web.operation import Operation
from burnish.web.replies import Reply, json
from burnish.web.request import Request
from burnish.webhooks import open as verbs
from burnish.webhooks import store
from burnish.webhooks.deliver import PREFIX as MESSAGE
from burnish.webhooks.endpoint import Endpoint, purpose
from burnish.webhooks.sign import shown

_SCOPE: Final = "webhooks:write"


async def create(request: Request) -> Reply:
    key = await caller(request, _SCOPE)
    asked, _ = await bodies.read_json(request, wire.ENDPOINT_REQUEST)
    resources = request.resources
    endpoint, secret = await verbs.open_endpoint(
        resources.db,
        resources.seal,
        resources.outbound,
        key.account_id,
        key.environment,
        url=asked.url,
        events=asked.events,
        description=asked.description,
        now=request.now,
    )
    return json(wire.new_endpoint(endpoint, secret), status=201)


async def list_(request: Request) -> Reply:
    key = await caller(request, _SCOPE)
    with answering():
        async with request.resources.db.reading() as connection:
            found = await store.list_endpoints(connection, key.account_id, key.environment)
    return json(wire.EndpointPage(data=[wire.endpoint_reply(endpoint) for endpoint in found]))


async def get(request: Request) -> Reply:
    return json(wire.endpoint_reply(await _endpoint(request, await caller(request, _SCOPE))))


async def change(request: Request) -> Reply:
    key = await caller(request, _SCOPE)
    asked, _ = await bodies.read_json(request, wire.ENDPOINT_CHANGE)
    endpoint = await _endpoint(request, key)
    resources = request.resources
    changed = await verbs.change_endpoint(
        resources.db,
        resources.outbound,
        endpoint,
        url=asked.url,
        events=asked.events,
        description=asked.description,
        disabled=asked.disabled,
        now=request.now,
    )
    return json(wire.endpoint_reply(changed))


async def remove(request: Request) -> Reply:
    endpoint = await _endpoint(request, await caller(request, _SCOPE))
    await verbs.close_endpoint(request.resources.db, endpoint)
    return Reply(204, b"", ())


async def rotate(request: Request) -> Reply:
    key = await caller(request, _SCOPE)
    asked, _ = await bodies.read_json(request, wire.SECRET_ROTATION)
    endpoint = await _endpoint(request, key)
    resources = request.resources
    changed, secret = await verbs.rotate_secret(
        resources.db, resources.seal, endpoint, asked.grace_seconds, now=request.now
    )
    return json(wire.new_endpoint(changed, secret))


async def test(request: Request) -> Reply:
    key = await caller(request, _SCOPE)
    endpoint = await _endpoint(request, key)
    delivery_id = await verbs.send_test(request.resources.db, endpoint, request.now)
    return json(await _detail(request, endpoint, delivery_id), status=202)


async def deliveries(request: Request) -> Reply:
    key = await caller(request, _SCOPE)
    asked = bodies.query(request, wire.DeliveryQuery)
    endpoint = await _endpoint(request, key)
    after = from_wire(MESSAGE, asked.after) if asked.after else None
    if asked.after and after is None:
        raise Invalid("`after` is a delivery's id, as in `next` of the page before.", param="after")
    with answering():
        async with request.resources.db.reading() as connection:
            row = await store.read_delivery(connection, endpoint.id, after) if after else None
            before = (row["created_at"], row["id"]) if row else None
            found = await store.list_deliveries(
                connection, endpoint.id, state=asked.state, before=before, rows=asked.limit + 1
            )
    data = [wire.delivery_reply(row) for row in found[: asked.limit]]
    more = len(found) > asked.limit
    return json(wire.DeliveryPage(data=data, has_more=more, next=data[-1].id if more else None))


async def delivery(request: Request) -> Reply:
    endpoint = await _endpoint(request, await caller(request, _SCOPE))
    return json(await _detail(request, endpoint, _delivery_id(request)))


async def replay_one(request: Request) -> Reply:
    endpoint = await _endpoint(request, await caller(request, _SCOPE))
    delivery_id = _delivery_id(request)
    await _detail(request, endpoint, delivery_id)
    await verbs.replay(
        request.resources.db, endpoint, delivery_id=delivery_id, dead_only=False, now=request.now
    )
    return json(await _detail(request, endpoint, delivery_id), status=202)


async def replay(request: Request) -> Reply:
    key = await caller(request, _SCOPE)
    asked, _ = await bodies.read_json(request, wire.REPLAY_REQUEST)
    endpoint = await _endpoint(request, key)
    again = await verbs.replay(
        request.resources.db,
        endpoint,
        since=bodies.in_utc(asked.since, "since"),
        until=bodies.in_utc(asked.until, "until"),
        dead_only=not asked.accepted,
        now=request.now,
    )
    return json(wire.Replayed(deliveries=again), status=202)


async def callback_secret(request: Request) -> Reply:
    key = await caller(request, _SCOPE)
    resources = request.resources
    callbacks = await verbs.callbacks_of(
        resources.db, resources.seal, key.account_id, key.environment, request.now
    )
    secret = resources.seal.open(callbacks.secret, purpose(callbacks.id))
    return json(wire.SecretReply(secret=shown(secret)))


async def rotate_callback_secret(request: Request) -> Reply:
    key = await caller(request, _SCOPE)
    asked, _ = await bodies.read_json(request, wire.SECRET_ROTATION)
    resources = request.resources
    callbacks = await verbs.callbacks_of(
        resources.db, resources.seal, key.account_id, key.environment, request.now
    )
    _, secret = await verbs.rotate_secret(
        resources.db, resources.seal, callbacks, asked.grace_seconds, now=request.now
    )
    return json(wire.SecretReply(secret=shown(secret)))


async def _endpoint(request: Request, key: Key) -> Endpoint:
    text = request.path_value("id")
    if (endpoint_id := from_wire(verbs.PREFIX, text)) is None:
        raise NotFound(f"There is no endpoint {text[:60]!r}.")
    with answering():
        async with request.resources.db.reading() as connection:
            return await verbs.get_endpoint(connection, key.account_id, key.environment, endpoint_id)


def _delivery_id(request: Request) -> UUID:
    text = request.path_value("delivery")
    if (found := from_wire(MESSAGE, text)) is None:
        raise NotFound(f"There is no delivery {text[:60]!r}.")
    return found


async def _detail(request: Request, endpoint: Endpoint, delivery_id: UUID) -> wire.DeliveryDetail:
    with answering():
        async with request.resources.db.reading() as connection:
            row = await store.read_delivery(connection, endpoint.id, delivery_id)
            attempts = await store.list_attempts(connection, delivery_id) if row else []
    if row is None:
        raise NotFound(f"There is no delivery {to_wire(MESSAGE, delivery_id)}.")
    return wire.delivery_detail(row, attempts)


_BODY: Final = (
    "malformed", "body_stalled", "too_large", "unsupported_media", "invalid", "unknown_field", "missing_field",
)  # fmt: skip
_PATH: Final = "/v1/webhooks/{id}"

OPERATIONS: Final = (
    Operation(
        method="POST",
        path="/v1/webhooks",
        handle=create,
        id="createWebhook",
        tag="Webhooks",
        summary="Have events sent to an address",
        description="Signed as the Standard Webhooks specification has it. A receiver accepts with any 2xx within 15 "
        "seconds; else it is tried again for three days. The secret is shown in this reply only.",
        access=_SCOPE,
        reads=wire.EndpointRequest,
        answers={201: wire.NewEndpoint},
        refuses=(*_BODY, "input_blocked", "too_many_endpoints"),
        example=examples.ENDPOINT_REQUEST,
        answer_example=examples.NEW_ENDPOINT,
    ),
    Operation(
        method="GET",
        path="/v1/webhooks",
        handle=list_,
        id="listWebhooks",
        tag="Webhooks",
        summary="List the endpoints",
        access=_SCOPE,
        answers={200: wire.EndpointPage},
        answer_example=examples.ENDPOINT_PAGE,
    ),
    Operation(
        method="GET",
        path="/v1/webhooks/callback-secret",
        handle=callback_secret,
        id="getCallbackSecret",
        tag="Webhooks",
        summary="Read the secret that tasks' callbacks are signed with",
        description="One for each account and environment.",
        access=_SCOPE,
        answers={200: wire.SecretReply},
        answer_example=examples.SECRET,
    ),
    Operation(
        method="POST",
        path="/v1/webhooks/callback-secret/rotate",
        handle=rotate_callback_secret,
        id="rotateCallbackSecret",
        tag="Webhooks",
        summary="Give callbacks a new secret",
        access=_SCOPE,
        reads=wire.SecretRotation,
        answers={200: wire.SecretReply},
        refuses=_BODY,
        example=examples.SECRET_ROTATION,
        answer_example=examples.SECRET,
    ),
    Operation(
        method="GET",
        path=_PATH,
        handle=get,
        id="getWebhook",
        tag="Webhooks",
        summary="Read an endpoint",
        access=_SCOPE,
        answers={200: wire.EndpointReply},
        refuses=("not_found",),
        answer_example=examples.ENDPOINT,
    ),
    Operation(
        method="PATCH",
        path=_PATH,
        handle=change,
        id="changeWebhook",
        tag="Webhooks",
        summary="Change an endpoint, switch it off or on",
        access=_SCOPE,
        reads=wire.EndpointChange,
        answers={200: wire.EndpointReply},
        refuses=(*_BODY, "not_found", "input_blocked"),
        example=examples.ENDPOINT_CHANGE,
        answer_example=examples.ENDPOINT,
    ),
    Operation(
        method="DELETE",
        path=_PATH,
        handle=remove,
        id="deleteWebhook",
        tag="Webhooks",
        summary="Delete an endpoint, what it is owed, and its log",
        access=_SCOPE,
        answers={204: None},
        refuses=("not_found",),
    ),
    Operation(
        method="POST",
        path=f"{_PATH}/rotate",
        handle=rotate,
        id="rotateWebhookSecret",
        tag="Webhooks",
        summary="Give an endpoint a new secret",
        description="The old one signs beside it for `grace_seconds`, a day unless given.",
        access=_SCOPE,
        reads=wire.SecretRotation,
        answers={200: wire.NewEndpoint},
        refuses=(*_BODY, "not_found"),
        example=examples.SECRET_ROTATION,
        answer_example=examples.NEW_ENDPOINT,
    ),
    Operation(
        method="POST",
        path=f"{_PATH}/test",
        handle=test,
        id="testWebhook",
        tag="Webhooks",
        summary="Send an endpoint a test",
        description="A `webhook.test`, by the way that all deliveries take. No body is read.",
        access=_SCOPE,
        answers={202: wire.DeliveryDetail},
        refuses=("not_found", "endpoint_disabled"),
        answer_example=examples.DELIVERY,
    ),
    Operation(
        method="GET",
        path=f"{_PATH}/deliveries",
        handle=deliveries,
        id="listDeliveries",
        tag="Webhooks",
        summary="List what an endpoint was sent, newest first",
        access=_SCOPE,
        query=wire.DeliveryQuery,
        answers={200: wire.DeliveryPage},
        refuses=("not_found", "invalid", "unknown_field"),
        answer_example=examples.DELIVERY_PAGE,
    ),
    Operation(
        method="GET",
        path=f"{_PATH}/deliveries/{{delivery}}",
        handle=delivery,
        id="getDelivery",
        tag="Webhooks",
        summary="Read a delivery, what was sent and what was answered",
        access=_SCOPE,
        answers={200: wire.DeliveryDetail},
        refuses=("not_found",),
        answer_example=examples.DELIVERY,
    ),
    Operation(
        method="POST",
        path=f"{_PATH}/deliveries/{{delivery}}/replay",
        handle=replay_one,
        id="replayDelivery",
        tag="Webhooks",
        summary="Send a delivery again",
        description="With the same id and the same bytes. No body is read.",
        access=_SCOPE,
        answers={202: wire.DeliveryDetail},
        refuses=("not_found", "endpoint_disabled"),
        answer_example=examples.DELIVERY,
    ),
    Operation(
        method="POST",
        path=f"{_PATH}/replay",
        handle=replay,
        id="replayDeliveries",
        tag="Webhooks",
        summary="Send the deliveries of a stretch of time again",
        description="Dead letters; with `accepted`, those that were accepted too.",
        access=_SCOPE,
        reads=wire.ReplayRequest,
        answers={202: wire.Replayed},
        refuses=(*_BODY, "not_found", "endpoint_disabled"),
        example=examples.REPLAY_REQUEST,
        answer_example=examples.REPLAYED,
    ),
)
