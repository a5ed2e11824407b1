"""Autoenhance's words: what its clients send, and what they are answered. Types are those that its published client insists on.

Fields that are not known are let be, and null is as good as nothing: its clients send more than its pages list.
"""

from datetime import UTC, date, datetime
from typing import Annotated, Any, Final, Literal
from uuid import UUID

import msgspec
from msgspec import UNSET, Meta, Struct, UnsetType

from burnish.dialects.autoenhance.image import (
    Bracket,
    CloudType,
    EnhanceType,
    Image,
    Order,
    Preferences,
    Rating,
    WindowPull,
    preferences_of,
)
from burnish.errors import Invalid, NotFound
from burnish.ids import plain
from burnish.tasks.task import CANCELLED, FAILED, SUCCEEDED, WAITING, Task

# --- what changed when ------------------------------------------------------------------------------------------------

#: The versions that the vendor names; what each of them changed, as far as that is known here.
_AI_VERSION_IS_TEXT: Final = date(2024, 10, 1)
_RENDERS: Final = date(2024, 11, 1)
_WINDOW_PULL_TYPE: Final = date(2025, 8, 31)
LATEST: Final = "2025-08-31"
#: What an account has set for itself (`keys/own.py`): the version of requests that name none.
API_VERSION: Final = "autoenhance.api_version"


class Version(Struct, frozen=True):
    """A version of the API, by its day; one between two that are named is as the one before."""

    day: date

    @property
    def tells_ai_version_as_text(self) -> bool:
        return self.day >= _AI_VERSION_IS_TEXT

    @property
    def renders(self) -> bool:
        """Whether pictures come in any form, and as a preview unless more is asked for."""
        return self.day >= _RENDERS

    @property
    def tells_window_pull_type(self) -> bool:
        return self.day >= _WINDOW_PULL_TYPE


def version_of(text: str) -> Version:
    """Raises Invalid: it is no day."""
    try:
        return Version(date.fromisoformat(text))
    except ValueError as error:
        raise Invalid(
            f"A version is a day, such as {LATEST}.", param="x-api-version", details={"location": "headers"}
        ) from error


# --- what is asked for ------------------------------------------------------------------------------------------------

_AiVersion = Literal[
    "dev", "latest", "5.x", "5.0", "4.x", "4.7", "4.5", "4.4", "4.3", "4.2", "4.1", "4.0",
    "3.x", "3.5", "3.4", "3.3", "3.2", "3.1", "3.0",
]  # fmt: skip
_Name = Annotated[str, Meta(min_length=1, max_length=1024)]
_Id = UUID
_Members = Annotated[dict[str, Any], Meta(max_length=256)]


class PreferencesIn(Struct, frozen=True, kw_only=True):
    """What a client may say of how an image is to be made; null and nothing mean the same."""

    ai_version: _AiVersion | None = None
    enhance: bool | None = None
    enhance_type: EnhanceType | None = None
    lens_correction: bool | None = None
    vertical_correction: bool | None = None
    privacy: bool | None = None
    sky_replacement: bool | None = None
    cloud_type: CloudType | None = None
    threesixty: bool | None = None
    upscale: bool | None = None
    window_pull: bool | None = None
    window_pull_type: WindowPull | None = None
    finetune_settings: Any = None
    preset_id: str | None = None

    def over(self, before: Preferences) -> Preferences:
        """The preferences with what is said here in place of what there was."""
        said = {
            name: value
            for name in Preferences.__struct_fields__
            if (value := getattr(self, name)) is not None
        }
        if self.window_pull is not None and self.window_pull_type is None:
            said["window_pull_type"] = "ONLY_WINDOWS" if self.window_pull else "NONE"
        if said.get("ai_version") == "latest":  # which its published client cannot read
            said["ai_version"] = "5.x"
        return msgspec.structs.replace(before, **said)


