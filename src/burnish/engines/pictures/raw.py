"""What cameras write before they make a picture of it (DNG, CR2, CR3, NEF, ARW, RAF, ORF, RW2, PEF, SRW), by LibRaw.

Called by `read`. It comes out as 16-bit sRGB with the camera's white balance and orientation, without any brightening
that depends on the picture: so that brackets stay as far apart as they were taken. The file is given from memory.
"""

from typing import IO, Any, BinaryIO, Final, cast

import rawpy
from numpy.typing import NDArray
from PIL import Image

from burnish.engines.pictures import metadata as meta
from burnish.engines.pictures import shot as shots
from burnish.engines.wire import Metadata, Shot
from burnish.errors import Failed

_TIFF: Final = {b"II*\0": "little", b"MM\0*": "big"}
#: First bytes that only raw files have -> their type.
_MAGIC: Final = (
    (b"FUJIFILMCCD-RAW", "image/x-fuji-raf"),
    (b"IIRO", "image/x-olympus-orf"),
    (b"IIRS", "image/x-olympus-orf"),
    (b"MMOR", "image/x-olympus-orf"),
    (b"IIU\0", "image/x-panasonic-rw2"),
)
#: Tags of a TIFF: width of the entries that are looked at, bounds on how many.
_COMPRESSION, _PHOTOMETRIC, _MAKE, _SUBIFDS, _DNG_VERSION = 259, 262, 271, 330, 50706
#: Sensor values, one colour a pixel or already three (TIFF/EP, DNG).
_SENSOR: Final = (32_803, 34_892)
#: Ways of packing that only cameras use: Sony, Epson, Samsung (twice), Nikon, Kodak, Pentax.
_CAMERA_PACKING: Final = (32_767, 32_769, 32_770, 32_772, 34_713, 65_000, 65_535)
_BY_MAKER: Final = (
    (b"NIKON", "image/x-nikon-nef"),
    (b"SONY", "image/x-sony-arw"),
    (b"PENTAX", "image/x-pentax-pef"),
    (b"RICOH", "image/x-pentax-pef"),
    (b"SAMSUNG", "image/x-samsung-srw"),
)
_MOST_DIRECTORIES: Final = 16
_MOST_ENTRIES: Final = 512
#: Quarter turns as LibRaw says them.
_QUARTER: Final = 4
_SRGB_GAMMA: Final = (2.4, 12.92)


def raw_type(source: IO[bytes], head: bytes) -> str | None:
    """The type of a raw file that begins with `head`; None for everything else. `source` may be left anywhere."""
    for magic, type_ in _MAGIC:
        if head.startswith(magic):
            return type_
    if head[4:12] == b"ftypcrx ":
        return "image/x-canon-cr3"
    if head[:4] not in _TIFF:
        return None
    if head[8:10] == b"CR" and head[10:11] == b"\2":
        return "image/x-canon-cr2"
    return _of_tiff(source, head)


def _of_tiff(source: IO[bytes], head: bytes) -> str | None:
    """Whether a TIFF's directories speak of sensor values, and whose."""
    order = "little" if head[:2] == b"II" else "big"
    maker, sensor = b"", False
    left = [_number(head[4:8], order)]
    for _ in range(_MOST_DIRECTORIES):
        if not left:
            break
        for tag, value, count in _entries(source, left.pop(0), order):
            if tag == _DNG_VERSION:
                return "image/x-adobe-dng"
            if tag == _MAKE:
                maker = maker or _at(source, _number(value, order), 16).upper()
            elif (tag == _PHOTOMETRIC and _number(value[:2], order) in _SENSOR) or (
                tag == _COMPRESSION and _number(value[:2], order) in _CAMERA_PACKING
            ):
                sensor = True
            elif tag == _SUBIFDS:
                many = _at(source, _number(value, order), 4 * min(count, _MOST_DIRECTORIES))
                places = [value] if count == 1 else [many[at : at + 4] for at in range(0, len(many), 4)]
                left += [_number(place, order) for place in places]
    if not sensor:
        return None
    return next((type_ for name, type_ in _BY_MAKER if maker.startswith(name)), "image/x-raw")


def _entries(source: IO[bytes], offset: int, order: str) -> list[tuple[int, bytes, int]]:
    """(tag, the four bytes of its value, how many values) of a directory."""
    count = min(_number(_at(source, offset, 2), order), _MOST_ENTRIES)
    body = _at(source, offset + 2, 12 * count)
    parts = [body[at : at + 12] for at in range(0, len(body) - 11, 12)]
    return [(_number(part[:2], order), part[8:], _number(part[4:8], order)) for part in parts]


def _at(source: IO[bytes], offset: int, size: int) -> bytes:
    source.seek(offset)
    return source.read(size)


def _number(data: bytes, order: str) -> int:
    return int.from_bytes(data, "little" if order == "little" else "big")


class Raw:
    """An opened file: its header is read, the sensor's values are not."""

    frames = 1

    def __init__(self, source: IO[bytes]) -> None:
        self._source = source
        self._raw = rawpy.RawPy()
        source.seek(0)
        try:
            self._raw.open_buffer(cast("BinaryIO", source))
        except rawpy.LibRawFileUnsupportedError as error:
            raise Failed(
                "unsupported_format",
                "This camera's raw file is not one that is read. Save it as DNG or TIFF, and send that.",
            ) from error
        sizes = self._raw.sizes
        turned = sizes.flip & _QUARTER
        self.width, self.height = (sizes.iheight, sizes.iwidth) if turned else (sizes.iwidth, sizes.iheight)
        #: What is there to be decoded, cropped or not.
        self.sensor_pixels = max(sizes.raw_width * sizes.raw_height, self.width * self.height)

    def pixels(self, notes: dict[str, str]) -> NDArray[Any]:
        """`[H, W, 3]`, developed; gray sensors give one channel."""
        notes["raw"] = "Developed as sRGB, with the camera's white balance."
        made: NDArray[Any] = self._raw.postprocess(
            use_camera_wb=True,
            output_bps=16,
            no_auto_bright=True,
            adjust_maximum_thr=0.0,  # else white is where the picture is brightest
            gamma=_SRGB_GAMMA,
            output_color=rawpy.ColorSpace.sRGB,
        )
        return made.reshape(*made.shape[:2], -1)

    def metadata(self, notes: dict[str, str]) -> Metadata:
        return meta.gathered(self._exif(), None, None, notes, maker_note=False)

    def shot(self) -> Shot:
        """By its EXIF where it has some that is read, and by what LibRaw knows of all formats elsewhere."""
        other = self._raw.other
        known = shots.facts(
            taken_at=other.timestamp.astimezone() if other.timestamp else None,
            seconds=other.shutter_speed,
            aperture=other.aperture,
            iso=other.iso_speed,
            focal_mm=other.focal_length,
            lens=self._raw.lens.model,
        )
        return shots.either(shots.shot(self._exif()), known)

    def _exif(self) -> Image.Exif:
        """Of those that are built like a TIFF."""
        head = _at(self._source, 0, 4)
        return meta.loaded_of(self._source) if head in _TIFF else Image.Exif()
