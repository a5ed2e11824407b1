"""`cutout`: people come out of their pictures, edges and colours too, as a picture, a mask, or both."""

import io
import os
from collections.abc import Callable
from typing import Any

import cv2
import msgspec
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from skimage import data

from astronaut import mask, overlap
from burnish.engines.catalogue import find_model, output_measure, shapes_of
from burnish.engines.catalogue.cutout import Cutout
from burnish.engines.engine import Engines, Job, Output
from burnish.engines.networks.device import Device
from burnish.engines.photos import matting
from burnish.engines.runners import cutout
from burnish.engines.runners.cutout import Cutter
from burnish.engines.wire import Picture, Shot
from burnish.engines.work import Work

Pixels = NDArray[Any]


@pytest.fixture(scope="module")
def cutter() -> Cutter:
    return cutout.load(Device(2, "auto"))


@pytest.fixture(scope="module")
def astronaut() -> Pixels:
    """Half as large as the photo is, for speed."""
    made: Pixels = cv2.resize(data.astronaut(), (256, 256), interpolation=cv2.INTER_AREA)
    return made


@pytest.fixture(scope="module")
def there() -> NDArray[np.bool_]:
    """Where she is in that."""
    return cv2.resize(mask().astype(np.uint8) * 255, (256, 256), interpolation=cv2.INTER_AREA) >= 128


def made_of(cutter: Cutter, pixels: Pixels, **params: object) -> tuple[tuple[Pixels, ...], Work]:
    wanted = msgspec.convert({"image": "upload", **params}, Cutout)
    model = find_model("cutout")
    assert model
    shapes = shapes_of(model, wanted, pixels.shape[1], pixels.shape[0])
    room = tuple(np.zeros((shape.height, shape.width, shape.channels or 0), pixels.dtype) for shape in shapes)
    work = Work(msgspec.msgpack.encode(wanted), (pixels,), (Shot(),), room)
    done = list(cutter.run(work))
    assert done == sorted(done)
    assert done[-1] == 1.0
    return room, work


def test_the_astronaut_is_cut_out(cutter: Cutter) -> None:
    """In full size, held to an outline that was traced by hand."""
    ((made,), work) = made_of(cutter, data.astronaut(), **{"return": "mask"})
    assert overlap(made[..., 0] >= 128, mask()) > 0.95  # 0.85 is the goal
    assert work.notes == {}
    sure = cv2.erode(mask().astype(np.uint8), np.ones((21, 21)))[..., None].astype(bool)
    assert (made[sure] == 255).mean() > 0.98


def test_the_background_is_gone_from_the_edge(cutter: Cutter, astronaut: Pixels, there: Pixels) -> None:
    """Before a green wall, whatever shows through her hair is not green, though half of the pixel was the wall's."""
    part = cv2.GaussianBlur(there.astype(np.float32), (0, 0), 1)[..., None]
    pixels = (astronaut * part + np.array([20, 230, 30]) * (1 - part)).round().astype(np.uint8)
    ((made,), _) = made_of(cutter, pixels)
    opacity = made[..., 3] / 255.0
    head = (np.arange(256) < 70)[:, None]
    edge = head & (opacity > 0.25) & (opacity < 0.75)
    assert edge.sum() > 40

    def green(colours: Pixels) -> float:
        seen = colours[edge][:, :3].astype(float)
        return float((seen[:, 1] - seen[:, [0, 2]].max(1)).mean())

    assert green(pixels) > 25
    assert green(made) < green(pixels) / 4


def test_opaque_pixels_are_the_pictures_own(cutter: Cutter, astronaut: Pixels) -> None:
    """In 8 and in 16 bits, to the last bit."""
    deep = astronaut.astype(np.uint16) * 257 - (astronaut > 100).astype(np.uint16) * 3
    for pixels in (astronaut, deep):
        ((made,), _) = made_of(cutter, pixels)
        opaque = made[..., 3] == np.iinfo(pixels.dtype).max
        assert opaque.mean() > 0.4
        assert (made[..., :3][opaque] == pixels[opaque]).all()


