"""`video-…`: frames of films in, frames out; some at a time, which is all that is ever here of a film.

Loaded once in the inference child, with the networks of `upscale`. A batch knows nothing of the one before: whatever a
frame needs to be seen beside it comes along, so batches of several films take turns, and one that was lost is made again.
"""

from collections.abc import Iterator, Sequence
from typing import Any, Final

import cv2
import msgspec
import numpy as np
from numpy.typing import NDArray

from burnish.engines.catalogue.video import DENOISE_BESIDE, Batch
from burnish.engines.motion.between import Between
from burnish.engines.motion.quiet import quiet
from burnish.engines.networks import tiled
from burnish.engines.networks.device import Device
from burnish.engines.networks.tiled import Tiled
from burnish.engines.runners.upscale import WAYS
from burnish.engines.wire import Picture
from burnish.engines.work import Pixels, Work

#: What is held beside a frame for each of its pixels, and for each of the result's: flows, weights and means.
_BYTES_PER_PIXEL: Final = 160
_BYTES_AT_LEAST: Final = 64 * 1024 * 1024


def load(device: Device) -> "Films":
    """Raises Unusable: the weights are not installed."""
    return Films(tiled.load(device))


class Films:
    """Does batches of frames."""

    def __init__(self, networks: Tiled) -> None:
        self._networks = networks

    def memory_bytes(self, params: bytes, pictures: Sequence[Picture]) -> int:
        """What `run` needs beside the pixels that come and go."""
        batch = msgspec.msgpack.decode(params, type=Batch)
        frame = Picture(batch.width, batch.height, 3, pictures[0].bits)
        width, height = batch.target
        scaled = frame.pixels * (batch.scale or 1) ** 2 * 3 * frame.bits // 8
        own = max(frame.pixels, width * height) * _BYTES_PER_PIXEL + scaled + _BYTES_AT_LEAST
        return own + (self._networks.memory_bytes(frame) if batch.scale else 0)

    def run(self, work: Work) -> Iterator[float]:
        """Fill the result, a memory of frames; yields the part that is done, after each tile or frame."""
        batch = msgspec.msgpack.decode(work.params, type=Batch)
        frames = work.sources[0].reshape(batch.frames, batch.height, batch.width, 3)
        width, height = batch.target
        made = work.results[0].reshape(len(batch.wanted), height, width, 3)
        between: tuple[int, Between] | None = None
        for place, (index, part) in enumerate(batch.wanted):
            if place and batch.wanted[place - 1] == (index, part):
                made[place] = made[place - 1]
                continue
            frame = frames[index]
            if part and index + 1 < len(frames):
                if between is None or between[0] != index:
                    between = index, Between(frame, frames[index + 1])
                frame = between[1].at(part)
            if batch.denoise:
                first = max(0, index - DENOISE_BESIDE)
                frame = quiet(frames[first : index + DENOISE_BESIDE + 1], index - first, batch.denoise)
            for done in self._enlarge(frame, batch, made[place]):
                yield (place + done) / len(batch.wanted)
            yield (place + 1) / len(batch.wanted)

    def rest(self) -> None:
        """The networks are `upscale`'s, which gives them a rest."""

    def _enlarge(self, frame: Pixels, batch: Batch, into: Pixels) -> Iterator[float]:
        """Through the network, then to the size that is wanted."""
        if batch.scale is None:
            into[...] = _fitted(frame, into.shape)
            return
        height, width, _ = frame.shape
        size = (height * batch.scale, width * batch.scale, 3)
        room: NDArray[Any] = into if size == into.shape else np.empty(size, frame.dtype)
        yield from self._networks.paint(WAYS[batch.mode][batch.scale], frame, room)
        if room is not into:
            into[...] = _fitted(room, into.shape)


def _fitted(picture: Pixels, shape: tuple[int, ...]) -> Pixels:
    """As large as that. A row or a column less is cut off; anything else is made smaller, or larger, smoothly."""
    height, width = shape[:2]
    if 0 <= picture.shape[0] - height <= 1 and 0 <= picture.shape[1] - width <= 1:
        return picture[:height, :width]
    smaller = height * width < picture.shape[0] * picture.shape[1]
    how = cv2.INTER_AREA if smaller else cv2.INTER_LANCZOS4
    return cv2.resize(np.ascontiguousarray(picture), (width, height), interpolation=how)
