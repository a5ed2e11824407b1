"""Which photos of a loose pile are brackets of one scene. Pure: facts in, sets of numbers out.

By the given number for each scene; else by when and how they were taken, where every file says so; else by likeness.
"""

import math
from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final, Literal, NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from burnish.engines.wire import Shot

#: Brackets of one scene at most.
MOST: Final = 9
#: From the end of one exposure to the beginning of the next, within a scene: cameras take 0.1 to 2 s, patient hands more.
_PAUSE_SECONDS: Final = 8.0
#: Exposures nearer than this, in EV, are the same one again: the pattern starts anew.
_SAME_EV: Final = 0.25
#: Likeness, -1 to 1, from which two pictures show the same scene; and the mean levels by which brackets differ.
_ALIKE: Final = 0.8
_SAME_LEVEL: Final = 5.0
#: Side of a signature, and the levels between which a pixel says something.
SIDE: Final = 32
_DARK, _BLOWN = 10, 245
_LEAST_SEEN: Final = 0.12

Signature = NDArray[Any]


class Grouping(NamedTuple):
    """Sets of places in the pile, each from first to last as taken or given, and by what they were told."""

    sets: list[list[int]]
    by: Literal["number", "exposure", "likeness"]


def group(shots: Sequence[Shot], signatures: Sequence[Signature], per_image: int | None) -> Grouping:
    """Every picture in exactly one set; `shots` and `signatures` in the pile's order. `per_image`: how many a scene has."""
    times = [_time(shot) for shot in shots]
    if per_image is not None:
        order = _by_time(times) if all(times) else list(range(len(shots)))
        return Grouping([order[at : at + per_image] for at in range(0, len(order), per_image)], "number")
    exposures = [_exposure(shot) for shot in shots]
    if all(times) and None not in exposures:
        return Grouping(_by_exposure(shots, times, exposures), "exposure")
    return Grouping(_by_likeness(signatures), "likeness")


def _time(shot: Shot) -> datetime | None:
    try:
        return datetime.fromisoformat(shot.taken_at or "")
    except ValueError:
        return None


def _exposure(shot: Shot) -> float | None:
    """How much light was let in, in EV; what a file does not say is taken to be the same for all."""
    if shot.seconds:
        stops = math.log2(shot.seconds)
        stops -= 2 * math.log2(shot.aperture) if shot.aperture else 0.0
        return stops + (math.log2(shot.iso / 100) if shot.iso else 0.0)
    return shot.bias


def _by_time(times: Sequence[datetime | None]) -> list[int]:
    return sorted(range(len(times)), key=lambda number: (str(times[number] or ""), number))


def _by_exposure(
    shots: Sequence[Shot], times: Sequence[datetime | None], exposures: Sequence[float | None]
) -> list[list[int]]:
    """A scene ends with a pause, with another camera, or where an exposure comes that it has already."""
    sets: list[list[int]] = []
    for number in _by_time(times):
        if sets:
            last, known = sets[-1][-1], [exposures[other] for other in sets[-1]]
            pause = (times[number] - times[last]).total_seconds() - (shots[last].seconds or 0.0)  # type: ignore[operator]
            again = any(abs(exposures[number] - other) < _SAME_EV for other in known)  # type: ignore[operator]
            camera = (shots[number].make, shots[number].model) == (shots[last].make, shots[last].model)
            if pause <= _PAUSE_SECONDS and camera and not again and len(known) < MOST:
                sets[-1].append(number)
                continue
        sets.append([number])
    return sets


# --- likeness ---------------------------------------------------------------------------------------------------------


def signature(gray: NDArray[Any]) -> Signature:
    """A picture in `SIDE` by `SIDE` levels, from [H, W] uint8."""
    return cv2.resize(gray, (SIDE, SIDE), interpolation=cv2.INTER_AREA).astype(np.float32)


def likeness(one: Signature, other: Signature) -> float:
    """How alike two pictures are whatever their exposure, -1 to 1: the correlation of the ranks of those places that
    both show.
    """
    shown = (np.minimum(one, other) > _DARK) & (np.maximum(one, other) < _BLOWN)
    if shown.mean() < _LEAST_SEEN:
        shown = np.ones_like(shown)
    ranks = [np.argsort(np.argsort(plane[shown], kind="stable"), kind="stable") for plane in (one, other)]
    if min(float(np.ptp(plane[shown])) for plane in (one, other)) < 2:
        return 0.0
    return float(np.corrcoef(ranks[0], ranks[1])[0, 1])


def _by_likeness(signatures: Sequence[Signature]) -> list[list[int]]:
    """Each picture joins the set that it is most like, of those that lack its exposure."""
    sets: list[list[int]] = []
    levels = [float(one.mean()) for one in signatures]
    for number, one in enumerate(signatures):
        best, most = None, _ALIKE
        for members in sets:
            if len(members) >= MOST or any(abs(levels[number] - levels[m]) < _SAME_LEVEL for m in members):
                continue
            alike = max(likeness(one, signatures[member]) for member in members)
            if alike > most:
                best, most = members, alike
        if best is None:
            sets.append([number])
        else:
            best.append(number)
    return sets
