"""HitPaw's words: what its requests say and its replies say, and the way from one to the house's and back.

Fields that are not known are ignored, as its clients send some that nobody documented.
"""

from datetime import UTC, datetime
from typing import Any, Final
from uuid import UUID

import msgspec
from msgspec import UNSET, Struct, UnsetType

from burnish.errors import Invalid, NotFound, Unauthenticated
from burnish.ids import plain, to_wire
from burnish.settings import Uploads
from burnish.tasks.task import FAILED, FINAL, SUCCEEDED, OutputRecord, Task, outputs_of
from burnish.uploads.blob import OUTPUT, UPLOAD, Blob
from burnish.uploads.sign import PATH, Links
from burnish.web.request import Request

NAME: Final = "hitpaw"
PREFIX: Final = "/hitpaw"
#: Where uploads are put and read, in place of the native path.
FILES: Final = "/oss/"

#: Content type -> extension, of everything that the staging storage takes. Others are refused.
TYPES: Final = {
    "image/jpeg": ".jpg", "image/png": ".png", "image/gif": ".gif", "image/webp": ".webp", "image/bmp": ".bmp",
    "video/mp4": ".mp4", "video/quicktime": ".mov", "video/x-msvideo": ".avi", "video/x-matroska": ".mkv",
    "video/webm": ".webm",
    "audio/mpeg": ".mp3", "audio/wav": ".wav", "audio/aac": ".aac", "audio/mp4": ".m4a",
    "application/pdf": ".pdf",
}  # fmt: skip
_ALIASES: Final = {"image/jpg": "image/jpeg", "audio/mp3": "audio/mpeg", "audio/x-wav": "audio/wav"}
#: The extension that a request asks for -> the format that is written.
_PICTURES: Final = {
    "jpg": "jpeg", "jpeg": "jpeg", "jfif": "jpeg", "png": "png", "webp": "webp", "tif": "tiff", "tiff": "tiff",
    "avif": "avif",
}  # fmt: skip
_FILMS: Final = ("mp4", "mov", "mkv", "m4v", "avi", "gif", "webm")
_LOOKED_AT: Final = (".jpg", ".jpeg", ".png", ".webp")
_EXPIRE_SECONDS: Final = (60, 7200)
_MOST_FILES: Final = 20

# --- requests -------------------------------------------------------------------------------------------------------


class PhotoRequest(Struct, frozen=True):
    """`POST /api/photo-enhancer`; `model_list` and `upscale` are the older body's."""

    img_url: str = ""
    model_name: str = ""
    extension: str = ".jpg"
    exif: bool = False
    dpi: int | None = msgspec.field(name="DPI", default=None)
    model_list: list[str] = []
    upscale: int | None = None


class VideoRequest(Struct, frozen=True):
    """`POST /api/video-enhancer`."""

    video_url: str = ""
    model_name: str = ""
    resolution: tuple[int, int] | None = None
    extension: str = ".mp4"
    frame_rate: float | None = None
    model_id: int | None = None


class FileRequest(Struct, frozen=True):
    """`POST /api/image-segmentation` and `/api/image-nsfw`."""

    file_url: str = ""
    return_type: str = "matted"


class StatusRequest(Struct, frozen=True):
    """`POST /api/task-status`."""

    job_id: str = ""


class PresignRequest(Struct, frozen=True):
    """`POST /api/oss/presign-put`."""

    filename: str = ""
    content_type: str = ""
    expire_seconds: int = 3600


class PresignBatchRequest(Struct, frozen=True):
    """`POST /api/oss/presign-put/batch`."""

    files: list[PresignRequest] = []
    expire_seconds: int = 3600


class TransferRequest(Struct, frozen=True):
    """`POST /api/oss/transfer`."""

    url: str = ""
    filename: str | None = None


class TransferBatchRequest(Struct, frozen=True):
    """`POST /api/oss/batch-transfer`."""

    urls: list[str] = []


PHOTO: Final = msgspec.json.Decoder(PhotoRequest)
VIDEO: Final = msgspec.json.Decoder(VideoRequest)
FILE: Final = msgspec.json.Decoder(FileRequest)
STATUS: Final = msgspec.json.Decoder(StatusRequest)
PRESIGN: Final = msgspec.json.Decoder(PresignRequest)
PRESIGN_BATCH: Final = msgspec.json.Decoder(PresignBatchRequest)
TRANSFER: Final = msgspec.json.Decoder(TransferRequest)
TRANSFER_BATCH: Final = msgspec.json.Decoder(TransferBatchRequest)

#: The numbers that one client sends beside the names of films' models.
_MODEL_IDS: Final = {
    56: "face_soft_2x", 36: "portrait_restore_1x", 35: "portrait_restore_2x", 31: "general_restore_1x",
    32: "general_restore_2x", 33: "general_restore_4x", 37: "ultrahd_restore_2x", 38: "generative_1x",
}  # fmt: skip


