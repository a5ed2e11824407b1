"""Smaller pictures and watermarks: light is kept, nothing shines through, sizes are those that were asked for."""

import os
from collections.abc import Callable
from typing import Any
from uuid import UUID

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from burnish.engines.catalogue import Render, find_model, output_refusal
from burnish.engines.engine import Engines, Job
from burnish.engines.photos import resize, watermark

Pixels = NDArray[Any]


def smaller(source: Pixels, height: int, width: int) -> Pixels:
    made = np.empty((height, width, source.shape[2]), source.dtype)
    assert list(resize.resize(source, made))[-1] == 1.0
    return made


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
@pytest.mark.parametrize("bits", [8, 16])
def test_a_flat_surface_keeps_its_level(channels: int, bits: int) -> None:
    """At every size, edges and corners too, whatever its depth."""
    kind = np.uint8 if bits == 8 else np.uint16
    for level in (0, 1, 77, 200, (1 << bits) - 1):
        flat = np.full((61, 47, channels), level, kind)
        if channels in (2, 4):
            flat[..., -1] = (1 << bits) - 1
        for size in ((60, 46), (13, 40), (1, 1)):
            assert np.abs(smaller(flat, *size).astype(int) - flat[0, 0]).max() <= (0 if bits == 8 else 1)


def test_it_is_light_that_is_averaged() -> None:
    """Black and white by turns are half as bright as white: level 188, not 128."""
    board = (np.indices((200, 200)).sum(0) % 2 * 255).astype(np.uint8)[..., None]
    assert (smaller(board, 25, 25)[3:-3, 3:-3] == 188).all()


def test_no_band_shows() -> None:
    """A slope stays one over every seam of rows and columns that are computed together."""
    slope = np.linspace(40, 220, 600)
    picture = np.broadcast_to(slope[None, :, None], (500, 600, 3)).round().astype(np.uint8)
    for turned in (picture, picture.transpose(1, 0, 2)):
        steps = np.diff(
            smaller(np.ascontiguousarray(turned), 211, 223).astype(int),
            axis=0 if turned is not picture else 1,
        )
        assert steps.min() >= 0
        assert steps.max() <= 2


def test_it_is_as_near_to_the_light_as_a_large_filter(photo: Pixels) -> None:
    """Against a mean of whole blocks in light, which is what a factor of four should come to, where nothing is sharp."""
    smooth = cv2.GaussianBlur(np.repeat(np.repeat(photo, 4, 0), 4, 1), (0, 0), 6)
    light = ((smooth / 255 + 0.055) / 1.055) ** 2.4
    blocks = light.reshape(40, 4, 56, 4, 3).mean((1, 3))
    wanted = (1.055 * blocks ** (1 / 2.4) - 0.055) * 255
    assert np.abs(smaller(smooth, 40, 56) - wanted)[2:-2, 2:-2].max() < 4


def test_colour_that_is_not_shown_does_not_count() -> None:
    """Beside a clear area of another colour, an edge keeps the colour that is seen."""
    picture = np.zeros((80, 80, 4), np.uint8)
    picture[..., 1] = 255
    picture[:, 40:] = (200, 30, 30, 255)
    made = smaller(picture, 27, 27)
    shown = made[made[..., 3] > 8]
    assert np.abs(shown[:, :3].astype(int) - (200, 30, 30)).max() <= 2


def test_a_watermark_is_everywhere_and_faint() -> None:
    """On black, gray and white, in every part as wide as a few letters; the picture's mean changes little, alpha never."""
    font = cv2.FontFace("sans")
    for level in (0, 128, 255):
        picture = np.full((600, 900, 4), level, np.uint8)
        picture[..., 3] = 99
        list(watermark.lay(picture, "Größe 例", font))
        changed = picture[..., 0] != level
        for top in range(0, 600 - 150, 150):
            for left in range(0, 900 - 225, 225):
                assert changed[top : top + 150, left : left + 225].any(), (level, top, left)
        assert np.abs(picture[..., 0].astype(int) - level).mean() < 12
        assert np.abs(picture[..., 0].astype(int) - level).max() < 100
        assert (picture[..., 3] == 99).all()


def test_a_watermark_needs_no_room() -> None:
    """One pixel, a line, an empty text, 16 bits."""
    for shape, text in (((1, 1, 1), "preview"), ((1, 500, 3), "preview"), ((30, 40, 2), "")):
        picture = np.full(shape, 30_000, np.uint16)
        assert list(watermark.lay(picture, text, cv2.FontFace("sans")))[-1] == 1.0


@pytest.mark.parametrize(
    ("asked", "size"),
    [
        ({}, (4_000, 3_000)),
        ({"scale": 0.5}, (2_000, 1_500)),
        ({"max_width": 800}, (800, 600)),
        ({"max_width": 9_000}, (4_000, 3_000)),
        ({"preview": True}, (1_024, 768)),
        ({"preview": True, "max_width": 100}, (100, 75)),
        ({"scale": 0.0001}, (1, 1)),
    ],
)
def test_the_smallest_of_what_is_asked_is_made(asked: dict[str, Any], size: tuple[int, int]) -> None:
    """And nothing is made larger."""
    model = find_model("render")
    assert model
    params = Render(image="x", **asked)
    assert model.size(params, 4_000, 3_000) == size
    assert output_refusal(model, params, 4_000, 3_000) is None


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize("mode", ["L", "RGB", "RGBA"])
async def test_a_rendition_comes_out_of_the_children(
    engines: Engines, opened: Callable[[bytes], int], photo: Pixels, file_of: Callable[..., bytes], mode: str
) -> None:
    """The whole way, behind the fences: smaller, with a watermark, in another format."""
    model = find_model("render")
    assert model
    data = file_of(Image.fromarray(photo).convert(mode).resize((560, 400)), "PNG")
    params = Render(image="x", max_width=280, watermark=True, format="webp")
    job = Job(UUID(int=1), model, params, [opened(data)], 60)
    (output,) = await engines.run(job, lambda _stage, _fraction: None)
    with os.fdopen(output.fd, "rb") as file:
        image = Image.open(file)
        image.load()
    assert (image.size, output.type) == ((280, 200), "image/webp")
