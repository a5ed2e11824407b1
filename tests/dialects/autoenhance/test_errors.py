"""Every code of the house has its answer in Autoenhance's words."""

from burnish.dialects.autoenhance import errors
from burnish.dialects.native import errors as native

#: What the vendor documents, and what HTTP itself asks for beside it.
STATUSES = {401, 402, 403, 404, 405, 408, 409, 413, 415, 416, 422, 429, 500, 503}


def test_every_code_has_an_answer() -> None:
    """None of ours is missing, and none is there that is not ours."""
    assert errors.CODES.keys() == native.CODES.keys()


def test_statuses_are_those_that_clients_know() -> None:
    """401, 402, 404, 422 and 429 mean what the vendor says; nothing is told as gone, which its clients do not know."""
    assert set(errors.CODES.values()) <= STATUSES
    for code, status in errors.CODES.items():
        ours = native.CODES[code].status
        if ours in {401, 402, 429, 500, 503}:
            assert status == ours, code
        if ours == 410:
            assert status == 404, code
