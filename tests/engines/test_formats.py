"""What each format keeps, as docs/reference/formats.md says it in two tables: every cell is tried.

Also the formats that came later: HEIF, AVIF, Targa and raw photos in, AVIF out; and how a picture was taken.
"""

import io
import os
import re
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import msgspec
import numpy as np
import pillow_heif
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageCms
from PIL.PngImagePlugin import PngInfo
from pillow_heif.constants import HeifCompressionFormat
from pillow_heif.misc import CtxEncode

from burnish.engines import catalogue
from burnish.engines.pictures import read, write
from burnish.engines.pictures.boxes import said
from burnish.engines.pictures.shot import shot
from burnish.engines.wire import Encode, Format, Limits, Metadata, Picture, Shot
from burnish.errors import Failed
from engines.dng import dng, mosaic

Pixels = NDArray[Any]

PAGE: Final = Path(__file__).parents[2] / "docs/reference/formats.md"
SRGB: Final = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
XMP: Final = b"<x:xmpmeta xmlns:x='adobe:ns:meta/'/>"
#: Wide enough that a decoder which turns it shows.
SIZE: Final = (56, 40)


def exif(orientation: int = 1) -> Image.Exif:
    made = Image.Exif()
    made[0x010F] = "Nobody"
    if orientation != 1:
        made[0x0112] = orientation
    return made


def come_in(data: bytes, tmp_path: Path, name: str = "") -> tuple[Pixels, read.Read]:
    target = os.open(tmp_path / "pixels", os.O_RDWR | os.O_CREAT | os.O_TRUNC)
    try:
        found = read.decode(io.BytesIO(data), target, 10**6, lambda _pixels: None, name)
        raw = os.pread(target, found.picture.size_bytes + 1, 0)
    finally:
        os.close(target)
    kind = np.uint8 if found.picture.bits == 8 else np.dtype("<u2")
    return np.frombuffer(raw, kind).reshape(found.picture.height, found.picture.width, -1), found


def go_out(pixels: Pixels, format_: Format, tmp_path: Path, metadata: Metadata | None = None) -> Image.Image:
    height, width, channels = pixels.shape
    said = {"width": width, "height": height, "channels": channels, "bits": 8 * pixels.itemsize}
    wanted = Encode(
        Limits(1, 1, 1),
        msgspec.convert(said, Picture),
        format_,
        90,
        "keep",
        metadata or Metadata(),
    )
    (tmp_path / "raw").write_bytes(pixels.tobytes())
    out = io.BytesIO()
    with (tmp_path / "raw").open("rb") as source:
        write.encode(source.fileno(), wanted, out)
    image = Image.open(io.BytesIO(out.getvalue()))
    image.load()
    return image


# --- the tables ---------------------------------------------------------------------------------------------------


def table(heading: str) -> Iterator[tuple[str, str, bool]]:
    """(format, what, whether it is kept) of the table below a heading."""
    section = PAGE.read_text("utf-8").partition(f"## {heading}\n")[2].partition("\n## ")[0]
    lines = [line for line in section.splitlines() if line.startswith("|")]
    (_, *names), _, *formats = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    for format_, *cells in formats:
        for name, cell in zip(names, cells, strict=True):
            assert re.match(r"yes|no", cell), (format_, name, cell)
            yield format_.split()[0].lower(), name, cell.startswith("yes")


IN: Final = list(table("In"))
OUT: Final = list(table("Out"))


def a_file(format_: str, what: str) -> bytes | None:  # noqa: PLR0912 - one place for every way that a format has
    """A file of that format that has the thing, or None where the format has no such files."""
    rng = np.random.default_rng(3)
    colour = Image.fromarray(rng.integers(30, 220, (*SIZE[::-1], 3)).astype(np.uint8))
    image: Image.Image = colour
    options: dict[str, Any] = {}
    match what:
        case "gray":
            image = colour.convert("L")
        case "alpha":
            image = colour.convert("RGBA")
            image.putalpha(120)
        case "16 bit":
            return _of_16_bits(format_)
        case "ICC":
            options["icc_profile"] = SRGB
        case "EXIF":
            options["exif"] = exif()
        case "XMP":
            options["xmp"] = XMP
        case "dpi":
            options["dpi"] = (300, 300)
        case "orientation":
            options["exif"] = exif(6)
    if format_ == "raw":
        return _raw(what)
    if format_ == "heif":
        pillow_heif.register_heif_opener()
        if what == "orientation":
            return _turned_heif(colour)
    if format_ == "jpeg" and what == "alpha":
        return None
    if format_ == "bmp" and what == "alpha":
        return bmp_with_alpha()
    if format_ == "gif" and what == "alpha":
        image = image.convert("RGB").quantize(8)
        options["transparency"] = 3
    if format_ == "png" and what == "XMP":
        options = {"pnginfo": _png_xmp()}
    if format_ == "tiff" and "exif" in options:
        options = {"tiffinfo": options["exif"]}
    if format_ == "tiff" and what == "XMP":
        options = {"tiffinfo": {700: XMP}}
    if format_ in ("bmp", "tga", "gif") and what in ("ICC", "EXIF", "XMP", "orientation"):
        return None
    if what == "dpi" and format_ in ("webp", "avif", "heif", "gif", "tga"):
        return None
    buffer = io.BytesIO()
    image.save(buffer, format_.upper(), **options)
    return buffer.getvalue()


