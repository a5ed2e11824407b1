"""`moderate`: the network's format, levels by a table, and no level at all where anything is in doubt.

How much the network finds was not measured: no picture of the tests shows anything explicit. What is tested is all round it.
"""

import json
import os
from collections.abc import Callable
from typing import Any

import msgspec
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from skimage import data

from burnish.engines import installed, needs
from burnish.engines.catalogue import find_model, shapes_of
from burnish.engines.catalogue.moderate import Moderate
from burnish.engines.engine import Engines, Job
from burnish.engines.networks import nudity
from burnish.engines.networks.device import Device
from burnish.engines.networks.nudity import LABELS, SIDE, Find, Nudity
from burnish.engines.photos.explicit import level
from burnish.engines.runners.moderate import Moderator
from burnish.engines.wire import Picture, Shot
from burnish.engines.work import Work
from burnish.errors import Failed

Pixels = NDArray[Any]

needs_the_network = pytest.mark.skipif(
    not installed.package_has(*nudity.FILE), reason="scripts/test installs the network; setup does not"
)


def answer(*finds: tuple[str, float, tuple[float, float, float, float]], places: int = 2100) -> Pixels:
    """What the network says: each a label, a score, and the middle and size of a box in its 320 pixels."""
    said = np.zeros((1, 4 + len(LABELS), places), np.float32)
    for place, (label, score, box) in enumerate(finds):
        said[0, :4, place] = box
        said[0, 4 + LABELS.index(label), place] = score
    return said


# --- the network's format -------------------------------------------------------------------------------------------


def test_boxes_come_out_in_the_pictures_pixels() -> None:
    """The picture lies in the upper left corner of a square as large as its longer side."""
    (find,) = nudity.decoded(answer(("FACE_MALE", 0.9, (80, 40, 32, 16))), width=640, height=200)
    assert (find.label, find.box) == ("FACE_MALE", (128, 64, 64, 32))
    assert find.score == pytest.approx(0.9)


def test_boxes_stay_inside_the_picture() -> None:
    """Also one that lies in the black below it."""
    finds = nudity.decoded(
        answer(("FACE_MALE", 0.9, (0, 0, 100, 100)), ("FACE_FEMALE", 0.8, (300, 300, 60, 60))),
        width=320,
        height=100,
    )
    assert [find.box for find in finds] == [(0, 0, 50, 50), (270, 100, 50, 0)]


def test_one_thing_is_found_once_and_two_labels_are_two() -> None:
    """Of overlapping boxes with one label the surest; the same place under another label counts as well."""
    finds = nudity.decoded(
        answer(
            ("FACE_MALE", 0.7, (100, 100, 50, 50)),
            ("FACE_MALE", 0.9, (104, 100, 50, 50)),
            ("FACE_FEMALE", 0.5, (100, 100, 50, 50)),
            ("FACE_MALE", 0.3, (200, 200, 50, 50)),
            ("FACE_MALE", 0.19, (20, 20, 9, 9)),
        ),
        width=320,
        height=320,
    )
    assert [(find.label, round(find.score, 2)) for find in finds] == [
        ("FACE_MALE", 0.9), ("FACE_FEMALE", 0.5), ("FACE_MALE", 0.3),
    ]  # fmt: skip


def test_a_place_that_is_two_things_is_both() -> None:
    """The likeliest label does not hide another that is likely too."""
    said = answer(("FACE_MALE", 0.9, (100, 100, 50, 50)))
    said[0, 4 + LABELS.index("BUTTOCKS_EXPOSED"), 0] = 0.6
    assert {find.label for find in nudity.decoded(said, 320, 320)} == {"FACE_MALE", "BUTTOCKS_EXPOSED"}


@pytest.mark.parametrize(
    "said",
    [
        np.zeros((1, 22, 0), np.float32),
        np.zeros((1, 21, 2100), np.float32),
        np.zeros((22, 2100), np.float32),
        answer(("FACE_MALE", float("nan"), (1, 1, 1, 1))),
        answer(("FACE_MALE", 0.5, (float("inf"), 1, 1, 1))),
        answer(("FACE_MALE", 7.0, (1, 1, 1, 1))),
        answer(("FACE_MALE", -1.0, (1, 1, 1, 1))),
    ],
)
def test_an_answer_that_cannot_be_is_no_answer(said: Pixels) -> None:
    """Another shape, no numbers, no scores: an error, never an empty list."""
    with pytest.raises(ValueError, match="the network answered"):
        nudity.decoded(said, 320, 320)


