"""What an account is: who owns keys, tasks, media and credits, under a plan."""

import re
from dataclasses import dataclass
from datetime import datetime
from typing import Final
from uuid import UUID

from burnish.errors import Invalid

#: The account of whoever runs the service; it is made with its first key.
DEFAULT: Final = "default"
#: No brackets: `name (test)` is the row of its test keys. Paths and terminals hold it as it is.
_NAME: Final = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9 ._@-]{0,62}[A-Za-z0-9._@-])?", re.ASCII)


@dataclass(frozen=True, slots=True)
class Account:
    """An account as its row has it. `overrides`: JSON in the words of a plan; `test_of`: whose test keys work in it."""

    id: UUID
    name: str
    plan: str
    overrides: str
    created_at: datetime
    granted: int
    available: int
    held: int
    charged: int
    expired: int
    test_of: UUID | None


def must_be_a_name(name: str) -> None:
    """Raises Invalid where no account can be called so."""
    if not _NAME.fullmatch(name):
        raise Invalid(
            "An account's name has 1 to 64 letters (a to z, A to Z), digits, spaces and . _ @ -, and begins with a letter or digit.",
            param="name",
        )
