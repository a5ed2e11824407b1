"""Files to pixels and back: what comes in is what it looks like, what goes out is kept or said to be lost."""

import io
import os
import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageCms

from burnish.engines.pictures import read, write
from burnish.engines.wire import Channels, Encode, Format, Limits, Metadata, Picture
from burnish.errors import Failed

Pixels = NDArray[Any]
FileOf = Callable[..., bytes]

SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


def decoded(
    data: bytes, tmp_path: Path, most: int = 10**6
) -> tuple[Pixels, Picture, Metadata, dict[str, str]]:
    target = os.open(tmp_path / "pixels", os.O_RDWR | os.O_CREAT | os.O_TRUNC)
    try:
        picture, _, metadata, notes, _ = read.decode(io.BytesIO(data), target, most, lambda _pixels: None)
        raw = os.pread(target, picture.size_bytes + 1, 0)
    finally:
        os.close(target)
    assert len(raw) == picture.size_bytes
    kind = np.uint8 if picture.bits == 8 else np.dtype("<u2")
    return np.frombuffer(raw, kind).reshape(picture.height, picture.width, -1), picture, metadata, notes


def written(
    pixels: Pixels,
    format_: Format,
    tmp_path: Path,
    *,
    metadata: Metadata | None = None,
    policy: str = "keep",
    quality: int = 90,
    dpi: int | None = None,
) -> tuple[bytes, dict[str, str]]:
    height, width, channels = pixels.shape
    wanted = msgspec.convert(
        {
            "limits": Limits(1, 1, 1),
            "picture": Picture(width, height, msgspec.convert(channels, Channels), 8 * pixels.itemsize),  # type: ignore[arg-type]
            "format": format_,
            "quality": quality,
            "policy": policy,
            "metadata": metadata or Metadata(),
            "dpi": dpi,
        },
        Encode,
    )
    (tmp_path / "raw").write_bytes(pixels.tobytes())
    out = io.BytesIO()
    with (tmp_path / "raw").open("rb") as source:
        notes = write.encode(source.fileno(), wanted, out)
    return out.getvalue(), notes


def with_alpha(photo: Pixels) -> Pixels:
    alpha = np.full((*photo.shape[:2], 1), 255, np.uint8)
    alpha[:10, :10] = 0
    alpha[20:, 30:] = 120
    return np.concatenate([photo, alpha], axis=-1)


# --- In -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("format_", "options"), [
    ("PNG", {}), ("BMP", {}), ("WEBP", {"lossless": True}), ("TIFF", {}), ("TIFF", {"compression": "tiff_lzw"}),
    ("TIFF", {"compression": "tiff_adobe_deflate"}), ("JPEG", {"quality": 100, "subsampling": 0}),
])  # fmt: skip
def test_rgb_comes_in_as_it_is(
    format_: str, options: dict[str, object], photo: Pixels, file_of: FileOf, tmp_path: Path
) -> None:
    """Every format that is read gives the pixels that were put into it."""
    pixels, picture, _, notes = decoded(file_of(photo, format_, **options), tmp_path)
    assert (picture.channels, picture.bits, notes) == (3, 8, {})
    assert np.abs(pixels.astype(int) - photo).max() <= (4 if format_ == "JPEG" else 0)


@pytest.mark.parametrize(("mode", "channels"), [("L", 1), ("1", 1), ("LA", 2), ("P", 3), ("RGBA", 4)])
def test_other_kinds_of_pixels_keep_their_kind(
    mode: str, channels: int, photo: Pixels, file_of: FileOf, tmp_path: Path
) -> None:
    """Gray stays gray, alpha stays alpha, palettes become the colours that they stand for."""
    image = Image.fromarray(photo).convert(mode)
    pixels, picture, _, _ = decoded(file_of(image, "PNG"), tmp_path)
    assert picture.channels == channels
    expected = np.asarray(image.convert({1: "L", 2: "LA", 3: "RGB", 4: "RGBA"}[channels]))
    assert np.array_equal(pixels, expected.reshape(pixels.shape))


def test_a_palettes_transparency_becomes_alpha(photo: Pixels, file_of: FileOf, tmp_path: Path) -> None:
    """PNG and GIF: the entry that is clear is clear."""
    image = Image.fromarray(photo).quantize(8)
    for format_ in ("PNG", "GIF"):
        pixels, picture, _, _ = decoded(file_of(image, format_, transparency=3), tmp_path)
        assert picture.channels == 4
        assert np.array_equal(pixels[..., 3] == 0, np.asarray(image) == 3)


