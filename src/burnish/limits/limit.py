"""What a limit is: a rate of requests, a ceiling on tasks at once, or a window of uses; and what happens over it.

Plain data, read from plans. Rates are spent in `rate.py`; ceilings and windows are decided with the admission, in
`tasks/decide.py`. A limit that a plan does not name does not exist for its accounts.
"""

import re
from datetime import UTC, date, datetime
from typing import Annotated, Final, Literal
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from msgspec import Meta, Struct

from burnish.limits.rate import WhenDown

#: What happens to a task over a limit: it is refused (429), stored as failed, or admitted without a slot.
OnLimit = Literal["reject", "error_state", "queue"]
#: A request may ask for what stands further to the right than its plan does.
STRICTNESS: Final[dict[OnLimit, int]] = {"queue": 0, "error_state": 1, "reject": 2}

#: `always`; `shadow`: counted and told, never refused; a day (`2026-03-01`): refused to accounts made from then (UTC) on.
Enforce = Annotated[str, Meta(extra_json_schema={"pattern": r"^(always|shadow|\d{4}-\d\d-\d\d)$"})]
_DAY: Final = re.compile(r"\d{4}-\d\d-\d\d", re.ASCII)


class Limit(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """So many, enforced or not."""

    limit: Annotated[int, Meta(ge=0, le=1_000_000_000)]
    enforce: Enforce = "always"

    def __post_init__(self) -> None:
        if self.enforce not in {"always", "shadow"} and not _is_day(self.enforce):
            raise ValueError("enforce: It must be always, shadow, or a day such as 2026-03-01")

    def enforced(self, account_created_at: datetime) -> bool:
        """Whether it refuses to an account made then, or is only counted."""
        if self.enforce in {"always", "shadow"}:
            return self.enforce == "always"
        return account_created_at.astimezone(UTC).date().isoformat() >= self.enforce


class Ceiling(Limit, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Tasks at the same time."""

    on_limit: OnLimit = "reject"


class Window(Limit, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Uses in a stretch of time; see `window.py` for where it begins and ends."""

    seconds: Annotated[int, Meta(ge=60, le=31_536_000)] = 86_400
    kind: Literal["calendar", "rolling"] = "calendar"
    time_zone: Annotated[str, Meta(max_length=64)] = "UTC"
    on_limit: Literal["reject", "error_state"] = "reject"

    def __post_init__(self) -> None:
        super().__post_init__()
        if not _is_zone(self.time_zone):
            raise ValueError(f"time_zone: There is no time zone {self.time_zone!r}")


class RequestRate(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Requests in so many seconds, of which `burst` may come at once."""

    limit: Annotated[int, Meta(ge=1, le=1_000_000_000)]
    seconds: Annotated[int, Meta(ge=1, le=86_400)] = 60
    burst: Annotated[int, Meta(ge=1, le=1_000_000_000)]
    when_down: WhenDown = "local"


def _is_day(text: str) -> bool:
    try:
        date.fromisoformat(text)
    except ValueError:
        return False
    return _DAY.fullmatch(text) is not None


def _is_zone(name: str) -> bool:
    try:
        ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        return False
    return True


def stricter(plan: OnLimit, asked: OnLimit | None) -> OnLimit:
    """What a request gets that asked for `asked`: never less strict than its plan."""
    return asked if asked is not None and STRICTNESS[asked] > STRICTNESS[plan] else plan
