"""A plan: a named set of limits, a weight in the fair queue, and how long media is kept; and what an account makes of it.

`plans.toml` beside this file is shipped; `settings.plans` names another. An account may differ from its plan in
anything, in the plan's own words (`{"at_once": {"account": {"limit": 9}}}`); null takes a limit away. Loaded once at
start; what a plan and an account's differences come to is worked out once and kept.
"""

import re
import tomllib
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Annotated, Any, Final

import msgspec
from msgspec import Meta, Struct

from burnish import log
from burnish.errors import Invalid, Unusable, explained
from burnish.limits.limit import Ceiling, RequestRate, Window

_log = log.get("keys")
#: What test keys may do, whatever the plan: nothing is computed, so only runaway scripts are held back.
_TEST_TASKS_A_DAY: Final = Window(limit=1_000)
#: The plan of the account that `burnish serve` makes for whoever runs it.
OWNER: Final = "owner"
_NAME: Final = re.compile(r"[a-z0-9][a-z0-9_-]{0,62}", re.ASCII)


Megapixels = Annotated[float, Meta(gt=0, le=10_000)]


class Rates(Struct, frozen=True, cache_hash=True, kw_only=True, forbid_unknown_fields=True):
    """Requests of one key: for creating and for reading, or both from one bucket."""

    create: RequestRate | None = None
    read: RequestRate | None = None
    shared: RequestRate | None = None

    def __post_init__(self) -> None:
        if self.shared is not None and (self.create is not None or self.read is not None):
            raise ValueError("`shared` stands in place of `create` and `read`")


class AtOnce(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Tasks that have not ended, at the same time."""

    account: Ceiling | None = None
    key: Ceiling | None = None
    heavy: Ceiling | None = None
    models: dict[str, Ceiling] = {}


class Windows(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Uses in a stretch of time."""

    day: Window | None = None
    same_name: Window | None = None

    def __post_init__(self) -> None:
        if self.same_name is not None and self.same_name.on_limit != "reject":
            raise ValueError("An upload has no error state: `same_name` can only reject")


class Plan(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What an account may do. `metered`: whether tasks cost credits; `credits_low`: below so many it is told.
    `max_input_megapixels`, `max_output_megapixels`: of a picture that it sends, and of one that is made for it.
    """

    weight: Annotated[int, Meta(ge=1, le=1_000)] = 100
    metered: bool = True
    credits_low: Annotated[int, Meta(ge=1, le=1_000_000_000)] | None = None
    retention_seconds: Annotated[int, Meta(ge=60, le=315_360_000)] | None = None
    max_input_megapixels: Megapixels | None = None
    max_output_megapixels: Megapixels | None = None
    rates: Rates = Rates()
    at_once: AtOnce = AtOnce()
    windows: Windows = Windows()


class Plans:
    """Every plan by its name, and the terms of accounts. `models`: the names that there are; None: whatever is written."""

    def __init__(self, plans: Mapping[str, dict[str, Any]], models: Collection[str] | None = None) -> None:
        self._tables = plans
        self._models = models
        self._known: dict[tuple[str, str, bool], Plan] = {}
        for name in plans:
            self.must_fit(name, "{}")

    def names(self) -> list[str]:
        return list(self._tables)

    @property
    def default(self) -> str:
        """Of an account that names none, or one that is no longer there: `trial`, or the first."""
        return "trial" if "trial" in self._tables else next(iter(self._tables))

    def must_have(self, name: str) -> None:
        """Raises Invalid where there is no such plan."""
        if name not in self._tables:
            raise Invalid(
                f"There is no plan {name[:60]!r}; there are {', '.join(self._tables)}.", param="plan"
            )

    def terms(self, name: str, overrides: str = "{}", *, test: bool = False) -> Plan:
        """What holds for an account of this plan, with what it has of its own (JSON); `test`: for its test keys.

        An account whose plan is no longer there is under `default`: nobody gains by a lost plan. Overrides that fitted
        when they were set, and do not fit the plans of today, count for nothing: they stop neither it nor the others.
        """
        place = name, overrides, test
        if (known := self._known.get(place)) is None:
            try:
                plan = self._made(name, overrides)
            except msgspec.ValidationError as error:
                _log.warning("overrides_do_not_fit", plan=name, overrides=overrides, error=str(error))
                plan = self._made(name, "{}")
            if test:
                plan = msgspec.structs.replace(plan, metered=False, windows=Windows(day=_TEST_TASKS_A_DAY))
            known = self._known[place] = plan
        return known

    def must_fit(self, name: str, overrides: str) -> None:
        """Raises Invalid where the overrides do not fit the plan; `param` names the place."""
        try:
            self._made(name, overrides)
        except msgspec.ValidationError as error:
            raise explained(str(error), "overrides", Plan) from error
        if found := _unknown_model(msgspec.json.decode(overrides), self._models):
            raise Invalid(found[1], param=f"overrides{found[0]}")

    def _made(self, name: str, overrides: str) -> Plan:
        table = self._tables[name if name in self._tables else self.default]
        return msgspec.convert(_merged(table, msgspec.json.decode(overrides)), Plan)


def load_plans(path: str = "", models: Collection[str] | None = None) -> Plans:
    """The plans of a file; the shipped ones where `path` is empty. `models`: the names that a plan may speak of.

    Raises:
        Unusable: it cannot be read, or something in it means nothing; the message names the place.
    """
    file = Path(path) if path else Path(__file__).with_name("plans.toml")
    try:
        tables = tomllib.loads(file.read_text("utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise Unusable(f"The plans in {file} cannot be read: {error}") from error
    if not tables:
        raise Unusable(f"There is no plan in {file}.")
    for name, table in tables.items():
        if not _NAME.fullmatch(name):
            raise Unusable(
                f"The plans in {file} mean nothing at {name!r}: a plan's name has 1 to 63 small letters (a to z), digits, "
                "_ and -, and begins with a letter or digit."
            )
        if not isinstance(table, dict):
            raise Unusable(f"The plans in {file} mean nothing at {name}: a plan is a table, [{name}].")
        try:
            msgspec.convert(table, Plan)
        except msgspec.ValidationError as error:
            told = explained(str(error), name, Plan)
            raise Unusable(f"The plans in {file} mean nothing at {told.param}: {told}") from error
        if found := _unknown_model(table, models):
            raise Unusable(f"The plans in {file} mean nothing at {name}{found[0]}: {found[1]}")
    return Plans(tables, models)


def _unknown_model(table: Mapping[str, Any], models: Collection[str] | None) -> tuple[str, str] | None:
    """The first model of a plan, or of overrides, that there is not: its place, and what to say."""
    spoken_of = (table.get("at_once") or {}).get("models") or {}
    if models is None or not (unknown := sorted(set(spoken_of) - set(models))):
        return None
    return (
        f".at_once.models.{unknown[0][:60]}",
        f"There is no model {unknown[0][:60]!r}; there are {', '.join(sorted(models))}.",
    )


def _merged(table: Any, changes: Any) -> Any:
    """`table` with `changes` laid over it; tables are merged, null removes."""
    if not isinstance(table, dict) or not isinstance(changes, dict):
        return changes
    merged = dict(table)
    for name, change in changes.items():
        if change is None:
            merged.pop(name, None)
        else:
            merged[name] = _merged(merged.get(name, {}), change)
    return merged
