"""A client's file to raw pixels: `probe` reads the header, `decode` everything.

Called in a codec child for one file, after its fences stand. The one decoder that `sniff` chose sees the file; the
size is checked before a pixel is decoded; what a decoder raises, whatever it is, becomes a `Failed` that says what is
wrong with the file. Rows, not pictures, are copied, so that memory stays near one decoded picture.
"""

import copy
import os
import struct
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from io import BytesIO
from typing import IO, Any, Final, NamedTuple, cast

import numpy as np
from numpy.typing import NDArray
from PIL import (
    AvifImagePlugin,
    Image,
    ImageCms,
    ImageColor,
    ImageFile,
    ImagePalette,
    MpoImagePlugin,
    TgaImagePlugin,
    TiffImagePlugin,
    WebPImagePlugin,
)

from burnish.engines import catalogue
from burnish.engines.pictures import boxes, metadata
from burnish.engines.pictures.heif import Heif
from burnish.engines.pictures.raw import Raw
from burnish.engines.pictures.reduced import reduced
from burnish.engines.pictures.shot import shot
from burnish.engines.pictures.sniff import sniff
from burnish.engines.wire import Channels, Metadata, Picture, Shot
from burnish.errors import Failed

ImageFile.LOAD_TRUNCATED_IMAGES = False
TiffImagePlugin.READ_LIBTIFF = True  # Pillow's own way takes 16-bit planes for bytes

#: Address space for decoding, in bytes a pixel: 16-bit colour with transparency needs the most.
BYTES_PER_PIXEL: Final = 48

#: Words of decoders for what they understand and cannot read.
_NOT_READ: Final = ("unknown pixel mode", "unsupported", "unknown data organization", "cannot handle")

#: What decoders import when they first need it, which in a child would be too late.
_IMPORTED_EARLY: Final = (
    *(copy, ImageColor, ImagePalette),
    *(AvifImagePlugin, MpoImagePlugin, TgaImagePlugin, WebPImagePlugin),
)

#: The formats that Pillow does not read.
_OTHERS: Final = ("HEIF", "RAW")
#: Formats whose boxes say sizes and bits.
_BOXED: Final = ("HEIF", "AVIF")

#: Alpha to a mask of what shows at all.
_SEEN: Final = [0, *[255] * 255]
_ROWS_AT_ONCE: Final = 128
_TRANSPOSES: Final = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_TURNED: Final = (5, 6, 7, 8)
_CHANNELS: Final[dict[str, Channels]] = {"L": 1, "LA": 2, "RGB": 3, "RGBA": 4}
#: TIFF: white may be zero, which Pillow does not heed with 16 bits; colours may lie apart, and then only high bytes are had.
_PHOTOMETRIC, _WHITE_IS_ZERO = 262, 0
_PLANES, _APART = 284, 2

#: The raw modes of 16-bit colour in which Pillow keeps the high bytes, and those in which it then keeps the low ones.
_LOW_BYTES: Final = {
    high: high[:-1] + ("L" if high.endswith("B") else "B")
    for mode in ("RGB", "RGBX", "RGBA")
    for high in (f"{mode};16B", f"{mode};16L", f"{mode};16N")
}


def load() -> None:
    """Have everything in memory that decoding may ask for, while files may still be opened."""
    Image.preinit()
    for codec in ("latin-1", "ascii", "utf-8", "utf-16", "utf-16-le", "utf-16-be"):
        "".encode(codec)
    ImageCms.createProfile("sRGB")


def probe(source: IO[bytes], max_pixels: int, filename: str = "") -> tuple[str, int, int, int]:
    """Type, width and height as seen, and frames, of the file in `source`, which was called `filename`.

    Raises:
        Failed: unsupported_format, decode_failed, input_too_large.
    """
    with _told():
        image, type_ = _open(source, max_pixels, filename)
        if isinstance(image, Heif | Raw):
            return type_, image.width, image.height, image.frames
        width, height = image.size
        if metadata.orientation(image, source) in _TURNED:
            width, height = height, width
        return type_, width, height, _frames(image)


class Read(NamedTuple):
    """What a file held; its pixels are where they were wanted."""

    picture: Picture
    type: str
    metadata: Metadata
    notes: dict[str, str]
    shot: Shot


