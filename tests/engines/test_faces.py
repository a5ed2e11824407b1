"""Faces are found, small and large ones, and nothing else is taken for one."""

from collections.abc import Iterator
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from skimage import data

from burnish.engines.networks import faces
from burnish.engines.networks.device import Device
from burnish.engines.networks.faces import Face, Faces
from burnish.engines.wire import Picture

Pixels = NDArray[Any]

#: Of scikit-image's astronaut: a box round her face, drawn by eye, and her head.
FACE = (172, 68, 105, 105)
HEAD = (slice(0, 230), slice(110, 340))


@pytest.fixture(scope="module")
def found() -> Faces:
    return faces.load(Device(2, "auto"))


def pasted(size: int, left: int, top: int, canvas: tuple[int, int] = (420, 560)) -> tuple[Pixels, Face]:
    """The astronaut's head on gravel, her face so many pixels wide; and where her face is."""
    scale = size / FACE[2]
    how = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
    head = cv2.resize(data.astronaut()[HEAD], None, fx=scale, fy=scale, interpolation=how)
    ground = cv2.resize(np.repeat(data.gravel()[..., None], 3, 2), canvas[::-1])
    ground[top : top + head.shape[0], left : left + head.shape[1]] = head
    x, y = left + (FACE[0] - HEAD[1].start) * scale, top + (FACE[1] - HEAD[0].start) * scale
    return ground, Face(x, y, size, size, 1.0)


def overlap(one: Face, other: Face) -> float:
    """Intersection over union."""
    width = min(one.left + one.width, other.left + other.width) - max(one.left, other.left)
    height = min(one.top + one.height, other.top + other.height) - max(one.top, other.top)
    shared = max(width, 0) * max(height, 0)
    return shared / (one.width * one.height + other.width * other.height - shared)


def test_the_astronaut_has_one_face(found: Faces) -> None:
    """Where it is, and no other."""
    (face,) = found.find(data.astronaut())
    assert overlap(face, Face(*FACE, 1.0)) > 0.7
    assert face.score > 0.8


@pytest.mark.parametrize("size", [16, 20, 30, 48, 90, 170])
def test_faces_of_many_sizes_are_found_anywhere(found: Faces, size: int) -> None:
    """From the smallest that is promised to one that fills the picture, across the tiles' edges too."""
    for left, top in ((9, 3), (150, 36)):
        picture, truth = pasted(size, left, top)
        (face,) = found.find(picture)
        assert overlap(face, truth) > 0.55


def test_a_large_face_in_a_large_picture(found: Faces) -> None:
    """It is found by a coarse size; small ones are not looked for where they are not wanted."""
    picture, truth = pasted(500, 300, 100, (1300, 1700))
    picture[1200:1240, 20:60] = cv2.resize(data.astronaut()[60:180, 165:285], (40, 40))
    (face,) = found.find(picture, smallest=100)
    assert overlap(face, truth) > 0.55


@pytest.mark.parametrize(
    "name",
    [
        "brick",
        "cell",
        "chelsea",
        "coffee",
        "coins",
        "colorwheel",
        "grass",
        "gravel",
        "hubble_deep_field",
        "immunohistochemistry",
        "moon",
        "page",
        "rocket",
        "text",
        "logo",
        "horse",
    ],
)
def test_photos_without_a_face_have_none(found: Faces, name: str) -> None:
    """Cats, coins, stars and cups."""
    picture = np.asarray(getattr(data, name)())
    picture = picture.astype(np.uint8) * 255 if picture.dtype == bool else picture
    assert found.find(picture.reshape(*picture.shape[:2], -1)) == []


def test_gray_16_bits_and_alpha_are_read_too(found: Faces) -> None:
    """The same face in every kind of picture, the cameraman's in gray."""
    astronaut = cv2.resize(data.astronaut(), (256, 256), interpolation=cv2.INTER_AREA)
    (plain,) = found.find(astronaut)
    (deep,) = found.find(astronaut.astype(np.uint16) * 257)
    (clear,) = found.find(np.dstack([astronaut, np.full((256, 256), 9, np.uint8)]))
    assert plain == clear
    assert overlap(plain, deep) > 0.98
    (cameraman,) = found.find(data.camera()[..., None])
    assert overlap(cameraman, Face(205, 105, 80, 80, 1.0)) > 0.4


@pytest.mark.parametrize("shape", [(1, 1, 1), (1, 900, 4), (2, 3, 2), (193, 5, 3)])
def test_odd_shapes_are_looked_through(found: Faces, shape: tuple[int, ...]) -> None:
    """Nothing is found in nothing."""
    assert found.find(np.full(shape, 130, np.uint8)) == []


def test_looking_tells_how_far_it_is(found: Faces) -> None:
    """Fractions rise to the end, and the faces are what it returns."""
    said: list[float] = []

    def look() -> Iterator[float]:
        faces_there = yield from found.look(data.astronaut())
        assert len(faces_there) == 1

    said.extend(look())
    assert said == sorted(said)
    assert said[-1] == pytest.approx(1.0)


def test_memory_grows_with_what_is_looked_for() -> None:
    """Small faces want the whole picture, larger ones a part of it."""
    picture = Picture(4000, 3000, 3, 8)
    assert faces.installed()
    assert faces.memory_bytes(picture, 8) > faces.memory_bytes(picture) > 0
    assert faces.memory_bytes(picture, 64) < faces.memory_bytes(picture, 8)