def key_of(request: Request) -> str:
    """The key's secret: the header `Apikey`, whose name is written in any case. Raises Unauthenticated."""
    given = request.headers(b"apikey")
    if len(given) != 1 or not given[0]:
        code = "malformed_key" if len(given) > 1 else "missing_key"
        raise Unauthenticated("Send your key in one header `Apikey`.", code=code)
    return given[0]


def photo_model(asked: PhotoRequest) -> str:
    """The model's name, the older body's too, whose `upscale` says what its name may leave out."""
    name = asked.model_name or (asked.model_list[0] if asked.model_list else "")
    _must_be_there(name, "model_name")
    if asked.upscale and not name.endswith("x"):
        return f"{name}_{asked.upscale}x"
    return name


def photo_input(asked: PhotoRequest) -> dict[str, Any]:
    """Our input, but for what the model's entry says."""
    format_ = _PICTURES.get(asked.extension.lower().lstrip("."))
    if format_ is None:
        raise Invalid(
            f"{asked.extension[:20]!r} is not written; there are {', '.join(f'.{one}' for one in _PICTURES)}.",
            param="extension",
            code="unsupported_format",
        )
    return {
        "image": _url(asked.img_url, "img_url"),
        "format": format_,
        "metadata": "keep" if asked.exif else "strip",
    } | ({} if asked.dpi is None else {"dpi": asked.dpi})


def video_model(asked: VideoRequest) -> str:
    name = asked.model_name or _MODEL_IDS.get(asked.model_id or 0, "")
    _must_be_there(name, "model_name")
    return name


def video_input(asked: VideoRequest, model: str) -> dict[str, Any]:
    """As `photo_input`, of a film: for `video-interpolate` the rate, for others the size."""
    format_ = asked.extension.lower().lstrip(".")
    if format_ not in _FILMS:
        raise Invalid(
            f"{asked.extension[:20]!r} is not written; there are {', '.join(f'.{one}' for one in _FILMS)}.",
            param="extension",
            code="unsupported_format",
        )
    input_: dict[str, Any] = {"video": _url(asked.video_url, "video_url"), "format": format_}
    if model == "video-interpolate":
        if asked.frame_rate is None:
            raise Invalid("frame_interpolation needs a frame_rate, 120 at most.", param="frame_rate")
        return input_ | {"frame_rate": asked.frame_rate}
    if asked.resolution is None:
        raise Invalid("Give the target's [width, height].", param="resolution", code="missing_field")
    return input_ | {"resolution": asked.resolution}


def cutout_input(asked: FileRequest) -> dict[str, Any]:
    returns = {"matted": "cutout", "mask": "mask", "all": "both"}.get(asked.return_type)
    if returns is None:
        raise Invalid("return_type is matted, mask or all.", param="return_type")
    return {"image": _url(asked.file_url, "file_url"), "return": returns}


def moderation_input(asked: FileRequest) -> dict[str, Any]:
    """The extension is looked at when it is submitted, as the vendor does."""
    url = _url(asked.file_url, "file_url")
    path = url.partition("?")[0].lower()
    if "." in path.rpartition("/")[2] and not path.endswith(_LOOKED_AT):
        raise Invalid(f"Pictures are {', '.join(_LOOKED_AT)}.", param="file_url", code="unsupported_format")
    return {"image": url}


def task_id(asked: StatusRequest) -> UUID:
    """Raises NotFound: no id at all is of no task."""
    try:
        return UUID(asked.job_id)
    except ValueError as error:
        raise NotFound("There is no task of this job_id.") from error


def _url(given: str, param: str) -> str:
    """An address, and nothing else: ids of ours mean nothing to a client of HitPaw."""
    _must_be_there(given, param)
    if "://" not in given and not given.startswith("test:"):
        raise Invalid(f"{param} must be a URL.", param=param, code="upload_not_found")
    return given


def _must_be_there(given: str, param: str) -> None:
    if not given:
        raise Invalid(f"{param} is missing.", param=param, code="missing_field")


# --- replies --------------------------------------------------------------------------------------------------------


class Created(Struct, frozen=True, kw_only=True):
    job_id: str
    consume_coins: int


class Status(Struct, frozen=True, kw_only=True):
    """What there is of it, by the kind of task and its state."""

    job_id: str
    status: str
    res_url: str | UnsetType = UNSET
    mask_url: str | UnsetType = UNSET
    original_url: str | UnsetType = UNSET
    res_data: dict[str, str] | UnsetType = UNSET


class Place(Struct, frozen=True, kw_only=True):
    """Where to put a file, and where it is read."""

    upload_url: str
    access_url: str
    object_key: str
    content_type: str
    expire_at: int


class Places(Struct, frozen=True, kw_only=True):
    total: int
    success: int
    failed: int
    items: list[Place]


