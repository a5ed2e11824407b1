"""What a file says about its picture: read from the input, cleaned, and shaped for the output.

Cleaned means: the orientation is taken out because it has been applied, sizes and thumbnails of the old pixels are
left behind, and what a reader could not make sense of is dropped and said so. A colour profile stays whatever
the policy, because without it the colours are others.
"""

import os
import re
from collections.abc import Callable
from typing import IO, Any, Final

from PIL import Image
from PIL.ExifTags import IFD

from burnish.engines.wire import Metadata

_ORIENTATION: Final = 0x0112
_PIXEL_SIZES: Final = (0xA002, 0xA003)
_INTEROPERABILITY: Final = 0xA005
_MAKER_NOTE: Final = 0x927C

#: Tags of the first directory that describe the picture and not the file: description, maker, model, program, time,
#: artist, copyright, rating, and Windows' title, comment, author, keywords, subject.
_DESCRIPTIVE: Final = (
    *(0x010E, 0x010F, 0x0110, 0x0131, 0x0132, 0x013B, 0x8298, 0x4746, 0x4749),
    *(0x9C9B, 0x9C9C, 0x9C9D, 0x9C9E, 0x9C9F),
)

_MOST_CHUNKS: Final = 100_000
_MAX_EXIF_BYTES: Final = 1024 * 1024
_MAX_XMP_BYTES: Final = 1024 * 1024
_MAX_ICC_BYTES: Final = 4 * 1024 * 1024
#: One JPEG segment, less its own header.
_JPEG_SEGMENT_BYTES: Final = 65_000

_XMP_ORIENTATION: Final = re.compile(rb'tiff:Orientation="[0-9]"|<tiff:Orientation>[0-9]</tiff:Orientation>')
_XMP_PLACE: Final = re.compile(rb"gps|latitude|longitude|location|geo:|:city|:country", re.IGNORECASE)
_ICC_SPACES: Final = {b"RGB ": "RGB", b"GRAY": "L", b"CMYK": "CMYK"}


def orientation(image: Image.Image, source: IO[bytes]) -> int:
    """How the pixels lie, 1 to 8, without decoding any; 1 where the file says nothing that can be read.

    1 for TIFF too, which Pillow turns itself.
    """
    if image.format == "TIFF":
        return 1
    try:
        exif = _png_exif(image, source) if image.format == "PNG" else image.getexif()
        value = exif.get(_ORIENTATION, 1)
    except Exception:  # EXIF is as hostile as the rest of the file, and any error means unreadable
        return 1
    return value if isinstance(value, int) and 1 <= value <= 8 else 1


def collect(image: Image.Image, notes: dict[str, str]) -> Metadata:
    """Everything worth keeping; what cannot be kept goes into `notes`."""
    info = image.info
    xmp = info.get("xmp") or info.get("XML:com.adobe.xmp")
    return Metadata(
        exif=_exif(exif_of(image), notes),
        icc=_icc(info.get("icc_profile"), notes),
        xmp=_xmp(xmp, notes),
        dpi=_dpi(image),
    )


def gathered(
    exif: Image.Exif, icc: object, xmp: object, notes: dict[str, str], *, maker_note: bool = True
) -> Metadata:
    """`collect`, of what another library than Pillow has read. `maker_note`: whether the maker's own part makes sense
    outside its file.
    """
    return Metadata(
        exif=_exif(exif, notes, maker_note=maker_note), icc=_icc(icc, notes), xmp=_xmp(xmp, notes)
    )


def exif_of(image: Image.Image) -> Image.Exif:
    """The EXIF of a picture."""
    return _readable(image.getexif)


def loaded(exif: bytes) -> Image.Exif:
    """EXIF bytes of a client's, as Pillow's own kind."""
    return _readable(lambda: load(exif))


def loaded_of(source: IO[bytes]) -> Image.Exif:
    """The EXIF of a file that is built like a TIFF, which stays in use."""

    def read() -> Image.Exif:
        exif = Image.Exif()
        source.seek(0)
        exif.load_from_fp(source)
        return exif

    return _readable(read)


def _readable(read: Callable[[], Image.Exif]) -> Image.Exif:
    """What is read, empty where it cannot be."""
    try:
        return read()
    except Exception:  # as in `orientation`
        return Image.Exif()


def icc_space(icc: bytes) -> str:
    """Pillow's mode of the pixels that a profile is for; empty for what is no profile."""
    return _ICC_SPACES.get(icc[16:20], "") if icc[36:40] == b"acsp" else ""


def shape(metadata: Metadata, policy: str, width: int, height: int, notes: dict[str, str]) -> Metadata:
    """What goes into the output: `policy` applied, and the size in EXIF that of the new picture."""
    if policy == "strip":
        if metadata.exif or metadata.xmp:
            notes["metadata"] = "Left out, as asked."
        return Metadata(icc=metadata.icc)
    exif, xmp = metadata.exif, metadata.xmp
    if exif:
        exif = _resized(exif, width, height, place=policy == "keep", notes=notes)
    if policy == "strip_gps" and _XMP_PLACE.search(xmp):
        notes["xmp"] = "Left out as a whole, because it speaks of a place."
        xmp = b""
    return Metadata(exif=exif, icc=metadata.icc, xmp=xmp, dpi=metadata.dpi)