class ImageIn(PreferencesIn, frozen=True, kw_only=True):
    """POST /v3/images/."""

    image_name: _Name
    image_id: _Id | None = None
    order_id: _Id | None = None
    content_type: str | None = None
    camel_type: str | None = msgspec.field(name="contentType", default=None)
    hdr: bool | None = None
    metadata: _Members | None = None
    rating: Rating | None = None


class ImageInUpdate(PreferencesIn, frozen=True, kw_only=True):
    """POST /v3/images/{id}/process."""

    image_name: _Name | None = None
    metadata: _Members | None = None
    rating: Rating | None = None


class ReportIn(Struct, frozen=True, kw_only=True):
    """POST /v3/images/{id}/report."""

    categories: Annotated[
        list[
            Literal[
                "AUTO_PRIVACY", "COLOUR", "CONTRAST", "DOWNLOAD", "DYNAMIC_RANGE", "EXPOSURE", "HDR", "IMAGE_QUALITY",
                "ITEM_REMOVAL", "LENS_CORRECTION", "NO_COMPLAINTS", "NOISE", "OTHER", "PERSPECTIVE_CORRECTION",
                "PROCESSING", "SHARPNESS", "SKY_REPLACEMENT", "WHITE_BALANCE", "WINDOW_PULL", "PRIVACY",
            ]
        ],
        Meta(max_length=64),
    ]  # fmt: skip
    comment: Annotated[str, Meta(max_length=10_000)] | None = None
    score: Rating | None = None
    source: Literal["WEBAPP", "API"] | None = None


class OrderIn(Struct, frozen=True, kw_only=True):
    """POST /v3/orders/, PATCH /v3/orders/{id}."""

    name: Annotated[str, Meta(max_length=1024)] | None = None
    order_id: _Id | None = None


class Set(Struct, frozen=True, kw_only=True):
    """The brackets of one picture."""

    bracket_ids: Annotated[list[_Id], Meta(min_length=1, max_length=9)]


class ProcessIn(PreferencesIn, frozen=True, kw_only=True):
    """POST /v3/orders/{id}/process, and …/merge as it was called before."""

    number_of_brackets_per_image: Annotated[int, Meta(ge=0, le=9)] | None = None
    images: Annotated[list[Set], Meta(max_length=1_000)] | None = None


class BracketIn(Struct, frozen=True, kw_only=True):
    """POST /v3/brackets/."""

    name: _Name
    order_id: _Id | None = None
    metadata: _Members | None = None


class PageQuery(Struct, frozen=True, kw_only=True):
    """GET /v3/orders/."""

    offset: str | None = None
    per_page: Annotated[int, Meta(ge=1, le=100)] = 5


class PictureQuery(Struct, frozen=True, kw_only=True):
    """GET /v3/images/{id}/enhanced, …/original and …/preview."""

    quality: Annotated[int, Meta(ge=1, le=100)] | None = None
    format: Literal["png", "jpeg", "jpg", "webp", "avif"] | None = None
    preview: bool | None = None
    watermark: bool | None = None
    finetune: bool | None = None
    max_width: Annotated[int, Meta(ge=1, le=100_000)] | None = None
    scale: Annotated[float, Meta(ge=0, le=1)] | None = None
    size: Literal["small", "large", "big"] | None = None


IMAGE_IN: Final = msgspec.json.Decoder(ImageIn)
IMAGE_IN_UPDATE: Final = msgspec.json.Decoder(ImageInUpdate)
REPORT_IN: Final = msgspec.json.Decoder(ReportIn)
ORDER_IN: Final = msgspec.json.Decoder(OrderIn)
PROCESS_IN: Final = msgspec.json.Decoder(ProcessIn)
BRACKET_IN: Final = msgspec.json.Decoder(BracketIn)


def told_id(text: str, what: str) -> UUID:
    """An id as it stands in a path. Raises NotFound: what is none names nothing."""
    try:
        return UUID(text)
    except ValueError as error:
        raise NotFound(f"There is no {what} of that id.") from error


# --- what is answered -------------------------------------------------------------------------------------------------

