"""`lens`: what Lensfun says that a lens does, done and undone: how far pixels are off, and how bright the corners are."""

from typing import Any

import cv2
import harness
import lensfunpy
import numpy as np
from section import Section

from burnish.engines.photos.lens import by_profile, corrected, database
from burnish.engines.wire import Shot

CAMERAS = (
    ("Canon", "Canon EOS 5D Mark III"),
    ("NIKON CORPORATION", "NIKON D850"),
    ("SONY", "ILCE-7M3"),
    ("FUJIFILM", "X-T3"),
    ("Panasonic", "DC-G9"),
)
EACH = 12  # lenses of each camera, evenly from its list
WIDTH, HEIGHT = 600, 400
GOAL_PIXELS = 0.5
GOAL_LEVELS = 2


def undone(shot: Shot, known: Any) -> tuple[float, float, float, float] | None:
    """Of a lens that is in the database: pixels off before and after, levels off before and after, at worst."""
    correction = by_profile(known, shot, WIDTH, HEIGHT)
    camera = known.find_cameras(shot.make, shot.model)[0]
    lens = next(lens for lens in known.find_lenses(camera) if lens.model == shot.lens)
    if correction.places is None or correction.gain is None:
        return None
    reverse = lensfunpy.Modifier(lens, camera.crop_factor, WIDTH, HEIGHT)
    flags = lensfunpy.ModifyFlags
    given = (shot.focal_mm, shot.aperture, 1000.0, 1.0)
    reverse.initialize(*given, pixel_format=np.float32, flags=flags.DISTORTION, reverse=True)
    back = reverse.apply_geometry_distortion()
    if back is None:
        return None
    where = correction.places(0, HEIGHT)
    taken_from = np.ascontiguousarray(where[:, :, 1] if where.ndim == 4 else where)
    world: Any = cv2.remap(back, taken_from, None, cv2.INTER_LINEAR)  # type: ignore[call-overload]
    middle = np.array([(WIDTH - 1) / 2, (HEIGHT - 1) / 2])
    down, across = np.mgrid[0:HEIGHT, 0:WIDTH]
    goes_to = np.stack([across, down], -1) - middle

    def off(seen: Any) -> float:
        scale = (seen * goes_to).sum() / (goes_to * goes_to).sum()
        return float(np.hypot(*np.moveaxis(seen - goes_to * scale, 2, 0))[8:-8, 8:-8].max())

    light = np.full((HEIGHT, WIDTH, 3), 0.4**2.2, np.float32)
    reverse = lensfunpy.Modifier(lens, camera.crop_factor, WIDTH, HEIGHT)
    reverse.initialize(*given, pixel_format=np.float32, flags=flags.VIGNETTING, reverse=True)
    reverse.apply_color_modification(light)
    taken = (light ** (1 / 2.2) * 65_535 + 0.5).astype(np.uint16)
    made = np.empty_like(taken)
    for _ in corrected(taken, correction, made):
        pass

    def levels(picture: Any) -> float:
        return float(np.abs(picture / 257 - 102).max())

    return off(taken_from - middle), off(world - middle), levels(taken), levels(made)


def lens_() -> Section:
    """Medians and worst, over lenses of five makers that have both profiles."""
    known = database()
    rows: list[list[object]] = []
    worst = [0.0, 0.0]
    for make, model in CAMERAS:
        camera = known.find_cameras(make, model)[0]
        own = [
            lens
            for lens in known.find_lenses(camera)
            if lens.min_focal and lens.maker.casefold() in make.casefold()
        ]
        found = []
        for lens in own[:: max(1, len(own) // EACH)]:
            shot = Shot(
                make=make,
                model=model,
                lens=lens.model,
                focal_mm=lens.min_focal,
                aperture=lens.min_aperture or 4.0,
            )
            if told := undone(shot, known):
                found.append(told)
        if not found:
            continue
        figures = np.array(found)
        worst = [max(worst[0], figures[:, 1].max()), max(worst[1], figures[:, 3].max())]
        before, after = np.median(figures[:, 0]), figures[:, 1].max()
        rows.append(
            [
                model,
                len(found),
                round(float(before), 1),
                round(float(after), 2),
                round(float(np.median(figures[:, 2])), 1),
                round(float(figures[:, 3].max()), 2),
            ]
        )
    head = [
        "camera",
        "lenses",
        "pixels off (median)",
        "after (worst)",
        "corner levels off (median)",
        "after (worst)",
    ]
    return Section(
        harness.table(head, rows),
        figures={"pixels": round(worst[0], 2), "levels": round(worst[1], 2)},
        goal={"pixels": GOAL_PIXELS, "levels": GOAL_LEVELS},
        holds=bool(rows) and worst[0] < GOAL_PIXELS and worst[1] < GOAL_LEVELS,
    )
