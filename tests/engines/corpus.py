"""Files that are broken, hostile or only unusual, made here: each with what must come of it, a picture or a reason.

`pictures()` and `films()` are lists that anyone may add to. Nothing is read from disk, and the same files are made every time.
"""

import io
import struct
import zipfile
import zlib
from collections.abc import Iterator
from fractions import Fraction
from typing import Any, Final, NamedTuple, cast

import av
import numpy as np
import pillow_heif
from numpy.typing import NDArray
from PIL import Image, ImageCms

from burnish.engines.pictures.avif import _box, _full, _item
from engines.dng import dng, mosaic

TOO_LARGE: Final = ("input_too_large",)
DAMAGED: Final = ("decode_failed",)
NOT_READ: Final = ("unsupported_format",)
#: Cut or garbled where even what it is cannot be told any more.
EITHER: Final = ("decode_failed", "unsupported_format")


class Case(NamedTuple):
    """`reasons`: one of which it must fail with; none: it must come out, with this `size` where one is given. `film`: its type
    where it is a film, whose header alone is read.
    """

    name: str
    data: bytes
    reasons: tuple[str, ...] = ()
    size: tuple[int, int] | None = None
    filename: str = ""
    film: str | None = None


SIDE: Final = 50_000
W, H = 56, 40


def photo() -> Image.Image:
    rng = np.random.default_rng(11)
    across = np.linspace(0, 200, W)[None, :, None] + rng.normal(20, 6, (H, W, 3))
    return Image.fromarray(np.clip(across, 0, 255).astype(np.uint8))


