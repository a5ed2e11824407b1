"""What a file is, by its first bytes; its name and what the client says it is count for nothing.

Called before a decoder is chosen, so that only that one decoder ever sees the file. One format has no first bytes of its
own: a Targa is taken for one where its name says so and its header agrees.
"""

import struct
from typing import IO, Final

from burnish.engines.pictures.raw import raw_type
from burnish.errors import Failed

#: So much of a file is looked at; raw files, which may look like a TIFF, are looked through.
HEAD_BYTES: Final = 64

#: First bytes -> Pillow's name of the one decoder that may read the file, and its type.
_READ: Final = (
    (b"\xff\xd8\xff", "JPEG", "image/jpeg"),
    (b"\x89PNG\r\n\x1a\n", "PNG", "image/png"),
    (b"GIF87a", "GIF", "image/gif"),
    (b"GIF89a", "GIF", "image/gif"),
    (b"BM", "BMP", "image/bmp"),
    (b"II*\0", "TIFF", "image/tiff"),
    (b"MM\0*", "TIFF", "image/tiff"),
    (b"II+\0", "TIFF", "image/tiff"),
    (b"MM\0+", "TIFF", "image/tiff"),
)

#: What people send by mistake, to be named in the answer.
_NAMED: Final = (
    (b"%PDF", "a PDF"),
    (b"8BPS", "a Photoshop document"),
    (b"PK\x03\x04", "a ZIP archive or an office document"),
    (b"\x00\x00\x01\x00", "an icon"),
    (b"\xff\x0a", "a JPEG XL picture"),
    (b"\x00\x00\x00\x0cJXL ", "a JPEG XL picture"),
    (b"\x00\x00\x00\x0cjP  ", "a JPEG 2000 picture"),
    (b"\x1aE\xdf\xa3", "a video"),
    (b"RIFF", "a recording"),
    (b"OggS", "a recording"),
    (b"ID3", "a recording"),
)
_TARGA: Final = (".tga", ".icb", ".vda", ".vst")
#: Targa: kinds of pixels (with a palette, colour, gray; plain or in runs), and their bits.
_TARGA_KINDS: Final = (1, 2, 3, 9, 10, 11)
_TARGA_BITS: Final = (8, 15, 16, 24, 32)

_AVIF_BRANDS: Final = (b"avif", b"avis")
_HEIC_BRANDS: Final = (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx")
_HEIF_BRANDS: Final = (b"mif1", b"msf1", b"mif2")


def sniff(source: IO[bytes], filename: str = "") -> tuple[str, str]:
    """The decoder (Pillow's name, `HEIF` or `RAW`) and the type of the file in `source`, which is left at its beginning.

    Raises:
        Failed: unsupported_format, in words that name what was sent where that is known.
    """
    source.seek(0)
    head = source.read(HEAD_BYTES)
    raw = raw_type(source, head)
    source.seek(0)
    if raw:
        return "RAW", raw
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return "WEBP", "image/webp"
    if head[4:8] == b"ftyp" and (found := _still(head)):
        return found
    for magic, name, type_ in _READ:
        if head.startswith(magic):
            return name, type_
    if filename.lower().endswith(_TARGA) and _is_targa(head):
        return "TGA", "image/x-tga"
    raise Failed(
        "unsupported_format",
        f"{_what(head)} JPEG, PNG, WebP, TIFF, HEIF, AVIF, BMP, GIF, TGA and raw photos are read.",
    )


def _still(head: bytes) -> tuple[str, str] | None:
    """A picture of the HEIF family, by its brands; None for films."""
    length = min(int.from_bytes(head[:4]), HEAD_BYTES)
    major = head[8:12]
    brands = [major, *(head[at : at + 4] for at in range(16, length, 4))]
    if major in _AVIF_BRANDS or (major in _HEIF_BRANDS and any(brand in _AVIF_BRANDS for brand in brands)):
        return "AVIF", "image/avif"
    if major in _HEIC_BRANDS or (major in _HEIF_BRANDS and any(brand in _HEIC_BRANDS for brand in brands)):
        return "HEIF", "image/heic"
    return ("HEIF", "image/heif") if major in _HEIF_BRANDS else None


def _is_targa(head: bytes) -> bool:
    """Whether the 18 bytes of a Targa's header agree with each other."""
    if len(head) < 18:
        return False
    _, palette, kind, _, colours, entry, _, _, width, height, bits, _ = struct.unpack_from(
        "<BBBHHBHHHHBB", head
    )
    with_palette = kind in (1, 9)
    return (
        kind in _TARGA_KINDS
        and bits in _TARGA_BITS
        and bool(width and height)
        and palette == (1 if with_palette else palette & 1)
        and (not with_palette or (colours > 0 and entry in (15, 16, 24, 32) and bits == 8))
    )


def _what(head: bytes) -> str:
    if not head:
        return "The file is empty."
    if head[4:8] == b"ftyp":
        return "The file is a video, which is not read here."
    for magic, name in _NAMED:
        if head.startswith(magic):
            return f"The file is {name}, which is not read here."
    text = head.lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if text.startswith((b"<svg", b"<?xml", b"<!doctype svg")):
        return "The file is an SVG or another XML document, which has no pixels."
    if text.startswith(b"<"):
        return "The file is a web page, not a picture."
    return "The file is not a picture in any format that is read."
