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
