"""HitPaw's words: every code of ours has an answer, every model of theirs is in the table, and prices are the table's."""

from typing import Any
from uuid import UUID

import msgspec
import pytest

from burnish.credits.price import Measure, price
from burnish.credits.prices import load_prices
from burnish.dialects.hitpaw import errors, models, wire
from burnish.dialects.hitpaw.models import load
from burnish.dialects.native.errors import CODES
from burnish.engines import catalogue
from burnish.errors import STATUS_REASONS, InsufficientCredits, Invalid, Refused, Unusable
from burnish.tasks.task import Task
from burnish.uploads.sign import Links

#: Where requests come in that are refused.
PATHS = ("/hitpaw/api/photo-enhancer", "/hitpaw/api/video-enhancer", "/hitpaw/api/image-nsfw")
#: Every model that the vendor documents.
PHOTO = (
    *("face_2x", "face_4x", "face_v2_2x", "face_v2_4x", "general_2x", "general_4x", "high_fidelity_2x"),
    *("high_fidelity_4x", "sharpen_denoise_1x", "detail_denoise_1x", "generative_portrait_1x"),
    *("generative_portrait_2x", "generative_portrait_4x", "generative_1x", "generative_2x", "generative_4x"),
    *(
        "generative_6x",
        "generative_8x",
        "generative_enhance_fast_model_2x",
        "generative_enhance_fast_model_4x",
    ),
    *("generative_enhance_fast_2x", "generative_enhance_fast_4x"),
)
VIDEO = (
    *(
        "face_soft_2x",
        "portrait_restore_1x",
        "portrait_restore_2x",
        "general_restore_1x",
        "general_restore_2x",
    ),
    *("general_restore_4x", "ultrahd_restore_2x", "generative_1x", "frame_interpolation"),
)


def test_every_code_of_ours_has_an_answer() -> None:
    """Codes of requests, and reasons of tasks that end while their submission is answered."""
    assert CODES.keys() - errors.ANSWERS.keys() == set()
    assert {"input_unreachable", "worker_lost"} <= errors.ANSWERS.keys()
    reasons = set(STATUS_REASONS) - {"rate_limited", "daily_limit_reached"}
    assert reasons - errors.ANSWERS.keys() == set()


#: Every number that the vendor documents, but for 100500004, which would call a client's mistake ours.
NUMBERS = {
    *(100400000, 100400001, 100400002, 100401000, 100403000, 100403001, 100403002, 100429000, 100500000),
    *(100500001, 100500002, 100500003, 100500005, 100500006, 100500007, 110400000, 110400002, 110400003),
    *(110400005, 110400007, 110400008, 110400009, 110400010, 110400011, 110400012, 110402000, 110402001),
    110402004,
}


def test_every_documented_number_is_given() -> None:
    """And no other; two of them at one endpoint alone."""
    given = {errors.answer_to(Refused("", code=code), at).code for code in errors.ANSWERS for at in PATHS}
    given.add(errors.answer_to(errors.DemoOver("")).code)
    assert given == NUMBERS
    short = InsufficientCredits("")
    assert errors.answer_to(short, "/hitpaw/api/image-nsfw").code == 110402001
    assert errors.answer_to(short, "/api/photo-enhancer").code == 110402000
    for code in ("input_unreachable", "decode_failed", "bad_link"):
        assert errors.answer_to(Invalid("", code=code), "/api/video-enhancer").code == 110400008


def test_the_status_is_in_the_number() -> None:
    """Digits four to six, as documented."""
    for code, answer in errors.ANSWERS.items():
        assert answer.status == answer.code // 1000 % 1000, code


def test_every_documented_model_is_in_the_table() -> None:
    """And those that only stand in can be refused."""
    table = load("")
    for name in PHOTO:
        table.choose("photo", name, substitute=True)
    for name in VIDEO:
        table.choose("video", name, substitute=True)
    with pytest.raises(Invalid):
        table.choose("photo", "generative_4x", substitute=False)
    assert table.choose("photo", "face_2x", substitute=False).model == "upscale"


def test_parameters_fit_the_models_that_are_here() -> None:
    """An entry whose model is here is one that the model takes."""
    table = load("")
    for entry in table.photo.values():
        if catalogue.find_model(entry.model) is not None:
            models.parameters_of(entry, {"image": "https://example.com/a.jpg", "format": "jpeg"})
        else:
            with pytest.raises(Invalid, match="not here"):
                models.parameters_of(entry, {"image": "https://example.com/a.jpg"})


@pytest.mark.parametrize(
    ("outputs", "level"), [(None, ""), ([{"data": {"level": "mid"}}], "mid"), ([{"data": {}}], "")]
)
def test_a_moderated_picture_has_a_level(outputs: Any, level: str) -> None:
    """And none before it has ended; no link in any case."""
    status = "running" if outputs is None else "succeeded"
    record = {"id": str(UUID(int=1)), "type": "application/json", "filename": "a.json", "width": None}
    made = [record | {"height": None, "size_bytes": 2} | one for one in outputs or []]
    fields: dict[str, Any] = dict.fromkeys(Task.__struct_fields__)
    fields |= {"id": UUID(int=2), "model": "moderate", "status": status, "outputs": msgspec.json.encode(made)}
    links = Links(["secret"], "http://127.0.0.1")
    data = msgspec.to_builtins(wire.status_reply(Task(**fields), links).data)
    assert data == {
        "job_id": str(UUID(int=2)),
        "status": "CONVERTING" if outputs is None else "COMPLETED",
        "res_data": {"check_result": level},
    }


@pytest.mark.parametrize(
    ("name", "megapixels", "coins"),
    [
        *(("general_2x", 7.9, 10), ("general_2x", 8, 20), ("general_2x", 216.1, 480)),
        *(("generative_portrait_2x", 7, 20), ("generative_portrait_2x", 33, 60)),
        *(("generative_4x", 7, 50), ("generative_4x", 24, 150)),
    ],
)
def test_coins_are_those_of_the_price_table(name: str, megapixels: float, coins: int) -> None:
    """By the megapixels of what is made, in the class of the vendor's model."""
    model = catalogue.find_model(load("").photo[name].model)
    assert model is not None
    rule = load_prices().get_rule(model.price)
    assert price(rule, Measure(width=round(megapixels * 1_000_000), height=1)).credits == coins


def test_a_table_that_means_nothing_is_named(tmp_path_factory: pytest.TempPathFactory) -> None:
    """At start, with the place."""
    path = tmp_path_factory.mktemp("table") / "models.toml"
    path.write_text("[photo]\nx = { modell = 'upscale' }\n[video]\n[other]\n")
    with pytest.raises(Unusable, match="modell"):
        load(str(path))
