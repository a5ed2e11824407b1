"""The catalogue: what clients may ask for, and what is refused from the header alone."""

import subprocess
import sys
from typing import Any

import msgspec
import pytest

from burnish.credits.price import Measure
from burnish.credits.prices import load_prices
from burnish.engines import catalogue
from burnish.engines.catalogue import Limits, Model, Noop, Upscale
from burnish.errors import STATUS_REASONS


@pytest.fixture
def upscale() -> Model:
    model = catalogue.find_model("upscale")
    assert model
    return model


@pytest.mark.parametrize(("name", "lane"), [("noop", "light"), ("noop-heavy", "heavy")])
def test_noop_is_found_and_not_listed(name: str, lane: str) -> None:
    """Tests and benches have a model for each lane that clients are not told of."""
    model = catalogue.find_model(name)
    assert model
    assert (model.lane, model.parameters, model.sources) == (lane, Noop, ())
    assert not any("noop" in model.name for model in catalogue.models())
    assert catalogue.find_model("nothing") is None


def test_every_model_is_priced_by_a_rule_of_the_shipped_table() -> None:
    """The service starts with the prices that it is shipped with."""
    assert {"photo-standard", "noop"} <= catalogue.price_rules()
    load_prices(needed=catalogue.price_rules())


def test_a_price_is_measured_by_what_is_made(upscale: Model) -> None:
    """The scale counts, and nothing is known of a picture that nobody has seen."""
    wanted = Upscale(image="upload", scale=4)
    assert catalogue.output_measure(upscale, wanted, 100, 50) == Measure(width=400, height=200)
    assert catalogue.output_measure(upscale, wanted, None, None) == Measure()
    assert catalogue.output_measure(upscale, wanted, 100, 50, 2.5, 30.0) == Measure(400, 200, 2.5, 30.0)


def test_defaults_are_twice_faithful_in_the_inputs_own_format() -> None:
    """Only the picture has to be named."""
    wanted = msgspec.convert({"image": "upload"}, Upscale)
    assert (wanted.scale, wanted.mode, wanted.format, wanted.quality, wanted.metadata) == (
        *(2, "faithful", None, 90, "keep"),
    )


@pytest.mark.parametrize(
    ("field", "value"),
    [
        *(
            ("scale", 3),
            ("scale", "2"),
            ("mode", "sharp"),
            ("faces", "blur"),
            ("format", "gif"),
            ("quality", 0),
            ("quality", 101),
        ),
        *(("metadata", "some"), ("image", ""), ("image", 5), ("sharpen", True)),
    ],
)
def test_a_wrong_parameter_is_named(field: str, value: object) -> None:
    """Whoever sent it learns which field it was."""
    with pytest.raises(msgspec.ValidationError, match=field):
        msgspec.convert({"image": "upload", field: value}, Upscale)


def test_the_input_schema_stands_alone(upscale: Model) -> None:
    """A client can check its input by the schema, without any other document."""
    schema: dict[str, Any] = catalogue.input_schema(upscale)
    assert schema["required"] == ["image"]
    assert schema["additionalProperties"] is False
    assert set(schema["properties"]) == {
        "image",
        "scale",
        "mode",
        "faces",
        "format",
        "quality",
        "metadata",
        "dpi",
    }
    assert "$ref" not in str(schema)


@pytest.mark.parametrize(
    ("params", "size", "reason", "words"),
    [
        ({}, (8_000, 8_000), None, ""),
        ({}, (10_000, 7_001), "input_too_large", "at most 70.0 megapixels"),
        ({"scale": 4}, (8_000, 8_000), "output_too_large", "32000 x 32000"),
        ({"format": "webp"}, (8_192, 1), "output_too_large", "16,383"),
        ({"format": "webp"}, (8_191, 1), None, ""),
        ({"format": "jpeg"}, (1, 32_751), "output_too_large", "65,500"),
        ({"format": "png", "scale": 4}, (1, 60_000), None, ""),
        ({}, (1, 60_000), None, ""),
    ],
)
def test_what_cannot_be_made_is_refused_by_its_size(
    upscale: Model, params: dict[str, Any], size: tuple[int, int], reason: str | None, words: str
) -> None:
    """The header is enough, and the message says the limit and the size."""
    refusal = catalogue.output_refusal(upscale, Upscale(image="upload", **params), *size)
    if reason is None:
        assert refusal is None
    else:
        assert refusal
        assert refusal[0] == reason
        assert reason in STATUS_REASONS
        assert words in refusal[1]


def test_a_machine_may_take_less_than_the_model(upscale: Model) -> None:
    """The operator's limits stand in for the model's."""
    wanted, limits = Upscale(image="upload"), Limits(max_pixels=100)
    assert catalogue.output_refusal(upscale, wanted, 10, 10, limits) is None
    refusal = catalogue.output_refusal(upscale, wanted, 11, 10, limits)
    assert refusal
    assert refusal[0] == "input_too_large"


def test_the_catalogue_and_the_promise_import_nothing_heavy() -> None:
    """The API and the workers start fast, and no decoder is ever in them."""
    heavy = "{'numpy', 'openvino', 'PIL'}"
    program = f"import sys, burnish.engines.engine; print(sorted({heavy} & set(sys.modules)))"
    found = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"
