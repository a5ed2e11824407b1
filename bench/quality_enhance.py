"""`enhance`: photos spoilt in known ways come back; good ones stay; nothing is clipped. Differences are CIEDE2000, on average."""

from collections.abc import Callable
from typing import Any

import harness
import numpy as np
from numpy.typing import NDArray
from section import Section
from skimage import data
from skimage.color import deltaE_ciede2000, rgb2lab

from burnish.engines.photos.enhance import enhance
from burnish.engines.photos.look import LOOKS

Pixels = NDArray[Any]

PHOTOS = ("astronaut", "coffee", "chelsea", "rocket")
#: Well exposed, the fourth at night.
UNTOUCHED = 3.0


def in_light(picture: Pixels, factor: float) -> Pixels:
    """As if exposed `factor` times as long."""
    unit = picture / 255
    light = np.where(unit <= 0.04045, unit / 12.92, ((unit + 0.055) / 1.055) ** 2.4) * factor
    light = np.clip(light, 0, 1)
    encoded: Pixels = np.where(light <= 0.0031308, light * 12.92, 1.055 * light ** (1 / 2.4) - 0.055)
    return np.asarray(encoded * 255 + 0.5).astype(np.uint8)


def tinted(picture: Pixels, red: float, blue: float) -> Pixels:
    return np.asarray(np.clip(picture * np.array([red, 1, blue]), 0, 255)).astype(np.uint8)


SPOILT: dict[str, Callable[[Pixels], Pixels]] = {
    "as it is": lambda picture: picture,
    "hazy": lambda picture: np.asarray(picture * 0.55 + 55).astype(np.uint8),
    "2 stops under": lambda picture: in_light(picture, 0.25),
    "3 stops under": lambda picture: in_light(picture, 0.125),
    "0.85 stops over": lambda picture: in_light(picture, 1.8),
    "lamplight": lambda picture: tinted(picture, 1.12, 0.85),
    "shade": lambda picture: tinted(picture, 0.88, 1.1),
}


def difference(one: Pixels, other: Pixels) -> float:
    return float(deltaE_ciede2000(rgb2lab(one), rgb2lab(other)).mean())


def newly_clipped(before: Pixels, after: Pixels) -> int:
    """Samples that are 0 or 255 and were not."""
    return int(np.count_nonzero(((after == 0) & (before != 0)) | ((after == 255) & (before != 255))))


def enhance_() -> Section:
    """The distance to the original, before and after, for each photo and each way of spoiling it; and what the styles do."""
    photos = {name: np.ascontiguousarray(getattr(data, name)()) for name in PHOTOS}
    rows: list[list[object]] = []
    means: dict[str, tuple[float, float]] = {}
    clipped, kept = 0, 0.0
    for how, spoil in SPOILT.items():
        pairs = []
        for picture in photos.values():
            spoilt = spoil(picture)
            made = enhance(spoilt)
            clipped += newly_clipped(spoilt, made)
            pairs.append((difference(picture, spoilt), difference(picture, made)))
        means[how] = (
            float(np.mean([before for before, _ in pairs])),
            float(np.mean([after for _, after in pairs])),
        )
        if how == "as it is":
            kept = max(after for _, after in pairs)
        told = [f"{before:.1f} -> {after:.1f}" for before, after in (*pairs, means[how])]
        rows.append([how, *told])
    styles: list[list[object]] = []
    for style in LOOKS:
        changed = []
        for picture in photos.values():
            styled = enhance(picture, style)
            clipped += newly_clipped(picture, styled)
            changed.append(round(difference(picture, styled), 1))
        styles.append([style, *changed])
    table = harness.table(["spoilt", *PHOTOS, "mean"], rows)
    table += "\n\nWhat the styles change of the photos as they are:\n\n" + harness.table(
        ["style", *PHOTOS], styles
    )
    halves = all(means[how][1] < means[how][0] / 2 for how in ("hazy", "2 stops under", "3 stops under"))
    nearer = all(after <= before for how, (before, after) in means.items() if how != "as it is")
    return Section(
        table,
        figures={"good_photo_at_most": round(kept, 2), "newly_clipped_samples": clipped}
        | {how: round(after, 2) for how, (_, after) in means.items()},
        goal={
            "good_photo_at_most": UNTOUCHED,
            "newly_clipped_samples": 0,
            "haze and underexposure": "less than half",
            "every other": "no further",
        },
        holds=kept < UNTOUCHED and clipped == 0 and halves and nearer,
    )
