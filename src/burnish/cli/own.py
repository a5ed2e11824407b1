"""What `burnish accounts set` sets of an account for a vendor's API: what their customers set in a web page. Kept sealed."""

import argparse
import sys
from typing import Any, Final

from burnish.dialects.autoenhance import webhook as autoenhance
from burnish.dialects.autoenhance.wire import version_of
from burnish.dialects.hiapi.deliveries import read_signing_key
from burnish.dialects.hiapi.wire import NAME as HIAPI
from burnish.errors import Invalid
from burnish.keys.account import Account
from burnish.keys.open import set_callbacks_secret
from burnish.outbound import Outbound
from burnish.resources import secret_keys_of
from burnish.settings import Settings
from burnish.storage.postgres import Database
from burnish.storage.seal import Seal

#: Takes away what was set.
_NONE: Final = "none"
_SIGNING_KEY: Final = "hiapi_signing_key"
_WEBHOOK: Final = "autoenhance_webhook"
_TOKEN: Final = "autoenhance_webhook_token"  # noqa: S105 - the name of an option
_VERSION: Final = "autoenhance_api_version"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--hiapi-signing-key", metavar="KEY",
        help="what its callbacks through the HiAPI surface are signed with, 16 to 256 characters; `-` reads a line from "
        "standard input, `none` takes it away",
    )  # fmt: skip
    parser.add_argument(
        "--autoenhance-webhook", metavar="URL",
        help="where its images through the Autoenhance surface are told of when they are done; `none` takes it away",
    )  # fmt: skip
    parser.add_argument(
        "--autoenhance-webhook-token", metavar="TOKEN",
        help="what is sent there in Authorization; `-` reads a line from standard input, `none` takes it away",
    )  # fmt: skip
    parser.add_argument(
        "--autoenhance-api-version", metavar="DAY",
        help="the version of its requests through the Autoenhance surface that name none, as 2025-05-05; `none`: the latest",
    )  # fmt: skip


def read(options: argparse.Namespace) -> dict[str, Any]:
    """What is asked for, by option, checked; None takes it away. Raises Invalid."""
    asked: dict[str, Any] = {}
    for name in (_SIGNING_KEY, _WEBHOOK, _TOKEN, _VERSION):
        given: str | None = getattr(options, name)
        if given is not None:
            secret = given == "-" and name in {_SIGNING_KEY, _TOKEN}
            given = sys.stdin.readline().rstrip("\r\n") if secret else given
            asked[name] = None if given == _NONE else given
    if asked.get(_SIGNING_KEY) is not None:
        asked[_SIGNING_KEY] = read_signing_key(asked[_SIGNING_KEY])
    if asked.get(_VERSION) is not None:
        version_of(asked[_VERSION])
    token = asked.get(_TOKEN) or ""
    if not token.isascii() or not token.isprintable():
        raise Invalid("A token travels in a header: letters, digits and signs of ASCII.", param=_TOKEN)
    if _TOKEN in asked and _WEBHOOK in asked and asked[_WEBHOOK] is None:
        raise Invalid("A webhook that is taken away has no token.", param=_TOKEN)
    return asked


async def set_(settings: Settings, db: Database, account: Account, asked: dict[str, Any]) -> list[str]:
    """Set what `read` has found; says what was done, and no secret.

    Raises:
        Invalid: an address that the guard refuses.
        Unavailable: the database does not answer.
    """
    if not asked:
        return []
    said, now, seal = [], db.clock.now(), Seal(secret_keys_of(settings))
    if _SIGNING_KEY in asked:
        key = asked[_SIGNING_KEY]
        await set_callbacks_secret(db, seal, account.name, HIAPI, key, now)
        said.append(f"HiAPI callbacks are {'signed with the new key' if key else 'not signed any more'}.")
    if _WEBHOOK in asked and asked[_WEBHOOK] is None:
        await autoenhance.remove_webhook(db, account.id, now)
        said.append("Autoenhance's webhook is taken away.")
    elif _WEBHOOK in asked or _TOKEN in asked:
        token = (asked[_TOKEN] or "") if _TOKEN in asked else None
        outbound = Outbound(settings.outbound)
        try:
            url = asked.get(_WEBHOOK)
            await autoenhance.set_webhook(db, seal, outbound, account.id, url=url, token=token, now=now)
        finally:
            await outbound.close()
        said.append("Autoenhance's webhook is set; it is being told so.")
    if _VERSION in asked:
        version = asked[_VERSION]
        await autoenhance.set_api_version(db, seal, account.id, version, now)
        said.append(f"Autoenhance's requests that name no version have {version or 'the latest'}.")
    return said
