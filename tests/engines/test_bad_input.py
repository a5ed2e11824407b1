"""Bad files: the right reason and a message that helps, or the right picture; and the next task is fine."""

import os
import random
import struct
import time
import zlib
from collections.abc import Callable
from dataclasses import replace
from typing import Any
from uuid import UUID

import numpy as np
import pillow_heif
import pytest
from numpy.typing import NDArray
from PIL import Image

from burnish import settings
from burnish.engines.engine import Engines, Job, Probe
from burnish.errors import Failed
from engines.dng import dng, mosaic

pytestmark = pytest.mark.asyncio(loop_scope="module")

FileOf = Callable[..., bytes]
Opened = Callable[[bytes], int]
Pixels = NDArray[np.uint8]

FORMATS: list[tuple[str, dict[str, Any]]] = [
    *(("PNG", {}), ("JPEG", {}), ("JPEG", {"progressive": True}), ("GIF", {}), ("BMP", {}), ("WEBP", {})),
    *(("TIFF", {}), ("TIFF", {"compression": "tiff_lzw"}), ("TIFF", {"compression": "jpeg"})),
]


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(width: int, height: int, rows: bytes = b"", colour: int = 0) -> bytes:
    """A PNG whose header says anything; gray unless `colour` says otherwise."""
    header = struct.pack(">IIBBBBB", width, height, 8, colour, 0, 0, 0)
    body = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + body


def bomb(format_: str, file_of: FileOf) -> bytes:
    """A small file whose header says 50,000 x 50,000."""
    side = 50_000
    tiny = bytearray(file_of(Image.new("RGB", (8, 8)), format_))
    match format_:
        case "PNG":
            return png(side, side, b"\0" * 100_000)
        case "GIF":
            tiny[6:10] = struct.pack("<HH", side, side)
        case "BMP":
            tiny[18:26] = struct.pack("<ii", side, side)
        case "JPEG":
            at = tiny.index(b"\xff\xc0")
            tiny[at + 5 : at + 9] = struct.pack(">HH", side, side)
        case "TIFF":
            (at,) = struct.unpack_from("<I", tiny, 4)
            (count,) = struct.unpack_from("<H", tiny, at)
            for entry in range(at + 2, at + 2 + 12 * count, 12):
                if struct.unpack_from("<H", tiny, entry)[0] in (256, 257):
                    tiny[entry + 2 : entry + 12] = struct.pack("<HII", 4, 1, side)
    return bytes(tiny)


async def ended(engines: Engines, work: Job) -> Failed | None:
    """How a job ends: None for a result."""
    try:
        for output in await engines.run(work, lambda _stage, _fraction: None):
            os.close(output.fd)
    except Failed as failed:
        return failed
    return None


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "empty"),
        (b"hello, this is text", "not a picture"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "SVG"),
        (b"\xef\xbb\xbf<?xml version='1.0'?><svg/>", "SVG"),
        (b"<!DOCTYPE html><html></html>", "web page"),
        (b"%PDF-1.7 ....", "PDF"),
        (b"PK\x03\x04aaaaaaaa", "ZIP"),
        (b"RIFF\0\0\0\0WAVEfmt ", "recording"),
        (b"\x00" * 100, "not a picture"),
    ],
)
async def test_what_is_no_picture_is_named(
    engines: Engines, opened: Opened, account: UUID, data: bytes, words: str
) -> None:
    """Whoever sent it by mistake learns what they sent, and what they could have."""
    with pytest.raises(Failed, match=words) as failed:
        await engines.probe(account, opened(data), 10)
    assert failed.value.reason == "unsupported_format"
    assert "JPEG" in failed.value.message


@pytest.mark.parametrize("format_", ["PNG", "GIF", "BMP", "JPEG", "TIFF"])
async def test_bombs_are_refused_by_their_header(
    engines: Engines, opened: Opened, account: UUID, job: Callable[..., Job], file_of: FileOf, format_: str
) -> None:
    """50,000 x 50,000 pixels in a few bytes: nothing is unpacked, and the message says the size and the limit."""
    data = bomb(format_, file_of)
    with pytest.raises(Failed, match=r"50000 x 50000 .*70\.0 megapixels") as failed:
        await engines.probe(account, opened(data), 10)
    assert failed.value.reason == "input_too_large"
    again = await ended(engines, job(data))
    assert again
    assert again.reason == "input_too_large"


@pytest.mark.parametrize(("format_", "options"), FORMATS)
async def test_truncated_files_fail_at_any_length(
    engines: Engines,
    job: Callable[..., Job],
    photo: Pixels,
    file_of: FileOf,
    format_: str,
    options: dict[str, Any],
) -> None:
    """Cut anywhere, a file is said to be cut or damaged; never half a picture, never our fault."""
    data = file_of(photo, format_, **options)
    for part in (0.02, 0.1, 0.5, 0.9):
        failed = await ended(engines, job(data[: max(12, int(len(data) * part))]))
        assert failed, part
        assert failed.reason in ("decode_failed", "unsupported_format"), part
        assert "Traceback" not in failed.message


async def test_a_lying_header_fails_its_task(engines: Engines, job: Callable[..., Job]) -> None:
    """More pixels promised than the file holds."""
    failed = await ended(engines, job(png(4_000, 4_000, b"\0" * 5_000)))
    assert failed
    assert failed.reason == "decode_failed"


@pytest.mark.parametrize("size", [(0, 5), (5, 0), (0, 0)])
async def test_an_empty_picture_is_damaged(
    engines: Engines, opened: Opened, account: UUID, size: tuple[int, int]
) -> None:
    """A header that says no pixels is not an internal error."""
    with pytest.raises(Failed) as failed:
        await engines.probe(account, opened(png(*size)), 10)
    assert failed.value.reason == "decode_failed"