def test_what_was_behind_is_nowhere_in_the_file(cutter: Cutter, astronaut: Pixels) -> None:
    """Clear pixels hold none of the old picture: another wall, far from her, leaves the same result."""
    other = astronaut.copy()
    other[2:40, 180:230] = (10, 200, 10)
    ((one,), _), ((two,), _) = made_of(cutter, astronaut), made_of(cutter, other)
    clear = (one[..., 3] == 0) & (two[..., 3] == 0)
    assert clear[2:40, 180:230].all()
    assert np.abs(one[2:40, 200:230, :3].astype(int) - two[2:40, 200:230, :3]).max() <= 2


def test_backgrounds_and_both_results(cutter: Cutter, astronaut: Pixels) -> None:
    """A colour is laid behind, and the mask beside it is the alpha that the cut-out would have."""
    ((clear, seen), _) = made_of(cutter, astronaut, **{"return": "both"})
    assert (clear[..., 3] == seen[..., 0]).all()
    for background, colour in (("white", 255), ("black", 0)):
        ((laid,), _) = made_of(cutter, astronaut, background=background)
        part = clear[..., 3:].astype(float) / 255
        expected = clear[..., :3] * part + colour * (1 - part)
        assert laid.shape[2] == 3
        assert np.abs(laid - expected).max() <= 1.5  # alpha was rounded too
    ((laid,), _) = made_of(cutter, astronaut, background="#10e0F0")
    assert (laid[seen[..., 0] == 0] == (0x10, 0xE0, 0xF0)).all()


def test_gray_and_alpha(cutter: Cutter, astronaut: Pixels, there: Pixels) -> None:
    """Gray is cut out too; what was transparent stays so."""
    gray = cv2.cvtColor(astronaut, cv2.COLOR_RGB2GRAY)[..., None]
    ((made,), _) = made_of(cutter, gray)
    assert overlap(made[..., 3] >= 128, there) > 0.9
    assert np.ptp(made[..., :3].astype(int), axis=2).max() <= 1
    veiled = np.dstack([astronaut, np.full((256, 256), 128, np.uint8)])
    veiled[:90, :, 3] = 0
    ((made,), _) = made_of(cutter, veiled)
    assert (made[:90, :, 3] == 0).all()
    assert made[..., 3].max() == 128


