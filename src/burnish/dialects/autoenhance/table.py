"""Every operation of Autoenhance's API, each path in both spellings: a redirected POST would lose its body."""

from collections.abc import Awaitable, Callable
from dataclasses import replace
from functools import partial

from burnish.dialects.autoenhance import routes, wire
from burnish.dialects.autoenhance.find import Images
from burnish.resources import Resources
from burnish.web.operation import Handle, Operation
from burnish.web.replies import Reply, Stream
from burnish.web.request import Request


def _operation(
    method: str, path: str, handle: Handle, summary: str, answers: object, status: int = 200
) -> Operation:
    return Operation(
        method=method,
        path=path,
        handle=handle,
        id=f"{method} {path}",
        tag="Autoenhance",
        summary=summary,
        answers={status: answers},
    )


def operations(resources: Resources) -> tuple[Operation, ...]:
    """All of them, over what a process works with."""
    once = _once(Images(resources.db))
    return *once, *(_other_spelling(operation) for operation in once)


def _once(images: Images) -> tuple[Operation, ...]:
    def of_images(handle: Callable[[Images, Request], Awaitable[Reply | Stream]]) -> Handle:
        return partial(handle, images)

    return (
        _operation("GET", "/v3/images/{id}", of_images(routes.get_image), "Read an image", wire.ImageOut),
        _operation("POST", "/v3/images/", routes.create_image, "Register an image", wire.ImageOut),
        _operation("DELETE", "/v3/images/{id}", of_images(routes.delete_image), "Delete an image", None, 204),
        _operation("POST", "/v3/images/{id}/process", of_images(routes.process_image), "Process it again", wire.ImageOut),
        _operation("PATCH", "/v3/images/{id}/process", of_images(routes.process_image), "Process it again", wire.ImageOut),
        _operation("GET", "/v3/images/{id}/enhanced", of_images(routes.get_enhanced), "The enhanced picture", "image/*"),
        _operation("GET", "/v3/images/{id}/original", of_images(routes.get_original), "The picture as it came", "image/*"),
        _operation("GET", "/v3/images/{id}/preview", of_images(routes.get_preview), "A preview", "image/*"),
        _operation("POST", "/v3/images/{id}/report", of_images(routes.report_image), "Say what is wrong with it", wire.Said),
        _operation("POST", "/v3/orders/", routes.create_order, "Make an order", wire.OrderOut),
        _operation("GET", "/v3/orders/", routes.list_orders, "List orders, newest first", wire.OrdersOut),
        _operation("GET", "/v3/orders/{id}", routes.get_order, "Read an order", wire.OrderOut),
        _operation("PATCH", "/v3/orders/{id}", routes.change_order, "Rename an order", wire.OrderOut),
        _operation("DELETE", "/v3/orders/{id}", routes.delete_order, "Delete an order", None, 204),
        _operation("POST", "/v3/orders/{id}/process", routes.process_order, "Make images of its brackets", wire.OrderOut),
        _operation("POST", "/v3/orders/{id}/merge", routes.process_order, "The same, as it was called before", wire.OrderOut),
        _operation("GET", "/v3/orders/{id}/brackets", routes.list_brackets, "List its brackets", wire.BracketsOut),
        _operation("POST", "/v3/brackets/", routes.create_bracket, "Register a bracket", wire.BracketOut),
        _operation("GET", "/v3/brackets/{id}", routes.get_bracket, "Read a bracket", wire.BracketOut),
        _operation("DELETE", "/v3/brackets/{id}", routes.delete_bracket, "Delete a bracket", None, 204),
    )  # fmt: skip


def _other_spelling(operation: Operation) -> Operation:
    path = operation.path.removesuffix("/") if operation.path.endswith("/") else f"{operation.path}/"
    return replace(operation, path=path)
