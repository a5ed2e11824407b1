"""`sky` through its children: every kind of pixels in, alpha and depth kept, and a word where nothing was done."""

import io
import os
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from PIL import Image

from burnish.engines.catalogue import Sky, find_model
from burnish.engines.engine import Engines, Job, Output
from scenes import under_the_sky

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest.fixture
def painted(engines: Engines, opened: Callable[[bytes], int], account: Any) -> Callable[..., Any]:
    """A file and parameters -> the picture that came out, and the `Output`."""

    async def run(file: bytes, **params: Any) -> tuple[Image.Image, Output]:
        model = find_model("sky")
        assert model
        job = Job(account, model, Sky(image="upload", **params), [opened(file)], 60.0)
        (output,) = await engines.run(job, lambda _stage, _fraction: None)
        with os.fdopen(output.fd, "rb") as made:
            image = Image.open(io.BytesIO(made.read()))
        image.load()
        return image, output

    return run


async def test_a_gray_sky_becomes_blue(painted: Any, file_of: Any) -> None:
    """With alpha as it was, and what was done said."""
    picture, _, _ = under_the_sky("overcast", 1, 200, 300)
    pixels = np.round(picture * 255).astype(np.uint8)
    clear = np.dstack([pixels, np.full(pixels.shape[:2], 77, np.uint8)])
    image, output = await painted(file_of(clear, "PNG"), kind="clear")
    made = np.asarray(image).astype(int)
    assert (made[..., 3] == 77).all()
    top = made[:20, 150:]
    assert top[..., 2].mean() > top[..., 0].mean() + 40
    assert output.notes["sky"].startswith("The sky was replaced")


@pytest.mark.parametrize("mode", ["L", "RGB"])
async def test_without_a_sky_the_picture_is_as_it_was(
    painted: Any, photo: Any, file_of: Any, mode: str
) -> None:
    """Gray, and without a sky."""
    photo = (photo * (1.0, 0.5, 0.2)).astype(np.uint8)  # nothing in it is blue
    image, output = await painted(file_of(Image.fromarray(photo).convert(mode), "PNG"))
    assert np.array_equal(np.asarray(image), np.asarray(Image.fromarray(photo).convert(mode)))
    assert "sky" in output.notes


async def test_a_panorama_is_told_by_its_shape_or_by_who_asks(painted: Any, file_of: Any) -> None:
    """Twice as wide as high and large enough, or said to be one: the edges of the new sky meet; said to be none: not."""
    half, _, _ = under_the_sky("overcast", 3, 512, 512)
    large = np.round(np.hstack([half, half[:, ::-1]] * 2) * 255).astype(np.uint8)[:, :2048]
    large = np.vstack([large, large[::-1]])
    for size, said, round_ in (
        ((2048, 1024), None, True),
        ((2048, 1024), False, False),
        ((700, 350), True, True),
        ((700, 350), None, False),
    ):
        params = {} if said is None else {"panorama": said}
        file = file_of(Image.fromarray(large).resize(size, Image.Resampling.BOX), "PNG")
        image, output = await painted(file, kind="high_cloud", seed=5, **params)
        assert output.notes["sky"].startswith("The sky was replaced")
        made = np.asarray(image).astype(int)[: size[1] // 8]
        assert (np.abs(made[:, 0] - made[:, -1]).mean() < 4) == round_
