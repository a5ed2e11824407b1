"""What this dialect keeps of its own: orders, the images in them, and the brackets that images are made of.

An image is one picture that a client sees; the task behind it is another one each time it is processed again.
"""

from datetime import datetime
from typing import Annotated, Any, Final, Literal
from uuid import UUID

import msgspec
from msgspec import Meta, Struct

NAME: Final = "autoenhance"
#: Of tasks that only prepare others: nobody is told of them in this dialect's words.
PREPARING: Final = "autoenhance-preparing"
#: The most brackets that one picture is made of.
MOST_BRACKETS: Final = 9

CloudType = Literal["CLEAR", "LOW_CLOUD", "HIGH_CLOUD"]
EnhanceType = Literal["property", "property_usa", "warm", "neutral", "modern", "authentic"]
WindowPull = Literal["NONE", "ONLY_WINDOWS", "WINDOWS_WITH_SKIES"]


class Preferences(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """How an image is to be made: what a client may say of it, each with what holds where it says nothing."""

    ai_version: str = "4.x"
    enhance: bool = True
    enhance_type: EnhanceType = "neutral"
    lens_correction: bool = True
    vertical_correction: bool = True
    privacy: bool = False
    sky_replacement: bool = False
    cloud_type: CloudType | None = None
    threesixty: bool = False
    upscale: bool = False
    window_pull_type: WindowPull = "NONE"
    finetune_settings: Any = None
    preset_id: str | None = None


class Owner(Struct, frozen=True):
    """For whom a task is submitted, once it can be: `retention_seconds` as its key's plan had it then."""

    account_id: UUID
    environment: str
    key_id: UUID | None
    request_id: str
    retention_seconds: int


class Wanted(Struct, frozen=True):
    """What is to be made of an order's brackets once they have been put together."""

    owner: Owner
    preferences: Preferences
    dev: bool
    brackets: list[UUID]


class Order(Struct, frozen=True):
    """A row of `autoenhance_orders`; `grouping` is the task that finds out which of its brackets belong together."""

    id: UUID
    account_id: UUID
    environment: str
    chosen: UUID | None
    name: str | None
    grouping: UUID | None
    wanted: bytes | None
    fault: str | None
    created_at: datetime
    updated_at: datetime

    @property
    def told(self) -> UUID:
        """The id that its client knows."""
        return self.chosen or self.id


class Image(Struct, frozen=True):
    """A row of `autoenhance_images`. `order_told`: its order's id as its client knows it."""

    id: UUID
    account_id: UUID
    environment: str
    chosen: UUID | None
    order_id: UUID
    order_told: UUID
    name: str
    content_type: str | None
    preferences: bytes
    metadata: bytes | None
    rating: int | None
    upload_id: UUID | None
    task_id: UUID | None
    pending: bytes | None
    fault: str | None
    dev: bool
    paid_at: datetime | None
    created_at: datetime

    @property
    def told(self) -> UUID:
        return self.chosen or self.id


class Bracket(Struct, frozen=True):
    """A row of `autoenhance_brackets`. `preferences`: it was registered as an image, and told as one. `uploaded`: whether its bytes are here."""

    id: UUID
    account_id: UUID
    environment: str
    chosen: UUID | None
    order_id: UUID
    order_told: UUID
    image_id: UUID | None
    image_told: UUID | None
    name: str
    metadata: bytes | None
    preferences: bytes | None
    upload_id: UUID
    uploaded: bool
    created_at: datetime

    @property
    def told(self) -> UUID:
        return self.chosen or self.id


def preferences_of(kept: bytes | None) -> Preferences:
    return msgspec.json.decode(kept or b"{}", type=Preferences)


Rating = Annotated[int, Meta(ge=0, le=5)]
