"""From a film's numbers to red, green and blue and back, by the same matrix and range, so that nothing shifts.

A film that does not say what its numbers mean is taken as players take it, by its size; what was taken is then said of
what is made of it, which may be of another size.
"""

from typing import Any, Final, cast

import av
import numpy as np
from av.video.reformatter import Interpolation, VideoReformatter
from numpy.typing import NDArray

from burnish.engines.wire import Colours

#: H.273: RGB itself, not said; the matrices of high definition, of standard definition, and of ultra high definition.
_RGB, _UNSAID = 0, 2
_BT709, _BT601, _BT2020 = 1, 6, 9
#: H.273's matrices -> swscale's; what it does not know is taken as players take it.
_MATRICES: Final = {1: 1, 4: 4, 5: 5, 6: 5, 7: 7, 9: 9, 10: 9}
#: Films from here on are high definition.
_HD_HEIGHT: Final = 720
_LIMITED, _FULL = 1, 2
_SMOOTH: Final = Interpolation.BICUBIC | Interpolation.ACCURATE_RND | Interpolation.FULL_CHR_H_INT


def colours_of(frame: av.VideoFrame) -> Colours:
    """What the numbers of frames like this one mean."""
    matrix = int(frame.colorspace)
    if matrix in (_RGB, _UNSAID) or matrix not in _MATRICES:
        matrix = _BT709 if max(frame.height, frame.width * 9 // 16) >= _HD_HEIGHT else _BT601
    full = int(frame.color_range) == _FULL or frame.format.name.startswith("yuvj")
    return Colours(matrix, int(frame.color_primaries), int(frame.color_trc), full and not frame.format.is_rgb)


def bits_of(frame: av.VideoFrame) -> int:
    """8, or 16 for films with finer steps."""
    return 8 if max(component.bits for component in frame.format.components) <= 8 else 16


class ToPixels:
    """Frames of one film to RGB, `[H, W, 3]`, uint8 or uint16, with square pixels. What shows through is white."""

    def __init__(self, colours: Colours, bits: int, width: int, height: int) -> None:
        self._reformatter = VideoReformatter()
        self._colours = colours
        self._bits = bits
        self._size = {"width": width, "height": height}

    def __call__(self, frame: av.VideoFrame) -> NDArray[np.generic]:
        through = len(frame.format.components) in (2, 4) or frame.format.has_palette
        format_ = {(8, False): "rgb24", (8, True): "rgba", (16, False): "rgb48le", (16, True): "rgba64le"}
        rgb = self._reformatter.reformat(
            frame,
            **self._size,
            format=format_[self._bits, through],
            src_colorspace=None if frame.format.is_rgb else _MATRICES[self._colours.matrix],
            src_color_range=_FULL if self._colours.full_range or frame.format.is_rgb else _LIMITED,
            dst_color_range=_FULL,
            interpolation=_SMOOTH,
        )
        pixels = rgb.to_ndarray()
        return _over_white(pixels) if through else pixels


def _over_white(pixels: NDArray[Any]) -> NDArray[Any]:
    most = np.iinfo(pixels.dtype).max
    alpha = pixels[..., 3:].astype(np.float32) / most
    if alpha.min() == 1:
        return np.ascontiguousarray(pixels[..., :3])
    return np.rint(pixels[..., :3] * alpha + most * (1 - alpha)).astype(pixels.dtype)


class FromPixels:
    """RGB to frames of a film whose numbers mean `colours`."""

    def __init__(self, colours: Colours, format_: str) -> None:
        self._reformatter = VideoReformatter()
        self._colours = colours
        self._format = format_

    def __call__(self, pixels: NDArray[Any]) -> av.VideoFrame:
        rgb = av.VideoFrame.from_ndarray(pixels, format="rgb24" if pixels.itemsize == 1 else "rgb48le")
        if self._format == "bgr0":
            return rgb.reformat(format="bgr0")
        colours = self._colours
        frame = self._reformatter.reformat(
            rgb,
            format=self._format,
            dst_colorspace=_MATRICES[colours.matrix],
            src_color_range=_FULL,
            dst_color_range=_FULL if colours.full_range else _LIMITED,
            interpolation=_SMOOTH,
        )
        say(frame, colours)
        return frame


def say(what: Any, colours: Colours) -> None:
    """Write down on a frame or a codec what the numbers mean."""
    what.colorspace = colours.matrix
    what.color_primaries = colours.primaries
    what.color_trc = colours.transfer
    what.color_range = cast("Any", _FULL if colours.full_range else _LIMITED)
