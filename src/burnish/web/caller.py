"""Who is calling, and whether they may: the first thing a handler asks, before it reads a body.

In this order, each step cheaper than what it guards: the rate of the caller's address, decided before anything is
believed; the key, from the process's memory or the database; what the key may do; the rates of the key.
"""

from burnish.errors import Forbidden, Unauthenticated
from burnish.keys.key import Key
from burnish.web.request import Request


async def caller(request: Request, scope: str | None = None) -> Key:
    """The key that calls, which holds `scope`.

    Raises:
        Unauthenticated: `missing_key`, or what the key's secret is at fault for.
        Forbidden: `scope_missing`.
        Unavailable: the database does not answer.
    """
    key = await request.resources.authenticator.authenticate(_secret(request), request.now)
    if scope is not None and scope not in key.scopes:
        raise Forbidden(f"This key lacks the scope {scope}.", code="scope_missing", details={"scope": scope})
    request.account_id = key.account_id
    return key


def _secret(request: Request) -> str:
    scheme, _, secret = (request.header(b"authorization") or "").partition(" ")
    if scheme.lower() != "bearer" or not secret:
        raise Unauthenticated("Send your key as `Authorization: Bearer bk_…`.", code="missing_key")
    return secret.strip()