def decode(
    source: IO[bytes],
    target: int,
    max_pixels: int,
    allow: Callable[[int], None],
    filename: str = "",
    side: int | None = None,
) -> Read:
    """Pixels of the first frame into the file `target`; what else the file says.

    `allow` is told the pixels that the header promises, once, before any is decoded. `side`: the picture is reduced until
    it is at most that long; of a JPEG the decoder leaves out what would not be seen.

    Raises:
        Failed: as `probe`.
    """
    with _told():
        image, type_ = _open(source, max_pixels, filename)
        notes: dict[str, str] = {}
        if isinstance(image, Heif | Raw):
            allow(image.sensor_pixels if isinstance(image, Raw) else image.width * image.height)
            said = image.shot()
            rows, picture = _whole(image.pixels(notes), max_pixels)
            kept = image.metadata(notes)
        else:
            allow(image.width * image.height)
            if _frames(image) > 1:
                notes["frames"] = "The first of several frames was taken."
            if type_ == "image/avif" and (bits := boxes.said(source).bits) > 8:
                notes["bits"] = f"{bits} bits a channel were reduced to 8: AVIF is read with 8 only."
            if side is not None and type_ == "image/jpeg":
                image.draft(image.mode, (side, side))
            turn = _TRANSPOSES.get(metadata.orientation(image, source))
            rows, picture, kept = _pixels(image, source, turn, notes)
            said = shot(metadata.exif_of(image))
        if side is not None:
            rows, picture = reduced(rows, picture, side)
        for piece in rows:
            _write(target, piece)
        return Read(picture, type_, kept, notes, said)


def _whole(pixels: NDArray[Any], max_pixels: int) -> tuple[Iterator[bytes], Picture]:
    """The rows of a picture that is decoded already, and its shape, which only now is certain."""
    height, width, channels = pixels.shape
    _refuse(width, height, max_pixels)
    picture = Picture(width, height, cast("Channels", channels), 16 if pixels.dtype.itemsize == 2 else 8)
    rows = (
        np.ascontiguousarray(row).astype(row.dtype.newbyteorder("<"), copy=False).tobytes() for row in pixels
    )
    if channels not in (2, 4):
        return rows, picture
    if picture.bits == 16:
        return _bled16(rows, (width, height), channels), picture
    return (part.tobytes() for part in _parts(_bleed(Image.fromarray(pixels)))), picture


@contextmanager
def _told() -> Iterator[None]:
    """Turn whatever a decoder raises into a `Failed`."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    except (Failed, ImportError):  # the latter is ours to mend: see _IMPORTED_EARLY
        raise
    except MemoryError as error:
        raise Failed(
            "input_too_large", "Decoding this file takes more memory than a picture of its size may take."
        ) from error
    except Exception as error:
        truncated = isinstance(error, EOFError) or "truncated" in str(error).lower()
        wrong = "is cut off: its end is missing" if truncated else "is damaged and could not be decoded"
        raise Failed("decode_failed", f"The picture {wrong}. Send the file again, whole.") from error


def _open(source: IO[bytes], max_pixels: int, filename: str) -> tuple[ImageFile.ImageFile | Heif | Raw, str]:
    name, type_ = sniff(source, filename)
    if name in _BOXED:
        _refuse(*boxes.said(source)[:2], max_pixels)
    if name in _OTHERS:
        other = Heif(source) if name == "HEIF" else Raw(source)
        _refuse(other.width, other.height, max_pixels)
        return other, type_
    image = _header(source, name)
    _refuse(image.width, image.height, max_pixels)
    if not image.width or not image.height:
        raise Failed("decode_failed", "The picture has no pixels: its header says it is empty.")
    return image, type_


def _refuse(width: int, height: int, max_pixels: int) -> None:
    if width * height > max_pixels:
        raise Failed("input_too_large", catalogue.too_many_pixels(width, height, max_pixels))


def _header(source: IO[bytes], name: str) -> ImageFile.ImageFile:
    """What Pillow's decoder makes of the header; asked for directly, because `Image.open` would hide what is wrong."""
    decoder, _ = Image.OPEN[name]
    try:
        return decoder(source, "")
    except (SyntaxError, OSError) as error:
        if any(word in str(error).lower() for word in _NOT_READ):
            raise Failed(
                "unsupported_format", f"The file is a kind of {name} that is not read ({error})."
            ) from error
        raise


def _frames(image: ImageFile.ImageFile) -> int:
    """How many pictures the file holds; 1 where that cannot be counted, or is an album of previews (MPO)."""
    if image.format in ("JPEG", "MPO", "BMP", "TGA"):
        return 1
    try:
        return max(1, int(getattr(image, "n_frames", 1)))
    except (OSError, EOFError, SyntaxError, ValueError, TypeError, KeyError, IndexError, struct.error):
        return 1
    finally:
        image.seek(0)


