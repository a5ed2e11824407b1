"""Every format through the children, behind all their fences: in, and out again."""

import io
from collections.abc import Callable
from typing import Any

import numpy as np
import pillow_heif
import pytest
from numpy.typing import NDArray
from PIL import Image

from engines.dng import dng, mosaic

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest.mark.parametrize("format_", ["JPEG", "PNG", "WEBP", "TIFF", "GIF", "BMP", "AVIF", "HEIF", "raw"])
async def test_every_format_comes_in_behind_the_fences(
    upscaled: Callable[..., Any], photo: NDArray[np.uint8], format_: str
) -> None:
    """No decoder needs what a child may not do: open a file, start a process, load a library late."""
    pillow_heif.register_heif_opener()
    buffer = io.BytesIO()
    if format_ == "raw":
        buffer.write(dng(mosaic(photo / 255.0)))
    else:
        Image.fromarray(photo).save(buffer, format_)
    image, _ = await upscaled(buffer.getvalue(), format="png")
    assert image.size == (112, 80)


@pytest.mark.parametrize("mode", ["L", "LA", "RGB", "RGBA"])
@pytest.mark.parametrize("format_", ["jpeg", "png", "webp", "avif", "tiff"])
async def test_every_format_goes_out_behind_the_fences(
    upscaled: Callable[..., Any],
    photo: NDArray[np.uint8],
    file_of: Callable[..., bytes],
    format_: str,
    mode: str,
) -> None:
    """As above, of encoders."""
    data = file_of(Image.fromarray(photo).convert(mode), "PNG")
    image, output = await upscaled(data, format=format_)
    assert (output.type, image.size, str(image.format).lower()) == (f"image/{format_}", (112, 80), format_)