async def test_a_wrong_name_does_not_matter(
    engines: Engines, opened: Opened, account: UUID, photo: Pixels, file_of: FileOf
) -> None:
    """The type is what the bytes are, with what stands behind them ignored."""
    data = file_of(photo, "PNG") + b"<svg/>" + b"%PDF"
    probe = await engines.probe(account, opened(data), 10)
    assert (probe.type, probe.extension, probe.width, probe.height) == ("image/png", "png", 56, 40)


async def test_exif_bombs_lose_their_exif_only(
    engines: Engines, job: Callable[..., Job], photo: Pixels, file_of: FileOf
) -> None:
    """EXIF that points everywhere and claims billions of values costs the EXIF, not the picture."""
    entries = b"".join(
        struct.pack("<HHII", 0x8769 if n % 2 else 0x9286, 7, 0xFFFF_FFFF, 8) for n in range(400)
    )
    exif = b"Exif\0\0II*\0\x08\0\0\0" + struct.pack("<H", 400) + entries + b"\0\0\0\0"
    assert await ended(engines, job(file_of(photo, "JPEG", exif=exif), format="png")) is None


async def test_an_allocation_past_the_limit_fails_that_task_alone(
    job: Callable[..., Job], photo: Pixels, file_of: FileOf
) -> None:
    """A decoder that wants more memory than there is for it is told no; the next task is fine."""
    poor = Engines(replace(settings.Engines(), memory_bytes=64 * 1024 * 1024, threads=1))
    try:
        failed = await ended(poor, job(png(8_000, 8_000, b"\0" * 24_001 * 8_000, colour=2)))
        assert failed
        assert failed.reason == "input_too_large"
        assert "memory" in failed.message
        assert await ended(poor, job(file_of(photo, "PNG"))) is None
    finally:
        await poor.close()


async def test_work_past_the_deadline_is_stopped(
    engines: Engines, job: Callable[..., Job], photo: Pixels, file_of: FileOf
) -> None:
    """A picture that decodes for longer than its task may take ends at its deadline; the next task is fine."""
    slow = png(8_000, 8_000, b"\0" * 8_001 * 8_000)
    started = time.monotonic()
    failed = await ended(engines, job(slow, seconds=0.05))
    assert failed
    assert failed.reason == "deadline_exceeded"
    assert time.monotonic() - started < 5
    assert await ended(engines, job(file_of(photo, "PNG"))) is None


async def test_results_that_cannot_be_are_refused_before_the_work(
    engines: Engines, job: Callable[..., Job]
) -> None:
    """The size of the result is checked again where the work is done."""
    failed = await ended(engines, job(png(9_000, 1, b"\0" * 9_001), format="webp"))
    assert failed
    assert failed.reason == "output_too_large"


async def test_an_output_falls_back_to_png_where_its_own_format_cannot_hold_it(
    upscaled: Callable[..., Any], file_of: FileOf
) -> None:
    """Nobody asked for WebP by name, so the result is one that can be."""
    image, output = await upscaled(file_of(Image.new("RGB", (8_500, 2)), "WEBP"))
    assert (output.type, image.size) == ("image/png", (17_000, 4))


async def test_mutated_files_give_a_reason_or_a_picture(
    engines: Engines, opened: Opened, job: Callable[..., Job], photo: Pixels, file_of: FileOf
) -> None:
    """Bytes changed, cut, doubled at random: never an internal error, never a hang, and the engine lives."""
    dice = random.Random(20)
    seeds = [file_of(photo[:12, :14], format_, **options) for format_, options in FORMATS]
    seeds.append(file_of(Image.fromarray(photo).quantize(9).crop((0, 0, 9, 9)), "PNG", transparency=2))
    seeds.append(file_of(Image.fromarray(photo).convert("CMYK").crop((0, 0, 9, 9)), "JPEG"))
    pillow_heif.register_heif_opener()
    seeds += [file_of(photo[:16, :16], format_) for format_ in ("HEIF", "AVIF")]
    seeds.append(dng(mosaic(photo / 255.0)))
    for _ in range(100):
        data = mutated(dice.choice(seeds), dice)
        probed = await header(engines, opened(data))
        if isinstance(probed, Failed) or probed.width * probed.height < 5_000:
            failed = probed if isinstance(probed, Failed) else await ended(engines, job(data, seconds=20.0))
            reasons = {"unsupported_format", "decode_failed", "input_too_large"}
            assert failed is None or failed.reason in reasons, failed
    assert await ended(engines, job(file_of(photo, "PNG"))) is None


async def header(engines: Engines, descriptor: int) -> Probe | Failed:
    try:
        return await engines.probe(UUID(int=1), descriptor, 20)
    except Failed as failed:
        return failed


def mutated(data: bytes, dice: random.Random) -> bytes:
    changed = bytearray(data)
    for _ in range(dice.choice((1, 1, 2, 6))):
        at = dice.randrange(len(changed))
        match dice.randrange(5):
            case 0:
                changed[at] = dice.randrange(256)
            case 1:
                changed[at] ^= 1 << dice.randrange(8)
            case 2:
                del changed[max(at, 8) :]
            case 3:
                changed[at : at + 4] = struct.pack(
                    "<I", dice.choice((0, 1, 0xFFFF, 0x7FFF_FFFF, 0xFFFF_FFFF))
                )
            case 4:
                changed[at:at] = changed[at : at + dice.randrange(1, 40)]
    return bytes(changed)
