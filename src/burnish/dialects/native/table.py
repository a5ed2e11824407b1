"""Every operation of the native API, in the order in which it is served and documented."""

from typing import Final

from burnish.dialects.native import admin, events, limits, money, retention, routes, webhooks

OPERATIONS: Final = (
    *routes.OPERATIONS,
    *events.OPERATIONS,
    *retention.OPERATIONS,
    *limits.OPERATIONS,
    *money.OPERATIONS,
    *webhooks.OPERATIONS,
    *admin.OPERATIONS,
)
