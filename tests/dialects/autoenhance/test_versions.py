"""What a version of the API changes, by header and by the account's own; and the words of preferences in the engines'."""

from typing import Any

import pytest

from burnish.dialects.autoenhance import making, webhook
from burnish.dialects.autoenhance.image import Preferences
from burnish.dialects.autoenhance.wire import PreferencesIn
from burnish.engines import catalogue
from burnish.errors import Invalid
from burnish.ids import new_id
from dialects.autoenhance.conftest import Studio


async def in_version(studio: Studio, image_id: str, version: str | None) -> dict[str, Any]:
    return await studio.image(image_id, headers={"x-api-version": version} if version else {})


@pytest.mark.parametrize(
    ("version", "ai_version", "has_type", "whole_by_default"),
    [
        ("2024-09-30", 4.0, False, True),
        ("2024-10-01", "4.x", False, True),
        ("2024-11-01", "4.x", False, False),
        ("2025-01-01", "4.x", False, False),
        ("2025-05-05", "4.x", False, False),
        ("2025-08-31", "4.x", True, False),
        ("2030-01-01", "4.x", True, False),
        (None, "4.x", True, False),
    ],
)
async def test_what_each_version_changes(
    studio: Studio, version: str | None, ai_version: object, has_type: bool, whole_by_default: bool
) -> None:
    """`ai_version` as text, pictures as previews, the kind of window pull: from their day on, and before it as it was."""
    image = await studio.enhanced(b"whole", window_pull=True)
    found = await in_version(studio, image["image_id"], version)
    assert (found["ai_version"], found["window_pull"]) == (ai_version, True)
    assert found.get("window_pull_type") == ("ONLY_WINDOWS" if has_type else None)
    await studio.give(100)
    headers = {"x-api-version": version} if version else {}
    reply = await studio.call("GET", f"/v3/images/{image['image_id']}/enhanced", headers=headers)
    assert reply.status_code == (200 if whole_by_default else 503)
    assert (await studio.image(image["image_id"]))["downloaded"] is whole_by_default


async def test_the_accounts_own_version(studio: Studio) -> None:
    """Of requests that name none; one that is no day is refused when it is set."""
    resources = studio.visitor.resources
    image = await studio.enhanced()
    now = resources.clock.now()
    with pytest.raises(Invalid):
        await webhook.set_api_version(resources.db, resources.seal, studio.account_id, "newest", now)
    await webhook.set_api_version(resources.db, resources.seal, studio.account_id, "2024-01-01", now)
    studio.visitor.app.state.own.forget()
    assert (await in_version(studio, image["image_id"], None))["ai_version"] == 4.0
    assert (await studio.image(image["image_id"], key=None))["ai_version"] == 4.0
    assert (await in_version(studio, image["image_id"], "2025-01-01"))["ai_version"] == "4.x"
    await webhook.set_api_version(resources.db, resources.seal, studio.account_id, None, now)
    studio.visitor.app.state.own.forget()
    assert (await in_version(studio, image["image_id"], None))["ai_version"] == "4.x"


async def test_its_published_client_can_read_every_word(studio: Studio) -> None:
    """`latest` and `authentic` are taken, and told in words that the client's enumerations have."""
    image = await studio.register(ai_version="latest", enhance_type="authentic")
    assert (image["ai_version"], image["enhance_type"]) == ("5.x", "neutral")


# --- preferences: their words and ours, both ways ---------------------------------------------------------------------


def told(preferences: Preferences, brackets: int = 1) -> tuple[str, dict[str, Any]]:
    made = making.job(preferences, [new_id() for _ in range(brackets)])
    parameters = {
        name: value
        for name in made.parameters.__struct_fields__
        if name not in {"image", "images"}
        and (value := getattr(made.parameters, name)) != _default(made.model.name, name)
    }
    return made.model.name, parameters


def _default(model: str, name: str) -> object:
    import msgspec

    found = catalogue.find_model(model)
    assert found is not None
    return next(f.default for f in msgspec.structs.fields(found.parameters) if f.name == name)


PLAIN = Preferences(enhance=False, lens_correction=False, vertical_correction=False)


@pytest.mark.parametrize(
    ("said", "model", "parameters"),
    [
        ({}, "enhance", {"lens": True, "straighten": True}),
        ({"enhance_type": "property_usa"}, "enhance", {"style": "property_usa", "lens": True, "straighten": True}),
        ({"lens_correction": False, "vertical_correction": False}, "enhance", {}),
        ({"enhance": False, "lens_correction": False}, "enhance", {"strength": 0.0, "straighten": True}),
        ({"sky_replacement": True, "cloud_type": "HIGH_CLOUD"}, "enhance",
         {"sky": "high_cloud", "lens": True, "straighten": True}),
        ({"sky_replacement": True}, "enhance", {"sky": "clear", "lens": True, "straighten": True}),
        ({"cloud_type": "LOW_CLOUD"}, "enhance", {"lens": True, "straighten": True}),
        ({"privacy": True, "upscale": True}, "enhance",
         {"privacy": True, "upscale": True, "lens": True, "straighten": True}),
        ({"threesixty": True}, "enhance", {"panorama": True, "lens": True, "straighten": True}),
        ({"window_pull": True}, "enhance", {"lens": True, "straighten": True}),
    ],
)  # fmt: skip
def test_preferences_of_a_photo(said: dict[str, Any], model: str, parameters: dict[str, Any]) -> None:
    """Each in the engine's words; a single photo has no window to pull."""
    assert told(PreferencesIn(**said).over(Preferences())) == (model, parameters)


@pytest.mark.parametrize(
    ("said", "model", "parameters"),
    [
        ({}, "render", {}),
        ({"upscale": True}, "upscale", {}),
        ({"sky_replacement": True, "cloud_type": "LOW_CLOUD"}, "sky", {"kind": "low_cloud"}),
    ],
)
def test_only_what_is_asked_for_is_done(said: dict[str, Any], model: str, parameters: dict[str, Any]) -> None:
    """Without enhancement and corrections, one thing is done by the model that does it, and nothing by none."""
    assert told(PreferencesIn(**said).over(PLAIN)) == (model, parameters)


@pytest.mark.parametrize(
    ("said", "parameters"),
    [
        ({}, {"style": "neutral", "lens": True, "straighten": True}),
        ({"enhance": False}, {"lens": True, "straighten": True}),
        ({"enhance_type": "warm", "window_pull_type": "ONLY_WINDOWS"},
         {"style": "warm", "lens": True, "straighten": True, "window_pull": "windows"}),
        ({"window_pull_type": "WINDOWS_WITH_SKIES"},
         {"style": "neutral", "lens": True, "straighten": True, "window_pull": "windows_with_skies"}),
        ({"threesixty": True}, {"style": "neutral", "lens": True, "straighten": True, "panorama": True}),
        ({"window_pull": True, "window_pull_type": "NONE"}, {"style": "neutral", "lens": True, "straighten": True}),
    ],
)  # fmt: skip
def test_preferences_of_brackets(said: dict[str, Any], parameters: dict[str, Any]) -> None:
    """The same of several exposures, which show what is outside."""
    assert told(PreferencesIn(**said).over(Preferences()), brackets=3) == ("merge", parameters)


def test_null_says_nothing_and_false_does() -> None:
    """What is not said stays as it was."""
    before = Preferences(privacy=True, cloud_type="CLEAR", window_pull_type="ONLY_WINDOWS")
    assert PreferencesIn(privacy=None).over(before) == before
    assert PreferencesIn(privacy=False, window_pull=False).over(before) == Preferences(cloud_type="CLEAR")
