"""Which films are read, by their first bytes; a file's name and what the client says it is count for nothing.

Called before anything is opened, so that only the one demuxer that is named here ever sees the file: none of those that
read lists of other files (HLS, concat, image sequences) can be chosen by what a file says.
"""

from typing import Final

#: As many of a file's first bytes as tell.
HEAD_BYTES: Final = 600

_PACKET, _SYNC = 188, b"\x47"
#: First bytes -> FFmpeg's name of the demuxer, and the type.
_FIRST: Final = (
    (b"FLV\x01", "flv", "video/x-flv"),
    (b"\x00\x00\x01\xba", "mpeg", "video/mpeg"),
    (b"\x00\x00\x01\xb3", "mpegvideo", "video/mpeg"),
    (bytes.fromhex("3026b2758e66cf11"), "asf", "video/x-ms-wmv"),
)
#: What begins a QuickTime film that has no `ftyp`.
_ATOMS: Final = (b"moov", b"mdat", b"wide", b"free", b"skip")
#: Brands of pictures and of sound, which look like films.
_NO_FILMS: Final = (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1", b"avif", b"avis", b"M4A ", b"M4B ", b"crx ")  # fmt: skip


def film(head: bytes) -> tuple[str, str] | None:
    """FFmpeg's demuxer and the type of a file that begins with `head`, or None where it is no film."""
    for magic, demuxer, type_ in _FIRST:
        if head.startswith(magic):
            return demuxer, type_
    if head[4:8] == b"ftyp" and head[8:12] not in _NO_FILMS:
        brand = head[8:12]
        return "mov", {b"qt  ": "video/quicktime", b"M4V ": "video/x-m4v"}.get(brand, "video/mp4")
    if head[4:8] in _ATOMS and head[:4] != b"RIFF":
        return "mov", "video/quicktime"
    if head.startswith(b"\x1aE\xdf\xa3"):
        return "matroska", "video/webm" if b"webm" in head[:64] else "video/x-matroska"
    if head.startswith(b"RIFF") and head[8:12] == b"AVI ":
        return "avi", "video/x-msvideo"
    if head[::_PACKET][:3] == _SYNC * 3:
        return "mpegts", "video/mp2t"
    return None