def _turned_heif(image: Image.Image) -> bytes:
    """With the turn where HEIF has it (`irot`); one that stands in EXIF alone means nothing there."""
    context = CtxEncode(HeifCompressionFormat.HEVC, quality=90)
    context.add_image(image.size, "RGB", image.tobytes(), image_orientation=6)
    buffer = io.BytesIO()
    context.save(buffer)
    return buffer.getvalue()


def bmp_with_alpha() -> bytes:
    """With a header of version 4, which says where the alpha is."""
    pixels = bytes((10, 20, 30, 120)) * (SIZE[0] * SIZE[1])
    masks = struct.pack("<4I", 0xFF0000, 0xFF00, 0xFF, 0xFF000000)
    header = struct.pack("<IiiHHIIiiII", 108, *SIZE, 1, 32, 3, len(pixels), 0, 0, 0, 0) + masks
    header = header.ljust(108, b"\0")
    return b"BM" + struct.pack("<IHHI", 14 + 108 + len(pixels), 0, 0, 14 + 108) + header + pixels


def _png_xmp() -> PngInfo:
    info = PngInfo()
    info.add_itxt("XML:com.adobe.xmp", XMP.decode())
    return info


def _of_16_bits(format_: str) -> bytes | None:
    gray = (np.arange(SIZE[0] * SIZE[1]).reshape(SIZE[::-1]) * 29).astype(np.uint16)
    if format_ in ("png", "tiff"):
        buffer = io.BytesIO()
        Image.fromarray(gray).save(buffer, format_.upper())
        return buffer.getvalue()
    if format_ == "heif":
        buffer = io.BytesIO()
        colour = np.ascontiguousarray(np.broadcast_to(gray[..., None], (*gray.shape, 3)))
        pillow_heif.from_bytes("RGB;16", SIZE, colour.tobytes()).save(buffer, quality=-1, chroma=444)
        return buffer.getvalue()
    return _raw("16 bit") if format_ == "raw" else None


def _raw(what: str) -> bytes | None:
    light = np.random.default_rng(4).random((*SIZE[::-1], 3)) * 0.2 + 0.4
    if what in ("16 bit", "EXIF"):
        return dng(mosaic(light))
    return dng(mosaic(light), orientation=6) if what == "orientation" else None


@pytest.mark.parametrize(("format_", "what", "kept"), IN, ids=str)
def test_the_table_of_what_comes_in_is_true(format_: str, what: str, kept: bool, tmp_path: Path) -> None:
    """A file of the format that has the thing is read with it; or there are no such files, or it is lost."""
    data = a_file(format_, what)
    if data is None:
        assert not kept
        return
    _, found = come_in(data, tmp_path, "photo.tga" if format_ == "tga" else "")
    picture, metadata = found.picture, found.metadata
    width, height = SIZE
    assert {
        "gray": picture.channels == 1,
        "alpha": picture.channels == 4,
        "16 bit": picture.bits == 16,
        "ICC": metadata.icc == SRGB,
        "EXIF": b"Nobody" in metadata.exif and found.shot.make == "Nobody",
        "XMP": metadata.xmp == XMP,
        "dpi": metadata.dpi is not None and abs(metadata.dpi[0] - 300) < 0.1,
        "orientation": (picture.width, picture.height) == (height, width)
        and b"\x12\x01" not in metadata.exif[:40],
    }[what] is kept


@pytest.mark.parametrize(("format_", "what", "kept"), OUT, ids=str)
def test_the_table_of_what_goes_out_is_true(format_: Format, what: str, kept: bool, tmp_path: Path) -> None:
    """What is to be kept is in the file, read by another than us."""
    rng = np.random.default_rng(5)
    channels = {"gray": 1, "alpha": 4}.get(what, 3)
    pixels = rng.integers(0, 256, (*SIZE[::-1], channels)).astype(np.uint8)
    if what == "16 bit":
        pixels = (rng.integers(0, 65_536, (*SIZE[::-1], 1))).astype(np.uint16)
    given = Metadata(exif=exif().tobytes(), icc=SRGB, xmp=XMP, dpi=(300, 300))
    image = go_out(pixels, format_, tmp_path, Metadata() if what in ("gray", "16 bit") else given)
    xmp = image.info.get("xmp") or image.info.get("XML:com.adobe.xmp") or b""
    assert {
        "gray": image.mode == "L",
        "alpha": image.mode == "RGBA",
        "16 bit": image.mode.startswith("I;16"),
        "ICC": image.info.get("icc_profile") == SRGB,
        "EXIF": image.getexif().get(0x010F) == "Nobody",
        "XMP": (xmp.encode() if isinstance(xmp, str) else xmp) == XMP,
        "dpi": abs(float(image.info.get("dpi", (0, 0))[0]) - 300) < 0.1,
    }[what] is kept


