"""What an endpoint is: an address that an account wants its events at, with the secret that they are signed with."""

from dataclasses import dataclass
from datetime import datetime
from typing import Final
from uuid import UUID

from burnish.webhooks.event import NATIVE

ENDPOINT: Final = "endpoint"  #: an address of an account's own
CALLBACKS: Final = "callbacks"  #: the secret of the callbacks that tasks bring along


@dataclass(frozen=True, slots=True)
class Endpoint:
    """As its row has it; secrets are sealed. `events`: none means all. `dialect`: whose words are sent there."""

    id: UUID
    account_id: UUID
    environment: str
    kind: str
    url: str
    description: str
    events: tuple[str, ...]
    secret: bytes
    former_secret: bytes | None
    former_until: datetime | None
    created_at: datetime
    disabled_at: datetime | None
    disabled_why: str | None
    dialect: str = NATIVE


def purpose(endpoint_id: UUID) -> str:
    """What the seal of its secrets is bound to."""
    return f"endpoint {endpoint_id}"
