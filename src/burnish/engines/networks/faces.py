"""Where faces are in a picture: MediaPipe's detector for far faces on a pyramid of tiles, each find looked at once more.

Called by runners. The detector sees 192 x 192 pixels and finds faces of 14 to 150 of them, so the picture is halved until
it fits, and every size is cut into tiles that overlap by more than the faces which no coarser size would find. Alone it
takes stars and handlebars for faces. So each find goes, cut out, to two more networks of the same package: the detector
for near faces, and the face mesh, which says whether what it is shown is a face. The networks are read by OpenVINO from
the package's files, its program is never imported.

Anchors and decoding: the graphs `face_detection_full_range`, `face_detection_short_range` and `face_landmark_cpu` of
MediaPipe 0.10.21.
"""

from collections.abc import Callable, Generator, Iterator, Sequence
from functools import cache, partial
from itertools import product
from typing import Any, Final

import cv2
import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from burnish.engines.networks import ncnn
from burnish.engines.networks.device import Device
from burnish.engines.wire import Picture
from burnish.errors import Unusable

Pixels = NDArray[Any]
Boxes = NDArray[np.float64]

_FOLDER: Final = ("mediapipe", "modules")
_FILES: Final = {
    "far": (*_FOLDER, "face_detection", "face_detection_full_range_sparse.tflite"),
    "near": (*_FOLDER, "face_detection", "face_detection_short_range.tflite"),
    "mesh": (*_FOLDER, "face_landmark", "face_landmark.tflite"),
}

#: Pixels on a side of what the networks see: the detector for far faces and the mesh, and the detector for near ones.
_SIDE: Final = 192
_NEAR_SIDE: Final = 128
#: From one tile to the next; the rest, 64 pixels, is more than twice the smallest face that the detector finds.
_STEP: Final = 128
#: The detectors' anchors: grids, each of so many cells a side, with so many anchors in the middle of each cell.
_FAR_GRIDS: Final = ((48, 1),)
_NEAR_GRIDS: Final = ((16, 2), (8, 6))
#: Pixels of a tile that a face must be wide to be found.
_SEEN: Final = 16
#: A box that the detector is as sure of is looked at again.
_SURE_BOX: Final = 0.3
#: Of those, the near detector's score times the mean of what the mesh says must be as much. Seen on photos without a face:
#: up to 0.39; on faces of at least 16 pixels: from 0.65, of 24 pixels from the side: from 0.42.
_SURE_FACE: Final = 0.45
#: How much of a box's surroundings the near detector is shown, and the mesh, in widths of the box.
_NEAR_ROUND: Final = 2.0
_MESH_ROUND: Final = (1.5, 1.75)
#: How far from the middle, and how wide, the near detector's face may be, in parts of what it is shown.
_NEAR_OFF: Final = 0.16
_NEAR_WIDTH: Final = (0.25, 0.86)
#: Boxes that share more than this part of what both cover are one face; and one that lies in another by that part.
_SAME: Final = 0.3
_INSIDE: Final = 0.7
#: Tiles between two reports: a quarter of a second or so.
_TILES_A_STEP: Final = 96
_NETWORK_BYTES: Final = 96 * 1024 * 1024


class Face(Struct, frozen=True):
    """A box from the brows to the chin and from cheek to cheek, in pixels; it may reach over the picture's edge.

    `score`: how sure all networks are together, 0.45 to 1.
    """

    left: float
    top: float
    width: float
    height: float
    score: float


def installed() -> bool:
    """Whether the networks are there to be loaded."""
    try:
        for file in _FILES.values():
            ncnn.find(*file)
    except Unusable:
        return False
    return True


@cache
def load(device: Device) -> "Faces":
    """The detector, one for all runners of a device; read now, compiled at its first use.

    Raises:
        Unusable: the networks are not installed.
    """
    return Faces(device)


