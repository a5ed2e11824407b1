"""Every code of the house has its status and its words, and the reference page tells them all."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

from burnish import errors
from burnish.dialects.native.errors import CODES

_SOURCE = Path(errors.__file__).parent
#: What a submission may be refused for, beside what is written out: the guard's and the catalogue's reasons, and what
#: a probe remembered of an upload.
_REASONS = {
    "input_blocked",
    "unsupported_format",
    "decode_failed",
    "input_too_large",
    "duration_out_of_range",
    "output_too_large",
    "engine_refused",
}
#: What `web/bodies.py` makes of a body that does not fit its type.
_EXPLAINED = {"unknown_field", "missing_field"}


def classes(above: type[errors.Refused] = errors.Refused) -> Iterator[type[errors.Refused]]:
    for below in above.__subclasses__():
        yield below
        yield from classes(below)


def codes_in_the_source() -> set[str]:
    """Every `code="…"` that the server's source gives to a refusal."""
    calls = (
        node
        for path in _SOURCE.rglob("*.py")
        if "client" not in path.parts and "cli" not in path.parts
        for node in ast.walk(ast.parse(path.read_text("utf-8")))
        if isinstance(node, ast.Call)
    )
    given = (keyword.value for call in calls for keyword in call.keywords if keyword.arg == "code")
    either = (
        way
        for value in given
        for way in ([value.body, value.orelse] if isinstance(value, ast.IfExp) else [value])
    )
    constants = (value.value for value in either if isinstance(value, ast.Constant))
    return {code for code in constants if isinstance(code, str)}  # numbers are of dialects


def test_every_code_is_mapped() -> None:
    """The classes' own codes, those written in the source and the reasons of the domains; and no code is left over."""
    used = {class_.code for class_ in classes()} | codes_in_the_source() | _REASONS | _EXPLAINED
    assert sorted(used - CODES.keys()) == []
    assert sorted(CODES.keys() - used) == []


def test_a_status_says_whose_fault_it_is() -> None:
    """402 is for credits alone and never to be tried again; 429 and 503 may be; what is retryable says so."""
    credits_ = ["insufficient_credits", "key_credits_spent"]
    assert [name for name, code in CODES.items() if code.status == 402] == credits_
    assert not errors.InsufficientCredits.retryable
    assert {class_.code for class_ in classes() if class_.retryable} == {"rate_limited", "unavailable"}
    assert {code.status for code in CODES.values()} <= {
        400, 401, 402, 403, 404, 405, 408, 409, 410, 413, 415, 416, 422, 429, 500, 503,
    }  # fmt: skip


def test_the_reference_page_has_every_code_and_every_reason() -> None:
    """docs/reference/errors.md is in step with the table: one row each, in its order; no status_reason is left out."""
    page = (Path(__file__).parents[2] / "docs" / "reference" / "errors.md").read_text("utf-8")
    rows = [f"| {code.status} | `{name}` | {code.meaning} | {code.remedy} |" for name, code in CODES.items()]
    assert [line for line in page.splitlines() if re.match(r"\| \d{3} ", line)] == rows
    assert [reason for reason in errors.STATUS_REASONS if f"`{reason}`" not in page] == []