_DONE: Final = frozenset({SUCCEEDED, FAILED, CANCELLED})
#: Seconds after which an image whose task was never submitted is told to have failed: its request was cut off.
_LOST_SECONDS: Final = 60


class Standing(Struct, frozen=True):
    """How an image stands, in the vendor's words."""

    status: str
    reason: str | None = None
    error: str | None = None

    @property
    def done(self) -> bool:
        return self.status in {"processed", "error"}


def standing(image: Image, task: Task | None, now: datetime) -> Standing:
    """By the task behind it."""
    if image.fault is not None:
        return Standing("error", "not_available", image.fault)
    if task is None:
        if image.pending is not None or (now - image.created_at).total_seconds() < _LOST_SECONDS:
            return Standing("waiting")
        return Standing("error", "internal", "Its processing was never begun. Process it again.")
    if task.status == SUCCEEDED:
        return Standing("processed")
    if task.status in _DONE:
        reason = task.status_reason or task.status
        # The one reason that the vendor's pages speak of: the image was rate-limited.
        told = "rate_limited" if reason == "daily_limit_reached" else reason
        return Standing("error", told, task.status_message or reason)
    return Standing("waiting" if task.status == WAITING else "processing")


class ImageOut(Struct, frozen=True, kw_only=True):
    """An image."""

    ai_version: str | float
    cloud_type: str | None
    date_added: int
    dev_mode: bool
    downloaded: bool
    enhance: bool
    enhance_type: str
    enhanced: bool
    error: str | None
    finetune_settings: Any
    image_id: str
    image_name: str
    image_type: str | None
    is_threesixty: bool
    lens_correction: bool
    metadata: Any
    order_id: str
    preset_id: str | None
    privacy: bool
    rating: int | None
    scene: str | None
    sky_replacement: bool
    status: str
    status_reason: str | None
    upscale: bool
    user_id: str
    vertical_correction: bool
    window_pull: bool
    window_pull_type: str | UnsetType = UNSET
    upload_url: str | UnsetType = UNSET
    s3PutObjectUrl: str | UnsetType = UNSET  # noqa: N815 - their word


class OrderOut(Struct, frozen=True, kw_only=True):
    """An order. Its moments are in UTC, and do not say so."""

    created_at: str
    images: list[ImageOut]
    is_deleted: bool
    is_merging: bool
    is_processing: bool
    last_updated_at: str
    name: str
    order_id: str
    status: str
    total_images: int


class Pagination(Struct, frozen=True, kw_only=True):
    next_offset: str | None
    per_page: int


class OrdersOut(Struct, frozen=True, kw_only=True):
    orders: list[OrderOut]
    pagination: Pagination


class BracketOut(Struct, frozen=True, kw_only=True):
    """A bracket."""

    bracket_id: str
    image_id: str | None
    is_uploaded: bool
    metadata: Any
    name: str
    order_id: str
    upload_url: str | UnsetType = UNSET
    s3PutObjectUrl: str | UnsetType = UNSET  # noqa: N815 - their word


class BracketsOut(Struct, frozen=True, kw_only=True):
    brackets: list[BracketOut]


class Said(Struct, frozen=True, kw_only=True):
    """Where there is nothing to answer but that it was done."""

    message: str


