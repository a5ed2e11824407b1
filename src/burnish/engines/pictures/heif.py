"""HEIF (HEIC) by libheif: 8 bits as 8, more as 16; turned as the file says, once.

Called by `read`. libheif applies the file's own turns (`irot`, `imir`); an orientation in EXIF says the same again and
counts for nothing, as the standard has it.
"""

from typing import IO, Any, Final

import numpy as np
import pillow_heif
from numpy.typing import NDArray
from PIL import Image

from burnish.engines.pictures import metadata as meta
from burnish.engines.pictures import shot as shots
from burnish.engines.wire import Metadata, Shot
from burnish.errors import Failed

pillow_heif.options.THUMBNAILS = False
pillow_heif.options.DEPTH_IMAGES = False
pillow_heif.options.AUX_IMAGES = False

_CHANNELS: Final = {"L": 1, "LA": 2, "RGB": 3, "RGBA": 4}
#: Transfer curves of HDR (ITU-T H.273): PQ and HLG.
_HDR: Final = (16, 18)


class Heif:
    """An opened file: the header is read, no pixel is decoded."""

    def __init__(self, source: IO[bytes]) -> None:
        self._file = pillow_heif.open_heif(source, convert_hdr_to_8bit=False)
        self.width, self.height = self._file.size
        self.frames = len(self._file)

    def pixels(self, notes: dict[str, str]) -> NDArray[Any]:
        """`[H, W, C]` of the primary picture."""
        mode, _, depth = self._file.mode.partition(";")
        if mode not in _CHANNELS:
            raise Failed(
                "unsupported_format",
                f"The picture's samples are of a kind that is not read ({mode}). Save it as PNG or JPEG first.",
            )
        nclx = self._file.info.get("nclx_profile") or {}
        if nclx.get("transfer_characteristics") in _HDR:
            notes["colour"] = "The picture is HDR; its levels were taken as they are and may look dull."
        pixels: NDArray[Any] = np.asarray(self._file).reshape(self._file.size[1], self._file.size[0], -1)
        if not depth:
            return pixels
        # libheif moves the bits up and leaves those below empty: white would not be white.
        below: NDArray[Any] = pixels >> np.uint16(self._file.info["bit_depth"])
        below |= pixels
        return below

    def metadata(self, notes: dict[str, str]) -> Metadata:
        info = self._file.info
        return meta.gathered(self._exif(), info.get("icc_profile"), info.get("xmp"), notes)

    def shot(self) -> Shot:
        return shots.shot(self._exif())

    def _exif(self) -> Image.Exif:
        return meta.loaded(self._file.info.get("exif") or b"")
