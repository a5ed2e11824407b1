"""Lists by page: where the next one begins, in the reply's headers."""

from urllib.parse import quote

from burnish.web import bodies
from burnish.web.replies import Headers
from burnish.web.request import Request


def link_to_next(request: Request, following: str | None) -> Headers:
    """`Link: <…>; rel="next"`, the same list after `following`; nothing where the list is at its end."""
    if following is None:
        return ()
    path = quote(request.scope["path"])
    url = f"{request.site.public_url}{path}?{bodies.changed_query(request, after=following)}"
    return [(b"link", f'<{url}>; rel="next"'.encode())]