def for_jpeg(metadata: Metadata, notes: dict[str, str]) -> Metadata:
    """The same, without what is too long for a JPEG's segments."""
    exif, xmp = metadata.exif, metadata.xmp
    if len(exif) > _JPEG_SEGMENT_BYTES:
        notes["exif"], exif = "Left out: a JPEG holds at most 65 kB of it.", b""
    if len(xmp) > _JPEG_SEGMENT_BYTES:
        notes["xmp"], xmp = "Left out: a JPEG holds at most 65 kB of it.", b""
    return Metadata(exif=exif, icc=metadata.icc, xmp=xmp, dpi=metadata.dpi)


def load(exif: bytes) -> Image.Exif:
    """EXIF bytes that `collect` made, as Pillow's own kind."""
    loaded = Image.Exif()
    loaded.load(exif)
    return loaded


def _png_exif(image: Image.Image, source: IO[bytes]) -> Image.Exif:
    """EXIF of a PNG that is only opened; it may stand behind the pixels, which Pillow would decode to get there."""
    if "exif" in image.info:
        return load(image.info["exif"])
    at = source.tell()
    source.seek(8)
    exif = Image.Exif()
    for _ in range(_MOST_CHUNKS):
        head = source.read(8)
        length = int.from_bytes(head[:4], "big")
        if len(head) < 8 or head[4:] == b"IEND":
            break
        if head[4:] == b"eXIf" and length <= _MAX_EXIF_BYTES:
            exif = load(source.read(length))
            break
        source.seek(length + 4, os.SEEK_CUR)
    source.seek(at)
    return exif


def _exif(found: Image.Exif, notes: dict[str, str], *, maker_note: bool = True) -> bytes:
    try:
        kept = Image.Exif()
        for tag in _DESCRIPTIVE:
            if tag in found:
                kept[tag] = found[tag]
        for ifd in (IFD.Exif, IFD.GPSInfo):
            directory = _directory(found, ifd)
            if not maker_note:
                directory.pop(_MAKER_NOTE, None)
            if directory:
                kept[ifd] = directory
        exif = kept.tobytes() if len(kept) else b""
    except Exception:  # as in `orientation`: hostile bytes, and dropping them loses no pixel
        notes["exif"] = "Left out: it could not be read."
        return b""
    if len(exif) > _MAX_EXIF_BYTES:
        notes["exif"] = "Left out: it is longer than 1 MB."
        return b""
    return exif


def _directory(exif: Image.Exif, ifd: IFD) -> dict[int, Any]:
    skipped = {*_PIXEL_SIZES, _INTEROPERABILITY}
    return {tag: value for tag, value in exif.get_ifd(ifd).items() if tag not in skipped}


def _resized(exif: bytes, width: int, height: int, *, place: bool, notes: dict[str, str]) -> bytes:
    """The same EXIF with the new size in it, and without the place unless `place`."""
    old, new = load(exif), Image.Exif()
    for tag in old:
        if tag not in (IFD.Exif, IFD.GPSInfo):
            new[tag] = old[tag]
    if details := dict(old.get_ifd(IFD.Exif)):
        new[IFD.Exif] = details | dict(zip(_PIXEL_SIZES, (width, height), strict=True))
    if position := dict(old.get_ifd(IFD.GPSInfo)):
        if place:
            new[IFD.GPSInfo] = position
        else:
            notes["gps"] = "Left out, as asked."
    return new.tobytes() if len(new) else b""


def _icc(icc: object, notes: dict[str, str]) -> bytes:
    if not isinstance(icc, bytes) or not icc:
        return b""
    if not icc_space(icc) or len(icc) > _MAX_ICC_BYTES:
        notes["icc"] = "The colour profile could not be read and was left out; colours are taken as sRGB."
        return b""
    return icc


def _xmp(xmp: object, notes: dict[str, str]) -> bytes:
    if isinstance(xmp, str):
        xmp = xmp.encode("utf-8", "replace")
    if not isinstance(xmp, bytes):
        return b""
    if len(xmp) > _MAX_XMP_BYTES:
        notes["xmp"] = "Left out: it is longer than 1 MB."
        return b""
    return _XMP_ORIENTATION.sub(b"", xmp)


def _dpi(image: Image.Image) -> tuple[float, float] | None:
    try:
        across, down = (float(value) for value in image.info.get("dpi", ()))
    except (TypeError, ValueError, ZeroDivisionError, OverflowError):
        return None
    return (across, down) if 1 < across <= 65_535 and 1 < down <= 65_535 else None  # 1: a decoder's default
