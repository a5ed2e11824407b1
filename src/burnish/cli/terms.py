"""What a plan allows, in words and numbers: for `burnish plans`, `burnish accounts` and the page of plans."""

from collections.abc import Iterator
from typing import Final

from burnish.keys.plan import Plan
from burnish.limits.limit import Limit, RequestRate, Window

_LENGTHS: Final = {60: "minute", 3_600: "hour", 86_400: "day", 604_800: "week"}
_OVER: Final = {
    "reject": "more are refused (429)",
    "error_state": "more are stored as failed, and may be retried",
    "queue": "more are queued until one ends",
}
_RATES: Final = {
    "create": "that create or change something",
    "read": "that read",
    "shared": "of any kind",
}
_AT_ONCE: Final = {
    "account": "tasks under way",
    "key": "tasks under way, for each key",
    "heavy": "tasks of heavy models under way",
}


def words(plan: Plan) -> Iterator[tuple[str, str]]:
    """Each limit by its name in a plan, and what it means; the name is what `--override` takes."""
    for name, kind in _RATES.items():
        rate: RequestRate | None = getattr(plan.rates, name)
        if rate is not None:
            length = "a minute" if rate.seconds == 60 else f"in {rate.seconds:,} seconds"
            yield (
                f"rates.{name}",
                f"{rate.limit:,} requests {length} {kind}, for each key; {rate.burst:,} at once",
            )
    for name, tasks in _AT_ONCE.items():
        if (ceiling := getattr(plan.at_once, name)) is not None:
            yield f"at_once.{name}", f"{ceiling.limit:,} {tasks}; {_over(ceiling, ceiling.on_limit)}"
    for model, ceiling in plan.at_once.models.items():
        over = _over(ceiling, ceiling.on_limit)
        yield f"at_once.models.{model}", f"{ceiling.limit:,} tasks of {model} under way; {over}"
    if (day := plan.windows.day) is not None:
        yield "windows.day", f"{day.limit:,} tasks {_stretch(day)}; {_over(day, day.on_limit)}"
    if (name_ := plan.windows.same_name) is not None:
        uploads = f"{name_.limit:,} uploads of one file name {_stretch(name_)}"
        yield "windows.same_name", f"{uploads}; {_over(name_, name_.on_limit)}"
    yield "weight", f"{plan.weight:,}: its share of the workers while others want them too"
    yield "metered", "tasks cost credits" if plan.metered else "nothing costs credits"
    yield from _sizes(plan)
    if plan.retention_seconds is not None:
        yield "retention_seconds", f"media is kept for {_length(plan.retention_seconds)}"


def _sizes(plan: Plan) -> Iterator[tuple[str, str]]:
    for name, what in (("max_input_megapixels", "sent"), ("max_output_megapixels", "made")):
        most: float | None = getattr(plan, name)
        if most is not None:
            yield name, f"a picture that is {what} has at most {most:g} megapixels"


def _over(limit: Limit, on_limit: str) -> str:
    if limit.enforce == "shadow":
        return "only counted, never refused"
    since = "" if limit.enforce == "always" else f" (for accounts made from {limit.enforce} on)"
    return _OVER[on_limit] + since


def _stretch(window: Window) -> str:
    """`a day (UTC)`, `in any hour`."""
    one = _LENGTHS.get(window.seconds)
    if window.kind == "rolling":
        return f"in any {one or _length(window.seconds)}"
    zone = f" ({window.time_zone})" if window.seconds >= 86_400 else ""
    return f"{'an' if one == 'hour' else 'a'} {one}{zone}" if one else f"in {_length(window.seconds)}{zone}"


def _length(seconds: int) -> str:
    """`7 days`, `90 seconds`: in the largest unit that it is a whole number of."""
    for unit, name in ((86_400, "day"), (3_600, "hour"), (60, "minute"), (1, "second")):
        if seconds % unit == 0:
            count = seconds // unit
            return f"{count:,} {name}" if count == 1 else f"{count:,} {name}s"
    raise AssertionError(seconds)