# --- what came later ----------------------------------------------------------------------------------------------


def test_10_bits_of_heif_fill_16(tmp_path: Path) -> None:
    """White is white and black is black; between, every level of the ten bits is its own."""
    ramp = (np.arange(1024).reshape(32, 32) << 6).astype(np.uint16)
    colour = np.ascontiguousarray(np.broadcast_to(ramp[..., None], (32, 32, 3)))
    buffer = io.BytesIO()
    pillow_heif.from_bytes("RGB;16", (32, 32), colour.tobytes()).save(buffer, quality=-1, chroma=444)
    pixels, _ = come_in(buffer.getvalue(), tmp_path)
    assert (int(pixels[0, 0, 1]), int(pixels[-1, -1, 1])) == (0, 65_535)
    assert np.abs(pixels[..., 1].astype(int) - ramp).max() <= 64 * 3


def test_a_raw_photo_is_developed_by_its_light_alone(tmp_path: Path) -> None:
    """Linear light becomes sRGB, to half a percent; nothing is brightened, so brackets stay as far apart as they were."""
    light = np.empty((80, 120, 3))
    light[...] = (0.25, 0.12, 0.05)
    light[:, 60:] = (0.03, 0.3, 0.45)
    for stops in (0, 1):
        pixels, found = come_in(dng(mosaic(light * 2**stops)), tmp_path)
        assert (found.type, found.picture.bits, found.picture.channels) == ("image/x-adobe-dng", 16, 3)
        for place, colour in (((20, 20), light[0, 0]), ((60, 100), light[0, -1])):
            linear = colour * 2**stops
            wanted = np.where(linear <= 0.0031308, linear * 12.92, 1.055 * linear ** (1 / 2.4) - 0.055)
            assert np.abs(pixels[place] / 65_535 - wanted).max() < 0.005


def test_a_raw_photo_has_the_cameras_white_balance(tmp_path: Path) -> None:
    """A gray wall that the camera saw as blue, and knew to be gray, comes out gray."""
    gains = (2.0, 1.0, 1.25)
    wall = np.full((64, 64, 3), 0.3) / gains
    pixels, _ = come_in(dng(mosaic(wall), white_balance=gains), tmp_path)
    colour = pixels[20:-20, 20:-20].reshape(-1, 3).mean(0)
    assert colour.max() / colour.min() < 1.01


@pytest.mark.parametrize(
    ("orientation", "place"), [(1, (10, 10)), (6, (10, -10)), (3, (-10, -10)), (8, (-10, 10))]
)
def test_a_raw_photo_is_turned_once(orientation: int, place: tuple[int, int], tmp_path: Path) -> None:
    """The light corner, at the upper left of the sensor, lies where the camera's orientation puts it."""
    light = np.full((64, 96, 3), 0.1)
    light[:20, :20] = 0.8
    pixels, found = come_in(dng(mosaic(light), orientation=orientation), tmp_path)
    assert pixels[place].min() > 45_000
    assert (pixels > 45_000).all(-1).sum() < 500
    assert read.probe(io.BytesIO(dng(mosaic(light), orientation=orientation)), 10**6)[1:3] == (
        found.picture.width,
        found.picture.height,
    )


def test_a_tiff_is_no_raw_photo(tmp_path: Path) -> None:
    """What is built alike and holds a picture is read as one, whatever it is called."""
    buffer = io.BytesIO()
    Image.new("RGB", SIZE, "red").save(buffer, "TIFF", tiffinfo={271: "NIKON CORPORATION"})
    assert come_in(buffer.getvalue(), tmp_path, "photo.nef")[1].type == "image/tiff"


def test_a_targa_needs_its_name() -> None:
    """Nothing in its bytes says what it is; and a name alone makes none of something else."""
    buffer = io.BytesIO()
    Image.new("RGB", SIZE, "red").save(buffer, "TGA")
    data = buffer.getvalue()
    assert read.probe(io.BytesIO(data), 10**6, "Photo.TGA") == ("image/x-tga", *SIZE, 1)
    for bytes_, name in (
        (data, "photo.png"),
        (data, ""),
        (b"hello, this is some text", "a.tga"),
        (bytes(64), "a.tga"),
    ):
        with pytest.raises(Failed) as failed:
            read.probe(io.BytesIO(bytes_), 10**6, name)
        assert failed.value.reason == "unsupported_format"


