"""What an account is: who owns keys, tasks, media and credits, under a plan."""

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID


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
