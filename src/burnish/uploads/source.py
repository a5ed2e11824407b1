"""What a client names as the media to work on: an upload's or an output's id, a link of ours, or an address on the internet."""

from datetime import datetime
from uuid import UUID

from burnish.errors import Failed, Forbidden, Invalid
from burnish.ids import from_wire
from burnish.outbound import Outbound
from burnish.uploads.blob import OUTPUT, UPLOAD
from burnish.uploads.sign import Links


def read_source(given: str, param: str, links: Links, outbound: Outbound, now: datetime) -> UUID | str:
    """The blob's id, or the URL to fetch, which has been judged by its text. A link of ours is never fetched.

    Raises:
        Invalid: neither; or an address that the guard refuses, with its reason as the code. `param` is passed on.
    """
    if "://" not in given:
        blob_id = from_wire(UPLOAD, given) or from_wire(OUTPUT, given)
        if blob_id is None:
            raise Invalid(
                "Give the id of an upload (`upload_…`) or of an output (`output_…`), or a URL.",
                param=param,
                code="upload_not_found",
            )
        return blob_id
    try:
        if opened := links.known(given):
            return _still_open(opened, param, now)
        outbound.check(given)
    except Forbidden as error:
        raise Invalid(error.message, param=param, code="bad_link") from error
    except Failed as error:
        raise Invalid(error.message, param=param, code=error.reason) from error
    return given


def _still_open(opened: tuple[UUID, datetime], param: str, now: datetime) -> UUID:
    blob_id, ends_at = opened
    if ends_at <= now:
        raise Invalid(f"This link ended at {ends_at:%Y-%m-%d %H:%M} UTC.", param=param, code="link_expired")
    return blob_id