def memory_bytes(picture: Picture, smallest: float = _SEEN) -> int:
    """What `find` needs beside the picture, at most."""
    scale = _finest(smallest)
    largest = scale**2 if scale != 1 else 0.25
    return _NETWORK_BYTES + int(1.5 * largest * picture.size_bytes)


class Faces:
    """Loaded networks."""

    def __init__(self, device: Device) -> None:
        self._core = device.core
        self._streams = device.streams
        self._models = {name: device.core.read_model(ncnn.find(*file)) for name, file in _FILES.items()}
        self._compiled: dict[str, list[Any]] = {}

    def find(self, pixels: Pixels, smallest: float = _SEEN) -> list[Face]:
        """Faces in `[H, W, C]` of 8 or 16 bits, gray or colour, with or without alpha; the surest first.

        `smallest`: the width in pixels from which faces are looked for, at least 8. Time goes with pixels / smallest**2:
        docs/why/engines.md.
        """
        looking = self.look(pixels, smallest)
        while True:
            try:
                next(looking)
            except StopIteration as over:
                found: list[Face] = over.value
                return found

    def look(self, pixels: Pixels, smallest: float = _SEEN) -> Generator[float, None, list[Face]]:
        """As `find`, for runners: yields the part that is done, several times a second."""
        height, width = pixels.shape[:2]
        scale = _finest(smallest)
        all_ = sum(len(_tiles(*size)) for size in _sizes(height, width, scale))
        done, found = 0, [np.zeros((0, 5))]
        for level, factor in _levels(pixels, scale):
            tiles = _tiles(*level.shape[:2])
            for first in range(0, len(tiles), _TILES_A_STEP):
                part = tiles[first : first + _TILES_A_STEP]
                found += [
                    boxes / np.array([factor, factor, factor, factor, 1])
                    for boxes in self._detect_all(level, part)
                ]
                done += len(part)
                yield 0.9 * done / all_
        candidates = _distinct(np.concatenate(found), lambda shared, _inside: shared > _SAME)
        faces = np.zeros((0, 5))
        for first in range(0, len(candidates), _TILES_A_STEP):
            part_of = candidates[first : first + _TILES_A_STEP]
            part_of[:, 4] = self._looked_at(pixels, part_of)
            faces = np.concatenate([faces, part_of[part_of[:, 4] >= _SURE_FACE]])
            yield 0.9 + 0.1 * (first + len(part_of)) / len(candidates)
        apart = _distinct(faces, lambda _shared, inside: inside > _INSIDE, by=2)
        return sorted((Face(*map(float, box)) for box in apart), key=lambda face: -face.score)

    def rest(self) -> None:
        """Give back what the networks worked with; they stay compiled."""
        for graphs in self._compiled.values():
            for graph in graphs:
                graph.release_memory()

    # --- the networks -----------------------------------------------------------------------------------------------

    def _detect_all(self, level: Pixels, tiles: Sequence[tuple[int, int]]) -> list[Boxes]:
        """For each tile its boxes, (left, top, width, height, score) in pixels of `level`."""

        def detect(requests: dict[str, Any], place: tuple[int, int]) -> Boxes:
            top, left = place
            tile = _fitted(level[top : top + _SIDE, left : left + _SIDE])
            boxes = _boxes(requests["far"], tile, _FAR_GRIDS, _SURE_BOX)
            boxes[:, :2] += (left, top)
            return boxes

        return self._spread(("far",), detect, tiles)

    def _looked_at(self, pixels: Pixels, boxes: Boxes) -> list[float]:
        """How sure of each box the other two networks are."""

        def look(requests: dict[str, Any], box: Boxes) -> float:
            near = _nearness(requests["near"], _around(pixels, box, _NEAR_ROUND, _NEAR_SIDE))
            if near < _SURE_FACE:
                return 0.0
            return near * _likeness(requests["mesh"], pixels, box, _SURE_FACE / near)

        return self._spread(("near", "mesh"), look, boxes)

    def _spread(
        self, names: Sequence[str], work: Callable[[Any, Any], Any], items: Sequence[Any] | Boxes
    ) -> list[Any]:
        """Work on every item, shared out among the streams; in the items' order."""
        compiled = [self._graphs(name) for name in names]
        streams = [dict(zip(names, graphs, strict=True)) for graphs in zip(*compiled, strict=True)]
        count = len(streams)

        def share(number: int) -> list[Any]:
            requests = {name: graph.create_infer_request() for name, graph in streams[number].items()}
            return [work(requests, item) for item in items[number::count]]

        shares = self._streams.each(partial(share, number) for number in range(count))
        return [shares[place % count][place // count] for place in range(len(items))]

    def _graphs(self, name: str) -> list[Any]:
        if name not in self._compiled:
            self._compiled[name] = self._streams.compile(self._core, self._models[name], "f32")
        return self._compiled[name]


def _answers(request: Any, values: NDArray[np.floating[Any]]) -> list[NDArray[np.float32]]:
    """Both outputs, flat, the longer one first; good until the request's next."""
    answer = request.infer(
        [values[None].astype(np.float32, copy=False)], share_inputs=True, share_outputs=True
    )
    return sorted((np.ravel(values) for values in answer.values()), key=len, reverse=True)


def _boxes(request: Any, tile: Pixels, grids: tuple[tuple[int, int], ...], sure: float) -> Boxes:
    """What a detector finds in a tile. It says sixteen numbers for each anchor: where the middle of the box is from the
    anchor, its size, and six points that are not used.
    """
    values, logits = _answers(request, tile.astype(np.float32) / np.float32(127.5) - np.float32(1))
    scores = _sigmoid(logits)
    (found,) = np.nonzero(scores > sure)
    boxes = values.reshape(-1, 16)[found, :4].astype(np.float64)
    middles = _anchors(grids)[found] * len(tile) + boxes[:, :2]
    return np.concatenate([middles - boxes[:, 2:] / 2, boxes[:, 2:], scores[found, None]], 1)


@cache
def _anchors(grids: tuple[tuple[int, int], ...]) -> NDArray[np.float64]:
    """(across, down), in parts of the tile."""
    cells = [
        ((column + 0.5) / side, (row + 0.5) / side)
        for side, often in grids
        for row, column in product(range(side), range(side))
        for _ in range(often)
    ]
    return np.array(cells)


def _nearness(request: Any, shown: Pixels) -> float:
    """The near detector's score of a face in the middle."""
    boxes = _boxes(request, shown, _NEAR_GRIDS, _SURE_FACE)
    off = np.abs((boxes[:, :2] + boxes[:, 2:4] / 2) / len(shown) - 0.5).max(1, initial=0)
    width = boxes[:, 2] / len(shown)
    there = (off < _NEAR_OFF) & (width > _NEAR_WIDTH[0]) & (width < _NEAR_WIDTH[1])
    return float(boxes[there, 4].max(initial=0))


def _likeness(request: Any, pixels: Pixels, box: Boxes, wanted: float) -> float:
    """How much of a face the mesh finds in a box, shown from nearer and farther, as it is and mirrored: the mean. Below
    `wanted` it is not exact: once the views that are left cannot raise it so far, they are not looked at.
    """
    views = 2 * len(_MESH_ROUND)
    said = 0.0
    for number, (round_, mirrored) in enumerate(product(_MESH_ROUND, (False, True))):
        if said + views - number < wanted * views:
            break
        shown = _around(pixels, box, round_, _SIDE).astype(np.float32) / np.float32(255)
        _points, presence = _answers(request, np.ascontiguousarray(shown[:, ::-1]) if mirrored else shown)
        said += float(_sigmoid(presence)[0])
    return said / views


def _sigmoid(logits: NDArray[np.float32]) -> NDArray[np.float64]:
    return 1 / (1 + np.exp(-np.clip(logits.astype(np.float64), -50, 50)))


# --- sizes and tiles ------------------------------------------------------------------------------------------------


def _finest(smallest: float) -> float:
    """The scale at which a face of this width can be seen."""
    return min(_SEEN / smallest, 2.0)


def _sizes(height: int, width: int, scale: float) -> Iterator[tuple[int, int]]:
    """From the finest down to one that a tile holds, each half of the one before."""
    while True:
        rows, columns = max(1, round(height * scale)), max(1, round(width * scale))
        yield rows, columns
        if max(rows, columns) <= _SIDE:
            return
        scale = max(scale / 2, _SIDE / max(height, width))


def _levels(pixels: Pixels, scale: float) -> Iterator[tuple[Pixels, float]]:
    """The picture in every size, and how many times as large as the picture itself."""
    height, width = pixels.shape[:2]
    level = pixels
    for rows, columns in _sizes(height, width, scale):
        level = _resized(level, rows, columns)
        yield level, max(rows / height, columns / width)


def _resized(pixels: Pixels, rows: int, columns: int) -> Pixels:
    height, width = pixels.shape[:2]
    if (rows, columns) == (height, width):
        return pixels
    how = cv2.INTER_AREA if rows <= height else cv2.INTER_LINEAR
    made: Pixels = cv2.resize(pixels, (columns, rows), interpolation=how)
    return made.reshape(rows, columns, -1)


def _tiles(height: int, width: int) -> list[tuple[int, int]]:
    return list(product(_starts(height), _starts(width)))


def _starts(size: int) -> list[int]:
    steps = max(0, -(-(size - _SIDE) // _STEP))
    return [round(number * (size - _SIDE) / steps) for number in range(steps + 1)] if steps else [0]


def _fitted(part: Pixels, side: int = _SIDE, top: int = 0, left: int = 0) -> Pixels:
    """8-bit RGB, `[side, side, 3]`, the part in its place, black where there is no picture."""
    whole = np.zeros((side, side, 3), np.uint8)
    colours = part[..., :3] if part.shape[2] >= 3 else part[..., :1]
    place = whole[top : top + part.shape[0], left : left + part.shape[1]]
    place[...] = colours if part.dtype == np.uint8 else colours >> 8
    return whole


def _around(pixels: Pixels, box: Boxes, times: float, side: int) -> Pixels:
    """A box and what is round it, `times` as wide, as `[side, side, 3]`."""
    extent = max(float(box[2]), float(box[3]), 2.0) * times
    scale = side / extent

    def cut(middle: float, size: int) -> tuple[int, int, int, int]:
        """From and to which pixel of the picture; at which pixel of the result these begin, and how many they become."""
        first = middle - extent / 2
        start, end = (min(max(round(edge), 0), size) for edge in (first, first + extent))
        at = min(max(round((start - first) * scale), 0), side - 1)
        return start, end, at, min(max(1, round((end - start) * scale)), side - at)

    left, right, across, columns = cut(float(box[0] + box[2] / 2), pixels.shape[1])
    top, bottom, down, rows = cut(float(box[1] + box[3] / 2), pixels.shape[0])
    if right <= left or bottom <= top:
        return np.zeros((side, side, 3), np.uint8)
    part = _resized(np.ascontiguousarray(pixels[top:bottom, left:right]), rows, columns)
    return _fitted(part, side, down, across)


def _distinct(boxes: Boxes, same: Callable[[Boxes, Boxes], Any], by: int = 4) -> Boxes:
    """The surest of every group of boxes that are the `same`, told by the shared part of both and of the smaller; or
    that which is the most by another column.
    """
    left = boxes[np.argsort(-boxes[:, by], kind="stable")]
    kept = []
    while len(left):
        best, left = left[0], left[1:]
        kept.append(best)
        least = np.maximum(left[:, :2], best[:2])
        most = np.minimum(left[:, :2] + left[:, 2:4], best[:2] + best[2:4])
        shared = np.prod(np.maximum(most - least, 0), axis=1)
        areas, area = left[:, 2] * left[:, 3], best[2] * best[3]
        left = left[~same(shared / (areas + area - shared), shared / np.minimum(areas, area))]
    return np.array(kept).reshape(-1, 5)