def test_a_picture_is_shown_as_the_network_wants_it() -> None:
    """RGB, from 0 to 1, in the upper left corner, the rest black."""
    seen = nudity.shown(np.full((100, 200, 3), (255, 0, 51), np.uint8))
    assert seen.shape == (1, 3, SIDE, SIDE)
    assert seen[0, :, 80, 160] == pytest.approx([1, 0, 0.2])
    assert (seen[0, :, 161:] == 0).all()


# --- levels ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        ({}, "low"),
        ({"FACE_FEMALE": 1.0, "FACE_MALE": 1.0, "FEET_EXPOSED": 1.0, "ARMPITS_EXPOSED": 1.0, "BELLY_COVERED": 1.0}, "low"),
        ({"FEMALE_BREAST_COVERED": 1.0}, "low"),
        ({"BELLY_EXPOSED": 1.0}, "low"),
        ({"FEMALE_BREAST_COVERED": 0.4, "BELLY_EXPOSED": 0.4}, "mid"),
        ({"FEMALE_BREAST_COVERED": 0.39, "BELLY_EXPOSED": 1.0}, "low"),
        *(({name: 0.4}, "mid") for name in ("FEMALE_GENITALIA_COVERED", "ANUS_COVERED", "BUTTOCKS_COVERED", "MALE_BREAST_EXPOSED")),
        *(({name: 0.39}, "low") for name in ("FEMALE_GENITALIA_COVERED", "ANUS_COVERED", "BUTTOCKS_COVERED", "MALE_BREAST_EXPOSED")),
        *(
            ({name: score}, expected)
            for name in ("FEMALE_GENITALIA_EXPOSED", "MALE_GENITALIA_EXPOSED", "ANUS_EXPOSED", "FEMALE_BREAST_EXPOSED", "BUTTOCKS_EXPOSED")
            for score, expected in ((0.2, "mid"), (0.39, "mid"), (0.4, "high"), (1.0, "high"))
        ),
        ({"FACE_FEMALE": 1.0, "BUTTOCKS_EXPOSED": 0.9, "BUTTOCKS_COVERED": 0.9}, "high"),
    ],
)  # fmt: skip
def test_levels_are_those_of_the_table(found: dict[str, float], expected: str) -> None:
    """docs/reference/models/moderate.md has it; the surest find of a label counts, in any order."""
    finds = [Find(label, score, (0, 0, 1, 1)) for label, score in found.items()]
    assert level(finds) == expected
    assert level([*finds[::-1], *(Find(find.label, 0.01, (5, 5, 1, 1)) for find in finds)]) == expected


# --- failing closed -------------------------------------------------------------------------------------------------


class _Says(Nudity):
    """A network that says what it is told to."""

    def __init__(self, say: Callable[[Pixels], list[Find]]) -> None:
        self._say = say

    def look(self, pixels: Pixels) -> list[Find]:
        return self._say(pixels)


def moderated(moderator: Moderator, pixels: Pixels) -> Work:
    work = Work(msgspec.msgpack.encode(Moderate(image="x")), (pixels,), (Shot(),), ())
    list(moderator.run(work))
    return work


def test_a_network_that_breaks_gives_no_level() -> None:
    """Its error is the job's."""

    def broken(_: Pixels) -> list[Find]:
        raise ValueError("the network answered with nonsense")

    work = Work(msgspec.msgpack.encode(Moderate(image="x")), (np.zeros((9, 9, 3), np.uint8),), (Shot(),), ())
    with pytest.raises(ValueError, match="nonsense"):
        list(Moderator(_Says(broken)).run(work))
    assert work.data is None


def test_a_worker_without_the_network_gives_no_level() -> None:
    """The API refuses before; this is for a worker on another machine."""
    with pytest.raises(Failed, match="not installed"):
        moderated(Moderator(None), np.zeros((9, 9, 3), np.uint8))


