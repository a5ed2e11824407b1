"""The native API's words for quotes and limits, and the way from the house's to them."""

from collections.abc import Iterator, Sequence
from datetime import datetime
from functools import cache
from math import ceil
from typing import Annotated, Final, Literal

import msgspec
from msgspec import Struct

from burnish.credits.ledger import spendable
from burnish.dialects.native import wire
from burnish.engines.catalogue import Model, find_model
from burnish.errors import Invalid
from burnish.ids import new_id
from burnish.keys.key import Key
from burnish.limits.limit import Window
from burnish.limits.names import SAME_NAME
from burnish.limits.rate import Verdict
from burnish.tasks.decide import CEILINGS, DAY, KEY_CREDITS, State, ceilings
from burnish.tasks.quote import Quote, outcome
from burnish.tasks.sources import places_of, sources_of
from burnish.tasks.submit import Submission, parameters_of
from burnish.tasks.task import HEAVY, key_digits
from burnish.web.request import Request
from burnish.web.submitting import check_installed, source

_ENCODE: Final = msgspec.json.Encoder().encode


class QuoteRequest(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A task that is only asked about."""

    model: Annotated[str, wire.says("A model's name, as in GET /v1/models.", min_length=1, max_length=100)]
    input: Annotated[
        msgspec.Raw,
        wire.says(
            "The model's parameters; the pictures themselves may be left out.",
            extra_json_schema={"type": "object"},
        ),
    ]
    width: (
        Annotated[
            int, wire.says("Of the picture, in pixels, where its bytes have not been seen.", ge=1, le=1 << 20)
        ]
        | None
    ) = None
    height: Annotated[int, wire.says("The same.", ge=1, le=1 << 20)] | None = None
    seconds: (
        Annotated[float, wire.says("Of a film: how long it lasts; the same.", gt=0, le=86_400)] | None
    ) = None
    frame_rate: (
        Annotated[float, wire.says("Of a film, in frames a second; the same.", gt=0, le=1000)] | None
    ) = None
    on_limit: Annotated[Literal["queue", "error_state", "reject"], wire.says("As in a task.")] | None = None
    max_credits: Annotated[int, wire.says("As in a task.", ge=0, le=2_147_483_647)] | None = None


class CreditsRange(Struct, frozen=True, kw_only=True):
    """What it costs; both are the same once that is known."""

    min: int
    max: Annotated[int, wire.says("Null where there is no highest price.")] | None


class BillLine(Struct, frozen=True, kw_only=True):
    """One line of the bill."""

    what: str
    quantity: int
    each: int
    credits: int


class LimitLeft(Struct, frozen=True, kw_only=True):
    """How one limit stands."""

    name: str
    limit: int
    remaining: int
    reset: Annotated[int, wire.says("When all of it is back, in seconds, where that is known.")] | None


class QuoteReply(Struct, frozen=True, kw_only=True):
    """What submitting this would cost, and what would happen."""

    model: str
    credits: CreditsRange
    unit: str
    quantity: int | None
    price_version: int
    breakdown: list[BillLine]
    outcome: Annotated[
        Literal["accepted", "queued", "error_state", "refused"],
        wire.says("`queued`: admitted, and started when a slot is free; `error_state`: stored as failed."),
    ]
    reason: Annotated[str, wire.says("The code of the refusal.")] | None
    message: Annotated[str, wire.says("The same in a sentence.")] | None
    limits: list[LimitLeft]


class LimitReply(Struct, frozen=True, kw_only=True):
    """One limit of this key or its account, and how much of it is used."""

    name: Annotated[str, wire.says("As in the RateLimit headers.")]
    kind: Annotated[
        Literal["rate", "tasks_at_once", "window", "credits"],
        wire.says("A rate of requests, tasks that have not ended, uses in a stretch of time, or credits."),
    ]
    scope: Literal["ip", "key", "account"]
    limit: int
    used: int
    remaining: int
    seconds: Annotated[int, wire.says("The stretch of time that it counts over.")] | None = None
    burst: Annotated[int, wire.says("Of a rate: so many may come at once.")] | None = None
    window: Annotated[Literal["calendar", "rolling"], wire.says("How the stretch of time begins.")] | None = (
        None
    )
    time_zone: Annotated[str, wire.says("Of a calendar window.")] | None = None
    frees_at: Annotated[datetime, wire.says("When some of it comes back.", tz=True)] | None = None
    resets_at: Annotated[datetime, wire.says("When all of it has come back.", tz=True)] | None = None
    on_limit: Annotated[Literal["queue", "error_state", "reject"], wire.says("What happens over it.")] = (
        "reject"
    )
    enforce: Annotated[
        str,
        wire.says(
            "`always`; `shadow`: counted only; a day: enforced for accounts made from then on, counted for others."
        ),
    ] = "always"
    would_have_refused: (
        Annotated[int, wire.says("Of a limit that is only counted: how often it would have refused today.")]
        | None
    ) = None


class LimitPage(Struct, frozen=True, kw_only=True):
    """All limits; none is spent by reading them but the rate of reading."""

    plan: str
    data: list[LimitReply]


QUOTE_REQUEST: Final = msgspec.json.Decoder(QuoteRequest)


# --- quotes -------------------------------------------------------------------------------------------------------


def quoted(request: Request, key: Key, asked: QuoteRequest) -> Submission:
    """The same of a task that is only asked about; pictures that are left out are any.

    Raises:
        Invalid: `param` names the field.
    """
    if (asked.width is None) != (asked.height is None):
        raise Invalid("Give both `width` and `height`, or neither.", param="width")
    settings = request.resources.settings
    model, parameters = parameters_of(asked.model, _with_sources(asked), hidden=settings.testing)
    check_installed(request, key, model, parameters)
    return Submission(
        id=new_id(),
        account_id=key.account_id,
        environment=key.environment,
        key_id=key.id,
        request_id=request.id,
        model=model,
        parameters=parameters,
        input=b"",
        metadata=None,
        sources=tuple(
            _ANY if given == _ANY else source(request, key, given, place)
            for given, place in zip(sources_of(model, parameters), places_of(model, parameters), strict=True)
        ),
        max_attempts=1,
        deadline_seconds=1,
        retention_seconds=1,
        on_limit=asked.on_limit,
        max_credits=asked.max_credits,
        credit_cap=key.credit_cap,
    )


#: Stands for a source that a quote does not name.
_ANY: Final = "any"


def _with_sources(asked: QuoteRequest) -> bytes:
    model = find_model(asked.model)
    given = msgspec.json.decode(asked.input)
    if model is None or not isinstance(given, dict):
        return bytes(asked.input)
    return _ENCODE(_any_sources(model) | given)


@cache
def _any_sources(model: Model) -> dict[str, str | list[str]]:
    """Each parameter that names bytes and must be given, with as many sources as it wants at least."""
    struct = msgspec.inspect.type_info(model.parameters)
    assert isinstance(struct, msgspec.inspect.StructType)
    found: dict[str, str | list[str]] = {}
    for field in struct.fields:
        kind = field.type.type if isinstance(field.type, msgspec.inspect.Metadata) else field.type
        if field.encode_name not in model.sources or not field.required:
            continue
        if isinstance(kind, msgspec.inspect.ListType):
            found[field.encode_name] = [_ANY] * (kind.min_length or 1)
        else:
            found[field.encode_name] = _ANY
    return found


def quote_reply(model: str, quote: Quote) -> QuoteReply:
    refusal = quote.verdict.refusal
    return QuoteReply(
        model=model,
        credits=CreditsRange(min=quote.lowest, max=quote.highest),
        unit=quote.unit,
        quantity=quote.quantity,
        price_version=quote.version,
        breakdown=[
            BillLine(what=line.what, quantity=line.quantity, each=line.each, credits=line.credits)
            for line in quote.breakdown
        ],
        outcome=wire.literal(outcome(quote.verdict)),
        reason=refusal.code if refusal else None,
        message=refusal.message if refusal else None,
        limits=[
            LimitLeft(
                name=standing.policy.name,
                limit=standing.policy.limit,
                remaining=standing.remaining,
                reset=ceil(standing.reset_seconds) if standing.reset_seconds is not None else None,
            )
            for standing in quote.standings
        ],
    )


# --- limits -------------------------------------------------------------------------------------------------------


def limit_page(
    state: State, key: Key, plan: str, verdicts: Sequence[tuple[str, Verdict]], now: datetime
) -> LimitPage:
    """`verdicts`: the rates by their scope."""
    return LimitPage(
        plan=plan,
        data=[
            *(_rate(scope, verdict) for scope, verdict in verdicts),
            *_ceilings(state, key),
            *_windows(state, now),
            *_credits(state, key, now),
        ],
    )


def _rate(scope: str, verdict: Verdict) -> LimitReply:
    rate = verdict.rate
    return LimitReply(
        name=rate.name,
        kind="rate",
        scope=wire.literal(scope),
        limit=rate.limit,
        used=verdict.used,
        remaining=verdict.remaining,
        seconds=ceil(rate.window_seconds),
        burst=rate.burst,
    )


def _ceilings(state: State, key: Key) -> Iterator[LimitReply]:
    _, present = state.queue.counts()
    places = {
        counted: (place, ceiling)
        for model in ("", *state.plan.at_once.models)
        for place, ceiling, counted in ceilings(state.plan, HEAVY, model, key_digits(key.id))
    }
    for counted, (place, ceiling) in places.items():
        name = CEILINGS[place]
        yield LimitReply(
            name=name if place != "model" else f"{name}:{counted.removeprefix('model ')}",
            kind="tasks_at_once",
            scope="key" if place == "key" else "account",
            limit=ceiling.limit,
            used=present[counted],
            remaining=max(0, ceiling.limit - present[counted]),
            on_limit=ceiling.on_limit,
            enforce=ceiling.enforce,
            would_have_refused=_shadow(state, name),
        )


def _windows(state: State, now: datetime) -> Iterator[LimitReply]:
    windows = state.plan.windows
    if windows.day is not None:
        used = state.windows[DAY, ""][1]
        yield _window(DAY, windows.day, used.used, used.frees_at, used.resets_at, _shadow(state, DAY))
    if windows.same_name is not None:
        # Each name is counted apart; which of them is near its limit only their registration tells.
        yield _window(SAME_NAME, windows.same_name, 0, now, now, _shadow(state, SAME_NAME))


def _window(
    name: str, window: Window, used: int, frees_at: datetime, resets_at: datetime, shadow: int | None
) -> LimitReply:
    return LimitReply(
        name=name,
        kind="window",
        scope="account",
        limit=window.limit,
        used=used,
        remaining=max(0, window.limit - used),
        seconds=window.seconds,
        window=window.kind,
        time_zone=window.time_zone if window.kind == "calendar" else None,
        frees_at=frees_at,
        resets_at=resets_at,
        on_limit=window.on_limit,
        enforce=window.enforce,
        would_have_refused=shadow,
    )


def _credits(state: State, key: Key, now: datetime) -> Iterator[LimitReply]:
    if state.plan.metered:
        there = spendable(state.grants, now)
        yield LimitReply(
            name="credits", kind="credits", scope="account", limit=there, used=0, remaining=there
        )
    if key.credit_cap is not None:
        used = state.windows[KEY_CREDITS, key_digits(key.id)][1].used
        left = max(0, key.credit_cap - used)
        yield LimitReply(
            name=KEY_CREDITS, kind="credits", scope="key", limit=key.credit_cap, used=used, remaining=left
        )


def _shadow(state: State, name: str) -> int | None:
    """How often today a limit that is only counted would have refused; None for one that is enforced."""
    window = state.windows.get((f"shadow {name}", ""))
    return window[1].used if window else None