def _pixels(
    image: ImageFile.ImageFile, source: IO[bytes], turn: Image.Transpose | None, notes: dict[str, str]
) -> tuple[Iterator[bytes], Picture, Metadata]:
    """The rows of the picture as raw bytes, their shape, and the metadata that goes with these pixels."""
    if image.mode.startswith("I;16"):
        return _gray16(image, turn, notes)
    raw = _raw_mode(image)
    if (raw == "LA;16B" or raw in _LOW_BYTES) and _tag(image, _PLANES) != _APART:
        return _colour16(image, raw, source, turn, notes)
    if ";16" in raw:
        notes["bits"] = "16 bits a channel were reduced to 8: this kind of file is read with 8 only."
    image.load()
    kept = metadata.collect(image, notes)
    plain, kept = _plain(image, kept, notes)
    if turn is not None:
        plain = plain.transpose(turn)
    plain = _bleed(plain)
    picture = Picture(plain.width, plain.height, _channels(plain.mode), 8)
    return (part.tobytes() for part in _parts(plain)), picture, kept


def _plain(image: Image.Image, kept: Metadata, notes: dict[str, str]) -> tuple[Image.Image, Metadata]:
    """The picture as L, LA, RGB or RGBA, 8 bits a channel; a profile that no longer fits is applied and dropped."""
    if image.mode == "1":
        image = image.convert("L")
    if image.mode in ("P", "PA"):
        image = image.convert("RGBA" if image.mode == "PA" or "transparency" in image.info else "RGB")
    if image.mode in ("L", "RGB") and "transparency" in image.info:
        image = image.convert("LA" if image.mode == "L" else "RGBA")
    if image.mode == "RGBX":
        image = image.convert("RGB")
    if image.mode == "CMYK":
        return _from_cmyk(image, kept, notes)
    if image.mode in ("YCbCr", "RGBa", "La"):
        image = image.convert({"YCbCr": "RGB", "RGBa": "RGBA", "La": "LA"}[image.mode])
    if image.mode not in _CHANNELS:
        raise Failed(
            "unsupported_format",
            f"The picture's samples are of a kind that is not read ({image.mode}: 32 bits, floating point or Lab). "
            "Save it with 8 or 16 bits a channel, gray or RGB.",
        )
    fitting = "L" if image.mode in ("L", "LA") else "RGB"
    if kept.icc and metadata.icc_space(kept.icc) != fitting:
        notes["icc"] = "The colour profile is for another kind of pixels and was left out."
        kept = Metadata(exif=kept.exif, xmp=kept.xmp, dpi=kept.dpi)
    return image, kept


def _from_cmyk(image: Image.Image, kept: Metadata, notes: dict[str, str]) -> tuple[Image.Image, Metadata]:
    """Inks to sRGB: by the file's profile where it has one that works, else by plain arithmetic."""
    how = "by simple arithmetic, as the file has no profile that can be read; colours may differ"
    converted = image
    if metadata.icc_space(kept.icc) == "CMYK":
        try:
            profile = ImageCms.ImageCmsProfile(BytesIO(kept.icc))
            srgb = ImageCms.createProfile("sRGB")
            converted = cast("Image.Image", ImageCms.profileToProfile(image, profile, srgb, outputMode="RGB"))
            how = "by its profile"
        except (ImageCms.PyCMSError, OSError):
            pass
    notes["colour"] = f"CMYK was converted to sRGB {how}."
    return converted.convert("RGB"), Metadata(exif=kept.exif, xmp=kept.xmp, dpi=kept.dpi)


def _bleed(image: Image.Image) -> Image.Image:
    """Give wholly transparent pixels the colour of what is near them, so that no hidden colour leaks into an edge."""
    if "A" not in image.mode or image.getchannel("A").getextrema()[0]:
        return image
    alpha, filled = image.getchannel("A"), _spread(image)
    filled.paste(image.convert(filled.mode), mask=alpha.point(_SEEN))
    filled.putalpha(alpha)
    return filled


def _spread(image: Image.Image) -> Image.Image:
    """The colours of a transparent picture, flown into where it shows none; without alpha.

    A pyramid: each level is half the one before, weighted by alpha, and what shows nothing is filled from the next.
    """
    levels = [image.convert("RGBA").convert("RGBa").reduce(2)]
    while max(levels[-1].size) > 1:
        levels.append(levels[-1].reduce(2))
    filled = levels.pop().convert("RGBA").convert("RGB")
    for level in reversed(levels):
        filled = filled.resize(level.size, Image.Resampling.BILINEAR)
        filled.paste(level.convert("RGBA").convert("RGB"), mask=level.getchannel(3).point(_SEEN))
    return filled.resize(image.size, Image.Resampling.BILINEAR).convert("L" if image.mode == "LA" else "RGB")


