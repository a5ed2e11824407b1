"""`lens`: distortion, colour fringes and dark corners taken out, as Lensfun has measured them for the lens.

Called by the runner `photo`. Which lens it was is told by what the camera wrote (`wire.Shot`); a lens that is not in the
database changes nothing. Coefficients may be given by hand instead: distortion by Lensfun's model `poly3`, dark corners by its
`pa` with one term.
"""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Final

import cv2
import lensfunpy
import numpy as np

from burnish.engines.photos.reduced import Floats, Pixels, colours_of
from burnish.engines.photos.warp import LONGEST_SIDE, by_map
from burnish.engines.wire import Shot

#: Width of the small map of brightness; it is smooth, and enlarged to the picture's.
_MAP_WIDTH: Final = 512
_STRIP_PIXELS: Final = 1 << 18
#: Samples are encoded with about this power of light.
_GAMMA: Final = 2.2
_FOCAL: Final = re.compile(r"(\d+(?:\.\d+)?)(?:\s*-\s*(\d+(?:\.\d+)?))?\s*mm", re.IGNORECASE)
_OPENING: Final = re.compile(r"\bf/?\s*(\d+(?:\.\d+)?)", re.IGNORECASE)
#: Shots without a distance are taken to be of things far away, in metres.
_DISTANCE: Final = 1000.0


@dataclass(frozen=True)
class Correction:
    """What is put right: `places(top, rows)` as `warp.by_map` wants them, `gain`: factors of encoded samples, [h, w], in a
    small map of the picture; None where there is nothing of the kind. `said`: words for the client.
    """

    places: Callable[[int, int], Floats] | None
    gain: Floats | None
    said: str


def database() -> Any:
    """Lensfun's, as it lies in the package: read once, 50 ms."""
    return lensfunpy.Database()


def by_profile(database_: Any, shot: Shot, width: int, height: int) -> Correction:
    """The correction for the lens that took the picture, or none, with the reason said."""
    if max(width, height) > LONGEST_SIDE:
        return _nothing(f"Pictures over {LONGEST_SIDE:,} pixels on a side are not corrected.")
    if not shot.make or not shot.model or not shot.focal_mm:
        return _nothing("The file does not say which camera and lens took it; the picture is as it was.")
    found = _found(database_, shot)
    if found is None:
        name = printable(shot.lens or f"the lens of {shot.make} {shot.model}")
        return _nothing(f"No profile is known for {name}; the picture is as it was.")
    camera, lens = found
    focal = min(max(shot.focal_mm, lens.min_focal or shot.focal_mm), lens.max_focal or shot.focal_mm)
    aperture = shot.aperture or lens.min_aperture or 5.6
    modifier = lensfunpy.Modifier(lens, camera.crop_factor, width, height)
    modifier.initialize(focal, aperture, _DISTANCE, 0.0, pixel_format=np.float32)
    done = []
    places = _profile_places(modifier, width)
    if places is not None:
        done.append("distortion")
    gain = _profile_gain(lens, camera.crop_factor, focal, aperture, width, height)
    if gain is not None:
        done.append("dark corners")
    if not done:
        return _nothing(
            f"The profile of {lens.model} has nothing for this focal length; the picture is as it was."
        )
    return Correction(places, gain, f"Profile {printable(lens.model)} at {focal:g} mm: {' and '.join(done)}.")


def by_hand(distortion: float, vignetting: float, width: int, height: int) -> Correction:
    """The correction by given coefficients. `distortion`: k1 of `poly3`, r_file = r (1 - k1 + k1 r²), where r is 1 at half the
    shorter side; under 0 for a barrel. `vignetting`: light in the corners as a part of the middle's is 1 + this, under 0.
    """
    if max(width, height) > LONGEST_SIDE:
        return _nothing(f"Pictures over {LONGEST_SIDE:,} pixels on a side are not corrected.")
    half = min(width, height) / 2
    across = (np.arange(width) - (width - 1) / 2) / half
    # So scaled that the corner, or the middle of a side, comes from within the picture.
    edges = np.array([width / 2, height / 2, np.hypot(width, height) / 2]) / half
    scale = float(np.max(_poly3(distortion, edges)).clip(1.0))

    def places(top: int, rows: int) -> Floats:
        down = (np.arange(top, top + rows) - (height - 1) / 2) / half
        x, y = np.meshgrid(across / scale, down / scale)
        factor = _poly3(distortion, np.hypot(x, y))
        middle = np.array([(width - 1) / 2, (height - 1) / 2])
        where: Floats = (np.stack([x * factor, y * factor], -1) * half + middle).astype(np.float32)
        return where

    small_width, small_height = _small(width, height)
    x, y = np.meshgrid(np.linspace(-1, 1, small_width) * width, np.linspace(-1, 1, small_height) * height)
    light = 1 + vignetting * (x**2 + y**2) / (width**2 + height**2)
    return Correction(
        places if distortion else None,
        (light ** (-1 / _GAMMA)).astype(np.float32) if vignetting else None,
        "Corrected by the given coefficients.",
    )


