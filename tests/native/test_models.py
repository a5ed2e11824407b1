"""The catalogue as clients are told of it."""

import msgspec

from burnish.engines import catalogue
from native.surface import Visitor


async def test_models_tell_their_input_price_and_limits(visitor: Visitor) -> None:
    """Every public model with a schema that a program can check its input by, its price and its limits."""
    models = {model["name"]: model for model in (await visitor.http.get("/v1/models")).json()["data"]}
    assert list(models) == [model.name for model in catalogue.models()]
    upscale = models["upscale"]
    assert upscale["input_schema"]["type"] == "object"
    assert upscale["input_schema"]["required"] == ["image"]
    assert upscale["input_schema"]["properties"]["scale"]["enum"] == [2, 4]
    assert upscale["input_schema"]["additionalProperties"] is False
    assert "$ref" not in msgspec.json.encode(upscale["input_schema"]).decode()
    assert upscale["price"] == {"credits": 0, "unit": "task"}
    assert upscale["limits"]["max_pixels"] == 70_000_000
    assert "image/jpeg" in upscale["limits"]["types"]


async def test_a_model_is_read_by_its_name(visitor: Visitor) -> None:
    """One model, as in the list; 404 for others and for those that clients are not told of."""
    (listed,) = (await visitor.http.get("/v1/models")).json()["data"]
    assert (await visitor.http.get("/v1/models/upscale")).json() == listed
    for name in ("noop", "UPSCALE", "%00"):
        reply = await visitor.http.get(f"/v1/models/{name}")
        assert (reply.status_code, reply.json()["error"]["code"]) == (404, "not_found")