def test_a_png_called_targa_is_a_png() -> None:
    """First bytes speak before names."""
    buffer = io.BytesIO()
    Image.new("RGB", SIZE, "red").save(buffer, "PNG")
    assert read.probe(io.BytesIO(buffer.getvalue()), 10**6, "a.tga")[0] == "image/png"


@pytest.mark.parametrize("format_", ["AVIF", "HEIF"])
def test_the_size_in_the_boxes_is_believed_first(format_: str) -> None:
    """Before any library is asked, and in the words that every other format has."""
    pillow_heif.register_heif_opener()
    buffer = io.BytesIO()
    Image.new("RGB", (64, 64)).save(buffer, format_)
    data = bytearray(buffer.getvalue())
    assert said(io.BytesIO(bytes(data))) == (64, 64, 8)
    at = data.index(b"ispe") + 8
    data[at : at + 8] = struct.pack(">II", 50_000, 50_000)
    with pytest.raises(Failed, match="50000 x 50000") as failed:
        read.probe(io.BytesIO(bytes(data)), 10**6)
    assert failed.value.reason == "input_too_large"


@pytest.mark.parametrize(
    ("format_", "width", "height"),
    [("webp", 16_384, 1), ("jpeg", 65_501, 1), ("avif", 32_769, 1), ("avif", 16_400, 16_400)],
)
def test_what_a_format_cannot_hold_is_refused_by_its_price(format_: str, width: int, height: int) -> None:
    """The message names the format, its limit, the result and what to ask for."""
    model = catalogue.find_model("upscale")
    assert model
    params = catalogue.Upscale(image="x", scale=2, format=format_)  # type: ignore[arg-type]
    refused = catalogue.output_refusal(model, params, -(-width // 2), -(-height // 2))
    assert refused
    assert refused[0] == "output_too_large"
    assert f"{format_.upper() if format_ != 'webp' else 'WebP'} holds at most" in refused[1]
    assert "png or tiff" in refused[1]
    assert catalogue.output_refusal(model, params, 4_000, 3_000) is None


# --- how it was taken ---------------------------------------------------------------------------------------------


def test_a_shot_is_told_by_its_exif(tmp_path: Path) -> None:
    """Of a raw photo, and of any other file that has EXIF."""
    expected = Shot(
        "2026-05-17T14:03:22.250", 0.008, 2.8, 400, -4 / 3, 35, 52, "Nobody", "Nothing One", "Pinhole 35mm"
    )
    _, raw = come_in(dng(mosaic(np.full((40, 56, 3), 0.4))), tmp_path)
    for name, value in msgspec.structs.asdict(expected).items():
        found = getattr(raw.shot, name)
        assert found == (pytest.approx(value) if isinstance(value, float) else value), name
    image = Image.new("RGB", SIZE)
    for format_ in ("JPEG", "PNG", "WEBP", "AVIF", "HEIF"):
        buffer = io.BytesIO()
        image.save(buffer, format_, exif=raw.metadata.exif)
        assert come_in(buffer.getvalue(), tmp_path)[1].shot == raw.shot


def test_a_shot_falls_back_on_what_else_is_said() -> None:
    """APEX values for plain ones, the file's time for the shot's, the long sensitivity for the one that ends at 65,535."""
    made = exif()
    made[0x0132] = "2026:01:02 03:04:05"
    details = made.get_ifd(0x8769)
    details[0x9201], details[0x9202], details[0x8827], details[0x8833] = 7.0, 4.0, 65_535, 102_400
    found = shot(made)
    assert (found.taken_at, found.seconds, found.aperture, found.iso) == (
        "2026-01-02T03:04:05.000",
        1 / 128,
        4,
        102_400,
    )


@pytest.mark.parametrize(
    "value",
    [
        0,
        -1,
        float("nan"),
        float("inf"),
        1e300,
        "x" * 10_000,
        b"\xff" * 99,
        (),
        (1, 0),
        ["a"],
        None,
        "0000:00:00 00:00:00",
    ],
)
def test_hostile_exif_makes_no_fact(value: Any) -> None:
    """What makes no sense is None; texts are short and plain."""
    made = exif()
    details = made.get_ifd(0x8769)
    for tag in (0x829A, 0x829D, 0x8827, 0x9003, 0x9201, 0x9202, 0x9204, 0x9291, 0x920A, 0xA405, 0xA434):
        details[tag] = value
    found = shot(made)
    for number in (found.seconds, found.aperture, found.iso, found.bias, found.focal_mm, found.focal_35mm):
        assert number is None or 1e-7 <= abs(number) < 1e9 or number in (0, -1)
    assert found.taken_at is None
    assert found.lens is None or (len(found.lens) <= 100 and found.lens.isprintable())