class Transferred(Struct, frozen=True, kw_only=True):
    url: str
    object_key: str
    size: int


class TransferItem(Struct, frozen=True, kw_only=True):
    source_url: str
    url: str | UnsetType = UNSET
    object_key: str | UnsetType = UNSET
    size: int | UnsetType = UNSET
    error: str | UnsetType = UNSET


class TransferItems(Struct, frozen=True, kw_only=True):
    total: int
    success: int
    failed: int
    items: list[TransferItem]


class Envelope(Struct, frozen=True, kw_only=True):
    """Around every reply of a task; the storage for presigned uploads says 0 and no message."""

    code: int = 200
    message: str | UnsetType = "OK"
    data: Any


def created(task: Task, lowest: int) -> Envelope:
    """`lowest`: what is said of a task whose bytes have not been seen: what it costs at the least."""
    unseen = task.status == "waiting"
    return Envelope(data=Created(job_id=plain(task.id), consume_coins=lowest if unseen else task.cost_held))


def status_reply(task: Task, links: Links) -> Envelope:
    """The three documented states: whatever has not ended is converting, whatever ended otherwise is an error."""
    state = "COMPLETED" if task.status == SUCCEEDED else "ERROR" if task.status in FINAL else "CONVERTING"
    status = Status(job_id=plain(task.id), status=state)
    outputs = outputs_of(task)
    if task.model == "moderate":
        level = str((outputs[0].data or {}).get("level", "")) if outputs else ""
        return Envelope(data=msgspec.structs.replace(status, res_data={"check_result": level}))
    if task.status != SUCCEEDED:
        return Envelope(data=status)
    urls = {output.role: _output_url(output, task, links) for output in outputs}
    return Envelope(
        data=msgspec.structs.replace(
            status,
            res_url=urls.get(None, UNSET),
            mask_url=urls.get("mask", UNSET),
            original_url=_original_url(task, links),
        )
    )


def _output_url(output: OutputRecord, task: Task, links: Links) -> str:
    extension = "." + output.filename.rpartition(".")[2]
    return links.get(OUTPUT, output.id, task.expires_at, extension)


def _original_url(task: Task, links: Links) -> str | UnsetType:
    if task.source_url is not None:
        return task.source_url
    return links.get(UPLOAD, task.source_id, task.expires_at) if task.source_id is not None else UNSET


def type_of(asked: PresignRequest) -> str:
    """The content type that must come with the bytes. Raises Invalid."""
    _must_be_there(asked.filename, "filename")
    _must_be_there(asked.content_type, "content_type")
    given = asked.content_type.lower().strip()
    type_ = _ALIASES.get(given, given)
    if type_ not in TYPES:
        raise Invalid(
            f"{asked.content_type[:60]!r} is not taken; there are {', '.join(TYPES)}.",
            param="content_type",
            code="malformed",
        )
    return given


def expire_seconds(seconds: int) -> int:
    least, most = _EXPIRE_SECONDS
    if not least <= seconds <= most:
        raise Invalid(f"expire_seconds is {least} to {most}.", param="expire_seconds", code="malformed")
    return seconds


def must_be_few(files: list[Any], param: str) -> None:
    if not 1 <= len(files) <= _MOST_FILES:
        raise Invalid(f"Give 1 to {_MOST_FILES} of them.", param=param, code="malformed")


def place(upload: Blob, request: Request, settings: Uploads) -> Place:
    """Where the bytes go, and where they are read once they have come: both end in the file's extension."""
    links, type_ = request.site.links, upload.declared_type or ""
    readable_until = datetime.fromtimestamp(upload.expires_at.timestamp() + settings.retention_seconds, UTC)
    return Place(
        upload_url=links.put(upload.id, upload.expires_at).replace(PATH, PREFIX + FILES, 1),
        access_url=links.get(UPLOAD, upload.id, readable_until, extension_of(type_)),
        object_key=object_key(upload),
        content_type=type_,
        expire_at=int(upload.expires_at.timestamp()),
    )


def extension_of(type_: str) -> str:
    return TYPES.get(_ALIASES.get(type_, type_), "")


def object_key(upload: Blob) -> str:
    """A name as the vendor's storage makes them: a path by the day, and the upload's id."""
    return f"uploads/{upload.created_at:%Y/%m/%d}/{to_wire(UPLOAD, upload.id)}{extension_of(upload.declared_type or '')}"


def transferred(upload: Blob, links: Links) -> Transferred:
    return Transferred(
        url=links.get(UPLOAD, upload.id, upload.expires_at, extension_of(upload.declared_type or "")),
        object_key=object_key(upload),
        size=upload.size_bytes or 0,
    )


def ended_badly(task: Task) -> bool:
    """Whether it ended while its submission was still being answered, so that the submission can say why."""
    return task.status == FAILED and task.started_at is None
