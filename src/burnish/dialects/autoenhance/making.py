"""What an image's preferences come to here: a model of the catalogue, and what it is told.

A model that does all of what is asked for is taken, the plainest first. What a client asked for by name and no model here
does is not left out in silence: the image has no task then, and says why (`Missing`).
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final
from uuid import UUID

import msgspec
from msgspec import Struct

from burnish.dialects.autoenhance.image import NAME, PREPARING, Image, Owner, Preferences, preferences_of
from burnish.engines import catalogue
from burnish.ids import to_wire
from burnish.resources import Resources
from burnish.tasks.submit import Submission
from burnish.uploads.blob import UPLOAD

_ENCODE: Final = msgspec.json.Encoder().encode
#: Where a task's metadata names the row of its image, beside the ids that the client knows.
_ROW: Final = "autoenhance_image"
_SKIES: Final = {"CLEAR": "clear", "LOW_CLOUD": "low_cloud", "HIGH_CLOUD": "high_cloud"}
_WINDOWS: Final = {"ONLY_WINDOWS": "windows", "WINDOWS_WITH_SKIES": "windows_with_skies"}
#: What the vendor does to every image unless it is told not to: done where the model can, and not missed where it cannot.
_AS_FAR_AS_CAN_BE: Final = frozenset({"style", "strength", "lens", "straighten"})
#: Our word -> the client's, to say what is missing.
_THEIRS: Final = {
    "sky": "sky_replacement",
    "privacy": "privacy",
    "upscale": "upscale",
    "panorama": "threesixty",
    "window_pull": "window_pull_type",
}


class Missing(Exception):
    """Nothing here does what is asked for; the message is for the client."""


class Job(Struct, frozen=True):
    """What is to be submitted: the parameters, checked, and as JSON."""

    model: catalogue.Model
    parameters: Struct
    input: bytes


def job(preferences: Preferences, uploads: Sequence[UUID]) -> Job:
    """Of one upload, or of several that are brackets of one picture.

    Raises:
        Missing: no model here does it.
    """
    asked = _asked(preferences)
    if len(uploads) > 1:
        asked["style"] = preferences.enhance_type if preferences.enhance else "none"
        return _told("merge", asked, images=[to_wire(UPLOAD, id_) for id_ in uploads])
    source = to_wire(UPLOAD, uploads[0])
    extra = asked.keys() - _AS_FAR_AS_CAN_BE
    untouched = not (preferences.enhance or preferences.lens_correction or preferences.vertical_correction)
    if untouched and not extra:
        return _told("render", {}, image=source)
    if untouched and extra == {"upscale"}:
        return _told("upscale", {"scale": 2}, image=source)
    if untouched and extra == {"sky"}:
        return _told("sky", {"kind": asked["sky"]}, image=source)
    return _told("enhance", asked, image=source)


def _asked(preferences: Preferences) -> dict[str, Any]:
    """In our words; without what is not asked for."""
    asked: dict[str, Any] = {"style": preferences.enhance_type}
    if not preferences.enhance:
        asked["strength"] = 0.0
    if preferences.lens_correction:
        asked["lens"] = True
    if preferences.vertical_correction:
        asked["straighten"] = True
    if preferences.sky_replacement:
        asked["sky"] = _SKIES[preferences.cloud_type or "CLEAR"]
    if preferences.window_pull_type != "NONE":
        asked["window_pull"] = _WINDOWS[preferences.window_pull_type]
    for name, wanted in (
        ("privacy", preferences.privacy),
        ("upscale", preferences.upscale),
        ("panorama", preferences.threesixty),
    ):
        if wanted:
            asked[name] = True
    return asked


def _told(name: str, asked: Mapping[str, Any], **sources: Any) -> Job:
    model = catalogue.find_model(name)
    if model is None:
        raise Missing(f"Not available here: the model {name} is not installed.")
    fields = frozenset(model.parameters.__struct_fields__)
    # Of a single picture there is no other exposure that shows what is outside.
    alone = frozenset({"window_pull"}) if "images" not in sources else frozenset()
    missing = sorted(asked.keys() - fields - _AS_FAR_AS_CAN_BE - alone)
    if missing:
        theirs = ", ".join(_THEIRS.get(word, word) for word in missing)
        raise Missing(f"Not available here: {theirs}, which the model {name} does not do.")
    told = sources | {word: value for word, value in asked.items() if word in fields}
    try:
        parameters = msgspec.convert(told, model.parameters)
    except msgspec.ValidationError as error:
        raise Missing(f"Not available here: the model {name} refuses it: {error}.") from error
    return Job(model, parameters, _ENCODE(told))


def submission(
    resources: Resources, owner: Owner, image: Image, made: Job, uploads: Sequence[UUID]
) -> Submission:
    """The image's task, under the id that its row names."""
    assert image.task_id is not None
    ids = {"image_id": image.told, "order_id": image.order_told, _ROW: image.id}
    metadata = _ENCODE({name: str(id_) for name, id_ in ids.items()})
    return task_of(resources, owner, image.task_id, made, uploads, metadata=metadata, dialect=NAME)


def task_of(
    resources: Resources,
    owner: Owner,
    task_id: UUID,
    made: Job,
    uploads: Sequence[UUID],
    *,
    metadata: bytes | None,
    dialect: str,
) -> Submission:
    settings = resources.settings
    return Submission(
        id=task_id,
        account_id=owner.account_id,
        environment=owner.environment,
        key_id=owner.key_id,
        request_id=owner.request_id,
        model=made.model,
        parameters=made.parameters,
        input=made.input,
        metadata=metadata,
        sources=tuple(uploads),
        max_attempts=settings.tasks.max_attempts,
        deadline_seconds=min(made.model.deadline_seconds, settings.tasks.deadline_seconds),
        retention_seconds=owner.retention_seconds,
        on_limit=None,
        dialect=dialect,
        paid_at_download=True,
        parks=True,
        unasked=dialect == PREPARING,
    )


def image_of_task(metadata: bytes | None) -> UUID | None:
    """The image that a task of ours was submitted for."""
    found: str | None = msgspec.json.decode(metadata).get(_ROW) if metadata else None
    return UUID(found) if found else None


def job_of(image: Image, uploads: Sequence[UUID]) -> Job:
    return job(preferences_of(image.preferences), uploads)
