"""`upscale` through its children: every kind of picture in, the right picture out."""

import asyncio
import io
import os
from collections.abc import Callable
from importlib.resources import files
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from burnish import settings
from burnish.engines.catalogue import Noop, find_model
from burnish.engines.engine import Engines, Job
from burnish.errors import Failed

pytestmark = pytest.mark.asyncio(loop_scope="module")

FileOf = Callable[..., bytes]
Pixels = NDArray[np.uint8]
Upscaled = Callable[..., Any]


@pytest.mark.parametrize("format_", ["PNG", "JPEG", "WEBP", "TIFF", "BMP", "GIF"])
async def test_the_result_has_the_inputs_format_where_that_can_be_written(
    upscaled: Upscaled, photo: Pixels, file_of: FileOf, format_: str
) -> None:
    """BMP and GIF become PNG, the others stay what they are; what is said of the file is true of it."""
    image, output = await upscaled(file_of(photo, format_))
    expected = {"BMP": "png", "GIF": "png"}.get(format_, format_.lower())
    assert image.format.lower() == expected
    assert output.type == f"image/{expected}"
    assert output.extension == {"jpeg": "jpg"}.get(expected, expected)
    assert image.size == (output.width, output.height) == (112, 80)
    plain = np.asarray(Image.fromarray(photo).resize((112, 80), Image.Resampling.BICUBIC)).astype(int)
    assert np.abs(np.asarray(image.convert("RGB")).astype(int) - plain).mean() < 12


@pytest.mark.parametrize("format_", ["png", "jpeg", "webp", "tiff"])
@pytest.mark.parametrize(("mode", "scale"), [("restore", 4), ("faithful", 4), ("restore", 2)])
async def test_every_mode_into_every_format(
    upscaled: Upscaled, photo: Pixels, file_of: FileOf, mode: str, scale: int, format_: str
) -> None:
    """Scale, mode and format are heard in any combination."""
    image, output = await upscaled(file_of(photo[:9, :11], "PNG"), mode=mode, scale=scale, format=format_)
    assert image.size == (11 * scale, 9 * scale)
    assert output.type == f"image/{format_}"


@pytest.mark.parametrize("mode", ["L", "1", "LA", "RGBA"])
async def test_gray_and_alpha_come_out_as_they_went_in(
    upscaled: Upscaled, photo: Pixels, file_of: FileOf, mode: str
) -> None:
    """Gray stays gray, and transparency is enlarged with the picture."""
    given = Image.fromarray(photo).convert(mode)
    if "A" in mode:
        given.putalpha(Image.fromarray(np.where(photo[..., 0] > 100, 255, 0).astype(np.uint8)))
    image, _ = await upscaled(file_of(given, "PNG"))
    assert image.mode == {"1": "L"}.get(mode, mode)
    if "A" in mode:
        alpha, was = np.asarray(image.getchannel("A")), np.asarray(given.getchannel("A"))
        assert np.abs(alpha.reshape(40, 2, 56, 2).mean((1, 3)) - was).mean() < 12


async def test_16_bits_stay_16_bits(upscaled: Upscaled, file_of: FileOf) -> None:
    """PNG and TIFF keep them; the note of a JPEG says that they were rounded."""
    gray = (20_000 + np.arange(20)[None, :] * 30 + np.arange(16)[:, None] * 7).astype(np.uint16)
    for format_ in ("png", "tiff"):
        image, output = await upscaled(file_of(gray, "PNG"), format=format_)
        values = np.asarray(image)
        assert values.dtype.itemsize > 1
        assert len(np.unique(values)) > 300
        assert abs(values.mean() - gray.mean()) < 100
        assert output.notes == {}
    _, output = await upscaled(file_of(gray, "PNG"), format="jpeg")
    assert "bits" in output.notes


async def test_orientation_size_and_profile_hold_through_the_whole_way(
    upscaled: Upscaled, photo: Pixels, file_of: FileOf
) -> None:
    """A photo taken upright comes out upright, twice as large, and nothing turns it again."""
    exif = Image.Exif()
    exif[0x0112] = 6
    exif[0x0110] = "Camera"
    image, output = await upscaled(file_of(photo, "JPEG", exif=exif.tobytes(), quality=95))
    assert image.size == (output.width, output.height) == (80, 112)
    assert image.getexif().get(0x0112, 1) == 1
    assert image.getexif()[0x0110] == "Camera"
    upright = np.asarray(Image.fromarray(photo).transpose(Image.Transpose.ROTATE_270).resize((80, 112)))
    assert np.abs(np.asarray(image).astype(int) - upright).mean() < 12


async def test_the_bundled_photo_can_be_enhanced(upscaled: Upscaled) -> None:
    """The quickstart's own picture."""
    image, output = await upscaled(files("burnish.samples").joinpath("photo.jpg").read_bytes())
    assert image.size == (1_200, 800)
    assert output.size_bytes > 50_000


async def test_progress_rises_to_the_end(engines: Engines, job: Callable[..., Job], file_of: FileOf) -> None:
    """Work first, then storing; fractions never fall."""
    heard: list[tuple[str, float]] = []
    data = file_of(Image.new("RGB", (50, 40), "teal"), "PNG")
    outputs = await engines.run(job(data), lambda *step: heard.append(step))
    os.close(outputs[0].fd)
    working = [fraction for stage, fraction in heard if stage == "working"]
    assert working == sorted(working)
    assert working[0] == 0
    assert working[-1] == 1
    assert heard[-1][0] == "storing"


async def test_several_jobs_at_once_give_each_its_own(
    engines: Engines, job: Callable[..., Job], file_of: FileOf
) -> None:
    """They share one inference child and do not mix."""
    levels = (10, 90, 170, 250)
    jobs = [
        job(file_of(Image.new("RGB", (30, 20 + n), (level,) * 3), "PNG")) for n, level in enumerate(levels)
    ]
    results = await asyncio.gather(*(engines.run(work, lambda *_: None) for work in jobs))
    for n, (level, (output,)) in enumerate(zip(levels, results, strict=True)):
        with os.fdopen(output.fd, "rb") as file:
            image = Image.open(io.BytesIO(file.read()))
        assert image.size == (60, 2 * (20 + n))
        assert np.abs(np.asarray(image).astype(int) - level).max() <= 2


async def test_noop_needs_neither_bytes_nor_children(account: Any) -> None:
    """For tests and benches: it waits, and ends as it is asked to."""
    model = find_model("noop")
    assert model
    alone = Engines(settings.Engines())
    assert await alone.run(Job(account, model, Noop(), [], 5.0), lambda *_: None) == []
    with pytest.raises(Failed) as failed:
        await alone.run(Job(account, model, Noop(fail="decode_failed"), [], 5.0), lambda *_: None)
    assert failed.value.reason == "decode_failed"
    with pytest.raises(Failed) as failed:
        await alone.run(Job(account, model, Noop(seconds=50), [], 0.01), lambda *_: None)
    assert failed.value.reason == "deadline_exceeded"
    await alone.close()
