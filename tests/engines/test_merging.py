"""`merge` through its children: several pictures in, one out, and a plain word for those that do not belong together."""

import asyncio
import io
import os
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from PIL import Image

from burnish import settings
from burnish.engines.catalogue import Merge, find_model
from burnish.engines.engine import Engines, Job, Output
from burnish.errors import Failed

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest.fixture
def merged(engines: Engines, opened: Callable[[bytes], int], account: Any) -> Callable[..., Any]:
    """Files and parameters -> the picture that came out, and the `Output`."""

    async def run(files: list[bytes], **params: Any) -> tuple[Image.Image, Output]:
        model = find_model("merge")
        assert model
        wanted = Merge(images=["upload"] * len(files), **params)
        job = Job(account, model, wanted, [opened(file) for file in files], 60.0)
        (output,) = await engines.run(job, lambda _stage, _fraction: None)
        with os.fdopen(output.fd, "rb") as file:
            image = Image.open(io.BytesIO(file.read()))
        image.load()
        return image, output

    return run


def brackets(photo: Any) -> list[Any]:
    light = (photo / 255.0) ** 2.2
    return [np.round(np.clip(light * 2.0**ev, 0, 1) ** (1 / 2.2) * 255).astype(np.uint8) for ev in (-2, 0, 2)]


async def test_brackets_become_one_picture(merged: Any, photo: Any, file_of: Any) -> None:
    """As large as they are, in the format of the first, with more of the dark and the bright than the middle one has."""
    dark, middle, bright = brackets(photo)
    image, output = await merged([file_of(dark, "PNG"), file_of(middle, "JPEG"), file_of(bright, "PNG")])
    assert (output.type, image.size) == ("image/png", (56, 40))
    made = np.asarray(image).astype(int)
    assert np.corrcoef(made.mean(2).ravel(), middle.mean(2).ravel())[0, 1] > 0.9


async def test_several_kinds_of_pixels_meet(merged: Any, photo: Any, file_of: Any) -> None:
    """Transparent, gray and opaque: the result is of the first one's kind."""
    dark, middle, bright = brackets(photo)
    clear = np.dstack([dark, np.full(dark.shape[:2], 128, np.uint8)])
    files = [
        file_of(clear, "PNG"),
        file_of(Image.fromarray(middle).convert("L"), "PNG"),
        file_of(bright, "PNG"),
    ]
    image, _ = await merged(files)
    assert image.mode == "RGBA"
    assert set(np.asarray(image)[..., 3].ravel()) == {128}


async def test_one_task_does_a_whole_photo(merged: Any, photo: Any, file_of: Any) -> None:
    """Merged, windows pulled, styled, its sky looked for, faces hidden, twice as large: one task, each step with its note."""
    files = [file_of(one, "PNG") for one in brackets(photo)]
    image, output = await merged(
        files,
        window_pull="windows_with_skies",
        style="property",
        straighten=True,
        sky="low_cloud",
        privacy=True,
        upscale=True,
    )
    assert {"enhance", "straighten", "sky", "faces", "plates"} <= set(output.notes)
    assert image.width <= 112
    assert image.width > 80


async def test_brackets_of_two_sizes_are_refused(merged: Any, photo: Any, file_of: Any) -> None:
    """The message says which is another."""
    with pytest.raises(Failed, match=r"images\[1\] is 56 x 39 pixels and images\[0\] is 56 x 40") as failed:
        await merged([file_of(photo, "PNG"), file_of(photo[:-1], "PNG")])
    assert failed.value.reason == "engine_refused"


async def test_nine_large_brackets_fit_into_the_stated_memory(opened: Any, account: Any) -> None:
    """The fence is the pixels and what the runner states; nine of 3 megapixels stay inside."""
    model = find_model("merge")
    assert model
    slope = np.linspace(20, 235, 2000).astype(np.uint8)
    files = []
    for number in range(9):
        buffer = io.BytesIO()
        Image.fromarray(np.tile(slope // (number + 1), (1500, 1))).convert("RGB").save(buffer, "JPEG")
        files.append(opened(buffer.getvalue()))
    engines = Engines(settings.Engines(threads=2))
    try:
        job = Job(account, model, Merge(images=["u"] * 9), files, 60.0)
        (output,) = await engines.run(job, lambda _stage, _fraction: None)
        os.close(output.fd)
        assert (output.width, output.height) == (2000, 1500)
    finally:
        await engines.close()
        await asyncio.sleep(0)


async def test_panoramas_are_merged_as_such(merged: Any, photo: Any, file_of: Any) -> None:
    """Windows, skies and light go all the way round; lens and verticals are left, and that is said."""
    half = np.hstack([photo, photo[:, ::-1]])
    files = [file_of(one, "PNG") for one in brackets(half)]
    params = {"window_pull": "windows_with_skies", "style": "neutral", "lens": True, "straighten": True}
    image, output = await merged(files, panorama=True, sky="clear", **params)
    assert image.size == (112, 40)
    assert "panorama" in output.notes["lens"]
    assert "panorama" in output.notes["straighten"]