def corrected(pixels: Pixels, correction: Correction, made: Pixels) -> Iterator[float]:
    """Fill `made`, as large as `pixels`, [H, W, C] of 8 or 16 bits; yields the part that is done."""
    if correction.gain is None and correction.places is None:
        made[...] = pixels
        yield 1.0
        return
    source, before = pixels, 0.0
    if correction.gain is not None:
        source, before = np.empty_like(pixels), 0.3
        for part in _brightened(pixels, correction.gain, source):
            yield part * before
    if correction.places is None:
        made[...] = source
        yield 1.0
        return
    for part in by_map(source, correction.places, made):
        yield before + part * (1 - before)


def printable(name: str) -> str:
    """What a file says of itself, short and without what is no letter."""
    return "".join(letter for letter in name if letter.isprintable())[:80]


def _nothing(said: str) -> Correction:
    return Correction(None, None, said)


def _found(database_: Any, shot: Shot) -> tuple[Any, Any] | None:
    """The camera and its lens. A lens that is named must be there by name; a camera with its own lens needs none."""
    cameras = database_.find_cameras(shot.make, shot.model)
    if not cameras:
        return None
    camera = cameras[0]
    if shot.lens and not _FOCAL.search(shot.lens):
        lenses = [
            lens
            for lens in database_.find_lenses(camera, None, shot.lens)
            if lens.model.casefold() == shot.lens.casefold()
        ]
    elif shot.lens:
        lenses = database_.find_lenses(camera, None, shot.lens) or database_.find_lenses(
            camera, None, shot.lens, True
        )
        lenses = [lens for lens in lenses if _same(shot.lens, lens)]
    else:
        own = database_.find_lenses(camera)
        lenses = own if len({lens.model for lens in own}) == 1 else []
    fitting = [lens for lens in lenses if not lens.max_focal or _within(lens, shot.focal_mm or 0)]
    return (camera, fitting[0]) if fitting else None


def _within(lens: Any, focal: float) -> bool:
    return bool(lens.min_focal * 0.9 <= focal <= lens.max_focal * 1.1)


def _same(name: str, lens: Any) -> bool:
    """Whether a lens that Lensfun takes for `name` has the focal lengths and the opening that are in the name: its own
    comparison finds an 18-200 mm for an 18-105 mm that it does not know.
    """
    focal = _FOCAL.search(name)
    if focal:
        shortest, longest = float(focal[1]), float(focal[2] or focal[1])
        if abs(lens.min_focal - shortest) > 0.5 or abs(lens.max_focal - longest) > 0.5:
            return False
    wanted, known = _OPENING.search(name), _OPENING.search(lens.model)
    return not wanted or not known or float(wanted[1]) == float(known[1])


def _profile_places(modifier: Any, width: int) -> Callable[[int, int], Floats] | None:
    for apply in (modifier.apply_subpixel_geometry_distortion, modifier.apply_geometry_distortion):
        if apply(0, 0, width, 1) is not None:

            def places(top: int, rows: int, apply: Any = apply) -> Floats:
                found: Floats = apply(0, top, width, rows)
                return found

            return places
    return None


def _profile_gain(
    lens: Any, crop: float, focal: float, aperture: float, width: int, height: int
) -> Floats | None:
    """How much brighter each place becomes, as a factor of encoded samples, in a small map."""
    small = _small(width, height)
    modifier = lensfunpy.Modifier(lens, crop, *small)
    modifier.initialize(
        focal, aperture, _DISTANCE, 1.0, pixel_format=np.float32, flags=lensfunpy.ModifyFlags.VIGNETTING
    )
    light = np.full((small[1], small[0], 3), 0.25, np.float32)
    if not modifier.apply_color_modification(light):
        return None
    gain: Floats = np.clip(light[..., 1] * 4, 1 / 8, 8) ** np.float32(1 / _GAMMA)
    return gain


def _brightened(pixels: Pixels, gain: Floats, made: Pixels) -> Iterator[float]:
    height, width, channels = pixels.shape
    count, full = colours_of(channels), float(np.iinfo(pixels.dtype).max)
    across, down = gain.shape[1] / width, gain.shape[0] / height
    most_rows = max(1, _STRIP_PIXELS // width)
    for top in range(0, height, most_rows):
        rows = slice(top, min(top + most_rows, height))
        size = (width, rows.stop - top)
        matrix = np.array([[across, 0, 0.5 * across - 0.5], [0, down, (top + 0.5) * down - 0.5]])
        flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
        factor = cv2.warpAffine(gain, matrix, size, flags=flags, borderMode=cv2.BORDER_REPLICATE)
        brighter = pixels[rows, :, :count] * factor[..., None]
        made[rows, :, :count] = np.clip(brighter + 0.5, 0, full).astype(pixels.dtype)
        made[rows, :, count:] = pixels[rows, :, count:]
        yield rows.stop / height


def _poly3(k1: float, radius: Any) -> Any:
    return 1 - k1 + k1 * radius**2


def _small(width: int, height: int) -> tuple[int, int]:
    scale = min(1.0, _MAP_WIDTH / max(width, height))
    return max(2, round(width * scale)), max(2, round(height * scale))
