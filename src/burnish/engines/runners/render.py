"""`render`: smaller, and with a watermark. The work is `photos/resize.py` and `photos/watermark.py`."""

from collections.abc import Iterator, Sequence
from typing import Final

import cv2
import msgspec

from burnish.engines.catalogue import Render
from burnish.engines.networks.device import Device
from burnish.engines.photos import resize, watermark
from burnish.engines.wire import Picture
from burnish.engines.work import Work

#: Letters, their tile, and a strip of the picture while they are laid over it.
_WATERMARK_BYTES: Final = 192 * 1024 * 1024


def load(device: Device) -> "Renderer":
    """The font, while files may still be opened."""
    del device
    return Renderer()


class Renderer:
    """Keeps nothing between jobs but the font."""

    def __init__(self) -> None:
        self._font = cv2.FontFace("sans")

    def memory_bytes(self, params: bytes, pictures: Sequence[Picture]) -> int:
        """What `run` needs beside the pixels that come and go."""
        del params
        (picture,) = pictures
        return _WATERMARK_BYTES + resize.memory_bytes(picture.height, picture.width, picture.height, 4)

    def run(self, work: Work) -> Iterator[float]:
        """Fill the result; yields the part that is done."""
        wanted = msgspec.msgpack.decode(work.params, type=Render)
        (pixels,), (made,) = work.sources, work.results
        for done in resize.resize(pixels, made):
            yield 0.8 * done
        if wanted.watermark:
            for done in watermark.lay(made, work.mark, self._font):
                yield 0.8 + 0.2 * done

    def rest(self) -> None:
        """Nothing is kept that takes room."""