def test_a_transparent_colour_becomes_alpha(photo: Pixels, file_of: FileOf, tmp_path: Path) -> None:
    """A PNG may name one colour, or one gray, that is clear."""
    colour = tuple(int(value) for value in photo[0, 0])
    pixels, picture, _, _ = decoded(file_of(photo, "PNG", transparency=colour), tmp_path)
    assert picture.channels == 4
    assert pixels[0, 0, 3] == 0
    gray, picture, _, _ = decoded(file_of(photo[..., 0], "PNG", transparency=int(photo[0, 0, 0])), tmp_path)
    assert picture.channels == 2
    assert gray[0, 0, 1] == 0


def test_clear_pixels_take_the_colour_of_what_is_near(photo: Pixels, file_of: FileOf, tmp_path: Path) -> None:
    """No hidden colour can leak into an edge; what is seen is not touched."""
    given = with_alpha(photo)
    given[:10, :10, :3] = (0, 255, 0)
    pixels, _, _, _ = decoded(file_of(given, "PNG"), tmp_path)
    seen = given[..., 3] > 0
    assert np.array_equal(pixels[seen], given[seen])
    assert np.array_equal(pixels[..., 3], given[..., 3])
    assert np.abs(pixels[9, 9, :3].astype(int) - photo[11, 11]).max() < 60


@pytest.mark.parametrize("compression", [None, "tiff_lzw", "tiff_adobe_deflate"])
def test_16_bit_gray_is_not_cut(compression: str | None, file_of: FileOf, tmp_path: Path) -> None:
    """Both bytes of every sample arrive, from PNG and TIFF."""
    gray = (np.arange(40 * 56).reshape(40, 56) * 29).astype(np.uint16)
    for data in (file_of(gray, "PNG"), file_of(gray, "TIFF", compression=compression)):
        pixels, picture, _, _ = decoded(data, tmp_path)
        assert (picture.channels, picture.bits) == (1, 16)
        assert np.array_equal(pixels[..., 0], gray)


@pytest.mark.parametrize("format_", ["png", "tiff"])
@pytest.mark.parametrize("channels", [1, 2, 3, 4])
@pytest.mark.parametrize("bits", [8, 16])
def test_png_and_tiff_keep_every_bit(format_: Format, channels: int, bits: int, tmp_path: Path) -> None:
    """What our writers write, our reader reads back, over several strips; Pillow agrees where it can."""
    rng = np.random.default_rng(channels)
    kind = np.uint8 if bits == 8 else np.uint16
    pixels = rng.integers(1, 1 << bits, (700, 433, channels)).astype(kind)
    data, notes = written(pixels, format_, tmp_path)
    assert notes == {}
    if (format_, channels, bits) == ("tiff", 2, 16):
        return  # a kind that Pillow does not read
    back, picture, _, _ = decoded(data, tmp_path)
    assert (picture.channels, picture.bits) == (channels, bits)
    assert np.array_equal(back, pixels)
    theirs = np.asarray(Image.open(io.BytesIO(data)))
    if bits == 8 or channels == 1:
        assert np.array_equal(theirs.reshape(pixels.shape), pixels)


@pytest.mark.parametrize("order", ["<", ">"])
def test_16_bit_tiff_in_either_byte_order(order: str, tmp_path: Path) -> None:
    """Colours written with the other end first come in whole; with planes apart, as 8 bits, and it is said."""
    rng = np.random.default_rng(1)
    pixels = rng.integers(0, 65_536, (9, 13, 3)).astype(np.uint16)
    back, picture, _, _ = decoded(_tiff16(pixels, order, planes=False), tmp_path)
    assert (picture.channels, picture.bits) == (3, 16)
    assert np.array_equal(back, pixels)
    back, picture, _, notes = decoded(_tiff16(pixels, order, planes=True), tmp_path)
    assert (picture.channels, picture.bits) == (3, 8)
    assert np.array_equal(back, pixels >> 8)
    assert "16" in notes["bits"]


def test_16_bit_interlaced_png_comes_in_whole(tmp_path: Path) -> None:
    """The second pass over the file, for the low bytes, knows interlacing too."""
    rng = np.random.default_rng(2)
    pixels = rng.integers(0, 65_536, (11, 10, 3)).astype(np.uint16)
    back, picture, _, _ = decoded(_interlaced_png16(pixels), tmp_path)
    assert picture.bits == 16
    assert np.array_equal(back, pixels)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_orientation_is_applied_once(
    orientation: int, photo: Pixels, file_of: FileOf, tmp_path: Path
) -> None:
    """The pixels lie as they are meant to be seen, the size is said that way, and no tag turns them again."""
    exif = Image.Exif()
    exif[0x0112] = orientation
    exif[0x010F] = "Maker"
    turned = {
        1: photo,
        2: photo[:, ::-1],
        3: photo[::-1, ::-1],
        4: photo[::-1],
        5: photo.transpose(1, 0, 2),
        6: photo.transpose(1, 0, 2)[:, ::-1],
        7: photo[::-1, ::-1].transpose(1, 0, 2),
        8: photo.transpose(1, 0, 2)[::-1],
    }[orientation]
    for format_ in ("PNG", "TIFF", "WEBP"):
        options = {"lossless": True} if format_ == "WEBP" else {}
        data = file_of(photo, format_, exif=exif.tobytes(), **options)
        _, width, height, _ = read.probe(io.BytesIO(data), 10**6)
        pixels, picture, metadata, _ = decoded(data, tmp_path)
        assert (width, height) == (picture.width, picture.height) == (turned.shape[1], turned.shape[0])
        assert np.array_equal(pixels, turned)
        out, _ = written(pixels, "png", tmp_path, metadata=metadata)
        back = Image.open(io.BytesIO(out))
        assert back.getexif().get(0x0112, 1) == 1
        assert back.getexif()[0x010F] == "Maker"


