"""Whether a client has already what it asks for: `If-None-Match` against an entity's tag (RFC 9110, 13.1.2)."""


def matches(condition: str | None, tag: str) -> bool:
    """Whether the header's list names the tag, weakly compared; `*` names all there are."""
    if condition is None:
        return False
    opaque = tag.removeprefix("W/")
    return condition.strip() == "*" or opaque in [
        one.strip().removeprefix("W/") for one in condition.split(",")
    ]
