"""Every operation of the native API, in the order in which it is served and documented."""

from typing import Final

from burnish.dialects.native import admin, limits, money, routes

OPERATIONS: Final = (*routes.OPERATIONS, *limits.OPERATIONS, *money.OPERATIONS, *admin.OPERATIONS)