def test_an_edge_lies_where_the_large_picture_has_it(cutter: Cutter) -> None:
    """Of a picture far larger than what the matte is solved on, rows are made a few at a time, and show no seam."""
    large = cv2.resize(data.astronaut(), (1536, 1536), interpolation=cv2.INTER_CUBIC)
    ((made,), _) = made_of(cutter, large, **{"return": "mask"})
    assert overlap(made[..., 0] >= 128, mask(3)) > 0.95
    rows = made[..., 0].astype(int)
    steps = np.abs(np.diff(rows, axis=0)).mean(1)
    seams = np.arange(cutout._STRIP_PIXELS // 1536, 1535, cutout._STRIP_PIXELS // 1536) - 1
    beside = (steps[seams - 2] + steps[seams + 2]) / 2
    assert (steps[seams] <= beside * 1.5 + 0.5).all()


def test_nobody_gives_an_empty_mask_and_says_so(cutter: Cutter) -> None:
    """And something that only looks like somebody is said to have no face."""
    ((made,), work) = made_of(cutter, data.rocket())
    assert (made[..., 3] == 0).all()
    assert work.notes == {"people": cutout.NOBODY}
    _, work = made_of(cutter, data.chelsea())
    assert work.notes == {"people": cutout.NO_FACE}


@pytest.mark.parametrize("shape", [(1, 1, 3), (1, 300, 4), (200, 2, 1), (33, 47, 2)])
def test_odd_shapes(cutter: Cutter, shape: tuple[int, int, int]) -> None:
    """Nothing is found in them, and nothing breaks."""
    ((made, seen), _) = made_of(cutter, np.full(shape, 120, np.uint8), **{"return": "both"})
    assert made.shape == (*shape[:2], 4)
    assert seen.shape == (*shape[:2], 1)


def test_a_matte_of_certainty_is_that_certainty() -> None:
    """Where nothing is unsure, nothing is solved for."""
    rng = np.random.default_rng(1)
    picture = rng.random((30, 40, 3), np.float32)
    for level in (0.0, 1.0):
        assert (matting.matte(picture, np.full((30, 40), level, np.float32)) == level).all()


def test_a_matte_finds_a_known_opacity() -> None:
    """A soft edge between two colours comes out as it was laid, though the network said where it is only roughly."""
    across = np.arange(400, dtype=np.float32)
    truth = np.tile(np.clip((across - 197) / 6, 0, 1), (80, 1))
    rng = np.random.default_rng(2)
    picture = truth[..., None] * (0.8, 0.3, 0.2) + (1 - truth[..., None]) * (0.1, 0.5, 0.7)
    picture = (picture + rng.normal(0, 0.005, picture.shape)).astype(np.float32)
    rough = np.tile(np.clip((across - 192) / 12, 0, 1), (80, 1)).astype(
        np.float32
    )  # two pixels off, twice as soft
    found = matting.matte(picture, rough)
    assert np.abs(rough - truth).max() > 0.3
    assert np.abs(found - truth).max() < 0.15


@pytest.mark.parametrize(
    ("params", "problem"),
    [
        ({"return": "all"}, "return"),
        ({"background": "green"}, "background"),
        ({"background": "#12345"}, "background"),
        ({"of": "dog"}, "of"),
        ({"return_": "mask"}, "return_"),
    ],
)
def test_wrong_parameters_are_named(params: dict[str, str], problem: str) -> None:
    """Each by its own name."""
    with pytest.raises(msgspec.ValidationError, match=problem):
        msgspec.convert({"image": "upload", **params}, Cutout)


def test_memory_is_stated_and_the_price_is_by_the_task(cutter: Cutter) -> None:
    """Large pictures take hardly more, as they are worked on in strips."""
    params = msgspec.msgpack.encode(Cutout(image="upload"))
    small, large = (cutter.memory_bytes(params, [Picture(side, side, 3, 8)]) for side in (10, 8000))
    assert small <= large < 600 * 1024 * 1024
    model = find_model("cutout")
    assert model
    assert model.price == "segmentation"
    assert output_measure(model, Cutout(image="upload"), 30, 20).width == 30


@pytest.mark.asyncio(loop_scope="module")
async def test_from_a_photo_to_files(
    engines: Engines,
    opened: Callable[[bytes], int],
    file_of: Callable[..., bytes],
    account: Any,
    astronaut: Pixels,
) -> None:
    """Through the children, with their limits: a cut-out and a mask, told apart by the role."""
    model = find_model("cutout")
    assert model
    wanted = msgspec.convert({"image": "upload", "return": "both"}, Cutout)
    profile = Image.open(io.BytesIO(file_of(astronaut, "JPEG"))).info.get("icc_profile")
    assert profile is None
    job = Job(account, model, wanted, [opened(file_of(astronaut, "JPEG", quality=95))], 60.0)
    cut, seen = await engines.run(job, lambda _stage, _part: None)
    assert (cut.role, seen.role) == (None, "mask")
    assert (cut.type, seen.type) == ("image/png", "image/png")
    assert (picture(cut).mode, picture(seen).mode) == ("RGBA", "L")


def picture(output: Output) -> Image.Image:
    with os.fdopen(output.fd, "rb") as file:
        image = Image.open(io.BytesIO(file.read()))
    image.load()
    return image