def image_out(
    image: Image, task: Task | None, version: Version, now: datetime, upload_url: str | None = None
) -> ImageOut:
    wanted = preferences_of(image.preferences)
    where = standing(image, task, now)
    return ImageOut(
        ai_version=_ai_version(wanted.ai_version, version),
        cloud_type=wanted.cloud_type,
        date_added=int(image.created_at.timestamp()),
        dev_mode=image.dev,
        downloaded=image.paid_at is not None,
        enhance=wanted.enhance,
        # `authentic` is of the vendor's older pages; its published client cannot read it.
        enhance_type="neutral" if wanted.enhance_type == "authentic" else wanted.enhance_type,
        enhanced=where.status == "processed",
        error=where.error,
        finetune_settings=wanted.finetune_settings,
        image_id=plain(image.told),
        image_name=image.name,
        image_type=image.content_type,
        is_threesixty=wanted.threesixty,
        lens_correction=wanted.lens_correction,
        metadata=msgspec.json.decode(image.metadata or b"{}"),
        order_id=plain(image.order_told),
        preset_id=wanted.preset_id,
        privacy=wanted.privacy,
        rating=image.rating,
        scene=None,
        sky_replacement=wanted.sky_replacement,
        status=where.status,
        status_reason=where.reason,
        upscale=wanted.upscale,
        user_id=plain(image.account_id),
        vertical_correction=wanted.vertical_correction,
        window_pull=wanted.window_pull_type != "NONE",
        window_pull_type=wanted.window_pull_type if version.tells_window_pull_type else UNSET,
        upload_url=upload_url or UNSET,
        s3PutObjectUrl=upload_url or UNSET,
    )


def bracket_as_image(bracket: Bracket, content_type: str | None, dev: bool, made: Image | None) -> Image:
    """A bracket that was registered as an image (`hdr`), as one: it stands as the picture stands that it became part of."""
    return Image(
        bracket.id, bracket.account_id, bracket.environment, bracket.chosen, bracket.order_id, bracket.order_told,
        bracket.name, content_type, bracket.preferences or b"{}", bracket.metadata, None, bracket.upload_id,
        made.task_id if made else None, b"{}" if made is None else made.pending, made.fault if made else None, dev,
        made.paid_at if made else None, bracket.created_at,
    )  # fmt: skip


def _ai_version(kept: str, version: Version) -> str | float:
    """Of old it was a number: of `4.x`, the 4."""
    if version.tells_ai_version_as_text or not kept[0].isdecimal():
        return kept
    return float(kept.replace(".x", ""))


def order_out(
    order: Order,
    images: list[tuple[Image, Task | None]],
    version: Version,
    now: datetime,
    *,
    deleted: bool = False,
) -> OrderOut:
    """`images`: those in it, each with the task behind it."""
    where = [(image, standing(image, task, now)) for image, task in images]
    merging = order.grouping is not None or any(
        image.upload_id is None and not at.done for image, at in where
    )
    processing = order.grouping is not None or any(not at.done for _, at in where)
    return OrderOut(
        created_at=_naive(order.created_at),
        images=[image_out(image, task, version, now) for image, task in images],
        is_deleted=deleted,
        is_merging=merging,
        is_processing=processing,
        last_updated_at=_naive(order.updated_at),
        name=order.name or "",
        order_id=plain(order.told),
        status=_status(order, [at.status for _, at in where], processing),
        total_images=len(images),
    )


def _status(order: Order, statuses: list[str], processing: bool) -> str:
    if order.fault is not None and not processing:
        return "error"
    if not statuses and not processing:
        return "waiting"
    if processing:
        begun = order.grouping is not None or any(status != "waiting" for status in statuses)
        return "processing" if begun else "waiting"
    return "error" if all(status == "error" for status in statuses) else "processed"


def bracket_out(bracket: Bracket, upload_url: str | None = None) -> BracketOut:
    return BracketOut(
        bracket_id=plain(bracket.told),
        image_id=plain(bracket.image_told) if bracket.image_told else None,
        is_uploaded=bracket.uploaded,
        metadata=msgspec.json.decode(bracket.metadata or b"{}"),
        name=bracket.name,
        order_id=plain(bracket.order_told),
        upload_url=upload_url or UNSET,
        s3PutObjectUrl=upload_url or UNSET,
    )


def _naive(moment: datetime) -> str:
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%f")


# --- what is sent ---------------------------------------------------------------------------------------------------

WEBHOOK_UPDATED: Final = b'{"event":"webhook_updated"}'


class ImageProcessed(Struct, frozen=True, kw_only=True):
    """What the account's webhook is told when an image was processed."""

    event: str = "image_processed"
    image_id: str
    error: bool
    order_id: str
    order_is_processing: bool