def _gray16(
    image: ImageFile.ImageFile, turn: Image.Transpose | None, notes: dict[str, str]
) -> tuple[Iterator[bytes], Picture, Metadata]:
    image.load()
    kept = metadata.collect(image, notes)
    whole: Image.Image = image if turn is None else image.transpose(turn)
    order = ">u2" if image.mode == "I;16B" else "<u2"
    inverted = _tag(image, _PHOTOMETRIC) == _WHITE_IS_ZERO

    def rows() -> Iterator[bytes]:
        for part in _parts(whole):
            values = np.frombuffer(part.tobytes(), order).astype("<u2")
            yield (65_535 - values if inverted else values).tobytes()

    return rows(), Picture(whole.width, whole.height, 1, 16), kept


def _colour16(
    image: ImageFile.ImageFile,
    raw: str,
    source: IO[bytes],
    turn: Image.Transpose | None,
    notes: dict[str, str],
) -> tuple[Iterator[bytes], Picture, Metadata]:
    """16-bit colour, which Pillow has no mode for: decoded once for the high bytes and once for the low ones."""
    if raw == "LA;16B":  # four bytes a pixel, so that plain RGBA holds them as they are
        _set_raw_mode(image, "RGBA")
        image.load()
        halves = [image if turn is None else image.transpose(turn)]
    else:
        source.seek(0)
        second = _header(source, str(image.format))
        _set_raw_mode(second, _LOW_BYTES[raw])
        second.load()
        image.load()
        halves = [half if turn is None else half.transpose(turn) for half in (image, second)]
    kept = metadata.collect(image, notes)
    channels: Channels = 2 if len(halves) == 1 else _channels(halves[0].mode)

    def rows() -> Iterator[bytes]:
        for parts in zip(*map(_parts, halves), strict=True):
            planes = [np.frombuffer(part.tobytes(), np.uint8) for part in parts]
            yield (
                (planes[0] if len(planes) == 1 else np.stack(planes, axis=-1))
                .reshape(-1)
                .view(">u2")
                .astype("<u2")
                .tobytes()
            )

    if channels in (2, 4):
        return _bled16(rows(), halves[0].size, channels), Picture(*halves[0].size, channels, 16), kept
    return rows(), Picture(*halves[0].size, channels, 16), kept


def _bled16(rows: Iterator[bytes], size: tuple[int, int], channels: int) -> Iterator[bytes]:
    """`_bleed` for 16 bits: what is wholly transparent takes the colour that the 8-bit picture would have there."""
    values: NDArray[np.uint16] = np.empty((size[1], size[0], channels), "<u2")
    top = 0
    for row in rows:
        part = np.frombuffer(row, "<u2").reshape(-1, size[0], channels)
        values[top : top + len(part)] = part
        top += len(part)
    hidden = values[..., -1] == 0
    if hidden.any():
        eight = np.right_shift(values, 8).astype(np.uint8)
        eight[..., -1] = np.where(hidden, 0, 255)
        spread = np.asarray(_spread(Image.fromarray(eight))).reshape(*hidden.shape, -1)
        values[hidden, :-1] = spread[hidden].astype(np.uint16) * 257
    for part in values:
        yield part.tobytes()


def _raw_mode(image: ImageFile.ImageFile) -> str:
    """How the file's samples lie, in Pillow's words; empty where that does not matter here."""
    if not image.tile:
        return ""
    args = image.tile[0].args
    raw = args[0] if isinstance(args, tuple) and args else args
    return raw if isinstance(raw, str) else ""


def _set_raw_mode(image: ImageFile.ImageFile, raw: str) -> None:
    image.tile = [
        tile._replace(args=(raw, *tile.args[1:]) if isinstance(tile.args, tuple) else raw)
        for tile in image.tile
    ]


def _tag(image: Image.Image, tag: int) -> object:
    return image.tag_v2.get(tag) if isinstance(image, TiffImagePlugin.TiffImageFile) else None


def _channels(mode: str) -> Channels:
    return _CHANNELS[mode]


def _parts(image: Image.Image) -> Iterator[Image.Image]:
    for top in range(0, image.height, _ROWS_AT_ONCE):
        yield image.crop((0, top, image.width, min(top + _ROWS_AT_ONCE, image.height)))


def _write(target: int, piece: bytes) -> None:
    view = memoryview(piece)
    while view:
        view = view[os.write(target, view) :]