def test_cmyk_becomes_rgb_and_says_so(photo: Pixels, file_of: FileOf, tmp_path: Path) -> None:
    """Inks are converted; the note says by which means."""
    image = Image.fromarray(photo).convert("CMYK")
    pixels, picture, metadata, notes = decoded(file_of(image, "TIFF"), tmp_path)
    assert picture.channels == 3
    assert "CMYK" in notes["colour"]
    assert not metadata.icc
    assert np.abs(pixels.astype(int) - photo).mean() < 12


def test_only_the_first_frame_is_taken_and_the_note_says_so(
    photo: Pixels, file_of: FileOf, tmp_path: Path
) -> None:
    """An animation is not an error."""
    frames = [Image.fromarray(photo), Image.fromarray(255 - photo)]
    for format_, options in (("GIF", {}), ("WEBP", {"lossless": True}), ("PNG", {}), ("TIFF", {})):
        data = file_of(frames[0], format_, save_all=True, append_images=frames[1:], **options)
        *_, count = read.probe(io.BytesIO(data), 10**6)
        pixels, _, _, notes = decoded(data, tmp_path)
        assert count == 2
        assert "first" in notes["frames"]
        assert np.abs(pixels[..., :3].astype(int) - photo).mean() < 8


@pytest.mark.parametrize("mode", ["F", "I"])
def test_samples_of_32_bits_are_refused_in_words(mode: str, file_of: FileOf, tmp_path: Path) -> None:
    """What cannot be kept is not quietly cut off."""
    data = file_of(Image.new(mode, (4, 4)), "TIFF")
    with pytest.raises(Failed, match="8 or 16 bits") as failed:
        decoded(data, tmp_path)
    assert failed.value.reason == "unsupported_format"


# --- Out ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("format_", ["png", "jpeg", "webp", "tiff"])
def test_metadata_is_kept_stripped_or_without_its_place(
    format_: Format, photo: Pixels, file_of: FileOf, tmp_path: Path
) -> None:
    """`keep` keeps all, `strip` only the colour profile, `strip_gps` all but the place; sizes are the new ones."""
    exif = Image.Exif()
    exif[0x010F] = "Maker"
    exif[0x8769] = {0x9003: "2020:01:01 10:00:00", 0xA002: 56, 0xA003: 40}
    exif[0x8825] = {1: "N", 2: (52.0, 30.0, 0.0)}
    xmp = b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><a exif:GPSLatitude="52,30N"/></x:xmpmeta>'
    data = file_of(photo, "JPEG", exif=exif.tobytes(), icc_profile=SRGB, xmp=xmp, dpi=(300, 300))
    _, _, metadata, notes = decoded(data, tmp_path)
    assert notes == {}
    larger = np.repeat(np.repeat(photo, 2, 0), 2, 1)
    for policy in ("keep", "strip", "strip_gps"):
        out, notes = written(larger, format_, tmp_path, metadata=metadata, policy=policy)
        image = Image.open(io.BytesIO(out))
        found = image.getexif()
        assert image.info["icc_profile"] == SRGB
        assert (found.get(0x010F) == "Maker") is (policy != "strip")
        assert (found.get_ifd(0x8769).get(0xA002) == 112) is (policy != "strip")
        assert bool(found.get_ifd(0x8825)) is (policy == "keep")
        assert (b"GPSLatitude" in (image.info.get("xmp") or b"")) is (policy == "keep")
        assert (b"52,30N" in out) is (policy == "keep")
        assert bool(notes) is (policy != "keep")
        if policy != "strip" and format_ != "webp":
            assert round(float(image.info["dpi"][0])) == 300


@pytest.mark.parametrize("format_", ["png", "jpeg", "webp", "avif", "tiff"])
def test_the_resolution_is_as_asked(format_: Format, photo: Pixels, tmp_path: Path) -> None:
    """Whatever the file said, and whatever is left out of it; told where the format holds none."""
    kept = Metadata(dpi=(72, 72))
    out, notes = written(photo, format_, tmp_path, metadata=kept, policy="strip", dpi=150)
    told = [round(float(one)) for one in Image.open(io.BytesIO(out)).info.get("dpi", ())]
    assert (told, list(notes)) == (([], ["dpi"]) if format_ in ("webp", "avif") else ([150, 150], []))


