"""The table of HiAPI's models: edited, served by the catalogue, refused where it means nothing."""

import dataclasses
from pathlib import Path
from typing import Any

import httpx
import pytest
from msgspec import Struct

from burnish.dialects.hiapi import inputs, models
from burnish.engines import catalogue
from burnish.engines.catalogue import IN_THE_WORKER, Model
from burnish.errors import Unusable
from burnish.settings import Settings
from native.surface import visit


class Dance(Struct, frozen=True):
    """What a provider of films takes."""

    prompt: str
    duration: int = 5


SERVED = Model(
    name="seedance-2.0", description="Films.", runner=IN_THE_WORKER, lane="heavy", parameters=Dance, price="noop",
    sources=(), public=False,
)  # fmt: skip


async def test_what_the_catalogue_serves_is_served(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A model of that name in the catalogue is all that it takes: live keys, both spellings, its lane, its price."""
    monkeypatch.setitem(catalogue._MODELS, "seedance-2.0", SERVED)
    async with visit(settings) as visitor:
        transport = httpx.ASGITransport(visitor.app)
        headers = visitor.using(visitor.secret)
        base = f"{settings.public_url}/hiapi"
        async with httpx.AsyncClient(transport=transport, headers=headers, base_url=base) as http:
            asked: dict[str, Any] = {"model": "seedance-2-0", "input": {"prompt": "a lake", "seed": 7}}
            made = await http.post("/v1/tasks", json=asked)
            assert made.status_code == 200, made.text
            task_id = made.json()["data"]["taskId"]
            detail = (await http.get(f"/v1/tasks/{task_id}")).json()["data"]
            assert detail["model"] == "seedance-2-0"
            native = await visitor.read("task_" + task_id.removeprefix("tk-hiapi-").lower())
            assert native["model"] == "seedance-2.0"
            wrong = await http.post("/v1/tasks", json=asked | {"input": {"prompt": "a lake", "duration": 3}})
            assert (wrong.status_code, wrong.json()["error_code"]) == (400, "INVALID_REQUEST")
            route = await http.post("/v1/tasks", json=asked | {"route": "pro"})
            assert route.json()["error_code"] == "MODEL_UNAVAILABLE"
            prices = (await http.get("/api/pricing")).json()["data"]
    rows = {row["model_name"]: row for row in prices}
    assert {"seedance-2.0", "seedance-2-0"} <= rows.keys()
    assert "seedance-2.0@pro" not in rows
    assert rows["seedance-2-0"]["base_usd_value"] == 0.001


async def test_a_table_of_ones_own(settings: Settings, tmp_path: Path) -> None:
    """`dialects.hiapi_models` names it; what is not in it is not there."""
    file = tmp_path / "models.toml"
    file.write_text(
        '[models."mine"]\ninput = "picture"\nmakes = "picture"\nroutes = { fast = "mine-fast" }\n'
    )
    dialects = dataclasses.replace(settings.dialects, hiapi_models=str(file))
    async with visit(dataclasses.replace(settings, dialects=dialects)) as visitor:
        headers = visitor.using(await visitor.new_key(environment="test"))
        base = f"{settings.public_url}/hiapi"
        transport = httpx.ASGITransport(visitor.app)
        async with httpx.AsyncClient(transport=transport, headers=headers, base_url=base) as http:
            asked: dict[str, Any] = {"model": "mine", "route": "fast", "input": {"prompt": "a lake"}}
            assert (await http.post("/v1/tasks", json=asked)).status_code == 200
            gone = await http.post("/v1/tasks", json=asked | {"model": "seedance-2-0"})
            assert gone.json()["error_code"] == "MODEL_UNAVAILABLE"


@pytest.mark.parametrize(
    "text",
    [
        "", "[models]\nx = 1", '[models.x]\ninput = "picture"', '[models.x]\ninput = "poem"\nmakes = "picture"',
        '[models."x@pro"]\ninput = "picture"\nmakes = "picture"', "usd_per_credit = 0\n[models]", "[models",
        '[models.x]\ninput = "picture"\nmakes = "poem"',
    ],
)  # fmt: skip
def test_a_table_that_means_nothing_stops_the_start(tmp_path: Path, text: str) -> None:
    """Named, with what is wrong."""
    file = tmp_path / "models.toml"
    file.write_text(text)
    with pytest.raises(Unusable, match="hiapi_models names"):
        models.load(str(file))
    with pytest.raises(Unusable, match="hiapi_models names"):
        models.load(str(tmp_path / "nowhere.toml"))


@pytest.mark.parametrize(
    ("makes", "asked", "expected"),
    [
        ("picture", {"aspect_ratio": "9:16", "resolution": "2K"}, (1536, 2736, "png")),
        ("picture", {"aspect_ratio": "21:9"}, (1568, 672, "png")),
        ("picture", {"aspect_ratio": "1:99"}, (512, 2048, "png")),
        ("film", {"aspect_ratio": "auto"}, (1280, 720, "mp4")),
        ("film", {"aspect_ratio": "3:4", "resolution": "1080p"}, (1080, 1440, "mp4")),
    ],
)
def test_how_large_a_placeholder_is(
    makes: str, asked: dict[str, Any], expected: tuple[int, int, str]
) -> None:
    """As many pixels as the resolution names, in the asked shape; films by their shorter side."""
    kind = inputs.FilmInput if makes == "film" else inputs.PictureInput
    found = inputs.placeholder_of(makes, kind(prompt="a lake", **asked))
    assert (found["width"], found["height"], found["format"]) == expected
