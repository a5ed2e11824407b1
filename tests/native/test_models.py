"""The catalogue as clients are told of it."""

import msgspec
import pytest

from burnish.credits.prices import load_prices
from burnish.dialects.native import wire
from burnish.engines import catalogue
from burnish.engines.installed import MANIFEST, File, Network
from native.surface import Visitor


async def test_models_tell_their_input_price_and_limits(visitor: Visitor) -> None:
    """Every public model with a schema that a program can check its input by, its price and its limits."""
    models = {model["name"]: model for model in (await visitor.http.get("/v1/models")).json()["data"]}
    assert list(models) == [model.name for model in catalogue.models()]
    upscale = models["upscale"]
    assert upscale["input_schema"]["type"] == "object"
    assert upscale["input_schema"]["required"] == ["image"]
    assert upscale["input_schema"]["properties"]["scale"]["enum"] == [1, 2, 4, 6, 8]
    assert upscale["input_schema"]["additionalProperties"] is False
    assert "$ref" not in msgspec.json.encode(upscale["input_schema"]).decode()
    assert upscale["price"] == {
        "rule": "photo-standard",
        "version": 1,
        "unit": "image",
        "tiers": [
            {"below": 8, "credits": 10},
            {"below": 12, "credits": 20},
            {"below": 24, "credits": 30},
            {"below": 48, "credits": 70},
            {"below": 108, "credits": 140},
            {"up_to": 216, "credits": 240},
            {"credits": 480},
        ],
    }
    assert upscale["limits"]["max_pixels"] == 70_000_000
    assert "image/jpeg" in upscale["limits"]["types"]


@pytest.mark.parametrize(
    ("rule", "told"),
    [
        ("noop", {"unit": "task", "credits": 1}),
        (
            "video-generative",
            {
                "unit": "second",
                "table": {
                    "HD": [15, 30, 60, 90],
                    "FHD": [25, 50, 100, 150],
                    "2K": [38, 75, 150, 225],
                    "4K": [56, 113, 225, 338],
                },
            },
        ),
    ],
)
def test_every_kind_of_price_is_told_as_plain_data(rule: str, told: dict[str, object]) -> None:
    """Flat prices and tables of video, with the rule's name and the table's edition."""
    model = msgspec.structs.replace(catalogue.models()[0], price=rule)
    reply = msgspec.json.decode(msgspec.json.encode(wire.model_reply(model, load_prices())))
    assert reply["price"] == told | {"rule": rule, "version": 1}


async def test_a_model_is_read_by_its_name(visitor: Visitor) -> None:
    """One model, as in the list; 404 for others and for those that clients are not told of."""
    listed = {model["name"]: model for model in (await visitor.http.get("/v1/models")).json()["data"]}
    assert (await visitor.http.get("/v1/models/upscale")).json() == listed["upscale"]
    for name in ("noop", "noop-heavy", "UPSCALE", "%00"):
        reply = await visitor.http.get(f"/v1/models/{name}")
        assert (reply.status_code, reply.json()["error"]["code"]) == (404, "not_found")


async def test_what_is_not_installed_is_listed_as_such_and_refused(visitor: Visitor) -> None:
    """422 with how it is got, for tasks and quotes; a part that is there is taken, and a test key, for which nothing runs."""
    cutout = (await visitor.http.get("/v1/models/cutout")).json()
    assert (cutout["installed"], "burnish models add" in cutout["how_to_install"]) == (True, True)
    assert (await visitor.http.get("/v1/models/upscale")).json()["how_to_install"] is None
    image = "https://example.com/a.png"
    body = {"model": "cutout", "input": {"image": image, "of": "any"}}
    for path in ("/v1/tasks", "/v1/quotes"):
        reply = await visitor.http.post(path, json=body)
        error = reply.json()["error"]
        assert (reply.status_code, error["code"], error["param"]) == (422, "model_not_installed", "model")
        assert "burnish models add" in error["message"]
    assert (await visitor.http.post("/v1/tasks", json=body | {"input": {"image": image}})).status_code == 202
    tester = visitor.using(await visitor.new_key(environment="test"))
    pretended = body | {"input": {"image": "test:ok", "of": "any"}}
    reply = await visitor.http.post("/v1/tasks", json=pretended, headers=tester)
    assert (reply.status_code, reply.json().get("error")) == (202, None)


async def test_a_retry_is_refused_once_what_it_needs_is_gone(visitor: Visitor) -> None:
    """The same words as at submission, and no task is made; with the network back it is made again."""
    folder = visitor.resources.settings.models_folder / "red"
    file = File("red.onnx", 1, "0" * 64)
    network = Network(
        name="red", format="onnx", files=(file,), purpose="cutout", convention="u2net", licence="MIT", source="x", added_at="1"
    )  # fmt: skip
    folder.mkdir(parents=True)
    manifest = folder / MANIFEST
    manifest.write_bytes(msgspec.json.encode(network))
    body = {"model": "cutout", "input": {"image": "https://example.com/a.png", "of": "any"}}
    task = (await visitor.http.post("/v1/tasks", json=body)).json()
    assert (await visitor.http.post(task["urls"]["cancel"])).status_code == 200
    manifest.rename(folder / "away")
    refused = await visitor.http.post(task["urls"]["retry"])
    anew = await visitor.http.post("/v1/tasks", json=body)
    assert (refused.status_code, refused.json()["error"]["code"]) == (422, "model_not_installed")
    named = ("code", "param", "message")
    assert [refused.json()["error"][name] for name in named] == [anew.json()["error"][name] for name in named]
    assert [one["id"] for one in (await visitor.http.get("/v1/tasks")).json()["data"]] == [task["id"]]
    (folder / "away").rename(manifest)
    again = await visitor.http.post(task["urls"]["retry"])
    assert (again.status_code, again.json().get("retry_of")) == (202, task["id"])