def test_transparency_hides_nothing() -> None:
    """What is in clear pixels is looked at, and so is what only the transparency draws."""

    def bright(view: Pixels) -> list[Find]:
        return (
            [Find("BUTTOCKS_EXPOSED", 0.9, (0, 0, 1, 1))]
            if view[0, 0, 0] > 200 and view[5, 5, 0] < 50
            else []
        )

    hidden = np.zeros((9, 9, 4), np.uint8)
    hidden[0, 0, :3] = 255
    drawn = np.zeros((9, 9, 2), np.uint8)
    drawn[..., 1] = 255
    drawn[0, 0, 1] = 0  # clear, so white shows through where it lies on white
    for pixels in (hidden, drawn, hidden.astype(np.uint16) * 257):
        work = moderated(Moderator(_Says(bright)), pixels)
        assert work.data is not None
        assert work.data["level"] == "high"
    work = moderated(Moderator(_Says(bright)), np.zeros((9, 9, 1), np.uint8))
    assert work.data == {"level": "low", "labels": []}


@needs_the_network
@pytest.mark.asyncio(loop_scope="module")
async def test_files_that_are_in_doubt_fail(
    engines: Engines, opened: Callable[[bytes], int], file_of: Callable[..., bytes], account: Any
) -> None:
    """Cut off, no picture, or several pictures in one: a reason, and nothing that says low."""
    model = find_model("moderate")
    assert model
    photo = file_of(data.chelsea(), "JPEG")
    frames = [Image.fromarray(np.full((20, 20, 3), value, np.uint8)) for value in (0, 200)]
    several = file_of(frames[0], "GIF", save_all=True, append_images=frames[1:])
    for broken, reason in ((photo[: len(photo) // 2], "decode_failed"), (b"no picture", "unsupported_format"),
                           (several, "unsupported_format")):  # fmt: skip
        job = Job(account, model, Moderate(image="x"), [opened(broken)], 60.0)
        with pytest.raises(Failed) as failed:
            await engines.run(job, lambda _stage, _part: None)
        assert failed.value.reason == reason
    (output,) = await engines.run(
        Job(account, model, Moderate(image="x"), [opened(photo)], 60.0), lambda _stage, _part: None
    )
    with os.fdopen(output.fd, "rb") as file:
        said = json.load(file)
    assert (output.type, said["level"]) == ("application/json", "low")


# --- the network itself ---------------------------------------------------------------------------------------------


@needs_the_network
def test_the_network_answers_in_its_format() -> None:
    """A face is found where one is, in each size and shape; innocent photos are not high."""
    network = nudity.load(Device(2, "auto"))
    moderator = Moderator(network)
    astronaut = data.astronaut()
    for pixels in (astronaut, astronaut[:320, :260], np.pad(astronaut, ((0, 0), (0, 500), (0, 0)))):
        faces = [find for find in network.look(pixels) if find.label.startswith("FACE")]
        assert faces
        left, top, width, height = faces[0].box
        assert 150 < left + width / 2 < 300
        assert 60 < top + height / 2 < 180
    for name in ("astronaut", "coffee", "chelsea", "rocket", "gravel"):
        work = moderated(
            moderator,
            np.ascontiguousarray(getattr(data, name)()).reshape(*getattr(data, name)().shape[:2], -1),
        )
        assert work.data is not None
        assert work.data["level"] != "high", name
    moderator.rest()
    for shape in ((1, 1, 3), (1, 700, 4), (640, 2, 1)):
        assert moderated(moderator, np.full(shape, 90, np.uint8)).data is not None


def test_it_makes_data_alone_and_says_what_lacks() -> None:
    """No picture; its price is by the task, its network an extra that nobody installs for the user."""
    model = find_model("moderate")
    assert model
    assert (shapes_of(model, Moderate(image="x"), 10, 10), model.price) == ((), "moderation")
    assert "AGPL" in needs.NETWORKS["moderation"].how
    assert Moderator(None).memory_bytes(b"", [Picture(100, 100, 4, 16)]) < 300 << 20