@pytest.mark.parametrize("format_", ["jpeg", "webp"])
def test_what_a_format_cannot_hold_is_changed_and_said(
    format_: Format, photo: Pixels, tmp_path: Path
) -> None:
    """16 bits are rounded, transparency is laid on white where there is none."""
    deep = with_alpha(photo).astype(np.uint16) * 256 + 77
    out, notes = written(deep, format_, tmp_path, quality=100)
    back = np.asarray(Image.open(io.BytesIO(out)).convert("RGBA")).astype(int)
    assert "bits" in notes
    assert ("alpha" in notes) is (format_ == "jpeg")
    assert np.abs(back[12:18, 12:28, :3] - photo[12:18, 12:28]).mean() < 10
    if format_ == "jpeg":
        assert back[2:6, 2:6, :3].min() > 245
    else:
        assert (back[2:6, 2:6, 3] == 0).all()


def test_quality_is_heard(photo: Pixels, tmp_path: Path) -> None:
    """Less quality is less bytes, for both formats that have it."""
    for format_ in ("jpeg", "webp"):
        sizes = [len(written(photo, format_, tmp_path, quality=quality)[0]) for quality in (20, 60, 95)]
        assert sizes == sorted(sizes)
        assert sizes[0] < sizes[2]


def test_long_metadata_is_left_out_of_a_jpeg_and_said(photo: Pixels, tmp_path: Path) -> None:
    """A JPEG's segments hold 65 kB; the picture is written all the same."""
    metadata = Metadata(xmp=b"<x>" + b" " * 70_000 + b"</x>")
    out, notes = written(photo, "jpeg", tmp_path, metadata=metadata)
    assert "xmp" in notes
    assert Image.open(io.BytesIO(out)).size == (56, 40)


def test_a_broken_profile_is_dropped_and_the_picture_kept(
    photo: Pixels, file_of: FileOf, tmp_path: Path
) -> None:
    """Bytes that are no profile are not passed on."""
    pixels, _, metadata, notes = decoded(file_of(photo, "PNG", icc_profile=b"nonsense" * 40), tmp_path)
    assert np.array_equal(pixels, photo)
    assert not metadata.icc
    assert "icc" in notes


def _tiff16(pixels: Pixels, order: str, *, planes: bool) -> bytes:
    """An uncompressed 16-bit RGB TIFF, written by hand."""
    height, width, _ = pixels.shape
    values = pixels.transpose(2, 0, 1) if planes else pixels
    body = values.astype(f"{order}u2").tobytes()
    head = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(order + "I", 8 + len(body))
    after = 8 + len(body) + 2 + 12 * 11 + 4
    third = len(body) // 3
    entries = [(256, 3, 1, width), (257, 3, 1, height), (258, 3, 3, after), (259, 3, 1, 1), (262, 3, 1, 2)]
    if planes:
        entries += [(273, 4, 3, after + 6), (277, 3, 1, 3), (278, 3, 1, height), (279, 4, 3, after + 18)]
    else:
        entries += [(273, 4, 1, 8), (277, 3, 1, 3), (278, 3, 1, height), (279, 4, 1, len(body))]
    entries += [(284, 3, 1, 2 if planes else 1), (339, 3, 3, after + 30)]
    directory = struct.pack(order + "H", len(entries))
    for tag, kind, count, value in entries:
        short = (
            struct.pack(order + "HH", value, 0)
            if kind == 3 and count == 1
            else struct.pack(order + "I", value)
        )
        directory += struct.pack(order + "HHI", tag, kind, count) + short
    extra = struct.pack(order + "3H", 16, 16, 16)
    extra += struct.pack(order + "3I", 8, 8 + third, 8 + 2 * third) + struct.pack(
        order + "3I", third, third, third
    )
    extra += struct.pack(order + "3H", 1, 1, 1)
    return head + body + directory + b"\0\0\0\0" + extra


def _interlaced_png16(pixels: Pixels) -> bytes:
    """A 16-bit RGB PNG in Adam7, written by hand."""
    height, width, _ = pixels.shape
    raw = b""
    for y, x, dy, dx in (
        (0, 0, 8, 8),
        (0, 4, 8, 8),
        (4, 0, 8, 4),
        (0, 2, 4, 4),
        (2, 0, 4, 2),
        (0, 1, 2, 2),
        (1, 0, 2, 1),
    ):
        part = pixels[y::dy, x::dx]
        if part.size:
            raw += b"".join(b"\0" + row.astype(">u2").tobytes() for row in part)

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 16, 2, 0, 0, 1)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"IDAT", zlib.compress(raw))
        + chunk(b"IEND", b"")
    )
