"""What an image may be in place of bytes, with test keys only: a closed list of words, each of which makes one thing happen.

Pure. The dialects read an input by it, `canned.py` plays it; docs/howto/test-keys.md tells of it, held to it by a test.
"""

from dataclasses import dataclass
from typing import Final

from burnish.credits.grant import short
from burnish.errors import STATUS_REASONS, Invalid, Limited, Refused

PREFIX: Final = "test:"
#: How long `slow` runs, and when to come back after `rate_limited`.
SLOW_SECONDS: Final = 30
_AGAIN_SECONDS: Final = 2


@dataclass(frozen=True, slots=True)
class Word:
    """`refused`: at submission, with its name as the code. `reason`: the task fails with it. Otherwise it succeeds, after so
    many seconds.
    """

    name: str
    meaning: str
    refused: bool = False
    reason: str | None = None
    seconds: int = 0

    @property
    def given(self) -> str:
        return PREFIX + self.name


#: Those that are refused at submission, as they would be: a task that fails with such a reason was over a limit then.
_REFUSED: Final = {
    "rate_limited": "429 `rate_limited` at submission, with `Retry-After` and details",
    "insufficient_credits": "402 `insufficient_credits` at submission",
}
_WORDS: Final = (
    Word("ok", "succeeds, with the canned result of a JPEG of 1024 x 768"),
    Word(
        "slow", f"runs {SLOW_SECONDS} s with progress, then as `ok`; may be cancelled", seconds=SLOW_SECONDS
    ),
    Word("webhook_refused", "as `ok`; reserved: its webhook will be refused"),
    *(Word(name, meaning, refused=True) for name, meaning in _REFUSED.items()),
    *(
        Word(reason, f"fails with `{reason}`", reason=reason)
        for reason in STATUS_REASONS
        if reason not in {"cancelled_by_user", *_REFUSED}
    ),
)
WORDS: Final = {word.name: word for word in _WORDS}


def is_magic(given: str) -> bool:
    """Whether this is meant for one of the words."""
    return given.startswith(PREFIX)


def read(given: str, param: str, *, test: bool) -> Word:
    """The word that is meant; `test`: by a test key.

    Raises:
        Invalid: `test_input`: there is no such word, or not for this key.
    """
    if not test:
        raise Invalid(
            "Inputs that begin with `test:` work with test keys only (bk_test_…). Give an upload's id, or a URL.",
            param=param,
            code="test_input",
        )
    word = WORDS.get(given.removeprefix(PREFIX))
    if word is None:
        raise Invalid(
            f"There is no input of this name for tests. There are: {', '.join(word.given for word in _WORDS)}.",
            param=param,
            code="test_input",
            details={"words": [word.given for word in _WORDS]},
        )
    return word


def refusal(given: str) -> Refused | None:
    """What a test key's submission with this input, which `read` has taken, is refused with."""
    word = WORDS[given.removeprefix(PREFIX)] if is_magic(given) else None
    if word is None or not word.refused:
        return None
    if word.name == "insufficient_credits":
        return short(1, 0)
    return Limited(
        f"This key has created or changed too much in too short a time, as {word.given} asks.",
        retry_after=_AGAIN_SECONDS,
        details={
            "policy": "create-rate", "scope": "key", "limit": 1, "used": 1, "remaining": 0, "reset": _AGAIN_SECONDS,
            "advice": "wait",
        },
    )  # fmt: skip