def encoded(image: Image.Image, format_: str, **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, format_, **options)
    return buffer.getvalue()


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(width: int, height: int, rows: bytes, *extra: bytes, bits: int = 8, colour: int = 0) -> bytes:
    header = struct.pack(">IIBBBBB", width, height, bits, colour, 0, 0, 0)
    parts = (chunk(b"IHDR", header), *extra, chunk(b"IDAT", zlib.compress(rows)), chunk(b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def patched(data: bytes, at: int, value: bytes) -> bytes:
    return data[:at] + value + data[at + len(value) :]


def tiff_tag(data: bytes, tag: int, value: int) -> bytes:
    """A little-endian TIFF with another value, as a long, in an entry of its first directory."""
    (at,) = struct.unpack_from("<I", data, 4)
    (count,) = struct.unpack_from("<H", data, at)
    for entry in range(at + 2, at + 2 + 12 * count, 12):
        if struct.unpack_from("<H", data, entry)[0] == tag:
            return patched(data, entry + 2, struct.pack("<HII", 4, 1, value))
    raise KeyError(tag)


def pictures() -> Iterator[Case]:
    """Every case of a picture, or of what is taken for one."""
    pillow_heif.register_heif_opener()
    files = {
        "jpeg": encoded(photo(), "JPEG"),
        "png": encoded(photo(), "PNG"),
        "webp": encoded(photo(), "WEBP"),
        "tiff": encoded(photo(), "TIFF", compression="tiff_lzw"),
        "gif": encoded(photo(), "GIF"),
        "bmp": encoded(photo(), "BMP"),
        "heif": encoded(photo(), "HEIF"),
        "avif": encoded(photo(), "AVIF"),
        "tga": encoded(photo(), "TGA"),
        "dng": dng(mosaic(np.asarray(photo()) / 255.0)),
    }
    for makers in (_bombs, _truncated, _lying, _names, _kinds, _metadata, _structure):
        yield from makers(files)


def _bombs(files: dict[str, bytes]) -> Iterator[Case]:
    both = struct.pack(">HH", SIDE, SIDE)
    yield Case("bomb-png", png(SIDE, SIDE, bytes(100_000)), TOO_LARGE)
    yield Case("bomb-gif", patched(files["gif"], 6, struct.pack("<HH", SIDE, SIDE)), TOO_LARGE)
    yield Case("bomb-bmp", patched(files["bmp"], 18, struct.pack("<ii", SIDE, SIDE)), TOO_LARGE)
    yield Case("bomb-jpeg", patched(files["jpeg"], files["jpeg"].index(b"\xff\xc0") + 5, both), TOO_LARGE)
    yield Case("bomb-tiff", tiff_tag(tiff_tag(files["tiff"], 256, SIDE), 257, SIDE), TOO_LARGE)
    lossless = b"\x2f" + struct.pack("<I", 16_382 | 16_382 << 14) + bytes(40)
    body = b"WEBPVP8L" + struct.pack("<I", len(lossless)) + lossless
    yield Case("bomb-webp", b"RIFF" + struct.pack("<I", len(body)) + body, (*TOO_LARGE, *DAMAGED))
    for name in ("heif", "avif"):
        at = files[name].index(b"ispe") + 8
        yield Case(f"bomb-{name}", patched(files[name], at, struct.pack(">II", SIDE, SIDE)), TOO_LARGE)
    yield Case(
        "bomb-tga", patched(files["tga"], 12, struct.pack("<HH", SIDE, SIDE)), TOO_LARGE, filename="a.tga"
    )
    yield Case("bomb-dng", dng(np.zeros((40, 56), np.uint16), size=(SIDE, SIDE)), (*TOO_LARGE, *DAMAGED))
    flood = zlib.compress(bytes(100_000_000), 9)
    icc = chunk(b"iCCP", b"x\0\0" + flood)
    yield Case("bomb-png-profile", png(8, 8, bytes(9 * 8), icc), DAMAGED)
    yield Case("bomb-png-text", png(8, 8, bytes(9 * 8), chunk(b"zTXt", b"x\0\0" + flood)), DAMAGED)
    yield Case("bomb-png-rows", png(8, 8, bytes(100_000_000)), size=(8, 8))
    yield Case("bomb-zip", _zip(bytes(10_000_000)), NOT_READ)


def _zip(data: bytes) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("photo.jpg", data)
    return buffer.getvalue()


def _truncated(files: dict[str, bytes]) -> Iterator[Case]:
    for tenth in range(10):
        yield Case(f"cut-jpeg-{tenth}0", files["jpeg"][: len(files["jpeg"]) * tenth // 10 + 1], EITHER)
    for name, data in files.items():
        if name != "jpeg":
            for part in (0.1, 0.5, 0.9):
                filename = "a.tga" if name == "tga" else ""
                yield Case(f"cut-{name}-{part:.0%}", data[: int(len(data) * part)], EITHER, filename=filename)
    yield Case("empty", b"", NOT_READ)
    yield Case("one-byte", b"\xff", NOT_READ)
    for name in ("png", "jpeg", "gif", "heif", "avif"):
        yield Case(f"only-the-first-bytes-{name}", files[name][:12], EITHER)


def _lying(files: dict[str, bytes]) -> Iterator[Case]:
    yield Case("lie-png-size", png(4_000, 4_000, bytes(5_000)), DAMAGED)
    yield Case("lie-png-nothing", png(0, 5, b""), DAMAGED)
    yield Case(
        "lie-png-chunk",
        patched(files["png"], files["png"].index(b"IDAT") - 4, b"\xff\xff\xff\xff"),
        (*DAMAGED, *TOO_LARGE),
    )
    yield Case("lie-png-sum", patched(files["png"], files["png"].index(b"IDAT") + 10, b"\0\0\0\0"), DAMAGED)
    # A JPEG whose data ends early, but ends as it should, is filled up with gray by libjpeg, which tells nobody.
    yield Case(
        "lie-jpeg-height",
        patched(files["jpeg"], files["jpeg"].index(b"\xff\xc0") + 5, b"\x0f\xff"),
        size=(W, 4_095),
    )
    yield Case("lie-bmp-height", patched(files["bmp"], 22, struct.pack("<i", 3_000)), DAMAGED)
    yield Case("lie-bmp-offset", patched(files["bmp"], 10, struct.pack("<I", 0x7FFF_FFFF)), DAMAGED)
    yield Case("lie-tga-118-bytes", struct.pack("<BBBHHBHHHHBB", 0, 0, 2, 0, 0, 0, 0, 0, 65_535, 65_535, 24, 0) + bytes(100), TOO_LARGE, filename="x.tga")  # fmt: skip
    yield Case("lie-tiff-strip", tiff_tag(files["tiff"], 273, 0x7FFF_FFFF), DAMAGED)
    yield Case("lie-tiff-directory", patched(files["tiff"], 4, struct.pack("<I", 0x7FFF_FFF0)), DAMAGED)
    yield Case("lie-tiff-bits", tiff_tag(files["tiff"], 258, 77), EITHER)
    at = files["gif"].index(b"\x2c")
    yield Case("lie-gif-frame", patched(files["gif"], at + 5, struct.pack("<HH", 3_000, 3_000)), size=(W, H))
    yield Case("lie-dng-size", dng(np.zeros((40, 56), np.uint16), size=(4_000, 3_000)), DAMAGED)
    larger = struct.pack(">II", 2_000, 1_000)
    yield Case("lie-heif-size", patched(files["heif"], files["heif"].index(b"ispe") + 8, larger), EITHER)
    # libavif makes the picture as large as the boxes say, as browsers do.
    yield Case(
        "lie-avif-size", patched(files["avif"], files["avif"].index(b"ispe") + 8, larger), size=(2_000, 1_000)
    )
    for magic, name in ((b"II*\0\x10\0\0\0CR\2\0", "cr2"), (b"\0\0\0\x18ftypcrx \0\0\0\1crx isom", "cr3"), (b"FUJIFILMCCD-RAW 0201", "raf"), (b"IIRO\x08\0\0\0", "orf"), (b"IIU\0\x18\0\0\0", "rw2")):  # fmt: skip
        yield Case(f"lie-{name}", magic + bytes(range(256)) * 40, EITHER, filename=f"a.{name}")


def _names(files: dict[str, bytes]) -> Iterator[Case]:
    for name in ("a.jpg", "a.tga", "a.dng", "a.svg", "a.exe", "../../etc/passwd\0.png", "é" * 300):
        yield Case(f"png-called-{name[:12]!r}", files["png"], size=(W, H), filename=name)
    yield Case("tiff-called-nef", files["tiff"], size=(W, H), filename="DSC_0001.NEF")
    yield Case("tga-without-its-name", files["tga"], NOT_READ, filename="a.png")
    yield Case("polyglot-gif-script", files["gif"][:-1] + b"\x3b/*<script>alert(1)</script>*/", size=(W, H))
    yield Case("polyglot-jpeg-zip", files["jpeg"] + _zip(b"x"), size=(W, H))
    yield Case("polyglot-png-pdf", files["png"] + b"%PDF-1.7\n<svg/>", size=(W, H))
    yield Case("polyglot-pdf-jpeg", b"%PDF-1.7\n" + files["jpeg"], NOT_READ)
    yield Case("polyglot-html-png", b"<html>" + files["png"], NOT_READ)
    yield Case(
        "svg",
        b"<?xml version='1.0'?><svg xmlns='http://www.w3.org/2000/svg' width='9' height='9'/>",
        NOT_READ,
    )
    yield Case(
        "svg-entities", b"<!DOCTYPE svg [<!ENTITY a 'x'><!ENTITY b '&a;&a;'>]><svg>&b;</svg>", NOT_READ
    )
    yield Case("photoshop", b"8BPS\0\1" + bytes(60), NOT_READ)
    yield Case("icon", b"\0\0\1\0\1\0" + bytes(60), NOT_READ)
    yield Case("noise", np.random.default_rng(5).bytes(4_000), NOT_READ, filename="a.jpg")
    yield Case("noise-called-targa", np.random.default_rng(6).bytes(4_000), NOT_READ, filename="a.tga")


def _kinds(files: dict[str, bytes]) -> Iterator[Case]:
    image, size = photo(), (W, H)
    yield Case("line-png", encoded(Image.new("L", (65_535, 1), 9), "PNG"), size=(65_535, 1))
    yield Case("line-jpeg", encoded(Image.new("RGB", (1, 65_500)), "JPEG"), size=(1, 65_500))
    yield Case("pixel", encoded(Image.new("RGB", (1, 1)), "PNG"), size=(1, 1))
    yield Case("cmyk-jpeg", encoded(image.convert("CMYK"), "JPEG"), size=size)
    yield Case("cmyk-tiff", encoded(image.convert("CMYK"), "TIFF"), size=size)
    yield Case("1-bit-png", encoded(image.convert("1"), "PNG"), size=size)
    yield Case("1-bit-fax", encoded(image.convert("1"), "TIFF", compression="group4"), size=size)
    yield Case(
        "palette-with-alpha",
        encoded(image.quantize(7), "PNG", transparency=bytes(range(0, 210, 30))),
        size=size,
    )
    yield Case("palette-gif", encoded(image.quantize(3), "GIF", transparency=1), size=size)
    yield Case("gray-alpha", encoded(image.convert("LA"), "PNG"), size=size)
    yield Case("16-bit", encoded(Image.fromarray(np.full((H, W), 40_000, np.uint16)), "PNG"), size=size)
    yield Case("float", encoded(Image.fromarray(np.ones((H, W), np.float32)), "TIFF"), NOT_READ)
    yield Case(
        "lab", encoded(cast("Image.Image", ImageCms.applyTransform(image, _to_lab())), "TIFF"), NOT_READ
    )
    yield Case("ycbcr", encoded(image.convert("YCbCr"), "TIFF"), size=size)
    yield Case("2-bit-png", png(8, 8, bytes(3 * 8), bits=2), size=(8, 8))
    yield Case("bmp-upside-down", patched(files["bmp"], 22, struct.pack("<i", -H)), size=size)
    yield Case("targa-in-runs", encoded(image, "TGA", compression="tga_rle"), size=size, filename="a.TGA")
    yield Case("progressive", encoded(image, "JPEG", progressive=True), size=size)
    yield Case("turned", encoded(image, "JPEG", exif=_turned(6)), size=(H, W))
    frames = [Image.new("P", (4, 4), number % 7) for number in range(10_000)]
    yield Case(
        "10000-frames", encoded(frames[0], "GIF", save_all=True, append_images=frames[1:]), size=(4, 4)
    )
    moving = [image, image.rotate(9)]
    yield Case("moving-webp", encoded(moving[0], "WEBP", save_all=True, append_images=moving[1:]), size=size)
    yield Case("moving-png", encoded(moving[0], "PNG", save_all=True, append_images=moving[1:]), size=size)
    yield Case("moving-avif", encoded(moving[0], "AVIF", save_all=True, append_images=moving[1:]), size=size)
    yield Case("several-heif", encoded(moving[0], "HEIF", save_all=True, append_images=moving[1:]), size=size)
    yield Case("several-tiff", encoded(moving[0], "TIFF", save_all=True, append_images=moving[1:]), size=size)


def _to_lab() -> Any:
    return ImageCms.buildTransform(
        ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB"), "RGB", "LAB"
    )


def _turned(orientation: int) -> Image.Exif:
    exif = Image.Exif()
    exif[0x0112] = orientation
    return exif


def _metadata(files: dict[str, bytes]) -> Iterator[Case]:
    image, size = photo(), (W, H)
    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    yield Case(
        "icc-noise", encoded(image, "JPEG", icc_profile=np.random.default_rng(1).bytes(3_000)), size=size
    )
    yield Case("icc-cut", encoded(image, "JPEG", icc_profile=srgb[:200]), size=size)
    yield Case("icc-of-inks", encoded(image, "PNG", icc_profile=patched(srgb, 16, b"CMYK")), size=size)
    yield Case("icc-in-cmyk", encoded(image.convert("CMYK"), "JPEG", icc_profile=srgb[:300]), size=size)
    yield Case("icc-large", encoded(image, "PNG", icc_profile=srgb + bytes(9_000_000)), (*DAMAGED,))
    for name, entries in (
        ("counts", [(0x8769 if n % 2 else 0x9286, 7, 0xFFFF_FFFF, 8) for n in range(400)]),
        ("loop", [(0x8769, 4, 1, 8), (0x8825, 4, 1, 8), (0xA005, 4, 1, 8)]),
        ("outside", [(0x010F, 2, 1_000, 0x7FFF_FF00), (0x8769, 4, 1, 0x7FFF_FF00)]),
        ("by-nothing", [(0x829A, 5, 1, 0), (0x0112, 5, 1, 0)]),
        ("types", [(0x0112, kind, 3, 77) for kind in range(20)]),
    ):
        body = (
            struct.pack("<H", len(entries))
            + b"".join(struct.pack("<HHII", *entry) for entry in entries)
            + bytes(4)
        )
        exif = b"Exif\0\0II*\0\x08\0\0\0" + body
        for format_ in ("JPEG", "WEBP", "HEIF"):
            yield Case(f"exif-{name}-{format_.lower()}", encoded(image, format_, exif=exif), size=size)
    yield Case("xmp-huge", encoded(image, "WEBP", xmp=b"<x>" * 500_000), size=size)
    yield Case("png-20000-texts", png(8, 8, bytes(9 * 8), *[chunk(b"tEXt", b"k\0v")] * 20_000), size=(8, 8))


def _structure(files: dict[str, bytes]) -> Iterator[Case]:
    size = (W, H)
    yield Case("heif-48-references", _grids(files["heif"], levels=1), size=(W * 8, H * 6))
    yield Case("heif-48-references-6-deep", _grids(files["heif"], levels=6), EITHER)
    yield Case("heif-of-itself", _grids(files["heif"], levels=1, to_itself=True), EITHER)
    yield Case("avif-48-references-6-deep", _grids(files["avif"], levels=6), EITHER)
    loop = files["tiff"]
    (at,) = struct.unpack_from("<I", loop, 4)
    (count,) = struct.unpack_from("<H", loop, at)
    yield Case("tiff-loop", patched(loop, at + 2 + 12 * count, struct.pack("<I", at)), size=size)
    yield Case(
        "tiff-65535-entries", b"II*\0\x08\0\0\0" + struct.pack("<H", 65_535) + bytes(65_535 * 12), EITHER
    )
    yield Case(
        "boxes-in-boxes",
        b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + struct.pack(">I4s", 16, b"meta") * 5_000,
        EITHER,
    )
    yield Case("box-without-end", b"\0\0\0\x18ftypavif\0\0\0\0mif1avif" + struct.pack(">I4sQ", 1, b"meta", 2**63) + bytes(99), EITHER)  # fmt: skip
    jpeg = files["jpeg"]
    yield Case("jpeg-5000-comments", jpeg[:2] + b"\xff\xfe\0\x04hi" * 5_000 + jpeg[2:], size=size)
    yield Case("jpeg-in-jpeg", jpeg[:-2] + jpeg, DAMAGED)
    yield Case("gif-no-picture", files["gif"][:13] + b"\x3b", EITHER)


def _grids(file: bytes, *, levels: int, to_itself: bool = False) -> bytes:
    """A HEIF whose picture is a grid of 48 that are grids of 48, and so on, of one and the same tile at the end."""
    at = file.index(b"mdat") + 4
    tile = file[at:]
    of_tile = file.index(b"ipco") + 4
    end = of_tile - 8 + int.from_bytes(file[of_tile - 8 : of_tile - 4])
    properties, boxes = of_tile, []
    while properties < end:
        length = int.from_bytes(file[properties : properties + 4])
        boxes.append(file[properties : properties + length])
        properties += length
    last = levels + 1
    grid = struct.pack(">BBBBHH", 0, 0, 5, 7, W * 8, H * 6)
    kinds = [b"grid"] * levels + [b"hvc1" if b"heic" in file[:32] else b"av01"]
    references = b"".join(
        _box(b"dimg", struct.pack(">HH48H", n, 48, *[n if to_itself else n + 1] * 48)) for n in range(1, last)
    )
    head = file[: int.from_bytes(file[:4])]

    def meta(start: int) -> bytes:
        places = [(n, start, len(grid)) for n in range(1, last)] + [(last, start + len(grid), len(tile))]
        iloc = struct.pack(">HH", 0x4400, len(places)) + b"".join(
            struct.pack(">HHHII", n, 0, 1, offset, length) for n, offset, length in places
        )
        names = b"".join(_item(n, kind, hidden=n > 1) for n, kind in enumerate(kinds, 1))
        size = _full(b"ispe", 0, struct.pack(">II", W * 8, H * 6))
        linked = b"".join(struct.pack(">HBB", n, 1, len(boxes) + 1) for n in range(1, last))
        linked += struct.pack(">HB", last, len(boxes)) + bytes(range(1, len(boxes) + 1))
        return _full(
            b"meta", 0,
            _full(b"hdlr", 0, b"\0\0\0\0pict" + bytes(13)) + _full(b"pitm", 0, b"\0\1") + _full(b"iloc", 0, iloc)
            + _full(b"iinf", 0, struct.pack(">H", last) + names) + _full(b"iref", 0, references)
            + _box(b"iprp", _box(b"ipco", b"".join(boxes) + size) + _full(b"ipma", 0, struct.pack(">I", last) + linked)),
        )  # fmt: skip

    start = len(head) + len(meta(0)) + 8
    return head + meta(start) + _box(b"mdat", grid + tile)


# --- films --------------------------------------------------------------------------------------------------------


def films() -> Iterator[Case]:
    """Films, of which the header is read; as pictures they are refused."""
    plain = film("mp4", "libx264")
    at = plain.index(b"mvhd") + 4
    yield Case("film", plain, size=(64, 48), film="video/mp4")
    yield Case("film-no-sound-mkv", film("matroska", "libx264"), size=(64, 48), film="video/x-matroska")
    yield Case(
        "film-odd-size", film("avi", "mpeg4", width=63, height=47), size=(63, 47), film="video/x-msvideo"
    )
    yield Case("film-1-frame", film("mp4", "libx264", frames=1), ("duration_out_of_range",))
    yield Case(
        "film-uneven-times",
        film("mp4", "libx264", times=[0, 1, 2, 9, 10, 40, 41, 90]),
        size=(64, 48),
        film="video/mp4",
    )
    yield Case(
        "film-lying-duration", patched(plain, at + 16, b"\x7f\xff\xff\xff"), size=(64, 48), film="video/mp4"
    )
    yield Case("film-sound-alone", sound(), EITHER)
    yield Case("film-cut", plain[: len(plain) // 2], EITHER)
    yield Case(
        "film-in-film", plain + _box(b"free", film("matroska", "libx264")), size=(64, 48), film="video/mp4"
    )
    yield Case("film-turned", turned(plain), size=(48, 64), film="video/mp4")


def film(container: str, codec: str, *, width: int = 64, height: int = 48, frames: int = 20, times: list[int] | None = None) -> bytes:  # fmt: skip
    """A few frames, without sound."""
    buffer = io.BytesIO()
    with av.open(buffer, "w", format=container) as out:
        stream: Any = out.add_stream(codec, rate=25)
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        stream.time_base = Fraction(1, 25)
        for number, time in enumerate(times or range(frames)):
            pixels: NDArray[np.uint8] = np.full((height, width, 3), number * 20 % 256, np.uint8)
            frame = av.VideoFrame.from_ndarray(pixels, "rgb24")
            frame.pts, frame.time_base = time, Fraction(1, 25)
            out.mux(stream.encode(frame))
        out.mux(stream.encode(None))
    return buffer.getvalue()


def sound() -> bytes:
    buffer = io.BytesIO()
    with av.open(buffer, "w", format="mp4") as out:
        stream: Any = out.add_stream("aac", rate=44_100)
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 1_024), np.float32), "fltp", "mono")
        frame.sample_rate = 44_100
        out.mux(stream.encode(frame))
        out.mux(stream.encode(None))
    return buffer.getvalue()


def turned(plain: bytes) -> bytes:
    """By a quarter, as a phone writes it: the matrix of the track's header."""
    at = plain.index(b"tkhd") + 4 + 40
    return patched(plain, at, struct.pack(">9i", 0, 1 << 16, 0, -(1 << 16), 0, 0, 0, 0, 1 << 30))
