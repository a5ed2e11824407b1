"""What a file is, by its first bytes; its name and what the client says it is count for nothing.

Called before a decoder is chosen, so that only that one decoder ever sees the file.
"""

from typing import Final

from burnish.errors import Failed

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
    (b"FUJIFILMCCD-RAW", "a raw photo"),
    (b"\x1aE\xdf\xa3", "a video"),
    (b"RIFF", "a recording"),
    (b"OggS", "a recording"),
    (b"ID3", "a recording"),
)
_HEIF_BRANDS: Final = (b"heic", b"heix", b"hevc", b"mif1", b"msf1", b"avif", b"avis")


def sniff(head: bytes) -> tuple[str, str]:
    """Pillow's format and the type of a file that begins with `head` (64 bytes or all there are).

    Raises:
        Failed: unsupported_format, in words that name what was sent where that is known.
    """
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return "WEBP", "image/webp"
    for magic, name, type_ in _READ:
        if head.startswith(magic):
            return name, type_
    raise Failed("unsupported_format", f"{_what(head)} JPEG, PNG, WebP, BMP, TIFF and GIF are read.")


def _what(head: bytes) -> str:
    if not head:
        return "The file is empty."
    if head[4:8] == b"ftyp":
        heif = head[8:12] in _HEIF_BRANDS
        return f"The file is {'a HEIF or AVIF picture' if heif else 'a video'}, which is not read here."
    for magic, name in _NAMED:
        if head.startswith(magic):
            return f"The file is {name}, which is not read here."
    text = head.lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if text.startswith((b"<svg", b"<?xml", b"<!doctype svg")):
        return "The file is an SVG or another XML document, which has no pixels."
    if text.startswith(b"<"):
        return "The file is a web page, not a picture."
    return "The file is not a picture in any format that is read."
